"""Common subexpression elimination: equal operations on equal operands become one.

```
graph @main(%x: f32[4], %y: f32[4]) {      graph @main(%x: f32[4], %y: f32[4]) {
  %a = add(%x, %y) : f32[4]                  %a = add(%x, %y) : f32[4]
  %b = add(%y, %x) : f32[4]            ->    %c = mul(%a, %a) : f32[4]
  %c = mul(%a, %b) : f32[4]                  return(%c)
  return(%c)                               }
}
```

An operation in a region that is not closed may use an equal one outside it, not the other way round. Operations with
an effect, with regions, or that read memory (a store may stand between two loads) are left alone.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Hashable
from typing import Any

import numpy as np

from ..graph import Block, Graph, Operation, Value
from ..spec import Kind, Trait
from ..types import BufferType
from .match import is_commutative

_HASHED_BYTES = 1 << 20


def merge_equal(graph: Graph) -> bool:
    """Replace every operation by an equal one that comes before it."""
    return _merge(graph.block, {}, {})


merge_equal.name = "merge_equal"  # type: ignore[attr-defined]


def _merge(block: Block, known: dict[Hashable, Operation], numbers: dict[Value, int]) -> bool:
    """`known` holds what is visible here; what this block adds is gone again when it ends."""
    changed = False
    mine: list[Hashable] = []
    doomed = []
    for argument in block.arguments:
        numbers[argument] = len(numbers)
    for operation in block.operations:
        for region in operation.regions:
            changed |= _merge(region.block, {} if operation.spec.has(Trait.CLOSED) else known, numbers)
        if _may_merge(operation):
            key = _key(operation, numbers)
            if key in known:
                for old, new in zip(operation.results, known[key].results, strict=True):
                    old.replace_all_uses_with(new)
                    new.name = new.name or old.name
                doomed.append(operation)
                continue
            known[key] = operation
            mine.append(key)
        for value in operation.results:
            numbers[value] = len(numbers)
    for key in mine:
        del known[key]
    block.erase(doomed)
    return changed or bool(doomed)


def _may_merge(operation: Operation) -> bool:
    if operation.regions or operation.spec.has(Trait.IMPURE | Trait.TERMINATOR):
        return False
    return not any(isinstance(v.type, BufferType) for v in (*operation.operands, *operation.results))


def _key(operation: Operation, numbers: dict[Value, int]) -> Hashable:
    """Equal exactly for operations that give equal results. Values count by where they are defined."""
    operands = [numbers[v] for v in operation.operands]
    if is_commutative(operation):
        operands.sort()
    kinds = operation.spec.attributes
    attributes = tuple(_frozen(kind, operation.attributes[name]) for name, kind in kinds.items())
    return (operation.spec.name, tuple(operands), attributes)


def _frozen(kind: Kind, value: Any) -> Hashable:
    if kind is Kind.FLOAT:
        return struct.pack("<d", value)  # by bits: 0.0 is not -0.0, and NaN is itself
    if kind is Kind.DENSE:
        return _frozen_array(value)
    return value


def _frozen_array(array: np.ndarray) -> Hashable:
    """By content; large ones by address, since arrays in graphs are never written to."""
    what = (array.dtype.name, array.shape)
    if array.nbytes > _HASHED_BYTES:
        return (*what, array.strides, array.__array_interface__["data"][0])
    return (*what, hashlib.sha256(np.array(array, order="C").tobytes()).digest())
