"""Products and powers of matrices, and small things that torch.linalg holds beside them."""

from __future__ import annotations

from collections.abc import Sequence

from jitcore_ir import ops

from ..dispatch import apply
from ..ops.arithmetic import mul
from ..ops.half import in_float32
from ..ops.matrices import identity
from ..ops.matrix import matmul
from ..ops.movement import axis_of, broadcast_shapes
from ..tensor import Tensor, shape_of
from .factorization import check_matrix
from .systems import inv


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied with itself n times; the inverse's power for n < 0."""
    if A.ndim < 2 or shape_of(A)[-1] != shape_of(A)[-2]:
        raise RuntimeError("linalg.matrix_power: A must be batches of square matrices")
    if n == 0:
        one = identity(shape_of(A)[-1])
        return A.masked_fill(~one, 0).masked_fill(one, 1)
    if n < 0:
        return matrix_power(inv(A), -n)
    result = None
    while True:
        if n & 1:
            result = A if result is None else matmul(result, A)
        n >>= 1
        if not n:
            assert result is not None
            return result.clone() if result is A else result
        A = matmul(A, A)


@in_float32
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential series of A."""
    check_matrix("matrix_exp", A)
    return apply(ops.MATRIX_EXP, (A,))


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices in the order that takes fewest multiplications; the ends may be vectors."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    for position, t in enumerate(tensors):
        if t.ndim != 2 and not (t.ndim == 1 and position in (0, len(tensors) - 1)):
            raise RuntimeError(f"multi_dot(): tensor {position} must be 2D (the first and last may be 1D)")
    row, column = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if row:
        tensors[0] = tensors[0].unsqueeze(0)
    if column:
        tensors[-1] = tensors[-1].unsqueeze(-1)
    result = _in_best_order(tensors)
    result = result.squeeze(0) if row else result
    return result.squeeze(-1) if column else result


def _in_best_order(tensors: list[Tensor]) -> Tensor:
    """Dynamic programming over where the last product of each stretch is."""
    sizes = [shape_of(tensors[0])[0], *[shape_of(t)[1] for t in tensors]]
    count = len(tensors)
    cost: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(count)}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            cost[first, last] = min(
                (cost[first, k][0] + cost[k + 1, last][0] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
                for k in range(first, last)
            )

    def stretch(first: int, last: int) -> Tensor:
        if first == last:
            return tensors[first]
        k = cost[first, last][1]
        return matmul(stretch(first, k), stretch(k + 1, last))

    return stretch(0, count - 1)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Vector product of 3-vectors along dim; the rest broadcasts."""
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = axis_of(dim, input.ndim)
    if shape_of(input)[axis] != 3 or shape_of(other)[axis] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {shape_of(input)[axis]} and "
            f"{shape_of(other)[axis]}"
        )
    shape = broadcast_shapes(shape_of(input), shape_of(other))
    x, y = input.expand(shape), other.expand(shape)
    return x.roll(-1, axis) * y.roll(1, axis) - x.roll(1, axis) * y.roll(-1, axis)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Inner products of vectors along dim, the first conjugated."""
    return mul(x.conj(), y).sum(dim)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers 0 .. N - 1 of x along a new last dimension."""
    x = x if x.ndim else x.unsqueeze(0)
    count = shape_of(x)[-1] if N is None else N
    if count is not None and count <= 1:
        raise RuntimeError("N must be greater than 1.")
    wide = x.unsqueeze(-1)
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        wide = wide.long()
    ones = wide.new_ones(shape_of(wide))
    powers = wide.expand(*shape_of(x), count - 1).cumprod(-1)
    return apply(ops.CONCAT, (ones, powers), {"axis": x.ndim})


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of matrices."""
    return A.diagonal(offset, dim1, dim2)
