"""Factorizations of matrices: Cholesky, LU, LDL, QR, eigenvalues, singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

from jitcore_ir import ops
from jitcore_ir.dtypes import int32

from ..dispatch import apply
from ..ops.matrices import cut, mH, permutation, rectangular_eye, unit_lower
from ..promotion import as_operand
from ..tensor import Tensor, shape_of


class CholeskyEx(NamedTuple):
    L: Tensor
    info: Tensor


class PLU(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class LUFactors(NamedTuple):
    LU: Tensor
    pivots: Tensor


class LUFactorsEx(NamedTuple):
    LU: Tensor
    pivots: Tensor
    info: Tensor


class LDLFactors(NamedTuple):
    LD: Tensor
    pivots: Tensor


class LDLFactorsEx(NamedTuple):
    LD: Tensor
    pivots: Tensor
    info: Tensor


class QR(NamedTuple):
    Q: Tensor
    R: Tensor


class Eigen(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """L with L L^H = input, of which the lower triangle is read; with `upper`, U with U^H U = input and the upper one.

    Raises LinAlgError where the matrix is not positive definite.
    """
    return _cholesky(input, upper, strict=True)


def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """(L, info): info is 0, or the order of the leading minor that is not positive definite."""
    factor = _cholesky(input, upper, strict=check_errors)
    return CholeskyEx(factor, apply(ops.CHOLESKY_INFO, (mH(input) if upper else input,)))


def _cholesky(x: Tensor, upper: bool, strict: bool) -> Tensor:
    check_matrix("cholesky", x)
    if upper:
        # The gradient of a Hermitian matrix is PyTorch's: the same formula, whichever triangle is read.
        return mH(apply(ops.CHOLESKY, (mH(x).detach() + (x - x.detach()),), {"strict": strict}))
    return apply(ops.CHOLESKY, (x,), {"strict": strict})


def lu_factor(A: Tensor, *, pivot: bool = True) -> LUFactors:
    """(LU, pivots): L and U in one matrix, and the row each step exchanged with its own, counted from 1."""
    return LUFactors(*lu_factor_ex(A, pivot=pivot)[:2])


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorsEx:
    """lu_factor and info: 0, or the place (from 1) of the first zero on U's diagonal."""
    check_matrix("lu_factor", A, square=False)
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    m, n = shape_of(A)[-2:]
    k = min(m, n)
    factors, pivots, info = cut(apply(ops.LU, (A,)), (m, n), (k,), ())
    return LUFactorsEx(factors, _integers(pivots), _integers(info))


def lu(A: Tensor, *, pivot: bool = True) -> PLU:
    """(P, L, U) with P L U = A."""
    factors, pivots = lu_factor(A, pivot=pivot)
    m = shape_of(A)[-2]
    return PLU(permutation(pivots, m, A), *lower_and_upper(factors))


def lower_and_upper(factors: Tensor) -> tuple[Tensor, Tensor]:
    """L and U out of one matrix."""
    m, n = shape_of(factors)[-2:]
    k = min(m, n)
    return unit_lower(factors, k), factors[..., :k, :].triu()


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> LDLFactors:
    """(LD, pivots) of a symmetric (or Hermitian) matrix in LAPACK's form (sytrf, hetrf). Needs SciPy."""
    return LDLFactors(*ldl_factor_ex(A, hermitian=hermitian)[:2])


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> LDLFactorsEx:
    """ldl_factor and info."""
    check_matrix("ldl_factor", A)
    n = shape_of(A)[-1]
    factors, pivots, info = cut(apply(ops.LDL, (A.detach(),), {"hermitian": hermitian}), (n, n), (n,), ())
    return LDLFactorsEx(factors, _integers(pivots), _integers(info))


def qr(A: Tensor, mode: str = "reduced") -> QR:
    """(Q, R) with Q R = A. mode: "reduced", "complete", or "r" for R alone."""
    check_matrix("qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    m, n = shape_of(A)[-2:]
    k = m if mode == "complete" else min(m, n)
    q, r = cut(apply(ops.QR, (A,), {"complete": mode == "complete"}), (m, k), (k, n))
    return QR(A.new_empty((0,)) if mode == "r" else q, r)


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """(U, S, Vh) with U diag(S) Vh = A, S falling."""
    check_matrix("svd", A, square=False)
    _check_driver("svd", driver)
    m, n = shape_of(A)[-2:]
    k = min(m, n)
    packed = apply(ops.SVD, (A,), {"full": bool(full_matrices)})
    u, s, vh = cut(packed, (m, m if full_matrices else k), (k,), (n if full_matrices else k, n))
    return SVD(u, _real(s), vh)


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, falling."""
    check_matrix("svdvals", A, square=False)
    _check_driver("svdvals", driver)
    return apply(ops.SVDVALS, (A,))


def eigh(A: Tensor, UPLO: str = "L") -> Eigen:
    """Eigenvalues, rising, and eigenvectors of a Hermitian matrix, of which one triangle is read."""
    check_matrix("eigh", A)
    n = shape_of(A)[-1]
    w, v = cut(apply(ops.EIGH, (A,), {"upper": _is_upper(UPLO)}), (n,), (n, n))
    return Eigen(_real(w), v)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of a Hermitian matrix, rising."""
    check_matrix("eigvalsh", A)
    return apply(ops.EIGVALSH, (A,), {"upper": _is_upper(UPLO)})


def eig(A: Tensor) -> Eigen:
    """Eigenvalues and eigenvectors of length 1, complex, in no promised order."""
    check_matrix("eig", A)
    n = shape_of(A)[-1]
    return Eigen(*cut(apply(ops.EIG, (A,)), (n,), (n, n)))


def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues, complex."""
    check_matrix("eigvals", A)
    return apply(ops.EIGVALS, (A,))


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of the reflections I - tau v v^H, whose vectors stand below A's diagonal."""
    check_matrix("householder_product", A, square=False)
    m, n = shape_of(A)[-2:]
    k = shape_of(tau)[-1]
    if m < n or n < k or tau.ndim != A.ndim - 1:
        raise RuntimeError(
            f"torch.linalg.householder_product: A {list(A.shape)} needs rows >= columns >= the {k} elements of tau"
        )
    vectors = unit_lower(A, k)
    one = rectangular_eye(m, n)
    result = A.masked_fill(~one, 0).masked_fill(one, 1)
    for i in reversed(range(int(k))):
        v = vectors[..., i : i + 1]
        result = result - tau[..., i, None, None] * (v @ (mH(v) @ result))
    return result


def check_matrix(name: str, x: Tensor, square: bool = True) -> None:
    """PyTorch's words for what all these functions refuse."""
    if x.ndim < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    if x.dtype.bits == 16:
        raise RuntimeError(f"linalg.{name}: Low precision dtypes not supported. Got {x.dtype.name}")
    if square and shape_of(x)[-1] != shape_of(x)[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {shape_of(x)[-2]} by "
            f"{shape_of(x)[-1]} matrices"
        )


def _check_driver(name: str, driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(f"torch.linalg.{name}: keyword argument `driver=` is only supported on CUDA inputs")


def _is_upper(uplo: str) -> bool:
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return uplo.upper() == "U"


def _real(x: Tensor) -> Tensor:
    """Real values, side by side in memory (a batch of them can be viewed flat)."""
    return (apply(ops.REAL, (x,)) if x.dtype.is_complex else x).contiguous()


def _integers(x: Any) -> Tensor:
    return as_operand(_real(x.detach()), int32)
