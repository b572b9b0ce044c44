"""Derivatives of reductions and running sums."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ...dispatch import apply
from ...ops.join import cat
from ...ops.movement import product
from ...promotion import as_operand
from ...state import state
from ...tensor import Tensor, shape_of
from ..rules import vjp
from ..tape import zeros_like


def _stretched(g: Tensor, x_shape: tuple, axes: tuple[int, ...]) -> Tensor:
    """g, reduced over axes, stretched back to x's shape."""
    return apply(ops.BROADCAST_TO, (_kept(g, x_shape, axes),), {"shape": tuple(x_shape)})


def _kept(g: Tensor, x_shape: tuple, axes: tuple[int, ...]) -> Tensor:
    """g with the reduced axes kept as 1."""
    if g._array.ndim == len(x_shape):
        return g
    return apply(ops.RESHAPE, (g,), {"shape": tuple(1 if a in axes else n for a, n in enumerate(x_shape))})


def _prod(g: Tensor, x: Tensor, x_shape: tuple, axes: tuple[int, ...]) -> Tensor:
    """g times the product of all other elements, found without dividing, so that zeros do no harm."""
    if not axes:
        return g
    if 0 in [x_shape[a] for a in axes]:
        return zeros_like(x)
    # The reduced axes moved to the end and joined; products of what lies before and after each element.
    rank = len(x_shape)
    kept = [a for a in range(rank) if a not in axes]
    order = [*kept, *axes]
    moved = x.permute(order)
    flat = moved.reshape((*[x_shape[a] for a in kept], product([x_shape[a] for a in axes])))
    axis = len(kept)
    ones = flat.narrow(axis, 0, 1) * 0.0 + 1.0
    count = shape_of(flat)[axis]
    before = cat([ones, flat.narrow(axis, 0, count - 1)], axis).cumprod(axis)
    backwards = flat.flip(axis)
    after = cat([ones, backwards.narrow(axis, 0, count - 1)], axis).cumprod(axis).flip(axis)
    others = (before * after).reshape(shape_of(moved))
    back = sorted(range(rank), key=order.__getitem__)
    return _kept(g, x_shape, axes) * others.permute(back)


def _extreme(g: Tensor, x: Tensor, result: Tensor, x_shape: tuple, axes: tuple[int, ...]) -> Tensor:
    """Elements equal to the extreme share the gradient evenly."""
    hit = (x == _kept(result, x_shape, axes)).to(g.dtype)
    return _kept(g, x_shape, axes) * hit / hit.sum(axes, keepdim=True) if axes else g


def _cumsum_back(g: Tensor, axis: int) -> Tensor:
    """Running sum from the other end."""
    return g.flip(axis).cumsum(axis).flip(axis)


def _cumprod_back(g: Tensor, x: Tensor, result: Tensor, axis: int) -> Tensor:
    """dy[k]/dx[i] for k >= i is the product of x[:k + 1] without x[i]: the quotient y[k] / x[i] where x[i] != 0.

    At the first zero the products are spelled out with that zero replaced by 1; beyond it they are 0.
    """
    if state.grad_enabled:
        return _cumprod_back_smooth(g, x, axis)
    zero = x == 0
    quotient = _cumsum_back(g * result, axis) / x.masked_fill(zero, 1.0)
    zeros_so_far = zero.long().cumsum(axis)
    first = zero & (zeros_so_far == 1)
    without = x.masked_fill(first, 1.0).cumprod(axis)
    reached = (zeros_so_far == 1).to(g.dtype)  # products holding exactly the first zero
    at_first = _cumsum_back(g * without * reached, axis)
    return at_first.where(first, quotient.masked_fill(zeros_so_far > 0, 0.0))


def _cumprod_back_smooth(g: Tensor, x: Tensor, axis: int) -> Tensor:
    """The same without branching on zeros, so that it can be differentiated; takes n ** 2 memory along the axis.

    dx[i] = before[i] * sum over k >= i of g[k] * between[i, k], with before[i] = x[0] ... x[i - 1] and
    between[i, k] = x[i + 1] ... x[k].
    """
    last = x._array.ndim - 1
    x, g = x.movedim(axis, last), g.movedim(axis, last)
    count = shape_of(x)[last]
    i = apply(ops.IOTA, (), {"shape": (count, 1), "axis": 0, "dtype": int64})
    k = apply(ops.IOTA, (), {"shape": (1, count), "axis": 1, "dtype": int64})
    one, zero = as_operand(1, x.dtype), as_operand(0, x.dtype)
    between = apply(ops.WHERE, (k > i, x.unsqueeze(-2), one)).cumprod(-1)
    later = (apply(ops.WHERE, (k >= i, between, zero)) * g.unsqueeze(-2)).sum(-1)
    ones = x.narrow(last, 0, 1) * 0.0 + 1.0
    before = cat([ones, x.narrow(last, 0, count - 1)], last).cumprod(last)
    return (before * later).movedim(last, axis)


def _sum(g: Tensor, x_shape: tuple, axes: tuple[int, ...]) -> Any:
    return _stretched(g, x_shape, axes)


vjp(ops.SUM, x=_sum)
vjp(ops.PROD, x=lambda g, x, x_shape, axes: _prod(g, x.conj(), x_shape, axes))
vjp(ops.AMAX, x=_extreme)
vjp(ops.AMIN, x=_extreme)
vjp(ops.CUMSUM, x=_cumsum_back)
vjp(ops.CUMPROD, x=lambda g, x, result, axis: _cumprod_back(g, x.conj(), result.conj(), axis))
