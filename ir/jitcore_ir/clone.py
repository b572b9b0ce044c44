"""Copies of graphs, blocks and operations."""

from __future__ import annotations

from .graph import Block, Graph, Operation, Region, Value

Mapping = dict[Value, Value]


def clone_graph(graph: Graph, mapping: Mapping | None = None) -> Graph:
    """A graph of new values and operations; attributes are shared, since they are never written to.

    `mapping`, where given, is filled with the new value of each old one.
    """
    return Graph(graph.name, clone_block(graph.block, {} if mapping is None else mapping))


def clone_block(block: Block, mapping: Mapping) -> Block:
    """A copy whose operands are those in `mapping`, else (defined outside the block) the same values."""
    copy = Block()
    for argument in block.arguments:
        mapping[argument] = copy.add_argument(argument.type, argument.name)
    for operation in block.operations:
        new = clone_operation(operation, mapping)
        new.block = copy
        copy.operations.append(new)
    return copy


def clone_operation(operation: Operation, mapping: Mapping) -> Operation:
    """A free-standing copy with its regions; operands as in `clone_block`. Types are taken over, not inferred again."""
    operands = [mapping.get(v, v) for v in operation.operands]
    regions = [Region(clone_block(region.block, mapping)) for region in operation.regions]
    new = Operation(operation.spec, operands, dict(operation.attributes), [], regions, operation.location)
    for position, value in enumerate(operands):
        value.uses.append((new, position))
    for region in regions:
        region.parent = new
    for value in operation.results:
        mapping[value] = Value(value.type, new, value.index, value.name)
        new.results.append(mapping[value])
    return new
