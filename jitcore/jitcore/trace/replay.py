"""Operations with regions as ordinary ones, in Python: what happens inside `vmap`, which has rules for those alone.

Only derivatives of what was recorded come here: inside vmap itself, loops and branches are Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jitcore_ir import Block, OpSpec, Region, ops
from jitcore_ir.shapes import Expr

from ..dispatch import apply, constant
from ..ops.creation import zeros
from ..ops.elementwise import where
from ..ops.join import stack
from ..ops.movement import select
from ..state import state
from ..tensor import Tensor
from .sizes import Sizes

Regions = Sequence[Region]


def replay(
    spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any], regions: Regions, sizes: Sizes
) -> list[Tensor]:
    """The results of an operation with regions; `sizes` are the symbols' values."""
    return _CONTROL[spec](operands, attributes, regions, sizes)


def _block(block: Block, arguments: Sequence[Tensor], sizes: Sizes) -> list[Tensor]:
    values = dict(zip(block.arguments, arguments, strict=True))
    for operation in block.operations[:-1]:
        operands = [values[v] for v in operation.operands]
        attributes = {name: _numbers(value, sizes) for name, value in operation.attributes.items()}
        if operation.regions:
            results = replay(operation.spec, operands, attributes, operation.regions, sizes)
        elif operation.spec is ops.CONSTANT:
            results = [constant(attributes["value"].copy())]
        else:
            results = [apply(operation.spec, operands, attributes)]
        values.update(zip(operation.results, results, strict=True))
    return [values[v] for v in block.terminator.operands]


def _numbers(attribute: Any, sizes: Sizes) -> Any:
    if isinstance(attribute, tuple):
        return tuple(_numbers(item, sizes) for item in attribute)
    return sizes.number(attribute) if isinstance(attribute, Expr) else attribute


def _cond(operands: Sequence[Tensor], attributes: Mapping[str, Any], regions: Regions, sizes: Sizes) -> list[Tensor]:
    predicate, *given = operands
    if state.batching is None or state.batching.batch_of(predicate) is None:
        return _block(regions[0 if bool(predicate) else 1].block, given, sizes)
    both = [_block(region.block, given, sizes) for region in regions]
    return [where(predicate, x, y) for x, y in zip(*both, strict=True)]


def _while(operands: Sequence[Tensor], attributes: Mapping[str, Any], regions: Regions, sizes: Sizes) -> list[Tensor]:
    count = attributes["carried"]
    carried, rest = list(operands[:count]), list(operands[count:])
    while bool(_block(regions[0].block, [*carried, *rest], sizes)[0]):
        carried = _block(regions[1].block, [*carried, *rest], sizes)
    return carried


def _scan(operands: Sequence[Tensor], attributes: Mapping[str, Any], regions: Regions, sizes: Sizes) -> list[Tensor]:
    first = attributes["carried"]
    last, length = first + attributes["scanned"], sizes.number(attributes["length"])
    block = regions[0].block
    carried, over, rest = list(operands[:first]), operands[first:last], list(operands[last:])
    columns: list[Any] = [()] * length
    for turn in range(length):
        t = length - 1 - turn if attributes["reverse"] else turn
        given = _block(block, [*carried, *(select(x, 0, t) for x in over), *rest], sizes)
        carried, columns[t] = given[:first], given[first:]
    if length:
        return [*carried, *(stack(list(column)) for column in zip(*columns, strict=True))]
    types: list[Any] = [v.type for v in block.terminator.operands[first:]]
    return [*carried, *(zeros([0, *map(sizes.number, t.shape)], dtype=t.dtype) for t in types)]


_CONTROL: dict[OpSpec, Callable[..., list[Tensor]]] = {ops.COND: _cond, ops.WHILE: _while, ops.SCAN: _scan}
