"""Derivatives of special functions, after Abramowitz and Stegun, "Handbook of mathematical functions", 1964."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jitcore_ir import ops

from ...dispatch import apply
from ..rules import vjp


def _f(function: str, *xs: Any) -> Any:
    return apply(ops.SPECIAL if len(xs) == 1 else ops.SPECIAL_OF_TWO, xs, {"function": function})


def _i1_slope(x: Any, result: Any) -> Any:
    """I0(x) - I1(x) / x, and its limit 1/2 at 0."""
    zero = x == 0
    safe = apply(ops.WHERE, (zero, x.detach() * 0 + 1, x))
    return apply(ops.WHERE, (zero, x * 0 + 0.5, _f("i0", x) - result / safe))


def _i1e_slope(x: Any, result: Any) -> Any:
    zero = x == 0
    safe = apply(ops.WHERE, (zero, x.detach() * 0 + 1, x))
    return apply(ops.WHERE, (zero, x * 0 + 0.5, _f("i0e", x) - result * (x.sign() + safe.reciprocal())))


_SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "digamma": lambda x, result: _f("polygamma", x * 0 + 1, x),
    "lgamma": lambda x, result: _f("digamma", x),
    "erfinv": lambda x, result: (result * result).exp() * (math.sqrt(math.pi) / 2),
    "erfcx": lambda x, result: 2 * x * result - 2 / math.sqrt(math.pi),
    "i0": lambda x, result: _f("i1", x),
    "i0e": lambda x, result: _f("i1e", x) - x.sign() * result,
    "i1": _i1_slope,
    "i1e": _i1e_slope,
    "ndtri": lambda x, result: (result * result * 0.5).exp() * math.sqrt(2 * math.pi),
    "log_ndtr": lambda x, result: _f("erfcx", x * -math.sqrt(0.5)).reciprocal() * math.sqrt(2 / math.pi),
}
"""Of functions of one operand, from it and the result."""


def _gamma_density(a: Any, x: Any) -> Any:
    return ((a - 1) * x.log() - x - _f("lgamma", a)).exp()


_LAST_SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "polygamma": lambda n, x: _f("polygamma", n + 1, x),
    "zeta": lambda s, q: -s * _f("zeta", s + 1, q),
    "gammainc": _gamma_density,
    "gammaincc": lambda a, x: -_gamma_density(a, x),
}
"""Of functions of two operands, with respect to the last; the first has no derivative here, as in PyTorch."""


def _slope(g: Any, x: Any, result: Any, function: str) -> Any:
    if function not in _SLOPES:
        raise NotImplementedError(f"the derivative of {function} is not offered, as in PyTorch")
    return g * _SLOPES[function](x, result)


def _last_slope(g: Any, x: Any, y: Any, function: str) -> Any:
    if function not in _LAST_SLOPES:
        raise NotImplementedError(f"the derivative of {function} is not offered, as in PyTorch")
    return g * _LAST_SLOPES[function](x, y)


def _first_slope(g: Any, function: str) -> Any:
    raise NotImplementedError(f"the derivative of {function} in its first argument is not offered, as in PyTorch")


vjp(ops.SPECIAL, x=_slope)
vjp(ops.SPECIAL_OF_TWO, x=_first_slope, y=_last_slope)
