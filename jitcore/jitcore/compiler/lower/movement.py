"""Operations that only move elements, followed without emitting anything: where does this element come from?"""

from __future__ import annotations

from dataclasses import dataclass

from jitcore_ir import OpSpec, Value, ops
from jitcore_ir.shapes import mul

from .index import Dim, IndexSpace, Indices, coefficients, flatten, variable_name
from .pointwise import POINTWISE

MOVEMENT: tuple[OpSpec, ...] = (
    ops.RESHAPE, ops.PERMUTE, ops.BROADCAST_TO, ops.SLICE, ops.FLIP, ops.WINDOWS,
)  # fmt: skip


class Tracer:
    """Follows movement with the pointwise rules themselves; `at` gives (value, indices) instead of a scalar."""

    def __init__(self, space: IndexSpace, stop: frozenset[Value] = frozenset()) -> None:
        self.space = space
        self._stop = stop

    def at(self, value: Value, indices: Indices) -> tuple[Value, Indices]:
        operation = value.operation
        if operation is None or value in self._stop or operation.spec not in (*MOVEMENT, ops.COPY):
            return value, indices
        return POINTWISE[operation.spec](self, operation, indices)  # type: ignore[arg-type,return-value]


@dataclass(frozen=True, slots=True)
class DenseView:
    """A tensor that lies in `source`'s memory without gaps: from element `offset` on it is row-major of `shape`,
    and the tensor's axis a is the axis permutation[a] of that."""

    source: Value
    shape: tuple[Dim, ...]
    permutation: tuple[int, ...]
    offset: Dim


def dense_view(value: Value, ordered: bool = False) -> DenseView | None:
    """How `value` lies in the memory of what it was moved from; None where it must be copied to be dense.

    `ordered`: only the identity permutation will do.
    """
    space = IndexSpace()
    variables = tuple(space.variable(d) for d in value.type.shape)
    if any(d == 0 for d in value.type.shape):
        return DenseView(value, value.type.shape, tuple(range(value.type.rank)), 0)
    source, indices = Tracer(space).at(value, variables)
    found = coefficients(flatten(indices, source.type.shape))
    if found is None:
        return None
    strides, offset = found
    axes = [a for a, v in enumerate(variables) if v != 0]
    places: list[int] = []
    step: Dim = 1
    while len(places) < len(axes):  # from the innermost axis of memory outwards
        fit = [a for a in axes if a not in places and strides.get(variable_name(variables[a])) == step]
        if not fit:
            return None
        places.append(fit[0])
        step = mul(step, value.type.shape[fit[0]])
    order = tuple(a for a in range(value.type.rank) if variables[a] == 0) + tuple(reversed(places))
    if list(reversed(places)) == axes:
        order = tuple(range(value.type.rank))
    if ordered and order != tuple(range(value.type.rank)):
        return None
    shape = tuple(value.type.shape[a] for a in order)
    return DenseView(source, shape, tuple(order.index(a) for a in range(value.type.rank)), offset)
