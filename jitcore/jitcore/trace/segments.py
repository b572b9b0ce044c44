"""Cutting a recorded graph into programs: the operations between two decisions, with what they take and give.

    recorded:  %0 = mul(x, x); %1 = sum(%0); read %1 > 0; %2 = exp(%0)
    cut 0..2:  (x) -> %0, %1            cut 2..4:  (%0) -> %2

Values are named by `Key`: the number of a graph input, or (operation number, result number). Recordings that begin
alike give what they share the same keys, which lets one program serve as the beginning of several recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from jitcore_ir import Graph, Operation, Region, Value, ops, print_graph
from jitcore_ir.cheap import is_cheap
from jitcore_ir.clone import clone_operation
from jitcore_ir.equations import linear_in
from jitcore_ir.shapes import Dim, Expr, symbols_of

from .capture import Recording

Key = int | tuple[int, int]
"""The number of a graph input, or (operation number, result number)."""


@dataclass(eq=False, slots=True)
class Numbering:
    """Keys of the values of one recorded graph."""

    graph: Graph
    _operations: dict[Operation, int] = field(init=False)

    def __post_init__(self) -> None:
        self._operations = {operation: n for n, operation in enumerate(self.graph.operations)}

    def key(self, value: Value) -> Key:
        operation = value.operation
        return value.index if operation is None else (self._operations[operation], value.index)

    def value(self, key: Key) -> Value:
        if isinstance(key, int):
            return self.graph.inputs[key]
        return self.graph.operations[key[0]].results[key[1]]

    def starts_like(self, other: Numbering, count: int) -> bool:
        """Whether the first `count` operations of both graphs are the same."""
        mine, theirs = self.graph.operations[:count], other.graph.operations[:count]
        return len(mine) == len(theirs) and all(
            a.spec is b.spec
            and [self.key(v) for v in a.operands] == [other.key(v) for v in b.operands]
            and [v.type for v in a.results] == [v.type for v in b.results]
            and _same_attributes(a, b)
            and list(map(_region_text, a.regions)) == list(map(_region_text, b.regions))
            for a, b in zip(mine, theirs)
        )


@dataclass(eq=False, slots=True)
class Cut:
    """A graph of some of a recording's operations. `takes` names its inputs and `gives` its first outputs; the other
    outputs are updates of memory and guards, as `compile_graph` wants them."""

    graph: Graph
    takes: tuple[Key, ...]
    gives: tuple[Key, ...]
    updates: tuple[tuple[int, int], ...]
    guards: tuple[tuple[int, bool | int | float], ...]


def cut(
    recording: Recording,
    numbering: Numbering,
    start: int,
    stop: int,
    gives: Sequence[Key],
    reads: slice,
    last: bool = False,
    whole: bool = False,
) -> Cut:
    """Operations `start` to `stop` of a recording that compute `gives`, with the reads in `reads` as guards; the last
    part of a recording commits its writes. `whole`: take every graph input, in order."""
    roots = recording.roots
    guarded = recording.reads[reads]
    written = recording.written if last else []
    results = [numbering.value(key) for key in gives]
    outputs = [*results, *(roots[n].current for n in written), *(read.value for read in guarded)]
    kept, taken = _reach(recording.graph, start, stop, outputs)
    inputs = recording.graph.inputs
    numbers: Sequence[int] = range(len(inputs))
    if not whole:
        used = {v.index for v in taken if v.operation is None} | set(written)
        numbers = sorted(used | set(binding(inputs, [inputs[n] for n in used] + list(taken), kept)))
    carried = sorted(numbering.key(v) for v in taken if v.operation is not None)  # type: ignore[type-var]
    takes: tuple[Key, ...] = (*numbers, *carried)  # type: ignore[has-type]

    graph = Graph(recording.graph.name)
    copies = {}
    for key in takes:
        value = inputs[key] if isinstance(key, int) else numbering.value(key)
        copies[value] = graph.block.add_argument(value.type, value.name)
    for operation in kept:
        copy = clone_operation(operation, copies)
        copy.block = graph.block
        graph.block.operations.append(copy)
    copied = [copies[v] for v in outputs]
    guards = []
    for k, read in enumerate(guarded, len(results) + len(written)):
        outcome = read.outcome
        if outcome != outcome:  # no guard on NaN holds; that the value is not itself says the same
            copied[k] = graph.block.append(ops.NE, [copied[k], copied[k]]).result
            outcome = True
        guards.append((k, outcome))
    graph.block.append(ops.RETURN, copied)
    first_update = len(results)
    updates = tuple((first_update + k, numbers.index(n)) for k, n in enumerate(written))
    return Cut(graph, takes, tuple(gives), updates, tuple(guards))


def binding(inputs: Sequence[Value], given: Iterable[Value], operations: Iterable[Operation]) -> list[int]:
    """The numbers of further graph inputs whose sizes tell symbols that `operations` have and `given` do not tell."""
    told = {name for value in given for dim in value.type.shape for name in _told(dim)}
    missing: dict[str, None] = {}
    for operation in operations:
        dims = [d for v in operation.results for d in v.type.shape]
        for attribute in operation.attributes.values():
            dims += [d for d in (attribute if isinstance(attribute, tuple) else (attribute,)) if isinstance(d, Expr)]
        missing.update((name, None) for dim in dims for name in symbols_of(dim) if name not in told)
    found = []
    for number, value in enumerate(inputs):
        tells = {name for dim in value.type.shape for name in _told(dim)}
        if any(name in tells for name in missing):
            found.append(number)
            missing = {name: None for name in missing if name not in tells}
    return found


def _told(dim: Dim) -> list[str]:
    """The symbol whose value follows from that of `dim`, if one does."""
    names = symbols_of(dim)
    parts = linear_in(dim, names[0]) if len(names) == 1 else None
    return names if parts is not None and isinstance(parts[1], int) else []


def _reach(graph: Graph, start: int, stop: int, outputs: Iterable[Value]) -> tuple[list[Operation], set[Value]]:
    """The operations to run for `outputs`, in order, and the values from before them that they need."""
    needed = set(outputs)
    kept = []
    for number in range(stop - 1, -1, -1):
        operation = graph.operations[number]
        if (number >= start or is_cheap(operation)) and any(v in needed for v in operation.results):
            kept.append(operation)
            needed.difference_update(operation.results)
            needed.update(operation.operands)
    return kept[::-1], needed


def _same_attributes(a: Operation, b: Operation) -> bool:
    return a.attributes.keys() == b.attributes.keys() and all(
        _same_array(x, b.attributes[name]) if isinstance(x, np.ndarray) else x == b.attributes[name]
        for name, x in a.attributes.items()
    )


def _region_text(region: Region) -> str:
    """What a region does: it is closed, so its text says all."""
    return print_graph(Graph("region", region.block), locations=False)


def _same_array(x: np.ndarray, y: np.ndarray) -> bool:
    return x is y or (x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes())
