"""Multi-head attention: projections, heads, masks, and the projection back.

Vaswani et al., "Attention is all you need", 2017.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from jitcore_ir import DType

from ..tensor import Tensor
from .activation import softmax
from .attention import scaled_dot_product_attention
from .convolution import linear
from .creation import zeros, zeros_like
from .join import cat
from .matrix import matmul
from .normalization import dropout
from .padding import pad


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """query [L, N, E], key [S, N, Ek], value [S, N, Ev] (or without N) -> (output [L, N, E], weights [N, L, S]).

    Masks: bool, where True hides, or numbers that are added; key_padding_mask [N, S], attn_mask [L, S] or
    [N * heads, L, S]. is_causal says that attn_mask is the causal one.
    """
    batched = _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, embed = query.shape
    padding = added_mask(key_padding_mask, "key_padding_mask", query.dtype, attn_mask, "attn_mask")
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and padding is None and not need_weights:
        mask = None
    else:
        mask, is_causal = added_mask(attn_mask, "attn_mask", query.dtype), False
    if embed != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}")
    size = embed // num_heads
    if size * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    mask = _checked_mask(mask, (length, key.shape[0]), batch * num_heads)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v go together: one of them is None")
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k, v = cat([k, bias_k.expand(1, batch, embed)]), cat([v, bias_v.expand(1, batch, embed)])
        mask, padding = _one_wider(mask), _one_wider(padding)

    def heads(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], batch * num_heads, size).transpose(0, 1)

    q = heads(q)
    k = heads(k) if static_k is None else _checked_static(static_k, "k", batch * num_heads, size)
    v = heads(v) if static_v is None else _checked_static(static_v, "v", batch * num_heads, size)
    if add_zero_attn:
        zero = zeros(batch * num_heads, 1, size, dtype=k.dtype)
        k, v = cat([k, zero], 1), cat([v, zero], 1)
        mask, padding = _one_wider(mask), _one_wider(padding)
    source = k.shape[1]
    if mask is not None:  # [1, 1, L, S] or [N, heads, L, S]
        mask = mask.unsqueeze(0) if mask.shape[0] == 1 else mask.reshape(batch, num_heads, length, source)
    if padding is not None:
        if tuple(padding.shape) != (batch, source):
            raise AssertionError(f"Expected key_padding_mask of shape {(batch, source)}, but got {padding.shape}")
        padding = padding.reshape(batch, 1, 1, source)
        mask = padding if mask is None else mask + padding
    q, k, v = (x.reshape(batch, num_heads, -1, size) for x in (q, k, v))
    if not training:
        dropout_p = 0.0
    shares: Tensor | None = None
    if need_weights:
        scores = matmul(q * math.sqrt(1.0 / size), k.transpose(-2, -1))
        shares = softmax(scores if mask is None else scores + mask, -1)
        shares = dropout(shares, dropout_p) if dropout_p > 0 else shares
        attended = matmul(shares, v)
        shares = shares.mean(1) if average_attn_weights else shares
    else:
        attended = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
    output = linear(attended.permute(2, 0, 1, 3).reshape(length, batch, embed), out_proj_weight, out_proj_bias)
    if batched:
        return output, shares
    return output.squeeze(1), None if shares is None else shares.squeeze(0)


def added_mask(
    mask: Tensor | None, name: str, dtype: DType, other: Tensor | None = None, other_name: str = ""
) -> Tensor | None:
    """A mask as numbers to be added: -inf where a bool mask is True."""
    if mask is None:
        return None
    if mask._array.dtype.kind != "b" and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and other.dtype is not mask.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=4,
        )
    if mask.is_floating_point():
        return mask
    return zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def _projected(query: Tensor, key: Tensor, value: Tensor, weights: Any, bias: Tensor | None) -> tuple[Tensor, ...]:
    separate = isinstance(weights, tuple)
    if (separate and None in weights) or weights is None:
        raise AssertionError("use_separate_proj_weight does not agree with the projection weights that are given")
    if separate and key.shape[:2] != value.shape[:2]:
        raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    if not separate and query is key and key is value:
        return linear(query, weights, bias).chunk(3, -1)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    parts = weights if separate else weights.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), parts, biases, strict=True))


def _checked_mask(mask: Tensor | None, shape: tuple, copies: Any) -> Tensor | None:
    """attn_mask as [1, L, S] or [N * heads, L, S]."""
    if mask is None:
        return None
    if mask.ndim == 2:
        if tuple(mask.shape) != shape:
            raise RuntimeError(f"The shape of the 2D attn_mask is {mask.shape}, but should be {shape}.")
        return mask.unsqueeze(0)
    if tuple(mask.shape) != (copies, *shape):
        raise RuntimeError(f"The shape of the 3D attn_mask is {mask.shape}, but should be {(copies, *shape)}.")
    return mask


def _checked_static(x: Tensor, name: str, copies: Any, size: int) -> Tensor:
    if x.shape[0] != copies or x.shape[2] != size:
        raise AssertionError(f"expecting static_{name} of shape [{copies}, S, {size}], but got {list(x.shape)}")
    return x


def _one_wider(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else pad(mask, (0, 1))


def _check_ranks(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, heads: int
) -> bool:
    """Whether there is a batch dimension. Raises AssertionError where ranks do not go together."""
    rank = query.ndim
    if rank not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor")
    if key.ndim != rank or value.ndim != rank:
        raise AssertionError(
            f"For {rank}-D `query`, expected `key` and `value` to be {rank}-D but found {key.ndim}-D and "
            f"{value.ndim}-D tensors respectively"
        )
    if padding is not None and padding.ndim != rank - 1:
        raise AssertionError(
            f"For {rank}-D `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{padding.ndim}-D tensor instead"
        )
    if mask is not None:
        if mask.ndim not in (2, 3):
            raise AssertionError(
                f"expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor instead"
            )
        expected = (heads, query.shape[0], key.shape[0])
        if rank == 2 and mask.ndim == 3 and tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {mask.shape}")
    return rank == 3
