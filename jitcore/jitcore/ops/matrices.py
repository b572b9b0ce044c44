"""Words for batches of matrices that linear algebra and its derivatives are written in."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int32

from ..dispatch import apply
from ..promotion import as_operand
from ..tensor import Tensor, shape_of


def mT(x: Tensor) -> Tensor:
    rank = x._array.ndim
    return apply(ops.PERMUTE, (x,), {"permutation": (*range(rank - 2), rank - 1, rank - 2)})


def mH(x: Tensor) -> Tensor:
    return mT(x).conj()


def dot(*matrices: Tensor) -> Tensor:
    """The product, from left to right."""
    result = matrices[0]
    for y in matrices[1:]:
        result = apply(ops.DOT, (result, y))
    return result


def cut(packed: Tensor, *shapes: tuple) -> list[Tensor]:
    """The parts of a packed result: arrays of these shapes behind the batch."""
    lead = shape_of(packed)[:-1]
    parts, start = [], 0
    for shape in shapes:
        size: Any = 1
        for n in shape:
            size = size * n
        parts.append(packed.narrow(-1, start, size).reshape((*lead, *shape)))
        start = start + size
    return parts


def rectangular_eye(rows: Any, columns: Any) -> Tensor:
    """A boolean matrix, True on the diagonal."""
    row = apply(ops.IOTA, (), {"shape": (rows, 1), "axis": 0, "dtype": int32})
    column = apply(ops.IOTA, (), {"shape": (1, columns), "axis": 1, "dtype": int32})
    return apply(ops.EQ, (row, column))


def identity(size: Any) -> Tensor:
    return rectangular_eye(size, size)


def solve(a: Tensor, b: Tensor) -> Tensor:
    return apply(ops.SOLVE, (a, b), {"strict": True})


def triangular(a: Tensor, b: Tensor, upper: bool, left: bool = True, unit: bool = False) -> Tensor:
    """a^-1 b, or b a^-1, for a triangular a."""
    if left:
        return apply(ops.SOLVE_TRIANGULAR, (a, b), {"upper": upper, "unit": unit})
    return mT(apply(ops.SOLVE_TRIANGULAR, (mT(a), mT(b)), {"upper": not upper, "unit": unit}))


def beside(x: Tensor, y: Tensor) -> Tensor:
    return apply(ops.CONCAT, (x, y), {"axis": x._array.ndim - 1})


def unit_lower(factors: Tensor, k: Any) -> Tensor:
    """L [m, k] of LU factors [m, n]."""
    lower = factors[..., :, :k].tril(-1)
    return lower + as_operand(rectangular_eye(shape_of(lower)[-2], k), lower.dtype)


def permutation(pivots: Tensor, rows: Any, like: Tensor) -> Tensor:
    """The matrices P of P L U, in the dtype of `like`, from pivots of any dtype."""
    real = apply(ops.REAL, (pivots,)) if pivots.dtype.is_complex else pivots
    order = apply(ops.PIVOT_ORDER, (as_operand(real.detach(), int32),), {"rows": rows})
    index = apply(ops.IOTA, (), {"shape": (rows, 1), "axis": 0, "dtype": int32})
    return as_operand(index == order.unsqueeze(-2), like.dtype)
