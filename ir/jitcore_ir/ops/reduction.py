"""Operations along axes: reductions, positions of extremes, running sums."""

from __future__ import annotations

from ..assumptions import at_least
from ..dtypes import BOOL, NUMERIC, REAL, int64
from ..errors import ShapeError
from ..spec import Kind, OpSpec, Trait
from ..types import TensorType
from .rules import check_axes, check_axis, check_dtype, op

__all__ = ["SUM", "PROD", "AMAX", "AMIN", "ARGMAX", "ARGMIN", "CUMSUM", "CUMPROD"]

_AXES = {"axes": Kind.INTS, "keepdims": Kind.BOOL}


def _reduction(name: str, dtypes: tuple, doc: str, needs_elements: bool) -> OpSpec:
    def rule(x: TensorType, axes: tuple[int, ...], keepdims: bool) -> TensorType:
        check_dtype(name, "x", x.dtype, dtypes)
        check_axes(name, axes, x.rank)
        if needs_elements and not all(at_least(x.shape[a], 1) for a in axes):
            raise ShapeError(f"{name}: no elements along axes {axes} of {x}, and {name} of nothing has no value")
        return TensorType(x.dtype, reduced_shape(x.shape, axes, keepdims))

    return op(name, ("x",), _AXES, doc, Trait.REDUCTION)(rule)


def reduced_shape(shape: tuple, axes: tuple[int, ...], keepdims: bool) -> tuple:
    """`shape` after reducing `axes`, which stay as 1 where keepdims."""
    if keepdims:
        return tuple(1 if a in axes else d for a, d in enumerate(shape))
    return tuple(d for a, d in enumerate(shape) if a not in axes)


SUM = _reduction("sum", NUMERIC, "Sum along axes; 16-bit floats are added in float32.", False)
PROD = _reduction("prod", NUMERIC, "Product along axes; 16-bit floats are multiplied in float32.", False)
AMAX = _reduction("amax", REAL + BOOL, "Largest along axes (`any` for bool); NaN wins.", True)
AMIN = _reduction("amin", REAL + BOOL, "Smallest along axes (`all` for bool); NaN wins.", True)


def _position(name: str, doc: str) -> OpSpec:
    def rule(x: TensorType, axis: int, keepdims: bool) -> TensorType:
        check_dtype(name, "x", x.dtype, REAL + BOOL)
        check_axis(name, axis, x.rank)
        if not at_least(x.shape[axis], 1):
            raise ShapeError(f"{name}: no elements along axis {axis} of {x}")
        return TensorType(int64, reduced_shape(x.shape, (axis,), keepdims))

    return op(name, ("x",), {"axis": Kind.INT, "keepdims": Kind.BOOL}, doc, Trait.REDUCTION)(rule)


ARGMAX = _position("argmax", "Position of the first largest along axis; the first NaN where there is one.")
ARGMIN = _position("argmin", "Position of the first smallest along axis; the first NaN where there is one.")


def _running(name: str, doc: str) -> OpSpec:
    def rule(x: TensorType, axis: int) -> TensorType:
        check_dtype(name, "x", x.dtype, NUMERIC)
        check_axis(name, axis, x.rank)
        return x

    return op(name, ("x",), {"axis": Kind.INT}, doc)(rule)


CUMSUM = _running("cumsum", "Running sum along axis.")
CUMPROD = _running("cumprod", "Running product along axis.")
