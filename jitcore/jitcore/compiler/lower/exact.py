"""What an exact program computes natively: the operations whose code gives the bits that their NumPy kernels give.

An operation is called out unless its result follows from IEEE 754 (one rounding per operation, no order of additions to
choose) or from integer arithmetic, or is only moved. Two are written so that zeros of either sign come out as the
kernels have them:

    %m = maximum(%x, %y)             %m = where(%x > %y | isnan(%x), %x, %y)       NumPy takes the second of equals
    %m = amax(%x) {axes = [0]}       %m = add(amax(%x), 0.0)                       an extreme is never -0.0

16-bit floats are rounded after every operation by the kernels, but only when they are stored by native code: their
arithmetic is called out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jitcore_ir import Operation, OpSpec, Value, ops
from jitcore_ir.dtypes import DType, int32, int64

from ..fuse.roots import CALL_OUT
from .parts import CALL_OUT_PARTS, INTERLEAVE, PARTS

Rewrite = Callable[[Callable[..., Value], Operation, list[Value]], Value]

_MOVED = frozenset((
    ops.CONSTANT, ops.IOTA, ops.SIZE, ops.COPY, ops.RESHAPE, ops.PERMUTE, ops.BROADCAST_TO, ops.SLICE, ops.FLIP,
    ops.PAD, ops.CONCAT, ops.WINDOWS, ops.SLICE_UPDATE, ops.TAKE, ops.GATHER, ops.RANDOM_BITS, INTERLEAVE,
    ops.RETURN,
))  # fmt: skip
"""Any dtype."""

_UNROUNDED = frozenset((
    ops.NEG, ops.ABS, ops.SIGN, ops.FLOOR, ops.CEIL, ops.ROUND, ops.TRUNC, ops.ISNAN, ops.ISINF, ops.EQ, ops.NE, ops.LT,
    ops.LE, ops.GT, ops.GE, ops.WHERE, ops.ARGMAX, ops.ARGMIN, ops.AMAX, ops.AMIN,
))  # fmt: skip
"""Real numbers: the result is exact whatever it is computed in."""

_ROUNDED_ONCE = frozenset((ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.SQRT, ops.RSQRT, ops.MAXIMUM, ops.MINIMUM))
"""float32 and float64: each step is one IEEE operation. (rsqrt is a root and a division, in the kernel too. Of 16-bit
floats NumPy takes the first of equals.)"""

_OF_INTEGERS = frozenset((
    *_UNROUNDED, ops.MAXIMUM, ops.MINIMUM, ops.LOGICAL_NOT, ops.BITWISE_NOT, ops.ADD, ops.SUB, ops.MUL,
    ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD, ops.BITWISE_AND, ops.BITWISE_OR, ops.BITWISE_XOR, ops.SHIFT_LEFT,
    ops.SHIFT_RIGHT, ops.SUM, ops.PROD, ops.CUMSUM, ops.CUMPROD, ops.FOLD_WINDOWS, ops.PUT, ops.SCATTER,
    ops.SCATTER_REDUCE, ops.DOT,
))  # fmt: skip


def keeps_bits(operation: Operation) -> bool:
    """Whether native code gives the kernel's bits, or it is the kernel that runs anyway."""
    spec = operation.spec
    if spec in CALL_OUT or spec is CALL_OUT_PARTS:
        return True
    dtypes = [v.type.dtype for v in (*operation.operands, *operation.results)]
    if any(d.is_complex for d in dtypes):
        return spec in PARTS
    if spec in _MOVED:
        return True
    if spec in (ops.PUT, ops.SCATTER) and operation.attributes["mode"] == "set":
        return True
    if spec is ops.CAST:
        return _casts_alike(*dtypes)
    if spec is ops.POW:
        return _form_of_power(operation) is not None
    floats = [d for d in dtypes if d.is_floating_point]
    if not floats:
        return spec in _OF_INTEGERS
    return spec in _UNROUNDED or (spec in _ROUNDED_ONCE and all(d.bits > 16 for d in floats))


def _casts_alike(source: DType, target: DType) -> bool:
    if source.is_floating_point and target.is_integer:
        return target in (int32, int64)  # NumPy goes by way of int64, native code to fewer bits does not
    if target.is_floating_point and target.bits == 16:
        return source.bits <= 16 or (source.is_floating_point and source.bits == 32)
    return True


def _form_of_power(operation: Operation) -> Callable[..., Value] | None:
    """How a power with a constant exponent is written where the kernel does not use logarithms for it."""
    x, exponent = operation.operands[0], operation.operands[1].operation
    if x.type.dtype.kind != "float" or x.type.dtype.bits == 16 or exponent is None:
        return None
    if exponent.spec is not ops.CONSTANT or exponent.result.type.rank:
        return None
    return _POWERS.get(exponent.attributes["value"].item())


_POWERS: dict[float, Callable[..., Value]] = {
    2.0: lambda make, x: make(ops.MUL, x, x),
    -1.0: lambda make, x: make(ops.DIV, make(ops.CONSTANT, value=np.ones((), x.type.dtype.numpy)), x),
}


def _power(make: Callable[..., Value], operation: Operation, operands: list[Value]) -> Value:
    form = _form_of_power(operation)
    assert form is not None
    return form(make, operands[0])


def _extreme(above: OpSpec) -> Rewrite:
    def rewrite(make: Callable[..., Value], operation: Operation, operands: list[Value]) -> Value:
        x, y = operands
        if not x.type.dtype.is_floating_point:
            return make(operation.spec, x, y)
        first = make(ops.BITWISE_OR, make(above, x, y), make(ops.ISNAN, x))
        return make(ops.WHERE, first, x, y)

    return rewrite


def _unsigned_zero(make: Callable[..., Value], operation: Operation, operands: list[Value]) -> Value:
    found = make(operation.spec, *operands, **operation.attributes)
    dtype = found.type.dtype
    if not dtype.is_floating_point:
        return found
    return make(ops.ADD, found, make(ops.CONSTANT, value=np.zeros((), dtype.numpy)))


REWRITES: dict[OpSpec, Rewrite] = {
    ops.POW: _power,
    ops.MAXIMUM: _extreme(ops.GT),
    ops.MINIMUM: _extreme(ops.LT),
    ops.AMAX: _unsigned_zero,
    ops.AMIN: _unsigned_zero,
}
"""How native operations are written where that differs from programs that are not exact."""
