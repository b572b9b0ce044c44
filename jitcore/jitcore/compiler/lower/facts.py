"""Facts about a finished kernel: how much work it is, and which output may share memory with which input."""

from __future__ import annotations

from jitcore_ir import Block, Graph, Operation, Value, ops
from jitcore_ir.shapes import Expr, add, mul, product

from ..loops.ops import CONVOLUTION, FOR, GEMM, LOAD, STORE

Dim = int | Expr


def work_of(graph: Graph) -> Dim:
    """Scalar operations of one run, roughly: each operation counts once per iteration of the loops around it."""
    return _work(graph.block)


def parallel_extent(graph: Graph) -> Dim:
    """How many iterations the parallel loop has; 1 where there is none."""
    for operation in graph.operations:
        if operation.spec is FOR and operation.attributes["kind"] == "parallel":
            return _extent(operation.operands[0])
    return 1


def _work(block: Block) -> Dim:
    total: Dim = 0
    for operation in block.operations:
        if operation.spec is FOR:
            total = add(total, mul(_extent(operation.operands[0]), _work(operation.regions[0].block)))
        elif operation.spec in (GEMM, CONVOLUTION):
            total = add(total, _contraction_work(operation))
        else:
            total = add(total, 1)
            for region in operation.regions:
                total = add(total, _work(region.block))
    return total


def _contraction_work(operation: Operation) -> Dim:
    x, y = (v.type.shape for v in operation.operands)
    if operation.spec is GEMM:
        permutation = operation.attributes["y_permutation"]
        return mul(mul(2, product(x)), y[permutation[-1]])
    spatial = operation.attributes["spatial"]
    return mul(mul(2, product(y)), mul(x[0], product(spatial)))


def _extent(value: Value) -> Dim:
    """The number of iterations that a scalar is; for the shorter last tile of a tiled loop, that of a whole tile."""
    operation = value.operation
    if operation is None:
        return 1
    if operation.spec is ops.CONSTANT:
        return int(operation.attributes["value"])
    if operation.spec is ops.SIZE:
        return operation.attributes["dim"]
    if operation.spec is ops.MINIMUM:
        known = [v for v in operation.operands if v.operation and v.operation.spec in (ops.CONSTANT, ops.SIZE)]
        return _extent(known[0]) if known else 1
    return 1


def in_place_pairs(graph: Graph, reads: tuple[int, ...], writes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(written, read) inputs of the kernel that may be the same memory.

    Every element of the read one must be last read before the store to its place: either by the same iteration of
    everything, at the same indices; or earlier in the same row, where a row is one iteration of the parallel loop.
    """
    whole = {o.operands[k] for o in graph.walk() if o.spec in (GEMM, CONVOLUTION) for k in (0, 1)}
    row = _row_block(graph)
    dependent = _depends_on_row(graph)
    order = {id(o): n for n, o in enumerate(graph.walk())}
    found = []
    for written in writes:
        stores = [u for u, _ in graph.inputs[written].uses]
        for read in reads:
            x, y = graph.inputs[read], graph.inputs[written]
            if read == written or x.type != y.type or x in whole or read in writes or written in reads:
                continue
            loads = [u for u, _ in x.uses]
            if any(u.spec is not STORE for u in stores) or any(u.spec is not LOAD for u in loads):
                continue
            if all(_precedes(load, store, row, dependent, order) for load in loads for store in stores):
                found.append((written, read))
    return tuple(found)


def _row_block(graph: Graph) -> Block:
    for operation in graph.operations:
        if operation.spec is FOR and operation.attributes["kind"] == "parallel":
            return operation.regions[0].block
    return graph.block


def _depends_on_row(graph: Graph) -> set[Value]:
    """Values of a kernel computed from the parallel loop's index."""
    row = _row_block(graph)
    dependent = set(row.arguments)
    for operation in graph.walk():
        if any(v in dependent for v in operation.operands):
            dependent.update(operation.results)
    return dependent


def _precedes(load: Operation, store: Operation, row: Block, dependent: set[Value], order: dict[int, int]) -> bool:
    places = list(zip(load.operands[1:], store.operands[2:], strict=True))
    if order[id(load)] > order[id(store)]:
        return False
    earlier, later = _ancestor_in(load, row), _ancestor_in(store, row)
    if earlier is None or later is None:
        return all(a is b for a, b in places)
    if earlier is later:
        return all(a is b for a, b in places)
    return all(a is b for a, b in places if a in dependent or b in dependent)


def _ancestor_in(operation: Operation, block: Block) -> Operation | None:
    """The operation of `block` that holds `operation`; None where it lies outside."""
    current: Operation | None = operation
    while current is not None and current.block is not block:
        region = current.block.region if current.block is not None else None
        current = region.parent if region is not None else None
    return current
