"""NumPy kernels of connectionist temporal classification: the forward and backward recursions of A. Graves et al.,
"Connectionist temporal classification" (2006), in logarithms, all samples at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from ..errors import PositionError
from .floating import Kernel, quiet

_NEVER = -np.inf


@quiet
def ctc(scores: np.ndarray, skips: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    _check(scores, lengths, labels)
    alpha = _never(scores)
    for following in _forward(scores, skips, lengths, labels):
        alpha = following
    return _total(alpha, lengths, labels)


@quiet
def ctc_posterior(scores: np.ndarray, skips: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    _check(scores, lengths, labels)
    result = np.zeros(scores.shape, scores.dtype)
    alphas = list(_forward(scores, skips, lengths, labels))
    if not alphas:
        return result
    total = _total(alphas[-1], lengths, labels)[:, np.newaxis]
    place, states = np.arange(scores.shape[2]), 2 * labels[:, np.newaxis]
    ends, beta = _never(scores), _never(scores)
    ends[(place == states) | ((place == states - 1) & (states > 0))] = 0
    skipped = np.zeros_like(skips)
    skipped[:, :-2] = skips[:, 2:]
    for step in range(len(scores) - 1, -1, -1):
        if step + 1 < len(scores):
            following = beta + scores[step + 1]
            after = _moved(following, -2)
            after[~skipped] = _NEVER
            beta = _sum(following, _moved(following, -1), after)
        beta = np.where(step == lengths[:, np.newaxis] - 1, ends, beta)
        inside = (step < lengths[:, np.newaxis]) & (total > _NEVER)
        result[step] = np.where(inside, np.exp(alphas[step] + beta - total), 0)
    return result


def _check(scores: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> None:
    steps, _, width = scores.shape
    for name, given, most in (("input_lengths", lengths, steps), ("target_lengths", labels, (width - 1) // 2)):
        if given.size and not 0 <= given.min() <= given.max() <= most:
            wrong = given[(given < 0) | (given > most)][0]
            raise PositionError(f"ctc_loss: expected {name} of 0 to {most}, got {wrong}")


def _forward(scores: np.ndarray, skips: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    """For each step the log-probability of having come to each state; samples that have ended stay as they are."""
    alpha = _never(scores)
    for step, score in enumerate(scores):
        if step == 0:
            alpha[:, :2] = score[:, :2]
            alpha[labels == 0, 1:] = _NEVER
        else:
            before = _moved(alpha, 2)
            before[~skips] = _NEVER
            alpha = np.where(step < lengths[:, np.newaxis], _sum(alpha, _moved(alpha, 1), before) + score, alpha)
        yield alpha


def _total(alpha: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log-probability of ending in one of the last two states; without any step, of having no labels."""
    rows, never = np.arange(len(alpha)), np.full(len(alpha), _NEVER, alpha.dtype)
    before = np.where(labels > 0, alpha[rows, np.maximum(2 * labels - 1, 0)], never)
    unstarted = np.where(labels == 0, alpha.dtype.type(0), never)
    return np.where(lengths > 0, _sum(alpha[rows, 2 * labels], before, never), unstarted)


def _sum(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log(exp(x) + exp(y) + exp(z))."""
    top = np.maximum(np.maximum(x, y), z)
    safe = np.where(top == _NEVER, x.dtype.type(0), top)
    return np.log(np.exp(x - safe) + np.exp(y - safe) + np.exp(z - safe)) + safe


def _moved(x: np.ndarray, places: int) -> np.ndarray:
    """Rows moved to the right, or to the left where negative; -inf comes in."""
    result = np.full_like(x, _NEVER)
    if places > 0:
        result[:, places:] = x[:, :-places]
    else:
        result[:, :places] = x[:, -places:]
    return result


def _never(scores: np.ndarray) -> np.ndarray:
    return np.full(scores.shape[1:], _NEVER, scores.dtype)


KERNELS: dict[OpSpec, Kernel] = {ops.CTC: ctc, ops.CTC_POSTERIOR: ctc_posterior}
