"""Functions of one operand, elementwise, and the few composites over them. One table row per primitive."""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import int64

from ..device import get_default_dtype
from ..dispatch import NONE, apply
from ..promotion import as_operand, binary, promoted, result_type
from ..tensor import Tensor, method, row_major
from ..typeinfo import finfo
from .compare import isnan, refuse_complex
from .half import in_float32, reals_in_float32
from .inplace import store, with_inplace


def _unary(spec: OpSpec, name: str | None = None) -> Any:
    """A function of floats; integers and bool become the default dtype first."""

    def operation(input: Tensor) -> Tensor:
        if input._array.dtype.kind in "biu":
            input = apply(ops.CAST, (input,), {"dtype": get_default_dtype()})
        return apply(spec, (input,), NONE)

    operation.__name__ = operation.__qualname__ = name or spec.name
    operation.__doc__ = f"{spec.doc} Elementwise; integers become the default dtype."
    return with_inplace(method(operation))


exp = _unary(ops.EXP)
expm1 = _unary(ops.EXPM1)
log = _unary(ops.LOG)
log1p = _unary(ops.LOG1P)
log2 = _unary(ops.LOG2)
sqrt = _unary(ops.SQRT)
rsqrt = _unary(ops.RSQRT)
sin = _unary(ops.SIN)
cos = _unary(ops.COS)
tan = _unary(ops.TAN)
asin = arcsin = _unary(ops.ASIN)
acos = arccos = _unary(ops.ACOS)
atan = arctan = _unary(ops.ATAN)
sinh = _unary(ops.SINH)
cosh = _unary(ops.COSH)
tanh = _unary(ops.TANH)
sigmoid = _unary(ops.SIGMOID)
erf = _unary(ops.ERF)


def _rounding(spec: OpSpec) -> Any:
    """A function of floats that leaves integers alone."""

    def operation(input: Tensor) -> Tensor:
        if input._array.dtype.kind in "iu":
            return apply(ops.COPY, (input,), NONE)
        return apply(spec, (input,), NONE)

    operation.__name__ = operation.__qualname__ = spec.name
    operation.__doc__ = f"{spec.doc} Elementwise; integers stay as they are."
    return with_inplace(method(operation))


floor = _rounding(ops.FLOOR)
ceil = _rounding(ops.CEIL)
trunc = fix = _rounding(ops.TRUNC)
_round = _rounding(ops.ROUND)


@with_inplace
@method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Nearest integer, halves to even; to `decimals` places where given."""
    if not decimals:
        return _round(input)
    scale = 10.0**decimals
    return div_(_round(binary(ops.MUL, input, scale)), scale)


def div_(x: Any, y: Any) -> Tensor:
    """x / y as a float."""
    return binary(ops.DIV, x, y, to_float=True)


@with_inplace
@method
def neg(input: Tensor) -> Tensor:
    """-input. Raises RuntimeError for bool."""
    if input._array.dtype.kind == "b":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. Use the `~` or `logical_not()` instead."
        )
    return apply(ops.NEG, (input,), NONE)


@method
def abs(input: Tensor) -> Tensor:
    """|input|."""
    if input._array.dtype.kind == "b":
        raise RuntimeError("abs is not offered for bool; convert with .to(jitcore.int64) first")
    return apply(ops.ABS, (input,), NONE)


@method
def abs_(self: Tensor) -> Tensor:
    """|self| in place. Raises RuntimeError for a complex tensor, whose sizes are real."""
    if _is_complex(self):
        raise RuntimeError("In-place abs is not supported for complex tensors.")
    return store(self, abs(self))


@with_inplace
@method
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of input."""
    if input._array.dtype.kind == "b":
        return apply(ops.COPY, (input,), NONE)
    return apply(ops.SIGN, (input,), NONE)


negative, absolute = neg, abs
for _name, _function in (
    ("negative", neg), ("absolute", abs), ("arcsin", asin), ("arccos", acos), ("arctan", atan),
    ("fix", trunc),
):  # fmt: skip
    method(_function, name=_name)


@with_inplace
@method
def reciprocal(input: Tensor) -> Tensor:
    """1 / input."""
    return div_(1, input) if input._array.dtype.kind in "biu" else binary(ops.DIV, 1.0, input)


@with_inplace
@method
def square(input: Tensor) -> Tensor:
    """input * input; bool becomes int64."""
    if input._array.dtype.kind == "b":
        input = apply(ops.CAST, (input,), {"dtype": int64})
    return apply(ops.MUL, (input, input), NONE)


@with_inplace
@method
@in_float32
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return div_(log(input), 2.302585092994046)


@with_inplace
@method
@in_float32
def exp2(input: Tensor) -> Tensor:
    """2 ** input."""
    return exp(binary(ops.MUL, input, 0.6931471805599453))


@with_inplace
@method
@reals_in_float32
def erfc(input: Tensor) -> Tensor:
    """1 - erf(input)."""
    return binary(ops.SUB, 1.0, erf(input))


@with_inplace
@method
@in_float32
def asinh(input: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    x = _floating(input)
    if _is_complex(x):
        return times_j(asin(times_j(x)), -1)
    size = abs(x)
    # log1p of what asinh(|x|) is above 0 keeps small x accurate: sqrt(x * x + 1) - 1 = x * x / (sqrt(x * x + 1) + 1)
    square_ = apply(ops.MUL, (x, x), NONE)
    root = sqrt(binary(ops.ADD, square_, 1.0))
    beyond = binary(ops.ADD, size, binary(ops.DIV, square_, binary(ops.ADD, root, 1.0)))
    return binary(ops.MUL, sign(x), log1p(beyond))


@with_inplace
@method
@in_float32
def acosh(input: Tensor) -> Tensor:
    """Inverse hyperbolic cosine; NaN below 1."""
    x = _floating(input)
    if _is_complex(x):  # the one of acos(x) * j and acos(x) * -j whose real part is not below 0
        found = acos(x)
        return where(signbit(x.imag), times_j(found, -1), times_j(found))
    above = binary(ops.SUB, x, 1.0)
    return log1p(binary(ops.ADD, above, sqrt(binary(ops.MUL, above, binary(ops.ADD, x, 1.0)))))


@with_inplace
@method
@in_float32
def atanh(input: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; NaN outside [-1, 1]."""
    x = _floating(input)
    if _is_complex(x):
        return times_j(atan(times_j(x)), -1)
    return binary(ops.MUL, log1p(div_(binary(ops.MUL, x, 2.0), binary(ops.SUB, 1.0, x))), 0.5)


def _is_complex(x: Tensor) -> bool:
    return x._array.dtype.kind == "c"


def times_j(x: Tensor, sign: int = 1) -> Tensor:
    """x * j (or x * -j) of a complex x, without rounding."""
    real, imag = apply(ops.REAL, (x,), NONE), apply(ops.IMAG, (x,), NONE)
    parts = (neg(imag), real) if sign > 0 else (imag, neg(real))
    return apply(ops.MAKE_COMPLEX, parts, NONE)


def _floating(input: Tensor) -> Tensor:
    if input._array.dtype.kind in "biu":
        return apply(ops.CAST, (input,), {"dtype": get_default_dtype()})
    return input


@with_inplace
@method
def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    refuse_complex("deg2rad", input)
    return binary(ops.MUL, _floating(input), math.pi / 180)


@with_inplace
@method
def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    refuse_complex("rad2deg", input)
    return binary(ops.MUL, _floating(input), 180 / math.pi)


@with_inplace
@method
@in_float32
def sinc(input: Tensor) -> Tensor:
    """sin(pi * input) / (pi * input); 1 at 0."""
    x = binary(ops.MUL, _floating(input), math.pi)
    zero = binary(ops.EQ, x, 0.0)
    safe = where(zero, 1.0, x)
    return where(zero, 1.0, div_(sin(safe), safe))


@method
def positive(input: Tensor) -> Tensor:
    """input itself."""
    return input


@with_inplace
@method
@reals_in_float32
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(input / (1 - input)), input first clamped to [eps, 1 - eps] where eps is given."""
    x = input if eps is None else clamp(input, eps, 1 - eps)
    return log(div_(x, binary(ops.SUB, 1.0, x)))


@with_inplace
@method
def frac(input: Tensor) -> Tensor:
    """input without its integer part."""
    return binary(ops.SUB, input, trunc(input))


@with_inplace
@method
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input limited to [min, max]; either may be None, a number or a tensor. NaN stays NaN."""
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    bounds = [b for b in (min, max) if b is not None]
    dtype = result_type(input, *bounds)
    x = as_operand(input, dtype)
    # Selects rather than maximum and minimum: their gradient at a bound is x's alone, as in PyTorch.
    if min is not None:
        low = as_operand(min, dtype)
        x = apply(ops.WHERE, (apply(ops.LT, (x, low), NONE), low, x), NONE)
    if max is not None:
        high = as_operand(max, dtype)
        x = apply(ops.WHERE, (apply(ops.GT, (x, high), NONE), high, x), NONE)
    return x


clip = clamp
method(clamp, name="clip")
method(getattr(Tensor, "clamp_"), name="clip_")  # noqa: B009


@with_inplace
@method
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """input, but at least min."""
    return clamp(input, min=min)


@with_inplace
@method
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """input, but at most max."""
    return clamp(input, max=max)


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where condition holds, else other; both broadcast and promote. With one argument, `nonzero` as a tuple."""
    if input is None and other is None:
        from .order import nonzero

        return nonzero(condition, as_tuple=True)
    if not isinstance(condition, Tensor) or condition._array.dtype.kind != "b":
        given = condition.dtype.name if isinstance(condition, Tensor) else type(condition).__name__
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got {given}")
    x, y = promoted((input, other))
    return apply(ops.WHERE, (condition, x, y), NONE)


@method(name="where")
def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """self where condition holds, else other."""
    return where(condition, self, other)


@with_inplace
@method
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with the number (or 0-d tensor) `value` where mask holds; the mask broadcasts."""
    if mask._array.dtype.kind != "b":
        raise RuntimeError(f"masked_fill only supports boolean masks, but got mask with dtype {mask.dtype.name}")
    if isinstance(value, Tensor) and value._array.ndim:
        raise RuntimeError(
            f"masked_fill only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._array.ndim} dimension(s)."
        )
    return row_major(apply(ops.WHERE, (mask, as_operand(value, input.dtype), input), NONE))


@with_inplace
@method
def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf` (by default the largest and smallest number)."""
    if input._array.dtype.kind in "biu":
        return apply(ops.COPY, (input,), NONE)
    if _is_complex(input):
        parts = [nan_to_num(part, nan, posinf, neginf) for part in (input.real, input.imag)]
        return apply(ops.MAKE_COMPLEX, parts, NONE)
    limits = finfo(input.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    infinity = float("inf")
    x = where(isnan(input), as_operand(nan, input.dtype), input)
    x = where(binary(ops.EQ, x, infinity), as_operand(high, input.dtype), x)
    return where(binary(ops.EQ, x, -infinity), as_operand(low, input.dtype), x)


@method
def signbit(input: Tensor) -> Tensor:
    """True where input is below zero (-0.0 counts for floats)."""
    if input._array.dtype.kind == "f":
        return binary(ops.LT, binary(ops.ATAN2, input, -1.0), 0.0)
    return binary(ops.LT, input, 0)
