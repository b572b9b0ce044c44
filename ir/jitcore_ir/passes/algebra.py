"""Simplifications that keep every bit of the result, NaN, infinities, -0.0 and integer overflow included.

```
%one = constant() {value = 1.0} : f32[]           %0 = sub(%x, %y) : f32[4]
%0 = mul(%x, %one) : f32[4]                 ->    return(%0)
%1 = neg(%y) : f32[4]
%2 = add(%0, %1) : f32[4]
return(%2)
```

What is not exact is not here: x + 0.0 (which makes 0.0 of -0.0), x - x and x * 0.0 for floats (NaN, infinities), x * 1
for complex (infinities), log of exp. Which NaN a NaN is does not count, as it differs between machines.
"""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..builder import Builder
from ..dtypes import DType
from ..graph import Operation, Value
from .match import defined_by, is_splat, splat_of, tensor
from .rewrite import Patterns

algebra = Patterns("algebra")

_NEGATION = {ops.EQ: ops.NE, ops.NE: ops.EQ}
_ORDER_NEGATION = {ops.LT: ops.GE, ops.GE: ops.LT, ops.GT: ops.LE, ops.LE: ops.GT}  # not for NaN
_ROUNDINGS = (ops.FLOOR, ops.CEIL, ops.ROUND, ops.TRUNC)


def dtype_of(value: Value) -> DType:
    return tensor(value).dtype


def is_exact(value: Value) -> bool:
    """Integers and bools: no rounding, NaN or signed zeros."""
    return dtype_of(value).is_integer or dtype_of(value).kind == "bool"


# Neutral operands


@algebra.on(ops.ADD)
def add_nothing(op: Operation, build: Builder) -> Value | None:
    """0 for integers, False for bool (`or`); -0.0 for floats, since 0.0 would change -0.0."""
    x, y = op.operands
    return x if is_splat(y, 0 if is_exact(y) else -0.0) else None


@algebra.on(ops.SUB)
def subtract_nothing(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return x if is_splat(y, 0.0) else None


@algebra.on(ops.MUL, ops.DIV, ops.POW)
def by_one(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return x if not dtype_of(x).is_complex and is_splat(y, 1) else None


@algebra.on(ops.FLOOR_DIVIDE)
def integer_by_one(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return x if is_exact(x) and is_splat(y, 1) else None


@algebra.on(ops.BITWISE_OR, ops.BITWISE_XOR, ops.SHIFT_LEFT, ops.SHIFT_RIGHT)
def with_no_bits(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return x if is_splat(y, 0) else None


@algebra.on(ops.BITWISE_AND)
def with_all_bits(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    bits = splat_of(y)
    return x if bits is not None and bool(np.invert(bits) == 0) else None


@algebra.on(ops.MUL, ops.BITWISE_AND)
def with_zero(op: Operation, build: Builder) -> Value | None:
    """Not for floats: NaN and infinities times 0.0 are NaN, and -1 times 0.0 is -0.0."""
    y = op.operands[1]
    return y if is_exact(y) and is_splat(y, 0) else None


# The same operand twice


@algebra.on(ops.MAXIMUM, ops.MINIMUM, ops.BITWISE_AND, ops.BITWISE_OR)
def with_itself(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return x if x is y else None


@algebra.on(ops.SUB, ops.BITWISE_XOR)
def without_itself(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return build.constant(0, dtype_of(x)) if x is y and is_exact(x) else None


@algebra.on(ops.EQ, ops.LE, ops.GE, ops.NE, ops.LT, ops.GT)
def compared_with_itself(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    if x is not y or not is_exact(x):
        return None
    return build.constant(op.spec in (ops.EQ, ops.LE, ops.GE), dtype_of(op.result))


# Signs


@algebra.on(ops.NEG)
def neg_of_neg(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], ops.NEG)
    return inner.operands[0] if inner else None


@algebra.on(ops.NEG)
def neg_of_integer_difference(op: Operation, build: Builder) -> Value | None:
    """Not for floats: of equal ones, x - y and y - x are both 0.0."""
    inner = defined_by(op.operands[0], ops.SUB)
    if inner is None or not is_exact(inner.result):
        return None
    return build.value(ops.SUB, inner.operands[1], inner.operands[0])


@algebra.on(ops.SUB)
def nothing_minus(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    return build.value(ops.NEG, y) if is_splat(x, 0 if is_exact(x) else -0.0) else None


@algebra.on(ops.ADD)
def add_neg(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    if inner := defined_by(y, ops.NEG):
        return build.value(ops.SUB, x, inner.operands[0])
    inner = defined_by(x, ops.NEG)
    return build.value(ops.SUB, y, inner.operands[0]) if inner else None


@algebra.on(ops.SUB)
def subtract_neg(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[1], ops.NEG)
    return build.value(ops.ADD, op.operands[0], inner.operands[0]) if inner else None


@algebra.on(ops.MUL, ops.DIV)
def signs_cancel(op: Operation, build: Builder) -> Value | None:
    """Not for complex, where signs of zeros and infinities mix."""
    x, y = (defined_by(v, ops.NEG) for v in op.operands)
    if x is None or y is None or dtype_of(op.result).is_complex:
        return None
    return build.value(op.spec, x.operands[0], y.operands[0])


@algebra.on(ops.MUL, ops.DIV)
def by_minus_one(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    signed = dtype_of(x).kind in ("int", "float")
    return build.value(ops.NEG, x) if signed and is_splat(y, -1) else None


@algebra.on(ops.ABS)
def abs_forgets_the_sign(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], ops.NEG, ops.ABS)
    if inner is None or dtype_of(op.result).kind == "uint":
        return None
    return inner.result if inner.spec is ops.ABS else build.value(ops.ABS, inner.operands[0])


# Choices


@algebra.on(ops.WHERE)
def either_way(op: Operation, build: Builder) -> Value | None:
    _, x, y = op.operands
    return x if x is y else None


@algebra.on(ops.WHERE)
def where_decided(op: Operation, build: Builder) -> Value | None:
    condition = splat_of(op.operands[0])
    return None if condition is None else op.operands[1 if condition else 2]


@algebra.on(ops.WHERE)
def where_not(op: Operation, build: Builder) -> Value | None:
    condition, x, y = op.operands
    if inner := defined_by(condition, ops.LOGICAL_NOT):
        return build.value(ops.WHERE, inner.operands[0], y, x)
    if inner := defined_by(condition, ops.NE):
        return build.value(ops.WHERE, build.value(ops.EQ, *inner.operands), y, x)
    return None


@algebra.on(ops.LOGICAL_NOT, ops.BITWISE_NOT)
def not_not(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], op.spec)
    return inner.operands[0] if inner else None


@algebra.on(ops.LOGICAL_NOT)
def not_compared(op: Operation, build: Builder) -> Value | None:
    """The order of floats has no opposite: NaN is neither below nor at least anything."""
    inner = op.operands[0].operation
    if inner is None or not inner.operands:
        return None
    table = _NEGATION | _ORDER_NEGATION if is_exact(inner.operands[0]) else _NEGATION
    return build.create(table[inner.spec], inner.operands).result if inner.spec in table else None


# Rounding and scaling


@algebra.on(*_ROUNDINGS)
def round_once(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], *_ROUNDINGS)
    return inner.result if inner else None


@algebra.on(ops.DIV)
def by_power_of_two(op: Operation, build: Builder) -> Value | None:
    """x / 4 is x * 0.25: both round the same number, once."""
    x, y = op.operands
    divisor = splat_of(y)
    if divisor is None or not dtype_of(y).is_floating_point or not math.isfinite(float(divisor)) or divisor == 0:
        return None
    inverse = 1 / float(divisor)
    if abs(math.frexp(inverse)[0]) != 0.5 or min(abs(inverse), 1 / abs(inverse)) < smallest_normal(dtype_of(y)):
        return None
    return build.value(ops.MUL, x, build.constant(inverse, dtype_of(y)))


def smallest_normal(dtype: DType) -> float:
    """Below it a float's multiples are rounded more, or flushed to zero on some machines."""
    return {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}[dtype.name]
