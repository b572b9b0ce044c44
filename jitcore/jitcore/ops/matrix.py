"""Matrix products in all their spellings, einsum, outer products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops

from ..dispatch import apply
from ..promotion import is_number
from ..tensor import Tensor, method, shape_of
from .autocasting import in_full_precision, in_low_precision
from .half import in_float32
from .inplace import with_inplace
from .movement import broadcast_shapes, permute, reshape, transpose


@method
@in_low_precision
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product by NumPy's rules: a vector is a row on the left, a column on the right; leading dims broadcast."""
    return _matmul(input, other)


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    """matmul whatever autocast says."""
    a, b = input._array.shape, other._array.shape
    if not a or not b:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D")
    if input._array.dtype != other._array.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {input.dtype.name} != {other.dtype.name}"
        )
    if a[-1] != b[-1 if len(b) == 1 else -2]:
        raise _mismatch("matmul", a, b)
    if len(a) == 2 and len(b) == 2:
        return apply(ops.DOT, (input, other))
    row, column = len(a) == 1, len(b) == 1
    x = reshape(input, (1, *shape_of(input))) if row else input
    y = reshape(other, (*shape_of(other), 1)) if column else other
    xs, ys = shape_of(x), shape_of(y)
    if len(ys) == 2 and len(xs) > 2:
        # One product with the leading dimensions joined: faster than a batch of small ones.
        flat = apply(ops.DOT, (reshape(x, (_product(xs[:-1]), xs[-1])), y))
        result = reshape(flat, (*xs[:-1], ys[-1]))
    else:
        lead = broadcast_shapes(xs[:-2], ys[:-2])
        result = apply(ops.DOT, (_stretch(x, lead), _stretch(y, lead)))
    if row or column:
        shape = shape_of(result)
        result = reshape(result, shape[:-2] + (() if row else shape[-2:-1]) + (() if column else shape[-1:]))
    return result


def _product(sizes: Sequence[Any]) -> Any:
    total: Any = 1
    for n in sizes:
        total = total * n
    return total


def _stretch(x: Tensor, lead: Sequence[Any]) -> Tensor:
    """x with its leading dimensions broadcast to `lead`."""
    shape = shape_of(x)
    if len(shape) == len(lead) + 2 and all(a is b or a == b for a, b in zip(shape, lead)):
        return x
    return apply(ops.BROADCAST_TO, (x,), {"shape": (*lead, *shape[-2:])})


def _mismatch(name: str, a: Sequence[int], b: Sequence[int]) -> RuntimeError:
    return RuntimeError(f"{name}: shapes {list(a)} and {list(b)} cannot be multiplied: the inner sizes differ")


def _ranked(name: str, expected: Sequence[int], *tensors: Tensor) -> None:
    for position, (rank, t) in enumerate(zip(expected, tensors)):
        if t._array.ndim != rank:
            raise RuntimeError(f"{name}: argument {position + 1} must be {rank}D, but it is {t._array.ndim}D")


@method
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices; nothing broadcasts."""
    _ranked("mm", (2, 2), input, mat2)
    return matmul(input, mat2)


@method
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two batches of matrices [B, M, K] x [B, K, N]."""
    _ranked("bmm", (3, 3), input, mat2)
    if input._array.shape[0] != mat2._array.shape[0]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{input._array.shape[0]}, "
            f"{input._array.shape[2]}] but got: {list(mat2._array.shape[:2])}."
        )
    return matmul(input, mat2)


@method
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    _ranked("mv", (2, 1), input, vec)
    return _matmul(input, vec)


@method
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Inner product of two vectors."""
    _ranked("dot", (1, 1), input, tensor)
    return _matmul(input, tensor)


@method
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Inner product of two vectors, the first one conjugated."""
    _ranked("vdot", (1, 1), input, other)
    return _matmul(input.conj(), other)


@method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over both last dimensions."""
    if not input._array.ndim or not other._array.ndim:
        return input * other
    return tensordot(input, other, ([input._array.ndim - 1], [other._array.ndim - 1]))


@in_full_precision
@in_float32
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """p-norm distances between the rows of x1 [*, P, M] and x2 [*, R, M]: [*, P, R]. compute_mode is ignored."""
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


@method
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Matrix of all products of two vectors' elements."""
    _ranked("outer", (1, 1), input, vec2)
    return input.unsqueeze(1) * vec2.unsqueeze(0)


method(outer, name="ger")


def _scaled(base: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    if not is_number(alpha, 1):
        product = product * alpha
    return product if is_number(beta, 0) else (base if is_number(beta, 1) else base * beta) + product


@with_inplace
@method
@in_low_precision
@in_float32
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * mat1 @ mat2."""
    return _scaled(input, mm(mat1, mat2), beta, alpha)


@with_inplace
@method
@in_float32
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * mat @ vec."""
    return _scaled(input, mv(mat, vec), beta, alpha)


@with_inplace
@method
@in_low_precision
@in_float32
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * batch1 @ batch2, by batch."""
    return _scaled(input, bmm(batch1, batch2), beta, alpha)


@with_inplace
@method
@in_low_precision
@in_float32
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the sum over the batch of batch1 @ batch2."""
    return _scaled(input, bmm(batch1, batch2).sum(0), beta, alpha)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sum of products over `dims`: a count of last dims of a and first of b, or a pair of lists."""
    if isinstance(dims, int):
        of_a, of_b = list(range(a._array.ndim - dims, a._array.ndim)), list(range(dims))
    else:
        of_a, of_b = ([d] if isinstance(d, int) else list(d) for d in dims)
        of_a = [d % a._array.ndim for d in of_a]
        of_b = [d % b._array.ndim for d in of_b]
    left = [d for d in range(a._array.ndim) if d not in of_a]
    right = [d for d in range(b._array.ndim) if d not in of_b]
    for i, j in zip(of_a, of_b):  # a dimension of 1 meets one of any size, whose elements are summed
        if a._array.shape[i] == 1 and b._array.shape[j] != 1:
            b = b.sum(j, keepdim=True)
        elif b._array.shape[j] == 1 and a._array.shape[i] != 1:
            a = a.sum(i, keepdim=True)
    sa, sb = shape_of(a), shape_of(b)
    for i, j in zip(of_a, of_b):
        if a._array.shape[i] != b._array.shape[j]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {sa[i]} in dim {i} and "
                f"second has size {sb[j]} in dim {j}"
            )
    inner = _product([sa[d] for d in of_a])
    x = reshape(permute(a, left + of_a), (_product([sa[d] for d in left]), inner))
    y = reshape(permute(b, of_b + right), (inner, _product([sb[d] for d in right])))
    return reshape(matmul(x, y), (*[sa[d] for d in left], *[sb[d] for d in right]))


@method
@in_float32
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product of two tensors; the one of fewer dimensions gets leading ones."""
    rank = max(input._array.ndim, other._array.ndim)
    a = (*(1,) * (rank - input._array.ndim), *shape_of(input))
    b = (*(1,) * (rank - other._array.ndim), *shape_of(other))
    left = input.reshape([n for pair in zip(a, (1,) * rank) for n in pair])
    right = other.reshape([n for pair in zip((1,) * rank, b) for n in pair])
    return (left * right).reshape([n * m for n, m in zip(a, b)])


def matrix_transpose(x: Tensor) -> Tensor:
    """x with its last two dimensions swapped."""
    return transpose(x, -2, -1)
