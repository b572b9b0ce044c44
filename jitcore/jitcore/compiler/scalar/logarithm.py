"""log, log1p, log2 and pow.

x = m * 2**e with sqrt(1/2) <= m < sqrt(2); log(m) = 2 atanh(f) with f = (m - 1) / (m + 1), |f| <= 0.172, by the series
f + f**3/3 + f**5/5 ... (Abramowitz and Stegun 4.1.27): terms up to f**9 leave 3e-9 (float32), up to f**23 2e-19.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import DType, float32, float64, int32, int64

from .basic import Body
from .builder import Scalar
from .exponential import exp


@dataclass(frozen=True, slots=True)
class _Format:
    integer: DType
    mantissa_bits: int
    bias: int
    root_half: int  # the bits of sqrt(1/2)
    subnormal_scale: float  # a power of two that makes every subnormal normal
    subnormal_bits: int
    smallest_normal: float
    terms: int


_FORMATS = {
    float32: _Format(int32, 23, 127, 0x3F3504F3, 2.0**24, 24, 2.0**-126, 5),
    float64: _Format(int64, 52, 1023, 0x3FE6A09E667F3BCD, 2.0**54, 54, 2.0**-1022, 12),
}
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LN2_HIGH_F32, _LN2_LOW_F32 = 0.693359375, -2.12194440e-4


def _split(x: Scalar) -> tuple[Scalar, Scalar]:
    """(m, e) for positive finite x, as floats."""
    f = _FORMATS[x.dtype]
    tiny = x < f.smallest_normal
    scaled = (x * f.subnormal_scale).where(tiny, x)
    raised = scaled.bits(f.integer) - f.root_half
    exponent = raised >> f.mantissa_bits
    mantissa = (scaled.bits(f.integer) - (exponent << f.mantissa_bits)).bits(x.dtype)
    e = exponent.to(int32).to(x.dtype)
    return mantissa, (e - float(f.subnormal_bits)).where(tiny, e)


def _atanh_series(f: Scalar) -> Scalar:
    """2 * (atanh(f) - f) / f."""
    square = f * f
    terms = _FORMATS[f.dtype].terms
    return square.polynomial(*[2 / (2 * k + 1) for k in range(terms - 1, 0, -1)]) * square


def _special(x: Scalar, result: Scalar) -> Scalar:
    """The results for 0, negative numbers, infinity and NaN put in."""
    result = x.where(x.equals(float("inf")), result)
    result = x.like(float("-inf")).where(x.equals(0), result)
    return result.where(x >= 0, float("nan"))


def log(x: Scalar) -> Scalar:
    m, e = _split(x)
    high, low = (_LN2_HIGH, _LN2_LOW) if x.dtype is float64 else (_LN2_HIGH_F32, _LN2_LOW_F32)
    d = m - 1.0
    f = d / (m + 1.0)
    # log(m) = d - f * (d - series): d is exact, and what is subtracted is small.
    body = d - f * (d - _atanh_series(f))
    return _special(x, e.times_plus(high, e.times_plus(low, body)))


def log2(x: Scalar) -> Scalar:
    if x.dtype is float32:
        return log2(x.to(float64)).to(float32)
    m, e = _split(x)
    d = m - 1.0
    f = d / (m + 1.0)
    body = d - f * (d - _atanh_series(f))
    return _special(x, body.times_plus(1.4426950408889634, e))


def log1p(x: Scalar) -> Scalar:
    """log(u) + (x - (u - 1)) / u with u = 1 + x, which puts back what rounding 1 + x lost."""
    u = x + 1.0
    lost = x - (u - 1.0)
    finite = u.where(u > 0, 1.0)
    result = log(u) + lost / finite
    result = x.where(x.equals(0) | x.equals(float("inf")), result)
    return result.where(u > 0, log(u))


def power(x: Scalar, y: Scalar) -> Scalar:
    if x.dtype.kind != "float":
        return _integer_power(x, y)
    if x.dtype is float32:
        return power(x.to(float64), y.to(float64)).to(float32)
    size = x.apply("abs")
    result = _exp_of_product(size, y)
    whole = y.apply("floor").equals(y)
    half = y * 0.5
    odd = whole & half.apply("floor").differs(half) & (y.apply("abs") < 2.0**53)
    negative = (x < 0) | (x.equals(0) & (1.0 / x < 0))
    result = (-result).where(negative & odd, result)
    result = result.where(
        (x >= 0) | whole | x.equals(float("-inf")) | y.apply("abs").equals(float("inf")), float("nan")
    )
    result = x.like(float("nan")).where(x.differs(x) | y.differs(y), result)
    return x.like(1.0).where(
        x.equals(1.0) | y.equals(0) | (x.equals(-1.0) & y.apply("abs").equals(float("inf"))), result
    )


def _exp_of_product(x: Scalar, y: Scalar) -> Scalar:
    """exp(y * log(x)) for x >= 0. log(x) is carried in two doubles (high + low), about 2**-68 apart from the truth in
    the range that matters, so that multiplying by y costs no digits (T. J. Dekker's splitting, 1971)."""
    m, e = _split(x)
    d = m - 1.0
    s = m + 1.0
    f = d / s
    # f = f + f_low: the remainder of the division, in halves so that products are exact.
    f_low = (d - _exact_product_difference(f, s, d)) / s
    double = f + f
    series = _atanh_series(f)
    tail = f * series + f_low * 2.0  # log(m) = 2 f + tail
    base = e * _LN2_HIGH
    high = base + double
    error = double - (high - base)  # |base| >= |double| or base is 0
    low = error + tail + e * _LN2_LOW
    total = high + low  # tail may be a hundredth of high; what stays in low must be below high's last bit
    high, low = total, low - (total - high)
    top = _head(high)
    low = low + (high - top)
    y_top = _head(y)
    y_rest = y - y_top
    product = top * y_top
    rest = top * y_rest + y * low
    result = exp(product)
    bounded = rest.where((rest < 1.0) & (rest > -1.0), 0.0)
    grown = result * (bounded + bounded * bounded * 0.5) + result
    result = result.where(result.equals(0) | result.equals(float("inf")), grown)
    grows = (x > 1) ^ (y < 0)
    extreme = x.like(float("inf")).where(grows, 0.0)
    at_edge = x.equals(0) | x.equals(float("inf")) | y.equals(float("inf")) | y.equals(float("-inf"))
    return extreme.where(at_edge, result)


def _head(x: Scalar) -> Scalar:
    """x without its last 27 bits: products of two heads are exact."""
    return (x.bits(int64) & -(1 << 27)).bits(float64)


def _exact_product_difference(f: Scalar, s: Scalar, d: Scalar) -> Scalar:
    """f * s, to the last bit of what d - f * s needs: the product of the heads is exact, the rest is small."""
    f_top, s_top = _head(f), _head(s)
    f_rest, s_rest = f - f_top, s - s_top
    rest = f_top * s_rest + f_rest * s
    # d - f * s in the order that cancels exactly; given back as what to subtract from d.
    return d - ((d - f_top * s_top) - rest)


def _integer_power(x: Scalar, y: Scalar) -> Scalar:
    """By squaring, over the bits of y; a negative y gives 0, or +-1 for a base of +-1."""
    result, base = x.like(1), x
    count = y.where(y > 0, 0)
    for _ in range(x.dtype.bits - (x.dtype.kind == "int")):
        result = (result * base).where((count & 1).differs(0), result)
        count = count >> 1
        base = base * base
    if x.dtype.kind == "uint":
        return result
    odd = (y & 1).differs(0)
    unit = x.like(-1).where(odd, 1).where(x.equals(-1), x.like(1).where(x.equals(1), 0))
    return unit.where(y < 0, result)


LOGARITHM: dict[OpSpec, Body] = {ops.LOG: log, ops.LOG1P: log1p, ops.LOG2: log2, ops.POW: power}
