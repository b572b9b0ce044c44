"""Derivatives of reads and writes at positions. In the mode "set" positions are taken to differ from each other."""

from __future__ import annotations

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
