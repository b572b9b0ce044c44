"""Activation layers, and those that drop elements in training."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .layers import INPLACE, REQUIRED, FromTable, Row, make_layers
from .module import Module
from .parameter import Parameter

_ACTIVATIONS = {
    "ReLU": Row("relu", INPLACE, ("inplace?",)),
    "ReLU6": Row("relu6", INPLACE, ("inplace?",)),
    "LeakyReLU": Row("leaky_relu", {"negative_slope": 0.01, **INPLACE}, ("negative_slope=", "inplace?")),
    "ELU": Row("elu", {"alpha": 1.0, **INPLACE}, ("alpha=", "inplace?")),
    "CELU": Row("celu", {"alpha": 1.0, **INPLACE}, ("alpha=", "inplace?")),
    "SELU": Row("selu", INPLACE, ("inplace?",)),
    "GELU": Row("gelu", {"approximate": "none"}, ("approximate=",)),
    "GLU": Row("glu", {"dim": -1}, ("dim=",)),
    "SiLU": Row("silu", INPLACE, ("inplace?",)),
    "Mish": Row("mish", INPLACE, ("inplace?",)),
    "Hardswish": Row("hardswish", INPLACE),
    "Hardsigmoid": Row("hardsigmoid", INPLACE),
    "Hardshrink": Row("hardshrink", {"lambd": 0.5}, ("lambd",)),
    "Softshrink": Row("softshrink", {"lambd": 0.5}, ("lambd",)),
    "Tanhshrink": Row("tanhshrink"),
    "Softsign": Row("softsign"),
    "Sigmoid": Row("sigmoid"),
    "LogSigmoid": Row("logsigmoid"),
    "Tanh": Row("tanh"),
    "Threshold": Row(
        "threshold", {"threshold": REQUIRED, "value": REQUIRED, **INPLACE}, ("threshold=", "value=", "inplace?")
    ),
    "Softplus": Row("softplus", {"beta": 1.0, "threshold": 20.0}, ("beta=", "threshold=")),
    "Softmax": Row("softmax", {"dim": None}, ("dim=",)),
    "Softmin": Row("softmin", {"dim": None}, ("dim=",)),
    "LogSoftmax": Row("log_softmax", {"dim": None}, ("dim=",)),
    "Softmax2d": Row("softmax", fixed={"dim": -3}),
}


class _Hardtanh(FromTable):
    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        for old, new in (("min_value", "min_val"), ("max_value", "max_val")):
            value = arguments.pop(old)
            if value is not None:
                arguments[new] = value
        if not arguments["max_val"] > arguments["min_val"]:
            raise AssertionError(f"max_val {arguments['max_val']} is not above min_val {arguments['min_val']}")
        return arguments


class _DropoutNd(FromTable):
    """In training, zero elements (or whole channels) with probability p and scale the rest."""

    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if not 0 <= arguments["p"] <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {arguments['p']}")
        return arguments

    def forward(self, *inputs: Tensor, **keywords: Any) -> Any:
        return super().forward(*inputs, training=self.training, **keywords)


class _RReLU(FromTable):
    def forward(self, *inputs: Tensor, **keywords: Any) -> Any:
        return super().forward(*inputs, training=self.training, **keywords)


_SLOPES = {"lower": 1.0 / 8, "upper": 1.0 / 3, **INPLACE}
_RANGE = {"min_val": -1.0, "max_val": 1.0, **INPLACE, "min_value": None, "max_value": None}
_DROPOUTS = {
    name: Row(function, {"p": 0.5, **INPLACE}, ("p=", "inplace="))
    for name, function in {
        "Dropout": "dropout", "Dropout1d": "dropout1d", "Dropout2d": "dropout2d", "Dropout3d": "dropout3d",
        "AlphaDropout": "alpha_dropout", "FeatureAlphaDropout": "feature_alpha_dropout",
    }.items()
}  # fmt: skip


class PReLU(Module):
    """max(0, x) + weight * min(0, x) with a learned weight per channel, or one for all."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        from .. import ops

        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(ops.full((num_parameters,), init, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        from . import init

        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


__all__ = [
    "PReLU",
    *make_layers(globals(), _ACTIVATIONS),
    *make_layers(globals(), _DROPOUTS, _DropoutNd),
    *make_layers(globals(), {"Hardtanh": Row("hardtanh", _RANGE, ("min_val=", "max_val=", "inplace?"))}, _Hardtanh),
    *make_layers(globals(), {"RReLU": Row("rrelu", _SLOPES, ("lower=", "upper=", "inplace?"))}, _RReLU),
]
