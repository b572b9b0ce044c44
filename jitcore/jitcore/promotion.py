"""Operands of an operation: Python numbers become constants, mixed dtypes become one, by PyTorch's rules.

Three classes of operand decide the common dtype, the higher only giving way to a lower one of a higher kind
(bool < integer < float < complex): tensors with dimensions, then 0-d tensors, then Python numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitcore_ir import OpSpec, ops
from jitcore_ir import dtypes as D
from jitcore_ir.dtypes import DType

from .device import get_default_dtype
from .dispatch import NONE, apply, constant
from .state import state
from .symbolic import SymInt, within_64_bits
from .tensor import Tensor, dtype_of, wrap
from .trace.numbers import RecordedNumber

_PLAIN = (float, int)
NUMBERS = (int, float, complex, SymInt, np.number, np.bool_)


def binary(spec: OpSpec, a: Any, b: Any, to_float: bool = False) -> Tensor:
    """Run an elementwise operation of two operands, at least one a Tensor, after promotion.

    `to_float` makes integers the default dtype first (division). The first two tests are the hot path: they cost
    0.1 us for two tensors and 0.2 us for a tensor and a Python float.
    """
    if isinstance(a, Tensor):
        dtype = a._array.dtype
        if isinstance(b, Tensor):
            if dtype is b._array.dtype and not (to_float and dtype.kind in "biu"):
                return apply(spec, (a, b), NONE)
        elif dtype.kind == "f" and type(b) in _PLAIN:
            return apply(spec, (a, scalar(b, dtype)), NONE)
    elif isinstance(b, Tensor) and b._array.dtype.kind == "f" and type(a) in _PLAIN:
        return apply(spec, (scalar(a, b._array.dtype), b), NONE)
    return apply(spec, promoted((a, b), to_float), NONE)


def promoted(operands: Sequence[Any], to_float: bool = False) -> list[Tensor]:
    """Operands as tensors of their common dtype."""
    dtype = result_type(*operands)
    if to_float and dtype.kind in ("bool", "int", "uint"):
        dtype = get_default_dtype()
    numpy = dtype.numpy
    return [scalar(x, numpy) if type(x) in _PLAIN else as_operand(x, dtype) for x in operands]


def as_operand(x: Any, dtype: DType) -> Tensor:
    """A tensor or Python number as a tensor of `dtype`. Raises RuntimeError for a number that an integer dtype does
    not hold. (Operands of arithmetic wrap instead, see `promoted`.)"""
    if isinstance(x, Tensor):
        return x if x._array.dtype == dtype.numpy else apply(ops.CAST, (x,), {"dtype": dtype})
    if type(x) is RecordedNumber:
        number = x.tensor()
        return number if dtype.numpy == number._array.dtype else apply(ops.CAST, (number,), {"dtype": dtype})
    if type(x) is SymInt:
        dim = within_64_bits(x)
        if type(dim) is not SymInt:
            return scalar(dim, dtype.numpy)
        size = apply(ops.SIZE, (), {"dim": dim})
        return size if dtype is D.int64 else apply(ops.CAST, (size,), {"dtype": dtype})
    check_fits(x, dtype)
    return scalar(x, dtype.numpy)


def check_fits(values: Any, dtype: DType) -> None:
    """Raise RuntimeError where a number, or an array's element, overflows an integer dtype. As in C, an unsigned one
    takes negative numbers down to minus its largest."""
    if not dtype.is_integer:
        return
    largest = 2 ** (dtype.bits - (dtype.kind == "int")) - 1
    lowest = -largest - (dtype.kind == "int")
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuf" or not values.size:
            return
        low, high = values.min(), values.max()
    else:
        low = high = values.real if isinstance(values, complex) else values
    if not (lowest <= low and high <= largest):  # false for NaN
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


def scalar(value: Any, dtype: np.dtype) -> Tensor:
    """A 0-d constant. Cached where nothing records, since programs use few numbers many times."""
    if state.recorder is None and type(value) in (int, float, bool) and value:  # 0.0 and -0.0 would share a key
        return _cached_scalar(value, dtype)
    return constant(_scalar_array(value, dtype))


@functools.lru_cache(maxsize=1024, typed=True)
def _cached_scalar(value: Any, dtype: np.dtype) -> Tensor:
    array = _scalar_array(value, dtype)
    array.flags.writeable = False
    return wrap(array)


def _scalar_array(value: Any, dtype: np.dtype) -> np.ndarray:
    """A 0-d array; integers wrap as a C cast does, as in PyTorch."""
    if dtype.kind in "iu":
        if isinstance(value, complex | np.complexfloating):
            raise RuntimeError(f"value cannot be converted to type {dtype_of(dtype).name} without overflow")
        if not isinstance(value, int | np.integer) and not np.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {dtype_of(dtype).name} without overflow")
        value = int(value)
        if not -(2**63) <= value < 2**64:
            raise RuntimeError(f"Overflow: the Python integer {value} does not fit in 64 bits")
        return np.asarray(value % 2**64, np.uint64).astype(dtype)
    if isinstance(value, complex | np.complexfloating) and dtype.kind != "c":
        if value.imag:
            raise RuntimeError(f"value cannot be converted to type {dtype_of(dtype).name} without overflow")
        value = value.real
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(dtype)


def is_number(x: Any, value: int) -> bool:
    """Whether x is the Python number `value`. A tensor never is: comparing it would be a read of its value."""
    return type(x) in _PLAIN and x == value


def result_type(*operands: Any) -> DType:
    """The dtype that an operation on these tensors, numbers or dtypes computes in."""
    classes: list[DType | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Tensor):
            rank, dtype = (0 if x._array.ndim else 1), x.dtype
        else:
            rank, dtype = 2, number_dtype(x)
        before = classes[rank]
        classes[rank] = dtype if before is None else D.promote(before, dtype)
    return _combine(classes[0], _combine(classes[1], classes[2])) or get_default_dtype()


def number_dtype(x: Any) -> DType:
    """The dtype a Python number counts as. Raises TypeError for anything else."""
    if isinstance(x, bool | np.bool_):
        return D.bool_
    if isinstance(x, int | np.integer | SymInt):
        return D.int64
    if isinstance(x, float | np.floating):
        return get_default_dtype()
    if isinstance(x, complex | np.complexfloating):
        return complex_of(get_default_dtype())
    raise TypeError(f"expected a Tensor or a number, but got {type(x).__name__}")


def complex_of(dtype: DType) -> DType:
    return D.complex128 if dtype is D.float64 else D.complex64


def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that holds both."""
    return D.promote(type1, type2)


_RANK = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}


def can_cast(from_: DType, to: DType) -> bool:
    """Whether a value of one kind may be stored as another: not float as integer, nor integer as bool."""
    return _RANK[from_.kind] <= _RANK[to.kind]


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return higher or lower
    if _RANK[lower.kind] <= _RANK[higher.kind]:
        return higher
    if higher.kind == "float":  # lower is complex
        return complex_of(higher)
    return D.promote(higher, lower)
