"""Operations that move elements without computing: reshape, permute, slice, pad, windows ..."""

from __future__ import annotations

from ..assumptions import at_least, equal, equal_shapes
from ..errors import AttributeValueError, DTypeError, ShapeError
from ..shapes import Expr, add, floordiv, mul, product, sub
from ..spec import Kind, Trait
from ..types import TensorType
from .rules import broadcast_shapes, check_axes, check_axis, check_sizes, op, show

__all__ = [
    "RESHAPE", "PERMUTE", "BROADCAST_TO", "SLICE", "SLICE_UPDATE", "FLIP", "PAD", "CONCAT", "WINDOWS", "FOLD_WINDOWS",
]  # fmt: skip

Dim = int | Expr
Dims = tuple[Dim, ...]


def _check_rank(name: str, what: str, given: tuple, rank: int) -> None:
    if len(given) != rank:
        raise AttributeValueError(f"{name}: {what} {given} has {len(given)} entries for {rank} dimensions")


@op("reshape", ("x",), {"shape": Kind.DIMS}, "The same elements, row-major, in another shape.", Trait.VIEW)
def RESHAPE(x: TensorType, shape: Dims) -> TensorType:
    if not equal(product(shape), product(x.shape)):
        raise ShapeError(
            f"reshape: shape {show(x.shape)} holds {product(x.shape)} elements, {show(shape)} {product(shape)}"
        )
    check_sizes("reshape", shape)
    return TensorType(x.dtype, tuple(shape))


@op("permute", ("x",), {"permutation": Kind.INTS}, "Result axis i is x's axis permutation[i].", Trait.VIEW)
def PERMUTE(x: TensorType, permutation: tuple[int, ...]) -> TensorType:
    _check_rank("permute", "permutation", permutation, x.rank)
    check_axes("permute", permutation, x.rank)
    return TensorType(x.dtype, tuple(x.shape[p] for p in permutation))


@op("broadcast_to", ("x",), {"shape": Kind.DIMS}, "x stretched to shape by NumPy's rules.", Trait.VIEW)
def BROADCAST_TO(x: TensorType, shape: Dims) -> TensorType:
    if x.rank > len(shape) or not equal_shapes(broadcast_shapes("broadcast_to", (x.shape, shape)), shape):
        raise ShapeError(f"broadcast_to: shape {show(x.shape)} does not stretch to {show(shape)}")
    return TensorType(x.dtype, tuple(shape))


@op(
    "slice",
    ("x",),
    {"starts": Kind.DIMS, "sizes": Kind.DIMS, "steps": Kind.INTS},
    "Elements starts[a] + i * steps[a], i < sizes[a], of every axis a; steps are positive.",
    Trait.VIEW,
)
def SLICE(x: TensorType, starts: Dims, sizes: Dims, steps: tuple[int, ...]) -> TensorType:
    _check_slice("slice", x.shape, starts, sizes, steps)
    return TensorType(x.dtype, tuple(sizes))


@op(
    "slice_update",
    ("x", "update"),
    {"starts": Kind.DIMS, "steps": Kind.INTS},
    "x with the elements that slice(starts, update's shape, steps) names replaced by update.",
)
def SLICE_UPDATE(x: TensorType, update: TensorType, starts: Dims, steps: tuple[int, ...]) -> TensorType:
    _check_slice("slice_update", x.shape, starts, update.shape, steps)
    if x.dtype is not update.dtype:
        raise DTypeError(f"slice_update: x is {x.dtype.name} but update is {update.dtype.name}")
    return x


def _check_slice(name: str, shape: Dims, starts: Dims, sizes: Dims, steps: tuple[int, ...]) -> None:
    for what, given in (("starts", starts), ("sizes", sizes), ("steps", steps)):
        _check_rank(name, what, given, len(shape))
    for axis, (dim, start, size, step) in enumerate(zip(shape, starts, sizes, steps, strict=True)):
        if step < 1 or not at_least(start, 0) or not at_least(size, 0):
            raise AttributeValueError(f"{name}: start {start}, size {size}, step {step} on axis {axis}")
        last = add(start, mul(sub(size, 1), step))
        if size != 0 and not at_least(sub(dim, 1), last):
            raise ShapeError(f"{name}: element {last} of axis {axis} is outside its {dim}")


@op("flip", ("x",), {"axes": Kind.INTS}, "The order of elements reversed along axes.")
def FLIP(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    check_axes("flip", axes, x.rank)
    return x


@op(
    "pad",
    ("x", "value"),
    {"low": Kind.DIMS, "high": Kind.DIMS},
    "low[a] copies of the 0-d value before axis a, high[a] after.",
)
def PAD(x: TensorType, value: TensorType, low: Dims, high: Dims) -> TensorType:
    _check_rank("pad", "low", low, x.rank)
    _check_rank("pad", "high", high, x.rank)
    if value.dtype is not x.dtype:
        raise DTypeError(f"pad: x is {x.dtype.name} but value is {value.dtype.name}")
    if value.shape:
        raise ShapeError(f"pad: value has {value.rank} dimensions, not 0")
    for amount in (*low, *high):
        if not at_least(amount, 0):
            raise AttributeValueError(f"pad: amount {amount} is negative")
    return TensorType(
        x.dtype, tuple(add(add(d, before), after) for d, before, after in zip(x.shape, low, high, strict=True))
    )


@op("concat", ("*xs",), {"axis": Kind.INT}, "Tensors joined along axis.")
def CONCAT(*xs: TensorType, axis: int) -> TensorType:
    if not xs:
        raise ShapeError("concat: nothing to join")
    first = xs[0]
    check_axis("concat", axis, first.rank)
    total: Dim = 0
    for x in xs:
        if x.dtype is not first.dtype:
            raise DTypeError(f"concat: the first tensor is {first.dtype.name} but another is {x.dtype.name}")
        same = equal_shapes(x.shape[:axis] + x.shape[axis + 1 :], first.shape[:axis] + first.shape[axis + 1 :])
        if x.rank != first.rank or not same:
            raise ShapeError(f"concat: {x} does not join {first} along axis {axis}")
        total = add(total, x.shape[axis])
    return TensorType(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


@op(
    "windows",
    ("x",),
    {"window": Kind.INTS, "stride": Kind.INTS, "dilation": Kind.INTS},
    """Every sliding window over the last len(window) axes: [*, S...] -> [*, O..., K...] with
    O = (S - dilation * (K - 1) - 1) // stride + 1 and result[*, o, k] = x[*, o * stride + k * dilation].""",
    Trait.VIEW,
)
def WINDOWS(x: TensorType, window: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> TensorType:
    count = len(window)
    if not 0 < count <= x.rank:
        raise AttributeValueError(f"windows: window {window} over a tensor of {x.rank} dimensions")
    spatial = x.shape[x.rank - count :]
    counts = window_counts("windows", spatial, window, stride, dilation)
    return TensorType(x.dtype, (*x.shape[: x.rank - count], *counts, *window))


@op(
    "fold_windows",
    ("x",),
    {"spatial": Kind.DIMS, "stride": Kind.INTS, "dilation": Kind.INTS},
    "The adjoint of windows: [*, O..., K...] -> [*, S...] with S = spatial; overlapping elements are added.",
)
def FOLD_WINDOWS(x: TensorType, spatial: Dims, stride: tuple[int, ...], dilation: tuple[int, ...]) -> TensorType:
    count = len(spatial)
    if x.rank < 2 * count:
        raise ShapeError(f"fold_windows: {x} has too few dimensions for {count} window axes")
    window = x.shape[x.rank - count :]
    counts = window_counts("fold_windows", spatial, window, stride, dilation)
    if not equal_shapes(counts, x.shape[x.rank - 2 * count : x.rank - count]):
        raise ShapeError(f"fold_windows: {x} does not hold the windows of a {show(spatial)} input")
    return TensorType(x.dtype, (*x.shape[: x.rank - 2 * count], *spatial))


def window_counts(name: str, spatial: Dims, window: Dims, stride: tuple[int, ...], dilation: tuple[int, ...]) -> Dims:
    """How many windows fit along each axis. Raises ShapeError where none does."""
    _check_rank(name, "stride", stride, len(window))
    _check_rank(name, "dilation", dilation, len(window))
    counts = []
    for size, k, s, d in zip(spatial, window, stride, dilation, strict=True):
        if s < 1 or d < 1 or not at_least(k, 1):
            raise AttributeValueError(f"{name}: window {k}, stride {s} and dilation {d} must be positive")
        extent = add(mul(sub(k, 1), d), 1)
        if not at_least(size, extent):
            raise ShapeError(f"{name}: a window spanning {extent} does not fit in {size}")
        counts.append(add(floordiv(sub(size, extent), s), 1))
    return tuple(counts)
