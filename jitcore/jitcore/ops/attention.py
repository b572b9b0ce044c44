"""Scaled dot product attention."""

from __future__ import annotations

import math

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply
from ..promotion import as_operand
from ..tensor import Tensor, shape_of
from .activation import softmax
from .autocasting import in_low_precision
from .elementwise import where
from .half import in_float32
from .matrix import matmul, matrix_transpose
from .normalization import dropout


@in_low_precision
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
    enable_gqa: key and value have fewer heads, each used by several of query's. A row that may see nothing gives 0.
    """
    _check_attention(query, key, value, attn_mask, dropout_p)
    if enable_gqa:
        heads = shape_of(query)[-3]
        key, value = (x.repeat_interleave(heads // shape_of(x)[-3], -3) for x in (key, value))
    factor = 1.0 / math.sqrt(shape_of(query)[-1]) if scale is None else scale
    scores = matmul(query * factor, matrix_transpose(key))
    low = as_operand(float("-inf"), scores.dtype)
    if is_causal:
        rows, columns = shape_of(scores)[-2:]
        row = apply(ops.IOTA, (), {"shape": (rows, 1), "axis": 0, "dtype": int64})
        column = apply(ops.IOTA, (), {"shape": (1, columns), "axis": 1, "dtype": int64})
        scores = where(column <= row, scores, low)
    if attn_mask is None:
        weights = softmax(scores, -1)
    else:
        adds = attn_mask._array.dtype.kind != "b"
        blind = ((attn_mask == low) if adds else attn_mask.logical_not()).all(-1, keepdim=True)
        scores = scores + attn_mask if adds else where(attn_mask, scores, low)
        weights = softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)
    return matmul(dropout(weights, dropout_p) if dropout_p else weights, value)


def _check_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float) -> None:
    name = "scaled_dot_product_attention"
    ranks = [x._array.ndim for x in (query, key, value)]
    if min(ranks) < 2:
        raise RuntimeError(f"{name}: query, key and value need at least 2 dimensions, got {ranks}")
    if not query.dtype is key.dtype is value.dtype:
        dtypes = ", ".join(x.dtype.name for x in (query, key, value))
        raise RuntimeError(f"{name}: query, key and value must have one dtype, got {dtypes}")
    if mask is not None and mask._array.dtype.kind != "b" and not mask.is_floating_point():
        raise RuntimeError(f"{name}: attn_mask must be bool or floating, got {mask.dtype.name}")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if shape_of(query)[-1] != shape_of(key)[-1]:
        raise RuntimeError(f"{name}: query has {shape_of(query)[-1]} features but key has {shape_of(key)[-1]}")
