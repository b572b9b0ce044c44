"""Reordering and repeating along dimensions: flip, roll, rot90, repeat, tile, repeat_interleave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitcore_ir import ops

from ..dispatch import NONE, apply, constant
from ..tensor import Tensor, method, peek, shape_of
from .creation import size_arguments
from .join import cat
from .movement import axes_of, axis_of, expand, reshape, slice_axis, transpose
from .select import index_select


@method
def flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """The order of elements reversed along dims; a copy."""
    given = dims if dims is not None else axes[0] if len(axes) == 1 and isinstance(axes[0], list | tuple) else axes
    rank = input._array.ndim
    return apply(ops.FLIP, (input,), {"axes": axes_of(given, rank)[:rank]})  # of a number, 0 and -1 may be named


@method
def fliplr(input: Tensor) -> Tensor:
    """flip along dimension 1."""
    return flip(input, 1)


@method
def flipud(input: Tensor) -> Tensor:
    """flip along dimension 0."""
    return flip(input, 0)


@method
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """input turned k times by 90 degrees in the plane of two dimensions."""
    a, b = axes_of(dims, input._array.ndim)
    turns = k % 4
    if turns == 0:
        return apply(ops.COPY, (input,), NONE)
    if turns == 2:
        return flip(input, (a, b))
    turned = transpose(input, a, b)
    return flip(turned, a if turns == 1 else b)


@method
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along dims, those leaving one end entering at the other."""
    if dims is None:
        return roll(reshape(input, (-1,)), shifts, 0).reshape(shape_of(input))
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(moves) != len(axes):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(axes)}")
    result = input
    for shift, dim in zip(moves, axes):
        axis = axis_of(dim, input._array.ndim)
        size = shape_of(result)[axis]
        if size == 0:
            continue
        kept = (size - shift) % size
        result = cat([slice_axis(result, axis, kept, size - kept), slice_axis(result, axis, 0, kept)], axis)
    return result if result is not input else apply(ops.COPY, (input,), NONE)


@method
def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """Copies of input side by side: repeats[a] of them along dimension a (new dimensions first)."""
    counts = size_arguments(repeats)
    shape = shape_of(input)
    extra = len(counts) - len(shape)
    if extra < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (*(1,) * extra, *shape)
    paired = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for count, size in zip(counts, shape) for n in (count, size))
    stretched = apply(ops.BROADCAST_TO, (reshape(input, paired),), {"shape": wide})
    result = reshape(stretched, tuple(count * size for count, size in zip(counts, shape)))
    return apply(ops.COPY, (result,), NONE) if result._storage is input._storage else result


@method
def tile(input: Tensor, *dims: Any) -> Tensor:
    """repeat, with missing counts taken as 1 in front."""
    counts = size_arguments(dims)
    return repeat(input, *((1,) * (input._array.ndim - len(counts)) + counts))


@method
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element repeated `repeats` times in place along dim (flattened first where dim is None)."""
    if dim is None:
        input, dim = reshape(input, (-1,)), 0
    shape = shape_of(input)
    axis = axis_of(dim, len(shape))
    if isinstance(repeats, Tensor):
        if repeats._array.size != 1:
            positions = np.repeat(np.arange(int(shape[axis])), peek(repeats))
            return index_select(input, axis, constant(positions))
        repeats = int(repeats)
    if repeats < 0:
        raise RuntimeError(f"repeats can not be negative, got {repeats}")
    apart = reshape(input, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    wide = expand(apart, (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return reshape(wide, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))
