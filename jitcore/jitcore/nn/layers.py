"""Layers without learned state: activations, pooling, dropout, losses. Each is a row of a table.

A row names the function in `functional` and the constructor's arguments with their defaults (`...` marks one without
a default); the layer stores them under the same names and passes them on.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter

_REQUIRED = ...
_REDUCTION = {"reduction": "mean"}

_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ReLU": ("relu", {"inplace": False}),
    "ReLU6": ("relu6", {"inplace": False}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.01, "inplace": False}),
    "ELU": ("elu", {"alpha": 1.0, "inplace": False}),
    "GELU": ("gelu", {"approximate": "none"}),
    "SiLU": ("silu", {"inplace": False}),
    "Mish": ("mish", {"inplace": False}),
    "Hardswish": ("hardswish", {"inplace": False}),
    "Hardsigmoid": ("hardsigmoid", {"inplace": False}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softplus": ("softplus", {"beta": 1.0, "threshold": 20.0}),
    "Softmax": ("softmax", {"dim": None}),
    "LogSoftmax": ("log_softmax", {"dim": None}),
}
_POOLING: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f"MaxPool{n}d": (
            f"max_pool{n}d",
            {"kernel_size": _REQUIRED, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
        )
        for n in (1, 2, 3)
    },
    **{
        f"AvgPool{n}d": (
            f"avg_pool{n}d",
            {"kernel_size": _REQUIRED, "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True},
        )
        for n in (1, 2, 3)
    },
    **{f"AdaptiveAvgPool{n}d": (f"adaptive_avg_pool{n}d", {"output_size": _REQUIRED}) for n in (1, 2, 3)},
}
_LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "MSELoss": ("mse_loss", _REDUCTION),
    "L1Loss": ("l1_loss", _REDUCTION),
    "SmoothL1Loss": ("smooth_l1_loss", {**_REDUCTION, "beta": 1.0}),
    "HuberLoss": ("huber_loss", {**_REDUCTION, "delta": 1.0}),
    "KLDivLoss": ("kl_div", {**_REDUCTION, "log_target": False}),
    "NLLLoss": ("nll_loss", {"weight": None, "ignore_index": -100, **_REDUCTION}),
    "CrossEntropyLoss": ("cross_entropy", {"weight": None, "ignore_index": -100, **_REDUCTION, "label_smoothing": 0.0}),
    "BCELoss": ("binary_cross_entropy", {"weight": None, **_REDUCTION}),
    "BCEWithLogitsLoss": (
        "binary_cross_entropy_with_logits",
        {"weight": None, **_REDUCTION, "pos_weight": None},
    ),
}


class _FromTable(Module):
    """A layer that passes its stored arguments to one function of `functional`."""

    _function: str
    _defaults: dict[str, Any]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__()
        name = type(self).__name__
        if len(arguments) > len(self._defaults):
            raise TypeError(f"{name} takes at most {len(self._defaults)} arguments, got {len(arguments)}")
        given = dict(zip(self._defaults, arguments, strict=False))
        for key, value in keywords.items():
            if key not in self._defaults or key in given:
                problem = "more than once" if key in given else f"; it takes {', '.join(self._defaults) or 'none'}"
                raise TypeError(f"{name} got the argument {key!r}{problem}")
            given[key] = value
        for key, default in self._defaults.items():
            value = given.get(key, default)
            if value is _REQUIRED:
                raise TypeError(f"{name} is missing the argument {key!r}")
            if isinstance(value, Tensor):
                self.register_buffer(key, value)
            else:
                setattr(self, key, value)

    def forward(self, *inputs: Tensor) -> Any:
        given = {key: getattr(self, key) for key in self._defaults}
        return getattr(F, self._function)(*inputs, **given)

    def extra_repr(self) -> str:
        return ", ".join(
            f"{key}={getattr(self, key)!r}" for key in self._defaults if getattr(self, key) not in (None, False)
        )


def _layer(name: str, function: str, defaults: dict[str, Any]) -> type[_FromTable]:
    doc = f"`functional.{function}` as a layer."
    return type(
        name, (_FromTable,), {"_function": function, "_defaults": defaults, "__doc__": doc, "__module__": __name__}
    )


for _name, (_function, _defaults) in {**_ACTIVATIONS, **_POOLING, **_LOSSES}.items():
    globals()[_name] = _layer(_name, _function, _defaults)


class PReLU(Module):
    """max(0, x) + weight * min(0, x) with a learned weight per channel, or one for all."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        from .. import ops

        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(ops.full((num_parameters,), init, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Dropout(Module):
    """In training, zero elements with probability p and scale the rest by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


__all__ = ["Dropout", "PReLU", *_ACTIVATIONS, *_POOLING, *_LOSSES]
