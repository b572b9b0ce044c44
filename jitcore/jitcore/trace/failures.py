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
    ops.PAD: (0,), ops.WINDOWS: (0,),
}  # fmt: skip
"""Operands that an operation may read in part only."""


def needed_to_fail(graph: Graph, ends: Iterable[Value]) -> list[Value]:
    """What operations of `graph` that may fail give, where `ends` do not need it whole."""
    whole = set(ends)
    found = []
    for operation in reversed(graph.operations):
        if not whole.isdisjoint(operation.results):
            partly = _PARTLY.get(operation.spec, ())
            whole.update(v for n, v in enumerate(operation.operands) if n not in partly)
        elif _may_fail(operation):
            found += operation.results[:1]
            whole.update(operation.operands)
    return found


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
    return operation.spec is ops.CUSTOM_CALL or operation.attributes.get("strict") is True


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
