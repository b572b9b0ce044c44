"""Arithmetic, comparison and bit operations, in terms of the builder's."""

from __future__ import annotations

from collections.abc import Callable

from jitcore_ir import OpSpec, ops

from .builder import Scalar

Body = Callable[..., Scalar]


def _is_float(x: Scalar) -> bool:
    return x.dtype.kind == "float"


def _sign(x: Scalar) -> Scalar:
    if x.dtype.kind == "uint":
        return x.like(1).where(x > 0, 0)
    result = x.like(1).where(x > 0, x.like(-1).where(x < 0, 0))
    return x.where(x.differs(x), result) if _is_float(x) else result


def _abs(x: Scalar) -> Scalar:
    if _is_float(x):
        return x.apply("abs")
    return x if x.dtype.kind == "uint" else x.where(x >= 0, -x)


def _add(x: Scalar, y: Scalar) -> Scalar:
    return x | y if x.dtype.kind == "bool" else x + y


def _mul(x: Scalar, y: Scalar) -> Scalar:
    return x & y if x.dtype.kind == "bool" else x * y


def _extreme(name: str) -> Body:
    def body(x: Scalar, y: Scalar) -> Scalar:
        if _is_float(x):
            return x.builder.extreme(name, x, y)
        if x.dtype.kind == "bool":
            return x | y if name == "maximum" else x & y
        return x.where(x > y if name == "maximum" else x < y, y)

    return body


def _divide(x: Scalar, y: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Truncating integer quotient and remainder, and the divisor used (1 for 0). Lowest // -1 wraps."""
    y = x.builder.nonzero_divisor(y)
    if x.dtype.kind == "uint":
        return x._binary("//", y), x._binary("%", y), y
    by_minus_one = y.equals(-1)
    safe = y.like(1).where(by_minus_one, y)
    quotient = (-x).where(by_minus_one, x._binary("//", safe))
    remainder = x.like(0).where(by_minus_one, x._binary("%", safe))
    return quotient, remainder, y


def _floor_divide(x: Scalar, y: Scalar) -> Scalar:
    if _is_float(x):
        # By the remainder, as Python and PyTorch do it: x / y alone may round up to an integer.
        rest = fmod(x, y)
        quotient = (x - rest) / y
        opposite = rest.differs(0) & ((rest < 0) ^ (y < 0))
        quotient = (quotient - 1).where(opposite, quotient)
        whole = quotient.apply("floor")
        whole = (whole + 1).where((quotient - whole) > 0.5, whole)
        zero = x.like(0.0) * (x / y)
        whole = zero.where(quotient.equals(0), whole)
        return (x / y).where(y.equals(0), whole)
    quotient, remainder, y = _divide(x, y)
    if x.dtype.kind == "uint":
        return quotient
    opposite = remainder.differs(0) & ((remainder < 0) ^ (y < 0))
    return (quotient - 1).where(opposite, quotient)


def _remainder(x: Scalar, y: Scalar) -> Scalar:
    if _is_float(x):
        rest = fmod(x, y)
        return (rest + y).where(rest.differs(0) & ((rest < 0) ^ (y < 0)), rest)
    _, remainder, y = _divide(x, y)
    if x.dtype.kind == "uint":
        return remainder
    return (remainder + y).where(remainder.differs(0) & ((remainder < 0) ^ (y < 0)), remainder)


def _fmod(x: Scalar, y: Scalar) -> Scalar:
    return fmod(x, y) if _is_float(x) else _divide(x, y)[1]


def fmod(x: Scalar, y: Scalar) -> Scalar:
    """x - trunc(x / y) * y, exactly: the remainder operation of the target, which every printer has for floats."""
    return x._binary("%", y)


def _shift_left(x: Scalar, y: Scalar) -> Scalar:
    inside = (y >= 0) & (y < x.dtype.bits)
    return (x << y.where(inside, 0)).where(inside, 0)


def _shift_right(x: Scalar, y: Scalar) -> Scalar:
    inside = (y >= 0) & (y < x.dtype.bits)
    last = x.dtype.bits - 1
    spread = (x >> x.like(last)) if x.dtype.kind == "int" else x.like(0)
    return (x >> y.where(inside, 0)).where(inside, spread)


def _compare(operator: str) -> Body:
    return lambda x, y: x._compare(operator, y)


def _unary(name: str) -> Body:
    return lambda x: x.apply(name)


BASIC: dict[OpSpec, Body] = {
    ops.NEG: _unary("neg"),
    ops.ABS: _abs,
    ops.SIGN: _sign,
    ops.FLOOR: _unary("floor"),
    ops.CEIL: _unary("ceil"),
    ops.ROUND: _unary("round"),
    ops.TRUNC: _unary("trunc"),
    ops.SQRT: _unary("sqrt"),
    ops.RSQRT: lambda x: 1.0 / x.apply("sqrt"),
    ops.LOGICAL_NOT: lambda x: ~x,
    ops.BITWISE_NOT: lambda x: ~x,
    ops.ISNAN: lambda x: x.differs(x),
    ops.ISINF: lambda x: x.apply("abs").equals(float("inf")),
    ops.ADD: _add,
    ops.SUB: lambda x, y: x - y,
    ops.MUL: _mul,
    ops.DIV: lambda x, y: x / y,
    ops.FLOOR_DIVIDE: _floor_divide,
    ops.REMAINDER: _remainder,
    ops.FMOD: _fmod,
    ops.MAXIMUM: _extreme("maximum"),
    ops.MINIMUM: _extreme("minimum"),
    ops.BITWISE_AND: lambda x, y: x & y,
    ops.BITWISE_OR: lambda x, y: x | y,
    ops.BITWISE_XOR: lambda x, y: x ^ y,
    ops.SHIFT_LEFT: _shift_left,
    ops.SHIFT_RIGHT: _shift_right,
    ops.EQ: _compare("=="),
    ops.NE: _compare("!="),
    ops.LT: _compare("<"),
    ops.LE: _compare("<="),
    ops.GT: _compare(">"),
    ops.GE: _compare(">="),
    ops.WHERE: lambda c, x, y: x.where(c, y),
    ops.COPY: lambda x: x,
}
