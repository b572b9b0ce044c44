"""Determinants, inverses and linear systems."""

from __future__ import annotations

from typing import Any, NamedTuple

from jitcore_ir import ops
from jitcore_ir.dtypes import float64, int32, int64

from ..dispatch import apply
from ..ops.matrices import mH, mT, permutation, triangular
from ..ops.movement import broadcast_shapes
from ..promotion import as_operand
from ..tensor import Tensor, shape_of
from .factorization import check_matrix, eigvalsh, lu_factor_ex, svdvals


class SignLog(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class InverseEx(NamedTuple):
    inverse: Tensor
    info: Tensor


class SolveEx(NamedTuple):
    result: Tensor
    info: Tensor


class LeastSquares(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


# Determinants


def det(A: Tensor) -> Tensor:
    """The determinant."""
    check_matrix("det", A)
    return apply(ops.DET, (A,))


def slogdet(A: Tensor) -> SignLog:
    """The determinant's sign and the logarithm of its size."""
    check_matrix("slogdet", A)
    packed = apply(ops.SLOGDET, (A,))
    sign, size = packed[..., 0], packed[..., 1]
    if A.dtype.is_complex:
        return SignLog(sign, apply(ops.REAL, (size,)))
    return SignLog(sign, size)


# Inverses


def inv(A: Tensor) -> Tensor:
    """The inverse. Raises LinAlgError for a singular matrix."""
    check_matrix("inv", A)
    return apply(ops.INV, (A,), {"strict": True})


def inv_ex(A: Tensor, *, check_errors: bool = False) -> InverseEx:
    """(inverse, info): info is 0, or the place (from 1) of the first zero on the diagonal of U."""
    check_matrix("inv_ex", A)
    return InverseEx(apply(ops.INV, (A,), {"strict": check_errors}), lu_factor_ex(A.detach()).info)


def pinv(input: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The pseudoinverse; singular values up to max(atol, rtol * largest) count as zero."""
    check_matrix("pinv", input, square=hermitian)
    x = input.detach()
    values = eigvalsh(x).abs() if hermitian else svdvals(x)
    cutoff = _cutoff(values, shape_of(input)[-2:], atol, rtol if rcond is None else rcond)
    return apply(ops.PINV, (input, cutoff.expand(shape_of(input)[:-2])), {"hermitian": hermitian})


def _cutoff(values: Tensor, sizes: Any, atol: Any, rtol: Any) -> Tensor:
    """max(atol, rtol * largest value). Without atol, rtol is the dtype's precision times the larger size."""
    dtype = values.dtype
    if rtol is None:
        default = (2.0**-52 if dtype is float64 else 2.0**-23) * max(sizes)
        if atol is None:
            rtol = default
        elif isinstance(atol, Tensor):
            rtol = as_operand(atol == 0, dtype) * default
        else:
            rtol = 0.0 if atol > 0 else default
    if not shape_of(values)[-1]:
        return values.new_zeros(shape_of(values)[:-1])
    relative = values.amax(-1) * rtol
    return relative if atol is None else relative.maximum(as_operand(atol, dtype))


def matrix_rank(
    input: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values are above max(atol, rtol * largest); int64."""
    check_matrix("matrix_rank", input, square=hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    x = input.detach()
    values = eigvalsh(x).abs() if hermitian else svdvals(x)
    cutoff = _cutoff(values, shape_of(input)[-2:], atol, rtol)
    return as_operand(values > cutoff.unsqueeze(-1), int64).sum(-1)


# Systems


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (or X A = B). Raises LinAlgError for a singular A."""
    return _solve(A, B, left, strict=True)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """(result, info): info is 0, or the place (from 1) of the first zero on the diagonal of U."""
    info = lu_factor_ex(A.detach()).info
    return SolveEx(_solve(A, B, left, strict=check_errors), info)


def is_vector_of(A: Tensor, B: Tensor) -> bool:
    """Whether B holds a vector for each matrix A, rather than matrices."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(shape_of(A)[:-1]) == tuple(shape_of(B)))


def _solve(A: Tensor, B: Tensor, left: bool, strict: bool) -> Tensor:
    check_matrix("solve", A)
    vector = is_vector_of(A, B)
    if vector and not left:
        raise RuntimeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case "
            "linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    _same_dtype("solve", A, B)
    a, b = batches_alike("solve", A, B.unsqueeze(-1) if vector else B, left)
    if left:
        x = apply(ops.SOLVE, (a, b), {"strict": strict})
        return x.squeeze(-1) if vector else x
    return mT(apply(ops.SOLVE, (mT(a), mT(b)), {"strict": strict}))


def _same_dtype(name: str, A: Tensor, B: Tensor) -> None:
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.{name}: Expected A and B to have the same dtype, but found A of type {A.dtype.name} and B of "
            f"type {B.dtype.name} instead"
        )


def batches_alike(name: str, A: Tensor, B: Tensor, left: bool = True) -> tuple[Tensor, Tensor]:
    """A and B with their batch dimensions broadcast; their sizes have to fit for A X = B (or X A = B)."""
    if B.ndim < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor B must have at least 2 dimensions.")
    a, b = shape_of(A), shape_of(B)
    if shape_of(A)[-1] != shape_of(B)[-2 if left else -1]:
        raise RuntimeError(
            f"linalg.{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({a[-2]}x{a[-1]} and {b[-2]}x{b[-1]})"
        )
    lead = broadcast_shapes(a[:-2], b[:-2])
    return A.expand(*lead, *a[-2:]), B.expand(*lead, *b[-2:])


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (or X A = B) for a triangular A; `unitriangular`: its diagonal counts as ones."""
    check_matrix("solve_triangular", A)
    _same_dtype("solve_triangular", A, B)
    a, b = batches_alike("solve_triangular", A, B, left)
    return triangular(a, b, upper, left, unitriangular)


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (A^H X = B for `adjoint`, X A = B without `left`) from lu_factor's result for A."""
    check_matrix("lu_solve", LU)
    if pivots.dtype is not int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    _same_dtype("lu_solve", LU, B)
    if not left:
        return mH(lu_solve(LU, pivots, mH(B), adjoint=not adjoint))
    factors, b = batches_alike("lu_solve", LU, B)
    p = permutation(pivots, shape_of(LU)[-2], LU).expand(shape_of(factors))
    if adjoint:
        y = triangular(mH(factors), b, upper=False)
        return p @ triangular(mH(factors), y, upper=True, unit=True)
    return triangular(factors, triangular(factors, mT(p) @ b, upper=False, unit=True), upper=True)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B from ldl_factor's result for A. Needs SciPy."""
    check_matrix("ldl_solve", LD)
    factors, b = batches_alike("ldl_solve", LD, B)
    order = pivots.expand(shape_of(factors)[:-1])
    return apply(ops.LDL_SOLVE, (factors.detach(), order, b.detach()), {"hermitian": hermitian})


def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> LeastSquares:
    """X with the smallest |A X - B|, and of those the smallest X; the squared residuals where A is tall and of full
    rank, its rank and its singular values, as `driver` gives them."""
    check_matrix("lstsq", A, square=False)
    driver = driver or "gelsy"
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), but got {driver}"
        )
    _same_dtype("lstsq", A, B)
    m, n = shape_of(A)[-2:]
    vector = A.ndim > 1 and A.ndim - 1 == B.ndim and tuple(shape_of(A)[:-1]) == tuple(shape_of(B))
    b = B.unsqueeze(-1) if vector else B
    if b.ndim < 2 or shape_of(A)[-2] != shape_of(b)[-2]:
        raise RuntimeError("torch.linalg.lstsq: input.size(-2) should match other.size(-2)")
    values = svdvals(A.detach())
    cutoff = _cutoff(values, (m, n), None, rcond)
    x = pinv(A, rcond) @ b
    rank = as_operand(values > cutoff.unsqueeze(-1), int64).sum(-1)
    residuals = x.abs().reshape(-1).narrow(0, 0, 0)
    if m > n and driver != "gelsy" and (driver == "gels" or (rank == n).all()):
        residuals = (A @ x - b).abs().square().sum(-2)
    return LeastSquares(
        x.squeeze(-1) if vector else x,
        residuals,
        rank if driver != "gels" else A.new_empty((0,), dtype=int64),
        values if driver in ("gelsd", "gelss") else values.new_empty((0,)),
    )


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dimensions to its first `ind`."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    front, back = shape_of(A)[:ind], shape_of(A)[ind:]
    rows, columns = _product(front), _product(back)
    if rows != columns:
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind])")
    return inv(A.reshape(rows, columns)).reshape(*back, *front)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first."""
    if dims is not None:
        moved = [d % A.ndim for d in dims]
        A = A.permute([d for d in range(A.ndim) if d not in moved] + moved)
    result = shape_of(A)[B.ndim :]
    rows = _product(result)
    if rows != _product(shape_of(B)):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim])"
        )
    return solve(A.reshape(rows, rows), B.reshape(rows)).reshape(result)


def _product(sizes: Any) -> Any:
    total: Any = 1
    for n in sizes:
        total = total * n
    return total
