"""Connectionist temporal classification: Graves et al., "Connectionist temporal classification", 2006."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply
from ..tensor import Tensor, shape_of
from .autocasting import in_full_precision
from .creation import arange, full, full_like
from .elementwise import where
from .join import cat, stack
from .losses import reduced_loss
from .select import gather

_NEVER = float("-inf")


@in_full_precision
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability of all alignments of the targets.

    log_probs: [T, N, C] or [T, C], logarithms of probabilities. targets: [N, S], or all targets in one vector. Lengths:
    int tensors or tuples of N. "mean" divides by the target lengths (at least 1) first. Gradients are PyTorch's: those
    for log_probs that come out of log_softmax; they cannot be differentiated again.
    """
    single = log_probs._array.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    steps, count, classes = shape_of(log_probs)
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    given, wanted = (_lengths(v, count, what) for v, what in ((input_lengths, "input"), (target_lengths, "target")))
    labels, most = _padded(targets, wanted, count)
    extended = _with_blanks(labels, most, blank)
    scores = gather(log_probs, 2, extended.unsqueeze(0).expand(steps, count, 2 * most + 1))
    total = apply(ops.CTC, (scores, _may_skip(extended, blank), given, wanted))
    loss = -total
    if zero_infinity:
        loss = where(loss == float("inf"), full_like(loss, 0.0), loss)
    inside = (arange(steps).unsqueeze(1) < given.unsqueeze(0)).unsqueeze(-1)
    weights = where(inside, log_probs, full_like(log_probs, _NEVER)).exp().sum((0, 2))
    if zero_infinity:
        weights = where(total == _NEVER, weights * 0, weights)
    loss = loss + (weights - weights.detach())  # no change of value; the gradient takes log_softmax into account
    if reduction == "mean":
        return (loss / wanted.clamp(min=1).to(loss.dtype)).mean()
    return reduced_loss(loss.squeeze(0) if single and reduction == "none" else loss, reduction)


def _lengths(given: Any, count: int, what: str) -> Tensor:
    from .creation import tensor

    lengths = given if isinstance(given, Tensor) else tensor(list(given), dtype=int64)
    lengths = lengths.to(int64).reshape(-1)
    if shape_of(lengths) != (count,):
        raise RuntimeError(f"{what}_lengths must be of size batch_size {count}, got {shape_of(lengths)[0]}")
    return lengths


def _padded(targets: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, int]:
    """Labels [N, S], also of targets that lie one after another in a vector; and S."""
    targets = targets.to(int64)
    if targets._array.ndim == 2:
        return targets, int(shape_of(targets)[1])
    most = int(lengths.max()) if count else 0
    starts = lengths.cumsum(0) - lengths
    places = starts.unsqueeze(1) + arange(most).unsqueeze(0)
    return targets[places.clamp(max=max(targets._array.size - 1, 0))] if most else targets[:0].reshape(1, 0).expand(
        count, 0
    ), most


def _with_blanks(labels: Tensor, most: int, blank: int) -> Tensor:
    """blank, label, blank, label, ..., blank: [N, 2 S + 1]."""
    blanks = full_like(labels, blank)
    pairs = stack([blanks, labels], 2).reshape(shape_of(labels)[0], 2 * most)
    return cat([pairs, full((shape_of(labels)[0], 1), blank, dtype=int64)], 1)


def _may_skip(extended: Tensor, blank: int) -> Tensor:
    """Which states may follow the one two before: labels after another label, over the blank between them."""
    count, width = shape_of(extended)
    before = cat([full((count, 2), -1, dtype=int64), extended[:, :-2]], 1) if width > 2 else full_like(extended, -1)
    return (extended != blank) & (extended != before)
