"""Losses. `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

import math
import warnings
from typing import Any

from jitcore_ir import ops

from ..dispatch import apply
from ..promotion import as_operand
from ..tensor import Tensor, method, shape_of
from .activation import cosine_similarity, log_softmax, logsigmoid
from .autocasting import in_full_precision
from .compare import refuse_complex
from .elementwise import where
from .half import in_float32, reals_in_float32
from .select import positions


def reduced_loss(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction; known are 'mean', 'sum', 'none'")


def modern_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's two older arguments stand for, where one of them is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is not None and not reduce:
        return "none"
    return "mean" if size_average is None or size_average else "sum"


def _pair(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(target, Tensor) or not isinstance(input, Tensor):
        raise TypeError(f"{name}: input and target must be Tensors")
    if shape_of(input) != shape_of(target):
        warnings.warn(
            f"Using a target size ({list(shape_of(target))}) that is different to the input size "
            f"({list(shape_of(input))}). This will likely lead to incorrect results due to "
            f"broadcasting. Please ensure "
            f"they have the same size.",
            stacklevel=4,
        )
    return input, target


@in_full_precision
@reals_in_float32
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target) ** 2."""
    reduction = modern_reduction(size_average, reduce, reduction)
    x, y = _pair("mse_loss", input, target)
    d = x - y
    return reduced_loss(d * d if weight is None else d * d * weight, reduction)


@in_full_precision
@in_float32
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|."""
    reduction = modern_reduction(size_average, reduce, reduction)
    x, y = _pair("l1_loss", input, target)
    d = (x - y).abs()
    return reduced_loss(d if weight is None else d * weight, reduction)


@in_full_precision
@reals_in_float32
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d ** 2 / (2 * beta) where d = |input - target| is below beta, else d - beta / 2."""
    reduction = modern_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise ValueError("smooth_l1_loss does not support negative values for beta")
    x, y = _pair("smooth_l1_loss", input, target)
    d = (x - y).abs()
    return reduced_loss(d if beta == 0 else where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


@in_full_precision
@reals_in_float32
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d ** 2 / 2 where d = |input - target| is at most delta, else delta * (d - delta / 2)."""
    if delta <= 0:
        raise ValueError("huber_loss does not support non-positive values for delta.")
    x, y = _pair("huber_loss", input, target)
    d = (x - y).abs()
    loss = where(d <= delta, d * d * 0.5, (d - 0.5 * delta) * delta)
    return reduced_loss(loss if weight is None else loss * weight, reduction)


@in_full_precision
@reals_in_float32
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target * log(input) + (1 - target) * log(1 - input)), logarithms taken as at least -100."""
    reduction = modern_reduction(size_average, reduce, reduction)
    if shape_of(input) != shape_of(target):
        raise ValueError(
            f"Using a target size ({list(shape_of(target))}) that is different to the input size "
            f"({list(shape_of(input))}) is deprecated. Please ensure they have the same size."
        )
    ends = apply(ops.BITWISE_OR, (input == 0, input == 1))
    x = input.masked_fill(ends, 0.5)
    inside = -(target * x.log().clamp(min=-100.0) + (1.0 - target) * (1.0 - x).log().clamp(min=-100.0))
    # At 0 and 1 the slope is PyTorch's, (input - target) / 1e-12, rather than infinite.
    at_end = where(input < 0.5, target * (100.0 - input * 1e12), (1.0 - target) * ((input - 1.0) * 1e12 + 100.0))
    loss = where(ends, at_end, inside)
    return reduced_loss(loss if weight is None else loss * weight, reduction)


@in_full_precision
@reals_in_float32
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight scales the positive term."""
    reduction = modern_reduction(size_average, reduce, reduction)
    if shape_of(input) != shape_of(target):
        raise ValueError(
            f"Target size ({list(shape_of(target))}) must be the same as input size ({list(shape_of(input))})"
        )
    log_p = logsigmoid(input)
    if pos_weight is None:
        loss = (1.0 - target) * input - log_p
    else:
        loss = (1.0 - target) * input - (1.0 + (pos_weight - 1.0) * target) * log_p
    return reduced_loss(loss if weight is None else loss * weight, reduction)


@in_full_precision
@reals_in_float32
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log(target) - input), input being log-probabilities; 0 where target is 0."""
    reduction = modern_reduction(size_average, reduce, reduction)
    if log_target:
        loss = target.exp() * (target - input)
    else:
        zero = target <= 0
        logs = target.masked_fill(zero, 1.0).log()
        loss = where(zero, as_operand(0, target.dtype), target * logs) - target * input
    if reduction == "batchmean":
        return loss.sum() / (shape_of(input)[0] if input._array.ndim else 1)
    return reduced_loss(loss, reduction)


@in_full_precision
@reals_in_float32
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] * input[.., target, ..], input [N, C, ...] being log-probabilities.

    "mean" divides by the weights that took part. Targets equal to ignore_index take no part. Raises IndexError for
    other targets outside 0 .. C - 1.
    """
    reduction = modern_reduction(size_average, reduce, reduction)
    loss, weights = _picked(input, target, weight, ignore_index)
    if reduction == "mean":
        return loss.sum() / weights.sum()
    return reduced_loss(loss, reduction)


def _class_axis(input: Tensor) -> int:
    if not input._array.ndim:
        raise ValueError("a class dimension is needed: input has no dimensions")
    return 0 if input._array.ndim == 1 else 1


def _picked(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Weighted negative inputs at the targets, and the weights, 0 where ignored."""
    axis = _class_axis(input)
    expected = shape_of(input)[:axis] + shape_of(input)[axis + 1 :]
    if shape_of(target) != expected:
        if target._array.ndim == input._array.ndim - 1 and axis == 1 and shape_of(target)[:1] != expected[:1]:
            raise ValueError(
                f"Expected input batch_size ({shape_of(input)[0]}) to match target batch_size ({shape_of(target)[0]})."
            )
        raise RuntimeError(f"Expected target size {list(expected)}, got {list(shape_of(target))}")
    index = positions(target, "nll_loss")
    ignored = index == ignore_index
    safe = index.masked_fill(ignored, 0)
    picked = apply(ops.GATHER, (input, safe.unsqueeze(axis)), {"axis": axis}).squeeze(axis)
    if weight is None:
        weights = apply(ops.CAST, (ignored.logical_not(),), {"dtype": input.dtype})
    else:
        if shape_of(weight) != (shape_of(input)[axis],):
            raise RuntimeError(
                f"weight tensor should be defined either for all {shape_of(input)[axis]} classes "
                f"or no classes but got "
                f"weight tensor of shape: {list(shape_of(weight))}"
            )
        weights = apply(ops.TAKE, (weight, safe), {"axis": 0}).masked_fill(ignored, 0.0)
    # A select rather than a product, so that an ignored infinity leaves no NaN.
    loss = where(ignored, as_operand(0, input.dtype), -(picked if weight is None else picked * weights))
    return loss, weights


@in_full_precision
@reals_in_float32
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """nll_loss of log_softmax(input) over the class dimension of input [N, C, ...] (or [C]).

    target: class indices, or probabilities of input's shape in a floating dtype. label_smoothing mixes the target
    with the uniform distribution.
    """
    reduction = modern_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    axis = _class_axis(input)
    logs = log_softmax(input, axis)
    classes = shape_of(input)[axis]
    if target.dtype.is_floating_point:
        return _soft_cross_entropy(input, logs, target, weight, reduction, label_smoothing)
    if not label_smoothing:
        return nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=reduction)
    loss, weights = _picked(logs, target, weight, ignore_index)
    spread = logs if weight is None else logs * _along(weight, input, axis)
    smooth = (-spread.sum(axis)).masked_fill(target == ignore_index, 0.0)
    share = label_smoothing / classes
    if reduction == "mean":
        total = loss.sum() * (1.0 - label_smoothing) + smooth.sum() * share
        return total / weights.sum()
    return reduced_loss(loss * (1.0 - label_smoothing) + smooth * share, reduction)


def _soft_cross_entropy(
    input: Tensor, logs: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    if shape_of(input) != shape_of(target):
        raise RuntimeError(
            f"cross_entropy with class probabilities: target of shape {list(shape_of(target))} "
            f"must have input's shape "
            f"{list(shape_of(input))}"
        )
    axis = _class_axis(input)
    classes = shape_of(input)[axis]
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / classes
    weighted = target if weight is None else target * _along(weight, input, axis)
    loss = -(logs * weighted).sum(axis)
    if reduction == "mean":
        count: Any = 1
        for a, n in enumerate(shape_of(input)):
            count = count if a == axis else count * n
        return loss.sum() / count
    return reduced_loss(loss, reduction)


def _along(weight: Tensor, input: Tensor, axis: int) -> Tensor:
    return weight.reshape((-1,) + (1,) * (input._array.ndim - axis - 1))


@in_full_precision
@in_float32
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of target under a Poisson distribution of rate exp(input) (or input)."""
    reduction = modern_reduction(size_average, reduce, reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + (target * (2 * math.pi)).log() * 0.5
        loss = loss + where(target <= 1, as_operand(0, target.dtype), stirling)
    return reduced_loss(loss, reduction)


@in_float32
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Negative log likelihood of target under a normal distribution of mean input and variance var."""
    spread = var if isinstance(var, Tensor) else input.detach() * 0.0 + var
    limited = spread + (spread.detach().clamp(min=eps) - spread.detach())
    loss = (limited.log() + (input - target) ** 2 / limited) * 0.5
    return reduced_loss(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@in_full_precision
@in_float32
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
    reduction = modern_reduction(size_average, reduce, reduction)
    zero = as_operand(0, input.dtype)
    loss = where(target == -1, zero, input) + where(target == 1, zero, (margin - input).clamp(min=0.0))
    return reduced_loss(loss, reduction)


@in_full_precision
@in_float32
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target * input)), target being 1 or -1."""
    reduction = modern_reduction(size_average, reduce, reduction)
    return reduced_loss(-logsigmoid(target * input), reduction)


@in_full_precision
@in_float32
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin)."""
    reduction = modern_reduction(size_average, reduce, reduction)
    return reduced_loss((-target * (input1 - input2) + margin).clamp(min=0.0), reduction)


@in_full_precision
@in_float32
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin) with p-norms over the last dimension."""
    reduction = modern_reduction(size_average, reduce, reduction)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:  # the positive may be the one that is nearer to the negative
        far = apply(ops.MINIMUM, (far, pairwise_distance(positive, negative, p, eps)))
    return reduced_loss((near - far + margin).clamp(min=0.0), reduction)


@in_float32
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """p-norm of x1 - x2 + eps over the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@in_full_precision
@in_float32
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""
    reduction = modern_reduction(size_average, reduce, reduction)
    cosine = cosine_similarity(input1, input2, dim=-1)
    return reduced_loss(where(target == 1, 1.0 - cosine, (cosine - margin).clamp(min=0.0)), reduction)


@method
@in_float32
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """p-norm of input - other."""
    return (input - other).norm(p)


def pdist(input: Tensor, p: float = 2) -> Tensor:
    """p-norms between all pairs of rows of input [N, M]: [N * (N - 1) / 2]."""
    from .select import triu_indices

    refuse_complex("pdist", input)
    if input._array.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input._array.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = triu_indices(shape_of(input)[0], shape_of(input)[0], 1)
    return (input[first] - input[second]).norm(p, -1)
