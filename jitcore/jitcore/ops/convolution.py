"""Linear maps, embeddings and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply
from ..tensor import Tensor, shape_of
from .autocasting import in_low_precision
from .matrix import matmul
from .movement import transpose
from .padding import pad_zeros
from .select import positions


@in_low_precision
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input [*, in] @ weight [out, in] transposed + bias [out]."""
    if weight._array.ndim == 1:
        result = matmul(input, weight)
        return result if bias is None else result + bias
    if input._array.ndim and input._array.shape[-1] != weight._array.shape[-1]:
        raise RuntimeError(
            f"linear: input has {input._array.shape[-1]} features but weight expects {weight._array.shape[-1]} (input "
            f"shape {list(input._array.shape)}, weight shape {list(weight._array.shape)})"
        )
    result = matmul(input, transpose(weight, 0, 1))
    return result if bias is None else result + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 [*, a] · weight [out, a, b] · input2 [*, b] + bias [out]."""
    left = (input1.unsqueeze(-2).unsqueeze(-2) @ weight).squeeze(-2)  # [*, out, b]
    result = (left * input2.unsqueeze(-2)).sum(-1)
    return result if bias is None else result + bias


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight [count, size] at input's positions. The row `padding_idx` gets no gradient.

    Raises IndexError for a position outside the table.
    """
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    index = positions(input, "embedding")
    if scale_grad_by_freq and weight.requires_grad:
        weight = _by_frequency(weight, index)
    rows = apply(ops.TAKE, (weight, index), {"axis": 0})
    if padding_idx is None or not weight.requires_grad:
        return rows
    if padding_idx < 0:
        padding_idx = padding_idx + shape_of(weight)[0]
    # The same values, but the padding rows come from a copy without history.
    return apply(ops.WHERE, ((index == padding_idx).unsqueeze(-1), rows.detach(), rows))


def _renormalize(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of `weight` at the positions `input` down to norm `max_norm`, in place and without gradient."""
    from ..autograd import no_grad

    with no_grad():
        norms = weight.norm(norm_type, 1, keepdim=True)
        too_long = (_frequencies(weight, positions(input, "embedding")) > 0).unsqueeze(1) & (norms > max_norm)
        weight.copy_(weight * apply(ops.WHERE, (too_long, max_norm / (norms + 1e-7), norms * 0 + 1)))


def _frequencies(weight: Tensor, index: Tensor) -> Tensor:
    """How often each row of the table is used."""
    from .creation import ones, zeros

    flat = index.reshape(-1)
    return zeros(shape_of(weight)[0], dtype=int64).index_add(0, flat, ones(shape_of(flat)[0], dtype=int64))


def _by_frequency(weight: Tensor, index: Tensor) -> Tensor:
    """The table, whose gradient is divided by how often each row is used."""
    share = (1.0 / _frequencies(weight, index).clamp(min=1).to(weight.dtype)).unsqueeze(1)
    return weight.detach() + (weight - weight.detach()) * share


@in_low_precision
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of input [N, C, L] (or [C, L]) with weight [out, C / groups, K]."""
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@in_low_precision
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of input [N, C, H, W] (or [C, H, W]) with weight [out, C / groups, KH, KW]."""
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@in_low_precision
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of input [N, C, D, H, W] (or [C, D, H, W]) with weight [out, C / groups, KD, KH, KW]."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@in_low_precision
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv1d in its input: weight is [C, out / groups, K]."""
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@in_low_precision
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv2d in its input: weight is [C, out / groups, KH, KW]."""
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@in_low_precision
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of conv3d in its input: weight is [C, out / groups, KD, KH, KW]."""
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def tuple_of(name: str, what: str, value: Any, count: int) -> tuple[int, ...]:
    """One integer for all `count` axes, or one each. Raises RuntimeError for another number of them."""
    if isinstance(value, int):
        return (value,) * count
    given = tuple(int(v) for v in value)
    if len(given) == 1:
        return given * count
    if len(given) != count:
        raise RuntimeError(f"{name}: {what} {list(given)} has {len(given)} entries; expected one integer or {count}")
    return given


def _checked(
    name: str, rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, channels: int, out: int
) -> Tensor:
    """input with a batch dimension, after the checks that make errors readable."""
    if weight._array.ndim != rank + 2:
        raise RuntimeError(f"{name}: weight of shape {list(weight._array.shape)} is not {rank + 2}D")
    if input._array.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input._array.shape)}"
        )
    if input._array.dtype != weight._array.dtype:
        raise RuntimeError(f"{name}: input is {input.dtype.name} but weight is {weight.dtype.name}")
    if bias is not None and bias._array.shape != (out,):
        raise RuntimeError(f"{name}: bias has shape {list(bias._array.shape)}, expected [{out}]")
    x = input if input._array.ndim == rank + 2 else input.unsqueeze(0)
    if x._array.shape[1] != channels:
        raise RuntimeError(
            f"{name}: input has {x._array.shape[1]} channels but weight expects {channels} (input shape "
            f"{list(input._array.shape)}, weight shape {list(weight._array.shape)})"
        )
    return x


def _conv(
    name: str,
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    out = weight._array.shape[0]
    x = _checked(name, rank, input, weight, bias, weight._array.shape[1] * groups, out)
    if groups < 1 or out % groups:
        raise RuntimeError(f"{name}: {out} output channels do not divide into {groups} groups")
    steps = tuple_of(name, "stride", stride, rank)
    spread = tuple_of(name, "dilation", dilation, rank)
    kernel = weight._array.shape[2:]
    pads = _padding(name, padding, kernel, steps, spread)
    for axis, (n, k, d, (low, high)) in enumerate(zip(x._array.shape[2:], kernel, spread, pads)):
        if n + low + high < d * (k - 1) + 1:
            raise RuntimeError(
                f"Calculated padded input size per channel: ({n + low + high}). Kernel size: "
                f"({d * (k - 1) + 1}). Kernel size "
                f"can't be greater than actual input size (axis {axis + 2} of {name})"
            )
    if any(s < 1 for s in steps) or any(d < 1 for d in spread):
        raise RuntimeError(f"{name}: stride {list(steps)} and dilation {list(spread)} must be positive")
    result = apply(ops.CONV, (x, weight), {"stride": steps, "padding": pads, "dilation": spread, "groups": groups})
    return _finished(result, bias, rank, input)


def _padding(
    name: str, padding: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((t // 2, t - t // 2) for t in totals)
    if isinstance(padding, str):
        raise RuntimeError(f"{name}: padding must be 'valid', 'same' or integers, not {padding!r}")
    pads = tuple_of(name, "padding", padding, len(kernel))
    if any(p < 0 for p in pads):
        raise RuntimeError(f"negative padding is not supported: {name} got {list(pads)}")
    return tuple((p, p) for p in pads)


def _conv_transpose(
    name: str,
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    out = weight._array.shape[1] * groups
    x = _checked(name, rank, input, weight, bias, weight._array.shape[0], out)
    steps = tuple_of(name, "stride", stride, rank)
    spread = tuple_of(name, "dilation", dilation, rank)
    pads = tuple_of(name, "padding", padding, rank)
    extra = tuple_of(name, "output_padding", output_padding, rank)
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, spread)):
        raise RuntimeError(
            f"output padding must be smaller than either stride or dilation, but got output_padding: {list(extra)}, "
            f"stride: {list(steps)}, dilation: {list(spread)}"
        )
    kernel = weight._array.shape[2:]
    spatial = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(shape_of(x)[2:], steps, pads, spread, kernel, extra)
    )
    attributes = {
        "stride": steps,
        "padding": tuple((p, p) for p in pads),
        "dilation": spread,
        "groups": groups,
        "spatial": spatial,
    }
    return _finished(apply(ops.CONV_TRANSPOSE, (x, weight), attributes), bias, rank, input)


def _finished(result: Tensor, bias: Tensor | None, rank: int, input: Tensor) -> Tensor:
    if bias is not None:
        result = result + bias.reshape((-1,) + (1,) * rank)
    return result if input._array.ndim == rank + 2 else result.squeeze(0)


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Sliding blocks of input [N, C, H, W] as columns: [N, C * KH * KW, blocks]."""
    kernel, spread, pads, steps = (
        tuple_of("unfold", what, v, 2)
        for what, v in (("kernel_size", kernel_size), ("dilation", dilation), ("padding", padding), ("stride", stride))
    )
    x = pad_zeros(input, pads)
    cut = apply(ops.WINDOWS, (x,), {"window": kernel, "stride": steps, "dilation": spread})  # [N, C, OH, OW, KH, KW]
    n, c, oh, ow, kh, kw = shape_of(cut)
    return cut.permute(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, oh * ow)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The adjoint of unfold: columns added back into [N, C, *output_size]."""
    size, kernel, spread, pads, steps = (
        tuple_of("fold", what, v, 2)
        for what, v in (
            ("output_size", output_size), ("kernel_size", kernel_size), ("dilation", dilation), ("padding", padding),
            ("stride", stride),
        )
    )  # fmt: skip
    padded = tuple(s + 2 * p for s, p in zip(size, pads))
    counts = [(s - d * (k - 1) - 1) // t + 1 for s, d, k, t in zip(padded, spread, kernel, steps)]
    n, rows, _ = shape_of(input)
    blocks = input.reshape(n, rows // (kernel[0] * kernel[1]), *kernel, *counts).permute(0, 1, 4, 5, 2, 3)
    whole = apply(ops.FOLD_WINDOWS, (blocks,), {"spatial": padded, "stride": steps, "dilation": spread})
    return whole[:, :, pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]]
