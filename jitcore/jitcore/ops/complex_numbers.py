"""Complex tensors: made from parts, seen as parts, conjugates, angles. `conj` computes; real, imag and the views share
memory with what they are taken of."""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import bool_
from jitcore_ir.ops.complex_numbers import COMPLEX_OF_PART

from ..dispatch import NONE, apply
from ..promotion import as_operand, promoted
from ..tensor import Tensor, method
from .creation import ones_like
from .elementwise import sign
from .inplace import with_inplace


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """real + imag * j, of two float32 or two float64 tensors. Raises RuntimeError for other or unequal dtypes."""
    _check_parts("complex", real, imag)
    return apply(ops.MAKE_COMPLEX, (real, imag), NONE)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """abs * (cos(angle) + sin(angle) * j)."""
    _check_parts("polar", abs, angle)
    return apply(ops.MAKE_COMPLEX, (abs * angle.cos(), abs * angle.sin()), NONE)


def _check_parts(name: str, a: Tensor, b: Tensor) -> None:
    if a.dtype not in COMPLEX_OF_PART or b.dtype not in COMPLEX_OF_PART:
        raise RuntimeError(
            f"{name}: expected both inputs to be float32 or float64 tensors but got {a.dtype.name} and {b.dtype.name}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{name}: expected inputs of one dtype but got {a.dtype.name} and {b.dtype.name}")


@method
def view_as_real(input: Tensor) -> Tensor:
    """[*shape, 2] of the real and imaginary parts; a view. Raises RuntimeError for a tensor that is not complex."""
    if not input.dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return apply(ops.VIEW_AS_REAL, (input,), NONE)


@method
def view_as_complex(input: Tensor) -> Tensor:
    """The complex numbers whose parts lie along the last axis; a view.

    Raises RuntimeError for dtypes other than float32 and float64, a last axis that is not of size 2, and memory in
    which the parts of a number do not lie side by side.
    """
    if input.dtype not in COMPLEX_OF_PART:
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: "
            f"{input.dtype.name}"
        )
    array = input._array
    if not array.ndim:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if array.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if array.strides[-1] != array.itemsize:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % (2 * array.itemsize) for s, n in zip(array.strides, array.shape[:-1]) if n > 1):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    return apply(ops.VIEW_AS_COMPLEX, (input,), NONE)


@method
def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed at once."""
    return False


@method
def is_neg(input: Tensor) -> bool:
    """False: negatives are computed at once."""
    return False


@method
def conj(input: Tensor) -> Tensor:
    """The complex conjugate; input itself where it is real."""
    return apply(ops.CONJ, (input,), NONE) if input._array.dtype.kind == "c" else input


@with_inplace
@method
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate in memory of its own."""
    return apply(ops.CONJ if input._array.dtype.kind == "c" else ops.COPY, (input,), NONE)


@method
def resolve_conj(input: Tensor) -> Tensor:
    """input itself: conjugates are computed at once."""
    return input


@method
def resolve_neg(input: Tensor) -> Tensor:
    """input itself."""
    return input


@method
def adjoint(input: Tensor) -> Tensor:
    """The conjugate of input with its last two dimensions swapped."""
    return conj(input).transpose(-2, -1)


def _real(input: Tensor) -> Tensor:
    """The real part, a view; input itself where it is real."""
    return apply(ops.REAL, (input,), NONE) if input._array.dtype.kind == "c" else input


def _set_real(input: Tensor, value: Any) -> None:
    _real(input).copy_(value)


def _imag(input: Tensor) -> Tensor:
    """The imaginary part, a view. Raises RuntimeError for a real tensor."""
    if input._array.dtype.kind != "c":
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return apply(ops.IMAG, (input,), NONE)


def _set_imag(input: Tensor, value: Any) -> None:
    _imag(input).copy_(value)


def real(input: Tensor) -> Tensor:
    """The real part, a view; input itself where it is real."""
    return _real(input)


def imag(input: Tensor) -> Tensor:
    """The imaginary part, a view. Raises RuntimeError for a real tensor."""
    return _imag(input)


def _conjugate_transpose(input: Tensor) -> Tensor:
    """The conjugate transpose of a matrix; a number's conjugate."""
    if input._array.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {input._array.ndim}-D tensor.")
    return adjoint(input) if input._array.ndim else conj(input)


def _batched_conjugate_transpose(input: Tensor) -> Tensor:
    """The conjugate transposes of a batch of matrices."""
    if input._array.ndim < 2:
        raise RuntimeError(
            f"tensor.mH is only supported on matrices or batches of matrices. Got {input._array.ndim}-D tensor."
        )
    return adjoint(input)


Tensor.real = property(_real, _set_real)  # type: ignore[attr-defined]
Tensor.imag = property(_imag, _set_imag)  # type: ignore[attr-defined]
Tensor.H = property(_conjugate_transpose)  # type: ignore[attr-defined]
Tensor.mH = property(_batched_conjugate_transpose)  # type: ignore[attr-defined]


@method
def isreal(input: Tensor) -> Tensor:
    """True where the imaginary part is 0; everywhere for a real tensor."""
    if input._array.dtype.kind == "c":
        return _imag(input) == 0
    return ones_like(input, dtype=bool_)


@method
def angle(input: Tensor) -> Tensor:
    """The angle of each number in radians: of real ones pi below 0, else 0, and NaN for NaN."""
    if input._array.dtype.kind == "c":
        found = apply(ops.ATAN2, (_imag(input), _real(input)), NONE)
        if not input.requires_grad:
            return found
        zero = input == 0  # where the slope of the angle would be infinite; it counts as 0
        safe = apply(ops.WHERE, (zero, as_operand(1, input.dtype), input), NONE)
        return apply(ops.WHERE, (zero, found.detach(), apply(ops.ATAN2, (_imag(safe), _real(safe)), NONE)), NONE)
    x = promoted((input,), to_float=True)[0]
    zero, half_turn = as_operand(0, x.dtype), as_operand(math.pi, x.dtype)
    turned = apply(ops.WHERE, (x < 0, half_turn, zero), NONE)
    return apply(ops.WHERE, (apply(ops.ISNAN, (x,), NONE), x, turned), NONE)


@with_inplace
@method
def sgn(input: Tensor) -> Tensor:
    """input / |input|, 0 at 0; the sign of a real number."""
    if input._array.dtype.kind != "c":
        return sign(input)
    size = input.abs()
    zero = size == 0
    size = apply(ops.WHERE, (zero, as_operand(1, size.dtype), size), NONE)
    return apply(ops.WHERE, (zero, as_operand(0, input.dtype), input / size), NONE)


def squared_size(x: Tensor) -> Tensor:
    """|x| ** 2, real."""
    if x._array.dtype.kind != "c":
        return apply(ops.MUL, (x, x), NONE)
    real, imag = _real(x), _imag(x)
    return apply(ops.ADD, (apply(ops.MUL, (real, real), NONE), apply(ops.MUL, (imag, imag), NONE)), NONE)
