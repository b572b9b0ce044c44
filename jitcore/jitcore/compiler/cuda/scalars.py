"""The scalar builder that writes Python source for numba.cuda, one assignment per operation.

Numba widens what Python's operators give (int32 + int32 is int64, float32 * 2.0 is float64), so each constant and each
result of integer arithmetic is wrapped in its type. int64 needs no wrapping: Python's integers are that to Numba.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitcore_ir.dtypes import DType, bfloat16, bool_, float16, float32, float64, int32, int64

from ..scalar import Scalar
from ..scalar.builder import Number
from ..scalar.half import narrow_any, widen

_ROUNDING = {"abs": "fabs", "round": "rint"}
_BITCASTS = {
    (float32, int32): "float_as_int",
    (int32, float32): "int_as_float",
    (float64, int64): "double_as_longlong",
    (int64, float64): "longlong_as_double",
}
_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "<<": operator.lshift, ">>": operator.rshift, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def memory_name(dtype: DType) -> str:
    """The name of the type of an element in memory: bool is a byte, 16-bit floats are their bits."""
    if dtype is bool_:
        return "uint8"
    if dtype in (float16, bfloat16):
        return "uint16"
    return dtype.name


class Literal(str):
    """The handle of a constant bool or integer. Python would fold two of them without int64's bounds, so we do."""

    __slots__ = ("value",)
    value: int

    def __new__(cls, text: str, value: int) -> Literal:
        made = super().__new__(cls, text)
        made.value = value
        return made


class SourceScalars:
    """Implements `ScalarBuilder`; handles are names of variables or literals.

    `write(line)` adds a line to the function. `report_zero(condition)` adds the lines that report a division by zero.
    """

    def __init__(self, write: Callable[[str], None], report_zero: Callable[[str], None]) -> None:
        self.write = write
        self.report_zero = report_zero
        self._count = 0

    def wrap(self, handle: str, dtype: DType) -> Scalar:
        return Scalar(self, handle, dtype)

    def name(self) -> str:
        """A new variable."""
        self._count += 1
        return f"t{self._count - 1}"

    def assign(self, text: str, dtype: DType) -> Scalar:
        """A new variable that holds the value of `text`."""
        name = self.name()
        self.write(f"{name} = {text}")
        return self.wrap(name, dtype)

    def constant(self, dtype: DType, value: Number) -> Scalar:
        return self.wrap(_literal(dtype, value), dtype)

    def binary(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        dtype, a, b = x.dtype, x.handle, y.handle
        if isinstance(a, Literal) and isinstance(b, Literal) and operator in _FOLDED:
            return self.constant(dtype, _FOLDED[operator](a.value, b.value))
        if dtype.kind == "float":
            return self.call("fmod", x, y) if operator == "%" else self.assign(f"{a} {operator} {b}", dtype)
        if dtype is bool_:
            if operator == "^" and b == "True":
                return self.assign(f"not {a}", bool_)
            return self.assign(f"{a} {'!=' if operator == '^' else operator} {b}", bool_)
        if operator in ("//", "%"):
            return self._truncating(operator, x, y)
        return self.assign(_typed(dtype, f"{a} {operator} {b}"), dtype)

    def floor_division(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        """ "//" or "%" of integers as Python rounds them, which is how Numba does it too. `y` is not 0."""
        return self.assign(_typed(x.dtype, f"{x.handle} {operator} {y.handle}"), x.dtype)

    def _truncating(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        quotient, rest = self.floor_division("//", x, y), self.floor_division("%", x, y)
        up = rest.differs(0) & ((x < 0) ^ (y < 0))
        if operator == "//":
            return (quotient + 1).where(up, quotient)
        return (rest - y).where(up, rest)

    def compare(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        if isinstance(x.handle, Literal) and isinstance(y.handle, Literal):
            return self.constant(bool_, _FOLDED[operator](x.handle.value, y.handle.value))
        return self.assign(f"{x.handle} {operator} {y.handle}", bool_)

    def select(self, condition: Scalar, x: Scalar, y: Scalar) -> Scalar:
        if isinstance(condition.handle, Literal):
            return x if condition.handle.value else y
        return self.assign(f"{x.handle} if {condition.handle} else {y.handle}", x.dtype)

    def multiply_add(self, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
        return self.assign(f"{x.handle} * {y.handle} + {z.handle}", x.dtype)

    def unary(self, name: str, x: Scalar) -> Scalar:
        if name == "neg":
            return self.assign(f"-{x.handle}" if x.dtype.kind == "float" else _typed(x.dtype, f"-{x.handle}"), x.dtype)
        return self.call(_ROUNDING.get(name, name), x)

    def call(self, name: str, *xs: Scalar) -> Scalar:
        """One of `names.FUNCTIONS` on floats."""
        dtype = xs[0].dtype
        suffix = "f" if dtype is float32 else ""
        return self.assign(f"{name}{suffix}({', '.join(x.handle for x in xs)})", dtype)

    def extreme(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        order = ">" if name == "maximum" else "<"
        a, b = x.handle, y.handle
        return self.assign(f"{a} if {a} {order} {b} or {a} != {a} else {b}", x.dtype)

    def convert(self, x: Scalar, dtype: DType) -> Scalar:
        source = x.dtype
        if source is dtype:
            return x
        if source in (float16, bfloat16):
            return widen(self.assign(f"int32({x.handle})", int32), source).to(dtype)
        if dtype in (float16, bfloat16):
            return self.assign(f"uint16({(narrow_any(x, dtype) & 0xFFFF).handle})", dtype)
        if dtype is bool_:
            return x.differs(0)
        if source is bool_:
            return self.assign(f"{_literal(dtype, 1)} if {x.handle} else {_literal(dtype, 0)}", dtype)
        handle = x.handle
        if source.kind == "float" and dtype.bits < 64 and dtype.kind != "float":
            handle = f"int64({handle})"  # so that what does not fit wraps, as on the CPU
        return self.assign(f"{dtype.name}({handle})", dtype)

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        return self.assign(f"{_BITCASTS[x.dtype, dtype]}({x.handle})", dtype)

    def nonzero_divisor(self, y: Scalar) -> Scalar:
        if isinstance(y.handle, Literal) and y.handle.value:
            return y
        is_zero = y.equals(0)
        self.report_zero(is_zero.handle)
        return y.like(1).where(is_zero, y)

    # Memory

    def loaded(self, text: str, dtype: DType) -> Scalar:
        """The element of memory that `text` names."""
        return self.assign(f"{text} != uint8(0)" if dtype is bool_ else text, dtype)

    def stored(self, x: Scalar) -> str:
        """What to assign to an element of memory."""
        return f"uint8(1) if {x.handle} else uint8(0)" if x.dtype is bool_ else x.handle


def _typed(dtype: DType, text: str) -> str:
    return text if dtype is int64 else f"{dtype.name}({text})"


def _literal(dtype: DType, value: Number) -> str:
    if dtype is bool_:
        return Literal(str(bool(value)), int(bool(value)))
    if dtype.kind == "float":
        with np.errstate(over="ignore"):
            number = np.float32(value) if dtype is float32 else np.float64(value)
        return f"{dtype.name}({number!s})"
    kept = int(value) & ((1 << dtype.bits) - 1)
    if dtype.kind == "int" and kept >> (dtype.bits - 1):
        kept -= 1 << dtype.bits
    if dtype is not int64:
        return Literal(f"{dtype.name}({kept})", kept)
    # -2**63 as one literal would be the negative of a number that int64 does not hold.
    return Literal(str(kept) if kept >= 0 else f"({kept})" if kept > -(1 << 63) else f"({kept + 1} - 1)", kept)
