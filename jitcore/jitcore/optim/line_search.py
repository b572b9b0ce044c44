"""A line search for the strong Wolfe conditions: Nocedal and Wright, "Numerical optimization", 2006, algorithms 3.5 and
3.6, with cubic interpolation (equation 3.59) and safeguards that keep the bracket shrinking."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..tensor import Tensor

SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9
MOST_TRIALS = 25


@dataclass(frozen=True, slots=True)
class Point:
    """A step length with the loss, the gradient and the slope along the direction there."""

    step: float
    loss: float
    gradient: Tensor
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, step: float, size: float, tolerance: float = 1e-9
) -> tuple[Point, int]:
    """The point found and how often the function was evaluated.

    `evaluate` gives the point at a step length, `start` is the one at 0, `step` the first trial, `size` the direction's
    largest element, and `tolerance` the change of an element below which the search ends.
    """
    before, point, trials, evaluations = start, evaluate(step), 0, 1
    bracket: list[Point] = []
    while trials < MOST_TRIALS:
        if _too_high(point, start) or (trials > 1 and point.loss >= before.loss):
            bracket = [before, point]
            break
        if abs(point.slope) <= -CURVATURE * start.slope:
            return point, evaluations
        if point.slope >= 0:
            bracket = [before, point]
            break
        least, most = point.step + 0.01 * (point.step - before.step), point.step * 10
        following = evaluate(interpolate(before, point, (least, most)))
        before, point = point, following
        trials += 1
        evaluations += 1
    else:
        bracket = [start, point]
    return _narrow(evaluate, bracket, start, size, tolerance, trials, evaluations)


def _narrow(
    evaluate: Callable[[float], Point],
    bracket: list[Point],
    start: Point,
    size: float,
    tolerance: float,
    trials: int,
    evaluations: int,
) -> tuple[Point, int]:
    """Shrink a bracket that holds a suitable point."""
    stuck = done = False
    low, high = _order(bracket)
    while not done and trials < MOST_TRIALS:
        left, right = sorted((bracket[0].step, bracket[1].step))
        if (right - left) * size < tolerance:
            break
        step = interpolate(bracket[0], bracket[1])
        margin = 0.1 * (right - left)
        if min(right - step, step - left) < margin:  # too near an end: move off it the second time
            if stuck or step >= right or step <= left:
                step = right - margin if abs(step - right) < abs(step - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = evaluate(step)
        trials += 1
        evaluations += 1
        if _too_high(point, start) or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = _order(bracket)
            continue
        if abs(point.slope) <= -CURVATURE * start.slope:
            done = True
        elif point.slope * (bracket[high].step - bracket[low].step) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = point
    return bracket[low], evaluations


def _too_high(point: Point, start: Point) -> bool:
    return point.loss > start.loss + SUFFICIENT_DECREASE * point.step * start.slope


def _order(bracket: list[Point]) -> tuple[int, int]:
    return (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)


def interpolate(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within the bounds (default: between them)."""
    left, right = bounds or (min(a.step, b.step), max(a.step, b.step))
    if a.step > b.step:
        a, b = b, a
    inner = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = inner * inner - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2
    root = math.sqrt(square)
    place = b.step - (b.step - a.step) * ((b.slope + root - inner) / (b.slope - a.slope + 2 * root))
    return min(max(place, left), right)
