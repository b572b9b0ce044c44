"""The backward pass of a recorded function whose result carries gradient history, as a program of its own.

Right after the forward run, the vector-Jacobian products of the result are recorded too, behind the forward operations,
and cut off again. What they need of the forward values is kept as extra outputs, or computed again from what is kept,
as `recompute` chooses. `compiled_node` puts calls on the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import Graph, Operation, Trait, Value, ops
from jitcore_ir.clone import clone_operation
from jitcore_runtime.executor import Executor

from ..autograd.engine import run
from ..autograd.tape import edge_of
from ..state import state
from ..tensor import Tensor, wrap
from ..undo import undone_on_error
from .capture import Recording
from .checks import Checks
from .effects import no_effects
from .history import hooks_between
from .recompute import operands, size_of, values_to_keep
from .recorder import Recorder
from .roots import Read, Root
from .segments import binding
from .sources import Entry, Number
from .watch import Watcher
from .ways import Ways, bits, numbers_in, ways_in_program, ways_on_tape


@dataclass(frozen=True, slots=True)
class Seed:
    """A backward input: the gradient of differentiable output `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class FromForward:
    """A backward input: forward graph input (`is_input`) or output number `number`."""

    is_input: bool
    number: int


@dataclass(frozen=True, slots=True)
class Captured:
    """A backward input: a tensor that the user's code met first in the backward pass."""

    tensor: Tensor


@dataclass(eq=False, slots=True)
class Backward:
    """`outputs` are the forward outputs that carry gradients, `roots` the forward inputs that receive them; `leaves`
    are outputs that require gradients and have no history, `retained` those whose gradients are to be kept.

    watched_inputs, watched_outputs: forward inputs and outputs that the backward pass reads where they are, and so must
    not have been written since. `problem` says why there is no program: the function is then run again, eagerly.
    """

    outputs: list[int]
    roots: list[int]
    graph: Graph
    inputs: list[Seed | FromForward | Captured] = field(default_factory=list)
    has_gradient: list[bool] = field(default_factory=list)
    varies: list[bool] = field(default_factory=list)
    """For each root, whether there is a gradient and it depends on inputs that receive them: not that of `2 * x`."""
    copied: list[tuple[int, int]] = field(default_factory=list)
    """Kept outputs that hold the same as a result, as (output, result): in memory of their own."""
    watched_inputs: list[int] = field(default_factory=list)
    watched_outputs: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    retained: list[int] = field(default_factory=list)
    histories: list[int] = field(default_factory=list)
    """Outputs with history, in order: `outputs`, and those that the function itself has gone backward through, so that
    nobody else can."""
    ways: Ways = field(default_factory=Ways)
    kept: tuple[int, int] = (0, 0)
    """How many values are kept for the backward pass beside inputs and results, and their bytes."""
    recomputed: int = 0
    reads: list[Read] = field(default_factory=list)
    checks: Checks = field(default_factory=Checks)
    problem: str | None = None
    autocast: Any = None
    written: tuple[int, ...] = ()
    sets_gradients: bool = False
    function: Callable | None = None
    holds: Callable[[], str | None] | None = None
    """What Python state that the forward run read is no longer as it was, in words; None where all is."""
    still_valid: Callable[[], bool] | None = None
    executor: Executor | None = None
    kept_at: list[tuple[bool, int] | None] = field(default_factory=list)
    """For each of `inputs` that is a forward input or output: whether it is an input, and its number."""

    def compile(self, function: Callable, compile_graph: Callable, native: bool) -> Backward:
        """Compile the backward graph; `function` is run again where the backward pass itself is differentiated."""
        self.function = function
        self.kept_at = [(s.is_input, s.number) if isinstance(s, FromForward) else None for s in self.inputs]
        if self.outputs and self.problem is None:
            first_guard = len(self.graph.outputs) - len(self.reads)
            guards = tuple((first_guard + k, read.outcome) for k, read in enumerate(self.reads))
            self.executor = Executor(compile_graph(self.graph, guards=guards), native)
            self.still_valid = self.checks.compile() if self.checks.conditions else None
        return self


def differentiate(recording: Recording) -> Backward:
    """Record the backward pass. Extends `recording.values` by what it keeps; `recording.graph` then holds the forward
    part alone."""
    recorder = recording.recorder
    assert recorder is not None
    outputs = {number: tensor for tensor, number in recording.differentiable if tensor._node is not None}
    histories = list(outputs)
    receiving = [
        i for i, root in enumerate(recorder.roots)
        if not isinstance(root.source, Entry | Number) and root.tensor.requires_grad
    ]  # fmt: skip
    targets = [edge_of(recorder.roots[i].tensor) for i in receiving]
    spent = ways_on_tape([tensor._node for tensor in outputs.values()], targets).spent
    for position in numbers_in(spent):
        del outputs[histories[position]]
    made = Backward(list(outputs), receiving, Graph(f"{recording.graph.name}_backward"))
    made.histories = histories
    made.ways = ways_on_tape([tensor._node for tensor in outputs.values()], targets)
    made.written, made.sets_gradients = tuple(recording.written), bool(recording.gradients)
    made.autocast, made.holds = state.autocast, recording.checks.first_broken
    made.leaves = [n for tensor, n in recording.differentiable if tensor._node is None]
    made.retained = [n for n, tensor in outputs.items() if tensor._node.retains is not None]
    made.problem = hooks_between([edge_of(t) for t in outputs.values()], targets)
    if outputs and made.problem is None:
        _record(recording, made, list(outputs.values()), targets)
    return made


def _record(recording: Recording, made: Backward, outputs: list[Tensor], targets: list[Any]) -> None:
    recorder = recording.recorder
    assert recorder is not None
    count, mark, reads = len(recorder.roots), len(recorder.graph.operations), len(recorder.reads)
    seeds = []
    for number, output in enumerate(outputs):
        seeds.append(wrap(np.ones(output._array.shape, output._array.dtype)))
        recorder.add_root(seeds[-1], f"gradient{number}", None, recorder.value_of(output).type.shape)
    memory = [(root, root.current, root.written) for root in recorder.roots]
    watcher = Watcher(_record, ())
    autocast = state.autocast
    recorder.open = True
    state.recorder, state.autocast = recorder, None  # gradients are computed in the dtypes that the forward run had
    values: list[Value | None] = []
    try:
        with undone_on_error(recorder.is_inside) as undo, watcher, no_effects() as effects:
            roots = [(edge_of(output), seed) for output, seed in zip(outputs, seeds, strict=True)]
            found = run(roots, True, False, targets, accumulate=False, ends=True)
            undo.put_back()
        watcher.forget_own([])
        values = [None if g is None else recorder.value_of(g) for g in found]
        made.problem = f"it prints or steps a schedule at {effects[0]}" if effects else None
    except RuntimeError as error:
        if "second time" in str(error):
            made.outputs = []
        made.problem = f"{type(error).__name__}: {error}"
    finally:
        state.recorder, state.autocast = None, autocast
        recorder.open = False
    made.reads, made.checks = recorder.reads[reads:], watcher.checks
    count, late = _sort_late(recorder, count, len(seeds))
    made.problem = made.problem or _problem(recording, watcher, memory, late)
    if made.problem is None:
        _Split(recording, made, mark, count, late).split(values)
    for root, current, written in memory:
        root.current, root.written = current, written
    _cut(recorder.graph, made, mark, recording.values)
    del recorder.graph.block.arguments[count:], recorder.roots[count:], recorder.reads[reads:]
    recorder.problem = None


def _sort_late(recorder: Recorder, count: int, seeds: int) -> tuple[int, list[Root]]:
    """Of the roots that came behind the seeds, move float arguments before them, as they are inputs of the forward
    program too: how many forward inputs there are then, and the other late roots."""
    late = recorder.roots[count + seeds :]
    numbers = [root for root in late if isinstance(root.source, Number)]
    late = [root for root in late if not isinstance(root.source, Number)]
    recorder.roots[count:] = [*numbers, *recorder.roots[count : count + seeds], *late]
    recorder.graph.block.arguments[:] = [root.value for root in recorder.roots]
    for index, root in enumerate(recorder.roots):
        root.value.index = index
    return count + len(numbers), late


def _problem(
    recording: Recording, watcher: Watcher, memory: list[tuple[Root, Value, bool]], late: list[Root]
) -> str | None:
    """Why the recorded backward pass may not be replayed."""
    recorder = recording.recorder
    assert recorder is not None
    if recorder.problem is not None:
        return recorder.problem
    if watcher.problem is not None:
        return watcher.problem
    for root, value, _ in memory:
        if _original(root.current) is not _original(value):
            return f"it writes a tensor at {root.location}"
    for root in late:
        owners = watcher.seen.get(id(root.tensor._storage), [])
        if root.written:
            return f"it writes a tensor at {root.location}"
        if root.source is not None or not owners:
            return "it uses a tensor that jitcore cannot watch"
        root.tensor = next((t for t in owners if t._view == root.chain), root.tensor)
    broken = watcher.checks.first_broken()
    return None if broken is None else f"it changes Python state: {broken}"


def _original(value: Value) -> Value:
    """What `value` is a copy of: a generator's state that was set and set back is as before."""
    while value.operation is not None and value.operation.spec is ops.COPY:
        value = value.operation.operands[0]
    return value


class _Split:
    """Takes the operations behind `mark` out of the joint graph into a graph of their own, with what it computes again
    of the forward ones."""

    def __init__(self, recording: Recording, made: Backward, mark: int, count: int, late: list[Root]) -> None:
        self.recording, self.made, self.late = recording, made, late
        joint = recording.graph
        self.arguments = {v: i for i, v in enumerate(joint.inputs)}
        self.count = count
        self.behind = set(joint.operations[mark:])
        self.first_late = count + len(made.outputs)
        self.copies: dict[Value, Value] = {}
        self.kept: set[Value] = set()
        self.watched: set[Value] = set()
        self.results = len(recording.values)

    def split(self, values: Sequence[Value | None]) -> None:
        joint, made, recorder = self.recording.graph, self.made, self.recording.recorder
        assert recorder is not None
        ends = [v for v in values if v is not None] + [read.value for read in made.reads]
        needed = self._needed(joint.operations, ends)
        seeded = self._seeded(needed)
        used = [v for o in needed if o in seeded for v in operands(o)] + ends
        wanted = [v for v in used if not self._is_seeded(v, seeded)]
        self.watched = self._read_in_place([v for o in needed for v in operands(o)] + ends)
        byte_size = size_of(recorder.sizes.values)
        self.kept = set(values_to_keep(wanted, self.watched, self.behind.__contains__, byte_size))
        order = {operation: i for i, operation in enumerate(joint.operations)}
        for value in sorted(wanted, key=lambda v: -1 if v.operation is None else order[v.operation]):
            self._bring(value)
        for operation in needed:
            if operation in seeded:
                self._bring(operation.results[0])
        made.graph.block.append(ops.RETURN, [self._bring(v) for v in ends])
        made.has_gradient = [v is not None for v in values]
        varying = self._depending(joint, {joint.inputs[n] for n in made.roots})
        made.varies = [v is not None and v in varying for v in values]
        self._find_ways(values)
        self._bind_symbols()
        made.watched_inputs = sorted(self.arguments[v] for v in self.watched if v in self.arguments)
        results = self.recording.values[: self.results]
        made.watched_outputs = [n for n, v in enumerate(results) if v in self.watched and v not in self.arguments]
        new = self.recording.values[self.results :]
        made.copied = [(self.results + n, results.index(v)) for n, v in enumerate(new) if v in results]
        made.kept = len(new), sum(byte_size(v) for v in new)

    def _find_ways(self, values: Sequence[Value | None]) -> None:
        """Which results and inputs what the backward pass reads is for."""
        made, recording = self.made, self.recording
        assert recording.recorder is not None
        taken = list(zip(made.graph.inputs, made.inputs, strict=True))
        seeds = {value: source.number for value, source in taken if isinstance(source, Seed)}
        forward = {v: (source.is_input, source.number) for v, source in taken if isinstance(source, FromForward)}
        there = bits(n for n, v in enumerate(values) if v is not None)
        ways = made.ways
        ways.forget_ends(there)
        ways.reading = ways_in_program(made.graph, seeds, forward, there)
        tensors = [((True, n), root.tensor) for n, root in enumerate(recording.recorder.roots)]
        tensors += [((False, n), tensor) for tensor, n in recording.differentiable]
        for place, tensor in tensors:
            if place in ways.reading:
                ways.reading[place] |= ways.memories.get(id(tensor._storage), set())
        ways.memories = {}

    def _needed(self, operations: Sequence[Operation], ends: Sequence[Value]) -> list[Operation]:
        """The backward operations that `ends` depend on, in order."""
        live = set(ends)
        found = []
        for operation in reversed(operations):
            if operation in self.behind and any(result in live for result in operation.results):
                live.update(operands(operation))
                found.append(operation)
        return found[::-1]

    def _seeded(self, needed: Sequence[Operation]) -> set[Operation]:
        """The operations that depend on what only the backward pass has (the gradients of the outputs, above all);
        others could be part of the forward pass."""
        found: set[Operation] = set()
        for operation in needed:
            if any(self._is_seeded(v, found) for v in operands(operation)):
                found.add(operation)
        return found

    def _depending(self, graph: Graph, inputs: set[Value]) -> set[Value]:
        """Everything that is computed from `inputs`, and these."""
        found = set(inputs)
        for operation in graph.operations:
            if any(v in found for v in operands(operation)):
                found.update(operation.results)
        return found

    def _is_seeded(self, value: Value, seeded: set[Operation]) -> bool:
        if value.operation is None:
            return self.arguments.get(value, -1) >= self.count
        return value.operation in seeded

    def _read_in_place(self, values: Sequence[Value]) -> set[Value]:
        """Forward inputs and results that the backward pass reads, as themselves or as views: the tape would keep them
        too, and so they are kept by reference, and must not be written before the backward pass. Inputs that the
        function itself writes are no longer what was read."""
        results = set(self.recording.values[: self.results])
        written = set(self.made.written)
        found: set[Value] = set()
        for value in dict.fromkeys(values):
            while value not in results and value.operation is not None and value.operation.spec.has(Trait.VIEW):
                value = value.operation.operands[0]
            number = self.arguments.get(value, self.count)
            if value in results or (number < self.count and number not in written):
                found.add(value)
        return found

    def _bring(self, value: Value) -> Value:
        """The backward graph's copy of a joint value. Without recursion: chains of operations may be long."""
        stack = [value]
        while stack:
            last = stack[-1]
            operation = last.operation
            if last in self.copies:
                stack.pop()
            elif operation is None or last in self.kept or last in self.watched:
                self.copies[last] = self._input(stack.pop())
            else:
                missing = [v for v in operands(operation) if v not in self.copies]
                if missing:
                    stack += reversed(missing)
                    continue
                new = clone_operation(operation, self.copies)
                new.block = self.made.graph.block
                new.block.operations.append(new)
                self.made.recomputed += operation not in self.behind and not _is_free(operation)
        return self.copies[value]

    def _input(self, value: Value) -> Value:
        made = self.made
        number = self.arguments.get(value, -1)
        source: Seed | FromForward | Captured
        if number >= self.first_late:
            source = Captured(self.late[number - self.first_late].tensor)
        elif number >= self.count:
            source = Seed(number - self.count)
        elif value in self.watched:
            source = FromForward(number >= 0, number if number >= 0 else self.recording.values.index(value))
        else:  # a result that the tape would not keep is kept in memory of its own
            self.recording.values.append(value)
            source = FromForward(False, len(self.recording.values) - 1)
        made.inputs.append(source)
        return made.graph.block.add_argument(value.type, value.name)

    def _bind_symbols(self) -> None:
        """Add forward inputs for the sizes that no input of the backward graph tells."""
        graph = self.made.graph
        inputs = [root.value for root in self.recording.roots[: self.count]]
        for number in binding(inputs, graph.inputs, graph.walk()):
            self.made.inputs.append(FromForward(True, number))
            graph.block.add_argument(inputs[number].type, inputs[number].name)


def _is_free(operation: Operation) -> bool:
    return operation.spec.has(Trait.VIEW) or not operation.operands


def _cut(graph: Graph, made: Backward, mark: int, values: Sequence[Value]) -> None:
    """Erase the backward operations, but those whose results the forward pass keeps for it."""
    live = set(values)
    stay = []
    for operation in reversed(graph.operations[mark:]):
        if any(result in live for result in operation.results):
            live.update(operands(operation))
            stay.append(operation)
        else:
            operation.erase_unchecked()
    graph.block.operations[mark:] = stay[::-1]
