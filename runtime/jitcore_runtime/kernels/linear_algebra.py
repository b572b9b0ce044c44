"""NumPy kernels of linear algebra: `numpy.linalg`, which is LAPACK, and what it lacks.

Factorizations give their factors flattened side by side. Matrices are the last two dimensions, the rest is a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import linalg

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from ..errors import LinAlgError
from .floating import Kernel, quiet
from .triangular import lu, pivot_order, solve_triangular


def _pack(*parts: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Parts [batch, size] joined behind one another, in one dtype."""
    return np.concatenate([p.astype(dtype, copy=False) for p in parts], -1)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def _adjoint(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2).conj()


def _batches(x: np.ndarray) -> np.ndarray:
    """All matrices of a batch, along one axis."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _element(x: np.ndarray, number: int) -> str:
    return f"(Batch element {number}): " if x.ndim > 2 else ""


def _not_converged(name: str) -> LinAlgError:
    return LinAlgError(
        f"linalg.{name}: The algorithm failed to converge because the input matrix contained non-finite values or "
        f"is ill-conditioned"
    )


def _converging(name: str, function: Callable) -> Callable:
    """`function` with NumPy's error turned into ours."""

    def kernel(*arrays: np.ndarray, **attributes: Any) -> np.ndarray:
        try:
            return function(*arrays, **attributes)
        except linalg.LinAlgError:
            raise _not_converged(name) from None

    return quiet(kernel)


# Cholesky


@quiet
def cholesky(x: np.ndarray, strict: bool) -> np.ndarray:
    try:
        return np.ascontiguousarray(linalg.cholesky(x))
    except linalg.LinAlgError:
        info = cholesky_info(x)
    if strict:
        number = int(np.flatnonzero(info)[0])
        order = info.reshape(-1)[number]
        raise LinAlgError(
            f"linalg.cholesky: {_element(x, number)}The factorization could not be completed because the input is not "
            f"positive-definite (the leading minor of order {order} is not positive-definite)."
        )
    result = np.ascontiguousarray(np.tril(x))  # parts of it are written to
    for one, matrix, order in zip(_batches(result), _batches(x), info.reshape(-1)):
        size = len(matrix) if order == 0 else order - 1
        one[:size, :size] = linalg.cholesky(matrix[:size, :size])
    return result


@quiet
def cholesky_info(x: np.ndarray) -> np.ndarray:
    return np.array([_first_bad_minor(m) for m in _batches(x)], np.int32).reshape(x.shape[:-2])


def _first_bad_minor(matrix: np.ndarray) -> int:
    """0 where the matrix is positive definite, else the order of its first leading minor that is not: by bisection."""
    if _is_positive(matrix):
        return 0
    low, high = 0, len(matrix)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_positive(matrix[:middle, :middle]) else (low, middle)
    return high


def _is_positive(matrix: np.ndarray) -> bool:
    try:
        linalg.cholesky(matrix)
    except linalg.LinAlgError:
        return False
    return True


# Linear systems


@quiet
def packed_lu(x: np.ndarray) -> np.ndarray:
    factors, pivots = lu(x)
    zero = np.diagonal(factors, axis1=-2, axis2=-1) == 0
    info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if zero.shape[-1] else np.zeros(zero.shape[:-1])
    return _pack(_flat(factors), pivots, info[..., None], dtype=x.dtype)


def _singular(name: str, what: str, a: np.ndarray) -> LinAlgError:
    """The error for a batch in which some matrix is singular."""
    factors, _ = lu(a)
    zero = _batches(factors).diagonal(axis1=-2, axis2=-1) == 0
    bad = np.flatnonzero(zero.any(-1))
    number = int(bad[0]) if len(bad) else 0
    place = int(zero[number].argmax()) + 1 if len(bad) else a.shape[-1]
    if name == "solve":
        return LinAlgError(
            f"linalg.solve: {_element(a, number)}The solver failed because the input matrix is singular."
        )
    return LinAlgError(
        f"linalg.{name}: {_element(a, number)}The diagonal element {place} is zero, the {what} could not be completed "
        f"because the input matrix is singular."
    )


@quiet
def solve(a: np.ndarray, b: np.ndarray, strict: bool) -> np.ndarray:
    try:
        return linalg.solve(a, b)
    except linalg.LinAlgError:
        if strict:
            raise _singular("solve", "solve", a) from None
    result = np.empty(b.shape, b.dtype)
    for one, matrix, right in zip(_batches(result), _batches(a), _batches(b)):
        try:
            one[...] = linalg.solve(matrix, right)
        except linalg.LinAlgError:
            factors, pivots = lu(matrix)
            lower = solve_triangular(factors, right[pivot_order(pivots, len(matrix))], upper=False, unit=True)
            one[...] = solve_triangular(factors, lower, upper=True, unit=False)
    return result


@quiet
def inv(x: np.ndarray, strict: bool) -> np.ndarray:
    try:
        return linalg.inv(x)
    except linalg.LinAlgError:
        if strict:
            raise _singular("inv", "inversion", x) from None
    result = np.empty(x.shape, x.dtype)
    for one, matrix in zip(_batches(result), _batches(x)):
        try:
            one[...] = linalg.inv(matrix)
        except linalg.LinAlgError:
            one[...] = lu(matrix)[0]  # as LAPACK, which leaves its factors
    return result


def pinv(x: np.ndarray, cutoff: np.ndarray, hermitian: bool) -> np.ndarray:
    m, n = x.shape[-2:]
    if hermitian and x.size:
        values, vectors = linalg.eigh(x)
        keep = np.abs(values) > cutoff[..., None]
        inverse = np.where(keep, 1 / np.where(keep, values, 1), 0)
        return np.matmul(vectors * inverse[..., None, :], _adjoint(vectors))
    if not x.size:
        return np.zeros((*x.shape[:-2], n, m), x.dtype)
    u, s, vh = linalg.svd(x, full_matrices=False)
    keep = s > cutoff[..., None]
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0)
    return np.matmul(_adjoint(vh) * inverse[..., None, :], _adjoint(u))


# Determinants


@quiet
def det(x: np.ndarray) -> np.ndarray:
    return np.asarray(linalg.det(x))


@quiet
def slogdet(x: np.ndarray) -> np.ndarray:
    sign, size = linalg.slogdet(x)
    return np.stack([sign, size.astype(x.dtype)], -1)


@quiet
def cofactor(x: np.ndarray) -> np.ndarray:
    """conj(det(U) det(V^H)) U diag(products of the other singular values) V^H, conjugated."""
    if not x.size:
        return np.empty(x.shape, x.dtype)
    u, s, vh = linalg.svd(x)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
    unit = (linalg.det(u) * linalg.det(vh))[..., None, None]
    return np.matmul(u.conj() * others[..., None, :], vh.conj()) * unit


# Factorizations


def qr(x: np.ndarray, complete: bool) -> np.ndarray:
    q, r = linalg.qr(x, "complete" if complete else "reduced")
    return _pack(_flat(q), _flat(r), dtype=x.dtype)


def reflectors(x: np.ndarray) -> np.ndarray:
    h, tau = linalg.qr(x, "raw")
    return _pack(_flat(h.swapaxes(-1, -2)), tau, dtype=x.dtype)


def svd(x: np.ndarray, full: bool) -> np.ndarray:
    u, s, vh = linalg.svd(x, full_matrices=full)
    return _pack(_flat(u), s, _flat(vh), dtype=x.dtype)


def svdvals(x: np.ndarray) -> np.ndarray:
    return linalg.svd(x, compute_uv=False)


def eigh(x: np.ndarray, upper: bool) -> np.ndarray:
    w, v = linalg.eigh(x, "U" if upper else "L")
    return _pack(w, _flat(v), dtype=x.dtype)


def eigvalsh(x: np.ndarray, upper: bool) -> np.ndarray:
    return linalg.eigvalsh(x, "U" if upper else "L")


def _complex(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.complex64)


def eig(x: np.ndarray) -> np.ndarray:
    w, v = linalg.eig(x)
    return _pack(w, _flat(v), dtype=_complex(x.dtype))


def eigvals(x: np.ndarray) -> np.ndarray:
    return linalg.eigvals(x).astype(_complex(x.dtype), copy=False)


# The exponential: scaling and squaring with the diagonal Pade approximant of degree 13 (Higham 2005)

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_LARGEST = 5.371920351148152
"""The 1-norm up to which the approximant is exact to float64."""


@quiet
def matrix_exp(x: np.ndarray) -> np.ndarray:
    if not x.size:
        return x.copy()
    wide = x.astype(np.result_type(x.dtype, np.float64))
    size = np.abs(wide).sum(-2).max(-1)
    halvings = np.ceil(np.log2(np.maximum(size / _LARGEST, 1)))
    halvings = np.where(np.isfinite(halvings), halvings, 0).astype(int)
    a = wide / (2.0**halvings)[..., None, None]
    b, one = _PADE, np.eye(x.shape[-1])
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    u = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    v = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    result = linalg.solve(v - u, v + u)
    for step in range(int(halvings.max())):
        result = np.where((halvings > step)[..., None, None], result @ result, result)
    return result.astype(x.dtype)


# Symmetric indefinite factorization, which NumPy does not have


def _lapack(name: str, x: np.ndarray) -> Any:
    try:
        from scipy.linalg import lapack
    except ImportError:
        raise NotImplementedError("linalg.ldl_factor needs SciPy's LAPACK: pip install jitcore[scipy]") from None
    return lapack.get_lapack_funcs((name,), (x,))[0]


def _ldl_family(x: np.ndarray, hermitian: bool) -> str:
    return "he" if hermitian and x.dtype.kind == "c" else "sy"


def ldl(x: np.ndarray, hermitian: bool) -> np.ndarray:
    n = x.shape[-1]
    result = np.empty((*x.shape[:-2], n * n + n + 1), x.dtype)
    if n == 0:
        result[...] = 0
        return result
    factor = _lapack(f"{_ldl_family(x, hermitian)}trf", x)
    for one, matrix in zip(result.reshape(-1, n * n + n + 1), _batches(x)):
        factors, pivots, info = factor(matrix, lower=1)
        one[: n * n] = np.tril(factors).reshape(-1)
        one[n * n : n * n + n] = pivots
        one[-1] = info
    return result


def _check_ldl_pivots(pivots: np.ndarray) -> None:
    """LAPACK trusts them: rows from 1, a block of two rows twice as the same negative number."""
    size, row = len(pivots), 0
    while row < size:
        pivot = pivots[row]
        is_pair = pivot < 0
        if not 1 <= abs(pivot) <= size or (is_pair and (row + 1 == size or pivots[row + 1] != pivot)):
            raise LinAlgError(f"linalg.ldl_solve: the pivots {pivots.tolist()} are not those of a factorization")
        row += 1 + is_pair


def ldl_solve(ld: np.ndarray, pivots: np.ndarray, b: np.ndarray, hermitian: bool) -> np.ndarray:
    result = np.empty(b.shape, b.dtype)
    if not b.size:
        return result
    substitute = _lapack(f"{_ldl_family(ld, hermitian)}trs", ld)
    for one, factors, order, right in zip(
        _batches(result), _batches(ld), pivots.reshape(-1, pivots.shape[-1]), _batches(b)
    ):
        _check_ldl_pivots(order)
        one[...] = substitute(factors, order, right, lower=1)[0]
    return result


KERNELS: dict[OpSpec, Kernel] = {
    ops.CHOLESKY: cholesky,
    ops.CHOLESKY_INFO: cholesky_info,
    ops.LU: packed_lu,
    ops.PIVOT_ORDER: pivot_order,
    ops.SOLVE: solve,
    ops.SOLVE_TRIANGULAR: quiet(solve_triangular),
    ops.INV: inv,
    ops.PINV: _converging("pinv", pinv),
    ops.DET: det,
    ops.COFACTOR: _converging("det", cofactor),
    ops.SLOGDET: slogdet,
    ops.QR: quiet(qr),
    ops.REFLECTORS: quiet(reflectors),
    ops.SVD: _converging("svd", svd),
    ops.SVDVALS: _converging("svdvals", svdvals),
    ops.EIGH: _converging("eigh", eigh),
    ops.EIGVALSH: _converging("eigvalsh", eigvalsh),
    ops.EIG: _converging("eig", eig),
    ops.EIGVALS: _converging("eigvals", eigvals),
    ops.MATRIX_EXP: matrix_exp,
    ops.LDL: ldl,
    ops.LDL_SOLVE: ldl_solve,
}
