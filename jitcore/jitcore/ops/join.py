"""Joining tensors and taking them apart: cat, stack, split, chunk, unbind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops

from ..dispatch import apply
from ..promotion import as_operand, is_number, result_type
from ..tensor import Tensor, method, shape_of
from .movement import axis_of, select, slice_axis, unsqueeze


def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors of equal shape but for `dim`, joined along it. Raises RuntimeError where shapes differ elsewhere."""
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("cat(): expected a non-empty list of Tensors")
    for position, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {position} in argument 0, but got {type(t).__name__}")
    dtype = result_type(*tensors)
    kept = tensors
    if len({t._array.ndim for t in tensors}) > 1:  # empty vectors join anything
        kept = [t for t in tensors if t._array.ndim != 1 or shape_of(t)[0] != 0] or tensors[:1]
    where = axis_of(dim if axis is None else axis, kept[0]._array.ndim)
    if not kept[0]._array.ndim:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    first = kept[0]._array.shape
    for position, t in enumerate(kept):
        shape = t._array.shape
        if len(shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}")
        if shape[:where] + shape[where + 1 :] != first[:where] + first[where + 1 :]:
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {where}. Expected shape like {list(first)} but got "
                f"{list(shape)} for tensor number {position} in the list."
            )
    return apply(ops.CONCAT, [as_operand(t, dtype) for t in kept], {"axis": where})


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]._array.shape
    for position, t in enumerate(tensors):
        if t._array.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and "
                f"{list(t._array.shape)} "
                f"at entry {position}"
            )
    axis = axis_of(dim, len(first) + 1)
    return cat([unsqueeze(t, axis) for t in tensors], axis)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """cat along dimension 1 (0 for vectors)."""
    tensors = [t if t._array.ndim else t.reshape(1) for t in tensors]
    return cat(tensors, 0 if tensors[0]._array.ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """cat along dimension 0, vectors as rows."""
    return cat([t if t._array.ndim >= 2 else t.reshape(1, -1) for t in tensors], 0)


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """cat along dimension 2, with dimensions added to get there."""
    return cat([atleast_3d(t) for t in tensors], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """cat along dimension 1, vectors as columns."""
    return cat([t if t._array.ndim >= 2 else t.reshape(-1, 1) for t in tensors], 1)


def atleast_3d(*tensors: Any) -> Any:
    """At least three dimensions: [n] becomes [1, n, 1], [n, m] becomes [n, m, 1]."""
    given = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    made = tuple(
        t if t._array.ndim >= 3 else t.unsqueeze(-1) if t._array.ndim == 2 else t.reshape(1, -1, 1) for t in given
    )
    return made[0] if len(made) == 1 else made


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one of zeros."""
    blocks = [t if t._array.ndim == 2 else t.reshape(1, -1) for t in tensors]
    width: Any = 0
    for b in blocks:
        width = width + shape_of(b)[1]
    rows, left = [], 0
    for b in blocks:
        own = shape_of(b)[1]
        zero = as_operand(0, b.dtype)
        rows.append(apply(ops.PAD, (b, zero), {"low": (0, left), "high": (0, width - left - own)}))
        left = left + own
    return cat(rows, 0)


@method
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces along dim: pieces of one size (the last may be smaller), or of the listed sizes."""
    shape = shape_of(tensor)
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = axis_of(dim, len(shape))
    total = shape[axis]
    if isinstance(split_size_or_sections, list | tuple):
        sizes = list(split_size_or_sections)
        if sum(sizes) != total:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {tensor._array.shape[axis]} "
                f"(input tensor's size "
                f"at dimension {axis}), but got split_sizes={sizes}"
            )
    else:
        step = split_size_or_sections
        if step <= 0 and not (step == 0 and total == 0):
            raise RuntimeError(f"split expects split_size be positive, but got split_size={step}")
        whole = type(step) is not int and is_number(total % step, 0)  # in as many pieces for all sizes
        count = max(int(total // step if whole else (total + step - 1) // step), 1) if step else 1
        sizes = [step] * (count - 1) + [total - step * (count - 1)]
    pieces, start = [], 0
    for size in sizes:
        pieces.append(slice_axis(tensor, axis, start, size))
        start = start + size
    return tuple(pieces)


@method
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` pieces of equal size along dim (the last may be smaller)."""
    if chunks < 1:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not input._array.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    axis = axis_of(dim, input._array.ndim)
    total = shape_of(input)[axis]
    # So large a size gives `chunks` pieces; of a smaller one there may be fewer.
    if type(total) is int or not total > (chunks - 1) ** 2:
        total = int(total)
        return split(input, max(-(-total // chunks), 1), axis) if total else split(input, [0] * chunks, axis)
    size = (total + chunks - 1) // chunks
    pieces = [slice_axis(input, axis, size * i, size) for i in range(chunks - 1)]
    return (*pieces, slice_axis(input, axis, size * (chunks - 1), total - size * (chunks - 1)))


@method
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces along dim: a number of nearly equal ones, or cut at the listed positions."""
    axis = axis_of(dim, input._array.ndim)
    total = int(shape_of(input)[axis])
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        each, rest = divmod(total, indices_or_sections)
        sizes = [each + 1] * rest + [each] * (indices_or_sections - rest)
    else:
        cuts = [0, *[min(max(int(c) + (total if c < 0 else 0), 0), total) for c in indices_or_sections], total]
        sizes = [max(b - a, 0) for a, b in itertools.pairwise(cuts)]
    pieces, start = [], 0
    for size in sizes:
        pieces.append(slice_axis(input, axis, start, size))
        start += size
    return tuple(pieces)


@method
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split along dimension 1 (0 for vectors)."""
    return tensor_split(input, indices_or_sections, 0 if input._array.ndim == 1 else 1)


@method
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split along dimension 0."""
    return tensor_split(input, indices_or_sections, 0)


@method
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split along dimension 2."""
    return tensor_split(input, indices_or_sections, 2)


@method
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the slices along dim, which disappears."""
    axis = axis_of(dim, input._array.ndim)
    return tuple(select(input, axis, i) for i in range(int(shape_of(input)[axis])))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors stretched over the grid they span."""
    vectors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(vectors) >= 2
    if swap:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    sizes = tuple(v.numel() for v in vectors)
    grids = []
    for position, v in enumerate(vectors):
        shaped = v.reshape(tuple(n if a == position else 1 for a, n in enumerate(sizes)))
        grids.append(shaped.expand(sizes))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of the vectors' elements, one per row."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)
