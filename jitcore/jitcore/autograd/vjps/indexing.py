"""Derivatives of reads and writes at positions. In the mode "set" positions are taken to differ from each other."""

from __future__ import annotations

from typing import Any

from jitcore_ir import OpSpec, ops

from ...dispatch import apply
from ...promotion import as_operand
from ...tensor import Tensor, shape_of
from ..rules import vjp


def _added(spec: OpSpec, g: Tensor, indices: Tensor, x_shape: tuple, axis: int) -> Tensor:
    """Zeros of x's shape with g added at the positions."""
    zeros = apply(ops.BROADCAST_TO, (as_operand(0, g.dtype),), {"shape": tuple(x_shape)})
    return apply(spec, (zeros, indices, g), {"axis": axis, "mode": "add"})


def _outside(spec: OpSpec, read: OpSpec, g: Tensor, indices: Tensor, axis: int, mode: str) -> Tensor:
    """g, without what was overwritten."""
    if mode == "add":
        return g
    there = shape_of(apply(read, (g.detach(), indices), {"axis": axis}))
    zeros = apply(ops.BROADCAST_TO, (as_operand(0, g.dtype),), {"shape": there})
    return apply(spec, (g, indices, zeros), {"axis": axis, "mode": "set"})


vjp(ops.TAKE, x=lambda g, indices, x_shape, axis: _added(ops.PUT, g, indices, x_shape, axis))
vjp(
    ops.PUT,
    x=lambda g, indices, axis, mode: _outside(ops.PUT, ops.TAKE, g, indices, axis, mode),
    updates=lambda g, indices, axis: apply(ops.TAKE, (g, indices), {"axis": axis}),
)
vjp(ops.GATHER, x=lambda g, indices, x_shape, axis: _added(ops.SCATTER, g, indices, x_shape, axis))
vjp(
    ops.SCATTER,
    x=lambda g, indices, axis, mode: _outside(ops.SCATTER, ops.GATHER, g, indices, axis, mode),
    updates=lambda g, indices, axis: apply(ops.GATHER, (g, indices), {"axis": axis}),
)


def _ties(x: Any, indices: Any, updates: Any, result: Any, axis: int) -> tuple[Any, Any, Any]:
    """Where x and where the updates are the result, as numbers, and how many of them each element of the result has."""
    chosen = apply(ops.GATHER, (result, indices), {"axis": axis})
    own = apply(ops.CAST, (x == result,), {"dtype": x.dtype})
    given = apply(ops.CAST, (updates == chosen,), {"dtype": x.dtype})
    return own, given, apply(ops.SCATTER, (own, indices, given), {"axis": axis, "mode": "add"})


def _of_kept(g: Any, x: Any, indices: Any, updates: Any, result: Any, axis: int, mode: str) -> Any:
    if mode != "mul":
        own, _, count = _ties(x, indices, updates, result, axis)
        return g * own / count.clamp(min=1)
    ones = apply(ops.WHERE, (x == 0, x.detach() * 0 + 1, x))
    product = apply(ops.SCATTER_REDUCE, (ones, indices, updates), {"axis": axis, "mode": mode})
    return g * product / ones


def _of_updates(g: Any, x: Any, indices: Any, updates: Any, result: Any, axis: int, mode: str) -> Any:
    if mode != "mul":
        _, given, count = _ties(x, indices, updates, result, axis)
        return apply(ops.GATHER, (g / count.clamp(min=1), indices), {"axis": axis}) * given
    # An update of 0 has a gradient only where it is the only one: the product of the others.
    zero = updates == 0
    zeros = apply(ops.CAST, (zero,), {"dtype": x.dtype})
    count = apply(ops.SCATTER, (x.detach() * 0, indices, zeros), {"axis": axis, "mode": "add"})
    alone = zero & (apply(ops.GATHER, (count, indices), {"axis": axis}) == 1)
    filled = apply(ops.WHERE, (alone, updates.detach() * 0 + 1, updates))
    others = apply(ops.SCATTER_REDUCE, (x, indices, filled), {"axis": axis, "mode": mode})
    whole = apply(ops.GATHER, (g * result, indices), {"axis": axis})
    divisor = apply(ops.WHERE, (zero, updates.detach() * 0 + 1, updates))
    return apply(ops.WHERE, (alone, apply(ops.GATHER, (g * others, indices), {"axis": axis}), whole / divisor))


vjp(ops.SCATTER_REDUCE, x=_of_kept, updates=_of_updates)


def _log_sums(g: Any, x: Any, result: Any, axis: int) -> Any:
    """exp(x) * reversed cumsum(g * exp(-result)), in logarithms, for positive and negative g apart."""
    low = g.detach() * 0 + float("-inf")

    def part(sign: int) -> Any:
        weights = apply(ops.WHERE, (g * sign > 0, (g * sign).clamp(min=0).log(), low))
        turned = apply(ops.FLIP, (weights - result,), {"axes": (axis,)})
        total = apply(ops.LOGCUMSUMEXP, (turned,), {"axis": axis})
        return (apply(ops.FLIP, (total,), {"axes": (axis,)}) + x).exp()

    return part(1) - part(-1)


vjp(ops.LOGCUMSUMEXP, x=_log_sums)
