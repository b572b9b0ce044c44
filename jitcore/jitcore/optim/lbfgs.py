"""L-BFGS: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import ops
from ..autograd import enable_grad, no_grad
from ..tensor import Tensor
from .line_search import Point, strong_wolfe
from .optimizer import Optimizer, as_parts, check_not_negative


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last `history_size` changes of the gradient; `step` needs a closure that clears the
    gradients, computes the loss, calls `backward()` and returns the loss.

    It takes one parameter group. `line_search_fn` is None or "strong_wolfe". It looks at values, so a function that
    steps it runs eagerly under `jit`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_not_negative(learning_rate=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Up to `max_iter` iterations; returns the loss before the first."""
        if closure is None:
            raise TypeError("LBFGS.step() needs a closure that computes the loss and its gradients")
        with no_grad():
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        memory = self.state[self._params[0]]
        memory.setdefault("func_evals", 0)
        memory.setdefault("n_iter", 0)
        first, loss, gradient = self._evaluate(closure)
        evaluations = 1
        memory["func_evals"] += 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            memory["n_iter"] += 1
            direction = self._direction(memory, gradient, group["history_size"])
            memory["prev_flat_grad"], memory["prev_loss"] = gradient, loss
            step = min(1.0, 1.0 / gradient.abs().sum().item()) * lr if memory["n_iter"] == 1 else lr
            slope = gradient.dot(direction).item()
            memory["d"], memory["t"] = direction, step
            if slope > -tolerance:
                break
            before, tried = loss, 0
            if group["line_search_fn"] is not None:
                start = [p.detach().clone() for p in self._params]
                found, tried = strong_wolfe(
                    lambda t: self._probe(closure, start, t, direction),  # noqa: B023  used within the iteration
                    Point(0.0, loss, gradient, slope),
                    step,
                    _largest(direction),
                )
                loss, gradient, step = found.loss, found.gradient, found.step
                memory["t"] = step
                self._move(step, direction)
            else:
                self._move(step, direction)
                if iteration != group["max_iter"]:
                    _, loss, gradient = self._evaluate(closure)
                    tried = 1
            evaluations += tried
            memory["func_evals"] += tried
            if (
                iteration == group["max_iter"]
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction * step) <= tolerance
                or abs(loss - before) < tolerance
            ):
                break
        return first

    def _direction(self, memory: dict[str, Any], gradient: Tensor, history: int) -> Tensor:
        """Minus the gradient times the inverse Hessian that the remembered changes amount to (two loops)."""
        if memory["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        changes, steps, inverses = memory["old_dirs"], memory["old_stps"], memory["ro"]
        change, step = gradient - memory["prev_flat_grad"], memory["d"] * memory["t"]
        curvature = change.dot(step).item()
        if curvature > 1e-10:
            if len(changes) == history:
                for held in (changes, steps, inverses):
                    held.pop(0)
            changes.append(change)
            steps.append(step)
            inverses.append(1.0 / curvature)
            memory["H_diag"] = curvature / change.dot(change).item()
        direction, weights = -gradient, [0.0] * len(changes)
        for i in reversed(range(len(changes))):
            weights[i] = steps[i].dot(direction).item() * inverses[i]
            direction = direction - changes[i] * weights[i]
        direction = direction * memory["H_diag"]
        for i in range(len(changes)):
            back = changes[i].dot(direction).item() * inverses[i]
            direction = direction + steps[i] * (weights[i] - back)
        return direction

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, float, Tensor]:
        """The closure's loss, as it is and as a number, and all gradients in one vector."""
        with enable_grad():
            loss = closure()
        gradients = [ops.zeros_like(p) if p.grad is None else p.grad.detach() for p in self._params]
        return loss, float(loss), ops.cat([as_parts(g).reshape(-1).clone() for g in gradients])

    def _probe(self, closure: Callable[[], Any], start: list[Tensor], step: float, direction: Tensor) -> Point:
        """The point at `step`, leaving the parameters where they were."""
        self._move(step, direction)
        _, loss, gradient = self._evaluate(closure)
        for p, value in zip(self._params, start, strict=True):
            p.copy_(value)
        return Point(step, loss, gradient, gradient.dot(direction).item())

    def _move(self, step: float, direction: Tensor) -> None:
        place = 0
        for p in map(as_parts, self._params):
            count = p.numel()
            p.add_(direction[place : place + count].view_as(p), alpha=step)
            place += count


def _largest(x: Tensor) -> float:
    return float(x.abs().max())
