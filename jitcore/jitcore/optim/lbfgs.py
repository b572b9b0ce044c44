"""L-BFGS: a quasi-Newton method that calls the closure several times per step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import ops
from ..autograd import enable_grad, no_grad
from ..tensor import Tensor
from .optimizer import Optimizer, as_parts, check_hyperparameters


class LBFGS(Optimizer):
    """Limited-memory BFGS after Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.5, 3.5 and 3.6.

    One parameter group. `step(closure)` looks at losses in Python, so a function that calls it stays eager under `jit`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_hyperparameters(lr)
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        defaults = {"lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad}
        defaults |= {"tolerance_change": tolerance_change, "history_size": history_size}
        super().__init__(params, defaults | {"line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to max_iter iterations; returns the loss before the first."""
        with no_grad():
            return self._minimize(enable_grad()(closure))

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, search = float(group["lr"]), group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        memory = self.state[group["params"][0]]
        memory.setdefault("func_evals", 0)
        memory.setdefault("n_iter", 0)
        first_loss = closure()
        loss = float(first_loss)
        memory["func_evals"] += 1
        evaluations = 1
        gradient = self._flat_gradient()
        if gradient.abs().max() <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            memory["n_iter"] += 1
            direction = self._direction(memory, gradient, group["history_size"])
            if memory.get("prev_flat_grad") is None:
                memory["prev_flat_grad"] = gradient.clone()
            else:
                memory["prev_flat_grad"].copy_(gradient)
            memory["prev_loss"] = loss
            t: Any = min(1.0, 1.0 / gradient.abs().sum()) * lr if memory["n_iter"] == 1 else lr
            memory["t"] = t
            slope = gradient.dot(direction)
            if slope > -group["tolerance_change"]:
                break
            new_evaluations = 0
            if search is not None:
                start = [p.clone() for p in group["params"]]

                def at(t: Any, start: list = start, direction: Tensor = direction) -> tuple[float, Tensor]:
                    self._move(t, direction)
                    value = float(closure())
                    found = self._flat_gradient()
                    for p, old in zip(group["params"], start, strict=True):
                        p.copy_(old)
                    return value, found

                most = group["max_eval"] - evaluations
                loss, gradient, t, new_evaluations = _strong_wolfe(at, t, direction, loss, gradient, slope, most)
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != group["max_iter"]:  # the last gradient would not be used
                    loss = float(closure())
                    gradient = self._flat_gradient()
                    new_evaluations = 1
            memory["t"] = t
            evaluations += new_evaluations
            memory["func_evals"] += new_evaluations
            if (
                evaluations >= group["max_eval"]
                or gradient.abs().max() <= group["tolerance_grad"]
                or (direction * t).abs().max() <= group["tolerance_change"]
                or abs(loss - memory["prev_loss"]) < group["tolerance_change"]
            ):
                break
        return first_loss

    def _direction(self, memory: dict[str, Any], gradient: Tensor, history: int) -> Tensor:
        """The inverse Hessian, as remembered, times -gradient; remembers the last step."""
        if memory["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            memory["d"] = -gradient
            return memory["d"]
        y, s = gradient - memory["prev_flat_grad"], memory["d"] * memory["t"]
        changes, steps, inverses = memory["old_dirs"], memory["old_stps"], memory["ro"]
        product = y.dot(s)
        if product > 1e-10:
            if len(changes) == history:
                for past in (changes, steps, inverses):
                    past.pop(0)
            changes.append(y)
            steps.append(s)
            inverses.append(1.0 / product)
            memory["H_diag"] = product / y.dot(y)
        weights = memory.setdefault("al", [None] * history)
        direction = -gradient
        for i in reversed(range(len(changes))):
            weights[i] = steps[i].dot(direction) * inverses[i]
            direction = direction - changes[i] * weights[i]
        direction = direction * memory["H_diag"]
        for i in range(len(changes)):
            direction = direction + steps[i] * (weights[i] - changes[i].dot(direction) * inverses[i])
        memory["d"] = direction
        return direction

    def _flat_gradient(self) -> Tensor:
        parts = [ops.zeros_like(p) if p.grad is None else p.grad for p in self._parameters()]
        return ops.cat([as_parts(part).reshape(-1) for part in parts])

    def _move(self, t: Any, direction: Tensor) -> None:
        """Every parameter += t * its part of `direction`."""
        offset = 0
        for p in map(as_parts, self._parameters()):
            p.copy_(p + direction[offset : offset + p.numel()].reshape(p.shape) * t)
            offset += p.numel()


def _strong_wolfe(
    at: Callable[[Any], tuple[float, Tensor]], t: Any, d: Tensor, f: float, g: Tensor, slope: Any, most: int
) -> tuple[float, Tensor, Any, int]:
    """A step length that meets the strong Wolfe conditions: (loss, gradient, length, evaluations).

    A point is (t, loss, gradient, slope). First the step grows until a bracket holds a good point; then the bracket is
    narrowed by cubic interpolation.
    """
    sufficient, curvature, least_change = 1e-4, 0.9, 1e-9
    largest = d.abs().max()

    def point(t: Any) -> tuple[Any, float, Tensor, Any]:
        value, gradient = at(t)
        return t, value, gradient, gradient.dot(d)

    before = (0, f, g, slope)
    here = point(t)
    evaluations, rounds, done = 1, 0, False
    bracket = None
    while rounds < most:
        if here[1] > f + sufficient * here[0] * slope or (rounds > 1 and here[1] >= before[1]):
            bracket = [before, here]
            break
        if abs(here[3]) <= -curvature * slope:
            bracket, done = [here, here], True
            break
        if here[3] >= 0:
            bracket = [before, here]
            break
        t = here[0]
        bounds = (t + 0.01 * (t - before[0]), t * 10)
        t = _cubic_minimum(before, here, bounds)
        before, here = here, point(t)
        evaluations += 1
        rounds += 1
    if bracket is None:
        bracket = [(0, f, g, slope), here]
    stuck = False
    low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
    while not done and rounds < most:
        ends = bracket[0][0], bracket[1][0]
        if abs(ends[1] - ends[0]) * largest < least_change:
            break
        t = _cubic_minimum(bracket[0], bracket[1], None)
        margin = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < margin:  # too near an end: twice in a row is too little progress
            if stuck or t >= max(ends) or t <= min(ends):
                t = max(ends) - margin if abs(t - max(ends)) < abs(t - min(ends)) else min(ends) + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        here = point(t)
        evaluations += 1
        rounds += 1
        if here[1] > f + sufficient * t * slope or here[1] >= bracket[low][1]:
            bracket[high] = here
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(here[3]) <= -curvature * slope:
                done = True
            elif here[3] * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = here
    t, value, gradient, _ = bracket[low]
    return value, gradient, t, evaluations


def _cubic_minimum(a: tuple, b: tuple, bounds: tuple | None) -> Any:
    """Where the cubic through two points with their slopes is least, within `bounds` or between the points."""
    (x1, f1, _, g1), (x2, f2, _, g2) = a, b
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (low + high) / 2
    root = square.sqrt()
    if x1 <= x2:
        least = x2 - (x2 - x1) * ((g2 + root - d1) / (g2 - g1 + 2 * root))
    else:
        least = x1 - (x1 - x2) * ((g1 + root - d1) / (g1 - g2 + 2 * root))
    return min(max(least, low), high)
