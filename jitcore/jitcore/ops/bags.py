"""embedding_bag: rows of a table, reduced by bags of positions."""

from __future__ import annotations

from typing import Any

from jitcore_ir.dtypes import int64

from ..tensor import Tensor, shape_of
from .compare import refuse_complex
from .convolution import embedding
from .creation import arange, full, zeros
from .elementwise import where
from .select import index_add, scatter_reduce


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or largest of the rows of each bag: [bags, size]; an empty bag gives zeros.

    input: [bags, each], or a vector whose bag b is input[offsets[b] : offsets[b + 1]]. The row padding_idx counts for
    nothing. per_sample_weights (mode "sum"): a factor for each position.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    refuse_complex("embedding_bag", weight)
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}')."
        )
    if per_sample_weights is not None and shape_of(per_sample_weights) != shape_of(input):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(shape_of(per_sample_weights))}) is not None, then it must "
            f"have the same shape as the input ({list(shape_of(input))})"
        )
    if input._array.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                "sequences."
            )
        count, each = shape_of(input)
        bag = arange(count).repeat_interleave(each)
        input = input.reshape(-1)
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    elif input._array.ndim == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets._array.ndim != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = offsets[:-1] if include_last_offset else offsets
        count = shape_of(starts)[0]
        begun = arange(shape_of(input)[0]).unsqueeze(1) >= starts.to(int64).unsqueeze(0)
        bag = begun.to(int64).sum(1) - 1
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input._array.ndim}")
    rows = embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    held = None
    if padding_idx is not None:
        row = padding_idx + shape_of(weight)[0] if padding_idx < 0 else padding_idx
        held = (input.to(int64) != row).to(rows.dtype)
    return _reduced(rows, bag, count, mode, per_sample_weights, held)


def _reduced(rows: Tensor, bag: Tensor, count: Any, mode: str, weights: Tensor | None, held: Tensor | None) -> Tensor:
    width = shape_of(rows)[1]
    if mode == "max":
        if held is not None:
            rows = where(held.unsqueeze(1) > 0, rows, full((1, 1), float("-inf"), dtype=rows.dtype))
        lowest = full((count, width), float("-inf"), dtype=rows.dtype)
        best = scatter_reduce(lowest, 0, bag.unsqueeze(1).expand(-1, width), rows, "amax")
        return where(best == float("-inf"), zeros(count, width, dtype=rows.dtype), best)
    if weights is not None:
        rows = rows * weights.unsqueeze(1)
    if held is not None:
        rows = rows * held.unsqueeze(1)
    total = index_add(zeros(count, width, dtype=rows.dtype), 0, bag, rows)
    if mode == "sum":
        return total
    ones = held if held is not None else full((shape_of(rows)[0],), 1.0, dtype=rows.dtype)
    counts = index_add(zeros(count, dtype=rows.dtype), 0, bag, ones)
    return total / counts.clamp(min=1).unsqueeze(1)
