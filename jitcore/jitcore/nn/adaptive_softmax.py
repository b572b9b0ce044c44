"""Grave et al., "Efficient softmax approximation for GPUs", 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jitcore_ir.dtypes import DType

from .. import ops
from ..tensor import Tensor
from . import functional as F
from .containers import ModuleList, Sequential
from .linear import Linear
from .module import Module


class OutputAndLoss(NamedTuple):
    """The log-probability of each target, and the mean loss."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log_softmax over many classes, the rare ones in clusters with smaller projections.

    Class numbers must be sorted by falling frequency; `cutoffs` are where clusters begin.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if cutoffs != sorted(set(cutoffs)) or min(cutoffs) <= 0 or max(cutoffs) > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        made = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            inner = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(Linear(in_features, inner, bias=False, **made), Linear(inner, size, bias=False, **made))
            )

    def reset_parameters(self) -> None:
        for layer in (m for m in self.modules() if isinstance(m, Linear)):
            layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> OutputAndLoss:
        if input.ndim not in (1, 2) or target.ndim != input.ndim - 1:
            raise RuntimeError(
                f"expected input of one or two dimensions and targets of one less, got {list(input.shape)} and "
                f"{list(target.shape)}"
            )
        rows, labels = (input.unsqueeze(0), target.unsqueeze(0)) if input.ndim == 1 else (input, target)
        found = ops.gather(self.log_prob(rows), 1, labels.unsqueeze(1)).squeeze(1)
        return OutputAndLoss(found.squeeze(0) if input.ndim == 1 else found, (-found).mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes: [N, in_features] -> [N, n_classes]."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            inside = F.log_softmax(cluster(input), dim=1)
            parts.append(inside + head[:, self.shortlist_size + i].unsqueeze(1))
        return ops.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row."""
        return self.log_prob(input).argmax(1)
