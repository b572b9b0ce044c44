"""The error function.

float32: erf(x) / x as a ratio of polynomials in x**2 on |x| <= 4 (a weighted least-squares fit, relative error 2.6e-9).
float64: W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23, 1969.
"""

from __future__ import annotations

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import float32
from jitcore_runtime.kernels.special import ERF_MIDDLE, ERF_NEAR, ERF_SMALL, ERF_TAIL, ONE_OVER_SQRT_PI

from .basic import Body
from .builder import Scalar
from .exponential import exp


def erf(x: Scalar) -> Scalar:
    return _erf_float32(x) if x.dtype is float32 else _erf_float64(x)


def _erf_float32(x: Scalar) -> Scalar:
    size = x.apply("abs")
    bounded = x.where(size < 4.0, 4.0)
    square = bounded * bounded
    value = bounded * square.polynomial(*ERF_NEAR[0][::-1]) / square.polynomial(*ERF_NEAR[1][::-1])
    one = x.like(1.0).where(x > 0, -1.0)
    value = value.where(size < 3.92, one)
    return x.where(x.differs(x), value)


def _erf_float64(x: Scalar) -> Scalar:
    size = x.apply("abs")
    near = size.where(size <= 0.46875, 0.0)
    square = near * near
    small = x * (square.polynomial(*ERF_SMALL[0]) / square.polynomial(*ERF_SMALL[1]))
    far = size.where((size > 0.46875) & (size < 6.0), 6.0)
    middle_at = far.where(far < 4.0, 4.0)
    middle = middle_at.polynomial(*ERF_MIDDLE[0]) / middle_at.polynomial(*ERF_MIDDLE[1])
    inverse = 1.0 / (far * far)
    tail = (ONE_OVER_SQRT_PI - inverse * inverse.polynomial(*ERF_TAIL[0]) / inverse.polynomial(*ERF_TAIL[1])) / far
    complement = middle.where(far < 4.0, tail) * exp(-(far * far))
    large = 1.0 - complement
    value = small.where(size <= 0.46875, large.where(x > 0, -large))
    return x.where(x.differs(x), value)


ERROR: dict[OpSpec, Body] = {ops.ERF: erf}
