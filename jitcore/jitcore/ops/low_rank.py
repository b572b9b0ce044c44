"""The largest singular values by random projections: algorithm 5.1 of Halko, Martinsson and Tropp, "Finding structure
with randomness" (2011), for matrices whose rank is small."""

from __future__ import annotations

from ..linalg import factorization
from ..tensor import Tensor, shape_of
from .matrices import mH
from .sampling import randn


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) with U diag(S) V^H near A (A - M where M is given), from q random directions and `niter` iterations."""
    x = A if M is None else A - M
    if shape_of(x)[-2] < shape_of(x)[-1]:
        v, s, u = _of_tall(mH(x), q, niter)
        return u, s, v
    return _of_tall(x, q, niter)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """svd_lowrank of A's rows, less their mean where `center`: V holds the principal directions."""
    smallest = min(shape_of(A)[-2:])
    q = min(6, smallest) if q is None else q
    if not 0 <= q <= smallest:
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={smallest}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


def _of_tall(x: Tensor, q: int | None, niter: int | None) -> tuple[Tensor, Tensor, Tensor]:
    directions = randn(shape_of(x)[-1], 6 if q is None else q, dtype=x.dtype)
    basis = factorization.qr(x @ directions).Q
    for _ in range(2 if niter is None else niter):
        basis = factorization.qr(mH(x) @ basis).Q
        basis = factorization.qr(x @ basis).Q
    u, s, vh = factorization.svd(mH(basis) @ x, full_matrices=False)
    return basis @ u, s, mH(vh)
