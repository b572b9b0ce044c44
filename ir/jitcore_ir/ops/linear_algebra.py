"""Linear algebra on the last two dimensions; all before them are batch dimensions.

An operation has one result. Factorizations give their factors side by side: each flattened, in the order named, along
one last axis (`packed`).
"""

from __future__ import annotations

from ..assumptions import equal, equal_shapes
from ..dtypes import DType, complex64, complex128, float32, float64, int32
from ..errors import DTypeError, ShapeError
from ..shapes import Dim, add, minimum, mul
from ..spec import Kind
from ..types import TensorType
from .complex_numbers import COMPLEX_OF_PART, PART
from .rules import check_dtype, op, show

__all__ = [
    "CHOLESKY", "CHOLESKY_INFO", "COFACTOR", "DET", "EIG", "EIGH", "EIGVALS", "EIGVALSH", "INV", "LDL", "LDL_SOLVE",
    "LU", "MATRIX_EXP", "PINV", "PIVOT_ORDER", "QR", "REFLECTORS", "SLOGDET", "SOLVE", "SOLVE_TRIANGULAR", "SVD",
    "SVDVALS",
]  # fmt: skip

_DTYPES = (float32, float64, complex64, complex128)


@op("cholesky", ("x",), {"strict": Kind.BOOL}, "Lower L with L L^H = x (read from x's lower triangle). strict: raise.")
def CHOLESKY(x: TensorType, strict: bool) -> TensorType:
    return _square("cholesky", x)


@op("cholesky_info", ("x",), {}, "0, or the order of the first leading minor that is not positive definite.")
def CHOLESKY_INFO(x: TensorType) -> TensorType:
    return TensorType(int32, _square("cholesky_info", x).shape[:-2])


@op("lu", ("x",), {}, "Packed: L below and U above the diagonal [m, n], pivots from 1 [k], info [1]; k = min(m, n).")
def LU(x: TensorType) -> TensorType:
    m, n, k = _sizes("lu", x)
    return _packed(x, mul(m, n), k, 1)


@op("pivot_order", ("pivots",), {"rows": Kind.DIM}, "The order of rows that exchanges with pivots (from 1) lead to.")
def PIVOT_ORDER(pivots: TensorType, rows: Dim) -> TensorType:
    check_dtype("pivot_order", "pivots", pivots.dtype, (int32,))
    if not pivots.rank:
        raise ShapeError("pivot_order: pivots is a scalar")
    return TensorType(int32, (*pivots.shape[:-1], rows))


@op("solve", ("a", "b"), {"strict": Kind.BOOL}, "x with a x = b, for matrices b. strict: raise where a is singular.")
def SOLVE(a: TensorType, b: TensorType, strict: bool) -> TensorType:
    return _right_side("solve", a, b)


@op(
    "solve_triangular", ("a", "b"), {"upper": Kind.BOOL, "unit": Kind.BOOL},
    "x with a x = b for a triangle of a; unit: its diagonal counts as ones.",
)  # fmt: skip
def SOLVE_TRIANGULAR(a: TensorType, b: TensorType, upper: bool, unit: bool) -> TensorType:
    return _right_side("solve_triangular", a, b)


@op("inv", ("x",), {"strict": Kind.BOOL}, "The inverse. strict: raise where x is singular; else infinities.")
def INV(x: TensorType, strict: bool) -> TensorType:
    return _square("inv", x)


@op(
    "pinv", ("x", "cutoff"), {"hermitian": Kind.BOOL},
    """The pseudoinverse; singular values up to cutoff [batch] count as zero. hermitian: of the matrix with x's lower
    triangle.""",
)  # fmt: skip
def PINV(x: TensorType, cutoff: TensorType, hermitian: bool) -> TensorType:
    m, n, _ = _sizes("pinv", x)
    check_dtype("pinv", "cutoff", cutoff.dtype, (_real(x.dtype),))
    if not equal_shapes(cutoff.shape, x.shape[:-2]):
        raise ShapeError(f"pinv: cutoff has shape {show(cutoff.shape)}, not {show(x.shape[:-2])}")
    return TensorType(x.dtype, (*x.shape[:-2], n, m))


@op("det", ("x",), {}, "The determinant.")
def DET(x: TensorType) -> TensorType:
    return TensorType(x.dtype, _square("det", x).shape[:-2])


@op("cofactor", ("x",), {}, "The matrix of cofactors, det(x) x^-T, for singular x too.")
def COFACTOR(x: TensorType) -> TensorType:
    return _square("cofactor", x)


@op("slogdet", ("x",), {}, "Sign and logarithm of the size of the determinant, along a last axis of size 2.")
def SLOGDET(x: TensorType) -> TensorType:
    return TensorType(x.dtype, (*_square("slogdet", x).shape[:-2], 2))


@op("qr", ("x",), {"complete": Kind.BOOL}, "Packed: Q [m, k], R [k, n]; k is min(m, n), or m where complete.")
def QR(x: TensorType, complete: bool) -> TensorType:
    m, n, k = _sizes("qr", x)
    k = m if complete else k
    return _packed(x, mul(m, k), mul(k, n))


@op("reflectors", ("x",), {}, "Packed: LAPACK's geqrf of x, R above the Householder vectors [m, n], and tau [k].")
def REFLECTORS(x: TensorType) -> TensorType:
    m, n, k = _sizes("reflectors", x)
    return _packed(x, mul(m, n), k)


@op("svd", ("x",), {"full": Kind.BOOL}, "Packed: U [m, k or m], S [k], V^H [k or n, n].")
def SVD(x: TensorType, full: bool) -> TensorType:
    m, n, k = _sizes("svd", x)
    return _packed(x, mul(m, m if full else k), k, mul(n if full else k, n))


@op("svdvals", ("x",), {}, "Singular values, falling.")
def SVDVALS(x: TensorType) -> TensorType:
    _, _, k = _sizes("svdvals", x)
    return TensorType(_real(x.dtype), (*x.shape[:-2], k))


@op("eigh", ("x",), {"upper": Kind.BOOL}, "Packed: eigenvalues [n] and eigenvectors [n, n] of a Hermitian triangle.")
def EIGH(x: TensorType, upper: bool) -> TensorType:
    n = _square("eigh", x).shape[-1]
    return _packed(x, n, mul(n, n))


@op("eigvalsh", ("x",), {"upper": Kind.BOOL}, "Eigenvalues of the Hermitian matrix with this triangle, rising.")
def EIGVALSH(x: TensorType, upper: bool) -> TensorType:
    return TensorType(_real(x.dtype), _square("eigvalsh", x).shape[:-1])


@op("eig", ("x",), {}, "Packed: eigenvalues [n] and eigenvectors [n, n], complex.")
def EIG(x: TensorType) -> TensorType:
    n = _square("eig", x).shape[-1]
    return _packed(TensorType(_complex(x.dtype), x.shape), n, mul(n, n))


@op("eigvals", ("x",), {}, "Eigenvalues, complex.")
def EIGVALS(x: TensorType) -> TensorType:
    return TensorType(_complex(x.dtype), _square("eigvals", x).shape[:-1])


@op("matrix_exp", ("x",), {}, "The exponential series of a matrix.")
def MATRIX_EXP(x: TensorType) -> TensorType:
    return _square("matrix_exp", x)


@op(
    "ldl",
    ("x",),
    {"hermitian": Kind.BOOL},
    "Packed: LAPACK's sytrf or hetrf of the lower triangle [n, n], pivots [n], info [1].",
)
def LDL(x: TensorType, hermitian: bool) -> TensorType:
    n = _square("ldl", x).shape[-1]
    return _packed(x, mul(n, n), n, 1)


@op("ldl_solve", ("ld", "pivots", "b"), {"hermitian": Kind.BOOL}, "x with a x = b for the matrix a that ldl factored.")
def LDL_SOLVE(ld: TensorType, pivots: TensorType, b: TensorType, hermitian: bool) -> TensorType:
    check_dtype("ldl_solve", "pivots", pivots.dtype, (int32,))
    if not equal_shapes(pivots.shape, ld.shape[:-1]):
        raise ShapeError(f"ldl_solve: pivots have shape {show(pivots.shape)}, not {show(ld.shape[:-1])}")
    return _right_side("ldl_solve", ld, b)


def _sizes(name: str, x: TensorType) -> tuple[Dim, Dim, Dim]:
    """Rows, columns and the smaller of both."""
    check_dtype(name, "x", x.dtype, _DTYPES)
    if x.rank < 2:
        raise ShapeError(f"{name}: the input tensor must have at least 2 dimensions, but its shape is {show(x.shape)}")
    return x.shape[-2], x.shape[-1], minimum(x.shape[-2], x.shape[-1])


def _square(name: str, x: TensorType) -> TensorType:
    m, n, _ = _sizes(name, x)
    if not equal(m, n):
        raise ShapeError(f"{name}: the matrices must be square, but they are {m} by {n}")
    return x


def _right_side(name: str, a: TensorType, b: TensorType) -> TensorType:
    _square(name, a)
    if b.dtype is not a.dtype:
        raise DTypeError(f"{name}: a is {a.dtype.name} but b is {b.dtype.name}")
    if b.rank != a.rank or not equal_shapes(b.shape[:-1], a.shape[:-1]):
        raise ShapeError(f"{name}: shapes {show(a.shape)} and {show(b.shape)} are not [*B, n, n] and [*B, n, k]")
    return b


def _packed(x: TensorType, *sizes: Dim) -> TensorType:
    total: Dim = 0
    for size in sizes:
        total = add(total, size)
    return TensorType(x.dtype, (*x.shape[:-2], total))


def _real(dtype: DType) -> DType:
    return PART.get(dtype, dtype)


def _complex(dtype: DType) -> DType:
    return COMPLEX_OF_PART.get(dtype, dtype)
