"""Adam and its kin.

Kingma and Ba, "Adam: a method for stochastic optimization", 2014 (Adam, Adamax); Loshchilov and Hutter, "Decoupled
weight decay regularization", 2017 (AdamW); Dozat, "Incorporating Nesterov momentum into Adam", 2016 (NAdam); Liu et
al., "On the variance of the adaptive learning rate and beyond", 2019 (RAdam).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, as_number, check_hyperparameters, hyperparameter, power, rounded, scalar_dtype


class _Moments(Optimizer):
    """Keeps `step`, `exp_avg` and `exp_avg_sq`: what the family shares."""

    run_time_scalars = ("lr", "betas")

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "exp_avg": ops.zeros_like(parameter),
            "exp_avg_sq": ops.zeros_like(parameter),
        }

    def _betas(self, group: dict[str, Any]) -> tuple[Any, Any]:
        return hyperparameter(group, "betas", 0), hyperparameter(group, "betas", 1)

    def _decay(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], decoupled: bool) -> Tensor:
        """Weight decay: of the parameter itself where decoupled, else through the gradient, which is returned."""
        if not group["weight_decay"]:
            return gradient
        if decoupled:
            parameter.copy_(parameter * (1 - hyperparameter(group, "lr") * group["weight_decay"]))
            return gradient
        return gradient + parameter * group["weight_decay"]

    def _advance(self, gradient: Tensor, entries: dict[str, Any], beta1: Any, beta2: Any) -> Any:
        """One step of both running means; returns the step count."""
        mean, square = entries["exp_avg"], entries["exp_avg_sq"]
        entries["step"].add_(1)
        mean.copy_(mean + (gradient - mean) * (1 - beta1))
        square.copy_(square * beta2 + gradient * gradient * (1 - beta2))
        return as_number(entries["step"])


class Adam(_Moments):
    """Running means of the gradient and its square, corrected for their start at zero; L2 weight decay.

    State per parameter: `step` (0-d float32), `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` where `amsgrad`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
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
        check_hyperparameters(lr, betas, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        defaults |= {"maximize": maximize, "foreach": foreach, "capturable": capturable}
        defaults |= {"differentiable": differentiable, "fused": fused}
        super().__init__(params, defaults | {"decoupled_weight_decay": decoupled_weight_decay})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        entries = super().initial_state(parameter, group)
        if group["amsgrad"]:
            entries["max_exp_avg_sq"] = ops.zeros_like(parameter)
        return entries

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        beta1, beta2 = self._betas(group)
        gradient = self._decay(parameter, gradient, group, group["decoupled_weight_decay"])
        step = self._advance(gradient, entries, beta1, beta2)
        square = entries["exp_avg_sq"]
        if group["amsgrad"]:
            largest = entries["max_exp_avg_sq"]
            largest.copy_(largest.maximum(square))
            square = largest
        root = square.sqrt() / power(1 - power(beta2, step), 0.5) + group["eps"]
        parameter.copy_(parameter - (lr / (1 - power(beta1, step))) * (entries["exp_avg"] / root))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter directly."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
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

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class Adamax(_Moments):
    """Adam with the largest recent gradient (`exp_inf`) in place of the root mean square."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_hyperparameters(lr, betas, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach}
        defaults |= {"maximize": maximize, "differentiable": differentiable, "capturable": capturable}
        super().__init__(params, defaults)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        zeros = ops.zeros_like
        return {"step": ops.zeros((), dtype=scalar_dtype()), "exp_avg": zeros(parameter), "exp_inf": zeros(parameter)}

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = self._betas(group)
        gradient = self._decay(parameter, gradient, group, decoupled=False)
        mean, largest = entries["exp_avg"], entries["exp_inf"]
        entries["step"].add_(1)
        mean.copy_(mean + (gradient - mean) * (1 - beta1))
        largest.copy_(ops.maximum(largest * beta2, gradient.abs() + group["eps"]))
        rate = hyperparameter(group, "lr") / (1 - power(beta1, as_number(entries["step"])))
        parameter.copy_(parameter - rate * (mean / largest))


class NAdam(_Moments):
    """Adam with Nesterov momentum, whose schedule `mu_product` remembers."""

    number_state = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
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
        check_hyperparameters(lr, betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        defaults |= {"maximize": maximize, "foreach": foreach, "capturable": capturable}
        super().__init__(params, defaults | {"differentiable": differentiable})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().initial_state(parameter, group), "mu_product": ops.ones((), dtype=scalar_dtype())}

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        beta1, beta2 = self._betas(group)
        gradient = self._decay(parameter, gradient, group, group["decoupled_weight_decay"])
        step = self._advance(gradient, entries, beta1, beta2)
        decay = group["momentum_decay"]
        mu = beta1 * (1 - 0.5 * power(0.96, step * decay))
        mu_next = beta1 * (1 - 0.5 * power(0.96, (step + 1) * decay))
        entries["mu_product"].mul_(rounded(mu, scalar_dtype()))
        product = as_number(entries["mu_product"])
        root = (entries["exp_avg_sq"] / (1 - power(beta2, step))).sqrt() + group["eps"]
        now = (gradient / root) * (lr * (1 - mu) / (1 - product))
        ahead = (entries["exp_avg"] / root) * (lr * mu_next / (1 - product * mu_next))
        parameter.copy_(parameter - now - ahead)


class RAdam(_Moments):
    """Adam that divides by the root mean square only once there are enough steps to know it."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
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
        check_hyperparameters(lr, betas, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        defaults |= {"foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults | {"differentiable": differentiable})

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        beta1, beta2 = self._betas(group)
        gradient = self._decay(parameter, gradient, group, group["decoupled_weight_decay"])
        step = self._advance(gradient, entries, beta1, beta2)
        correction = 1 - power(beta2, step)
        mean = entries["exp_avg"] / (1 - power(beta1, step))
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * power(beta2, step) / correction
        enough: Any = length > 5
        if isinstance(enough, Tensor) or enough:
            rectified = power((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length), 0.5)
            factor = rectified * power(correction, 0.5) / (entries["exp_avg_sq"].sqrt() + group["eps"])
            mean = mean * (factor if not isinstance(enough, Tensor) else ops.where(enough, factor, 1.0))
        parameter.copy_(parameter - mean * lr)
