"""Norms of vectors and matrices, condition numbers."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import DType

from ..dispatch import apply
from ..ops.complex_numbers import squared_size
from ..ops.half import in_float32
from ..ops.movement import axis_of
from ..ops.reduction import reduce, reduced_axes
from ..tensor import Tensor, shape_of
from .factorization import check_matrix, svdvals
from .systems import inv_ex

INF = float("inf")


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """(sum |x|**ord)**(1 / ord) over dim (all dimensions by default); ord may be inf, -inf and 0 too.

    Where the norm is 0, so is its gradient.
    """
    _check("vector_norm", x, dtype)
    if dtype is not None and dtype is not x.dtype:
        x = apply(ops.CAST, (x,), {"dtype": dtype})
    return _vector_norm(x, ord, dim, keepdim)


@in_float32
def _vector_norm(x: Tensor, ord: Any, dim: Any, keepdim: bool) -> Tensor:
    axes = reduced_axes(x, dim)
    if ord == 2:
        return _root(reduce(ops.SUM, squared_size(x), axes, keepdim), 0.5)
    size = x.abs()
    if ord in (INF, -INF):
        if not all(shape_of(x)[a] for a in axes):
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the operation does not "
                "have an identity"
            )
        return reduce(ops.AMAX if ord > 0 else ops.AMIN, size, axes, keepdim)
    if ord == 0:
        return reduce(ops.SUM, size.masked_fill(size != 0, 1.0), axes, keepdim)
    if ord == 1:
        return reduce(ops.SUM, size, axes, keepdim)
    if ord < 0:
        zero = size == 0  # one such element makes the norm 0, and its slope is left out
        total = reduce(ops.SUM, size.masked_fill(zero, 1.0) ** ord, axes, keepdim) ** (1.0 / ord)
        return total.masked_fill(reduce(ops.AMAX, zero, axes, keepdim), 0.0)
    if ord < 2:  # |x|**ord has no finite slope, or slope's slope, at 0
        zero = size == 0
        size = size.masked_fill(zero, 1.0) ** ord
        return _root(reduce(ops.SUM, size.masked_fill(zero, 0.0), axes, keepdim), 1.0 / ord)
    return _root(reduce(ops.SUM, size**ord, axes, keepdim), 1.0 / ord)


def _root(total: Tensor, exponent: float) -> Tensor:
    """A root whose infinite slope at 0 is left out."""
    zero = total == 0
    total = total.masked_fill(zero, 1.0)
    return (total.sqrt() if exponent == 0.5 else total**exponent).masked_fill(zero, 0.0)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """A norm of matrices: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    _check("matrix_norm", A, dtype)
    if A.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    row, column = (axis_of(d, A.ndim) for d in dim)
    if row == column:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({row}, {column})")
    if ord == "fro":
        return vector_norm(A, 2, (row, column), keepdim, dtype=dtype)
    if dtype is not None and dtype is not A.dtype:
        A = apply(ops.CAST, (A,), {"dtype": dtype})
    if ord in (2, -2, "nuc"):
        values = svdvals(A.permute([d for d in range(A.ndim) if d not in (row, column)] + [row, column]))
        result = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
        if keepdim:
            for d in sorted((row, column)):
                result = result.unsqueeze(d)
        return result
    if ord not in (1, -1, INF, -INF):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if ord in (INF, -INF):
        row, column = column, row
    sums = vector_norm(A, 1, row, keepdim)
    rest = column - (column > row and not keepdim)
    return sums.amax(rest, keepdim) if ord > 0 else sums.amin(rest, keepdim)


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """vector_norm, or matrix_norm where two dimensions (or none of a matrix, with `ord`) are given."""
    if isinstance(dim, int):
        dim = (dim,)
    if isinstance(ord, str):
        if (dim is not None and len(dim) != 2) or (dim is None and A.ndim != 2):
            raise RuntimeError(f"linalg.norm: If ord={ord} is given, dim or A must have two dimensions")
        return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if (dim is None and A.ndim not in (1, 2)) or (dim is not None and len(dim) not in (1, 2)):
        raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D.")
    if (A.ndim if dim is None else len(dim)) == 1:
        return vector_norm(A, ord, dim, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number |A| |A^-1| in the 2-norm, or in matrix_norm's norm p; infinite for a singular matrix."""
    check_matrix("cond", A, square=p not in (None, 2, -2))
    if 0 in shape_of(A):
        return svdvals(A).new_zeros(shape_of(A)[:-2])
    if p in (None, 2, -2):
        values = svdvals(A)
        ends = values[..., 0], values[..., -1]
        return ends[1] / ends[0] if p == -2 else ends[0] / ends[1]
    inverse, info = inv_ex(A)
    singular = (info != 0)[..., None, None]
    return matrix_norm(A, p) * matrix_norm(inverse.masked_fill(singular, INF), p)


def _check(name: str, x: Tensor, dtype: DType | None) -> None:
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    if dtype is not None and x.dtype.is_complex != dtype.is_complex:
        raise RuntimeError(f"linalg.{name}: dtype {dtype.name} does not suit an input of {x.dtype.name}")
