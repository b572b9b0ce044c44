"""Tensors from Python and NumPy data, and tensors made from nothing: zeros, ranges, identities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitcore_ir import dtypes as D
from jitcore_ir import ops
from jitcore_ir.dtypes import DType

from ..device import check_device, get_default_dtype
from ..dispatch import NONE, apply, constant
from ..promotion import as_operand, check_fits, complex_of, number_dtype
from ..state import state
from ..symbolic import SymInt
from ..tensor import Tensor, alias, dtype_of, method, shape_of, wrap
from ..trace.numbers import RecordedNumber


def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor holding a copy of `data`: numbers, nested sequences, arrays or tensors.

    Python floats become the default dtype, ints int64, bools bool. Raises ValueError for ragged sequences and integers
    that are too large, RuntimeError for what is not numeric or a device other than the CPU, TypeError for strings.
    """
    check_device(device)
    if isinstance(data, Tensor):
        made = data.detach().clone()
        made = made if dtype is None else apply(ops.CAST, (made,), {"dtype": dtype})
    elif type(data) in (SymInt, RecordedNumber):
        made = as_operand(data, dtype or number_dtype(data))
    else:
        made = _from_sequence(data, dtype)
    if requires_grad:
        made.requires_grad_()
    return made


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory where it is a tensor or NumPy array of that dtype already."""
    check_device(device)
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype is dtype else apply(ops.CAST, (data,), {"dtype": dtype})
    if isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype.numpy):
        return from_numpy(data)
    return tensor(data, dtype=dtype)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor on the array's own memory: writes to either are seen by the other."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtype_of(ndarray.dtype)
    native = ndarray if ndarray.dtype.isnative else ndarray.astype(ndarray.dtype.newbyteorder("="))
    result = wrap(native.view(np.ndarray))  # a shape of our own: `ndarray.shape = ...` changes that of the array
    result._storage.shared = True
    if state.recorder is not None:
        state.recorder.create(result)
    return result


def _from_sequence(data: Any, dtype: DType | None) -> Tensor:
    """A copy of nested data. Sequences that hold tensors are stacked, so that traced values stay traced."""
    if isinstance(data, np.ndarray | np.generic):
        array = np.array(data)
        return constant(_converted(array, dtype) if dtype else _checked(array))
    if _holds_tensor(data):
        from .join import stack

        parts = [p if isinstance(p, Tensor) else tensor(p) for p in data]
        joined = stack([p.detach() for p in parts])
        return joined if dtype is None else joined.to(dtype)
    try:
        array = np.array(data)
    except ValueError as error:
        raise ValueError(f"expected sequences of equal lengths at each level to make a tensor: {error}") from None
    if array.dtype.kind == "O":
        raise _not_numeric(array)
    if array.dtype.kind in "US":
        raise TypeError("new(): invalid data type 'str'; a tensor holds numbers")
    if dtype is not None:
        return constant(_converted(array, dtype))
    if array.dtype.kind == "f":
        array = array.astype(get_default_dtype().numpy) if not _numpy_inside(data) else array
    elif array.dtype.kind == "c":
        array = array.astype(complex_of(get_default_dtype()).numpy) if not _numpy_inside(data) else array
    elif array.dtype.kind in "iu" and not _numpy_inside(data):
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"Overflow: the Python integer {array.max()} does not fit in int64")
        array = array.astype(np.int64)
    return constant(_checked(array))


def _not_numeric(array: np.ndarray) -> Exception:
    """The error for data that NumPy could only hold as objects."""
    for item in array.reshape(-1):
        if isinstance(item, int):
            return ValueError(f"Overflow: the Python integer {item} does not fit in int64")
        if not isinstance(item, float | complex):
            return RuntimeError(
                f"Could not infer dtype of {type(item).__name__}: a tensor is made of numbers, sequences or arrays"
            )
    return RuntimeError("Could not infer dtype of this sequence")


def _converted(array: np.ndarray, dtype: DType) -> np.ndarray:
    if array.dtype == dtype.numpy:
        return array
    check_fits(array, dtype)
    with np.errstate(over="ignore"):
        return array.astype(dtype.numpy)


def _checked(array: np.ndarray) -> np.ndarray:
    dtype_of(array.dtype)
    return array


def _holds_tensor(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        if any(isinstance(x, Tensor) or type(x) is RecordedNumber for x in data):
            return True
        data = data[0]
    return False


def _numpy_inside(data: Any) -> bool:
    """Whether the innermost items are NumPy values, whose dtype is kept."""
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, np.ndarray | np.generic)


# From nothing


def check_options(options: dict[str, Any]) -> None:
    """Accept PyTorch's options that change nothing here. Raises TypeError for an unknown one, and for `out`."""
    unknown = set(options) - {"layout", "memory_format", "pin_memory", "names", "non_blocking", "out"}
    if unknown or options.get("out") is not None:
        raise TypeError(f"unexpected keyword argument {(sorted(unknown) or ['out'])[0]!r}")


def size_arguments(sizes: tuple) -> tuple:
    """Sizes given as `f(2, 3)`, `f((2, 3))` or `f([2, 3])`, as a tuple of ints (or symbolic ints)."""
    if len(sizes) == 1 and isinstance(sizes[0], list | tuple):
        sizes = tuple(sizes[0])
    return tuple([n if type(n) is int or isinstance(n, SymInt) else _index(n) for n in sizes])


def _index(n: Any) -> int:
    try:
        return n.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"sizes must be integers, but got {type(n).__name__}") from None


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of `size` with every element `fill_value`; its dtype follows the value where none is given."""
    check_device(device)
    shape = size_arguments((size,))
    if any(type(n) is int and n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")
    if isinstance(fill_value, Tensor):
        value = fill_value if dtype is None else as_operand(fill_value, dtype)
    else:
        value = as_operand(fill_value, dtype or number_dtype(fill_value))
    made = apply(ops.COPY, (apply(ops.BROADCAST_TO, (value,), {"shape": shape}),), NONE)
    return made.requires_grad_() if requires_grad else made


def zeros(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """A tensor of zeros of the default dtype: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _filled(size, 0, dtype, device, requires_grad, rest)


def ones(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """A tensor of ones of the default dtype."""
    return _filled(size, 1, dtype, device, requires_grad, rest)


def empty(
    *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **rest: Any
) -> Tensor:
    """A tensor whose elements are to be written. They are zeros here, so that runs repeat."""
    return _filled(size, 0, dtype, device, requires_grad, rest)


def _filled(size: tuple, value: int, dtype: DType | None, device: Any, requires_grad: bool, rest: dict) -> Tensor:
    if "size" in rest:
        size = (rest.pop("size"),)
    check_options(rest)
    return full(
        size_arguments(size), value, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad
    )


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """A tensor of input's shape and (by default) dtype, every element `fill_value`."""
    check_options(options)
    return full(
        tuple(shape_of(input)), fill_value, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad
    )


def zeros_like(input: Tensor, **options: Any) -> Tensor:
    """Zeros of input's shape and dtype."""
    return full_like(input, 0, **options)


def ones_like(input: Tensor, **options: Any) -> Tensor:
    """Ones of input's shape and dtype."""
    return full_like(input, 1, **options)


def empty_like(input: Tensor, **options: Any) -> Tensor:
    """A tensor of input's shape and dtype, to be written."""
    return full_like(input, 0, **options)


@method
def new_tensor(self: Tensor, data: Any, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """A copy of `data` in this tensor's dtype."""
    return tensor(data, dtype=dtype or self.dtype, **options)


@method
def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """`full` in this tensor's dtype."""
    return full(size, fill_value, dtype=dtype or self.dtype, **options)


@method
def new_zeros(self: Tensor, *size: Any, dtype: DType | None = None, **options: Any) -> Tensor:
    """`zeros` in this tensor's dtype."""
    return zeros(*size, dtype=dtype or self.dtype, **options)


@method
def new_ones(self: Tensor, *size: Any, dtype: DType | None = None, **options: Any) -> Tensor:
    """`ones` in this tensor's dtype."""
    return ones(*size, dtype=dtype or self.dtype, **options)


@method
def new_empty(self: Tensor, *size: Any, dtype: DType | None = None, **options: Any) -> Tensor:
    """`empty` in this tensor's dtype."""
    return empty(*size, dtype=dtype or self.dtype, **options)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """start, start + step, ... below end: `arange(n)`, `arange(a, b)`, `arange(a, b, step)`.

    int64 where all three are integers, else the default dtype.
    """
    check_device(device)
    check_options(options)
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    integral = all(isinstance(x, int | np.integer | SymInt) for x in (start, end, step))
    if dtype is not None and dtype.is_integer and not integral:  # in integers from the start, as PyTorch does
        start, end, step = (x if isinstance(x, SymInt) else int(x) for x in (start, end, step))
        integral = True
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if integral:
        count = (end - start + step - (1 if step > 0 else -1)) // step
    else:
        count = math.ceil((end - start) / step)
    if not isinstance(count, SymInt) and count < 0:
        raise RuntimeError(f"upper bound and lower bound inconsistent with step sign: arange({start}, {end}, {step})")
    dtype = dtype or (D.int64 if integral else get_default_dtype())
    work = D.int64 if integral else D.float64  # rounded once, at the end
    result = apply(ops.IOTA, (), {"shape": (count,), "axis": 0, "dtype": work})
    if step != 1:
        result = result * step
    if isinstance(start, SymInt) or start != 0:
        result = result + start
    if work is not dtype:
        result = apply(ops.CAST, (result,), {"dtype": dtype})
    return result.requires_grad_() if requires_grad else result


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """`steps` evenly spaced values from start to end, both included."""
    check_device(device)
    check_options(options)
    dtype = dtype or get_default_dtype()
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if steps == 1:
        result = full((1,), start, dtype=dtype)
        return result.requires_grad_() if requires_grad else result
    if dtype.is_integer and not isinstance(start, Tensor) and not isinstance(end, Tensor):
        start, end = int(start), int(end)
    # Counted from both ends to the middle, so that both ends are exact.
    work = dtype if dtype.is_floating_point else D.float64 if dtype.is_integer else D.float32
    index = apply(ops.IOTA, (), {"shape": (steps,), "axis": 0, "dtype": work})
    step = (end - start) / max(steps - 1, 1)
    from .elementwise import where

    result = where(index < steps // 2, index * step + start, end - (steps - 1 - index) * step)
    result = result if work is dtype else apply(ops.CAST, (result,), {"dtype": dtype})
    return result.requires_grad_() if requires_grad else result


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, **options: Any) -> Tensor:
    """base ** linspace(start, end, steps)."""
    from .arithmetic import pow

    return pow(base, linspace(start, end, steps, **options))


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """The n × m matrix with ones on the diagonal."""
    check_device(device)
    check_options(options)
    rows = apply(ops.IOTA, (), {"shape": (n, 1), "axis": 0, "dtype": D.int64})
    columns = apply(ops.IOTA, (), {"shape": (1, n if m is None else m), "axis": 1, "dtype": D.int64})
    made = apply(ops.CAST, (apply(ops.EQ, (rows, columns), NONE),), {"dtype": dtype or get_default_dtype()})
    return made.requires_grad_() if requires_grad else made


@method
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy in memory of its own; gradients flow through."""
    return apply(ops.COPY, (input,), NONE)


@method
def detach(input: Tensor) -> Tensor:
    """The same memory without gradient history."""
    return alias(input) if state.batching is None else state.batching.detach(input)


def is_tensor(obj: Any) -> bool:
    """Whether obj is a Tensor."""
    return isinstance(obj, Tensor)
