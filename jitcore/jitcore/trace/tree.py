"""`TraceTree`: the recordings of one function for one kind of call, with what they begin alike shared.

    recorded so far             programs                       a call
    x.sum() > 0 was True        node 0: ops up to the read     runs node 0, reads the outcome there,
    x.sum() > 0 was False       node 1: the rest after True    goes on with node 1 or node 2
                                node 2: the rest after False

As long as only one way is known, the whole of it is one program, whose guards are checked when it has run and before it
writes anything. A second outcome splits it at the guard. Memory is written by the last program of a way alone, so an
outcome that nothing was recorded for has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir.cheap import is_cheap
from jitcore_runtime.errors import GuardFailed
from jitcore_runtime.executor import Executor
from jitcore_runtime.plan import BufferKind
from jitcore_runtime.program import Program

from ..tensor import Tensor
from .numbers import same_float
from .segments import Key, cut
from .variant import CannotReplay, Variant

Compile = Callable[..., Program]
"""`compile_graph` with the options of the function: (graph, updates=, guards=) -> Program."""

PATIENCE = 16
"""Calls of a tree that no longer grows, after which it is made one program if it is small."""

MISSED = object()
"""What `TraceTree.run` returns where nothing was recorded for the call."""


@dataclass(frozen=True, slots=True)
class Code:
    """A node's program: `takes` names its inputs, `gives` its results."""

    takes: tuple[Key, ...]
    gives: tuple[Key, ...]
    program: Program
    executor: Executor


@dataclass(eq=False, slots=True)
class Node:
    """Operations `start` to `stop` of the recordings below it, as one program, with their reads `first` to `last`
    inside. A leaf has its `variant`; another node ends in the read number `last`, whose outcome chooses the child.

    Other threads may be running while a tree grows: what they can reach is replaced, each by one assignment.
    """

    start: int
    stop: int
    first: int
    last: int
    code: Code
    variant: Variant | None = None
    children: list[tuple[Any, Node]] = field(default_factory=list)
    parent: Node | None = None
    whole: bool = False
    """It takes all graph inputs in order and gives all values: the common case of a single way."""
    steps: int = 0
    """Calls that went down from this root since it last grew."""
    merged: Any = None
    """This root and all below as one program (see `merge`)."""

    def variants(self) -> Iterator[Variant]:
        """The leaves below, oldest first."""
        if self.variant is not None:
            yield self.variant
        for _, child in self.children:
            yield from child.variants()

    def nodes(self) -> Iterator[Node]:
        yield self
        for _, child in self.children:
            yield from child.nodes()


@dataclass(eq=False)
class TraceTree:
    """Grows by `add`; `run` replays a call."""

    compile: Compile
    native: bool
    roots: list[Node] = field(default_factory=list)
    missed: tuple[Variant, int, Any] | None = None
    """The guard that sent the latest call away: of which variant, which read, and what was seen instead."""

    @property
    def variants(self) -> list[Variant]:
        return [variant for root in self.roots for variant in root.variants()]

    @property
    def programs(self) -> list[Program]:
        merged = [root.merged.program for root in self.roots if root.merged is not None]
        return [*merged, *(node.code.program for root in self.roots for node in root.nodes())]

    def way(self, variant: Variant) -> list[Node]:
        """The nodes whose programs a call that goes the way of `variant` runs, in order."""
        node = next((n for root in self.roots for n in root.nodes() if n.variant is variant), None)
        nodes = []
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def bytes(self) -> int:
        """What the programs hold: code, constants and temporary memory."""
        return sum(held_bytes(program) for program in self.programs)

    # Running

    def run(self, leaves: Sequence[Any], arguments: tuple, keywords: dict) -> Any:
        """Replay the call, or return MISSED with nothing changed. Raises what a program raises, and CannotReplay."""
        self.missed = None
        node = self._choose(self.roots, leaves)
        if node is None:
            return MISSED
        if node.variant is not None and node.whole:
            try:
                return self.run_whole(node, leaves, arguments, keywords)
            except GuardFailed as failure:
                self.missed = (node.variant, failure.index, failure.observed)
                return MISSED
        root = node
        if root.merged is not None and root.merged.fits(leaves):
            try:
                return root.merged.run(leaves, arguments, keywords)
            except (GuardFailed, CannotReplay):
                pass  # step by step it is found out where
        inputs: dict[int, Tensor] = {}
        known: dict[Key, np.ndarray] = {}
        while node.variant is None:
            guide = next(node.variants())
            for key in node.code.takes:
                if isinstance(key, int) and key not in known:
                    inputs[key] = guide.finders[key](leaves)
                    known[key] = inputs[key]._array
            outcome = self._run_node(node, guide, known)
            if outcome is MISSED:
                return MISSED
            following = self._choose([child for value, child in node.children if _same(value, outcome)], leaves)
            if following is None:
                self.missed = (guide, node.last, outcome)
                return MISSED
            node = following
        variant = node.variant
        found = variant.inputs(leaves)
        for number, tensor in enumerate(found):
            known[number] = tensor._array
        call = variant.begin(found, arguments, keywords)
        if self._run_node(node, variant, known) is MISSED:
            return MISSED
        root.steps += 1
        if root.steps == PATIENCE:
            from .merge import merge

            root.merged = merge(root, self.compile, self.native)
        return variant.results(leaves, found, [known[key] for key in variant.values], call, (arguments, keywords))

    @staticmethod
    def run_whole(node: Node, leaves: Sequence[Any], arguments: tuple, keywords: dict) -> Any:
        """Replay a call for which one program does it all. Raises GuardFailed as well. The hot path."""
        variant = node.variant
        assert variant is not None
        inputs = variant.inputs(leaves)
        call = variant.begin(inputs, arguments, keywords)
        return variant.results(
            leaves, inputs, node.code.executor.run([x._array for x in inputs]), call, (arguments, keywords)
        )

    def _run_node(self, node: Node, guide: Variant, known: dict[Key, np.ndarray]) -> Any:
        """Run one program of several; the outcome it ends in, or MISSED where a guard inside it fails."""
        code = node.code
        try:
            outputs = code.executor.run([known[key] for key in code.takes])
        except GuardFailed as failure:
            self.missed = (guide, node.first + failure.index, failure.observed)
            return MISSED
        known.update(zip(code.gives, outputs, strict=True))
        return None if node.variant is not None else outputs[-1].item()

    def _choose(self, nodes: Sequence[Node], leaves: Sequence[Any]) -> Node | None:
        """The first node with a recording that holds. What two recordings begin alike holds for both."""
        for node in nodes:
            if node.variant is not None:
                if node.variant.fits(leaves):
                    return node
            elif any(variant.fits(leaves) for variant in node.variants()):
                return node
        return None

    # Growing

    def add(self, variant: Variant) -> None:
        """Make `variant` a leaf, below what it begins alike with."""
        for root in self.roots:
            if self._grow(root, variant):
                for top in self.roots:
                    top.steps, top.merged = 0, None
                return
        code = self._leaf_code(variant, 0, 0, True)
        recording = variant.recording
        node = Node(0, len(recording.graph.operations), 0, len(recording.reads), code, variant, whole=True)
        self.roots = [node, *self.roots]

    def remove(self, variant: Variant) -> None:
        """Forget a recording; a node left with nothing below it goes too."""
        for root in self.roots:
            root.steps, root.merged = 0, None
        for node in reversed(self.way(variant)):
            if node.parent is None:
                self.roots = [root for root in self.roots if root is not node]
            else:
                node.parent.children = [(value, child) for value, child in node.parent.children if child is not node]
                if node.parent.children:
                    return

    def _grow(self, node: Node, variant: Variant) -> bool:
        """Put `variant` below `node` where their first different outcome is. False: they differ otherwise."""
        other = next(node.variants())
        mine, theirs = variant.recording.reads, other.recording.reads
        for number in range(node.first, node.last):
            if not _same_read(variant, other, number):
                return False
            if not _same(mine[number].outcome, theirs[number].outcome):
                if not _begins_alike(variant, other, mine[number].position):
                    return False
                self._split(node, number, variant)
                return True
        if node.variant is not None or not _same_read(variant, other, node.last):
            return False
        if not _begins_alike(variant, other, mine[node.last].position):
            return False
        for value, child in node.children:
            if _same(value, mine[node.last].outcome) and self._grow(child, variant):
                return True
        self._add_child(node, variant)
        return True

    def _split(self, node: Node, number: int, variant: Variant) -> None:
        """Cut `node` at read `number`: a new node takes its place, above what came after the read and `variant`."""
        guide = next(node.variants())
        read = guide.recording.reads[number]
        if node.variant is not None:
            code = self._leaf_code(node.variant, read.position, number + 1, False)
        else:
            code = self._inner_code(guide, node, read.position, number + 1, _wanted(node))
        rest = Node(read.position, node.stop, number + 1, node.last, code, node.variant, node.children)
        for _, child in rest.children:
            child.parent = rest
        top = Node(node.start, read.position, node.first, number, node.code, parent=node.parent)
        rest.parent = top
        child = self._child(top, variant)
        top.children = [(variant.recording.reads[number].outcome, child), (read.outcome, rest)]
        top.code = self._inner_code(guide, top, top.start, top.first, _wanted(top))
        self._supply(top.parent, [top, child, rest])
        if top.parent is None:
            self.roots = [top if root is node else root for root in self.roots]
        else:
            top.parent.children = [(value, top if child is node else child) for value, child in top.parent.children]

    def _add_child(self, node: Node, variant: Variant) -> None:
        child = self._child(node, variant)
        self._supply(node, [child])
        node.children = [(variant.recording.reads[node.last].outcome, child), *node.children]

    def _child(self, node: Node, variant: Variant) -> Node:
        """What `variant` does after the read that `node` ends in."""
        recording = variant.recording
        start = recording.reads[node.last].position
        code = self._leaf_code(variant, start, node.last + 1, False)
        stop = len(recording.graph.operations)
        return Node(start, stop, node.last + 1, len(recording.reads), code, variant, parent=node)

    def _supply(self, node: Node | None, below: list[Node]) -> None:
        """Have `node` and those above it give what the programs below them take, the new ones in `below` included."""
        while node is not None:
            wanted = _wanted(node, below)
            if not wanted <= set(node.code.gives):
                guide = next(node.variants())
                node.code = self._inner_code(guide, node, node.start, node.first, wanted)
            below.append(node)
            node = node.parent

    def _inner_code(self, guide: Variant, node: Node, start: int, first: int, wanted: set[Key]) -> Code:
        """The program of a node that ends in read number `node.last`."""
        read = guide.numbering.key(guide.recording.reads[node.last].value)
        return self._code(guide, start, node.stop, (*sorted(wanted), read), slice(first, node.last))  # type: ignore

    def _leaf_code(self, variant: Variant, start: int, first: int, whole: bool) -> Code:
        """The program of the last node of a way. A result that was computed before, or is an input, is given anew only
        where it would not be a copy."""
        operations = variant.recording.graph.operations
        gives = tuple(
            key
            for key in variant.values
            if whole or isinstance(key, int) or key[0] >= start or is_cheap(operations[key[0]])
        )
        return self._code(variant, start, len(operations), gives, slice(first, None), True, whole)

    def _code(self, guide: Variant, start: int, stop: int, gives: Any, reads: slice, *last_and_whole: bool) -> Code:
        made = cut(guide.recording, guide.numbering, start, stop, gives, reads, *last_and_whole)
        program = self.compile(made.graph, updates=made.updates, guards=made.guards)
        return Code(made.takes, made.gives, program, Executor(program, self.native))


def _wanted(node: Node, more: Sequence[Node] = ()) -> set[Key]:
    """The values of the node's own operations that a node below it needs."""
    below = [*(n for _, child in node.children for n in child.nodes()), *more]
    wanted = {key for n in below for key in n.code.takes}
    wanted.update(key for n in below if n.variant is not None for key in n.variant.values if key not in n.code.gives)
    return {key for key in wanted if not isinstance(key, int) and node.start <= key[0] < node.stop}


def _same(x: Any, y: Any) -> bool:
    """Whether two outcomes of a read are one."""
    return x is y or (same_float(x, y) if isinstance(x, float) and isinstance(y, float) else x == y)


def _same_read(a: Variant, b: Variant, number: int) -> bool:
    """Whether both recordings have that read, of the same value."""
    mine, theirs = a.recording.reads, b.recording.reads
    if number >= min(len(mine), len(theirs)) or mine[number].position != theirs[number].position:
        return False
    return a.numbering.key(mine[number].value) == b.numbering.key(theirs[number].value)


def _begins_alike(a: Variant, b: Variant, count: int) -> bool:
    """Whether the first `count` operations of both are the same, on the same inputs."""
    if not a.numbering.starts_like(b.numbering, count):
        return False
    used = {v.index for o in a.recording.graph.operations[:count] for v in o.operands if v.operation is None}
    roots, others = a.recording.roots, b.recording.roots
    return all(same_root(roots[n], others[n]) for n in used)


def same_root(a: Any, b: Any) -> bool:
    """Whether two graph inputs are one: found the same way, of the same type."""
    return a.value.type == b.value.type and (a.tensor is b.tensor if a.source is None else a.source == b.source)


def held_bytes(program: Program) -> int:
    """Code, constants and temporary memory of a program."""
    if program.plan is None or program.image is None:
        return 0
    constants = sum(b.data.nbytes for b in program.plan.buffers if b.kind is BufferKind.CONSTANT and b.data is not None)
    return len(program.image.code) + constants
