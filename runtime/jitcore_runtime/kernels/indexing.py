"""NumPy kernels of reads and writes at positions held in an int64 array.

Positions are checked in one pass: seen as unsigned, a negative one is larger than any axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from ..errors import PositionError
from .floating import Kernel, accumulator, quiet

_ROW = 16
"""Rows at least this long are added a row at a time, shorter ones an element at a time (7 ns each)."""
_COPIED = 1 << 12
"""Arrays of fewer elements are copied rather than read in place: that takes NumPy less than its slower way to read."""
_ROUNDS = 64
"""Most rounds of additions of rows (see `_add_rows`) before single additions are faster."""


def take(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    check_positions("take", indices, axis, x.shape[axis])
    if not indices.size:
        return np.empty((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    if x.flags.c_contiguous or x.size < _COPIED:
        return np.asarray(np.take(x, indices, axis=axis, mode="clip"))  # "clip" skips NumPy's own check
    # np.take would make all of x row-major first.
    place: Any = (*[slice(None)] * axis, indices.reshape(-1))
    return x[place].reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@quiet
def put(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, mode: str) -> np.ndarray:
    check_positions("put", indices, axis, x.shape[axis])
    # The axis first, then the rest: rows[i] is the slice at position i, new[k] what goes to positions[k].
    first = x.transpose((axis, *range(axis), *range(axis + 1, x.ndim)))
    rows = np.array(first, accumulator(x.dtype) if mode == "add" else x.dtype, order="C")
    positions = indices.reshape(-1)
    rank = indices.ndim
    new = updates.transpose((*range(axis, axis + rank), *range(axis), *range(axis + rank, updates.ndim)))
    new = new.reshape((positions.size, *rows.shape[1:]))
    if mode == "set":
        rows[positions] = new
    else:
        _add_rows(rows, positions, new)
    result = rows.transpose((*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))
    return np.ascontiguousarray(result).astype(x.dtype, copy=False)


def gather(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    check_positions("gather", indices, axis, x.shape[axis])
    if not indices.size:
        return np.empty(indices.shape, x.dtype)
    return np.take(x.reshape(-1), _flat_positions(x.shape, indices, axis), mode="clip")


@quiet
def scatter(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, mode: str) -> np.ndarray:
    check_positions("scatter", indices, axis, x.shape[axis])
    result = np.array(x, accumulator(x.dtype) if mode == "add" else x.dtype, order="C")
    if indices.size:
        flat, positions = result.reshape(-1), _flat_positions(x.shape, indices, axis).reshape(-1)
        if mode == "set":
            flat[positions] = updates.reshape(-1)
        else:
            np.add.at(flat, positions, updates.reshape(-1).astype(result.dtype, copy=False))
    return result.astype(x.dtype, copy=False)


def scatter_reduce(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, mode: str) -> np.ndarray:
    check_positions("scatter_reduce", indices, axis, x.shape[axis])
    result = np.array(x, accumulator(x.dtype) if mode == "mul" else x.dtype, order="C")
    if indices.size:
        flat, positions = result.reshape(-1), _flat_positions(x.shape, indices, axis).reshape(-1)
        _COMBINE[mode].at(flat, positions, updates.reshape(-1).astype(result.dtype, copy=False))
    return result.astype(x.dtype, copy=False)


_COMBINE = {"max": np.maximum, "min": np.minimum, "mul": np.multiply}


def check_positions(name: str, indices: np.ndarray, axis: int, size: int) -> None:
    """Raise IndexError naming the first position (row-major) outside 0 <= i < size."""
    if indices.size and np.maximum.reduce(indices.view(np.uint64), axis=None) >= size:
        wrong = indices[(indices < 0) | (indices >= size)].flat[0]
        raise PositionError(f"{name}: position {wrong} is out of range for axis {axis} of size {size}")


def _flat_positions(shape: tuple[int, ...], indices: np.ndarray, axis: int) -> np.ndarray:
    """Row-major numbers, in an array of `shape`, of the elements that `indices` name along axis."""
    stride = 1
    flat = np.zeros(indices.shape, np.int64)
    for a in range(len(shape) - 1, -1, -1):
        own = indices if a == axis else np.arange(indices.shape[a]).reshape((-1,) + (1,) * (len(shape) - 1 - a))
        flat += own * stride
        stride *= shape[a]
    return flat


def _add_rows(rows: np.ndarray, positions: np.ndarray, new: np.ndarray) -> None:
    """rows[positions[k]] += new[k] for k in order, so that sums round alike everywhere. rows is row-major.

    Long rows are added in rounds: round r adds the r-th of the updates to each position. A position occurs once in a
    round, and its updates come in their order.
    """
    width = new[0].size if len(new) else 0
    if not width:
        return
    if width < _ROW:
        where = positions if width == 1 else (positions[:, None] * width + np.arange(width)).reshape(-1)
        np.add.at(rows.reshape(-1), where, new.reshape(-1).astype(rows.dtype, copy=False))
        return
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    lengths = np.diff(first, append=len(ordered))
    rounds = int(lengths.max())
    if rounds > _ROUNDS:
        for position, update in zip(positions.tolist(), new):
            row = rows[position]
            np.add(row, update, out=row)
        return
    for r in range(rounds):
        at = first[lengths > r] + r
        rows[ordered[at]] += new[order[at]]


KERNELS: dict[OpSpec, Kernel] = {
    ops.TAKE: take,
    ops.PUT: put,
    ops.GATHER: gather,
    ops.SCATTER: scatter,
    ops.SCATTER_REDUCE: scatter_reduce,
}
