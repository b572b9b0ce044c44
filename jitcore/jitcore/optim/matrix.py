"""Optimizers that look at weights as matrices.

Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018; Jordan et al., "Muon: an
optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .. import ops
from ..tensor import Tensor
from ..typeinfo import finfo
from .optimizer import Optimizer, as_number, check_hyperparameters, hyperparameter, power, rounded, scalar_dtype


class Adafactor(Optimizer):
    """Keeps the squared gradients of a matrix as a row (`col_var`) and a column (`row_var`) of means.

    A parameter of fewer than two dimensions keeps them whole (`variance`).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        for holds, text in (
            (lr >= 0, f"Learning rate should be >= 0 but is: {lr}"),
            (beta2_decay <= 0, f"beta2_decay should be <= 0 but is: {beta2_decay}"),
            (eps[0] is None or eps[0] >= 0, f"epsilon1 should be >= 0 but is: {eps[0]}"),
            (eps[1] >= 0, f"epsilon2 should be >= 0 but is: {eps[1]}"),
            (d >= 1, f"Clipping threshold d should be >= 1 but is: {d}"),
            (weight_decay >= 0, f"weight_decay should be >= 0 but is: {weight_decay}"),
        ):
            if not holds:
                raise ValueError(text)
        defaults = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"foreach": foreach, "maximize": maximize})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        if parameter.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        step = ops.zeros((), dtype=scalar_dtype())
        if parameter.ndim < 2:
            return {"step": step, "variance": ops.zeros_like(parameter)}
        *batch, rows, columns = parameter.shape
        return {
            "step": step,
            "row_var": ops.zeros(*batch, rows, 1, dtype=parameter.dtype),
            "col_var": ops.zeros(*batch, 1, columns, dtype=parameter.dtype),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr = hyperparameter(group, "lr")
        eps1, eps2 = group["eps"]
        eps1 = finfo(parameter.dtype).eps if eps1 is None else eps1
        entries["step"].add_(1)
        step = as_number(entries["step"])
        weight = power(step, group["beta2_decay"])
        rate = 1 / power(step, 0.5)
        rate = ops.minimum(rate, lr) if isinstance(rate, Tensor) else min(rate, lr)
        rate = rounded(rate, parameter.dtype) * _root_mean_square(parameter).clamp(min=eps2)
        if group["weight_decay"]:
            parameter.copy_(parameter * (1 - lr * group["weight_decay"]))
        squares = gradient * gradient
        if gradient.ndim > 1:
            rows, columns = entries["row_var"], entries["col_var"]
            rows.copy_(rows + (squares.mean(-1, keepdim=True) - rows) * weight)
            columns.copy_(columns + (squares.mean(-2, keepdim=True) - columns) * weight)
            estimate = (rows * columns) / rows.mean(-2, keepdim=True).clamp(min=eps1)
        else:
            estimate = entries["variance"]
            estimate.copy_(estimate + (squares - estimate) * weight)
        change = gradient * estimate.clamp(min=eps1 * eps1).rsqrt()
        parameter.copy_(parameter - change * (rate / (_root_mean_square(change) / group["d"]).clamp(min=1.0)))


class Muon(Optimizer):
    """Momentum whose update is made nearly orthogonal by Newton and Schulz's iteration, in bfloat16."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_hyperparameters(lr, momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100 or len(ns_coefficients) != 3:
            raise ValueError("Muon takes 3 ns_coefficients and fewer than 100 ns_steps")
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov}
        defaults |= {"eps": eps, "ns_steps": ns_steps}
        matrix = {"ns_coefficients": ns_coefficients, "adjust_lr_fn": adjust_lr_fn}
        super().__init__(params, {**defaults, **matrix})
        for parameter in self._parameters():
            if parameter.ndim != 2:
                raise ValueError(f"Muon only supports 2D parameters, not a parameter of size {parameter.shape}")

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        if parameter.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": ops.zeros_like(parameter)}

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        lr, momentum = hyperparameter(group, "lr"), group["momentum"]
        buffer = entries["momentum_buffer"]
        buffer.copy_(buffer + (gradient - buffer) * (1 - momentum))
        update = gradient + (buffer - gradient) * momentum if group["nesterov"] else buffer
        update = _nearly_orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = parameter.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        else:
            scale = math.sqrt(max(1, rows / columns))
        parameter.copy_(parameter * (1 - lr * group["weight_decay"]) - update * (lr * scale))


def _root_mean_square(x: Tensor) -> Tensor:
    return (x * x).mean().sqrt()


def _nearly_orthogonal(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """x with its singular values brought near 1; every product is rounded to bfloat16, as in the original."""
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = _rounded(x.t() if tall else x)
    x = _rounded(x / _rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _rounded(x @ x.t())
        x = _rounded(a * x + _rounded(b * gram + c * (gram @ gram)) @ x)
    return x.t() if tall else x


def _rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()
