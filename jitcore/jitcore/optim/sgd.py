"""Gradient descent with momentum, and averaged: Polyak and Juditsky, "Acceleration of stochastic approximation by
averaging", 1992."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from jitcore_ir.dtypes import float64

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, check_not_negative, hyperparameter, scalar_dtype


class SGD(Optimizer):
    """`buf = momentum * buf + (1 - dampening) * g; p -= lr * buf`, with PyTorch's Nesterov variant and L2 weight decay.

    The first buffer is the gradient itself, as in PyTorch. `foreach`, `differentiable` and `fused` are accepted and
    make no difference.
    """

    hidden_state: ClassVar[tuple[str, ...]] = ("started",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_not_negative(learning_rate=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
                "fused": fused,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        if not group["momentum"]:
            return {}
        entries = {"momentum_buffer": ops.zeros_like(parameter)}
        if group["dampening"]:  # makes the first buffer the whole gradient, without a branch a recording would bake in
            entries["started"] = ops.zeros((), dtype=parameter.dtype)
        return entries

    def restore_hidden_state(self, parameter: Tensor, entries: dict[str, Any]) -> None:
        if entries.get("momentum_buffer") is None:  # of an optimizer that has taken no step
            entries["momentum_buffer"] = ops.zeros_like(parameter)
            entries["started"] = ops.zeros((), dtype=parameter.dtype)
        else:
            entries["started"] = ops.ones((), dtype=parameter.dtype)

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        if group["maximize"]:
            gradient = -gradient
        if isinstance(group["weight_decay"], Tensor) or group["weight_decay"]:
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


class ASGD(Optimizer):
    """Gradient descent whose average over the steps after `t0` is kept in state `ax`.

    State: `step` (0-d), `eta` (the decayed learning rate), `mu` (the average's weight), `ax`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        lr = group["lr"]
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "eta": lr.detach().clone() if isinstance(lr, Tensor) else ops.full((), float(lr), dtype=scalar_dtype()),
            "mu": ops.ones((), dtype=scalar_dtype()),
            "ax": ops.zeros_like(parameter),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr, lambd = hyperparameter(group, "lr"), group["lambd"]
        if group["maximize"]:
            gradient = -gradient
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        step, eta, mu, average = (entries[name] for name in ("step", "eta", "mu", "ax"))
        step.copy_(step + 1)
        rate, weight = eta.to(float64), mu.to(float64)
        parameter.copy_(parameter * (1 - lambd * rate) - gradient * rate)
        average.copy_(ops.where(mu == 1, parameter, average + (parameter - average) * weight))
        count = step.to(float64)
        eta.copy_(lr / (1 + lambd * lr * count) ** group["alpha"])
        mu.copy_(1 / (count - group["t0"]).clamp(min=1))
