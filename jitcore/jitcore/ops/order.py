"""Order and search: sort, topk, quantiles, unique and their kin.

Positions come from primitives, values are gathered at them, so gradients flow. Where a result's size depends on the
values (nonzero, unique) Python reads that count and nothing else: a recorded program holds while it is the same.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.dtypes import bool_, int32, int64

from ..dispatch import NONE, apply, constant
from ..promotion import as_operand, result_type
from ..tensor import Tensor, method, peek, shape_of
from .elementwise import where
from .join import cat
from .movement import axis_of, broadcast_tensors, slice_axis
from .reduction import ValuesIndices
from .select import gather, index_select


def _zero_position(input: Tensor) -> Tensor:
    """The position of the only element of a 0-d tensor."""
    return apply(ops.CAST, (input.detach() != input.detach(),), {"dtype": int64}) * 0


@method
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of nonzero elements, row-major: int64 [count, ndim], or one vector per dimension."""
    if as_tuple and not input._array.ndim:
        input = input.unsqueeze(0)
    count = int((input.detach() != 0).sum())
    rows = apply(ops.NONZERO, (input,), {"count": count})
    return rows.unbind(1) if as_tuple else rows


@method
def argwhere(input: Tensor) -> Tensor:
    """nonzero."""
    return nonzero(input)


@method
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` rows of nonzero, filled up with fill_value: a result whose size does not depend on values."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    rows = apply(ops.NONZERO, (input,), {"count": size})
    found = (input.detach() != 0).sum()
    place = apply(ops.IOTA, (), {"shape": (size, 1), "axis": 0, "dtype": int64})
    return where(place < found, rows, fill_value)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Elements of input where mask holds, as a vector; both broadcast."""
    if mask.dtype is not bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, but got {mask.dtype}")
    x, m = broadcast_tensors(input, mask)
    return x[m] if x._array.ndim else x.reshape(1)[m.reshape(1)]


method(masked_select)


@method
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Positions that sort input along dim. Equal elements keep their order; NaN counts as largest."""
    axis = axis_of(dim, input._array.ndim)
    if not input._array.ndim:
        return _zero_position(input)
    return apply(ops.ARGSORT, (input,), {"axis": axis, "descending": bool(descending)})


@method
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """(values, indices) sorted along dim."""
    indices = argsort(input, dim, descending, stable)
    if not input._array.ndim:
        return ValuesIndices(input.clone(), indices)
    return ValuesIndices(gather(input, dim, indices), indices)


@method
def msort(input: Tensor) -> Tensor:
    """input sorted along its first dimension."""
    return sort(input, 0).values


@method
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """(values, indices) of the k largest (or smallest) along dim, in order."""
    axis = axis_of(dim, input._array.ndim)
    if not 0 <= k <= (shape_of(input)[axis] if input._array.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if not input._array.ndim:
        if k == 0:
            return ValuesIndices(input.reshape(1)[:0], _zero_position(input).reshape(1)[:0])
        return ValuesIndices(input.clone(), _zero_position(input))
    indices = apply(ops.TOP_POSITIONS, (input,), {"axis": axis, "count": int(k), "largest": bool(largest)})
    return ValuesIndices(gather(input, axis, indices), indices)


def _picked(input: Tensor, axis: int, indices: Tensor, keepdim: bool) -> ValuesIndices:
    values = gather(input, axis, indices)
    return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(axis), indices.squeeze(axis))


@method
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(value, index) of the k-th smallest along dim, k counted from 1."""
    axis = axis_of(dim, input._array.ndim)
    size = shape_of(input)[axis] if input._array.ndim else 1
    if size == 0:
        raise IndexError(f"kthvalue(): Expected reduction dim {axis} to have non-zero size.")
    if not 1 <= k <= size:
        raise RuntimeError("selected index k out of range")
    if not input._array.ndim:
        return ValuesIndices(input.clone(), _zero_position(input))
    return _picked(input, axis, slice_axis(argsort(input, axis), axis, k - 1, 1).clone(), keepdim)


def _middle(input: Tensor, dim: Any, keepdim: bool, skips_nan: bool) -> Any:
    """The lower median, of all elements or along dim; NaN if there is one, or of the other elements."""
    if dim is None:
        if 0 in shape_of(input):
            return (input.reshape(-1).sum() * math.nan) if input.is_floating_point() else input.reshape(-1).sum()
        flat = input.reshape(-1)
        value = _middle(flat, 0, False, skips_nan).values
        if not input.is_floating_point():
            return value
        value = value.detach()  # elements equal to the median share the gradient
        return where((flat == value) | (value != value), flat, -math.inf).amax()
    axis = axis_of(dim, input._array.ndim)
    if not input._array.ndim:
        return ValuesIndices(input.clone(), _zero_position(input))
    size = shape_of(input)[axis]
    if size == 0:
        raise IndexError(f"median(): Expected reduction dim {axis} to have non-zero size.")
    order = argsort(input, axis)
    if not input.is_floating_point():
        return _picked(input, axis, slice_axis(order, axis, (size - 1) // 2, 1).clone(), keepdim)
    present = (input.detach() == input.detach()).to(int64).sum(axis, keepdim=True)
    place = ((present - 1) // 2).clamp(min=0) if skips_nan else where(present < size, present, (size - 1) // 2)
    return _picked(input, axis, gather(order, axis, place), keepdim)


@method
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element (the lower of two), NaN if there is one; with dim, (values, indices)."""
    return _middle(input, dim, keepdim, False)


@method
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """median of the elements that are not NaN."""
    return _middle(input, dim, keepdim, True)


@method
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(value, a position of it) of the most frequent value along dim, the smallest of several."""
    axis = axis_of(dim, input._array.ndim)
    if not input._array.ndim:
        return ValuesIndices(input.clone(), _zero_position(input))
    order = argsort(input, axis).movedim(axis, -1)
    values = gather(input.detach().movedim(axis, -1), -1, order)
    count = shape_of(values)[-1]
    if count == 0:
        raise IndexError(f"mode(): Expected reduction dim {axis} to have non-zero size.")
    place = apply(ops.IOTA, (), {"shape": (count,), "axis": 0, "dtype": int64})
    first = slice_axis(values, values._array.ndim - 1, 0, 1)
    changed = cat([first != first, values[..., 1:] != values[..., :-1]], -1)
    begun = apply(ops.RUNNING_POSITION, (where(changed, place, 0),), {"axis": values._array.ndim - 1, "largest": True})
    end = (place - begun).argmax(-1, keepdim=True)
    return _picked(input, axis, gather(order, -1, end).movedim(-1, axis), keepdim)


@method
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Different elements in rising order, and on request where each element went and how often each occurs."""
    if dim is not None:
        return _unique_slices(input, axis_of(dim, input._array.ndim), return_inverse, return_counts)
    flat = input.detach().reshape(-1)
    order = argsort(flat)
    ordered = gather(flat, 0, order)
    values, runs, counts = _runs(ordered)
    inverse = None
    if return_inverse:
        inverse = apply(ops.SCATTER, (runs * 0, order, runs), {"axis": 0, "mode": "set"}).reshape(shape_of(input))
    return _asked(values, inverse, counts if return_counts else None)


def _runs(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first element of each run of equal neighbours of a vector, the run each element is in, and the lengths."""
    first = x[:1]
    starts = cat([(first == first) | (first != first), x[1:] != x[:-1]])
    count = int(starts.sum())
    places = apply(ops.NONZERO, (starts,), {"count": count}).reshape(-1)
    ends = cat([places[1:], (places[:1] * 0 + shape_of(x)[0])]) if count else places
    return x[places], starts.to(int64).cumsum(0) - 1, ends - places


def _asked(values: Tensor, inverse: Tensor | None, counts: Tensor | None) -> Any:
    parts = [t for t in (values, inverse, counts) if t is not None]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _unique_slices(input: Tensor, axis: int, return_inverse: bool, return_counts: bool) -> Any:
    """Slices compared as wholes, which NumPy does on values that Python reads."""
    values, inverse, counts = np.unique(peek(input), return_inverse=True, return_counts=True, axis=axis)
    return _asked(
        constant(values),
        constant(np.asarray(inverse, np.int64).reshape(-1)) if return_inverse else None,
        constant(counts.astype(np.int64)) if return_counts else None,
    )


@method
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Elements (or, with dim, slices) without repetitions of neighbours."""
    if dim is None:
        values, runs, counts = _runs(input.detach().reshape(-1))
        inverse = runs.reshape(shape_of(input)) if return_inverse else None
        return _asked(values, inverse, counts if return_counts else None)
    axis = axis_of(dim, input._array.ndim)
    if not input._array.ndim:
        one = _zero_position(input).reshape(1)
        return _asked(input.reshape(1), one if return_inverse else None, one + 1 if return_counts else None)
    rows = input.detach().movedim(axis, 0)
    flat = rows.reshape(shape_of(rows)[0], -1)
    differs = (flat[1:] != flat[:-1]).any(1)
    marks = cat([_zero_position(differs.any()).reshape(1)[: shape_of(rows)[0]], differs.to(int64)]).cumsum(0)
    _, runs, counts = _runs(marks)
    count = int(shape_of(counts)[0])
    places = counts.cumsum(0) - counts
    values = index_select(input, axis, places) if count else input
    return _asked(values, runs if return_inverse else None, counts if return_counts else None)


@method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of its weights."""
    if input._array.ndim != 1 or input.is_floating_point():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and shape_of(weights) != shape_of(input):
        raise RuntimeError("weights should be 1-d and have the same length as input")
    index = input.to(int64)
    size = max(0 if shape_of(input)[0] == 0 else int(index.max()) + 1, minlength)
    if input._array.size and int(index.min()) < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    given = index * 0 + 1 if weights is None else weights if weights.is_floating_point() else weights.double()
    zeros = apply(ops.BROADCAST_TO, (as_operand(0, given.dtype),), {"shape": (size,)})
    return apply(ops.PUT, (zeros, index, given), {"axis": 0, "mode": "add"})


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Positions at which `input` would be inserted into a sorted vector (or row by row into sorted rows)."""
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    values = input if isinstance(input, Tensor) else as_operand(input, result_type(sorted_sequence, input))
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    if sorted_sequence._array.ndim > 1 and shape_of(sorted_sequence)[:-1] != shape_of(values)[:-1]:
        raise RuntimeError(
            f"torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and "
            f"input value tensor {list(values.shape)}"
        )
    dtype = result_type(sorted_sequence, values)
    edges, x = as_operand(sorted_sequence, dtype), as_operand(values, dtype)
    found = apply(ops.SEARCHSORTED, (edges, x), {"right": right or side == "right"})
    return found.to(int32) if out_int32 else found


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """searchsorted with the arguments exchanged."""
    if boundaries._array.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries._array.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def _quantile(input: Tensor, q: Any, dim: Any, keepdim: bool, interpolation: str, skips_nan: bool) -> Tensor:
    name = "nanquantile" if skips_nan else "quantile"
    if not input.is_floating_point():
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if 0 in shape_of(input):
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    points = q if isinstance(q, Tensor) else as_operand(q, input.dtype)
    if points._array.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if points.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if not isinstance(q, Tensor) and not 0 <= q <= 1:
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
    rank = input._array.ndim
    x = input.reshape(-1) if dim is None else input.reshape(1) if not rank else input
    axis = 0 if dim is None or not rank else axis_of(dim, rank)
    rows = sort(x.movedim(axis, -1)).values
    present = (rows == rows).to(int64).sum(-1, keepdim=True)
    count = shape_of(rows)[-1]
    last = (present - 1).clamp(min=0) if skips_nan else present * 0 + (count - 1)
    place = points.reshape(-1) * last.to(points.dtype)
    if not skips_nan:
        place = where(present < count, place * 0 + (count - 1), place)  # NaN, which is sorted last
    value = _between(rows, place, interpolation)
    shape = [shape_of(rows)[i] for i in range(rows._array.ndim - 1)]
    value = value.movedim(-1, 0) if points._array.ndim else value.squeeze(-1)
    if keepdim and rank:
        lead = [shape_of(value)[0]] if points._array.ndim else []
        kept = [1] * rank if dim is None else [*shape[:axis], 1, *shape[axis:]]
        value = value.reshape(lead + kept)
    elif not rank and points._array.ndim == 0:
        value = value.reshape(())
    return value


def _between(rows: Tensor, place: Tensor, interpolation: str) -> Tensor:
    """Sorted rows at fractional places."""
    if interpolation == "nearest":
        return gather(rows, -1, place.round().to(int64))
    low = gather(rows, -1, place.floor().to(int64))
    if interpolation == "lower":
        return low
    high = gather(rows, -1, place.ceil().to(int64))
    if interpolation == "higher":
        return high
    part = place - place.floor() if interpolation == "linear" else 0.5
    return low.lerp(high, part)


@method
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-quantiles along dim; NaN where there is one."""
    return _quantile(input, q, dim, keepdim, interpolation, False)


@method
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """quantile of the elements that are not NaN."""
    return _quantile(input, q, dim, keepdim, interpolation, True)


@method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts of elements in equal bins between min and max (the data's own where both are 0)."""
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    x = input.detach().reshape(-1)
    low, high = as_operand(min, x.dtype), as_operand(max, x.dtype)
    if min == max and shape_of(x)[0] != 0:
        low, high = x.amin(), x.amax()
    same = low == high
    low, high = where(same, low - 1, low), where(same, high + 1, high)
    place = ((x - low) * bins / (high - low)).floor() if x.is_floating_point() else (x - low) * bins // (high - low)
    inside = (x >= low) & (x <= high)
    index = where(inside, place, place * 0).to(int64).clamp(0, bins - 1)
    zeros = apply(ops.BROADCAST_TO, (as_operand(0, x.dtype),), {"shape": (bins,)})
    return apply(ops.PUT, (zeros, index, inside.to(x.dtype)), {"axis": 0, "mode": "add"})


@method
def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> tuple[Tensor, Tensor]:
    """(counts or sums of weights, bin edges); bins is a number, for equal ones, or the edges."""
    x = input.detach().reshape(-1)
    edges = _edges(x, bins, range)
    count = int(shape_of(edges)[0]) - 1
    index = searchsorted(edges, x, right=True) - 1
    last = x == edges[-1]
    inside = ((x >= edges[0]) & (x <= edges[-1])).to(x.dtype)
    index = where(last, count - 1, index).clamp(0, count - 1)
    given = inside if weight is None else inside * weight.detach().reshape(-1)
    zeros = apply(ops.BROADCAST_TO, (as_operand(0, x.dtype),), {"shape": (count,)})
    total = apply(ops.PUT, (zeros, index, given), {"axis": 0, "mode": "add"})
    return (total / total.sum() / (edges[1:] - edges[:-1]) if density else total), edges


def histogramdd(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(counts or sums of weights, the edges per dimension) of points input [N, D].

    bins: a number for all dimensions, one for each, or each one's edges. range: the lowest and highest edge of each.
    """
    if input._array.ndim < 2:
        raise RuntimeError("histogramdd: input tensor should have at least 2 dimensions")
    x = input.detach().reshape(-1, shape_of(input)[-1])
    rank = int(shape_of(x)[1])
    each = [bins] * rank if isinstance(bins, int | Tensor) else list(bins)
    if len(each) != rank:
        raise RuntimeError(
            f"histogramdd: expected {rank} sequences of bin edges or numbers of bins but got {len(each)}"
        )
    factors = x[:, 0] * 0 + 1 if weight is None else weight.detach().reshape(-1)
    edges: list[Tensor] = []
    place: Any = None
    for axis in builtins.range(rank):
        column = x[:, axis]
        limits = None if range is None else (float(range[2 * axis]), float(range[2 * axis + 1]))
        ends = _edges(column, each[axis], limits)
        count = int(shape_of(ends)[0]) - 1
        index = where(column == ends[-1], count - 1, searchsorted(ends, column, right=True) - 1)
        factors = factors * ((column >= ends[0]) & (column <= ends[-1])).to(factors.dtype)
        index = index.clamp(0, count - 1)
        place = index if place is None else place * count + index
        edges.append(ends)
    sizes = tuple(int(shape_of(e)[0]) - 1 for e in edges)
    zeros = apply(ops.BROADCAST_TO, (as_operand(0, x.dtype),), {"shape": (math.prod(sizes),)})
    total = apply(ops.PUT, (zeros, place, factors.to(x.dtype)), {"axis": 0, "mode": "add"}).reshape(sizes)
    if density:
        total = total / total.sum()
        for axis, ends in enumerate(edges):
            total = total / (ends[1:] - ends[:-1]).reshape([-1 if a == axis else 1 for a in builtins.range(rank)])
    return total, tuple(edges)


def _edges(x: Tensor, bins: Any, limits: tuple[float, float] | None) -> Tensor:
    """The edges of the bins of a vector: given, or equally far apart over its range or the given one."""
    from .creation import linspace

    if isinstance(bins, Tensor):
        return bins
    low, high = (x.amin(), x.amax()) if limits is None and shape_of(x)[0] != 0 else limits or (0.0, 1.0)
    low, high = float(low), float(high)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    return linspace(low, high, bins + 1, dtype=x.dtype)


@method
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of exp(input) along dim."""
    axis = axis_of(dim, input._array.ndim)
    x = input if input.is_floating_point() else input.float()
    return apply(ops.LOGCUMSUMEXP, (x,), {"axis": axis}) if x._array.ndim else apply(ops.COPY, (x,), NONE)
