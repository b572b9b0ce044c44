"""A `Node`: one root, the loop axes it needs, and every place in memory it would read, found by a trial run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jitcore_ir import Operation, OpSpec, Value
from jitcore_ir.shapes import product

from ..lower.index import Dim, Index, IndexSpace, Indices
from ..lower.parts import INTERLEAVE, elements_at
from ..lower.reduction import reduced_extents, whole_index
from ..lower.trial import Trial
from .roots import CONTRACTIONS, Roots, base, is_call_out, is_leaf, is_loop_reduction, operand_memory, stands_alone


@dataclass(eq=False, slots=True)
class Node:
    """A root to be computed.

    `free` are the loop variables of the result's axes (those of extent 1 have none), `reduced` those a reduction sums
    over, `whole` both in the order in which x's axes lie. `reads` are the places read, in terms of those variables:
    (leaf or root, indices). `raw` are index expressions used as numbers rather than as places; `tests` comparisons of
    an index that decide what is read (padding), `operations` how many scalar operations there are.
    """

    value: Value
    kind: str  # "pointwise", "reduction" or "alone"
    space: IndexSpace
    place: Indices
    free: Indices
    reduced: Indices = ()
    whole: Indices = ()
    reads: list[tuple[Value, Indices]] = field(default_factory=list)
    raw: list[Index] = field(default_factory=list)
    tests: list[tuple[OpSpec, Index, Dim]] = field(default_factory=list)
    operations: int = 0

    @property
    def operation(self) -> Operation:
        assert self.value.operation is not None
        return self.value.operation

    def extents(self, variables: Indices) -> tuple[Dim, ...]:
        return tuple(self.space.extent(v) for v in variables)

    @property
    def elements(self) -> Dim:
        return product(self.value.type.shape)

    def __repr__(self) -> str:
        return f"Node({self.operation.spec.name}, {self.value.type})"


def make_nodes(roots: Roots, numbers: Mapping[Operation, int]) -> list[Node]:
    """One node per root, in order."""
    return [_make_node(value, roots, numbers) for value in roots.values]


def _make_node(value: Value, roots: Roots, numbers: Mapping[Operation, int]) -> Node:
    operation = value.operation
    assert operation is not None
    space = IndexSpace()
    together = operation.spec is INTERLEAVE  # both parts of a number are stored by one iteration
    place = tuple(space.variable(d) for d in value.type.shape[: -1 if together else None]) + (0,) * together
    free = tuple(v for v in place if v != 0)
    if stands_alone(operation):
        node = Node(value, "alone", space, place, free, (), free)
        if is_call_out(operation):
            memory = [base(v) for v in operation.operands]
        elif operation.spec in CONTRACTIONS:
            memory = operand_memory(operation)
        else:
            memory = _memory_of(operation, roots)
        node.reads = [(v, ()) for v in memory]
        return node
    reduces = is_loop_reduction(operation)
    taps = tuple(space.variable(d) for d in reduced_extents(operation)) if reduces else ()
    trial = Trial(space, (*place, *taps), roots, numbers)
    if reduces:
        whole = whole_index(operation, place, taps)
        trial.emitter.at(operation.operands[0], whole)
    else:
        whole = place
        for element in elements_at(value, place):
            trial.compute(value, element)
    return Node(
        value, "reduction" if reduces else "pointwise", space, place, free, tuple(v for v in taps if v != 0),
        tuple(v for v in whole if v != 0), trial.reads, trial.emitter.raw, trial.emitter.tests,
        sum(1 for _ in trial.emitter.graph.walk()),
    )  # fmt: skip


def _memory_of(operation: Operation, roots: Roots) -> list[Value]:
    """The leaves and roots that an operation with a nest of its own reads, in whatever order."""
    found: dict[Value, None] = {}
    pending = list(operation.operands)
    while pending:
        value = pending.pop()
        if is_leaf(value) or value in roots.values:
            found[value] = None
        elif value.operation is not None:
            pending.extend(value.operation.operands)
    return list(found)
