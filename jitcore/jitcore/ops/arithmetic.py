"""Arithmetic on two operands: sums, products, quotients, powers, remainders, bits. Operands broadcast and promote."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops

from ..dispatch import NONE, apply
from ..promotion import NUMBERS, as_operand, binary, is_number, promoted
from ..tensor import Tensor, dtype_of, method
from .compare import refuse_complex
from .complex_numbers import real
from .half import both_in_float32, in_float32
from .inplace import with_inplace


@with_inplace
@method
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other."""
    return binary(ops.ADD, input, other if is_number(alpha, 1) else mul(other, alpha))


@with_inplace
@method
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other. Raises RuntimeError for two bool operands."""
    if _is_bool(input) and _is_bool(other):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` instead."
        )
    return binary(ops.SUB, input, other if is_number(alpha, 1) else mul(other, alpha))


@with_inplace
@method
def mul(input: Any, other: Any) -> Tensor:
    """input * other."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        return input * other
    return binary(ops.MUL, input, other)


@with_inplace
@method
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other as a float; rounding_mode "floor" or "trunc" rounds and keeps integers integers."""
    if rounding_mode is None:
        return binary(ops.DIV, input, other, to_float=True)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}"
        )
    x, y = promoted((input, other))
    if x.dtype.is_floating_point:
        return apply(ops.TRUNC, (apply(ops.DIV, (x, y)),))
    quotient = apply(ops.FLOOR_DIVIDE, (x, y))
    remainder_ = apply(ops.SUB, (x, apply(ops.MUL, (quotient, y))))
    return quotient + ((remainder_ != 0) & (quotient < 0))


@with_inplace
@method
def floor_divide(input: Any, other: Any) -> Tensor:
    """Largest integer not above input / other. Raises ZeroDivisionError for an integer divisor of 0."""
    return binary(ops.FLOOR_DIVIDE, input, other)


@with_inplace
@method
def remainder(input: Any, other: Any) -> Tensor:
    """input - floor(input / other) * other: the sign of other, as Python's `%`."""
    return binary(ops.REMAINDER, input, other)


@with_inplace
@method
def fmod(input: Any, other: Any) -> Tensor:
    """input - trunc(input / other) * other: the sign of input, as C's fmod."""
    return binary(ops.FMOD, input, other)


@with_inplace
@method
def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent. Raises RuntimeError for an integer tensor to a negative Python integer."""
    if isinstance(exponent, NUMBERS) and isinstance(input, Tensor):
        kind = input._array.dtype.kind
        if kind == "f":
            if exponent == 2:
                return apply(ops.MUL, (input, input), NONE)
            if exponent == 0.5:
                return apply(ops.SQRT, (input,), NONE)
        elif kind in "iu" and isinstance(exponent, int) and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    x, y = promoted((input, exponent))
    if x._array.dtype.kind == "b":
        raise RuntimeError("pow is not offered for bool operands; convert one with .to(jitcore.int64)")
    return apply(ops.POW, (x, y))


@with_inplace
@method
def atan2(input: Any, other: Any) -> Tensor:
    """Angle of the point (other, input), in radians."""
    return binary(ops.ATAN2, input, other, to_float=True)


@method
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger, elementwise; NaN where either is NaN."""
    return binary(ops.MAXIMUM, input, other)


@method
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller, elementwise; NaN where either is NaN."""
    return binary(ops.MINIMUM, input, other)


@method
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger, elementwise; the number where one is NaN."""
    x, y = promoted((input, other))
    return apply(ops.WHERE, (number_first(x, y, x >= y), x, y))


@method
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller, elementwise; the number where one is NaN."""
    x, y = promoted((input, other))
    return apply(ops.WHERE, (number_first(x, y, x <= y), x, y))


def number_first(x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
    """Where `chosen` holds, or y is NaN: there x is the extreme that counts numbers alone, and takes the gradient."""
    return chosen if not y.dtype.is_floating_point else chosen | apply(ops.ISNAN, (y,))


def _bits(spec: Any, name: str) -> Any:
    symbol = {"bitwise_and": "input & other", "bitwise_or": "input | other", "bitwise_xor": "input ^ other"}.get(name)
    symbol = symbol or ("input << other" if "left" in name else "input >> other")

    def operation(input: Any, other: Any) -> Tensor:
        x, y = promoted((input, other))
        kinds = "biu" if "shift" not in name else "iu"
        if x._array.dtype.kind not in kinds:
            raise RuntimeError(f"{name} is not offered for {dtype_of(x._array.dtype).name}; operands must be integers")
        return apply(spec, (x, y))

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{symbol}, bit by bit; integers (and bool, but for shifts)."
    return with_inplace(method(operation))


bitwise_and = _bits(ops.BITWISE_AND, "bitwise_and")
bitwise_or = _bits(ops.BITWISE_OR, "bitwise_or")
bitwise_xor = _bits(ops.BITWISE_XOR, "bitwise_xor")
bitwise_left_shift = _bits(ops.SHIFT_LEFT, "bitwise_left_shift")
bitwise_right_shift = _bits(ops.SHIFT_RIGHT, "bitwise_right_shift")


@with_inplace
@method
@in_float32
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return add(input, mul(weight, sub(end, input)))


@with_inplace
@method
@in_float32
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return add(input, mul(tensor1, tensor2), alpha=value)


@with_inplace
@method
@in_float32
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return add(input, div(tensor1, tensor2), alpha=value)


@method
@both_in_float32
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)), without overflow."""
    x, y = promoted((input, other), to_float=True)
    if x.is_complex():  # log of the quotient's sum, so that the angle of the larger one is kept as it is
        swapped = real(x) < real(y)
        large, small = apply(ops.WHERE, (swapped, y, x)), apply(ops.WHERE, (swapped, x, y))
        return large + (small - large).exp().log1p()
    top = maximum(x, y).detach()
    top = top.masked_fill(top.abs() == float("inf"), 0.0)
    return top + ((x - top).exp() + (y - top).exp()).log()


@with_inplace
@method
@both_in_float32
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input ** 2 + other ** 2), without overflow."""
    refuse_complex("hypot", input, other)
    x, y = (t.abs() for t in promoted((input, other), to_float=True))
    large, small = maximum(x, y), minimum(x, y)
    zero = large == 0
    ratio = div(small, large.masked_fill(zero, 1.0))
    return (large * (ratio * ratio + 1.0).sqrt()).masked_fill(zero, 0.0)


@with_inplace
@method
@both_in_float32
def xlogy(input: Tensor, other: Any) -> Tensor:
    """input * log(other); 0 where input is 0, unless other is NaN."""
    refuse_complex("xlogy", input, other)
    x, y = promoted((input, other), to_float=True)
    # Only where the logarithm is not finite: elsewhere the derivative by a zero input is log(other).
    zero = (x == 0) & ((y <= 0) | (y == float("inf")))
    return (x * y.masked_fill(zero, 1.0).log()).masked_fill(zero, 0.0)


@with_inplace
@method
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, `values` at 0."""
    x, v = promoted((input, values))
    step = apply(ops.CAST, (x > 0,), {"dtype": x.dtype})
    return apply(ops.WHERE, (x == 0, v.expand(x.shape) if not v._array.ndim else v, step), NONE)


@with_inplace
@method
def copysign(input: Tensor, other: Any) -> Tensor:
    """|input| with the sign of other."""
    refuse_complex("copysign", input, other)
    x, y = promoted((input, other), to_float=True)
    size = x.abs()
    return apply(ops.WHERE, (y.signbit(), -size, size), NONE)


@with_inplace
@method
def float_power(input: Any, exponent: Any) -> Tensor:
    """pow in float64."""
    from jitcore_ir.dtypes import complex128, float64

    of_complex = any(isinstance(t, complex) or (isinstance(t, Tensor) and t.is_complex()) for t in (input, exponent))
    dtype = complex128 if of_complex else float64
    x, y = (t.to(dtype) if isinstance(t, Tensor) else as_operand(t, dtype) for t in (input, exponent))
    return pow(x, y)


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


subtract, multiply, divide, true_divide = sub, mul, div, div
for _name, _function in (("subtract", sub), ("multiply", mul), ("divide", div), ("true_divide", div)):
    method(_function, name=_name)
    method(getattr(Tensor, f"{_function.__name__}_"), name=f"{_name}_")


def _is_bool(x: Any) -> bool:
    return isinstance(x, bool) or (isinstance(x, Tensor) and x._array.dtype.kind == "b")
