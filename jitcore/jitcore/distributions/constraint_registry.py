"""`biject_to` and `transform_to`: for a constraint, a transform of all real numbers to the values it allows.

`biject_to` gives one-to-one transforms (for sampling in the unconstrained space), `transform_to` ones that are good to
optimize through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import constraints, transforms, vector_transforms
from .constraints import Constraint
from .transforms import Transform


class ConstraintRegistry:
    """A table from classes of constraints to functions that make a transform of one."""

    def __init__(self) -> None:
        self._registry: dict[type[Constraint], Callable[[Any], Transform]] = {}

    def register(self, constraint: Any, factory: Callable | None = None) -> Any:
        """Add a function for a constraint's class, given as such or by an instance; also a decorator."""
        if factory is None:
            return lambda function: self.register(constraint, function)
        kind = type(constraint) if isinstance(constraint, Constraint) else constraint
        if not isinstance(kind, type) or not issubclass(kind, Constraint):
            raise TypeError(f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}")
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Constraint) -> Transform:
        """The transform for a constraint. Raises NotImplementedError where there is none."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _interval(c: Any) -> Transform:
    bounds = c.lower_bound, c.upper_bound
    if all(isinstance(bound, int | float) for bound in bounds) and bounds == (0, 1):
        return transforms.SigmoidTransform()
    moved = transforms.AffineTransform(c.lower_bound, c.upper_bound - c.lower_bound)
    return transforms.ComposeTransform([transforms.SigmoidTransform(), moved])


def _beyond(bound: str, sign: int) -> Callable[[Any], Transform]:
    return lambda c: transforms.ComposeTransform(
        [transforms.ExpTransform(), transforms.AffineTransform(getattr(c, bound), sign)]
    )


def _register_both(to: ConstraintRegistry) -> None:
    """What the two registries share; those of parts ask the registry itself."""

    def independent(c: Any) -> Transform:
        return transforms.IndependentTransform(to(c.base_constraint), c.reinterpreted_batch_ndims)

    def cat(c: Any) -> Transform:
        return vector_transforms.CatTransform([to(part) for part in c.cseq], c.dim, c.lengths)

    def stack(c: Any) -> Transform:
        return vector_transforms.StackTransform([to(part) for part in c.cseq], c.dim)

    to.register(constraints.real, lambda c: transforms.identity_transform)
    to.register(constraints.independent, independent)
    to.register(constraints.greater_than, _beyond("lower_bound", 1))
    to.register(constraints.greater_than_eq, _beyond("lower_bound", 1))
    to.register(constraints.less_than, _beyond("upper_bound", -1))
    to.register(constraints.interval, _interval)
    to.register(constraints.half_open_interval, _interval)
    to.register(constraints.corr_cholesky, lambda c: vector_transforms.CorrCholeskyTransform())
    to.register(constraints.cat, cat)
    to.register(constraints.stack, stack)


_register_both(biject_to)
_register_both(transform_to)
biject_to.register(constraints.simplex, lambda c: vector_transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda c: transforms.SoftmaxTransform())
transform_to.register(constraints.lower_cholesky, lambda c: vector_transforms.LowerCholeskyTransform())
transform_to.register(constraints.positive_definite, lambda c: vector_transforms.PositiveDefiniteTransform())
transform_to.register(constraints.positive_semidefinite, lambda c: vector_transforms.PositiveDefiniteTransform())

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]
