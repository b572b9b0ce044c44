"""Scaled dot product attention and resampling."""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import float32, int64

from ..dispatch import apply
from ..promotion import as_operand
from ..tensor import Tensor, shape_of
from .activation import softmax
from .elementwise import where
from .half import in_float32
from .matrix import matmul, matrix_transpose
from .normalization import dropout


@in_float32
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key^T * scale + mask) @ value over [*, L, E], [*, S, E], [*, S, Ev].

    attn_mask: bool (True takes part) or added numbers, broadcastable to [*, L, S]. is_causal: position l sees s <= l.
    enable_gqa: key and value have fewer heads, each used by several of query's.
    """
    if attn_mask is not None and is_causal:
        raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if query._array.shape[-1] != key._array.shape[-1]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query has {query._array.shape[-1]} features but key has "
            f"{key._array.shape[-1]}"
        )
    if enable_gqa:
        times = shape_of(query)[-3] // shape_of(key)[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    factor = 1.0 / math.sqrt(shape_of(query)[-1]) if scale is None else scale
    scores = matmul(query * factor, matrix_transpose(key))
    if is_causal:
        rows, columns = shape_of(scores)[-2:]
        row = apply(ops.IOTA, (), {"shape": (rows, 1), "axis": 0, "dtype": int64})
        column = apply(ops.IOTA, (), {"shape": (1, columns), "axis": 1, "dtype": int64})
        scores = where(column <= row, scores, as_operand(float("-inf"), scores.dtype))
    elif attn_mask is not None:
        if attn_mask._array.dtype.kind == "b":
            scores = where(attn_mask, scores, as_operand(float("-inf"), scores.dtype))
        else:
            scores = scores + attn_mask
    weights = softmax(scores, -1)
    if attn_mask is not None and attn_mask._array.dtype.kind == "b":
        # A row that may see nothing gives 0, not NaN.
        weights = weights.masked_fill(attn_mask.any(-1, keepdim=True).logical_not(), 0.0)
    return matmul(dropout(weights, dropout_p) if dropout_p else weights, value)


@in_float32
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input [N, C, ...] resampled to `size` or by scale_factor; mode "nearest", "linear", "bilinear", "trilinear"."""
    rank = input._array.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError("exactly one of size or scale_factor should be defined")
    if antialias or mode not in ("nearest", "nearest-exact", "linear", "bilinear", "trilinear"):
        raise NotImplementedError(
            f"interpolate(mode={mode!r}, antialias={antialias}) is not offered; use nearest or (bi)linear"
        )
    have = shape_of(input)[2:]
    if size is None:
        factors = [scale_factor] * rank if isinstance(scale_factor, int | float) else list(scale_factor)
        wanted = [n * int(f) if f == int(f) else math.floor(int(n) * f) for n, f in zip(have, factors)]
        steps = [n / m if recompute_scale_factor else 1.0 / f for n, m, f in zip(have, wanted, factors)]
    else:
        wanted = [int(size)] * rank if not isinstance(size, list | tuple) else [int(s) for s in size]
        steps = [n / m for n, m in zip(have, wanted)]
    for i, (n, m, step) in enumerate(zip(have, wanted, steps)):
        if mode.startswith("nearest"):
            input = _nearest(input, 2 + i, n, m, step, 0.5 if mode.endswith("exact") else 0.0)
        else:
            input = _linear(input, 2 + i, n, m, step, bool(align_corners))
    return input


def _places(count: int) -> Tensor:
    return apply(ops.IOTA, (), {"shape": (count,), "axis": 0, "dtype": float32})


def _nearest(input: Tensor, axis: int, have: int, wanted: int, step: float, shift: float) -> Tensor:
    if wanted == have * (wanted // have) and shift == 0.0:
        return input.repeat_interleave(wanted // have, axis)
    index = ((_places(wanted) + shift) * step).floor().clamp(max=have - 1).to(int64)
    return apply(ops.TAKE, (input, index), {"axis": axis})


def _linear(input: Tensor, axis: int, have: int, wanted: int, step: float, align_corners: bool) -> Tensor:
    if align_corners:
        place = _places(wanted) * ((have - 1) / (wanted - 1) if wanted > 1 else 0.0)
    else:
        place = ((_places(wanted) + 0.5) * step - 0.5).clamp(min=0.0)
    low = place.floor().clamp(max=have - 1)
    high = (low + 1.0).clamp(max=have - 1)
    part = (place - low).to(input.dtype).reshape((-1,) + (1,) * (input._array.ndim - axis - 1))
    below = apply(ops.TAKE, (input, low.to(int64)), {"axis": axis})
    above = apply(ops.TAKE, (input, high.to(int64)), {"axis": axis})
    return below * (1.0 - part) + above * part
