"""`out=`: a function's result written into a tensor that the caller gives.

The names are those of PyTorch's functions that document the argument. Methods and operators do not take it.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from ..promotion import can_cast
from ..state import state
from ..tensor import Tensor
from .copies import resize_

TAKES_OUT: dict[str, frozenset[str]] = {
    "torch": frozenset(
        [
            "abs",
            "absolute",
            "acos",
            "acosh",
            "add",
            "addbmm",
            "addcdiv",
            "addcmul",
            "addmm",
            "addmv",
            "addr",
            "all",
            "amax",
            "amin",
            "aminmax",
            "angle",
            "any",
            "arange",
            "arccos",
            "arcsin",
            "arctan",
            "asin",
            "asinh",
            "atan",
            "atan2",
            "atanh",
            "baddbmm",
            "bernoulli",
            "bitwise_and",
            "bitwise_left_shift",
            "bitwise_not",
            "bitwise_or",
            "bitwise_right_shift",
            "bitwise_xor",
            "bmm",
            "bucketize",
            "cat",
            "ceil",
            "chain_matmul",
            "cholesky",
            "cholesky_inverse",
            "cholesky_solve",
            "clamp",
            "clip",
            "column_stack",
            "complex",
            "concat",
            "concatenate",
            "conj_physical",
            "copysign",
            "cos",
            "cosh",
            "cross",
            "cummax",
            "cummin",
            "cumprod",
            "cumsum",
            "deg2rad",
            "diag",
            "digamma",
            "div",
            "divide",
            "dot",
            "dstack",
            "empty",
            "eq",
            "erf",
            "erfc",
            "erfinv",
            "exp",
            "exp2",
            "expm1",
            "eye",
            "fix",
            "float_power",
            "floor",
            "floor_divide",
            "fmax",
            "fmin",
            "fmod",
            "frac",
            "frexp",
            "full",
            "gather",
            "ge",
            "geqrf",
            "greater",
            "greater_equal",
            "gt",
            "heaviside",
            "histc",
            "histogram",
            "hstack",
            "hypot",
            "i0",
            "igamma",
            "igammac",
            "index_add",
            "index_copy",
            "index_reduce",
            "index_select",
            "inner",
            "inverse",
            "isneginf",
            "isposinf",
            "kron",
            "kthvalue",
            "ldexp",
            "le",
            "less",
            "less_equal",
            "lgamma",
            "linspace",
            "log",
            "log10",
            "log1p",
            "log2",
            "logaddexp",
            "logaddexp2",
            "logcumsumexp",
            "logical_and",
            "logical_not",
            "logical_or",
            "logical_xor",
            "logit",
            "logspace",
            "lt",
            "lu_solve",
            "lu_unpack",
            "masked_select",
            "matmul",
            "matrix_power",
            "max",
            "maximum",
            "mean",
            "median",
            "min",
            "minimum",
            "mm",
            "mode",
            "msort",
            "mul",
            "multinomial",
            "mv",
            "mvlgamma",
            "nan_to_num",
            "nanmean",
            "nanmedian",
            "nanquantile",
            "narrow_copy",
            "ne",
            "neg",
            "negative",
            "nextafter",
            "nonzero",
            "norm",
            "normal",
            "not_equal",
            "ones",
            "ormqr",
            "outer",
            "polar",
            "polygamma",
            "pow",
            "qr",
            "quantile",
            "rad2deg",
            "rand",
            "randint",
            "randn",
            "randperm",
            "reciprocal",
            "remainder",
            "renorm",
            "round",
            "row_stack",
            "rsqrt",
            "searchsorted",
            "sgn",
            "sigmoid",
            "sign",
            "signbit",
            "sin",
            "sinc",
            "sinh",
            "sort",
            "sqrt",
            "square",
            "stack",
            "std",
            "std_mean",
            "sub",
            "subtract",
            "svd",
            "take_along_dim",
            "tan",
            "tanh",
            "tensordot",
            "topk",
            "triangular_solve",
            "tril",
            "triu",
            "true_divide",
            "trunc",
            "var",
            "var_mean",
            "vdot",
            "vstack",
            "where",
            "xlogy",
            "zeros",
        ]
    ),
    "linalg": frozenset(
        [
            "cholesky",
            "cholesky_ex",
            "cond",
            "cross",
            "det",
            "eig",
            "eigh",
            "eigvals",
            "eigvalsh",
            "householder_product",
            "inv",
            "inv_ex",
            "ldl_factor",
            "ldl_factor_ex",
            "ldl_solve",
            "lu",
            "lu_factor",
            "lu_factor_ex",
            "lu_solve",
            "matmul",
            "matrix_norm",
            "matrix_power",
            "matrix_rank",
            "norm",
            "pinv",
            "qr",
            "slogdet",
            "solve",
            "solve_ex",
            "solve_triangular",
            "svd",
            "svdvals",
            "tensorinv",
            "tensorsolve",
            "vecdot",
            "vector_norm",
        ]
    ),
    "fft": frozenset(
        [
            "fft",
            "fft2",
            "fftfreq",
            "fftn",
            "hfft",
            "hfft2",
            "hfftn",
            "ifft",
            "ifft2",
            "ifftn",
            "ihfft",
            "ihfft2",
            "ihfftn",
            "irfft",
            "irfft2",
            "irfftn",
            "rfft",
            "rfft2",
            "rfftfreq",
            "rfftn",
        ]
    ),
    "special": frozenset(
        [
            "airy_ai",
            "bessel_j0",
            "bessel_j1",
            "bessel_y0",
            "bessel_y1",
            "chebyshev_polynomial_t",
            "chebyshev_polynomial_u",
            "chebyshev_polynomial_v",
            "chebyshev_polynomial_w",
            "digamma",
            "entr",
            "erf",
            "erfc",
            "erfcx",
            "erfinv",
            "exp2",
            "expit",
            "expm1",
            "gammainc",
            "gammaincc",
            "gammaln",
            "hermite_polynomial_h",
            "hermite_polynomial_he",
            "i0",
            "i0e",
            "i1",
            "i1e",
            "laguerre_polynomial_l",
            "legendre_polynomial_p",
            "log1p",
            "log_ndtr",
            "logit",
            "modified_bessel_i0",
            "modified_bessel_i1",
            "modified_bessel_k0",
            "modified_bessel_k1",
            "multigammaln",
            "ndtr",
            "ndtri",
            "polygamma",
            "psi",
            "round",
            "scaled_modified_bessel_k0",
            "scaled_modified_bessel_k1",
            "shifted_chebyshev_polynomial_t",
            "shifted_chebyshev_polynomial_u",
            "shifted_chebyshev_polynomial_v",
            "shifted_chebyshev_polynomial_w",
            "sinc",
            "spherical_bessel_j0",
            "xlog1py",
            "xlogy",
            "zeta",
        ]
    ),
}
"""By namespace: torch itself, torch.linalg, torch.fft, torch.special."""


def with_out(function: Callable) -> Callable:
    """`function` with a keyword `out`: a tensor, or a tuple of as many as there are results."""

    @functools.wraps(function)
    def run(*arguments: Any, **keywords: Any) -> Any:
        if not keywords:  # the usual call pays 0.1 us
            return function(*arguments)
        out = keywords.pop("out", None)
        result = function(*arguments, **keywords)
        return result if out is None else _written(function.__name__, result, out)

    signature = inspect.signature(function)
    given = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    rest = [p for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    added = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    run.__signature__ = signature.replace(parameters=[*given, added, *rest])  # type: ignore[attr-defined]
    return run


def add_out(namespace: dict[str, Any], name: str) -> None:
    """Give the functions of a namespace their `out`."""
    for function in TAKES_OUT[name]:
        namespace[function] = with_out(namespace[function])


def _written(name: str, result: Any, out: Any) -> Any:
    if isinstance(result, tuple):
        if not isinstance(out, tuple | list) or len(out) != len(result):
            raise TypeError(f"{name}(): argument 'out' must be tuple of {len(result)} Tensors")
        parts = [_written(name, part, target) for part, target in zip(result, out, strict=True)]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if state.grad_enabled and (result.requires_grad or out.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            f"arguments requires grad."
        )
    if not can_cast(result.dtype, out.dtype):
        raise RuntimeError(f"result type {result.dtype.name} can't be cast to the desired output type {out.dtype.name}")
    if result._array.shape != out._array.shape:
        if out._array.size:
            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
                f"match the required output shape {list(result.shape)}.",
                stacklevel=3,
            )
        resize_(out, *result.shape)
    return out.copy_(result.detach())
