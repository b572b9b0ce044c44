"""Primitives whose results carry no gradient, each declared so that a forgotten one is noticed."""

from jitcore_ir import ops

from ..rules import not_differentiable

not_differentiable(
    ops.LOGICAL_NOT, ops.BITWISE_NOT, ops.BITWISE_AND, ops.BITWISE_OR, ops.BITWISE_XOR, ops.SHIFT_LEFT, ops.SHIFT_RIGHT,
    ops.ISNAN, ops.ISINF, ops.EQ, ops.NE, ops.LT, ops.LE, ops.GT, ops.GE, ops.ARGMAX, ops.ARGMIN,
    ops.ARGSORT, ops.TOP_POSITIONS,
    ops.RUNNING_POSITION, ops.SEARCHSORTED, ops.NONZERO, ops.CONSTANT, ops.IOTA, ops.SIZE, ops.RANDOM_BITS,
)  # fmt: skip
