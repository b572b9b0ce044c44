"""Reading and writing at positions given by tensors: gather, scatter, index_select and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir import DType, OpSpec, ops
from jitcore_ir.dtypes import bool_, int64

from ..dispatch import NONE, apply, constant
from ..promotion import as_operand, is_number
from ..state import state
from ..tensor import Tensor, method, row_major, shape_of
from ..typeinfo import iinfo
from .compare import refuse_complex
from .inplace import with_inplace
from .movement import axis_of, broadcast_shapes, product, slice_axis


def positions(index: Tensor, what: str) -> Tensor:
    """An integer tensor as int64. Raises RuntimeError for other dtypes."""
    if index._array.dtype.kind not in "iu":
        raise RuntimeError(f"{what}: Expected dtype int32/int64 for index, but got {index.dtype.name}")
    return index if index.dtype is int64 else apply(ops.CAST, (index,), {"dtype": int64})


def from_the_end(index: Tensor, size: Any) -> Tensor:
    """Negative positions counted from the end, as `x[index]` allows. Eagerly skipped where there are none."""
    if state.recorder is None and not (index._array < 0).any():
        return index
    return apply(ops.WHERE, (index < 0, index + size, index), NONE)


@method
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """result[.., p, ..] = input[.., index[.., p, ..], ..] along dim. index may be smaller off dim."""
    axis = axis_of(dim, input._array.ndim)
    index = positions(index, "gather()")
    if not input._array.ndim:
        return gather(input.reshape(1), 0, index.reshape(-1)).reshape(shape_of(index))
    if not index._array.size and not _fits_along(input, axis, index):
        return input.reshape(-1)[:0].reshape(shape_of(index))
    _check_along("gather", input, axis, index)
    return apply(ops.GATHER, (input, index), {"axis": axis})


def _check_along(name: str, input: Tensor, axis: int, index: Tensor) -> None:
    if not index._array.size:
        return
    x, i = input._array.shape, index._array.shape
    if len(x) != len(i):
        raise RuntimeError(f"{name}(): Index tensor must have the same number of dimensions as input tensor")
    if not _fits_along(input, axis, index):
        raise RuntimeError(
            f"{name}: Expected index {list(i)} to be no larger than self {list(x)} apart from dimension {axis}"
        )


def _fits_along(input: Tensor, axis: int, index: Tensor) -> bool:
    """Whether index is as large as input at most, apart from dimension `axis`."""
    x, i = input._array.shape, index._array.shape
    return len(x) == len(i) and all(a == axis or i[a] <= x[a] for a in range(len(x)))


def _scatter(name: str, input: Tensor, dim: int, index: Tensor, src: Any, mode: str) -> Tensor:
    axis = axis_of(dim, input._array.ndim)
    index = positions(index, f"{name}()")
    if not input._array.ndim:
        flat = _scatter(name, input.reshape(1), 0, index.reshape(-1), _flat(src), mode)
        return flat.reshape(())
    _check_along(name, input, axis, index)
    if isinstance(src, Tensor):
        if src._array.dtype != input._array.dtype:
            raise RuntimeError(
                f"{name}(): Expected self.dtype to be equal to src.dtype, but got {input.dtype.name} "
                f"and {src.dtype.name}"
            )
        shape = index._array.shape
        if src._array.ndim != len(shape) or any(n > m for n, m in zip(shape, src._array.shape)):
            raise RuntimeError(f"Expected index {list(shape)} to be no larger than src {list(src._array.shape)}")
        if src._array.shape != shape:
            src = apply(
                ops.SLICE, (src,), {"starts": (0,) * len(shape), "sizes": shape_of(index), "steps": (1,) * len(shape)}
            )
    else:
        src = apply(ops.BROADCAST_TO, (as_operand(src, input.dtype),), {"shape": shape_of(index)})
    spec = ops.SCATTER if mode in ("set", "add") else ops.SCATTER_REDUCE
    return apply(spec, (input, index, src), {"axis": axis, "mode": mode})


def _flat(src: Any) -> Any:
    return src.reshape(-1) if isinstance(src, Tensor) else src


@with_inplace
@method
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """input with input[.., index[.., p, ..], ..] = src[.., p, ..] along dim; src may be a number."""
    modes = {None: "set", "add": "add", "multiply": "mul"}
    if reduce not in modes:
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    return _scatter("scatter", input, dim, index, value if src is None else src, modes[reduce])


@with_inplace
@method
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src's elements added at the positions in index along dim."""
    return _scatter("scatter_add", input, dim, index, src, "add")


@with_inplace
@method
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with src's elements combined at the positions in index along dim.

    reduce: "sum", "prod", "mean", "amax" or "amin"; without include_self, elements that get any do not
    count themselves.
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if reduce in ("amax", "amin"):
        refuse_complex("scatter_reduce", input)
    if reduce in ("sum", "mean"):
        counts = scatter_add(input.detach() * 0 + int(include_self), dim, index, src.detach() * 0 + 1)
        base = input if include_self else where_zero(counts, input)
        total = scatter_add(base, dim, index, src)
        return total if reduce == "sum" else total.div(counts.clamp(min=1), rounding_mode=_rounding_of(input))
    if not include_self:
        start = as_operand(_start(reduce, input.dtype), input.dtype)
        reached = _scatter("scatter_reduce", input.detach() * 0, dim, index, src.detach() * 0 + 1, "set") != 0
        input = apply(ops.WHERE, (reached, start, input), NONE)
    return _scatter("scatter_reduce", input, dim, index, src, _REDUCTIONS[reduce])


_REDUCTIONS = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}


def _start(reduce: str, dtype: DType) -> Any:
    """What changes no product, maximum or minimum."""
    if reduce == "prod":
        return 1
    if dtype.is_floating_point:
        return float("-inf") if reduce == "amax" else float("inf")
    if dtype.kind == "bool":
        return reduce == "amin"
    return iinfo(dtype).min if reduce == "amax" else iinfo(dtype).max


def where_zero(counts: Tensor, input: Tensor) -> Tensor:
    """input where counts is 0, else 0."""
    return apply(ops.WHERE, (counts == 0, input, as_operand(0, input.dtype)), NONE)


def _rounding_of(input: Tensor) -> str | None:
    return None if input.dtype.is_floating_point else "floor"


@with_inplace
@method
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with source's elements, in order, where mask holds. Raises RuntimeError where source has too few."""
    if mask._array.dtype.kind != "b":
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask of dtype {mask.dtype.name}")
    if source._array.dtype != input._array.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input.dtype.name} and "
            f"{source.dtype.name}"
        )
    whole = broadcast_shapes(shape_of(input), shape_of(mask))
    input, wide = input.expand(whole), mask.expand(whole)
    order = (wide.reshape(-1).to(int64).cumsum(0) - 1).clamp(min=0)  # where in source each True finds its element
    if state.recorder is None and wide._array.sum() > source._array.size:
        raise RuntimeError(
            f"masked_scatter: the mask has {int(wide._array.sum())} True elements, source only {source._array.size}"
        )
    if 0 in shape_of(source):
        return apply(ops.COPY, (input,))
    # Where the mask is False the position does not matter; it may lie past the end of a short source.
    index = apply(ops.WHERE, (wide.reshape(-1), order, as_operand(0, int64)), NONE)
    chosen = apply(ops.TAKE, (source.reshape(-1), index), {"axis": 0}).reshape(shape_of(input))
    return apply(ops.WHERE, (wide, chosen, input), NONE)


@method
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of input at `index` (a vector) along dim."""
    axis = axis_of(dim, input._array.ndim)
    if index._array.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    index = positions(index, "index_select()")
    if not input._array.ndim:
        return apply(ops.TAKE, (input.reshape(1), index.reshape(-1)), {"axis": 0}).reshape(())
    return apply(ops.TAKE, (input, index.reshape(-1)), {"axis": axis})


def _put(input: Tensor, dim: int, index: Tensor, source: Tensor, mode: str) -> Tensor:
    if not input._array.ndim:
        return _put(input.reshape(1), 0, index.reshape(-1), source.reshape(-1), mode).reshape(())
    axis = axis_of(dim, input._array.ndim)
    index = positions(index, "index_add()" if mode == "add" else "index_copy()").reshape(-1)
    shape = shape_of(input)
    wanted = (*shape[:axis], *shape_of(index), *shape[axis + 1 :])
    if source._array.dtype != input._array.dtype:
        raise RuntimeError(f"self ({input.dtype.name}) and source ({source.dtype.name}) must have the same scalar type")
    if source._array.ndim != len(wanted) or any(a != b for a, b in zip(wanted, shape_of(source))):
        raise RuntimeError(
            f"source of shape {list(source._array.shape)} does not fit the slices, of shape {list(wanted)}"
        )
    return apply(ops.PUT, (input, index, source), {"axis": axis, "mode": mode})


@with_inplace
@method
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """input with alpha * source's slices added to its slices at `index` along dim."""
    return _put(input, dim, index, source if is_number(alpha, 1) else source * alpha, "add")


@with_inplace
@method
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with the slices of source combined ("prod", "mean", "amax", "amin") with those at `index` along dim."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    axis = axis_of(dim, input._array.ndim)
    if not input._array.ndim:
        return scatter_reduce(input, 0, index.reshape(()), source.reshape(()), reduce, include_self=include_self)
    shape = [1] * input._array.ndim
    shape[axis] = -1
    wide = index.reshape(shape).expand(shape_of(source)).contiguous()
    return scatter_reduce(input, axis, wide, source, reduce, include_self=include_self)


@with_inplace
@method
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with its slices at `index` along dim replaced by source's."""
    return _put(input, dim, index, source, "set")


@with_inplace
@method
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with its slices at `index` along dim filled with a number."""
    if not input._array.ndim:
        return index_fill(input.reshape(1), 0, index.reshape(-1), value).reshape(())
    axis = axis_of(dim, input._array.ndim)
    size = shape_of(input)[axis]
    none = apply(ops.BROADCAST_TO, (as_operand(False, bool_),), {"shape": (size,)})
    places = positions(index, "index_fill_()").reshape(-1)
    places = from_the_end(places, size)
    chosen = apply(ops.PUT, (none, places, places == places), {"axis": 0, "mode": "set"})
    wide = chosen.reshape((-1,) + (1,) * (input._array.ndim - axis - 1))
    return apply(ops.WHERE, (wide, as_operand(value, input.dtype), input), NONE)


@method
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened input at `index`."""
    flat = input.reshape(-1)
    return apply(ops.TAKE, (flat, from_the_end(positions(index, "take()"), shape_of(flat)[0])), {"axis": 0})


@method
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather with indices and input broadcast off dim."""
    if dim is None:
        return gather(input.reshape(-1), 0, from_the_end(indices.reshape(-1), product(shape_of(input))))
    axis = axis_of(dim, input._array.ndim)
    indices = from_the_end(indices, shape_of(input)[axis])
    a, b = list(shape_of(input)), list(shape_of(indices))
    lead = list(broadcast_shapes([*a[:axis], *a[axis + 1 :]], [*b[:axis], *b[axis + 1 :]]))
    wide = [*lead[:axis], a[axis], *lead[axis:]]
    return gather(input.expand(wide), axis, indices.expand([*lead[:axis], b[axis], *lead[axis:]]))


def _triangle(spec: OpSpec, name: str, keeps: str) -> Any:
    def operation(input: Tensor, diagonal: int = 0) -> Tensor:
        if input._array.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        rows, columns = shape_of(input)[-2:]
        row = apply(ops.IOTA, (), {"shape": (rows, 1), "axis": 0, "dtype": int64})
        column = apply(ops.IOTA, (), {"shape": (1, columns), "axis": 1, "dtype": int64})
        keep = apply(spec, (column, row + diagonal if diagonal else row), NONE)
        return row_major(apply(ops.WHERE, (keep, input, as_operand(0, input.dtype)), NONE))

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"The {keeps} triangle of the last two dimensions, zero elsewhere; `diagonal` moves its edge."
    return with_inplace(method(operation))


tril = _triangle(ops.LE, "tril", "lower")
triu = _triangle(ops.GE, "triu", "upper")


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Any = None) -> Tensor:
    """Rows and columns of the lower triangle's elements: [2, count]."""
    return constant(np.stack(np.tril_indices(row, offset, col)).astype(dtype.numpy))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Any = None) -> Tensor:
    """Rows and columns of the upper triangle's elements: [2, count]."""
    return constant(np.stack(np.triu_indices(row, offset, col)).astype(dtype.numpy))


@method
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal over two dimensions, which disappear; it becomes the last dimension. A copy, not a view."""
    rank = input._array.ndim
    a, b = axis_of(dim1, rank), axis_of(dim2, rank)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    order = [d for d in range(rank) if d not in (a, b)]
    x = input.permute([*order, a, b])
    *lead, rows, columns = shape_of(x)
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = offset if offset >= 0 else -offset * columns
    flat = x.reshape((*lead, rows * columns))
    if count == 0:
        return slice_axis(flat, len(lead), 0, 0)
    return slice_axis(flat, len(lead), start, count, int(columns) + 1)


@method
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix's diagonal, or the matrix with a vector on its diagonal."""
    if input._array.ndim == 2:
        return globals()["diagonal"](input, diagonal)
    if input._array.ndim != 1:
        raise RuntimeError("diag(): Supports 1D or 2D tensors. Got " + f"{input._array.ndim}D")
    return diag_embed(input, diagonal)


@method
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in dimensions dim1 and dim2, with the last dimension on their diagonals."""
    rank = input._array.ndim + 1
    first, second = axis_of(dim1, rank), axis_of(dim2, rank)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if first > second:
        first, second, offset = second, first, -offset
    made = _diagonals(input, offset)
    return made if (first, second) == (rank - 2, rank - 1) else made.movedim((-2, -1), (first, second))


def _diagonals(input: Tensor, offset: int) -> Tensor:
    size = shape_of(input)[-1] + (offset if offset >= 0 else -offset)
    low, high = (0, offset) if offset >= 0 else (-offset, 0)
    wide = input.unsqueeze(-1)  # [*, n, 1]: row i holds element i
    zero = as_operand(0, input.dtype)
    rows = apply(ops.PAD, (wide, zero), _padding(wide, -2, low, high))
    row = apply(ops.IOTA, (), {"shape": (size, 1), "axis": 0, "dtype": int64})
    column = apply(ops.IOTA, (), {"shape": (1, size), "axis": 1, "dtype": int64})
    return apply(ops.WHERE, (column == row + offset, rows, zero), NONE)


def _padding(x: Tensor, axis: int, low: int, high: int) -> dict[str, Any]:
    rank = x._array.ndim
    lows, highs = [0] * rank, [0] * rank
    lows[axis], highs[axis] = low, high
    return {"low": tuple(lows), "high": tuple(highs)}


def index_put_flat(input: Tensor, index: Tensor, source: Tensor, accumulate: bool) -> Tensor:
    """A copy of input with source at (or added to) positions of the flattened input."""
    if index._array.size != source._array.size:
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source._array.size}, index.numel() = {index._array.size}"
        )
    places = from_the_end(positions(index, "put_()").reshape(-1), product(shape_of(input)))
    flat = _put(input.reshape(-1), 0, places, source.reshape(-1), "add" if accumulate else "set")
    return flat.reshape(shape_of(input))
