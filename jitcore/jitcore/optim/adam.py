"""Adam and AdamW: Kingma and Ba, "Adam: a method for stochastic optimization", 2014; Loshchilov and Hutter,
"Decoupled weight decay regularization", 2017."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from jitcore_ir.dtypes import float32, float64

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, hyperparameter


class Adam(Optimizer):
    """Running means of the gradient and its square, corrected for their start at zero; L2 weight decay.

    State per parameter: `step` (0-d float32), `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` where `amsgrad`.
    """

    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        for name, value in (("learning rate", lr), ("epsilon", eps), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"Invalid {name} value: {value}")
        for number, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {number}: {beta}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"amsgrad": amsgrad, "maximize": maximize}
        super().__init__(params, defaults)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        entries = {
            "step": ops.zeros((), dtype=float32),
            "exp_avg": ops.zeros_like(parameter),
            "exp_avg_sq": ops.zeros_like(parameter),
        }
        if group["amsgrad"]:
            entries["max_exp_avg_sq"] = ops.zeros_like(parameter)
        return entries

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        beta1, beta2 = group["betas"]
        if group["maximize"]:
            gradient = -gradient
        value: Tensor = parameter
        if group["weight_decay"]:
            if self.decoupled:
                value = parameter * (1 - lr * group["weight_decay"])
            else:
                gradient = gradient + parameter * group["weight_decay"]
        step, mean, square = entries["step"], entries["exp_avg"], entries["exp_avg_sq"]
        step.copy_(step + 1)
        mean.copy_(mean + (gradient - mean) * (1 - beta1))
        square.copy_(square * beta2 + gradient * gradient * (1 - beta2))
        if group["amsgrad"]:
            largest = entries["max_exp_avg_sq"]
            largest.copy_(largest.maximum(square))
            square = largest
        count = step.to(float64)
        correction1, correction2 = 1 - beta1**count, 1 - beta2**count
        root = square.sqrt() / correction2.sqrt() + group["eps"]
        parameter.copy_(value - (lr / correction1) * (mean / root))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter directly."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
