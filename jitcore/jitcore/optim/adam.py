"""Adam and its relatives: running means of the gradient and of its size.

Kingma and Ba, "Adam: a method for stochastic optimization", 2014 (Adam, Adamax); Loshchilov and Hutter, "Decoupled
weight decay regularization", 2017 (AdamW); Dozat, "Incorporating Nesterov momentum into Adam", 2016 (NAdam); Liu et
al., "On the variance of the adaptive learning rate and beyond", 2019 (RAdam).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jitcore_ir.dtypes import float64

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, check_betas, check_not_negative, hyperparameter, scalar_dtype


class _Adaptive(Optimizer):
    """State per parameter: `step` (0-d), `exp_avg` and a second mean of the gradient's size."""

    second = "exp_avg_sq"

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "exp_avg": ops.zeros_like(parameter),
            self.second: ops.zeros_like(parameter),
        }

    def decay(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], lr: Any) -> tuple[Tensor, Tensor]:
        """Parameter and gradient after weight decay: of the parameter itself where it is decoupled, else as L2."""
        if group["maximize"]:
            gradient = -gradient
        if not group["weight_decay"]:
            return parameter, gradient
        if group.get("decoupled_weight_decay", False):
            return parameter * (1 - lr * group["weight_decay"]), gradient
        return parameter, gradient + parameter * group["weight_decay"]

    @staticmethod
    def advance(entries: dict[str, Any], gradient: Tensor, betas: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
        """Count the step and update both means; gives (step as float64, mean, mean of squares)."""
        step, mean, square = entries["step"], entries["exp_avg"], entries["exp_avg_sq"]
        step.copy_(step + 1)
        mean.copy_(mean + (gradient - mean) * (1 - betas[0]))
        square.copy_(square * betas[1] + gradient * gradient * (1 - betas[1]))
        return step.to(float64), mean, square


class Adam(_Adaptive):
    """Running means of the gradient and its square, corrected for their start at zero; L2 weight decay.

    State per parameter: `step` (0-d), `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` where `amsgrad`.
    `foreach`, `capturable`, `differentiable` and `fused` are accepted and make no difference.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, epsilon=eps, weight_decay=weight_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
                "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        entries = super().initial_state(parameter, group)
        if group["amsgrad"]:
            entries["max_exp_avg_sq"] = ops.zeros_like(parameter)
        return entries

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        beta1, beta2 = group["betas"]
        value, gradient = self.decay(parameter, gradient, group, lr)
        count, mean, square = self.advance(entries, gradient, group["betas"])
        if group["amsgrad"]:
            largest = entries["max_exp_avg_sq"]
            largest.copy_(largest.maximum(square))
            square = largest
        correction1, correction2 = 1 - beta1**count, 1 - beta2**count
        root = square.sqrt() / correction2.sqrt() + group["eps"]
        parameter.copy_(value - (lr / correction1) * (mean / root))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter directly."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip


class Adamax(_Adaptive):
    """Adam by the largest gradient, decayed, in place of the mean square. State: `step`, `exp_avg`, `exp_inf`."""

    second = "exp_inf"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, epsilon=eps, weight_decay=weight_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = hyperparameter(group, "lr"), group["betas"]
        value, gradient = self.decay(parameter, gradient, group, lr)
        step, mean, largest = entries["step"], entries["exp_avg"], entries["exp_inf"]
        step.copy_(step + 1)
        mean.copy_(mean + (gradient - mean) * (1 - beta1))
        largest.copy_((largest * beta2).maximum(gradient.abs() + group["eps"]))
        parameter.copy_(value - (lr / (1 - beta1 ** step.to(float64))) * (mean / largest))


class NAdam(_Adaptive):
    """Adam with Nesterov's look ahead. State: `step`, `mu_product`, `exp_avg`, `exp_avg_sq`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, epsilon=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        entries = super().initial_state(parameter, group)
        return {"step": entries.pop("step"), "mu_product": ops.ones((), dtype=scalar_dtype()), **entries}

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = hyperparameter(group, "lr"), group["betas"]
        value, gradient = self.decay(parameter, gradient, group, lr)
        count, mean, square = self.advance(entries, gradient, group["betas"])
        decay = group["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (count * decay))
        following = beta1 * (1 - 0.5 * 0.96 ** ((count + 1) * decay))
        product = entries["mu_product"]
        product.copy_(product * mu)
        wide = product.to(float64)
        root = (square / (1 - beta2**count)).sqrt() + group["eps"]
        value = value - (lr * (1 - mu) / (1 - wide)) * (gradient / root)
        parameter.copy_(value - (lr * following / (1 - wide * following)) * (mean / root))


class RAdam(_Adaptive):
    """Adam whose adaptive rate is rectified while the mean square is of few steps. State as Adam's."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr, epsilon=eps, weight_decay=weight_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = hyperparameter(group, "lr"), group["betas"]
        value, gradient = self.decay(parameter, gradient, group, lr)
        count, mean, square = self.advance(entries, gradient, group["betas"])
        power = beta2**count
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * count * power / (1 - power)  # of the simple moving average that the mean amounts to
        enough = length > 5
        ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        rectified = ratio.clamp(min=0).sqrt() * (1 - power).sqrt() / (square.sqrt() + group["eps"])
        scale = ops.where(enough, rectified, 1.0).to(parameter.dtype)
        parameter.copy_(value - lr * ((mean / (1 - beta1**count)) * scale))
