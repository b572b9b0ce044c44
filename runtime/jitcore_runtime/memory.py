"""How much memory interpreting a graph takes, so that a file cannot ask for more than there is."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jitcore_ir.graph import Block, Graph, Value
from jitcore_ir.ops import CONSTANT, RESHAPE
from jitcore_ir.shapes import evaluate
from jitcore_ir.spec import Trait
from jitcore_ir.types import TensorType

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit() -> int:
    """Bytes this process may use: the machine's memory, or its container's share."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _CGROUP_LIMITS:
        try:
            with open(name) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            limit = min(limit, int(text))
    return limit


def peak_bytes(graph: Graph, symbols: Mapping[str, int]) -> int:
    """The most bytes that are alive at once in values made while interpreting; an estimate.

    A value lives from its operation to its last use. Inputs, constants and views cost nothing (a reshape may copy, so
    it counts). What a kernel needs for itself is not seen. Raises ShapeError for a symbol without a value.
    """
    return _block_peak(graph.block, symbols)


def _block_peak(block: Block, symbols: Mapping[str, int]) -> int:
    dying: list[list[Value]] = [[] for _ in block.operations]
    last: dict[Value, int] = {}
    for number, operation in enumerate(block.operations):
        for value in (*operation.operands, *operation.results):
            last[value] = number
    for value, number in last.items():
        dying[number].append(value)
    alive = peak = 0
    sizes: dict[Value, int] = {}
    for number, operation in enumerate(block.operations):
        inner = max((_block_peak(region.block, symbols) for region in operation.regions), default=0)
        borrowed = operation.spec is CONSTANT or (operation.spec.has(Trait.VIEW) and operation.spec is not RESHAPE)
        for value in operation.results:
            sizes[value] = 0 if borrowed else _bytes(value.type, symbols)
            alive += sizes[value]
        peak = max(peak, alive + inner)
        alive -= sum(sizes.get(value, 0) for value in dying[number])
    return peak


def _bytes(type: object, symbols: Mapping[str, int]) -> int:
    assert isinstance(type, TensorType)
    size = type.dtype.itemsize
    for dim in type.shape:
        size *= max(evaluate(dim, symbols), 0)
    return size
