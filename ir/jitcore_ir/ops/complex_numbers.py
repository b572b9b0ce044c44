"""Complex numbers and their parts. Element i of a complex array lies in memory as real part, imaginary part."""

from __future__ import annotations

from ..dtypes import COMPLEX, DType, complex64, complex128, float32, float64
from ..errors import DTypeError, ShapeError
from ..spec import Trait
from ..types import TensorType
from .rules import broadcast_shapes, check_dtype, elementwise, op

__all__ = ["CONJ", "IMAG", "MAKE_COMPLEX", "PART", "REAL", "VIEW_AS_COMPLEX", "VIEW_AS_REAL"]

PART: dict[DType, DType] = {complex64: float32, complex128: float64}
"""The dtype of the parts of a complex number."""

COMPLEX_OF_PART: dict[DType, DType] = {part: whole for whole, part in PART.items()}


@op("make_complex", ("real", "imag"), {}, "real + imag * j.", Trait.ELEMENTWISE)
def MAKE_COMPLEX(real: TensorType, imag: TensorType) -> TensorType:
    check_dtype("make_complex", "real", real.dtype, tuple(COMPLEX_OF_PART))
    if imag.dtype is not real.dtype:
        raise DTypeError(f"make_complex: real is {real.dtype.name} but imag is {imag.dtype.name}")
    return TensorType(COMPLEX_OF_PART[real.dtype], broadcast_shapes("make_complex", (real.shape, imag.shape)))


CONJ = elementwise("conj", ("x",), COMPLEX, "x with the sign of its imaginary part changed.")


@op("real", ("x",), {}, "The real part of a complex x.", Trait.VIEW)
def REAL(x: TensorType) -> TensorType:
    return _part("real", x)


@op("imag", ("x",), {}, "The imaginary part of a complex x.", Trait.VIEW)
def IMAG(x: TensorType) -> TensorType:
    return _part("imag", x)


def _part(name: str, x: TensorType) -> TensorType:
    check_dtype(name, "x", x.dtype, COMPLEX)
    return TensorType(PART[x.dtype], x.shape)


@op("view_as_real", ("x",), {}, "The parts of a complex x along a new last axis of size 2.", Trait.VIEW)
def VIEW_AS_REAL(x: TensorType) -> TensorType:
    check_dtype("view_as_real", "x", x.dtype, COMPLEX)
    return TensorType(PART[x.dtype], (*x.shape, 2))


@op("view_as_complex", ("x",), {}, "The complex numbers whose parts lie along the last axis of x.", Trait.VIEW)
def VIEW_AS_COMPLEX(x: TensorType) -> TensorType:
    check_dtype("view_as_complex", "x", x.dtype, tuple(COMPLEX_OF_PART))
    if not x.rank or x.shape[-1] != 2:
        raise ShapeError(f"view_as_complex: the last axis of {x} must have size 2: real and imaginary part")
    return TensorType(COMPLEX_OF_PART[x.dtype], x.shape[:-1])
