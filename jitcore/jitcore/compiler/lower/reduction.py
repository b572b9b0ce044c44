"""Reductions: how two elements combine and what to start from; and as pointwise rules, for the small ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jitcore_ir import Operation, OpSpec, Value, ops
from jitcore_ir.dtypes import DType

from .emitter import Emitter, carrier
from .index import Dim, Indices
from .pointwise import reduce_over, rule


@dataclass(frozen=True, slots=True)
class Combination:
    """An associative operation and its identity: "zero", "one", "lowest" or "highest" of the dtype."""

    spec: OpSpec
    identity: str


REDUCTIONS: dict[OpSpec, Combination] = {
    ops.SUM: Combination(ops.ADD, "zero"),
    ops.PROD: Combination(ops.MUL, "one"),
    ops.AMAX: Combination(ops.MAXIMUM, "lowest"),
    ops.AMIN: Combination(ops.MINIMUM, "highest"),
}


def identity(combination: Combination, dtype: DType) -> object:
    """The value that changes nothing when combined."""
    if combination.identity in ("zero", "one"):
        return 1 if combination.identity == "one" else 0
    low = combination.identity == "lowest"
    if dtype.kind == "float":
        return -np.inf if low else np.inf
    if dtype.kind == "bool":
        return not low
    info = np.iinfo(dtype.numpy)
    return info.min if low else info.max


def initial(e: Emitter, operation: Operation) -> Value:
    """What a reduction's accumulator starts from."""
    dtype = carrier(operation.result.type.dtype)
    return e.constant(identity(REDUCTIONS[operation.spec], dtype), dtype)


def whole_index(operation: Operation, kept: Indices, reduced: Indices) -> Indices:
    """x's indices from those of the result and those along the reduced axes."""
    axes, x = operation.attributes["axes"], operation.operands[0]
    outer = list(kept)
    if operation.attributes["keepdims"]:
        outer = [i for a, i in enumerate(kept) if a not in axes]
    inner = dict(zip(sorted(axes), reduced, strict=True))
    return tuple(inner[a] if a in inner else outer.pop(0) for a in range(x.type.rank))


def reduced_extents(operation: Operation) -> tuple[Dim, ...]:
    """The extents of the reduced axes, in their order in x."""
    return tuple(operation.operands[0].type.shape[a] for a in sorted(operation.attributes["axes"]))


@rule(*REDUCTIONS)
def _reduce(e: Emitter, operation: Operation, indices: Indices) -> Value:
    combine, x = REDUCTIONS[operation.spec].spec, operation.operands[0]

    def element(taps: Indices) -> Value:
        return e.at(x, whole_index(operation, indices, taps))

    return reduce_over(e, reduced_extents(operation), indices, combine, initial(e, operation), element)
