"""Operations that may end a call with an error (a position out of range, an integer divided by zero, a singular matrix)
although nobody needs all of their result: `x[i]` alone, or `x[i][0]`. An eager call computes them whole and fails, so
their results are values of the recording too, which keeps passes and code generation from leaving elements out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jitcore_ir import Graph, Operation, Trait, Value, ops
from jitcore_ir.shapes import Dim, Expr, is_static
from jitcore_runtime.kernels import KERNELS

_AT_POSITIONS = (ops.TAKE, ops.GATHER, ops.PUT, ops.SCATTER, ops.SCATTER_REDUCE)
_DIVISIONS = (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD)
_PARTLY = {
    ops.SLICE: (0,), ops.TAKE: (0,), ops.GATHER: (0,), ops.SLICE_UPDATE: (0,), ops.PUT: (0,), ops.SCATTER: (0,),
    ops.PAD: (0,), ops.WINDOWS: (0,), ops.WHERE: (0, 1, 2),
}  # fmt: skip
"""Operands that an operation may read in part only, or that passes find it does not need."""
_CANCELLING = (
    ops.SUB, ops.BITWISE_XOR, ops.MUL, ops.BITWISE_AND, ops.EQ, ops.NE, ops.LT, ops.LE, ops.GT, ops.GE,
)  # fmt: skip
"""Of integers and bools, what may be known without the operands: x - x, x * 0."""


def needed_to_fail(graph: Graph, ends: Iterable[Value]) -> list[Value]:
    """What operations of `graph` that may fail give, where `ends` do not need it whole."""
    whole = set(ends)
    found = []
    for operation in reversed(graph.operations):
        if not whole.isdisjoint(operation.results):
            whole.update(v for n, v in enumerate(operation.operands) if _reads_whole(operation, n))
        elif _may_fail(operation):
            found += operation.results[:1]
            whole.update(operation.operands)
    return found


def _reads_whole(operation: Operation, number: int) -> bool:
    """Whether what computes the operation whole computes that operand whole."""
    if operation.regions or number in _PARTLY.get(operation.spec, ()):
        return False
    type = operation.operands[number].type
    if operation.spec in _CANCELLING and type.dtype.kind in ("int", "uint", "bool"):
        return False
    # What is broadcast to nothing is not needed; nobody knows of symbols whether they are 0.
    return not any((d == 0 or isinstance(d, Expr)) and d not in type.shape for d in operation.results[0].type.shape)


def _may_fail(operation: Operation) -> bool:
    if operation.spec in _AT_POSITIONS:
        x, indices = operation.operands[:2]
        return not _within(indices, x.type.shape[operation.attributes["axis"]])
    if operation.spec in _DIVISIONS:
        divisor = operation.operands[1]
        if divisor.type.dtype.kind not in ("int", "uint"):
            return False
        known = _known(divisor)
        return known is None or not known.all()
    return operation.spec in (ops.CUSTOM_CALL, ops.CTC, ops.CTC_POSTERIOR) or operation.attributes.get("strict") is True


def _within(indices: Value, size: Dim) -> bool:
    """Whether the positions are known, and lie within an axis of this size."""
    known = _known(indices)
    if known is None or not isinstance(size, int):
        return False
    return known.size == 0 or bool(known.min() >= 0 and known.max() < size)


def _known(value: Value, depth: int = 8) -> np.ndarray | None:
    """The elements of what a few operations compute from constants alone."""
    operation = value.operation
    if operation is None or not depth or operation.regions or operation.spec.has(Trait.IMPURE):
        return None
    if not is_static(value.type.shape) or any(isinstance(a, Expr) for a in operation.attributes.values()):
        return None
    if operation.spec is ops.CONSTANT:
        return operation.attributes["value"]
    operands = [_known(v, depth - 1) for v in operation.operands]
    if any(array is None for array in operands) or not (operands or operation.spec is ops.IOTA):
        return None
    try:
        with np.errstate(all="ignore"):
            return KERNELS[operation.spec](*operands, **operation.attributes)
    except (ArithmeticError, LookupError, RuntimeError, ValueError):  # the call's own to raise
        return None
