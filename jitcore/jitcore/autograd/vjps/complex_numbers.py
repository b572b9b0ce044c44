"""Derivatives of complex numbers' parts.

The gradient of a real loss L in z = x + yj is dL/dx + dL/dy * j, PyTorch's convention. So a function with the complex
derivative f' has the rule g * conj(f'), here and in the other files; where an operand is real, the engine keeps the
real part of what a rule gives.
"""

from __future__ import annotations

from jitcore_ir import ops

from ...dispatch import apply
from ...promotion import as_operand
from ...tensor import Tensor
from ..rules import vjp


def _imaginary(g: Tensor) -> Tensor:
    return apply(ops.MAKE_COMPLEX, (as_operand(0, g.dtype), g))


vjp(ops.MAKE_COMPLEX, real=lambda g: g, imag=lambda g: apply(ops.IMAG, (g,)))
vjp(ops.CONJ, x=lambda g: g.conj())
vjp(ops.REAL, x=lambda g: g)
vjp(ops.IMAG, x=_imaginary)
vjp(ops.VIEW_AS_REAL, x=lambda g: apply(ops.VIEW_AS_COMPLEX, (g,)))
vjp(ops.VIEW_AS_COMPLEX, x=lambda g: apply(ops.VIEW_AS_REAL, (g,)))
