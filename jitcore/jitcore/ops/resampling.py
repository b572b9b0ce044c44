"""interpolate: resampling along each spatial dimension in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitcore_ir import ops
from jitcore_ir.dtypes import float32, int64

from ..dispatch import apply, constant
from ..tensor import Tensor, shape_of
from .grid import cubic_weights
from .half import reals_in_float32
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

_RANKS = {"linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,), "area": (1, 2, 3), "nearest": (1, 2, 3)}
_RANKS["nearest-exact"] = (1, 2, 3)
_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


@reals_in_float32
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input [N, C, ...] resampled to `size` or by scale_factor.

    mode: "nearest", "nearest-exact", "area", "linear" (one dimension), "bilinear" or "bicubic" (two; with antialias a
    filter as wide as the step), "trilinear" (three).
    """
    rank = input._array.ndim - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if mode not in _RANKS or rank not in _RANKS[mode]:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {rank + 2}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor")
    have = shape_of(input)[2:]
    if any(n < 1 for n in have):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input of shape {list(input.shape)}"
        )
    wanted, steps = _sizes(have, size, scale_factor, recompute_scale_factor, rank)
    if mode == "area":
        return _AREA[rank](input, tuple(int(m) for m in wanted))
    order = range(rank) if not antialias else reversed(range(rank))
    for i in order:
        n, m, step = have[i], wanted[i], steps[i]
        if mode.startswith("nearest"):
            input = _nearest(input, 2 + i, n, m, step, 0.5 if mode.endswith("exact") else 0.0)
        elif antialias:
            input = _filtered(input, 2 + i, int(n), int(m), step, bool(align_corners), mode == "bicubic")
        elif mode == "bicubic":
            input = _cubic(input, 2 + i, n, m, step, bool(align_corners))
        else:
            input = _linear(input, 2 + i, n, m, step, bool(align_corners))
    return input


def _sizes(have: Any, size: Any, scale_factor: Any, recompute: bool | None, rank: int) -> tuple[list[Any], list[Any]]:
    """The sizes wanted, and how many pixels of the input one of the output is."""
    if size is not None:
        wanted = [int(size)] * rank if not isinstance(size, list | tuple) else [int(s) for s in size]
        if len(wanted) != rank:
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(have)} and output size of {wanted}."
            )
        return wanted, [n / m for n, m in zip(have, wanted)]
    factors = [scale_factor] * rank if isinstance(scale_factor, int | float) else list(scale_factor)
    if len(factors) != rank:
        raise ValueError(f"expected {rank} scale factors, got {factors}")
    wanted = [n * int(f) if f == int(f) else math.floor(int(n) * f) for n, f in zip(have, factors)]
    return wanted, [n / m if recompute else 1.0 / f for n, m, f in zip(have, wanted, factors)]


def _places(count: int) -> Tensor:
    return apply(ops.IOTA, (), {"shape": (count,), "axis": 0, "dtype": float32})


def _nearest(input: Tensor, axis: int, have: int, wanted: int, step: float, shift: float) -> Tensor:
    if wanted == have * (wanted // have) and shift == 0.0:
        return input.repeat_interleave(wanted // have, axis)
    index = ((_places(wanted) + shift) * step).floor().clamp(max=have - 1).to(int64)
    return apply(ops.TAKE, (input, index), {"axis": axis})


def _source(wanted: int, have: int, step: float, align_corners: bool, input: Tensor) -> Tensor:
    """The place in the input of each pixel of the output."""
    places = _places(wanted).to(input.dtype)
    if align_corners:
        return places * ((have - 1) / (wanted - 1) if wanted > 1 else 0.0)
    return (places + 0.5) * step - 0.5


def _along(weight: Tensor, input: Tensor, axis: int) -> Tensor:
    return weight.reshape((-1,) + (1,) * (input._array.ndim - axis - 1))


def _linear(input: Tensor, axis: int, have: int, wanted: int, step: float, align_corners: bool) -> Tensor:
    place = _source(wanted, have, step, align_corners, input).clamp(min=0.0)
    low = place.floor().clamp(max=have - 1)
    high = (low + 1.0).clamp(max=have - 1)
    part = _along(place - low, input, axis)
    below = apply(ops.TAKE, (input, low.to(int64)), {"axis": axis})
    above = apply(ops.TAKE, (input, high.to(int64)), {"axis": axis})
    return below * (1.0 - part) + above * part


def _cubic(input: Tensor, axis: int, have: int, wanted: int, step: float, align_corners: bool) -> Tensor:
    place = _source(wanted, have, step, align_corners, input)
    low = place.floor()
    total: Any = 0
    for k, weight in enumerate(cubic_weights(place - low)):
        index = (low + (k - 1)).clamp(0, have - 1).to(int64)
        total = total + apply(ops.TAKE, (input, index), {"axis": axis}) * _along(weight, input, axis)
    return total


def _filtered(
    input: Tensor, axis: int, have: int, wanted: int, step: float, align_corners: bool, is_cubic: bool
) -> Tensor:
    """A product with a matrix of filter weights, as wide as the step where pixels are merged (as Pillow does it)."""
    step = ((have - 1) / (wanted - 1) if wanted > 1 else 0.0) if align_corners else step
    scale, reach = max(step, 1.0), 2.0 if is_cubic else 1.0
    kernel: Callable[[np.ndarray], np.ndarray] = _keys if is_cubic else lambda x: np.maximum(1 - np.abs(x), 0)
    table = np.zeros((wanted, have))
    for row in range(wanted):
        center = step * (row + 0.5)
        first = max(int(center - reach * scale + 0.5), 0)
        last = min(int(center + reach * scale + 0.5), have)
        weights = kernel((np.arange(first, last) - center + 0.5) / scale)
        table[row, first:last] = weights / weights.sum()
    matrix = constant(table.astype(input._array.dtype))
    return (input.movedim(axis, -1) @ matrix.t()).movedim(-1, axis)


def _keys(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with parameter -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
