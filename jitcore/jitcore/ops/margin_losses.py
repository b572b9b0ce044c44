"""Losses that ask for a margin between scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply
from ..tensor import Tensor, shape_of
from .activation import logsigmoid, one_hot
from .autocasting import in_full_precision
from .creation import arange
from .elementwise import where
from .half import in_float32
from .losses import modern_reduction, pairwise_distance, reduced_loss
from .select import gather


@in_full_precision
@in_float32
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """mean over classes j != y of max(0, margin - x[y] + x[j]) ** p; input [N, C] or [C], target [N] or []."""
    reduction = modern_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight._array.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    rows, labels = (input, target) if input._array.ndim == 2 else (input.reshape(1, -1), target.reshape(1))
    if rows._array.ndim != 2 or shape_of(labels) != shape_of(rows)[:1]:
        raise RuntimeError(
            f"multi_margin_loss: inconsistent sizes, input {list(shape_of(input))} and target {list(shape_of(target))}"
        )
    classes = shape_of(rows)[1]
    own = gather(rows, 1, labels.unsqueeze(1))
    short = (margin - own + rows).clamp(min=0)
    short = short * short if p == 2 else short
    if weight is not None:
        short = short * weight[labels].unsqueeze(1)
    others = apply(ops.CAST, (arange(classes) != labels.unsqueeze(1),), {"dtype": rows.dtype})
    loss = (short * others).sum(1) / classes
    return reduced_loss(loss if input._array.ndim == 2 else loss.squeeze(0), reduction)


@in_full_precision
@in_float32
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Sum of max(0, 1 - x[label] + x[j]) over labels and non-labels j, divided by the number of classes.

    target holds class numbers as input's shape [N, C] or [C] gives room; a row's labels end before its first -1.
    """
    reduction = modern_reduction(size_average, reduce, reduction)
    if shape_of(input) != shape_of(target) or input._array.ndim not in (0, 1, 2):
        raise RuntimeError(
            f"inconsistent target size: {list(shape_of(target))} for input of size: {list(shape_of(input))}"
        )
    rows, labels = (input, target) if input._array.ndim == 2 else (input.reshape(1, -1), target.reshape(1, -1))
    classes = shape_of(rows)[1]
    listed = (labels < 0).to(int64).cumsum(1) == 0
    chosen = labels.clamp(min=0)
    hits = one_hot(chosen, classes) * listed.unsqueeze(-1)
    is_label = apply(ops.CAST, (hits.amax(1) > 0,), {"dtype": rows.dtype})
    own = gather(rows, 1, chosen).unsqueeze(2)
    short = (1.0 - own + rows.unsqueeze(1)).clamp(min=0) * (1.0 - is_label).unsqueeze(1)
    loss = where(listed.unsqueeze(2), short, short * 0).sum((1, 2)) / classes
    return reduced_loss(loss if input._array.ndim == 2 else loss.squeeze(0), reduction)


@in_full_precision
@in_float32
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over classes of the binary cross entropy of sigmoid(input)."""
    reduction = modern_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    return reduced_loss((loss if weight is None else loss * weight).mean(-1), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss by any distance (default: pairwise_distance)."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor._array.ndim == positive._array.ndim == negative._array.ndim:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor._array.ndim}D, positive {positive._array.ndim}D, and negative "
            f"{negative._array.ndim}D inputs"
        )
    distance: Any = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced_loss((near - far + margin).clamp(min=0.0), reduction)
