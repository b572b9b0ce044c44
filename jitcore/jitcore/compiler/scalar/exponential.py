"""exp, expm1, tanh, sinh, cosh and sigmoid.

exp(x) = 2**n * exp(r) with n = round(x / ln 2) and r = x - n ln 2 from a two-part ln 2 (Cody and Waite, "Software
manual for the elementary functions", 1980), exp(r) by its Taylor series: |r| <= 0.347, so degree 7 leaves 2e-9
(float32) and degree 14 leaves 2e-19 (float64). NaN and infinities pass through selects, never through a clamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial, log

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import DType, float32, float64, int32, int64

from .basic import Body
from .builder import Scalar


@dataclass(frozen=True, slots=True)
class _Format:
    """What exp needs to know of a float format. Outside low..high the result is 0 or infinite."""

    integer: DType
    mantissa_bits: int
    bias: int
    ln2_high: float  # few enough bits that n * ln2_high is exact
    ln2_low: float
    magic: float  # 1.5 * 2**mantissa_bits: adding it rounds to an integer, which then stands in the low bits
    low: float
    high: float
    degree: int


_FORMATS = {
    float32: _Format(int32, 23, 127, 0.693359375, -2.12194440e-4, 1.5 * 2**23, -103.98, 88.72284, 7),
    float64: _Format(
        int64,
        52,
        1023,
        6.93147180369123816490e-01,
        1.90821492927058770002e-10,
        1.5 * 2**52,
        -745.14,
        709.782712893384,
        14,
    ),
}


def _taylor(degree: int) -> list[float]:
    """Coefficients of (exp(r) - 1) / r, highest power first."""
    return [1 / factorial(k) for k in range(degree, 0, -1)]


def _reduce(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """(exp(r) - 1, 2**(n // 2), 2**(n - n // 2)): the scale in two factors, so that subnormal results are right."""
    f = _FORMATS[x.dtype]
    inside = x.where((x >= f.low) & (x <= f.high), 0.0)
    shifted = inside.times_plus(1 / log(2), f.magic)
    n = shifted - f.magic
    r = n.times_plus(-f.ln2_high, inside)
    r = n.times_plus(-f.ln2_low, r)
    whole = shifted.bits(f.integer) - x.like(f.magic).bits(f.integer)
    half = whole >> 1
    first = ((half + f.bias) << f.mantissa_bits).bits(x.dtype)
    second = (((whole - half) + f.bias) << f.mantissa_bits).bits(x.dtype)
    return r.polynomial(*_taylor(f.degree)) * r, first, second


def exp(x: Scalar) -> Scalar:
    f = _FORMATS[x.dtype]
    grown, first, second = _reduce(x)
    result = (grown + 1.0) * first * second
    result = result.where(x >= f.low, 0.0)
    result = result.where(x <= f.high, float("inf"))
    return x.where(x.differs(x), result)


def expm1(x: Scalar) -> Scalar:
    f = _FORMATS[x.dtype]
    grown, first, second = _reduce(x)
    result = (grown * first * second) + (first * second - 1.0)
    # 2**n overflows before the product does: near the top the -1 does not matter.
    result = result.where(x < f.high - 1.0, exp(x))
    result = result.where(x > -40.0, -1.0)
    result = x.where(x.equals(0), result)
    return x.where(x.differs(x), result)


def tanh(x: Scalar) -> Scalar:
    """expm1(2|x|) / (expm1(2|x|) + 2); 1 from 20 on."""
    magnitude = x.apply("abs")
    bounded = magnitude.where(magnitude < 20.0, 20.0)
    grown = expm1_bounded(bounded + bounded)
    result = grown / (grown + 2.0)
    result = result.where(x >= 0, -result)
    result = x.where(magnitude < (2e-4 if x.dtype is float32 else 1e-9), result)
    return x.where(x.differs(x), result)


def expm1_bounded(x: Scalar) -> Scalar:
    """expm1 for 0 <= x <= 40, where nothing overflows."""
    grown, first, second = _reduce(x)
    scale = first * second
    return grown.times_plus(scale, scale - 1.0)


def sinh(x: Scalar) -> Scalar:
    """(e + e / (e + 1)) / 2 with e = expm1(|x|); for large |x| exp(|x| / 2) squared, so that it overflows late."""
    magnitude = x.apply("abs")
    grown = expm1(magnitude)
    small = (grown + grown / (grown + 1.0)) * 0.5
    half = exp(magnitude * 0.5)
    result = small.where(magnitude < 20.0, half * 0.5 * half)
    result = result.where(x >= 0, -result)
    return x.where(x.differs(x) | x.equals(0), result)


def cosh(x: Scalar) -> Scalar:
    magnitude = x.apply("abs")
    e = exp(magnitude)
    half = exp(magnitude * 0.5)
    result = (e + 1.0 / e).where(magnitude < 20.0, half) * x.like(0.5)
    return result.where(magnitude < 20.0, result * half)


def sigmoid(x: Scalar) -> Scalar:
    """e / (1 + e) for negative x, 1 / (1 + e) else, with e = exp(-|x|): small results keep their digits."""
    e = exp(-x.apply("abs"))
    result = x.like(1.0).where(x >= 0, e) / (e + 1.0)
    return x.where(x.differs(x), result)


EXPONENTIAL: dict[OpSpec, Body] = {
    ops.EXP: exp,
    ops.EXPM1: expm1,
    ops.TANH: tanh,
    ops.SINH: sinh,
    ops.COSH: cosh,
    ops.SIGMOID: sigmoid,
}
