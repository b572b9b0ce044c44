"""Discrete Fourier transforms. `norm` says what divides by the number of elements N: "backward" the inverse transform,
"forward" the forward one, "ortho" both by its root."""

from __future__ import annotations

from ..assumptions import at_least, equal
from ..dtypes import COMPLEX, float32, float64
from ..errors import AttributeValueError, ShapeError
from ..shapes import Dim, add, floordiv
from ..spec import Kind
from ..types import TensorType
from .complex_numbers import COMPLEX_OF_PART, PART
from .rules import check_axes, check_axis, check_dtype, op

__all__ = ["FFT", "IRFFT", "RFFT"]

NORMS = ("backward", "ortho", "forward")


@op(
    "fft", ("x",), {"axes": Kind.INTS, "inverse": Kind.BOOL, "norm": Kind.STRING},
    "The transform of complex x along axes, or its inverse.",
)  # fmt: skip
def FFT(x: TensorType, axes: tuple[int, ...], inverse: bool, norm: str) -> TensorType:
    check_dtype("fft", "x", x.dtype, COMPLEX)
    check_axes("fft", axes, x.rank)
    _check_norm("fft", norm)
    _not_empty("fft", [x.shape[a] for a in axes])
    return x


@op("rfft", ("x",), {"axis": Kind.INT, "norm": Kind.STRING}, "The first n // 2 + 1 elements of a real x's transform.")
def RFFT(x: TensorType, axis: int, norm: str) -> TensorType:
    check_dtype("rfft", "x", x.dtype, (float32, float64))
    check_axis("rfft", axis, x.rank)
    _check_norm("rfft", norm)
    n = x.shape[axis]
    _not_empty("rfft", [n])
    return TensorType(COMPLEX_OF_PART[x.dtype], (*x.shape[:axis], add(floordiv(n, 2), 1), *x.shape[axis + 1 :]))


@op(
    "irfft", ("x",), {"axis": Kind.INT, "n": Kind.DIM, "norm": Kind.STRING},
    "The n real numbers whose rfft is x [n // 2 + 1 along axis].",
)  # fmt: skip
def IRFFT(x: TensorType, axis: int, n: Dim, norm: str) -> TensorType:
    check_dtype("irfft", "x", x.dtype, COMPLEX)
    check_axis("irfft", axis, x.rank)
    _check_norm("irfft", norm)
    _not_empty("irfft", [n])
    if not equal(x.shape[axis], add(floordiv(n, 2), 1)):
        raise ShapeError(f"irfft: axis {axis} of {x} does not have size {n} // 2 + 1")
    return TensorType(PART[x.dtype], (*x.shape[:axis], n, *x.shape[axis + 1 :]))


def _check_norm(name: str, norm: str) -> None:
    if norm not in NORMS:
        raise AttributeValueError(f"{name}: norm is {norm!r}; it may be {', '.join(NORMS)}")


def _not_empty(name: str, sizes: list[Dim]) -> None:
    for n in sizes:
        if not at_least(n, 1):
            raise ShapeError(f"{name}: invalid number of data points ({n}) specified")
