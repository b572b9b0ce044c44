"""Derivatives of linear algebra.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation"
(2008); M. Seeger et al., "Auto-differentiating linear algebra" (2017); S. Walter and L. Lehmann, "Algorithmic
differentiation of linear algebra functions with application in optimum experimental design" (2010) for QR;
G. Golub and V. Pereyra, "The differentiation of pseudo-inverses" (1973). Complex gradients are PyTorch's, so A^T of the
real formulas is A^H. Where eigenvalues or singular values coincide, factors that nothing uses add nothing.
"""

from __future__ import annotations

from jitcore_ir import ops

from ...dispatch import apply
from ...ops.matrices import beside, cut, dot, identity, mH, mT, permutation, solve, triangular, unit_lower
from ...promotion import as_operand
from ...tensor import Tensor, shape_of
from ..rules import not_differentiable, vjp


def _row(x: Tensor) -> Tensor:
    return x.unsqueeze(-2)


def _column(x: Tensor) -> Tensor:
    return x.unsqueeze(-1)


def _times(vector: Tensor, like: Tensor) -> Tensor:
    """A real vector in the dtype of what it multiplies."""
    return as_operand(vector, like.dtype)


def _skew(x: Tensor) -> Tensor:
    return x - mH(x)


def _over_gaps(x: Tensor, gaps: Tensor) -> Tensor:
    """x / gaps off the diagonal, 0 on it and where x is 0."""
    unused = identity(shape_of(x)[-1]) | (x == 0) & (gaps == 0)
    return x.masked_fill(unused, 0) / _times(gaps.masked_fill(unused, 1), x)


# Cholesky, triangular and general systems


def _cholesky_back(g: Tensor, result: Tensor) -> Tensor:
    inner = dot(mH(result), g)
    inner = (inner.tril() + mH(inner.tril(-1))) * 0.5
    upper = mH(result)
    return triangular(result, triangular(upper, inner, upper=True), upper=False, left=False)


def _solve_back(g: Tensor, a: Tensor) -> Tensor:
    return solve(mH(a), g)


vjp(ops.CHOLESKY, x=_cholesky_back)
vjp(ops.SOLVE, a=lambda g, a, result: -dot(_solve_back(g, a), mH(result)), b=_solve_back)
vjp(ops.INV, x=lambda g, result: -dot(mH(result), g, mH(result)))


def _triangular_back(g: Tensor, a: Tensor, upper: bool, unit: bool) -> Tensor:
    return triangular(mH(a), g, upper=not upper, unit=unit)


def _triangle_back(g: Tensor, a: Tensor, result: Tensor, upper: bool, unit: bool) -> Tensor:
    whole = -dot(_triangular_back(g, a, upper, unit), mH(result))
    return whole.triu(int(unit)) if upper else whole.tril(-int(unit))


vjp(ops.SOLVE_TRIANGULAR, a=_triangle_back, b=_triangular_back)


def _pinv_back(g: Tensor, x: Tensor, result: Tensor) -> Tensor:
    (m, n), p, ph, gh = shape_of(x)[-2:], result, mH(result), mH(g)
    if m <= n:
        k = dot(gh, p)
        kph = dot(k, ph)
        return -mH(dot(p, k)) + kph - dot(x, p, kph) + dot(ph, p, gh - dot(k, x))
    k = dot(p, gh)
    phk = dot(ph, k)
    return -mH(dot(k, p)) + dot(gh - dot(x, k), p, ph) + phk - dot(phk, p, x)


vjp(ops.PINV, x=_pinv_back)

# Determinants


def _cofactor_back(g: Tensor, x: Tensor, result: Tensor) -> Tensor:
    """C = det(X) X^-T has dC = tr(X^-1 dX) C - X^-T dX^T C, where X has an inverse."""
    h, inverse = g.conj(), mT(apply(ops.INV, (x,), {"strict": False}))
    inner = (h * result).sum((-2, -1), keepdim=True)
    return (inverse * inner - dot(result, mT(h), inverse)).conj()


vjp(ops.DET, x=lambda g, x: _column(_column(g)) * apply(ops.COFACTOR, (x,)).conj())
vjp(ops.COFACTOR, x=_cofactor_back)


def _slogdet_back(g: Tensor, x: Tensor, result: Tensor) -> Tensor:
    size = g[..., 1]
    if g.dtype.is_complex:
        turned = apply(ops.IMAG, (g[..., 0].conj() * result[..., 0],))
        size = apply(ops.MAKE_COMPLEX, (apply(ops.REAL, (size,)), -turned))
    one = as_operand(identity(shape_of(x)[-1]), x.dtype)
    return solve(mH(x), one * _column(_column(size)))


vjp(ops.SLOGDET, x=_slogdet_back)

# LU, QR


def _lu_back(g: Tensor, result: Tensor, x_shape: tuple) -> Tensor:
    """A = P L U. The square part of the factors by Giles; what lies beside or below it follows from that."""
    m, n = x_shape[-2:]
    k = min(m, n)
    factors, pivots, _ = cut(result, (m, n), (k,), (1,))
    gradient, _, _ = cut(g, (m, n), (k,), (1,))
    lower, upper = unit_lower(factors, k), factors[..., :k, :].triu()
    g_lower, g_upper = gradient[..., :, :k].tril(-1), gradient[..., :k, :].triu()
    square_lower, square_upper = lower[..., :k, :], upper[..., :, :k]
    below = dot(mH(square_lower), g_lower[..., :k, :])
    above = dot(g_upper[..., :, :k], mH(square_upper))
    if m < n:
        below = below - dot(g_upper[..., :, k:], mH(upper[..., :, k:]))
    elif m > n:
        above = above - dot(mH(lower[..., k:, :]), g_lower[..., k:, :])
    inner = below.tril(-1) + above.triu()
    adjoint_lower, adjoint_upper = mH(square_lower), mH(square_upper)
    inner = triangular(adjoint_upper, inner, upper=False, left=False)
    if m < n:
        whole = triangular(adjoint_lower, beside(inner, g_upper[..., :, k:]), upper=True, unit=True)
    else:
        whole = triangular(adjoint_lower, inner, upper=True, unit=True)
        if m > n:
            rest = triangular(adjoint_upper, g_lower[..., k:, :], upper=False, left=False)
            whole = apply(ops.CONCAT, (whole, rest), {"axis": whole._array.ndim - 2})
    return dot(permutation(pivots, m, g), whole)


def _qr_back(g: Tensor, result: Tensor, x_shape: tuple, complete: bool) -> Tensor:
    """A = [X Y] with X = Q R1 and Y = Q R2, where R1 is square: Y's part moves to Q's gradient."""
    m, n = x_shape[-2:]
    if complete and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols.",
        )
    k = min(m, n)
    (q, r), (gq, gr) = (cut(packed, (m, k), (k, n)) for packed in (result, g))
    if m >= n:
        return _tall_qr_back(gq, gr, q, r)
    r1, r2, g1, g2 = r[..., :, :m], r[..., :, m:], gr[..., :, :m], gr[..., :, m:]
    gq = gq + dot(dot(q, r2), mH(g2))
    return beside(_tall_qr_back(gq, g1, q, r1), dot(q, g2))


def _tall_qr_back(gq: Tensor, gr: Tensor, q: Tensor, r: Tensor) -> Tensor:
    inner = (dot(gr, mH(r)) - dot(mH(q), gq)).triu()
    off = inner.triu(1)
    diagonal = inner - off
    diagonal = as_operand(apply(ops.REAL, (diagonal,)), inner.dtype) if inner.dtype.is_complex else diagonal
    whole = gq + dot(q, off + mH(off) + diagonal)
    return triangular(mH(r), whole, upper=False, left=False)


vjp(ops.LU, x=_lu_back)
vjp(ops.QR, x=_qr_back)

# Eigenvalues and singular values


def _svd_back(g: Tensor, result: Tensor, x_shape: tuple, full: bool) -> Tensor:
    m, n = x_shape[-2:]
    k = min(m, n)
    shapes = (m, m if full else k), (k,), (n if full else k, n)
    u, s, vh = cut(result, *shapes)
    gu, gs, gvh = cut(g, *shapes)
    if full:  # the vectors of no singular value carry none
        u, gu, vh, gvh = u[..., :, :k], gu[..., :, :k], vh[..., :k, :], gvh[..., :k, :]
    if s.dtype.is_complex:
        s, gs = apply(ops.REAL, (s,)), apply(ops.REAL, (gs,))
    inner_u, inner_v = _skew(dot(mH(u), gu)), _skew(dot(vh, mH(gvh)))
    square = s * s
    inner = _over_gaps(inner_u * _times(_row(s), u) + inner_v * _times(_column(s), u), _row(square) - _column(square))
    diagonal = _times(gs, u)
    if u.dtype.is_complex:
        diagonal = diagonal + inner_u.diagonal(0, -2, -1) / _times(2 * s, u)
    inner = inner + diagonal.diag_embed()
    if m > k:
        over = gu / _times(_row(s), u)
        return dot(dot(u, inner) + over - dot(u, mH(u), over), vh)
    if n > k:
        over = gvh / _times(_column(s), u)
        return dot(u, dot(inner, vh) + over - dot(over, mH(vh), vh))
    return dot(u, inner, vh)


def _svdvals_back(g: Tensor, x: Tensor) -> Tensor:
    m, n = shape_of(x)[-2:]
    k = min(m, n)
    u, _, vh = cut(apply(ops.SVD, (x,), {"full": False}), (m, k), (k,), (k, n))
    return dot(u * _times(_row(g), u), vh)


def _eigh_back(g: Tensor, result: Tensor, x_shape: tuple) -> Tensor:
    n = x_shape[-1]
    (w, v), (gw, gv) = (cut(packed, (n,), (n, n)) for packed in (result, g))
    if w.dtype.is_complex:
        w, gw = apply(ops.REAL, (w,)), apply(ops.REAL, (gw,))
    inner = _over_gaps(_skew(dot(mH(v), gv)) * 0.5, _row(w) - _column(w)) + _times(gw, v).diag_embed()
    return dot(v, inner, mH(v))


def _eigvalsh_back(g: Tensor, x: Tensor, upper: bool) -> Tensor:
    n = shape_of(x)[-1]
    _, v = cut(apply(ops.EIGH, (x,), {"upper": upper}), (n,), (n, n))
    return dot(v * _times(_row(g), v), mH(v))


def _eig_back(g: Tensor, result: Tensor, x_shape: tuple) -> Tensor:
    """Eigenvectors have length 1, so that their gradient counts across them only."""
    n = x_shape[-1]
    (w, v), (gw, gv) = (cut(packed, (n,), (n, n)) for packed in (result, g))
    along = dot(mH(v), gv)
    lengths = apply(ops.REAL, (along.diagonal(0, -2, -1),))
    along = along - dot(mH(v), v) * _times(_row(lengths), v)
    inner = _over_gaps(along, (_row(w) - _column(w)).conj()) + gw.diag_embed()
    return solve(mH(v), dot(inner, mH(v)))


def _eigvals_back(g: Tensor, x: Tensor) -> Tensor:
    n = shape_of(x)[-1]
    _, v = cut(apply(ops.EIG, (x,)), (n,), (n, n))
    return solve(mH(v), _column(g) * mH(v))


vjp(ops.SVD, x=_svd_back)
vjp(ops.SVDVALS, x=_svdvals_back)
vjp(ops.EIGH, x=_eigh_back)
vjp(ops.EIGVALSH, x=_eigvalsh_back)
vjp(ops.EIG, x=_eig_back)
vjp(ops.EIGVALS, x=_eigvals_back)

# The exponential


def _matrix_exp_back(g: Tensor, x: Tensor) -> Tensor:
    """The corner of exp([[A^H, G], [0, A^H]])."""
    n, adjoint = shape_of(x)[-1], mH(x)
    below = beside(x.new_zeros(shape_of(x)), adjoint)
    whole = apply(ops.CONCAT, (beside(adjoint, g), below), {"axis": x._array.ndim - 2})
    return apply(ops.MATRIX_EXP, (whole,))[..., :n, n:]


vjp(ops.MATRIX_EXP, x=_matrix_exp_back)

not_differentiable(ops.CHOLESKY_INFO, ops.LDL, ops.LDL_SOLVE, ops.PIVOT_ORDER, ops.REFLECTORS)
