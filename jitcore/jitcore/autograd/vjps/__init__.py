"""Derivatives of the primitives, by family. Importing this package fills `VJPS`."""

from . import contraction, elementwise, indexing, movement, reduction, undifferentiable

__all__ = ["contraction", "elementwise", "indexing", "movement", "reduction", "undifferentiable"]
