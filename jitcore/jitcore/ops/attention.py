"""Scaled dot product attention and resampling."""

from __future__ import annotations

import math

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

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
