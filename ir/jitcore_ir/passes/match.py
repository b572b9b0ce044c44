"""Questions that rewrites ask about a value."""

from __future__ import annotations

import numpy as np

from ..graph import Operation, Value
from ..ops import BROADCAST_TO, CONSTANT, MUL, RESHAPE
from ..shapes import Shape
from ..spec import OpSpec, Trait
from ..types import TensorType


def defined_by(value: Value, *specs: OpSpec) -> Operation | None:
    """The operation that defines `value`, where it is of one of `specs`."""
    operation = value.operation
    return operation if operation is not None and operation.spec in specs else None


def tensor(value: Value) -> TensorType:
    """The type of a value that is a tensor."""
    assert isinstance(value.type, TensorType)
    return value.type


def shape_of(value: Value) -> Shape:
    return tensor(value).shape


def without_leading_ones(value: Value) -> Value:
    """What a reshape puts axes of size 1 in front of, as elementwise operations and `broadcast_to` do by themselves."""
    operation = defined_by(value, RESHAPE)
    if operation is None:
        return value
    source = operation.operands[0]
    extra = len(shape_of(value)) - len(shape_of(source))
    return source if extra >= 0 and shape_of(value) == (1,) * extra + shape_of(source) else value


def is_commutative(operation: Operation) -> bool:
    """Whether swapping the operands changes no bit. Not so for complex products, whose parts round by their place."""
    if not operation.spec.has(Trait.COMMUTATIVE):
        return False
    return operation.spec is not MUL or not tensor(operation.result).dtype.is_complex


def constant_of(value: Value) -> np.ndarray | None:
    """The array that `value` is, where it is a constant."""
    operation = defined_by(value, CONSTANT)
    return operation.attributes["value"] if operation else None


def splat_of(value: Value) -> np.ndarray | None:
    """The 0-d array that every element of `value` equals, where it is a constant; broadcasts are looked through."""
    while operation := defined_by(value, BROADCAST_TO, RESHAPE):
        value = operation.operands[0]
    array = constant_of(value)
    if array is None or array.size == 0:
        return None
    if array.size > 1 and not all_same(array):
        return None
    return array.reshape(-1)[:1].reshape(())


def all_same(array: np.ndarray) -> bool:
    """Whether every element has the bits of the first; False for an array without elements."""
    rows = np.array(array, order="C").reshape(-1).view(np.uint8).reshape(-1, array.itemsize)
    return array.size > 0 and bool((rows == rows[0]).all())


def is_splat(value: Value, number: float) -> bool:
    """Whether every element of `value` is that number; a zero must have the sign of `number` where it can have one."""
    array = splat_of(value)
    if array is None or not bool(array == number):
        return False
    kind = tensor(value).dtype.kind
    if number == 0 and kind in ("float", "complex"):
        parts = (array.real, array.imag) if kind == "complex" else (array,)
        return all(bool(np.signbit(part)) == bool(np.signbit(number)) for part in parts)
    return True
