"""NumPy kernels of the matrix product and of the convolutions, which become matrix products of gathered windows.

BLAS multiplies matrices in the same order however they lie in memory, but not a matrix and a vector: those are products
of rows in one layout and a sum of rows in the other. Where the order is fixed, `dot` asks for products of rows. A
matrix times its own transpose is a routine of its own where NumPy sees that their memory is the same, so one of them is
copied.
"""

from __future__ import annotations

import math

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from ..arena import address_of
from . import blas
from .blas import product
from .floating import Kernel, accumulator, in_float32, is_half, order_is_fixed, quiet, row_major
from .movement import add_windows, windows

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

_CHUNK_BYTES = 8 << 20
"""Windows gathered at once. Larger chunks leave the cache; a whole batch of them could be gigabytes."""


_of_floats = quiet(product)
_of_halves = in_float32(_of_floats)


def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iub":
        return np.matmul(x, y)
    matmul = _of_halves if x.dtype.itemsize == 2 else _of_floats
    if order_is_fixed() and (x.shape[-2] == 1 or y.shape[-1] == 1):
        return matmul(row_major(x), row_major(y.swapaxes(-1, -2)).swapaxes(-1, -2))
    if blas.TINY and x.shape[-2] * x.shape[-1] * y.shape[-1] <= blas.TINY:
        return matmul(row_major(x), row_major(y))
    if x.shape[-2] == y.shape[-1] and address_of(x) == address_of(y):
        return matmul(np.array(x, order="C"), y if y.flags.c_contiguous else _for_blas(y))
    return matmul(x if x.flags.c_contiguous else _for_blas(x), y if y.flags.c_contiguous else _for_blas(y))


def _for_blas(x: np.ndarray) -> np.ndarray:
    """x, or a copy where its last two strides do not suit BLAS: NumPy would fall back to a loop 50 times slower."""
    item, (rows, columns), (row, column) = x.itemsize, x.shape[-2:], x.strides[-2:]
    row_major = (column == item or columns <= 1) and ((row >= columns * item and row % item == 0) or rows <= 1)
    column_major = (row == item or rows <= 1) and ((column >= rows * item and column % item == 0) or columns <= 1)
    return x if row_major or column_major else np.ascontiguousarray(x)


@quiet
def conv(x: np.ndarray, weight: np.ndarray, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> np.ndarray:
    """x [N, C, S...], weight [O, C / groups, K...] -> [N, O, P...]."""
    kernel = weight.shape[2:]
    gather = _Windows(x, kernel, stride, padding, dilation, groups)
    matrix = _wide(weight).reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:]))
    result = np.empty((x.shape[0], weight.shape[0], *gather.counts), x.dtype)
    for begin, end in gather.chunks():
        made = product(matrix, gather.columns(begin, end))  # [G, O / G, n * P]
        result[begin:end] = made.reshape(weight.shape[0], end - begin, *gather.counts).swapaxes(0, 1)
    return result


@quiet
def conv_weight_gradient(
    x: np.ndarray, y: np.ndarray, stride: Ints, padding: Pairs, dilation: Ints, groups: int, kernel: Ints
) -> np.ndarray:
    """x [N, C, S...], y [N, O, P...] -> [O, C / groups, *kernel]."""
    gather = _Windows(x, kernel, stride, padding, dilation, groups)
    outputs = y.shape[1]
    total = np.zeros((groups, outputs // groups, x.shape[1] // groups * math.prod(kernel)), accumulator(x.dtype))
    for begin, end in gather.chunks():
        matrix = np.ascontiguousarray(_wide(y[begin:end]).swapaxes(0, 1)).reshape(groups, outputs // groups, -1)
        total += product(matrix, gather.columns(begin, end).swapaxes(1, 2))
    return total.reshape(outputs, x.shape[1] // groups, *kernel).astype(x.dtype, copy=False)


@quiet
def conv_transpose(
    x: np.ndarray, weight: np.ndarray, stride: Ints, padding: Pairs, dilation: Ints, groups: int, spatial: Ints
) -> np.ndarray:
    """x [N, O, P...], weight [O, C / groups, K...] -> [N, C, *spatial]."""
    samples, outputs, counts, kernel = x.shape[0], x.shape[1], x.shape[2:], weight.shape[2:]
    channels = weight.shape[1] * groups
    matrix = _wide(weight).reshape(groups, outputs // groups, math.prod(weight.shape[1:])).swapaxes(1, 2)
    padded = tuple(low + s + high for s, (low, high) in zip(spatial, padding))
    inside = tuple(slice(low, low + s) for s, (low, _) in zip(spatial, padding))
    result = np.empty((samples, channels, *spatial), x.dtype)
    axes = len(spatial)
    # Gathered [C, K..., n, P...]; add_windows wants the places in the window last.
    order = (axes + 1, 0, *range(axes + 2, 2 * axes + 2), *range(1, axes + 1))
    for begin, end in _chunks(samples, channels * math.prod(kernel) * math.prod(counts) * matrix.itemsize):
        columns = np.ascontiguousarray(_wide(x[begin:end]).swapaxes(0, 1)).reshape(groups, outputs // groups, -1)
        made = product(matrix, columns).reshape(channels, *kernel, end - begin, *counts)
        target = np.zeros((end - begin, channels, *padded), matrix.dtype)
        add_windows(target, made.transpose(order), stride, dilation)
        result[begin:end] = target[(slice(None), slice(None), *inside)]
    return result


class _Windows:
    """The windows of x [N, C, S...] that a convolution reads, gathered into matrices a few samples at a time."""

    def __init__(self, x: np.ndarray, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> None:
        self.groups = groups
        self.padded = _pad(_wide(x), padding)
        self.view = windows(self.padded, kernel, stride, dilation)  # [N, C, P..., K...]
        self.counts = self.view.shape[2 : 2 + len(kernel)]
        self.rows = x.shape[1] * math.prod(kernel)
        self.is_plain = math.prod(kernel) == 1 and self.counts == self.padded.shape[2:]

    def chunks(self) -> list[tuple[int, int]]:
        return _chunks(len(self.view), self.rows * math.prod(self.counts) * self.view.itemsize)

    def columns(self, begin: int, end: int) -> np.ndarray:
        """[G, C / G * K, n * P] for samples begin..end."""
        shape = (self.groups, self.rows // self.groups, (end - begin) * math.prod(self.counts))
        if self.is_plain:  # a 1x1 kernel reads every element once
            return self.padded[begin:end].swapaxes(0, 1).reshape(shape)
        axes = len(self.counts)
        order = (1, *range(2 + axes, 2 + 2 * axes), 0, *range(2, 2 + axes))
        return self.view[begin:end].transpose(order).reshape(shape)


def _pad(x: np.ndarray, padding: Pairs) -> np.ndarray:
    if not any(low or high for low, high in padding):
        return x
    shape = (*x.shape[:2], *(low + s + high for s, (low, high) in zip(x.shape[2:], padding)))
    result = np.zeros(shape, x.dtype)
    result[(slice(None), slice(None), *(slice(low, low + s) for s, (low, _) in zip(x.shape[2:], padding)))] = x
    return result


def _wide(x: np.ndarray) -> np.ndarray:
    """x row-major, 16-bit floats as float32."""
    return row_major(x.astype(np.float32) if is_half(x.dtype) else x)


def _chunks(samples: int, bytes_each: int) -> list[tuple[int, int]]:
    """Ranges of samples whose gathered windows take about _CHUNK_BYTES."""
    step = max(1, _CHUNK_BYTES // max(bytes_each, 1))
    return [(begin, min(begin + step, samples)) for begin in range(0, samples, step)]


KERNELS: dict[OpSpec, Kernel] = {
    ops.DOT: dot,
    ops.CONV: conv,
    ops.CONV_TRANSPOSE: conv_transpose,
    ops.CONV_WEIGHT_GRADIENT: conv_weight_gradient,
}
