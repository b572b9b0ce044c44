"""Comparisons, logic on truth values, tests for NaN and infinity, equality of whole tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import bool_

from ..dispatch import NONE, apply
from ..promotion import binary
from ..tensor import Tensor, method, peek, shape_of
from .inplace import with_inplace


def _comparison(name: str, spec: OpSpec, symbol: str) -> Any:
    def operation(input: Any, other: Any) -> Tensor:
        return binary(spec, input, other)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"input {symbol} other, elementwise, as bool."
    return with_inplace(method(operation))


eq = _comparison("eq", ops.EQ, "==")
ne = _comparison("ne", ops.NE, "!=")
lt = _comparison("lt", ops.LT, "<")
le = _comparison("le", ops.LE, "<=")
gt = _comparison("gt", ops.GT, ">")
ge = _comparison("ge", ops.GE, ">=")
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
for _name, _function in (
    ("not_equal", ne), ("less", lt), ("less_equal", le), ("greater", gt), ("greater_equal", ge),
):  # fmt: skip
    method(_function, name=_name)


def refuse_complex(name: str, *operands: Any) -> None:
    """Raise NotImplementedError for a complex operand of a function that has no meaning for it."""
    if any(isinstance(x, Tensor) and x._array.dtype.kind == "c" for x in operands):
        raise NotImplementedError(f"{name} does not support complex inputs")


def truth(x: Any) -> Tensor:
    """x as bool: whether each element is nonzero (NaN counts as nonzero)."""
    if x._array.dtype.kind == "b":
        return x
    return apply(ops.CAST, (x,), {"dtype": bool_})


@with_inplace
@method
def logical_not(input: Tensor) -> Tensor:
    """not input, elementwise."""
    return apply(ops.LOGICAL_NOT, (truth(input),), NONE)


@with_inplace
@method
def bitwise_not(input: Tensor) -> Tensor:
    """Every bit of an integer flipped; not of a bool. Raises TypeError for other dtypes."""
    kind = input._array.dtype.kind
    if kind not in "biu":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return apply(ops.LOGICAL_NOT if kind == "b" else ops.BITWISE_NOT, (input,), NONE)


@with_inplace
@method
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """input and other, elementwise."""
    return apply(ops.BITWISE_AND, (truth(input), truth(other)), NONE)


@with_inplace
@method
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """input or other, elementwise."""
    return apply(ops.BITWISE_OR, (truth(input), truth(other)), NONE)


@with_inplace
@method
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """One of the two but not both, elementwise."""
    return apply(ops.BITWISE_XOR, (truth(input), truth(other)), NONE)


@method
def isnan(input: Tensor) -> Tensor:
    """True where input is NaN."""
    if input._array.dtype.kind in "biuc":
        return apply(ops.NE, (input, input), NONE)
    return apply(ops.ISNAN, (input,), NONE)


@method
def isinf(input: Tensor) -> Tensor:
    """True where input is an infinity."""
    if input._array.dtype.kind in "biu":
        return apply(ops.NE, (input, input), NONE)
    if input._array.dtype.kind == "c":
        return logical_or(isinf(input.real), isinf(input.imag))
    return apply(ops.ISINF, (input,), NONE)


@method
def isfinite(input: Tensor) -> Tensor:
    """True where input is neither NaN nor an infinity."""
    return logical_not(logical_or(isnan(input), isinf(input)))


@method
def isposinf(input: Tensor) -> Tensor:
    """True where input is +inf."""
    refuse_complex("isposinf", input)
    return binary(ops.EQ, input, float("inf"))


@method
def isneginf(input: Tensor) -> Tensor:
    """True where input is -inf."""
    refuse_complex("isneginf", input)
    return binary(ops.EQ, input, float("-inf"))


@method
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape and equal elements. Python sees the answer."""
    if shape_of(input) != shape_of(other):
        return False
    return bool(eq(input, other).all())


@method
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other|, elementwise."""
    same = eq(input, other)
    if equal_nan:
        same = same | (isnan(input) & isnan(other))
    if input._array.dtype.kind in "biu" and other._array.dtype.kind in "biu":
        input, other = input.double(), other.double()
    return same | (((input - other).abs() <= atol + rtol * other.abs()) & isfinite(input) & isfinite(other))


@method
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds everywhere. Python sees the answer."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@method
def isin(elements: Tensor, test_elements: Tensor, *, invert: bool = False) -> Tensor:
    """True where an element of `elements` occurs in `test_elements`."""
    flat = test_elements.reshape(-1)
    found = eq(elements.unsqueeze(-1), flat).any(-1)
    return logical_not(found) if invert else found


@method
def is_nonzero(input: Tensor) -> bool:
    """Truth of a tensor with one element."""
    return bool(input)


def all_equal(input: Tensor, value: Any) -> bool:
    """Whether every element equals the number `value`; a read for code of ours that must branch on data."""
    return bool(np.all(peek(input) == value))
