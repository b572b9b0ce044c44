"""Pooling by powers and by random windows, and max pooling undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply
from ..tensor import Tensor, shape_of
from .activation import relu
from .compare import refuse_complex
from .convolution import tuple_of
from .creation import arange, zeros
from .half import reals_in_float32
from .pooling import avg_pool1d, avg_pool2d, avg_pool3d
from .select import gather, scatter

_AVERAGE = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}


def _lp_pool(rank: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    kernel = tuple_of(f"lp_pool{rank}d", "kernel_size", kernel_size, rank)
    count = 1
    for k in kernel:
        count *= k
    mean = _AVERAGE[rank](input**norm_type, kernel_size, stride, 0, ceil_mode)
    return (mean.sign() * relu(mean.abs()) * count) ** (1.0 / norm_type)


@reals_in_float32
def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum of x ** norm_type) ** (1 / norm_type) over windows of [N, C, L]."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@reals_in_float32
def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum of x ** norm_type) ** (1 / norm_type) over windows of [N, C, H, W]."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@reals_in_float32
def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum of x ** norm_type) ** (1 / norm_type) over windows of [N, C, D, H, W]."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _max_unpool(
    rank: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    name = f"max_unpool{rank}d"
    refuse_complex(name, input)
    if indices.dtype is not int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if shape_of(input) != shape_of(indices):
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(shape_of(input))}) but got "
            f"indices tensor with shape: {list(shape_of(indices))}"
        )
    kernel = tuple_of(name, "kernel_size", kernel_size, rank)
    step = kernel if stride is None else tuple_of(name, "stride", stride, rank)
    pads = tuple_of(name, "padding", padding, rank)
    lead, have = shape_of(input)[: input._array.ndim - rank], shape_of(input)[input._array.ndim - rank :]
    usual = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(have, step, pads, kernel)]
    wanted = usual if output_size is None else [int(n) for n in list(output_size)[-rank:]]
    if output_size is not None:
        for n, s, least in zip(wanted, step, usual):
            if not least - s < n < least + s:
                raise ValueError(f"invalid output_size {wanted} (dim must be between {least - s} and {least + s})")
    total: Any = 1
    for n in wanted:
        total = total * n
    empty = zeros(*lead, total, dtype=input.dtype)
    rows, places = input.reshape((*lead, -1)), indices.reshape((*lead, -1))
    return scatter(empty, len(lead), places, rows).reshape((*lead, *wanted))


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """max_pool1d undone: values put at the positions it returned, zeros elsewhere."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """max_pool2d undone: values put at the positions it returned, zeros elsewhere."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """max_pool3d undone: values put at the positions it returned, zeros elsewhere."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _starts(samples: Tensor, have: int, wanted: int, kernel: int) -> Tensor:
    """Where the windows of one dimension start, [N, C, wanted]: Graham, "Fractional max-pooling", 2014."""
    if wanted == 1:
        return (samples.unsqueeze(-1) * 0).to(int64) + (have - kernel)
    alpha = (have - kernel) / (wanted - 1)
    u = samples.unsqueeze(-1)
    places = ((arange(wanted - 1).to(samples.dtype) + u) * alpha).to(int64) - (u * alpha).to(int64)
    from .join import cat

    return cat([places, places[..., :1] * 0 + (have - kernel)], -1)


def _fractional(
    rank: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, indices: bool, samples: Any
) -> Any:
    name = f"fractional_max_pool{rank}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    single = input._array.ndim == rank + 1
    x = input.unsqueeze(0) if single else input
    have = [int(n) for n in shape_of(x)[2:]]
    kernel = tuple_of(name, "kernel_size", kernel_size, rank)
    if output_size is None:
        ratios = [output_ratio] * rank if isinstance(output_ratio, int | float) else list(output_ratio)
        wanted: Sequence[int] = [int(n * r) for n, r in zip(have, ratios)]
    else:
        wanted = tuple_of(name, "output_size", output_size, rank)
    count, channels = shape_of(x)[:2]
    if samples is None:
        from .sampling import rand

        samples = rand(count, channels, rank, dtype=input.dtype)
    order = range(rank) if rank == 3 else (1, 0)  # PyTorch's samples for planes begin with the width
    total: Any = 0
    for i, (n, m, k) in enumerate(zip(have, wanted, kernel)):
        place = _starts(samples[:, :, order[i]], n, m, k).unsqueeze(-1) + arange(k)
        shape = [count, channels] + [1] * (2 * rank)
        shape[2 + i], shape[2 + rank + i] = m, k
        total = total * n + place.reshape(shape)
    size, outputs, inputs = 1, 1, 1
    for k, m, n in zip(kernel, wanted, have):
        size, outputs, inputs = size * k, outputs * m, inputs * n
    windows = total.reshape((count, channels, *wanted, size))
    flat = windows.reshape((count, channels, outputs * size))
    taken = gather(x.reshape((count, channels, inputs)), 2, flat).reshape((count, channels, *wanted, size))
    best = apply(ops.ARGMAX, (taken,), {"axis": 2 + rank, "keepdims": True})
    values = gather(taken, 2 + rank, best).squeeze(-1)
    where = gather(windows, 2 + rank, best).squeeze(-1)
    if single:
        values, where = values.squeeze(0), where.squeeze(0)
    return (values, where) if indices else values


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Largest of windows at random steps that give output_size, of [N, C, H, W] or [C, H, W]."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Largest of windows at random steps that give output_size, of [N, C, D, H, W] or [C, D, H, W]."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
