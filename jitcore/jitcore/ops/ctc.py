"""Connectionist temporal classification: Graves et al., "Connectionist temporal classification", 2006."""

from __future__ import annotations

from typing import Any

from jitcore_ir.dtypes import int64

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
    for log_probs that come out of log_softmax.
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
    total = _forward(scores, extended, given, wanted, blank)
    loss = -total
    if zero_infinity:
        loss = where(loss == float("inf"), full_like(loss, 0.0), loss)
    inside = (arange(int(steps)).unsqueeze(1) < given.unsqueeze(0)).unsqueeze(-1)
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


def _forward(scores: Tensor, extended: Tensor, given: Tensor, wanted: Tensor, blank: int) -> Tensor:
    """The log-probability of each sample: the forward recursion over time, in logarithms."""
    steps, count, width = (int(d) for d in shape_of(scores))
    never = full((count, 1), _NEVER, dtype=scores.dtype)
    place = arange(width).unsqueeze(0)
    alpha = where(place < 2, scores[0], full_like(scores[0], _NEVER))
    alpha = where((place == 1) & (wanted == 0).unsqueeze(1), full_like(alpha, _NEVER), alpha)
    # From two back only where that skips a blank between two different labels.
    before = cat([full((count, 2), -1, dtype=int64), extended[:, :-2]], 1) if width > 2 else full_like(extended, -1)
    may_skip = (extended != blank) & (extended != before)
    for step in range(1, steps):
        one = cat([never, alpha[:, :-1]], 1)
        two = cat([never, never, alpha[:, :-2]], 1) if width > 2 else full_like(alpha, _NEVER)
        two = where(may_skip, two, full_like(two, _NEVER))
        following = _log_sum(stack([alpha, one, two])) + scores[step]
        alpha = where((step < given).unsqueeze(1), following, alpha)
    last = (2 * wanted).unsqueeze(1)
    ends = cat([gather(alpha, 1, last), gather(alpha, 1, (last - 1).clamp(min=0))], 1)
    missing = cat([wanted < 0, wanted == 0]).reshape(2, count).t()
    return _log_sum(where(missing, full_like(ends, _NEVER), ends).t())


def _log_sum(x: Tensor) -> Tensor:
    """logsumexp over the first dimension whose gradient is 0, not NaN, where all is -inf."""
    top = x.detach().amax(0)
    safe = where(top == _NEVER, full_like(top, 0.0), top)
    total = (x - safe).exp().sum(0)
    empty = total == 0
    return where(empty, full_like(safe, _NEVER), where(empty, full_like(total, 1.0), total).log() + safe)
