"""Connectionist temporal classification (A. Graves et al., 2006): the probability of all alignments of T steps to N
sequences of labels, each written as W = 2 S + 1 states: blank, label, blank, ..., label, blank.

scores [T, N, W] are log-probabilities of the states; skips [N, W] tells which states may follow the one two before;
lengths [N] are the steps of each sample, labels [N] how many labels it has.
"""

from __future__ import annotations

from ..assumptions import equal_shapes
from ..dtypes import bool_, float32, float64, int64
from ..errors import ShapeError
from ..types import TensorType
from .rules import check_dtype, op

__all__ = ["CTC", "CTC_POSTERIOR"]

_OPERANDS = ("scores", "skips", "lengths", "labels")


@op("ctc", _OPERANDS, {}, "The log-probability of each sample's labels, [N].")
def CTC(scores: TensorType, skips: TensorType, lengths: TensorType, labels: TensorType) -> TensorType:
    _check("ctc", scores, skips, lengths, labels)
    return TensorType(scores.dtype, scores.shape[1:2])


@op("ctc_posterior", _OPERANDS, {}, "The probability of each state at each step, given the labels: [T, N, W].")
def CTC_POSTERIOR(scores: TensorType, skips: TensorType, lengths: TensorType, labels: TensorType) -> TensorType:
    _check("ctc_posterior", scores, skips, lengths, labels)
    return scores


def _check(name: str, scores: TensorType, skips: TensorType, lengths: TensorType, labels: TensorType) -> None:
    check_dtype(name, "scores", scores.dtype, (float32, float64))
    check_dtype(name, "skips", skips.dtype, (bool_,))
    check_dtype(name, "lengths", lengths.dtype, (int64,))
    check_dtype(name, "labels", labels.dtype, (int64,))
    fits = scores.rank == 3 and equal_shapes(skips.shape, scores.shape[1:])
    if not fits or not all(equal_shapes(v.shape, scores.shape[1:2]) for v in (lengths, labels)):
        raise ShapeError(f"{name}: scores {scores}, skips {skips}, lengths {lengths}, labels {labels}")
