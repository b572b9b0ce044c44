"""Derivatives of the elementwise primitives. Broadcast operands are summed by the engine."""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import ops

from ...dispatch import apply
from ...promotion import as_operand
from ...tensor import Tensor
from ..rules import vjp
from ..tape import zeros_like


def _zero(g: Tensor) -> Tensor:
    """The slope of a step function."""
    return zeros_like(g)


def _masked(mask: Tensor, g: Tensor) -> Tensor:
    """g where mask holds, else 0."""
    return apply(ops.WHERE, (mask, g, as_operand(0, g.dtype)))


vjp(ops.NEG, x=lambda g: -g)
vjp(ops.ABS, x=lambda g, x: g * x.sgn())
vjp(ops.SIGN, x=_zero)
vjp(ops.FLOOR, x=_zero)
vjp(ops.CEIL, x=_zero)
vjp(ops.ROUND, x=_zero)
vjp(ops.TRUNC, x=_zero)
vjp(ops.EXP, x=lambda g, result: g * result.conj())
vjp(ops.EXPM1, x=lambda g, result: g * (result + 1.0).conj())
vjp(ops.LOG, x=lambda g, x: g / x.conj())
vjp(ops.LOG1P, x=lambda g, x: g / (x + 1.0).conj())
vjp(ops.LOG2, x=lambda g, x: g / (x * math.log(2)).conj())
vjp(ops.SQRT, x=lambda g, result: g / (result * 2.0).conj())
vjp(ops.RSQRT, x=lambda g, result: g * (result * result * result).conj() * -0.5)
vjp(ops.SIN, x=lambda g, x: g * x.cos().conj())
vjp(ops.COS, x=lambda g, x: -(g * x.sin().conj()))
vjp(ops.TAN, x=lambda g, result: g * (result * result + 1.0).conj())
vjp(ops.ASIN, x=lambda g, x: g * (1.0 - x * x).rsqrt().conj())
vjp(ops.ACOS, x=lambda g, x: -(g * (1.0 - x * x).rsqrt().conj()))
vjp(ops.ATAN, x=lambda g, x: g / (x * x + 1.0).conj())
vjp(ops.SINH, x=lambda g, x: g * x.cosh().conj())
vjp(ops.COSH, x=lambda g, x: g * x.sinh().conj())
vjp(ops.TANH, x=lambda g, result: g * (1.0 - result * result).conj())
vjp(ops.SIGMOID, x=lambda g, result: g * (result * (1.0 - result)).conj())
vjp(ops.ERF, x=lambda g, x: g * ((-(x * x)).exp() * (2 / math.sqrt(math.pi))))

vjp(ops.ADD, x=lambda g: g, y=lambda g: g)
vjp(ops.SUB, x=lambda g: g, y=lambda g: -g)
vjp(ops.MUL, x=lambda g, y: g * y.conj(), y=lambda g, x: g * x.conj())
vjp(ops.DIV, x=lambda g, y: g / y.conj(), y=lambda g, result, y: -(g * result.conj() / y.conj()))
vjp(ops.FLOOR_DIVIDE, x=_zero, y=_zero)
vjp(ops.REMAINDER, x=lambda g: g, y=lambda g, x, y: -(g * x.div(y, rounding_mode="floor")))
vjp(ops.FMOD, x=lambda g: g, y=lambda g, x, y: -(g * x.div(y, rounding_mode="trunc")))
vjp(ops.ATAN2, x=lambda g, x, y: g * (y / _distance(x, y)), y=lambda g, x, y: g * (-x / _distance(x, y)))


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """x**2 + y**2; 1 at the origin, where atan2 counts as flat."""
    sum_of_squares = x * x + y * y
    return sum_of_squares.masked_fill(sum_of_squares == 0, 1.0)


def _power_base(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # The slope of x**0 is 0 everywhere, also where x is 0 and y * x**(y - 1) would be 0 * inf.
    return _masked(y != 0, g * (y * x ** (y - 1.0)).conj())


def _power_exponent(g: Tensor, x: Tensor, y: Tensor, result: Tensor) -> Tensor:
    # At x = 0 the slope in y is 0 for y >= 0, where result * log(x) would be 0 * -inf.
    flat = (x == 0) & ((y.real if y.is_complex() else y) >= 0)
    return g * (result * x.masked_fill(flat, 1.0).log()).conj()


vjp(ops.POW, x=_power_base, y=_power_exponent)


def _extreme(g: Tensor, x: Tensor, y: Tensor, first: Any) -> Tensor:
    """Equal operands share the gradient evenly."""
    return apply(ops.WHERE, (x == y, g * 0.5, _masked(first, g)))


vjp(
    ops.MAXIMUM,
    x=lambda g, x, y: _extreme(g, x, y, (x < y).logical_not()),
    y=lambda g, x, y: _extreme(g, x, y, x < y),
)
vjp(
    ops.MINIMUM,
    x=lambda g, x, y: _extreme(g, x, y, (x > y).logical_not()),
    y=lambda g, x, y: _extreme(g, x, y, x > y),
)
vjp(
    ops.WHERE,
    x=lambda g, condition: _masked(condition, g),
    y=lambda g, condition: _masked(condition.logical_not(), g),
)
vjp(ops.CAST, x=lambda g: g)  # the engine casts to the operand's dtype
vjp(ops.COPY, x=lambda g: g)
