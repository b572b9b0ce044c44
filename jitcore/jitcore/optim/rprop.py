"""Resilient backpropagation: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning",
1993."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import ops
from ..tensor import Tensor
from .optimizer import Optimizer, check_not_negative, each_part_like, scalar_dtype


class Rprop(Optimizer):
    """A step per element that grows while the gradient keeps its sign and shrinks where it turns.

    State: `step` (0-d), `prev` (the last gradient), `step_size`.
    """

    run_time_scalars = ()  # the learning rate is only where step sizes start

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(learning_rate=lr)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": ops.zeros((), dtype=scalar_dtype()),
            "prev": ops.zeros_like(parameter),
            "step_size": each_part_like(parameter, float(group["lr"])),
        }

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        if group["maximize"]:
            gradient = -gradient
        shrink, grow = group["etas"]
        step, before, size = entries["step"], entries["prev"], entries["step_size"]
        step.copy_(step + 1)
        turn = gradient * before
        changed = ops.where(turn > 0, size * grow, ops.where(turn < 0, size * shrink, size))
        size.copy_(changed.clamp(*group["step_sizes"]))
        gradient = ops.where(turn < 0, ops.zeros_like(gradient), gradient)
        parameter.copy_(parameter - gradient.sign() * size)
        before.copy_(gradient)
