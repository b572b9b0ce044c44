"""Derivatives of the primitives, by family. Importing this package fills `VJPS`."""

from . import (
    alignment,
    complex_numbers,
    contraction,
    custom,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    movement,
    reduction,
    special,
    undifferentiable,
)  # fmt: skip

__all__ = [
    "alignment", "complex_numbers", "contraction", "custom", "elementwise", "fourier", "indexing", "linear_algebra",
    "movement", "reduction", "special", "undifferentiable",
]  # fmt: skip
