"""Optimizers that scale each coordinate by the gradients it has seen.

Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011 (Adagrad); Tieleman and Hinton, lecture 6.5, 2012
(RMSprop); Zeiler, "ADADELTA: an adaptive learning rate method", 2012; Riedmiller and Braun, "RPROP: a fast adaptive
learning algorithm", 1992.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, as_number, check_hyperparameters, hyperparameter, scalar_dtype


class Adagrad(Optimizer):
    """Divides by the root of the sum of all squared gradients (`sum`)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
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
        check_hyperparameters(
            lr, lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )  # fmt: skip
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"initial_accumulator_value": initial_accumulator_value, "foreach": foreach}
        super().__init__(params, defaults | {"maximize": maximize, "differentiable": differentiable, "fused": fused})
        for group in self.param_groups:
            for parameter in group["params"]:
                self._entries(parameter, group)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        start = self.defaults["initial_accumulator_value"]
        return {"step": ops.zeros((), dtype=scalar_dtype()), "sum": _full_like(parameter, start)}

    def share_memory(self) -> None:
        """Nothing to do: memory is shared between threads anyway."""

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        entries["step"].add_(1)
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        rate = hyperparameter(group, "lr")
        if group["lr_decay"]:
            rate = rate / (1 + (as_number(entries["step"]) - 1) * group["lr_decay"])
        total = entries["sum"]
        total.copy_(total + gradient * gradient)
        parameter.copy_(parameter - rate * (gradient / (total.sqrt() + group["eps"])))


class Adadelta(Optimizer):
    """Scales by the ratio of the root mean squares of past updates (`acc_delta`) and gradients (`square_avg`)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_hyperparameters(lr, eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        defaults |= {"capturable": capturable, "foreach": foreach, "differentiable": differentiable}
        super().__init__(params, defaults)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        zeros = ops.zeros_like
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "square_avg": zeros(parameter),
            "acc_delta": zeros(parameter),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        entries["step"].add_(1)
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        square, moved = entries["square_avg"], entries["acc_delta"]
        square.copy_(square * rho + gradient * gradient * (1 - rho))
        change = (moved + eps).sqrt() / (square + eps).sqrt() * gradient
        moved.copy_(moved * rho + change * change * (1 - rho))
        parameter.copy_(parameter - change * hyperparameter(group, "lr"))


class RMSprop(Optimizer):
    """Divides by the root mean square of recent gradients (`square_avg`), about their mean where `centered`."""

    run_time_scalars = ("lr", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
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
        check_hyperparameters(lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        defaults |= {"weight_decay": weight_decay, "capturable": capturable, "foreach": foreach}
        super().__init__(params, defaults | {"maximize": maximize, "differentiable": differentiable})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        entries = {"step": ops.zeros((), dtype=scalar_dtype()), "square_avg": ops.zeros_like(parameter)}
        if group["momentum"] > 0:
            entries["momentum_buffer"] = ops.zeros_like(parameter)
        if group["centered"]:
            entries["grad_avg"] = ops.zeros_like(parameter)
        return entries

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        alpha, lr = group["alpha"], hyperparameter(group, "lr")
        entries["step"].add_(1)
        if group["weight_decay"]:
            gradient = gradient + parameter * group["weight_decay"]
        square = entries["square_avg"]
        square.copy_(square * alpha + gradient * gradient * (1 - alpha))
        spread = square
        if group["centered"]:
            mean = entries["grad_avg"]
            mean.copy_(mean + (gradient - mean) * (1 - alpha))
            spread = square - mean * mean
        change = gradient / (spread.sqrt() + group["eps"])
        if group["momentum"] > 0:
            buffer = entries["momentum_buffer"]
            buffer.copy_(buffer * hyperparameter(group, "momentum") + change)
            change = buffer
        parameter.copy_(parameter - change * lr)


class Rprop(Optimizer):
    """Steps whose size (`step_size`) grows while the gradient keeps its sign and shrinks where it changes."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_hyperparameters(lr)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize}
        super().__init__(params, defaults | {"differentiable": differentiable, "capturable": capturable})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "prev": ops.zeros_like(parameter),
            "step_size": _full_like(parameter, float(group["lr"])),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        less, more = group["etas"]
        entries["step"].add_(1)
        previous, size = entries["prev"], entries["step_size"]
        agreement = gradient * previous
        turned = agreement < 0
        changed = ops.where(agreement > 0, size * more, ops.where(turned, size * less, size))
        size.copy_(changed.clamp(*group["step_sizes"]))
        gradient = gradient.masked_fill(turned, 0.0)
        parameter.copy_(parameter - gradient.sign() * size)
        previous.copy_(gradient)


def _full_like(parameter: Tensor, value: float) -> Tensor:
    """Filled with `value`, in both parts of a complex parameter."""
    return ops.full_like(parameter, complex(value, value) if parameter.is_complex() else value)
