"""Order and search along axes: positions that sort, that are largest, where a value belongs, what is not zero."""

from __future__ import annotations

from ..assumptions import at_least, equal_shapes
from ..dtypes import BOOL, FLOATING, NUMERIC, REAL, DType, int64
from ..errors import ShapeError
from ..shapes import Expr
from ..spec import Kind
from ..types import TensorType
from .rules import check_axis, check_dtype, op

__all__ = ["ARGSORT", "LOGCUMSUMEXP", "NONZERO", "RUNNING_POSITION", "SEARCHSORTED", "TOP_POSITIONS"]

_ORDERED = REAL + BOOL
_ANY = NUMERIC + BOOL


@op(
    "argsort",
    ("x",),
    {"axis": Kind.INT, "descending": Kind.BOOL},
    "Positions that sort x along axis; equal elements keep their order, NaN counts as largest.",
)
def ARGSORT(x: TensorType, axis: int, descending: bool) -> TensorType:
    check_dtype("argsort", "x", x.dtype, _ORDERED)
    check_axis("argsort", axis, x.rank)
    return TensorType(int64, x.shape)


@op(
    "top_positions",
    ("x",),
    {"axis": Kind.INT, "count": Kind.INT, "largest": Kind.BOOL},
    "Positions of the `count` largest (or smallest) elements along axis, best first; NaN counts as largest.",
)
def TOP_POSITIONS(x: TensorType, axis: int, count: int, largest: bool) -> TensorType:
    check_dtype("top_positions", "x", x.dtype, _ORDERED)
    check_axis("top_positions", axis, x.rank)
    size = x.shape[axis]
    if count < 0 or not at_least(size, count):
        raise ShapeError(f"top_positions: {count} of axis {axis} of {x}")
    return TensorType(int64, (*x.shape[:axis], count, *x.shape[axis + 1 :]))


@op(
    "running_position",
    ("x",),
    {"axis": Kind.INT, "largest": Kind.BOOL},
    "The last position so far along axis of the largest (or smallest) element so far; NaN, once met, stays it.",
)
def RUNNING_POSITION(x: TensorType, axis: int, largest: bool) -> TensorType:
    check_dtype("running_position", "x", x.dtype, _ORDERED)
    check_axis("running_position", axis, x.rank)
    return TensorType(int64, x.shape)


@op("logcumsumexp", ("x",), {"axis": Kind.INT}, "log(cumsum(exp(x))) along axis, without overflow.")
def LOGCUMSUMEXP(x: TensorType, axis: int) -> TensorType:
    check_dtype("logcumsumexp", "x", x.dtype, FLOATING)
    check_axis("logcumsumexp", axis, x.rank)
    return x


@op(
    "searchsorted",
    ("edges", "x"),
    {"right": Kind.BOOL},
    """How many of the sorted edges are below each x (`right`: or equal to it). edges: a vector, or rows [*, n] of the
    same leading dimensions as x [*, m].""",
)
def SEARCHSORTED(edges: TensorType, x: TensorType, right: bool) -> TensorType:
    check_dtype("searchsorted", "edges", edges.dtype, _ORDERED)
    check_dtype("searchsorted", "x", x.dtype, (edges.dtype,))
    if edges.rank == 0 or (edges.rank > 1 and not equal_shapes(edges.shape[:-1], x.shape[:-1])):
        raise ShapeError(f"searchsorted: edges {edges} for {x}")
    return TensorType(int64, x.shape)


@op(
    "nonzero",
    ("x",),
    {"count": Kind.DIM},
    """Positions of nonzero elements in row-major order, [count, rank]: cut off after `count`, or filled with zeros
    where there are fewer.""",
)
def NONZERO(x: TensorType, count: int | Expr) -> TensorType:
    check_dtype("nonzero", "x", x.dtype, _ANY)
    return TensorType(_INT, (count, x.rank))


_INT: DType = int64
