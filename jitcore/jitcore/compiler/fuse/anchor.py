"""Epilogues: where the elements computed from a contraction's element belong.

A kernel anchored at `%c = dot(...)` visits %c's elements in its own order. What follows elementwise, also through
reshape and permute, is computed at once and stored where it belongs: for `permute(reshape(%c) + %b)` at the position
that %c's element moves to.
"""

from __future__ import annotations

from collections.abc import Mapping

from jitcore_ir import Trait, Value, ops
from jitcore_ir.shapes import product

from ..lower.index import IndexSpace, Indices, flatten
from .roots import Roots, is_leaf


def place_after(value: Value, members: Mapping[Value, Indices], space: IndexSpace, roots: Roots) -> Indices | None:
    """The indices of `value`'s element that is made from the members' elements at the given places; None where none
    follows one to one."""
    seen: dict[Value, Indices | None] = {}

    def follow(value: Value) -> Indices | None:
        if value in members:
            return members[value]
        if value not in seen:
            seen[value] = None
            seen[value] = step(value)
        return seen[value]

    def step(value: Value) -> Indices | None:
        operation = value.operation
        if operation is None or is_leaf(value) or (value in roots.values and value is not target):
            return None
        if operation.spec.has(Trait.ELEMENTWISE):
            for operand in operation.operands:
                if product(operand.type.shape) == product(value.type.shape) and (place := follow(operand)) is not None:
                    return (0,) * (value.type.rank - len(place)) + place
            return None
        if operation.spec not in (ops.RESHAPE, ops.PERMUTE) or (place := follow(operation.operands[0])) is None:
            return None
        if operation.spec is ops.PERMUTE:
            return tuple(place[p] for p in operation.attributes["permutation"])
        return space.unflatten(flatten(place, operation.operands[0].type.shape), value.type.shape)

    target = value
    return follow(value)
