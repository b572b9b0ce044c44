"""`ScalarBuilder`: the few operations that every printer of loop IR provides, and `Scalar`, a value it made.

The body of each elementwise operation (`SCALARS`) is written once over this protocol; LLVM code, CUDA source and, in
tests, NumPy arrays come out of it. A builder knows bool, the integers, float32 and float64; 16-bit floats are only
converted. Comparisons with NaN are false, except "ne".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from jitcore_ir.dtypes import DType

Number = bool | int | float


class ScalarBuilder(Protocol):
    """What a printer provides. Operands share a dtype; `handle`s are the printer's own values."""

    def constant(self, dtype: DType, value: Number) -> Scalar: ...
    def binary(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        """ "+", "-", "*" (integers wrap), "/" (floats), "//", "%" (integers, truncating; the divisor is neither 0 nor,
        for the lowest dividend, -1), "&", "|", "^" (integers, bool), "<<", ">>" (integers, shift inside the width;
        ">>" keeps the sign of signed ones)."""

    def compare(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        """ "==", "!=", "<", "<=", ">", ">=": a bool."""

    def select(self, condition: Scalar, x: Scalar, y: Scalar) -> Scalar: ...
    def multiply_add(self, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
        """x * y + z for floats, with one rounding or two."""

    def unary(self, name: str, x: Scalar) -> Scalar:
        """ "neg"; for floats also "abs", "sqrt", "floor", "ceil", "trunc", "round" (halves to even)."""

    def extreme(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        """ "maximum" or "minimum" of floats: NaN where either is NaN."""

    def convert(self, x: Scalar, dtype: DType) -> Scalar:
        """The value in another dtype; floats to integers truncate, anything to bool compares with 0."""

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        """The same bits: float32 with int32, float64 with int64."""

    def nonzero_divisor(self, y: Scalar) -> Scalar:
        """`y`, or 1 where an integer y is 0: the program then ends with a ZeroDivisionError."""


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A value of `dtype` made by `builder`. Python's operators work on it, also with numbers."""

    builder: ScalarBuilder
    handle: Any
    dtype: DType

    def like(self, value: Number) -> Scalar:
        """A constant of this dtype."""
        return self.builder.constant(self.dtype, value)

    def _binary(self, operator: str, other: Scalar | Number, swap: bool = False) -> Scalar:
        y = other if isinstance(other, Scalar) else self.like(other)
        return self.builder.binary(operator, y, self) if swap else self.builder.binary(operator, self, y)

    def _compare(self, operator: str, other: Scalar | Number) -> Scalar:
        return self.builder.compare(operator, self, other if isinstance(other, Scalar) else self.like(other))

    def __add__(self, other: Scalar | Number) -> Scalar:
        return self._binary("+", other)

    def __radd__(self, other: Number) -> Scalar:
        return self._binary("+", other, swap=True)

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return self._binary("-", other)

    def __rsub__(self, other: Number) -> Scalar:
        return self._binary("-", other, swap=True)

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return self._binary("*", other)

    def __rmul__(self, other: Number) -> Scalar:
        return self._binary("*", other, swap=True)

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        return self._binary("/", other)

    def __rtruediv__(self, other: Number) -> Scalar:
        return self._binary("/", other, swap=True)

    def __and__(self, other: Scalar | Number) -> Scalar:
        return self._binary("&", other)

    def __or__(self, other: Scalar | Number) -> Scalar:
        return self._binary("|", other)

    def __xor__(self, other: Scalar | Number) -> Scalar:
        return self._binary("^", other)

    def __lshift__(self, other: Scalar | Number) -> Scalar:
        return self._binary("<<", other)

    def __rshift__(self, other: Scalar | Number) -> Scalar:
        return self._binary(">>", other)

    def __invert__(self) -> Scalar:
        return self._binary("^", True if self.dtype.kind == "bool" else -1)

    def __neg__(self) -> Scalar:
        return self.builder.unary("neg", self)

    def __lt__(self, other: Scalar | Number) -> Scalar:
        return self._compare("<", other)

    def __le__(self, other: Scalar | Number) -> Scalar:
        return self._compare("<=", other)

    def __gt__(self, other: Scalar | Number) -> Scalar:
        return self._compare(">", other)

    def __ge__(self, other: Scalar | Number) -> Scalar:
        return self._compare(">=", other)

    def equals(self, other: Scalar | Number) -> Scalar:
        return self._compare("==", other)

    def differs(self, other: Scalar | Number) -> Scalar:
        return self._compare("!=", other)

    def where(self, condition: Scalar, otherwise: Scalar | Number) -> Scalar:
        """This where `condition` holds, else `otherwise`."""
        y = otherwise if isinstance(otherwise, Scalar) else self.like(otherwise)
        return self.builder.select(condition, self, y)

    def times_plus(self, y: Scalar | Number, z: Scalar | Number) -> Scalar:
        """self * y + z, rounded once or twice."""
        lift = [v if isinstance(v, Scalar) else self.like(v) for v in (y, z)]
        return self.builder.multiply_add(self, *lift)

    def polynomial(self, *coefficients: float) -> Scalar:
        """By Horner's rule, highest power first."""
        total = self.like(coefficients[0])
        for coefficient in coefficients[1:]:
            total = total.times_plus(self, coefficient)
        return total

    def to(self, dtype: DType) -> Scalar:
        return self if dtype is self.dtype else self.builder.convert(self, dtype)

    def bits(self, dtype: DType) -> Scalar:
        return self.builder.bitcast(self, dtype)

    def apply(self, name: str) -> Scalar:
        """One of the builder's unary operations."""
        return self.builder.unary(name, self)
