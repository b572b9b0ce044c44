"""Pooling by windows and reductions, and the shuffling of pixels between channels and space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply, constant
from ..promotion import as_operand, is_number
from ..symbolic import larger
from ..tensor import Tensor, shape_of
from ..typeinfo import iinfo
from .compare import refuse_complex
from .convolution import tuple_of
from .half import reals_in_float32
from .join import cat
from .movement import slice_axis
from .padding import pad_constant


def _windows(
    name: str,
    input: Tensor,
    rank: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    fill: Any,
) -> tuple[Tensor, dict[str, Any]]:
    """Every window [*, O..., K...] of the padded input, and the geometry used."""
    kernel = tuple_of(name, "kernel_size", kernel, rank)
    steps = (
        kernel
        if stride is None or (isinstance(stride, list | tuple) and not stride)
        else tuple_of(name, "stride", stride, rank)
    )
    pads = tuple_of(name, "padding", padding, rank)
    spread = tuple_of(name, "dilation", dilation, rank)
    if input._array.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(f"{name}: Expected {rank + 1}D or {rank + 2}D input, but got shape {list(shape_of(input))}")
    if any(2 * p > k for p, k in zip(pads, kernel)):
        raise RuntimeError(
            f"pad should be at most half of effective kernel size, but got pad={list(pads)}, kernel_size={list(kernel)}"
        )
    if any(k < 1 or s < 1 or d < 1 for k, s, d in zip(kernel, steps, spread)):
        raise RuntimeError(f"{name}: kernel_size, stride and dilation must be greater than zero")
    first = input._array.ndim - rank
    pairs = {}
    for i, (k, s, p, d) in enumerate(zip(kernel, steps, pads, spread)):
        n = shape_of(input)[first + i]
        span = d * (k - 1) + 1
        high = p
        if ceil_mode:
            room = n + 2 * p - span
            count = -(-room // s) + 1
            if p + s > span and (count - 1) * s >= n + p:  # no window starts in the padding on the far side
                count = count - 1
            high = larger((count - 1) * s + span - n - p, p)
        if shape_of(input)[first + i] + p + high < span:
            raise RuntimeError(
                f"{name}: Output size is too small: a window spanning {span} does not fit dimension "
                f"{first + i} of input "
                f"{list(shape_of(input))} padded by {p}"
            )
        pairs[first + i] = (p, high)
    padded = input
    if not all(is_number(amount, 0) for pair in pairs.values() for amount in pair):
        padded = pad_constant(input, pairs, fill)
    cut = apply(ops.WINDOWS, (padded,), {"window": kernel, "stride": steps, "dilation": spread})
    return cut, {"kernel": kernel, "stride": steps, "dilation": spread, "pairs": pairs, "first": first}


def _max_pool(
    rank: int, input: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, indices: bool
) -> Any:
    name = f"max_pool{rank}d"
    refuse_complex(name, input)
    lowest = float("-inf") if input.dtype.is_floating_point else iinfo(input.dtype).min
    cut, geometry = _windows(name, input, rank, kernel, stride, padding, dilation, ceil_mode, lowest)
    # The first largest of each window: its gradient goes there alone, as in PyTorch.
    shape = shape_of(cut)
    flat = cut.reshape((*shape[: cut._array.ndim - rank], _product(geometry["kernel"])))
    axis = flat._array.ndim - 1
    if not indices and not (input.requires_grad):
        return apply(
            ops.AMAX, (cut,), {"axes": tuple(range(cut._array.ndim - rank, cut._array.ndim)), "keepdims": False}
        )
    best = apply(ops.ARGMAX, (flat,), {"axis": axis, "keepdims": True})
    values = apply(ops.GATHER, (flat, best), {"axis": axis}).squeeze(axis)
    return (values, _flat_positions(best.squeeze(axis), input, rank, geometry)) if indices else values


def _flat_positions(best: Tensor, input: Tensor, rank: int, geometry: dict[str, Any]) -> Tensor:
    """Places within windows as positions in the flattened spatial dimensions of the input."""
    spatial = shape_of(input)[geometry["first"] :]
    total: Any = 0
    rest = best
    offsets: list[Tensor] = []
    for k in reversed(geometry["kernel"]):
        offsets.insert(0, rest % k)
        rest = rest // k
    counts = shape_of(best)
    for i in range(rank):
        axis = geometry["first"] + i
        window = apply(
            ops.IOTA,
            (),
            {"shape": tuple(n if a == axis else 1 for a, n in enumerate(counts)), "axis": axis, "dtype": int64},
        )
        low = geometry["pairs"][axis][0]
        place = window * geometry["stride"][i] + offsets[i] * geometry["dilation"][i] - low
        total = total * spatial[i] + place
    return total


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


def max_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """Largest of each window of input [N, C, L]; with return_indices also their positions."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """Largest of each window of input [N, C, H, W]; with return_indices also their positions in H * W."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """Largest of each window of input [N, C, D, H, W]; with return_indices also their positions."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    include: bool,
    divisor: int | None,
) -> Tensor:
    name = f"avg_pool{rank}d"
    cut, geometry = _windows(name, input, rank, kernel, stride, padding, 1, ceil_mode, 0)
    axes = tuple(range(cut._array.ndim - rank, cut._array.ndim))
    total = apply(ops.SUM, (cut,), {"axes": axes, "keepdims": False})
    if divisor is not None:
        return total / divisor
    pads = tuple_of(name, "padding", padding, rank)
    # ceil_mode's extra cells
    beyond = not all(is_number(high, p) for (_, high), p in zip(geometry["pairs"].values(), pads))
    if not beyond and (include or not any(pads)):
        return total / _product(geometry["kernel"])
    # Count the cells of each window that may be averaged, by pooling ones.
    spatial = shape_of(input)[geometry["first"] :]
    ones = as_operand(1, input.dtype).expand(spatial)
    if include:
        ones = pad_constant(ones, {i: (p, p) for i, p in enumerate(pads)}, 1)
        rest = {i: (0, high - p) for i, ((_, high), p) in enumerate(zip(geometry["pairs"].values(), pads))}
    else:
        rest = dict(enumerate(geometry["pairs"].values()))
    if not all(is_number(amount, 0) for pair in rest.values() for amount in pair):
        ones = pad_constant(ones, rest, 0)
    counted = apply(
        ops.WINDOWS, (ones,), {"window": geometry["kernel"], "stride": geometry["stride"], "dilation": (1,) * rank}
    )
    counts = apply(ops.SUM, (counted,), {"axes": tuple(range(rank, 2 * rank)), "keepdims": False})
    return total / counts


@reals_in_float32
def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """Mean of each window of input [N, C, L]."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@reals_in_float32
def avg_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Mean of each window of input [N, C, H, W]."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@reals_in_float32
def avg_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Mean of each window of input [N, C, D, H, W]."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive(spec: OpSpec, rank: int, input: Tensor, output_size: Any) -> Tensor:
    """One window per output cell i, covering floor(i * n / m) to ceil((i + 1) * n / m)."""
    name = f"adaptive_{'max' if spec is ops.AMAX else 'avg'}_pool{rank}d"
    if input._array.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, but got {list(shape_of(input))}")
    sizes = [output_size] * rank if isinstance(output_size, int) or output_size is None else list(output_size)
    first = input._array.ndim - rank
    for i, wanted in enumerate(sizes):
        axis = first + i
        have = shape_of(input)[axis]
        if wanted is None or (type(have) is int and wanted == have):
            continue
        if wanted == 1:
            input = _reduced(spec, input, axis, have)
        elif have % wanted == 0:
            shape = shape_of(input)
            split = input.reshape((*shape[:axis], wanted, have // wanted, *shape[axis + 1 :]))
            input = _reduced(spec, split, axis + 1, have // wanted).squeeze(axis + 1)
        else:
            n = have
            cells = [(c * n // wanted, -(-(c + 1) * n // wanted)) for c in range(wanted)]
            input = cat([_reduced(spec, slice_axis(input, axis, a, b - a), axis, b - a) for a, b in cells], axis)
    return input


def _reduced(spec: OpSpec, input: Tensor, axis: int, count: Any) -> Tensor:
    if spec is ops.SUM:
        return apply(ops.SUM, (input,), {"axes": (axis,), "keepdims": True}) / count
    return input.max(axis, keepdim=True).values


@reals_in_float32
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that cut input [N, C, L] into output_size cells."""
    return _adaptive(ops.SUM, 1, input, output_size)


@reals_in_float32
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that cut input [N, C, H, W] into output_size cells."""
    return _adaptive(ops.SUM, 2, input, output_size)


@reals_in_float32
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that cut input [N, C, D, H, W] into output_size cells."""
    return _adaptive(ops.SUM, 3, input, output_size)


def _adaptive_max(rank: int, input: Tensor, output_size: Any, indices: bool) -> Any:
    if not indices:
        return _adaptive(ops.AMAX, rank, input, output_size)
    sizes = [output_size] * rank if isinstance(output_size, int) or output_size is None else list(output_size)
    first = input._array.ndim - rank
    have = [int(n) for n in shape_of(input)[first:]]
    starts = []
    for n, wanted in zip(have, sizes):
        m = n if wanted is None else wanted
        begin = np.arange(m) * n // max(m, 1)
        end = -(-(np.arange(m) + 1) * n // max(m, 1))
        width = int((end - begin).max(initial=1))
        # Narrower windows repeat their last place, which changes neither the largest nor where it is first found.
        starts.append(np.minimum(begin[:, None] + np.arange(width), end[:, None] - 1))
    return largest_at(input, rank, starts)


def largest_at(input: Tensor, rank: int, places: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """The largest of each window, and its position in the flattened last `rank` dimensions.

    `places[i]` [outputs, width] are a window's positions in spatial dimension i, the same for all other dimensions.
    """
    refuse_complex("adaptive_max_pool", input)
    first = input._array.ndim - rank
    lead, spatial = shape_of(input)[:first], [int(n) for n in shape_of(input)[first:]]
    flat = np.zeros((1,) * (2 * rank), np.int64)
    for i, table in enumerate(places):
        wide = [1] * (2 * rank)
        wide[i], wide[rank + i] = table.shape
        flat = flat * spatial[i] + table.reshape(wide)
    outputs = flat.shape[:rank]
    windows = constant(np.ascontiguousarray(flat.reshape(*outputs, -1)))
    cut = input.reshape((*lead, _product(spatial)))
    taken = apply(ops.TAKE, (cut, windows), {"axis": first})
    best = apply(ops.ARGMAX, (taken,), {"axis": first + rank, "keepdims": True})
    values = apply(ops.GATHER, (taken, best), {"axis": first + rank}).squeeze(-1)
    everywhere = apply(ops.BROADCAST_TO, (windows,), {"shape": (*lead, *shape_of(windows))})
    return values, apply(ops.GATHER, (everywhere, best), {"axis": first + rank}).squeeze(-1)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest in windows that cut input [N, C, L] into output_size cells; with their positions if return_indices."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest in windows that cut input [N, C, H, W] into output_size cells; with their positions if return_indices."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest in windows that cut input [N, C, D, H, W] into output_size cells; with positions if return_indices."""
    return _adaptive_max(3, input, output_size, return_indices)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """[*, C * r * r, H, W] -> [*, C, H * r, W * r]."""
    *lead, c, h, w = shape_of(input)
    r = upscale_factor
    split = input.reshape((*lead, c // (r * r), r, r, h, w))
    k = len(lead)
    return split.permute(*range(k), k, k + 3, k + 1, k + 4, k + 2).reshape((*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """[*, C, H * r, W * r] -> [*, C * r * r, H, W]."""
    *lead, c, h, w = shape_of(input)
    r = downscale_factor
    split = input.reshape((*lead, c, h // r, r, w // r, r))
    k = len(lead)
    return split.permute(*range(k), k, k + 2, k + 4, k + 1, k + 3).reshape((*lead, c * r * r, h // r, w // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of [N, C, ...] read across groups instead of along them."""
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    count, channels, *rest = shape_of(input)
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    split = input.reshape((count, groups, channels // groups, *rest))
    return split.transpose(1, 2).reshape((count, channels, *rest))
