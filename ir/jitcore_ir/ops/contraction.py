"""Matrix products and convolutions. Sums run in the accumulator dtype (float32 for 16-bit floats)."""

from __future__ import annotations

from ..assumptions import equal, equal_shapes
from ..dtypes import BOOL, NUMERIC
from ..errors import AttributeValueError, DTypeError, ShapeError
from ..shapes import Expr, add, mul
from ..spec import Kind
from ..types import TensorType
from .movement import window_counts
from .rules import check_dtype, op, show

__all__ = ["DOT", "CONV", "CONV_TRANSPOSE", "CONV_WEIGHT_GRADIENT"]

Dims = tuple[int | Expr, ...]
Pairs = tuple[tuple[int, int], ...]
_CONV = {"stride": Kind.INTS, "padding": Kind.PAIRS, "dilation": Kind.INTS, "groups": Kind.INT}


@op("dot", ("x", "y"), {}, "Matrix product [*B, M, K] x [*B, K, N] -> [*B, M, N]; the batch dimensions are equal.")
def DOT(x: TensorType, y: TensorType) -> TensorType:
    check_dtype("dot", "x", x.dtype, NUMERIC + BOOL)
    if x.dtype is not y.dtype:
        raise DTypeError(f"dot: x is {x.dtype.name} but y is {y.dtype.name}")
    if x.rank < 2 or y.rank != x.rank or not equal_shapes((*x.shape[:-2], x.shape[-1]), y.shape[:-1]):
        raise ShapeError(f"dot: shapes {show(x.shape)} and {show(y.shape)} do not multiply")
    return TensorType(x.dtype, (*x.shape[:-1], y.shape[-1]))


@op(
    "conv",
    ("x", "weight"),
    _CONV,
    "Cross-correlation of x [N, C, S...] with weight [O, C / groups, K...] -> [N, O, ...].",
)
def CONV(x: TensorType, weight: TensorType, stride: tuple, padding: Pairs, dilation: tuple, groups: int) -> TensorType:
    _check_conv("conv", x, weight, stride, padding, dilation, groups)
    if not equal(x.shape[1], mul(weight.shape[1], groups)):
        raise ShapeError(
            f"conv: input has {x.shape[1]} channels but weight expects {mul(weight.shape[1], groups)} "
            f"(weight shape {show(weight.shape)}, groups {groups})"
        )
    if isinstance(weight.shape[0], int) and weight.shape[0] % groups:
        raise ShapeError(f"conv: {weight.shape[0]} output channels do not divide into {groups} groups")
    counts = _counts("conv", x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return TensorType(x.dtype, (x.shape[0], weight.shape[0], *counts))


@op(
    "conv_transpose",
    ("x", "weight"),
    {**_CONV, "spatial": Kind.DIMS},
    """The adjoint of conv in its input: x [N, O, ...], weight [O, C / groups, K...] -> [N, C, S...] with S = spatial,
    the size that conv with these attributes would have read.""",
)
def CONV_TRANSPOSE(
    x: TensorType, weight: TensorType, stride: tuple, padding: Pairs, dilation: tuple, groups: int, spatial: Dims
) -> TensorType:
    _check_conv("conv_transpose", x, weight, stride, padding, dilation, groups)
    if not equal(x.shape[1], weight.shape[0]):
        raise ShapeError(f"conv_transpose: input has {x.shape[1]} channels but weight expects {weight.shape[0]}")
    counts = _counts("conv_transpose", spatial, weight.shape[2:], stride, padding, dilation)
    if not equal_shapes(counts, x.shape[2:]):
        raise ShapeError(
            f"conv_transpose: spatial {show(spatial)} would give {show(counts)}, not x's {show(x.shape[2:])}"
        )
    return TensorType(x.dtype, (x.shape[0], mul(weight.shape[1], groups), *spatial))


@op(
    "conv_weight_gradient",
    ("x", "y"),
    {**_CONV, "kernel": Kind.INTS},
    "The adjoint of conv in its weight: x [N, C, S...], y [N, O, ...] -> [O, C / groups, *kernel].",
)
def CONV_WEIGHT_GRADIENT(
    x: TensorType, y: TensorType, stride: tuple, padding: Pairs, dilation: tuple, groups: int, kernel: tuple[int, ...]
) -> TensorType:
    _check_conv("conv_weight_gradient", x, y, stride, padding, dilation, groups)
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % groups:
        raise ShapeError(f"conv_weight_gradient: {channels} channels do not divide into {groups} groups")
    counts = _counts("conv_weight_gradient", x.shape[2:], kernel, stride, padding, dilation)
    if not equal_shapes((x.shape[0], *counts), (y.shape[0], *y.shape[2:])):
        raise ShapeError(f"conv_weight_gradient: {x} and {y} do not belong together")
    return TensorType(x.dtype, (y.shape[1], channels // groups, *kernel))


def _check_conv(
    name: str, x: TensorType, y: TensorType, stride: tuple, padding: Pairs, dilation: tuple, groups: int
) -> None:
    check_dtype(name, "x", x.dtype, NUMERIC)
    if x.dtype is not y.dtype:
        raise DTypeError(f"{name}: operands are {x.dtype.name} and {y.dtype.name}")
    if x.rank < 3 or x.rank != y.rank:
        raise ShapeError(f"{name}: shapes {show(x.shape)} and {show(y.shape)} are not [N, C, S...] and [O, C, K...]")
    if not len(stride) == len(padding) == len(dilation) == x.rank - 2:
        raise AttributeValueError(f"{name}: stride, padding and dilation need {x.rank - 2} entries each")
    if any(low < 0 or high < 0 for low, high in padding):
        raise AttributeValueError(f"{name}: padding {padding} is negative")
    if groups < 1:
        raise AttributeValueError(f"{name}: groups is {groups}; it must be 1 or more")


def _counts(name: str, spatial: Dims, kernel: Dims, stride: tuple, padding: Pairs, dilation: tuple) -> Dims:
    padded = tuple(add(s, low + high) for s, (low, high) in zip(spatial, padding, strict=True))
    return window_counts(name, padded, kernel, stride, dilation)
