"""NumPy kernels of sums, products, extremes, their positions and running sums.

NumPy adds pairwise only along the axis whose elements are neighbours in memory; over any other axis it adds one row
after another, and the float32 sum of a million rows is wrong in the third digit. `sum_` adds such axes in blocks.

A sum's order follows from the shape alone: what is not row-major is copied first. An extreme of floats that equals 0 is
0.0, never -0.0, so that it does not depend on an order either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from .floating import Kernel, accumulator, is_half, of_reals, ordered, quiet

_BLOCK = 128
"""Rows added one after another before their sums are added in turn: the error grows with log(n), not n."""


@quiet
def sum_(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    if x.dtype.kind in "iu":
        return _reduced(np.add, x, axes, keepdims).astype(x.dtype, copy=False)
    x = ordered(x)
    parts = x if x.size <= _BLOCK else _in_blocks(x, axes)
    return _reduced(np.add, parts, axes, keepdims).astype(x.dtype, copy=False)


def _reduced(ufunc: Any, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return np.asarray(ufunc.reduce(x, axis=axes, dtype=accumulator(x.dtype), keepdims=keepdims))


def _in_blocks(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """x with the reduced axes that NumPy would not add pairwise already summed down to at most _BLOCK elements."""
    fastest = min((a for a in range(x.ndim) if x.shape[a] > 1), key=lambda a: abs(x.strides[a]), default=-1)
    for axis in axes:
        while axis != fastest and x.shape[axis] > _BLOCK:
            x = _sum_blocks(x, axis)
    return x


def _sum_blocks(x: np.ndarray, axis: int) -> np.ndarray:
    """x with axis _BLOCK times shorter, in the accumulator dtype.

    Element m of the result is the sum of elements m, m + n, m + 2n ... of x (n the new length): the rows added are long
    runs of memory. What does not divide is left as it is at the end.
    """
    count = x.shape[axis] // _BLOCK
    before, after = (slice(None),) * axis, x.shape[axis + 1 :]
    whole = x[(*before, slice(0, count * _BLOCK))]
    grid = np.lib.stride_tricks.as_strided(
        whole,
        (*x.shape[:axis], _BLOCK, count, *after),
        (*x.strides[:axis], x.strides[axis] * count, *x.strides[axis:]),
        writeable=False,
    )
    sums = np.add.reduce(grid, axis=axis, dtype=accumulator(x.dtype))
    rest = x[(*before, slice(count * _BLOCK, None))]
    return np.concatenate((sums, rest.astype(sums.dtype, copy=False)), axis) if rest.shape[axis] else sums


@quiet
def prod(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return _reduced(np.multiply, ordered(x), axes, keepdims).astype(x.dtype, copy=False)


def _extreme(ufunc: Any) -> Kernel:
    @quiet
    def kernel(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
        result = np.asarray(ufunc.reduce(x, axis=axes, keepdims=keepdims))
        return result if x.dtype.kind in "iub" else np.add(result, x.dtype.type(0), out=result)

    return kernel


def argmax(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    return np.asarray(np.argmax(_comparable(x), axis=axis, keepdims=keepdims), np.int64)


def argmin(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    return np.asarray(np.argmin(_comparable(x), axis=axis, keepdims=keepdims), np.int64)


def _comparable(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if is_half(x.dtype) else x


def _running(ufunc: Any) -> Kernel:
    @quiet
    def kernel(x: np.ndarray, axis: int) -> np.ndarray:
        running = ufunc.accumulate(x, axis=axis, dtype=accumulator(x.dtype))
        return running.astype(x.dtype, copy=False)

    return kernel


KERNELS: dict[OpSpec, Kernel] = {
    ops.SUM: sum_,
    ops.PROD: prod,
    ops.AMAX: of_reals(_extreme(np.maximum)),
    ops.AMIN: of_reals(_extreme(np.minimum)),
    ops.ARGMAX: of_reals(argmax),
    ops.ARGMIN: of_reals(argmin),
    ops.CUMSUM: _running(np.add),
    ops.CUMPROD: _running(np.multiply),
}
