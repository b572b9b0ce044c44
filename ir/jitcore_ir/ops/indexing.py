"""Reading and writing at positions held in an int64 tensor: 0 <= position < size, or an IndexError when run."""

from __future__ import annotations

from ..assumptions import at_least, equal_shapes
from ..dtypes import int64
from ..errors import AttributeValueError, DTypeError, ShapeError
from ..spec import Kind
from ..types import TensorType
from .rules import check_axis, op, show

__all__ = ["TAKE", "PUT", "GATHER", "SCATTER", "SCATTER_REDUCE"]

MODES = ("set", "add")


def _check_indices(name: str, x: TensorType, indices: TensorType, axis: int) -> None:
    check_axis(name, axis, x.rank)
    if indices.dtype is not int64:
        raise DTypeError(f"{name}: indices are {indices.dtype.name}, not int64")


def _check_updates(name: str, x: TensorType, updates: TensorType, shape: tuple, mode: str) -> None:
    if mode not in MODES:
        raise AttributeValueError(f"{name}: mode {mode!r} is not one of {MODES}")
    if updates.dtype is not x.dtype:
        raise DTypeError(f"{name}: x is {x.dtype.name} but updates are {updates.dtype.name}")
    if not equal_shapes(updates.shape, shape):
        raise ShapeError(f"{name}: updates have shape {show(updates.shape)}, expected {show(shape)}")


@op("take", ("x", "indices"), {"axis": Kind.INT}, "x's slices at indices along axis, whose place indices' shape takes.")
def TAKE(x: TensorType, indices: TensorType, axis: int) -> TensorType:
    _check_indices("take", x, indices, axis)
    return TensorType(x.dtype, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@op(
    "put",
    ("x", "indices", "updates"),
    {"axis": Kind.INT, "mode": Kind.STRING},
    """x with the slices that take(indices) names set to updates (`set`; the last of several writes to one place
    wins) or increased by them (`add`; in row-major order of indices).""",
)
def PUT(x: TensorType, indices: TensorType, updates: TensorType, axis: int, mode: str) -> TensorType:
    _check_indices("put", x, indices, axis)
    _check_updates("put", x, updates, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), mode)
    return x


def _check_along(name: str, x: TensorType, indices: TensorType, axis: int) -> None:
    _check_indices(name, x, indices, axis)
    fits = indices.rank == x.rank and all(
        a == axis or at_least(d, i) for a, (d, i) in enumerate(zip(x.shape, indices.shape, strict=True))
    )
    if not fits:
        raise ShapeError(
            f"{name}: indices of shape {show(indices.shape)} do not fit x of shape {show(x.shape)} off axis {axis}"
        )


@op("gather", ("x", "indices"), {"axis": Kind.INT}, "result[.., p, ..] = x[.., indices[.., p, ..], ..] along axis.")
def GATHER(x: TensorType, indices: TensorType, axis: int) -> TensorType:
    _check_along("gather", x, indices, axis)
    return TensorType(x.dtype, indices.shape)


@op(
    "scatter",
    ("x", "indices", "updates"),
    {"axis": Kind.INT, "mode": Kind.STRING},
    "x with the elements that gather(indices) names set to updates or increased by them, as in put.",
)
def SCATTER(x: TensorType, indices: TensorType, updates: TensorType, axis: int, mode: str) -> TensorType:
    _check_along("scatter", x, indices, axis)
    _check_updates("scatter", x, updates, indices.shape, mode)
    return x


REDUCTIONS = ("max", "min", "mul")


@op(
    "scatter_reduce",
    ("x", "indices", "updates"),
    {"axis": Kind.INT, "mode": Kind.STRING},
    """x with the elements that gather(indices) names replaced by the largest, the smallest or the product (`mode` max,
    min, mul) of themselves and all their updates; NaN wins.""",
)
def SCATTER_REDUCE(x: TensorType, indices: TensorType, updates: TensorType, axis: int, mode: str) -> TensorType:
    if mode not in REDUCTIONS:
        raise AttributeValueError(f"scatter_reduce: mode {mode!r} is none of {', '.join(REDUCTIONS)}")
    _check_along("scatter_reduce", x, indices, axis)
    _check_updates("scatter_reduce", x, updates, indices.shape, "set")
    return x
