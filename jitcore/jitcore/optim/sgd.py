"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, hyperparameter


class SGD(Optimizer):
    """`buf = momentum * buf + (1 - dampening) * g; p -= lr * buf`, with PyTorch's Nesterov variant and L2 weight decay.

    The first buffer is the gradient itself, as in PyTorch.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        for name, value in (("learning rate", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"Invalid {name} value: {value}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        defaults |= {"nesterov": nesterov, "maximize": maximize}
        super().__init__(params, defaults)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        if not group["momentum"]:
            return {}
        entries = {"momentum_buffer": ops.zeros_like(parameter)}
        if group["dampening"]:  # makes the first buffer the whole gradient, without a branch a recording would bake in
            entries["started"] = ops.zeros((), dtype=parameter.dtype)
        return entries

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        if group["maximize"]:
            gradient = -gradient
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        momentum = group["momentum"]
        if momentum:
            buffer = entries["momentum_buffer"]
            damped = gradient * (1 - group["dampening"] * entries["started"]) if group["dampening"] else gradient
            buffer.copy_(buffer * momentum + damped)
            if group["dampening"]:
                entries["started"].fill_(1)
            gradient = gradient + buffer * momentum if group["nesterov"] else buffer
        parameter.copy_(parameter - gradient * hyperparameter(group, "lr"))
