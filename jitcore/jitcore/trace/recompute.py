"""Which forward values a backward pass keeps, and which it computes again from those: as a cheapest cut.

Each value is an edge whose capacity is its size in bytes; cutting it means keeping the value. What depends on a value
lies behind it; what the backward pass reads leads to the sink, and what must be computed in the forward pass hangs on
the source. Operations that may be computed again hang on the source by their price instead. The method is that of
PyTorch's functorch ("min-cut rematerialization", Horace He, 2022), which also adds prices for what costs time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from jitcore_ir import Operation, OpSpec, Trait, Value, ops
from jitcore_ir.shapes import evaluate

from .minimum_cut import INFINITE, Network

_COSTLY: frozenset[OpSpec] = frozenset((
    ops.EXP, ops.EXPM1, ops.LOG, ops.LOG1P, ops.LOG2, ops.SIN, ops.COS, ops.TAN, ops.ASIN, ops.ACOS, ops.ATAN, ops.SINH,
    ops.COSH, ops.TANH, ops.SIGMOID, ops.ERF, ops.POW, ops.ATAN2, ops.FMOD, ops.REMAINDER, ops.FLOOR_DIVIDE,
))  # fmt: skip
_MADE_FROM_NOTHING = (ops.CONSTANT, ops.IOTA, ops.SIZE)
_CALLED_OUT = (ops.SPECIAL, ops.SPECIAL_OF_TWO)
_COSTLY_BYTES = 4
"""Bytes that an element of a costly operation is worth. Measured on one core: computing exp or tanh of a float32 again
takes about as long as writing and reading it; recomputing tanh and exp of a chain made its backward pass three times as
long, while recomputing sums, products and comparisons made none longer (see docs/jit.md)."""
_SMALL_REDUCTION = 4096
"""Bytes of operands up to which a reduction counts as cheap."""


def values_to_keep(
    wanted: Iterable[Value],
    free: Collection[Value],
    is_backward: Callable[[Operation], bool],
    size_of: Callable[[Value], int],
) -> list[Value]:
    """The values to keep so that all of `wanted` can be computed from them and from `free`; fewest bytes first, then
    fewest operations again.

    free: values that are kept anyway. is_backward: whether an operation belongs to the backward pass as it was recorded
    (it is computed there at no extra price). size_of: bytes of a value.
    """
    network = Network()
    source, sink = network.add_node(), network.add_node()
    places: dict[Value, int] = {}  # node that leads in; the next one leads out
    waiting = [v for v in dict.fromkeys(wanted) if v not in free]
    found = list(waiting)
    for value in found:  # grows while it is walked over
        if value in places:
            continue
        places[value] = start = network.add_node()
        network.add_node()
        operation = value.operation
        size = size_of(value)
        if operation is None:
            network.add_edge(source, start, INFINITE)
        else:
            price = 0 if is_backward(operation) else _price(operation, size_of)
            if price:
                network.add_edge(source, start, price)
            if operation.spec.has(Trait.IMPURE) or operation.regions:
                size = INFINITE if is_backward(operation) else size
            if price < INFINITE:
                found += [v for v in operands(operation) if v not in free]
        network.add_edge(start, start + 1, size)
    for value, start in places.items():
        operation = value.operation
        for operand in operands(operation) if operation is not None else ():
            if operand in places:
                network.add_edge(places[operand] + 1, start, INFINITE)
    for value in waiting:
        network.add_edge(places[value] + 1, sink, INFINITE)
    behind = network.cut(source, sink)
    return [value for value, start in places.items() if behind[start + 1] and not behind[start]]


def operands(operation: Operation) -> Iterator[Value]:
    """What an operation reads, its regions included (but not what is defined inside them)."""
    yield from operation.operands
    for region in operation.regions:
        inside = set(region.block.arguments)
        for inner in region.block.operations:
            yield from (v for v in operands(inner) if v not in inside)
            inside.update(inner.results)


def _price(operation: Operation, size_of: Callable[[Value], int]) -> int:
    """What computing a result again costs, in bytes kept that would cost as much."""
    spec = operation.spec
    if spec in _MADE_FROM_NOTHING or spec.has(Trait.VIEW):
        return 0
    if spec.has(Trait.ELEMENTWISE) and spec not in _CALLED_OUT:
        result = operation.results[0]
        return size_of(result) * _COSTLY_BYTES // result.type.dtype.itemsize if spec in _COSTLY else 0
    if spec.has(Trait.REDUCTION) and sum(map(size_of, operation.operands)) <= _SMALL_REDUCTION:
        return 0
    return INFINITE


def size_of(symbols: dict[str, int]) -> Callable[[Value], int]:
    """The size of values in bytes, with the numbers that were recorded for symbols in their shapes."""

    def size(value: Value) -> int:
        count = 1
        for dim in value.type.shape:
            count *= evaluate(dim, symbols)
        return count * value.type.dtype.itemsize

    return size
