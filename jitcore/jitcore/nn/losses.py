"""Losses as layers."""

from __future__ import annotations

from typing import Any

from .layers import REDUCTION, FromTable, Row, make_layers

_AVERAGE, _REDUCE = {"size_average": None}, {"reduce": None, "reduction": "mean"}
_CLASSES = {"weight": None, **_AVERAGE, "ignore_index": -100, **_REDUCE}


class _Loss(FromTable):
    """A loss with a reduction; the base of users' own losses."""

    _row = Row("", REDUCTION)
    reduction: str


class _WeightedLoss(_Loss):
    """A loss with a weight per class or element."""

    _row = Row("", {"weight": None, **REDUCTION})


_LOSSES = {
    "MSELoss": Row("mse_loss", REDUCTION),
    "L1Loss": Row("l1_loss", REDUCTION),
    "SmoothL1Loss": Row("smooth_l1_loss", {**REDUCTION, "beta": 1.0}),
    "HuberLoss": Row("huber_loss", {"reduction": "mean", "delta": 1.0}),
    "KLDivLoss": Row("kl_div", {**REDUCTION, "log_target": False}),
    "BCEWithLogitsLoss": Row("binary_cross_entropy_with_logits", {"weight": None, **REDUCTION, "pos_weight": None}),
    "PoissonNLLLoss": Row("poisson_nll_loss", {"log_input": True, "full": False, **_AVERAGE, "eps": 1e-8, **_REDUCE}),
    "GaussianNLLLoss": Row("gaussian_nll_loss", {"full": False, "eps": 1e-6, "reduction": "mean"}),
    "HingeEmbeddingLoss": Row("hinge_embedding_loss", {"margin": 1.0, **REDUCTION}),
    "CosineEmbeddingLoss": Row("cosine_embedding_loss", {"margin": 0.0, **REDUCTION}),
    "MarginRankingLoss": Row("margin_ranking_loss", {"margin": 0.0, **REDUCTION}),
    "SoftMarginLoss": Row("soft_margin_loss", REDUCTION),
    "MultiLabelMarginLoss": Row("multilabel_margin_loss", REDUCTION),
    "TripletMarginLoss": Row("triplet_margin_loss", {"margin": 1.0, "p": 2.0, "eps": 1e-6, "swap": False, **REDUCTION}),
    "CTCLoss": Row("ctc_loss", {"blank": 0, "reduction": "mean", "zero_infinity": False}),
}
_WEIGHTED = {
    "NLLLoss": Row("nll_loss", _CLASSES),
    "NLLLoss2d": Row("nll_loss", _CLASSES),
    "CrossEntropyLoss": Row("cross_entropy", {**_CLASSES, "label_smoothing": 0.0}),
    "BCELoss": Row("binary_cross_entropy", {"weight": None, **REDUCTION}),
    "MultiMarginLoss": Row("multi_margin_loss", {"p": 1, "margin": 1.0, "weight": None, **REDUCTION}),
    "MultiLabelSoftMarginLoss": Row("multilabel_soft_margin_loss", {"weight": None, **REDUCTION}),
}
_DISTANCES = {
    "CosineSimilarity": Row("cosine_similarity", {"dim": 1, "eps": 1e-8}),
    "PairwiseDistance": Row("pairwise_distance", {"p": 2.0, "eps": 1e-6, "keepdim": False}),
}


class _WithDistance(_Loss):
    """The distance is PairwiseDistance where none is given."""

    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["margin"] <= 0:
            raise ValueError(f"expected margin to be greater than 0, got {arguments['margin']}")
        if arguments["distance_function"] is None:
            arguments["distance_function"] = globals()["PairwiseDistance"]()
        return arguments


_TRIPLET = {"distance_function": None, "margin": 1.0, "swap": False, "reduction": "mean"}

__all__ = [
    *make_layers(globals(), _LOSSES, _Loss),
    *make_layers(globals(), _WEIGHTED, _WeightedLoss),
    *make_layers(globals(), _DISTANCES),
    *make_layers(
        globals(),
        {"TripletMarginWithDistanceLoss": Row("triplet_margin_with_distance_loss", _TRIPLET)},
        _WithDistance,
    ),
]
