"""A small trace tree as one native function with real branches.

    node 0 ends in a read; node 1 follows True, node 2 False      the graph of all
                                                                  %0 = (node 0); %leaf, %y = cond(%0) {node 1} {node 2}

Every way gives the number of its recording first, -1 where it meets an outcome that nothing was recorded for: the
program's guard, upon which the call goes step by step through the tree instead. Results of one type share an output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import Block, Graph, Region, Trait, Value, ops
from jitcore_ir.clone import clone_operation
from jitcore_ir.dtypes import int64
from jitcore_runtime.executor import Executor
from jitcore_runtime.program import Program

from .segments import Key, cut
from .tree import Node, same_root
from .variant import Variant, check_overlap

MOST_WAYS = 8
MOST_OPERATIONS = 400
MOST_CONDITIONS = 400
"""Conditions on Python state, all of which must hold before the merged program may run."""
MOST_BYTES = 1 << 20
"""Memory that some ways write and others do not: those would write it as it was."""


@dataclass(eq=False, slots=True)
class Merged:
    """The program of a whole tree. `inputs[w]` and `outputs[w]` say which of the program's inputs and outputs are the
    graph inputs and the values of recording number w."""

    variants: list[Variant]
    finders: list[Callable[[Sequence[Any]], Any]]
    inputs: list[list[int]]
    outputs: list[list[int]]
    written: list[int]
    program: Program
    executor: Executor

    def run(self, leaves: Sequence[Any], arguments: tuple, keywords: dict) -> Any:
        """Replay a call that every recording's Python state suits. Raises GuardFailed for an unknown outcome."""
        found = [find(leaves) for find in self.finders]
        for number in self.written:
            check_overlap(found, number)
        inputs = [[found[n] for n in numbers] for numbers in self.inputs]
        calls = [variant.begin(mine, arguments, keywords) for variant, mine in zip(self.variants, inputs)]
        made = self.executor.run([x._array for x in found])
        way = made[0].item()
        values = [made[n] for n in self.outputs[way]]
        return self.variants[way].results(leaves, inputs[way], values, calls[way], (arguments, keywords))

    def fits(self, leaves: Sequence[Any]) -> bool:
        return all(variant.fits(leaves) for variant in self.variants)


def merge(root: Node, compile: Callable[..., Program], native: bool) -> Merged | None:
    """The tree below `root` as one program; None where it is too large or does not lend itself to it."""
    variants = list(root.variants())
    nodes = list(root.nodes())
    operations = [o for n in nodes for o in n.code.program.graph.operations]
    if (
        len(variants) > MOST_WAYS
        or len(operations) > MOST_OPERATIONS
        or sum(len(v.recording.checks.conditions) for v in variants) > MOST_CONDITIONS
        or any(o.spec.has(Trait.CLOSED) for o in operations)
        or any(not isinstance(d, int) for v in variants for r in v.recording.roots for d in r.value.type.shape)
    ):
        return None
    merger = _Merger(variants)
    if merger.rewritten() > MOST_BYTES or merger.shares_memory():
        return None
    graph = merger.graph(root)
    outputs = graph.outputs
    first = len(outputs) - 1 - len(merger.written)
    updates = tuple((first + k, number) for k, number in enumerate(merger.written))
    program = compile(graph, updates=updates, guards=((len(outputs) - 1, True),))
    return Merged(
        variants, merger.finders, merger.inputs, merger.outputs, merger.written, program, Executor(program, native)
    )


@dataclass(eq=False)
class _Merger:
    variants: list[Variant]
    finders: list[Callable] = field(default_factory=list)
    inputs: list[list[int]] = field(default_factory=list)
    outputs: list[list[int]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.roots: list[Any] = []
        self.types: list[Any] = []  # of the outputs that hold values; output 0 is the number of the way
        for variant in self.variants:
            self.inputs.append([self._input(root, variant, n) for n, root in enumerate(variant.recording.roots)])
            self.outputs.append(self._slots(variant))
        self.written = sorted({self.inputs[w][n] for w, v in enumerate(self.variants) for n in v.recording.written})

    def rewritten(self) -> int:
        """Bytes of memory that not every way writes."""
        total = 0
        for number in self.written:
            ways = sum(number in [self.inputs[w][n] for n in v.recording.written] for w, v in enumerate(self.variants))
            type = self.roots[number].value.type
            total += 0 if ways == len(self.variants) else math.prod(type.shape) * type.dtype.itemsize
        return total

    def shares_memory(self) -> bool:
        """Whether two inputs lie in one storage that a way writes: another would write it as it was."""
        storages = [root.memory for root in self.roots]
        return any(storages.count(storages[number]) > 1 for number in self.written)

    def _input(self, root: Any, variant: Variant, number: int) -> int:
        for n, other in enumerate(self.roots):
            if same_root(root, other):
                return n
        self.roots.append(root)
        self.finders.append(variant.finders[number])
        return len(self.roots) - 1

    def _slots(self, variant: Variant) -> list[int]:
        """An output for each value of a recording, of its type; other recordings use the same."""
        slots: list[int] = []
        for value in variant.recording.values:
            free = [n for n, type in enumerate(self.types) if type == value.type and n + 1 not in slots]
            if not free:
                self.types.append(value.type)
                free = [len(self.types) - 1]
            slots.append(free[0] + 1)
        return slots

    def graph(self, root: Node) -> Graph:
        graph = Graph(self.variants[0].recording.graph.name)
        roots = {n: graph.block.add_argument(r.value.type, r.value.name) for n, r in enumerate(self.roots)}
        way, *made = self._emit(graph.block, root, roots, {})
        zero = _constant(graph.block, 0)
        known = graph.block.append(ops.GE, [way, zero]).result
        graph.block.append(ops.RETURN, [way, *made, known])
        return graph

    def _emit(self, block: Block, node: Node, roots: dict[int, Value], values: dict[Key, Value]) -> list[Value]:
        """Append `node` and what follows it; gives the number of the way, the outputs and what is written."""
        guide = next(node.variants())
        numbers = self.inputs[self.variants.index(guide)]
        reads = slice(node.first, node.last)
        code = cut(
            guide.recording, guide.numbering, node.start, node.stop, node.code.gives, reads, node.variant is not None
        )
        copies = {
            argument: roots[numbers[key]] if isinstance(key, int) else values[key]
            for argument, key in zip(code.graph.inputs, code.takes)
        }
        for operation in code.graph.operations[:-1]:
            copy = clone_operation(operation, copies)
            copy.block = block
            block.operations.append(copy)
        made = [copies[v] for v in code.graph.outputs]
        values = {**values, **dict(zip(code.gives, made))}
        held = [_equals(block, made[output], outcome) for output, outcome in code.guards]
        if node.variant is not None:
            return self._leaf(block, node.variant, numbers, roots, values, made, code.updates, held)
        outcome = made[len(code.gives) - 1]
        return self._choose(block, node, node.children, outcome, held, roots, values)

    def _leaf(
        self,
        block: Block,
        variant: Variant,
        numbers: list[int],
        roots: dict[int, Value],
        values: dict[Key, Value],
        made: list[Value],
        updates: Sequence[tuple[int, int]],
        held: list[Value],
    ) -> list[Value]:
        way = self.variants.index(variant)
        outputs: list[Value | None] = [None] * len(self.types)
        for slot, key in zip(self.outputs[way], variant.values):
            outputs[slot - 1] = values[key]
        after = dict(roots)
        for (output, _), root in zip(updates, variant.recording.written):
            after[numbers[root]] = made[output]
        taken = _constant(block, way)
        for condition in held:
            taken = block.append(ops.WHERE, [condition, taken, _constant(block, -1)]).result
        return [taken, *self._outputs(block, outputs), *(after[n] for n in self.written)]

    def _choose(
        self,
        block: Block,
        node: Node,
        children: Sequence[tuple[Any, Node]],
        outcome: Value,
        held: list[Value],
        roots: dict[int, Value],
        values: dict[Key, Value],
    ) -> list[Value]:
        """Branches for the known outcomes one after another, all only where what was `held` before is so; at the end,
        that of an unknown one."""
        if not children:
            return [
                _constant(block, -1), *self._outputs(block, [None] * len(self.types)), *(roots[n] for n in self.written)
            ]  # fmt: skip
        (expected, child), *others = children
        predicate = _equals(block, outcome, expected)
        for condition in held:
            predicate = block.append(ops.BITWISE_AND, [predicate, condition]).result
        below = [n for _, c in children for n in c.nodes()]
        needed = [key for key in values if any(key in n.code.takes or _gives(n, key) for n in below)]
        operands = [outcome, *held, *roots.values(), *(values[key] for key in needed)]

        def region(emit: Callable[[Block, list[Value], dict[int, Value], dict[Key, Value]], list[Value]]) -> Region:
            inner = Block()
            arguments = [inner.add_argument(v.type) for v in operands]
            first, last = 1 + len(held), 1 + len(held) + len(roots)
            of_roots, of_values = dict(zip(roots, arguments[first:last])), dict(zip(needed, arguments[last:]))
            inner.append(ops.YIELD, emit(inner, arguments[:first], of_roots, of_values))
            return Region(inner)

        then = region(lambda inner, seen, r, v: self._emit(inner, child, r, v))
        otherwise = region(lambda inner, seen, r, v: self._choose(inner, node, others, seen[0], seen[1:], r, v))
        return block.append(ops.COND, [predicate, *operands], regions=[then, otherwise]).results

    def _outputs(self, block: Block, given: Sequence[Value | None]) -> list[Value]:
        """The outputs, zeros for those that this way does not give."""
        made = []
        for value, type in zip(given, self.types):
            if value is None:
                zero = block.append(ops.CONSTANT, [], {"value": np.zeros((), type.dtype.numpy)}).result
                value = block.append(ops.BROADCAST_TO, [zero], {"shape": type.shape}).result if type.rank else zero
            made.append(value)
        return made


def _gives(node: Node, key: Key) -> bool:
    """Whether a leaf gives as its result what was computed before it."""
    return node.variant is not None and key in node.variant.values


def _constant(block: Block, number: int) -> Value:
    return block.append(ops.CONSTANT, [], {"value": np.array(number, int64.numpy)}).result


def _equals(block: Block, value: Value, outcome: Any) -> Value:
    """Whether a read gives `outcome`. Bool values are themselves or their opposite."""
    if outcome is True:
        return value
    if outcome is False:
        return block.append(ops.LOGICAL_NOT, [value]).result
    if outcome != outcome:
        return block.append(ops.NE, [value, value]).result
    expected = block.append(ops.CONSTANT, [], {"value": np.array(outcome, value.type.dtype.numpy)}).result
    return block.append(ops.EQ, [value, expected]).result
