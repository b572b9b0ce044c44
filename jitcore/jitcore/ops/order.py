"""Order and search: nonzero, sort, topk, unique and their kin.

None of these has a primitive yet: positions are worked out by NumPy from values that Python reads (a recorded
program cannot replay them and runs eagerly), and values are then gathered, so gradients flow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir.dtypes import int32, int64

from ..dispatch import constant
from ..tensor import Tensor, method, peek
from .join import stack
from .movement import axis_of, broadcast_tensors
from .reduction import ValuesIndices
from .select import gather, index_select


@method
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of nonzero elements, row-major: int64 [count, ndim], or one vector per dimension."""
    found = np.nonzero(np.atleast_1d(peek(input)))
    if as_tuple:
        return tuple(constant(axis.astype(np.int64)) for axis in found)
    rows = np.stack(found, 1) if input._array.ndim else np.zeros((len(found[0]), 0))
    return constant(rows.astype(np.int64))


@method
def argwhere(input: Tensor) -> Tensor:
    """nonzero."""
    return nonzero(input)


@method
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Elements of input where mask holds, as a vector; both broadcast."""
    x, m = broadcast_tensors(input, mask)
    return x[m]


@method
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Positions that sort input along dim. Equal elements keep their order; NaN counts as largest."""
    if not input._array.ndim:
        return constant(np.zeros((), np.int64))
    axis = axis_of(dim, input._array.ndim)
    values = peek(input)
    if values.dtype.kind == "V":
        values = values.astype(np.float32)
    if descending:
        # A stable descending sort is the stable ascending one of the reversed axis, counted from its end.
        reverse = np.flip(values, axis)
        order = values.shape[axis] - 1 - np.flip(np.argsort(reverse, axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(values, axis=axis, kind="stable")
    return constant(np.ascontiguousarray(order.astype(np.int64)))


@method
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """(values, indices) sorted along dim."""
    indices = argsort(input, dim, descending, stable)
    if not input._array.ndim:
        return ValuesIndices(input.clone(), indices)
    return ValuesIndices(gather(input, dim, indices), indices)


@method
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """(values, indices) of the k largest (or smallest) along dim, in order."""
    axis = axis_of(dim, input._array.ndim)
    if k > (input._array.shape[axis] if input._array.ndim else 1):
        raise RuntimeError("selected index k out of range")
    order = argsort(input, axis, descending=largest)
    if not input._array.ndim:
        return ValuesIndices(input.clone(), order)
    indices = order.narrow(axis, 0, k).clone()
    return ValuesIndices(gather(input, axis, indices), indices)


@method
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(value, index) of the k-th smallest along dim, k counted from 1."""
    axis = axis_of(dim, input._array.ndim)
    indices = argsort(input, axis).narrow(axis, k - 1, 1).clone()
    values = gather(input, axis, indices)
    return ValuesIndices(values, indices) if keepdim else ValuesIndices(values.squeeze(axis), indices.squeeze(axis))


@method
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element (the lower of two); with dim, (values, indices)."""
    if dim is None:
        flat = input.reshape(-1)
        return flat[argsort(flat)[(flat._array.size - 1) // 2]]
    axis = axis_of(dim, input._array.ndim)
    return kthvalue(input, (input._array.shape[axis] + 1) // 2, axis, keepdim)


@method
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Different elements in rising order, and on request where each element went and how often each occurs."""
    values, inverse, counts = np.unique(peek(input), return_inverse=True, return_counts=True, axis=dim)
    result = [constant(values)]
    if return_inverse:
        shape = input._array.shape if dim is None else (input._array.shape[dim],)
        result.append(constant(np.asarray(inverse, np.int64).reshape(shape)))
    if return_counts:
        result.append(constant(counts.astype(np.int64)))
    return result[0] if len(result) == 1 else tuple(result)


@method
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """The flattened elements without repetitions of neighbours."""
    flat = peek(input).reshape(-1)
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]]) if flat.size else np.zeros(0, np.int64)
    result = [constant(flat[starts])]
    if return_inverse:
        runs = np.cumsum(np.r_[True, flat[1:] != flat[:-1]]) - 1 if flat.size else starts
        result.append(constant(np.asarray(runs, np.int64).reshape(input._array.shape)))
    if return_counts:
        result.append(constant(np.diff(np.r_[starts, flat.size]).astype(np.int64)))
    return result[0] if len(result) == 1 else tuple(result)


@method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of its weights."""
    given = None if weights is None else peek(weights)
    return constant(np.bincount(peek(input), given, minlength))


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None
) -> Tensor:
    """Positions at which `input` would be inserted into a sorted vector (or row by row into sorted rows)."""
    values = input if isinstance(input, Tensor) else sorted_sequence.new_tensor(input)
    go_right = right or side == "right"
    expanded = values.unsqueeze(-1)
    edges = sorted_sequence if sorted_sequence._array.ndim == 1 else sorted_sequence.unsqueeze(-2)
    below = edges <= expanded if go_right else edges < expanded
    return below.to(int64).sum(-1).to(int32 if out_int32 else int64)


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """searchsorted with the arguments exchanged."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The q-quantile along dim, linear between neighbours."""
    x, axis = (input.reshape(-1), 0) if dim is None else (input, axis_of(dim, input._array.ndim))
    ordered = sort(x, axis).values
    last = x._array.shape[axis] - 1
    points = [float(v) for v in np.atleast_1d(peek(q) if isinstance(q, Tensor) else q)]
    parts = []
    for point in points:
        place = point * last
        low = int(place)
        a, b = ordered.select(axis, low), ordered.select(axis, min(low + 1, last))
        value = a + (b - a) * (place - low)
        parts.append(value.unsqueeze(axis) if keepdim and dim is not None else value)
    if isinstance(q, Tensor) and q._array.ndim:
        return stack(parts)
    return parts[0]


@method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts of elements in equal bins between min and max (the data's own where both are 0)."""
    values = peek(input)
    low, high = (values.min(), values.max()) if min == 0 and max == 0 else (min, max)
    counts = np.histogram(values, bins, (float(low), float(high)))[0]
    return constant(counts.astype(values.dtype))


__all__ = [
    "argsort", "argwhere", "bincount", "bucketize", "histc", "index_select", "kthvalue", "masked_select", "median",
    "nonzero", "quantile", "searchsorted", "sort", "topk", "unique",
]  # fmt: skip
