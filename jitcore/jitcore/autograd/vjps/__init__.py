"""Derivatives of the primitives, by family. Importing this package fills `VJPS`."""

from . import complex_numbers, contraction, elementwise, indexing, movement, reduction, undifferentiable

__all__ = ["complex_numbers", "contraction", "elementwise", "indexing", "movement", "reduction", "undifferentiable"]
