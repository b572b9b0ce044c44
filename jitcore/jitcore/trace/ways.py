"""Which parts of a call's backward pass belong to which of its results.

Eagerly each result has nodes of its own on the tape, beside those it shares with others; a compiled call is one node.
So that it acts like them, we keep for each recorded node that held saved tensors the results that lead to it and the
inputs that it leads to: a backward pass frees what lies between the results it starts from and the inputs it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitcore_ir import Graph, Value

from ..autograd.tape import Node, Saved
from ..tensor import Tensor
from .history import between
from .recompute import operands

ALL = -1
"""All results, all inputs: a number with every bit set."""

Way = tuple[int, int]
"""From which results to which inputs something lies, as bits of two numbers."""


@dataclass(eq=False, slots=True)
class Ways:
    """The ways from results to inputs; both are numbered as in `Backward.outputs` and `.roots`. The number behind the
    last input stands for leaves that the function made itself."""

    inputs: int = 0
    saving: list[Way] = field(default_factory=list)
    """Of the nodes that hold saved tensors."""
    reached: list[int] = field(default_factory=list)
    """For each result, the inputs that its gradient reaches."""
    users: list[int] = field(default_factory=list)
    """For each result, the results that are computed from it, and itself."""
    spent: int = 0
    """Results whose history has been freed by the recorded function itself."""
    reading: dict[tuple[bool, int], set[Way]] = field(default_factory=dict)
    """Of what the program does with a forward input (True, its number) or output (False, its number), and of the nodes
    that saved it."""
    memories: dict[int, set[Way]] = field(default_factory=dict)
    """Of the nodes that saved what is in a memory, by its storage's id; until `reading` is known."""
    _between: dict[Way, int] = field(default_factory=dict)

    def forget_ends(self, reached: int) -> None:
        """Forget ways to inputs that are none of `reached`: where a backward function gives no gradient, backward does
        not go on."""
        reached |= 1 << self.inputs
        self.reached = [ends & reached for ends in self.reached]
        self.saving = [way for way in self.saving if way[1] & reached]
        self.memories = {m: {way for way in ways if way[1] & reached} for m, ways in self.memories.items()}

    def between(self, results: int, inputs: int) -> int:
        """The nodes with saved tensors that a backward pass from `results` to `inputs` comes through, as bits."""
        found = self._between.get((results, inputs))
        if found is None:
            found = bits(n for n, way in enumerate(self.saving) if _meets(way, results, inputs))
            self._between[results, inputs] = found
        return found

    def reads(self, is_input: bool, number: int, results: int, inputs: int) -> bool:
        """Whether the backward pass from `results` to `inputs` reads that forward input or output."""
        return any(_meets(way, results, inputs) for way in self.reading.get((is_input, number), ((ALL, ALL),)))

    def reached_from(self, results: int) -> int:
        """The inputs that gradients of `results` reach."""
        return _union(self.reached[n] for n in numbers_in(results))

    def mixed(self, results: int) -> int:
        """Of these inputs, those that other results reach on ways of their own. In a program for all results zeros flow
        there, where eagerly nothing does."""
        beside = bits(n for n, users in enumerate(self.users) if not users & results)
        return self.reached_from(results) & self.reached_from(beside)


def ways_on_tape(starts: Sequence[Node], ends: Sequence[Any]) -> Ways:
    """The ways from the nodes of results to the edges of inputs, as the recorded run left the tape."""
    to: dict[Any, int] = {}
    for n, edge in enumerate(ends):
        to[edge] = to.get(edge, 0) | 1 << n
    inner = 1 << len(ends)
    nodes = sorted(between(starts, ends), key=lambda node: node.sequence)
    inside = set(nodes)
    for node in nodes:
        to[node] = _union(to.get(edge, inner if isinstance(edge, Tensor) else 0) for edge in node.edges)
    origins = dict.fromkeys(nodes, 0)
    for n, start in enumerate(starts):
        if start in inside:
            origins[start] |= 1 << n
    for node in reversed(nodes):
        for edge in node.edges:
            if edge in inside:
                origins[edge] |= origins[node]
    made = Ways(len(ends), reached=[to.get(start, 0) for start in starts])
    made.users = [origins.get(start, 0) | 1 << n for n, start in enumerate(starts)]
    for node in nodes:
        if (place := node.held()) is not None:
            if getattr(*place[:2]) is None:
                made.spent |= origins[node]
            elif getattr(*place[:2]):
                made.saving.append((origins[node], to[node]))
                for saved in _saved(*place[:2]):
                    made.memories.setdefault(id(saved.storage), set()).add(made.saving[-1])
    return made


def _saved(owner: Any, name: str) -> list[Saved]:
    """The tensors that a node holds."""
    held = getattr(owner, name)
    several = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()
    return [x for x in several if isinstance(x, Saved)]


def ways_in_program(
    graph: Graph, seeds: dict[Value, int], forward: dict[Value, tuple[bool, int]], gradients: int
) -> dict[tuple[bool, int], set[Way]]:
    """`Ways.reading` of a backward program. seeds: which result each gradient that it takes is of; forward: what else
    it takes; gradients: the inputs it gives gradients for, as bits."""
    origins = {value: 1 << number for value, number in seeds.items()}
    for operation in graph.operations:
        found = _union(origins.get(v, 0) for v in operands(operation))
        origins.update(dict.fromkeys(operation.results, found))
    given = iter(graph.operations[-1].operands)  # the gradients, then what decides whether the program fits
    to: dict[Value, int] = {}
    for n in numbers_in(gradients):
        value = next(given)
        to[value] = to.get(value, 0) | 1 << n
    to.update(dict.fromkeys(given, ALL))
    used: dict[Value, set[Way]] = {v: {(ALL, way)} for v, way in to.items() if not origins.get(v, 0)}
    for operation in reversed(graph.operations[:-1]):
        leading = _union(to.get(v, 0) for v in operation.results)
        from_seeds = _union(origins.get(v, 0) for v in operation.results)
        ways = {(from_seeds, leading)} if from_seeds else set().union(*(used.get(v, ()) for v in operation.results))
        for value in operands(operation):
            to[value] = to.get(value, 0) | leading
            if not origins.get(value, 0):
                used.setdefault(value, set()).update(ways)
    return {place: used.get(value, set()) for value, place in forward.items()}


def bits(numbers: Iterable[int]) -> int:
    """The number in which these bits are set."""
    found = 0
    for n in numbers:
        found |= 1 << n
    return found


def numbers_in(bits: int) -> Iterator[int]:
    """Which bits are set."""
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1


def _union(parts: Iterable[int]) -> int:
    found = 0
    for part in parts:
        found |= part
    return found


def _meets(way: Way, results: int, inputs: int) -> bool:
    return bool(way[0] & results and way[1] & inputs)
