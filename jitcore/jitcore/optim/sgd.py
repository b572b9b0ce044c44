"""Stochastic gradient descent with momentum, and averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jitcore_ir.dtypes import float64

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, as_number, at_least, check_hyperparameters, hyperparameter, power, scalar_dtype


class SGD(Optimizer):
    """`buf = momentum * buf + (1 - dampening) * g; p -= lr * buf`, with PyTorch's Nesterov variant and L2 weight decay.

    The first buffer is the gradient itself, as in PyTorch.
    """

    run_time_scalars = ("lr", "momentum")
    hidden_state = ("started",)  # 0 before the first step: it makes the first buffer the whole gradient, with no branch

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_hyperparameters(lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        defaults |= {"nesterov": nesterov, "maximize": maximize, "foreach": foreach}
        super().__init__(params, defaults | {"differentiable": differentiable, "fused": fused})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        if not group["momentum"]:
            return {}
        return {"momentum_buffer": ops.zeros_like(parameter), "started": ops.zeros((), dtype=float64)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for parameter, entries in list(self.state.items()):
            if entries.get("momentum_buffer") is None:
                del self.state[parameter]
            else:
                entries["started"] = ops.ones((), dtype=float64)

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        if group["momentum"]:
            momentum = hyperparameter(group, "momentum")
            buffer = entries["momentum_buffer"]
            damped = gradient
            if group["dampening"]:
                damped = gradient * (1 - group["dampening"] * entries["started"])
                entries["started"].fill_(1)
            buffer.copy_(buffer * momentum + damped)
            gradient = gradient + buffer * momentum if group["nesterov"] else buffer
        parameter.copy_(parameter - gradient * hyperparameter(group, "lr"))


class ASGD(Optimizer):
    """Averaged SGD: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    State: `step`, `eta` (the present rate), `mu` (the weight of the average), `ax` (the average).
    """

    number_state = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_hyperparameters(lr, weight_decay=weight_decay)
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay}
        defaults |= {"foreach": foreach, "maximize": maximize, "differentiable": differentiable}
        super().__init__(params, defaults | {"capturable": capturable})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "eta": ops.full((), float(group["lr"]), dtype=scalar_dtype()),
            "mu": ops.ones((), dtype=scalar_dtype()),
            "ax": ops.zeros_like(parameter),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        average, eta, mu = entries["ax"], entries["eta"], entries["mu"]
        entries["step"].add_(1)
        step, rate = as_number(entries["step"]), as_number(eta)
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        parameter.copy_(parameter * (1 - group["lambd"] * rate) - gradient * rate)
        average.copy_(ops.where(mu == 1, parameter, average + (parameter - average) * mu))
        eta.copy_(_tensor(lr / power(1 + group["lambd"] * lr * step, group["alpha"])))
        mu.copy_(_tensor(1 / at_least(step - group["t0"], 1)))


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else ops.tensor(x)
