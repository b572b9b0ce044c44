"""Special functions, with the names of `torch.special`. One table row per function."""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import ops

from ..device import get_default_dtype
from ..dispatch import NONE, apply
from ..promotion import promoted
from ..tensor import Tensor, method
from .arithmetic import xlogy
from .elementwise import erf, erfc, log1p, sinc, where
from .inplace import with_inplace


def _unary(name: str) -> Any:
    def operation(input: Tensor) -> Tensor:
        if input._array.dtype.kind in "biu":
            input = apply(ops.CAST, (input,), {"dtype": get_default_dtype()})
        return apply(ops.SPECIAL, (input,), {"function": name})

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{name} of each element; integers become the default dtype."
    return operation


def _binary(name: str, first: str = "input", second: str = "other") -> Any:
    def operation(input: Any, other: Any) -> Tensor:
        return apply(ops.SPECIAL_OF_TWO, promoted((input, other), True), {"function": name})

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{name} of two operands, element by element; they broadcast."
    return operation


digamma, lgamma, erfinv, i0 = (with_inplace(method(_unary(name))) for name in ("digamma", "lgamma", "erfinv", "i0"))
psi, gammaln = digamma, lgamma
erfcx, i0e, i1, i1e, ndtri, log_ndtr, airy_ai = (
    _unary(name) for name in ("erfcx", "i0e", "i1", "i1e", "ndtri", "log_ndtr", "airy_ai")
)
bessel_j0, bessel_j1, bessel_y0, bessel_y1 = (
    _unary(name) for name in ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1")
)
modified_bessel_k0, modified_bessel_k1 = (_unary(name) for name in ("modified_bessel_k0", "modified_bessel_k1"))
scaled_modified_bessel_k0, scaled_modified_bessel_k1 = (
    _unary(name) for name in ("scaled_modified_bessel_k0", "scaled_modified_bessel_k1")
)
gammainc, gammaincc, zeta = (_binary(name) for name in ("gammainc", "gammaincc", "zeta"))
(
    chebyshev_polynomial_t, chebyshev_polynomial_u, chebyshev_polynomial_v, chebyshev_polynomial_w,
    hermite_polynomial_h, hermite_polynomial_he, laguerre_polynomial_l, legendre_polynomial_p,
    shifted_chebyshev_polynomial_t, shifted_chebyshev_polynomial_u, shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
) = (
    _binary(name)
    for name in (
        "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
        "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
        "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
        "shifted_chebyshev_polynomial_w",
    )
)  # fmt: skip
modified_bessel_i0, modified_bessel_i1 = _unary("i0"), _unary("i1")


@with_inplace
@method
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """The regularized lower incomplete gamma function; differentiable in other."""
    return gammainc(input, other)


@with_inplace
@method
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """The regularized upper incomplete gamma function; differentiable in other."""
    return gammaincc(input, other)


@with_inplace
@method
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number of the dtype after input towards other."""
    return apply(ops.SPECIAL_OF_TWO, promoted((input, other)), {"function": "nextafter"})


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma. Raises RuntimeError for a negative n."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if n == 0:
        return digamma(input)
    x = promoted((input,), True)[0]
    order = apply(ops.CAST, (x.detach() * 0 + n,), {"dtype": x.dtype})
    return apply(ops.SPECIAL_OF_TWO, (order, x), {"function": "polygamma"})


@with_inplace
@method
def _polygamma_method(self: Tensor, n: int) -> Tensor:
    return polygamma(n, self)


Tensor.polygamma = _polygamma_method  # type: ignore[attr-defined]
Tensor.polygamma_ = Tensor._polygamma_method_  # type: ignore[attr-defined]


@with_inplace
@method
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = promoted((input,), True)[0]
    total: Any = 0.25 * p * (p - 1) * math.log(math.pi)
    for j in range(p):
        total = lgamma(x - j / 2) + total
    return total


multigammaln = mvlgamma


def ndtr(input: Tensor) -> Tensor:
    """The standard normal distribution function."""
    x = promoted((input,), True)[0]
    low = erfc(x * -math.sqrt(0.5)) * 0.5
    return where(x < 1, low, 0.5 + erf(x * math.sqrt(0.5)) * 0.5)


def entr(input: Tensor) -> Tensor:
    """-x * log(x); 0 at 0, -inf below."""
    x = promoted((input,), True)[0]
    return where(x < 0, float("-inf"), -xlogy(x, x))


def xlog1py(input: Any, other: Any) -> Tensor:
    """input * log1p(other), 0 where input is 0 and other is not NaN."""
    x, y = promoted((input, other), True)
    zero = (x == 0) & (y == y)
    return where(zero, apply(ops.MUL, (x, y), NONE).detach() * 0, x * log1p(where(zero, y.detach() * 0, y)))


def spherical_bessel_j0(input: Tensor) -> Tensor:
    """sin(x) / x."""
    x = promoted((input,), True)[0]
    return sinc(x / math.pi)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """log_softmax along dim."""
    from .activation import log_softmax as function

    return function(input, dim, dtype=dtype)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """softmax along dim."""
    from .activation import softmax as function

    return function(input, dim, dtype=dtype)
