"""Elementwise operations: one dtype in (after promotion), broadcasting operands, one result."""

from __future__ import annotations

from ..dtypes import ALL, BOOL, COMPLEX, FLOATING, INTEGER, NUMERIC, REAL, DType, bool_, float32
from ..errors import DTypeError
from ..spec import Kind, Trait
from ..types import TensorType
from .complex_numbers import PART
from .rules import broadcast_shapes, check_dtype, elementwise, op

__all__ = [
    "NEG", "ABS", "SIGN", "FLOOR", "CEIL", "ROUND", "TRUNC", "EXP", "EXPM1", "LOG", "LOG1P", "LOG2", "SQRT", "RSQRT",
    "SIN", "COS", "TAN", "ASIN", "ACOS", "ATAN", "SINH", "COSH", "TANH", "SIGMOID", "ERF", "LOGICAL_NOT",
    "BITWISE_NOT", "ISNAN", "ISINF", "ADD", "SUB", "MUL", "DIV", "FLOOR_DIVIDE", "REMAINDER", "FMOD", "POW",
    "MAXIMUM", "MINIMUM", "ATAN2", "BITWISE_AND", "BITWISE_OR", "BITWISE_XOR", "SHIFT_LEFT", "SHIFT_RIGHT", "EQ",
    "NE", "LT", "LE", "GT", "GE", "WHERE", "CAST", "COPY", "ACCUMULATOR",
]  # fmt: skip

_SIGNED = tuple(d for d in NUMERIC if d.kind != "uint")
_REAL_AND_BOOL = BOOL + REAL
_BITS = BOOL + INTEGER


def _unary(name: str, dtypes: tuple[DType, ...], doc: str, result: DType | None = None):
    return elementwise(name, ("x",), dtypes, doc, result)


def _binary(name: str, dtypes: tuple[DType, ...], doc: str, commutative: bool = False):
    return elementwise(name, ("x", "y"), dtypes, doc, None, Trait.COMMUTATIVE if commutative else Trait.NONE)


def _compare(name: str, dtypes: tuple[DType, ...], doc: str, commutative: bool = False):
    return elementwise(name, ("x", "y"), dtypes, doc, bool_, Trait.COMMUTATIVE if commutative else Trait.NONE)


NEG = _unary("neg", NUMERIC, "-x; wraps for unsigned integers.")
SIGN = _unary("sign", REAL, "-1, 0 or 1 by the sign of x; NaN stays NaN.")
FLOOR = _unary("floor", FLOATING, "Largest integer not above x.")
CEIL = _unary("ceil", FLOATING, "Smallest integer not below x.")
ROUND = _unary("round", FLOATING, "Nearest integer, halves to even.")
TRUNC = _unary("trunc", FLOATING, "x without its fraction.")
EXP = _unary("exp", FLOATING + COMPLEX, "e**x.")
EXPM1 = _unary("expm1", FLOATING + COMPLEX, "e**x - 1, accurate near 0.")
LOG = _unary("log", FLOATING + COMPLEX, "Natural logarithm.")
LOG1P = _unary("log1p", FLOATING + COMPLEX, "log(1 + x), accurate near 0.")
LOG2 = _unary("log2", FLOATING + COMPLEX, "Logarithm to base 2.")
SQRT = _unary("sqrt", FLOATING + COMPLEX, "Square root.")
RSQRT = _unary("rsqrt", FLOATING + COMPLEX, "1 / sqrt(x).")
SIN = _unary("sin", FLOATING + COMPLEX, "Sine of x radians.")
COS = _unary("cos", FLOATING + COMPLEX, "Cosine of x radians.")
TAN = _unary("tan", FLOATING + COMPLEX, "Tangent of x radians.")
ASIN = _unary("asin", FLOATING + COMPLEX, "Inverse sine, in radians.")
ACOS = _unary("acos", FLOATING + COMPLEX, "Inverse cosine, in radians.")
ATAN = _unary("atan", FLOATING + COMPLEX, "Inverse tangent, in radians.")
SINH = _unary("sinh", FLOATING + COMPLEX, "Hyperbolic sine.")
COSH = _unary("cosh", FLOATING + COMPLEX, "Hyperbolic cosine.")
TANH = _unary("tanh", FLOATING + COMPLEX, "Hyperbolic tangent.")
SIGMOID = _unary("sigmoid", FLOATING + COMPLEX, "1 / (1 + e**-x).")
ERF = _unary("erf", FLOATING, "Error function.")
LOGICAL_NOT = _unary("logical_not", BOOL, "not x.")
BITWISE_NOT = _unary("bitwise_not", INTEGER, "Every bit of x flipped.")
ISNAN = _unary("isnan", FLOATING, "True where x is NaN.", bool_)
ISINF = _unary("isinf", FLOATING, "True where x is an infinity.", bool_)

ADD = _binary("add", NUMERIC + BOOL, "x + y; `or` for bool.", commutative=True)
SUB = _binary("sub", NUMERIC, "x - y.")
MUL = _binary("mul", NUMERIC + BOOL, "x * y; `and` for bool.", commutative=True)
DIV = _binary("div", FLOATING + COMPLEX, "x / y.")
FLOOR_DIVIDE = _binary("floor_divide", REAL, "floor(x / y); an integer divisor of 0 raises ZeroDivisionError eagerly.")
REMAINDER = _binary("remainder", REAL, "x - floor_divide(x, y) * y: the sign of y.")
FMOD = _binary("fmod", REAL, "x - trunc(x / y) * y: the sign of x.")
POW = _binary("pow", NUMERIC, "x**y; an integer power with negative y truncates to 0, 1 or -1.")
# Not commutative: of 0.0 and -0.0, which are equal, the place decides.
MAXIMUM = _binary("maximum", _REAL_AND_BOOL, "The larger; NaN where either is NaN.")
MINIMUM = _binary("minimum", _REAL_AND_BOOL, "The smaller; NaN where either is NaN.")
ATAN2 = _binary("atan2", FLOATING, "Angle of the point (y=x operand, x=y operand), in radians.")
BITWISE_AND = _binary("bitwise_and", _BITS, "Bits set in both.", commutative=True)
BITWISE_OR = _binary("bitwise_or", _BITS, "Bits set in either.", commutative=True)
BITWISE_XOR = _binary("bitwise_xor", _BITS, "Bits set in one only.", commutative=True)
SHIFT_LEFT = _binary("shift_left", INTEGER, "x * 2**y; y outside the width gives 0.")
SHIFT_RIGHT = _binary("shift_right", INTEGER, "x / 2**y, keeping the sign; y outside the width gives 0 or -1.")

EQ = _compare("eq", ALL, "x == y.", commutative=True)
NE = _compare("ne", ALL, "x != y.", commutative=True)
LT = _compare("lt", _REAL_AND_BOOL, "x < y.")
LE = _compare("le", _REAL_AND_BOOL, "x <= y.")
GT = _compare("gt", _REAL_AND_BOOL, "x > y.")
GE = _compare("ge", _REAL_AND_BOOL, "x >= y.")


@op("abs", ("x",), {}, "|x|; of a complex x its distance from 0, in the dtype of its parts.", Trait.ELEMENTWISE)
def ABS(x: TensorType) -> TensorType:
    check_dtype("abs", "x", x.dtype, NUMERIC)
    return TensorType(PART.get(x.dtype, x.dtype), x.shape)


@op("where", ("condition", "x", "y"), {}, "x where condition holds, else y.", Trait.ELEMENTWISE)
def WHERE(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    check_dtype("where", "condition", condition.dtype, BOOL)
    if x.dtype is not y.dtype:
        raise DTypeError(f"where: x is {x.dtype.name} but y is {y.dtype.name}")
    return TensorType(x.dtype, broadcast_shapes("where", (condition.shape, x.shape, y.shape)))


@op("cast", ("x",), {"dtype": Kind.DTYPE}, "x converted to dtype; floats to integers truncate.", Trait.ELEMENTWISE)
def CAST(x: TensorType, dtype: DType) -> TensorType:
    return TensorType(dtype, x.shape)


@op("copy", ("x",), {}, "x itself, in memory of its own when run eagerly.", Trait.ELEMENTWISE)
def COPY(x: TensorType) -> TensorType:
    return x


ACCUMULATOR = {d: float32 if d.bits == 16 and d.kind == "float" else d for d in ALL}
"""The dtype sums, products and contractions are carried in before one final rounding."""
