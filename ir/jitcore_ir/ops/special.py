"""Special functions by name: too long for generated code, so that programs call their NumPy kernels."""

from __future__ import annotations

from ..dtypes import FLOATING
from ..errors import AttributeValueError
from ..spec import Kind, Trait
from ..types import TensorType
from .rules import broadcast_shapes, check_dtype, op

__all__ = ["SPECIAL", "SPECIAL_OF_TWO"]

FUNCTIONS = frozenset((
    "digamma", "lgamma", "erfinv", "erfcx", "i0", "i0e", "i1", "i1e", "ndtri", "log_ndtr", "bessel_j0", "bessel_j1",
    "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "airy_ai",
))  # fmt: skip
FUNCTIONS_OF_TWO = frozenset((
    "polygamma", "zeta", "gammainc", "gammaincc", "nextafter", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he",
    "laguerre_polynomial_l", "legendre_polynomial_p", "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w",
))  # fmt: skip
"""Their meaning and the order of operands are those of PyTorch's `torch.special` (nextafter: C's)."""


@op("special", ("x",), {"function": Kind.STRING}, "The special function called `function`.", Trait.ELEMENTWISE)
def SPECIAL(x: TensorType, function: str) -> TensorType:
    if function not in FUNCTIONS:
        raise AttributeValueError(f"special: {function!r} is none of {', '.join(sorted(FUNCTIONS))}")
    check_dtype("special", "x", x.dtype, FLOATING)
    return x


@op(
    "special_of_two",
    ("x", "y"),
    {"function": Kind.STRING},
    "The special function of two operands called `function`.",
    Trait.ELEMENTWISE,
)
def SPECIAL_OF_TWO(x: TensorType, y: TensorType, function: str) -> TensorType:
    if function not in FUNCTIONS_OF_TWO:
        raise AttributeValueError(f"special_of_two: {function!r} is none of {', '.join(sorted(FUNCTIONS_OF_TWO))}")
    check_dtype("special_of_two", "x", x.dtype, FLOATING)
    check_dtype("special_of_two", "y", y.dtype, (x.dtype,))
    return TensorType(x.dtype, broadcast_shapes("special_of_two", (x.shape, y.shape)))
