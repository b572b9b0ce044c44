"""NumPy kernels of the operations that move elements. Those whose spec is a VIEW return views of their operand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.errors import ShapeError
from jitcore_ir.spec import OpSpec

from .floating import Kernel, accumulator, quiet

Ints = tuple[int, ...]


def reshape(x: np.ndarray, shape: Ints) -> np.ndarray:
    return x.reshape(shape)


def permute(x: np.ndarray, permutation: Ints) -> np.ndarray:
    return x.transpose(permutation)


def broadcast_to(x: np.ndarray, shape: Ints) -> np.ndarray:
    """A read-only view, or x itself where it has that shape; only new axes of size 1 leave it writeable."""
    if x.shape == shape:
        return x
    if shape[len(shape) - x.ndim :] == x.shape and all(d == 1 for d in shape[: len(shape) - x.ndim]):
        return x[(None,) * (len(shape) - x.ndim)]
    if x.ndim <= len(shape) and x.flags.c_contiguous and x.size:
        # As np.broadcast_to, in half the time.
        lead = len(shape) - x.ndim
        strides = [0] * lead
        for have, want, step in zip(x.shape, shape[lead:], x.strides):
            if have != want and have != 1:
                break
            strides.append(step if have == want else 0)
        else:
            try:
                view = np.ndarray(shape, x.dtype, x, 0, strides)  # type: ignore[arg-type]
            except ValueError:  # bfloat16 is no buffer that NumPy can read
                return np.broadcast_to(x, shape)
            view.flags.writeable = False
            return view
    return np.broadcast_to(x, shape)


def slice_(x: np.ndarray, starts: Ints, sizes: Ints, steps: Ints) -> np.ndarray:
    if not starts:
        return x
    view = x[_slices(starts, sizes, steps)]
    if view.shape != tuple(sizes) or min(starts) < 0:
        raise ShapeError(f"slice: starts {starts}, sizes {sizes} and steps {steps} reach outside shape {list(x.shape)}")
    return view


def slice_update(x: np.ndarray, update: np.ndarray, starts: Ints, steps: Ints) -> np.ndarray:
    result = x.copy()
    if starts:
        slice_(result, starts, update.shape, steps)[...] = update
    else:
        result[...] = update
    return result


def _slices(starts: Ints, sizes: Ints, steps: Ints) -> tuple[slice, ...]:
    # The stop may lie beyond the axis, where NumPy clips it; the last element taken is start + (size - 1) * step.
    return tuple([slice(b, b + n * s, s) for b, n, s in zip(starts, sizes, steps)])


def flip(x: np.ndarray, axes: Ints) -> np.ndarray:
    backwards = slice(None, None, -1)
    return x[tuple(backwards if a in axes else slice(None) for a in range(x.ndim))].copy() if axes else x.copy()


def pad(x: np.ndarray, value: np.ndarray, low: Ints, high: Ints) -> np.ndarray:
    shape = tuple(b + n + a for b, n, a in zip(low, x.shape, high))
    result = np.empty(shape, x.dtype)
    result[...] = value
    result[tuple(slice(b, b + n) for b, n in zip(low, x.shape))] = x
    return result


def concat(*xs: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(xs, axis)


def windows(x: np.ndarray, window: Ints, stride: Ints, dilation: Ints) -> np.ndarray:
    """A read-only view: windows overlap, so a write through it would show in several places."""
    lead = x.ndim - len(window)
    shape, strides = x.shape, x.strides
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(shape[lead:], window, stride, dilation)]
    steps = [b * s for b, s in zip(strides[lead:], stride)]
    inner = [b * d for b, d in zip(strides[lead:], dilation)]
    return np.lib.stride_tricks.as_strided(
        x, (*shape[:lead], *counts, *window), (*strides[:lead], *steps, *inner), writeable=False
    )


@quiet
def fold_windows(x: np.ndarray, spatial: Ints, stride: Ints, dilation: Ints) -> np.ndarray:
    count = len(spatial)
    lead = x.shape[: x.ndim - 2 * count]
    result = np.zeros((*lead, *spatial), accumulator(x.dtype))
    add_windows(result, x, stride, dilation)
    return result.astype(x.dtype, copy=False)


def add_windows(target: np.ndarray, x: np.ndarray, stride: Ints, dilation: Ints) -> None:
    """Add windows x [*, O..., K...] to target [*, S...] where they were taken from: one strided addition for each
    place in the window, in row-major order of those places."""
    count = len(stride)
    counts, window = x.shape[x.ndim - 2 * count : x.ndim - count], x.shape[x.ndim - count :]
    for place in itertools.product(*map(range, window)):
        spans = [slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, n, s in zip(place, dilation, counts, stride)]
        taken: Any = (..., *spans)
        source: Any = (..., *place)
        target[taken] += x[source]


KERNELS: dict[OpSpec, Kernel] = {
    ops.RESHAPE: reshape,
    ops.PERMUTE: permute,
    ops.BROADCAST_TO: broadcast_to,
    ops.SLICE: slice_,
    ops.SLICE_UPDATE: slice_update,
    ops.FLIP: flip,
    ops.PAD: pad,
    ops.CONCAT: concat,
    ops.WINDOWS: windows,
    ops.FOLD_WINDOWS: fold_windows,
}
