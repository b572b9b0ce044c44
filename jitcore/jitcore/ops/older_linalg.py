"""The functions of `torch.linalg` under the names and with the arguments they have outside it, as methods too."""

from __future__ import annotations

from typing import Any, NamedTuple

from jitcore_ir import ops
from jitcore_ir.dtypes import DType

from ..dispatch import apply
from ..linalg import factorization, norms, products, systems
from ..linalg.factorization import QR, LUFactors, LUFactorsEx
from ..tensor import Tensor, method, shape_of
from .matrices import cut, identity, mH, permutation, triangular
from .movement import axis_of
from .reduction import numpy_names


class USV(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


class Reflectors(NamedTuple):
    a: Tensor
    tau: Tensor


class TriangularSolve(NamedTuple):
    solution: Tensor
    cloned_coefficient: Tensor


class PLU(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


@method
def det(input: Tensor) -> Tensor:
    """The determinant."""
    return systems.det(input)


@method
def slogdet(input: Tensor) -> systems.SignLog:
    """The determinant's sign and the logarithm of its size."""
    return systems.slogdet(input)


@method
def logdet(input: Tensor) -> Tensor:
    """The determinant's logarithm; NaN where it is negative."""
    sign, size = systems.slogdet(input)
    return sign.log() + size if input.dtype.is_complex else size.masked_fill(sign == -1, float("nan"))


@method
def inverse(input: Tensor) -> Tensor:
    """linalg.inv."""
    return systems.inv(input)


@method
def pinverse(input: Tensor, rcond: Any = 1e-15) -> Tensor:
    """linalg.pinv."""
    return systems.pinv(input, rcond)


@method
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """linalg.cholesky."""
    return factorization.cholesky(input, upper=upper)


@method
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B from A's Cholesky factor."""
    factorization.check_matrix("cholesky_solve", L)
    a, b = systems.batches_alike("cholesky_solve", L, B)
    # PyTorch's gradient counts both triangles of L, so the other one is there, with zeros in it.
    a = (a.triu() if upper else a.tril()).detach() + (a - a.detach())
    first, second = (mH(a), a) if upper else (a, mH(a))
    return apply(ops.SOLVE, (second, apply(ops.SOLVE, (first, b), {"strict": False})), {"strict": False})


@method
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A from its Cholesky factor."""
    factorization.check_matrix("cholesky_inverse", L)
    one = identity(shape_of(L)[-1]).to(L.dtype).expand(shape_of(L))
    return cholesky_solve(one, L, upper)


@method
def qr(input: Tensor, some: bool = True) -> QR:
    """linalg.qr; without `some`, the complete one."""
    return factorization.qr(input, "reduced" if some else "complete")


@method
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> USV:
    """(U, S, V) with U diag(S) V^H = input; U and V are zeros without `compute_uv`."""
    if compute_uv:
        u, s, vh = factorization.svd(input, not some)
        return USV(u, s, mH(vh))
    *lead, m, n = shape_of(input)
    return USV(input.new_zeros((*lead, m, m)), factorization.svdvals(input), input.new_zeros((*lead, n, n)))


@method
def geqrf(input: Tensor) -> Reflectors:
    """LAPACK's QR: R above Householder vectors, and their factors tau. Without gradient."""
    factorization.check_matrix("geqrf", input, square=False)
    m, n = shape_of(input)[-2:]
    return Reflectors(*cut(apply(ops.REFLECTORS, (input.detach(),)), (m, n), (min(m, n),)))


@method
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """linalg.householder_product."""
    return factorization.householder_product(input, input2)


@method
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q other (other Q without `left`), Q the whole product of the reflections; Q^H for `transpose`."""
    *lead, m, _ = shape_of(input)
    k = shape_of(tau)[-1]
    wide = input[..., :k]
    if m > k:
        wide = apply(ops.CONCAT, (wide, input.new_zeros((*lead, m, m - k))), {"axis": input.ndim - 1})
    q = factorization.householder_product(wide, tau)
    q = mH(q) if transpose else q
    return q @ other if left else other @ q


@method
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> TriangularSolve:
    """(X, A) with A X = b for a triangular A; A^T for `transpose`."""
    factorization.check_matrix("triangular_solve", A)
    a, right = systems.batches_alike("triangular_solve", A, b)
    if transpose:
        return TriangularSolve(triangular(a.mT, right, not upper, unit=unitriangular), a.clone())
    return TriangularSolve(triangular(a, right, upper, unit=unitriangular), a.clone())


@method
def lu(input: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), and infos where asked for."""
    found = factorization.lu_factor_ex(input, pivot=pivot)
    return LUFactorsEx(*found) if get_infos else LUFactors(*found[:2])


@method
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """linalg.lu_solve."""
    return systems.lu_solve(LU_data, LU_pivots, b)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> PLU:
    """(P, L, U) from lu_factor's result; what is not unpacked is empty."""
    nothing = LU_data.new_empty((0,))
    p = permutation(LU_pivots, shape_of(LU_data)[-2], LU_data) if unpack_pivots else nothing
    lower, upper = factorization.lower_and_upper(LU_data) if unpack_data else (nothing, nothing)
    return PLU(p, lower, upper)


@method
def matrix_exp(input: Tensor) -> Tensor:
    """linalg.matrix_exp."""
    return products.matrix_exp(input)


@method
def matrix_power(input: Tensor, n: int) -> Tensor:
    """linalg.matrix_power."""
    return products.matrix_power(input, n)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """linalg.multi_dot of matrices."""
    if len(matrices) == 1 and isinstance(matrices[0], list | tuple):
        matrices = tuple(matrices[0])
    return matrices[0] if len(matrices) == 1 else products.multi_dot(matrices)


@method
@numpy_names
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The p-norm along dim (all dimensions by default): a number, inf, -inf or "fro" (2); "nuc" is of matrices."""
    if p == "nuc":
        if dim is None and input.ndim != 2:
            raise RuntimeError(f"norm: the nuclear norm of a tensor of {input.ndim} dimensions needs two in dim")
        return norms.matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"Only 'fro' and 'nuc' norms are supported by name, but got {p!r}")
    return norms.vector_norm(input, 2 if p is None or p == "fro" else p, dim, keepdim, dtype=dtype)


@method
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Vector product of 3-vectors along dim, by default the first dimension of size 3."""
    if dim is None:
        sizes = list(shape_of(input))
        if 3 not in sizes:
            raise RuntimeError("no dimension of size 3 in input")
        dim = sizes.index(3)
    return products.cross(input, other, dim=axis_of(dim, input.ndim))


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as columns, falling unless `increasing`."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = shape_of(x)[0] if N is None else N
    if x.dtype.kind in ("bool", "int", "uint"):
        x = x.long()
    if count < 2:
        return x.new_ones((shape_of(x)[0], max(count, 0)))
    powers = products.vander(x, N=count)
    return powers if increasing else powers.flip(-1)
