"""Derivatives of connectionist temporal classification: of a log-probability by log-probabilities of states, the
probabilities of these given the labels."""

from __future__ import annotations

from typing import NoReturn

from jitcore_ir import ops

from ...dispatch import apply
from ...tensor import Tensor
from ..rules import vjp


def _back(g: Tensor, scores: Tensor, skips: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    return g.unsqueeze(0).unsqueeze(-1) * apply(ops.CTC_POSTERIOR, (scores, skips, lengths, labels))


def _refused(g: Tensor) -> NoReturn:
    raise NotImplementedError("the gradient of ctc_loss cannot be differentiated again; PyTorch's cannot either")


vjp(ops.CTC, scores=_back)
vjp(ops.CTC_POSTERIOR, scores=_refused)
