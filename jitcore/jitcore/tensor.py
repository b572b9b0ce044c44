"""`Tensor`: an n-dimensional array that remembers how it was made.

This file holds what a tensor *is*: memory, view chain, gradient history, conversions to Python. What it can *do*
lives in `jitcore.ops`, one family per file, and is attached by the `method` decorator; the operators are in
`jitcore.operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from jitcore_ir import OpSpec
from jitcore_ir import dtypes as _dtypes
from jitcore_ir.dtypes import DType

from .device import CPU, Device
from .state import state
from .storage import Storage

if TYPE_CHECKING:
    from .autograd.tape import Node

_new = object.__new__
_DTYPES: dict[np.dtype, DType] = {}


def dtype_of(dtype: np.dtype) -> DType:
    """The jitcore dtype of a NumPy dtype. Cached, as asking NumPy for its name costs a microsecond."""
    found = _DTYPES.get(dtype)
    if found is None:
        found = _DTYPES[dtype] = _dtypes.from_numpy(dtype)
    return found


class Size(tuple):
    """A shape: a tuple that prints as PyTorch's does and knows its number of elements."""

    __slots__ = ()

    def numel(self) -> int:
        """Number of elements of a tensor of this shape."""
        total = 1
        for n in self:
            total = total * n
        return total

    def __repr__(self) -> str:
        return f"jitcore.Size([{', '.join(str(n) for n in self)}])"

    def __reduce__(self) -> tuple:
        return (Size, (tuple(self),))

    def __add__(self, other: Any) -> Size:  # type: ignore[override]
        return Size(tuple(self) + tuple(other))

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found


class Tensor:
    """Elements of one dtype in an array of any rank, in memory that views share.

    Fields (internal; use the methods and properties):
        _array          the NumPy array, a view of `_storage.array`
        _storage        the memory with its version counter
        _view           the view operations, ((OpSpec, attributes), ...), that lead from `_storage.array` to `_array`
        _base           the tensor this is a differentiable view of, never itself a view; None for no view
        _seen           the storage's `rebased` count that `_node` belongs to; `tape.NO_GRAD_VIEW` for a view made
                        with grad mode off
        _node           the tape node that made it; None for a leaf
        _requires_grad  whether gradients flow to or through it
        _grad, _hooks   a leaf's accumulated gradient and hooks
    """

    __slots__ = (
        "__dict__", "__weakref__", "_array", "_base", "_grad", "_hooks", "_node", "_requires_grad", "_seen", "_storage",
        "_view",
    )  # fmt: skip

    _array: np.ndarray
    _storage: Storage
    _view: tuple[tuple[OpSpec, Any], ...]
    _base: Tensor | None
    _seen: int
    _node: Node | None
    _requires_grad: bool
    _grad: Tensor | None
    _hooks: Any

    __array_priority__ = 1000  # so that ndarray + tensor asks the tensor
    __hash__ = object.__hash__

    if TYPE_CHECKING:  # what `jitcore.ops`, `jitcore.operators` and `jitcore.indexing` attach

        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        def __neg__(self) -> Tensor: ...
        def _operator(self, other: Any) -> Tensor: ...

        __pos__ = __invert__ = __abs__ = __neg__
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _operator
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = _operator
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _operator
        __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _operator
        __lt__ = __le__ = __gt__ = __ge__ = _operator
        __eq__ = __ne__ = _operator  # type: ignore[assignment]

    is_sparse = is_quantized = is_meta = is_sparse_csr = is_nested = is_mkldnn = False
    is_mps = is_xpu = is_xla = is_hpu = is_ipu = is_mtia = is_maia = is_vulkan = False
    is_cpu = True
    name = None
    output_nr = 0

    # No __getattr__: with one, Python takes five times as long for every attribute (see `say_what_class_lacks`).

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name in self.__dict__ or hasattr(type(self), name)]

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        """`Tensor(2, 3)` makes a tensor of that size, `Tensor([2, 3])` one of those values, in the default dtype."""
        from .device import get_default_dtype

        made = legacy_tensor(args, get_default_dtype(), device)
        return made if cls is Tensor else alias(made, cls)

    # Shape and type

    @property
    def shape(self) -> Size:
        """The sizes; symbolic ones while a program with dynamic dimensions is recorded."""
        return Size(shape_of(self))

    @property
    def dtype(self) -> DType:
        return dtype_of(self._array.dtype)

    @property
    def device(self) -> Device:
        return CPU

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def itemsize(self) -> int:
        """Bytes in one element."""
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def is_cuda(self) -> bool:
        return False

    @property
    def layout(self) -> str:
        return "strided"

    def __len__(self) -> int:
        if not self._array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    # Gradient history

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for backward."""
        sync(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """True for a tensor no recorded operation made: one that users made, or one that requires no grad."""
        sync(self)
        if state.recorder is not None:
            state.recorder.look(self, "is_leaf")
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The tape node that made this tensor; None for a leaf."""
        sync(self)
        if state.recorder is not None:
            state.recorder.look(self, "is_leaf" if self._node is None else "grad_fn")
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward has accumulated (on leaves, and where retain_grad was called)."""
        if state.recorder is not None:
            state.recorder.get_grad(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign a tensor as its own grad")
            if value._array.shape != self._array.shape or value._array.dtype != self._array.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value._array.shape)}' and dtype "
                    f"{value.dtype.name} to a "
                    f"tensor of size '{list(self._array.shape)}' and dtype {self.dtype.name}; they must be the same"
                )
        if state.recorder is not None:
            state.recorder.set_grad(self, value)
        if state.undo is not None:
            state.undo.change(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @property
    def data(self) -> Tensor:
        """The same memory without gradient history. Writes through it are seen by autograd's version check."""
        return alias(self)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f".data takes a Tensor, not {type(value).__name__}")
        if state.recorder is not None:
            state.recorder.replace(self)
        if state.undo is not None:
            state.undo.change(self)
        self._array, self._storage, self._view = value._array, value._storage, value._view
        self._seen = self._storage.rebased

    @property
    def _version(self) -> int:
        if state.recorder is not None:
            state.recorder.look(self, "_version")
        return self._storage.version

    @property
    def _is_view(self) -> bool:
        if state.recorder is not None:
            state.recorder.look(self, "_is_view")
        return self._base is not None

    # Values seen by Python: each is reported to the recorder

    def item(self) -> Any:
        """The only element as a Python number. Raises RuntimeError where there is not exactly one."""
        return _read(self, "item", self._array)

    def __bool__(self) -> bool:
        if self._array.size != 1:
            problem = "no values" if self._array.size == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {problem} is ambiguous; use any() or all()")
        return bool(_read(self, "bool", self._array, bool))

    def __int__(self) -> int:
        return int(_read(_lone(self), "int", self._array, int))

    def __float__(self) -> float:
        return float(_read(_lone(self), "float", self._array, float))

    def __complex__(self) -> complex:
        return complex(_lone(self).item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu" or self._array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self)

    def tolist(self) -> Any:
        """Nested lists of Python numbers; a number for a 0-d tensor."""
        array = self._array
        values = (array.astype(np.float32) if array.dtype.kind == "V" else array).tolist()
        if state.recorder is not None:
            return state.recorder.read(self, "tolist", values)
        return values

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The memory itself as a NumPy array: writes to either are seen by the other.

        Raises RuntimeError for a tensor that requires grad, unless `force` (which detaches first).
        """
        if self.requires_grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if state.recorder is not None:
            state.recorder.read(self, "numpy", self._array)
        self._storage.shared = True
        return self._array.view()  # whose shape the caller may change

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        from .numpy_protocol import as_array

        return as_array(self, dtype, copy)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
        from .numpy_protocol import wrapped

        return wrapped(array)

    def __dlpack__(
        self,
        *,
        stream: Any = -1,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        from .ops.exchange import exported

        return exported(self, stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def data_ptr(self) -> int:
        """Address of the first element."""
        if state.recorder is not None:
            state.recorder.look(self, "data_ptr()")
        return self._array.ctypes.data

    # Copies

    def __copy__(self) -> Tensor:
        return alias(self, type(self), keep_grad=True)

    def __deepcopy__(self, memo: dict) -> Tensor:
        from .copying import copied

        return copied(self, memo)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        from .copying import reduced

        return reduced(self)

    # Text

    def __repr__(self) -> str:
        from .printing import tensor_text

        return tensor_text(self)

    def __format__(self, spec: str) -> str:
        plain = type(self) is Tensor and not self._array.ndim
        return format(self.item(), spec) if plain else object.__format__(self, spec)


Any_ = TypeVar("Any_", bound=Callable[..., Any])


def method(function: Any_ | None = None, *, name: str | None = None) -> Any:
    """Decorator: make a function that takes a tensor first a method of Tensor too, under its own or another name."""

    def attach(f: Any_) -> Any_:
        setattr(Tensor, name or f.__name__, f)
        return f

    return attach if function is None else attach(function)


def legacy_tensor(args: tuple, dtype: DType, device: Any = None) -> Tensor:
    """What PyTorch's old constructors make: sizes give memory (zeros here), anything else is data in `dtype`.

    Raises TypeError for a tensor of another dtype.
    """
    from .ops.creation import tensor, zeros

    if len(args) == 1 and isinstance(args[0], Tensor):
        if args[0].dtype is not dtype:
            raise TypeError(f"expected {dtype.name} (got {args[0].dtype.name})")
        return alias(args[0])
    if len(args) == 1 and not isinstance(args[0], int | Size):
        return tensor(args[0], dtype=dtype, device=device)
    return zeros(*(args or (0,)), dtype=dtype, device=device)


def wrap(array: np.ndarray) -> Tensor:
    """A new leaf tensor owning `array`. Tells no recorder: for memory that `apply` or a creation function reports."""
    result = _new(Tensor)
    result._array = array
    result._storage = Storage(array)
    result._view = ()
    result._base = result._node = result._grad = result._hooks = None
    result._seen = 0
    result._requires_grad = False
    return result


def alias(source: Tensor, cls: type = Tensor, keep_grad: bool = False) -> Tensor:
    """Another tensor on the same memory and version counter, without history (with the leaf's flag if `keep_grad`)."""
    result: Tensor = _new(cls)
    result._array, result._storage, result._view = source._array, source._storage, source._view
    result._base = result._node = result._grad = result._hooks = None
    result._seen = source._storage.rebased
    result._requires_grad = keep_grad and source._requires_grad
    if keep_grad:
        result._base, result._node, result._seen = source._base, source._node, source._seen
        result.__dict__.update(source.__dict__)
    return result


def shape_of(x: Tensor) -> tuple:
    """x's sizes as a plain tuple, symbolic where the recorder says so."""
    if state.recorder is not None:
        found = state.recorder.shape(x)
        if found is not None:
            return found
    return x._array.shape


def sync(x: Tensor) -> None:
    """Bring a view's history up to date after a write through its base or another view."""
    if x._base is not None and x._seen != x._storage.rebased:
        from .autograd.tape import refresh

        refresh(x)


def row_major(x: Tensor) -> Tensor:
    """x, a result that nothing else looks at yet, laid out row by row: where PyTorch does so and NumPy does not."""
    if not x._array.flags.c_contiguous and type(x._array) is np.ndarray and not x._view:
        x._array = x._storage.array = np.ascontiguousarray(x._array)
        x._storage._address = 0
    return x


def peek(x: Tensor) -> np.ndarray:
    """x's memory for code of ours whose outcome depends on the values; reported as a read, never to be written."""
    if state.recorder is not None:
        state.recorder.read(x, "numpy", x._array)
    return x._array


def memory(x: Tensor) -> np.ndarray:
    """x's memory, inside `vmap` that of all examples: for checks whose outcome becomes no result."""
    array = x._array
    while (batch := getattr(array, "value", None)) is not None:
        array = batch._array
    return array


def _lone(x: Tensor) -> Tensor:
    """x, of one element. `int()` and `float()` of others are another error than `item()`, as in PyTorch."""
    if x._array.size != 1:
        raise ValueError(f"only one element tensors can be converted to Python scalars; this one has {x._array.size}")
    return x


def _read(x: Tensor, kind: str, array: np.ndarray, convert: Callable[[Any], Any] | None = None) -> Any:
    if array.size != 1:
        raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
    value = array.item() if array.dtype.kind != "V" else float(array.reshape(-1)[0])
    if convert is not None:
        if isinstance(value, complex) and convert is not bool:
            if value.imag:
                raise RuntimeError(f"value cannot be converted to type {convert.__name__} without overflow")
            value = value.real
        value = convert(value)
    return value if state.recorder is None else state.recorder.read(x, kind, value)
