"""sin, cos, tan and the inverse functions. Computed in float64 also for float32, whose results are then rounded once.

Arguments are reduced to |r| <= pi/4 with pi/2 in three parts (Cody and Waite), exact for |x| up to about 2**30; beyond,
the error grows with x. sin and cos of r by their Taylor series to r**17: the next term is below 1e-19. atan by the
rational approximation of S. L. Moshier's Cephes library (atan.c), asin and acos from it.
"""

from __future__ import annotations

from math import factorial, pi

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import float32, float64, int64

from .basic import Body
from .builder import Scalar

_HALF_PI = (1.57079632673412561417e0, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
_MAGIC = 1.5 * 2.0**52
_ATAN = (
    (-8.750608600031904122785e-1, -1.615753718733365076637e1, -7.500855792314704667340e1, -1.228866684490136173410e2,
     -6.485021904942025371773e1),
    (1.0, 2.485846490142306297962e1, 1.650270098316988542046e2, 4.328810604912902668951e2, 4.853903996359136964868e2,
     1.945506571482613964425e2),
)  # fmt: skip


def widened(body: Body) -> Body:
    """The same function for float32, by way of float64."""

    def run(*xs: Scalar) -> Scalar:
        return body(*(x.to(float64) for x in xs)).to(float32) if xs[0].dtype is float32 else body(*xs)

    return run


def _reduce(x: Scalar) -> tuple[Scalar, Scalar]:
    """(r, quadrant) with x = r + quadrant * pi/2; the quadrant as int64."""
    shifted = x.times_plus(2 / pi, _MAGIC)
    n = shifted - _MAGIC
    r = x
    for part in _HALF_PI:
        r = n.times_plus(-part, r)
    return r, shifted.bits(int64)


def _sine(r: Scalar) -> Scalar:
    square = r * r
    series = square.polynomial(*[(-1) ** k / factorial(2 * k + 1) for k in range(8, 0, -1)])
    return r.times_plus(square * series, r)


def _cosine(r: Scalar) -> Scalar:
    square = r * r
    series = square.polynomial(*[(-1) ** k / factorial(2 * k) for k in range(9, 1, -1)])
    return (square * square).times_plus(series, square.times_plus(-0.5, 1.0))


def _sine_at(x: Scalar, quarter_turns: int) -> Scalar:
    r, quadrant = _reduce(x)
    quadrant = quadrant + quarter_turns
    value = _cosine(r).where((quadrant & 1).differs(0), _sine(r))
    value = (-value).where((quadrant & 2).differs(0), value)
    return value.where(x.apply("abs") < float("inf"), float("nan"))


def sin(x: Scalar) -> Scalar:
    return x.where(x.equals(0), _sine_at(x, 0))


def cos(x: Scalar) -> Scalar:
    return _sine_at(x, 1)


def tan(x: Scalar) -> Scalar:
    r, quadrant = _reduce(x)
    s, c = _sine(r), _cosine(r)
    odd = (quadrant & 1).differs(0)
    value = (-c).where(odd, s) / s.where(odd, c)
    value = x.where(x.equals(0), value)
    return value.where(x.apply("abs") < float("inf"), float("nan"))


def atan(x: Scalar) -> Scalar:
    size = x.apply("abs")
    large, middle = size > 2.414213562373095, size > 0.66
    t = (-1.0 / size).where(large, ((size - 1.0) / (size + 1.0)).where(middle, size))
    offset = x.like(pi / 2).where(large, x.like(pi / 4).where(middle, 0.0))
    correction = x.like(6.123233995736765886130e-17).where(large, x.like(3.061616997868383e-17).where(middle, 0.0))
    square = t * t
    ratio = square * square.polynomial(*_ATAN[0]) / square.polynomial(*_ATAN[1])
    value = offset + (t.times_plus(ratio, t) + correction)
    value = value.where(x >= 0, -value)
    return x.where(x.differs(x) | x.equals(0), value)


def atan2(y: Scalar, x: Scalar) -> Scalar:
    size_x, size_y = x.apply("abs"), y.apply("abs")
    steep = size_y > size_x
    small, big = size_x.where(steep, size_y), size_y.where(steep, size_x)
    both_infinite = small.equals(float("inf"))
    ratio = (small / big.where(big.differs(0), 1.0)).where(~both_infinite, 1.0)
    angle = atan(ratio)
    angle = ((pi / 2 - angle) + 6.123233995736766e-17).where(steep, angle)
    left = (x < 0) | (x.equals(0) & (1.0 / x < 0))
    angle = ((pi - angle) + 1.2246467991473532e-16).where(left, angle)
    below = (y < 0) | (y.equals(0) & (1.0 / y < 0))
    angle = (-angle).where(below, angle)
    return (x + y).where(x.differs(x) | y.differs(y), angle)


def asin(x: Scalar) -> Scalar:
    """atan(x / sqrt((1 - x) * (1 + x)))."""
    root = ((1.0 - x) * (x + 1.0)).apply("sqrt")
    at_end = x.apply("abs").equals(1.0)
    value = atan(x / root.where(~at_end, 1.0))
    value = (x * (pi / 2)).where(at_end, value)
    return x.where(x.equals(0), value)


def acos(x: Scalar) -> Scalar:
    """2 atan(sqrt((1 - x) / (1 + x)))."""
    at_end = x.equals(-1.0)
    value = atan(((1.0 - x) / (x + 1.0).where(~at_end, 1.0)).apply("sqrt")) * 2.0
    return x.like(pi).where(at_end, value)


TRIGONOMETRIC: dict[OpSpec, Body] = {
    ops.SIN: widened(sin),
    ops.COS: widened(cos),
    ops.TAN: widened(tan),
    ops.ASIN: widened(asin),
    ops.ACOS: widened(acos),
    ops.ATAN: widened(atan),
    ops.ATAN2: widened(atan2),
}
