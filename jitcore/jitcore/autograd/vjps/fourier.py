"""Derivatives of Fourier transforms, which are linear: a transform's adjoint is the other one, divided as it was."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ...dispatch import apply
from ...promotion import as_operand
from ...tensor import Tensor, shape_of
from ..rules import vjp

_ADJOINT = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The norm with which the other direction divides by the same number."""

vjp(
    ops.FFT,
    x=lambda g, axes, inverse, norm: apply(
        ops.FFT, (g,), {"axes": axes, "inverse": not inverse, "norm": _ADJOINT[norm]}
    ),
)


def _rfft_back(g: Tensor, x_shape: tuple, axis: int, norm: str) -> Tensor:
    """The missing half of the gradient is zero, not the conjugate."""
    rank, n = len(x_shape), x_shape[axis]
    high = [0] * rank
    high[axis] = n - shape_of(g)[axis]
    padded = apply(ops.PAD, (g, as_operand(0, g.dtype)), {"low": (0,) * rank, "high": tuple(high)})
    return apply(ops.REAL, (apply(ops.FFT, (padded,), {"axes": (axis,), "inverse": True, "norm": _ADJOINT[norm]}),))


def _irfft_back(g: Tensor, x_shape: tuple, axis: int, n: Any, norm: str) -> Tensor:
    """Elements that stand for their conjugates too count twice: all but the first and, for even n, the last."""
    gradient = apply(ops.RFFT, (g,), {"axis": axis, "norm": _ADJOINT[norm]})
    shape = [1] * len(x_shape)
    shape[axis] = x_shape[axis]
    place = apply(ops.IOTA, (), {"shape": tuple(shape), "axis": axis, "dtype": int64})
    twice = (place > 0) & (place * 2 < n)
    return gradient * as_operand(as_operand(twice, g.dtype) + 1, gradient.dtype)


vjp(ops.RFFT, x=_rfft_back)
vjp(ops.IRFFT, x=_irfft_back)
