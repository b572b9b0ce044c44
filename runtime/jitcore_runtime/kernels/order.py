"""NumPy kernels of sorting and searching. 16-bit floats are ordered as float32."""

from __future__ import annotations

from typing import Literal

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from .floating import Kernel, is_half, quiet


def _comparable(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if is_half(x.dtype) else x


def argsort(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    x = _comparable(x)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # A stable descending sort is the stable ascending one of the reversed axis, counted from its end.
    order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.ascontiguousarray(x.shape[axis] - 1 - np.flip(order, axis))


def top_positions(x: np.ndarray, axis: int, count: int, largest: bool) -> np.ndarray:
    size = x.shape[axis]
    if not count or count * 8 > size or size < 64:
        return np.ascontiguousarray(np.take(argsort(x, axis, largest), np.arange(count), axis))
    x = np.moveaxis(_comparable(x), axis, -1)
    part = np.argpartition(x, size - count if largest else count - 1, -1)
    chosen = np.sort(part[..., size - count :] if largest else part[..., :count], -1)
    order = argsort(np.take_along_axis(x, chosen, -1), x.ndim - 1, largest)
    return np.ascontiguousarray(np.moveaxis(np.take_along_axis(chosen, order, -1), -1, axis))


@quiet
def running_position(x: np.ndarray, axis: int, largest: bool) -> np.ndarray:
    values = np.moveaxis(_comparable(x), axis, -1)
    best = (np.maximum if largest else np.minimum).accumulate(values, axis=-1)
    places = np.arange(values.shape[-1])
    reached = values == best
    if values.dtype.kind == "f":
        reached |= np.isnan(values)
    indices = np.maximum.accumulate(np.where(reached, places, 0), axis=-1)
    return np.ascontiguousarray(np.moveaxis(indices, -1, axis))


@quiet
def logcumsumexp(x: np.ndarray, axis: int) -> np.ndarray:
    wide = x.astype(np.float64) if x.dtype != np.float64 else x
    return np.logaddexp.accumulate(wide, axis=axis).astype(x.dtype)


def searchsorted(edges: np.ndarray, x: np.ndarray, right: bool) -> np.ndarray:
    side: Literal["left", "right"] = "right" if right else "left"
    edges, x = _comparable(edges), _comparable(x)
    if edges.ndim == 1:
        return np.asarray(np.searchsorted(edges, x, side)).astype(np.int64, copy=False)
    result = np.empty(x.shape, np.int64)
    if not result.size:
        return result
    flat = result.reshape(-1, x.shape[-1])
    rows = edges.reshape(len(flat), edges.shape[-1])
    for row, values, places in zip(rows, x.reshape(flat.shape), flat):
        places[...] = np.searchsorted(row, values, side)
    return result


def nonzero(x: np.ndarray, count: int) -> np.ndarray:
    found = np.argwhere(x) if x.ndim else np.zeros((int(x != 0), 0), np.int64)
    result = np.zeros((count, x.ndim), np.int64)
    result[: len(found)] = found[:count]
    return result


KERNELS: dict[OpSpec, Kernel] = {
    ops.ARGSORT: argsort,
    ops.TOP_POSITIONS: top_positions,
    ops.RUNNING_POSITION: running_position,
    ops.LOGCUMSUMEXP: logcumsumexp,
    ops.SEARCHSORTED: searchsorted,
    ops.NONZERO: nonzero,
}
