"""Optimizers that divide by the size of past gradients.

Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011 (Adagrad); Zeiler, "ADADELTA", 2012; Tieleman and Hinton,
lecture 6.5 of a course on neural networks, 2012, centered by Graves, "Generating sequences with recurrent neural
networks", 2013 (RMSprop).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jitcore_ir.dtypes import float64

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, check_not_negative, each_part_like, hyperparameter, scalar_dtype


def _decayed(parameter: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Tensor:
    """The gradient to descend along, with L2 weight decay."""
    if group["maximize"]:
        gradient = -gradient
    return gradient + parameter * group["weight_decay"] if group["weight_decay"] else gradient


class Adagrad(Optimizer):
    """Divides by the root of the sum of all squared gradients. State: `step` (0-d), `sum`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_not_negative(
            learning_rate=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, epsilon=eps,
        )  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = self.initial_state(parameter, group)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "sum": each_part_like(parameter, group["initial_accumulator_value"]),
        }

    def share_memory(self) -> None:
        """Accepted; state is copied to other processes, not shared with them."""

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        gradient = _decayed(parameter, gradient, group)
        step, total = entries["step"], entries["sum"]
        step.copy_(step + 1)
        rate = hyperparameter(group, "lr") / (1 + (step.to(float64) - 1) * group["lr_decay"])
        total.copy_(total + gradient * gradient)
        parameter.copy_(parameter - rate * (gradient / (total.sqrt() + group["eps"])))


class Adadelta(Optimizer):
    """Steps as large as past steps were to past gradients. State: `step`, `square_avg`, `acc_delta`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, epsilon=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "square_avg": ops.zeros_like(parameter),
            "acc_delta": ops.zeros_like(parameter),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        gradient, rho, eps = _decayed(parameter, gradient, group), group["rho"], group["eps"]
        step, square, steps = entries["step"], entries["square_avg"], entries["acc_delta"]
        step.copy_(step + 1)
        square.copy_(square * rho + gradient * gradient * (1 - rho))
        delta = (steps + eps).sqrt() / (square + eps).sqrt() * gradient
        steps.copy_(steps * rho + delta * delta * (1 - rho))
        parameter.copy_(parameter - delta * hyperparameter(group, "lr"))


class RMSprop(Optimizer):
    """Divides by the root of the running mean square; with momentum, and with the mean taken out where `centered`.

    State: `step`, `square_avg`, `momentum_buffer` (with momentum), `grad_avg` (where centered).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        entries = {"step": ops.zeros((), dtype=scalar_dtype()), "square_avg": ops.zeros_like(parameter)}
        if group["momentum"] > 0:
            entries["momentum_buffer"] = ops.zeros_like(parameter)
        if group["centered"]:
            entries["grad_avg"] = ops.zeros_like(parameter)
        return entries

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        gradient, alpha = _decayed(parameter, gradient, group), group["alpha"]
        step, square = entries["step"], entries["square_avg"]
        step.copy_(step + 1)
        square.copy_(square * alpha + gradient * gradient * (1 - alpha))
        spread = square
        if group["centered"]:
            mean = entries["grad_avg"]
            mean.copy_(mean + (gradient - mean) * (1 - alpha))
            spread = square - mean * mean
        move = gradient / (spread.sqrt() + group["eps"])
        if group["momentum"] > 0:
            buffer = entries["momentum_buffer"]
            buffer.copy_(buffer * group["momentum"] + move)
            move = buffer
        parameter.copy_(parameter - move * hyperparameter(group, "lr"))
