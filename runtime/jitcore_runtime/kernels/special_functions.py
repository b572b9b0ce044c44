"""Kernels of special functions, most of them SciPy's (Cephes, Boost, Faddeeva), which is imported when one is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from .floating import Kernel, of_reals


@cache
def _scipy() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise RuntimeError(f"special functions need SciPy ({error}): pip install scipy") from error
    return special


def special(*xs: np.ndarray, function: str) -> np.ndarray:
    """In float64 throughout; the result has the operands' dtype."""
    if function == "nextafter":
        return np.asarray(np.nextafter(*xs))
    with np.errstate(all="ignore"):
        result = _FUNCTIONS[function](*[x.astype(np.float64) for x in xs])
    return np.asarray(result).astype(xs[0].dtype)


def _polynomial(start: Callable[[np.ndarray], np.ndarray], recur: Callable[..., np.ndarray]) -> Callable[..., Any]:
    """P[0] = 1, P[1] = start(x), P[k + 1] = recur(x, k, P[k], P[k - 1]); 0 for a negative degree."""

    def evaluate(x: np.ndarray, degree: np.ndarray) -> np.ndarray:
        x, degree = np.broadcast_arrays(x, np.trunc(degree))
        result = np.where(degree < 0, 0.0, 1.0)
        before, now = np.ones_like(x), start(x)
        for k in range(1, int(degree.max(initial=0)) + 1):
            result = np.where(degree == k, now, result)
            before, now = now, recur(x, k, now, before)
        return result

    return evaluate


def _chebyshev(start: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Any]:
    return _polynomial(start, lambda x, k, now, before: 2 * x * now - before)


def _shifted(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, degree: evaluate(2 * x - 1, degree)


_T = _chebyshev(lambda x: x)
_U = _chebyshev(lambda x: 2 * x)
_V = _chebyshev(lambda x: 2 * x - 1)
_W = _chebyshev(lambda x: 2 * x + 1)


def _polygamma(order: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _scipy().polygamma(order.astype(np.int64), x)


def _lgamma(x: np.ndarray) -> np.ndarray:
    return _scipy().gammaln(x)


def _digamma(x: np.ndarray) -> np.ndarray:
    """PyTorch's digamma(-0.0) is inf and digamma(0.0) -inf, as the limits are."""
    result = _scipy().digamma(x)
    pole = (x < 0) & (x == np.floor(x))
    return np.where(x == 0, np.where(np.signbit(x), np.inf, -np.inf), np.where(pole, np.nan, result))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "digamma": _digamma,
    "lgamma": _lgamma,
    "erfinv": lambda x: _scipy().erfinv(x),
    "erfcx": lambda x: _scipy().erfcx(x),
    "i0": lambda x: _scipy().i0(x),
    "i0e": lambda x: _scipy().i0e(x),
    "i1": lambda x: _scipy().i1(x),
    "i1e": lambda x: _scipy().i1e(x),
    "ndtri": lambda x: _scipy().ndtri(x),
    "log_ndtr": lambda x: _scipy().log_ndtr(x),
    "bessel_j0": lambda x: _scipy().j0(x),
    "bessel_j1": lambda x: _scipy().j1(x),
    "bessel_y0": lambda x: _scipy().y0(x),
    "bessel_y1": lambda x: _scipy().y1(x),
    "modified_bessel_k0": lambda x: _scipy().k0(x),
    "modified_bessel_k1": lambda x: _scipy().k1(x),
    "scaled_modified_bessel_k0": lambda x: _scipy().k0e(x),
    "scaled_modified_bessel_k1": lambda x: _scipy().k1e(x),
    "airy_ai": lambda x: _scipy().airy(x)[0],
    "polygamma": _polygamma,
    "zeta": lambda x, q: _scipy().zeta(x, q),
    "gammainc": lambda a, x: _scipy().gammainc(a, x),
    "gammaincc": lambda a, x: _scipy().gammaincc(a, x),
    "chebyshev_polynomial_t": _T,
    "chebyshev_polynomial_u": _U,
    "chebyshev_polynomial_v": _V,
    "chebyshev_polynomial_w": _W,
    "shifted_chebyshev_polynomial_t": _shifted(_T),
    "shifted_chebyshev_polynomial_u": _shifted(_U),
    "shifted_chebyshev_polynomial_v": _shifted(_V),
    "shifted_chebyshev_polynomial_w": _shifted(_W),
    "hermite_polynomial_h": _polynomial(lambda x: 2 * x, lambda x, k, now, before: 2 * (x * now - k * before)),
    "hermite_polynomial_he": _polynomial(lambda x: x, lambda x, k, now, before: x * now - k * before),
    "laguerre_polynomial_l": _polynomial(
        lambda x: 1 - x, lambda x, k, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1)
    ),
    "legendre_polynomial_p": _polynomial(
        lambda x: x, lambda x, k, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1)
    ),
}

KERNELS: dict[OpSpec, Kernel] = {ops.SPECIAL: of_reals(special), ops.SPECIAL_OF_TWO: of_reals(special)}
