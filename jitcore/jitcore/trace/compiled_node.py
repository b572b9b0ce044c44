"""Calls of a compiled function on the tape: one node each, whose backward pass is compiled too.

Where there is no compiled backward pass that fits, and where gradients of gradients are asked for, the function is run
again, eagerly, on everything as it was at the call, and the tape of that run is used.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from jitcore_runtime.errors import GuardFailed

from ..autograd.engine import Bundle, run
from ..autograd.tape import CallNode, Node, Saved, changed, edge_of
from ..source import user_location
from ..state import state
from ..storage import Storage
from ..tensor import Tensor, alias, wrap
from .containers import flatten
from .differentiate import Backward, Captured, Seed
from .effects import no_effects
from .pieces import whole_of
from .ways import ALL, bits

_MOST_COPIED = 1 << 22
"""Bytes of tensors the function writes, up to which they are copied at each call so that it can be run again."""

_rerun_versions = itertools.count(1 << 40, 1 << 20)


class Call:
    """One forward call: what its backward pass needs. `arrays` are the program's outputs."""

    __slots__ = ("arguments", "arrays", "backward", "before", "inputs", "keywords", "kinds", "memories", "results")

    def __init__(self, backward: Backward, inputs: Sequence[Tensor], arguments: tuple, keywords: dict) -> None:
        self.backward, self.inputs = backward, inputs
        self.arguments, self.keywords = arguments, keywords
        self.memories = [(x._storage, x._storage.version) for x in inputs]  # `x.data = ...` gives x another
        self.before: list[np.ndarray] | None = None
        if sum(inputs[n]._array.nbytes for n in backward.written) <= _MOST_COPIED:
            self.before = [inputs[n]._array.copy() for n in backward.written]

    def attach(self, outputs: list[Any]) -> None:
        """Put the outputs that carry gradients on the tape; `outputs`, arrays, get tensors in their places."""
        backward = self.backward
        for number, result in backward.copied:
            if outputs[number] is outputs[result]:
                outputs[number] = outputs[number].copy()
        for number in backward.watched_outputs:
            outputs[number] = wrap(outputs[number])
        for number in backward.leaves:
            outputs[number] = made = wrap(outputs[number])
            made._requires_grad = True
        if len(backward.outputs) != len(backward.histories):
            for number in backward.histories:
                if number not in backward.outputs:
                    spent = CallNode("CompiledBackward", (), _array(outputs[number]), _spent)
                    outputs[number] = _with_node(outputs[number], spent)
        if not backward.outputs:
            return
        self.results = [alias(outputs[n]) for n in backward.watched_outputs]  # they must not lead back to the node
        self.arrays = [
            None if place is None else self.inputs[place[1]]._array if place[0] else _array(outputs[place[1]])
            for place in backward.kept_at
        ]
        self.kinds = [((array := _array(outputs[n])).shape, array.dtype) for n in backward.outputs]
        node = CompiledNode(self, _array(outputs[backward.outputs[0]]))
        for position, number in enumerate(backward.outputs):
            array = _array(outputs[number])
            outputs[number] = _with_node(outputs[number], node.result_edge(position, array))
            if number in backward.retained:
                outputs[number].retain_grad()

    def check_memory(self, node: Node, results: int, inputs: int) -> None:
        """Raise RuntimeError where what the backward pass between these reads has been written since the call."""
        backward = self.backward
        for number in backward.watched_inputs:
            storage, version = self.memories[number]
            if storage.version != version and backward.ways.reads(True, number, results, inputs):
                raise RuntimeError(changed(_saved(self.inputs[number], storage, version, "an input"), node))
        for x, number in zip(self.results, backward.watched_outputs, strict=True):
            if x._storage.version and backward.ways.reads(False, number, results, inputs):
                raise RuntimeError(changed(_saved(x, x._storage, 0, "a result"), node))

    def gradients(self, seeds: Sequence[Tensor | None]) -> list[Tensor | None] | None:
        """By the compiled backward pass; None where it does not fit.

        It takes the gradients of all results: zeros for one that has none, whose part is zeros then, unless it has been
        multiplied by what is not finite. So where that can be, the gradients are looked at.
        """
        backward = self.backward
        if backward.executor is None or (backward.still_valid is not None and not backward.still_valid()):
            return None
        arrays: list[Any] = []
        for source, kept in zip(backward.inputs, self.arrays, strict=True):
            if isinstance(source, Seed):
                seed = seeds[source.number]
                arrays.append(np.zeros(*self.kinds[source.number]) if seed is None else seed._array)
            else:
                arrays.append(source.tensor._array if isinstance(source, Captured) else kept)
        try:
            found = iter(backward.executor.run(arrays))
        except GuardFailed:
            return None
        made = [wrap(next(found)) if there else None for there in backward.has_gradient]
        if len(seeds) == 1 or all(seed is not None for seed in seeds):
            return made
        ways, results = backward.ways, bits(n for n, seed in enumerate(seeds) if seed is not None)
        reached, mixed = ways.reached_from(results), ways.mixed(results)
        made = [g if reached >> i & 1 else None for i, g in enumerate(made)]
        doubtful = [g._array for i, g in enumerate(made) if g is not None and mixed >> i & 1]
        return made if _are_finite(doubtful) or self.why_not_again() is not None else None

    def gradients_by_tape(self, seeds: Sequence[Tensor | None], create_graph: bool) -> list[Tensor | None]:
        """By running the function again. To be called inside `as_at_the_call`."""
        backward = self.backward
        assert backward.function is not None
        modes = state.grad_enabled, state.autocast, state.recorder, state.batching
        state.grad_enabled, state.autocast, state.recorder, state.batching = True, backward.autocast, None, None
        try:
            with no_effects():
                result = backward.function(*self.arguments, **self.keywords)
        finally:
            state.grad_enabled, state.autocast, state.recorder, state.batching = modes
        results = [whole_of(t) for t in flatten(result, once=True)[0] if isinstance(t, Tensor) and t.requires_grad]
        edges = {id(t._storage): edge_of(t) for t in results if t._node is not None}  # one for each program output
        usable = [number in backward.outputs for number in backward.histories]
        own = [edge for edge, there in zip(edges.values(), usable, strict=True) if there]
        roots = [(edge, seed) for edge, seed in zip(own, seeds, strict=True) if seed is not None]
        targets = [edge_of(self.inputs[i]) for i in backward.roots]
        return run(roots, True, create_graph, targets, accumulate=False, ends=True)

    @contextmanager
    def as_at_the_call(self) -> Iterator[None]:
        """The memory that the function writes (a generator's state, say) is inside as it was at the call, and as before
        afterwards. Raises RuntimeError where the function cannot be run again as it was."""
        if (why := self.why_not_again()) is not None:
            raise RuntimeError(
                f"backward through a jitted function that has to run again (for gradients of gradients, or as its "
                f"backward pass is not compiled: see explain()), which it cannot: {why}; call it without "
                "jitcore.jit here"
            )
        written = [self.inputs[n] for n in self.backward.written]
        now = [(x._array.copy(), x._storage.version) for x in written]
        for x, array in zip(written, self.before or (), strict=True):
            if state.undo is not None:
                state.undo.write(x)
            x._array[...] = array
            x._storage.version = next(_rerun_versions)  # what a tape saves of it inside is known not to be there later
        try:
            yield
        finally:
            for x, (array, version) in zip(written, now, strict=True):
                x._array[...] = array
                x._storage.version = version

    def why_not_again(self) -> str | None:
        """Why the function cannot be run again as it was."""
        backward = self.backward
        if self.before is None:
            return "it writes large tensors"
        if backward.sets_gradients:
            return "it calls backward() itself"
        if backward.holds is not None and (broken := backward.holds()) is not None:
            return f"since the call, Python state has changed: {broken}"
        written = set(backward.written)
        for number, (x, (storage, version)) in enumerate(zip(self.inputs, self.memories, strict=True)):
            if x._storage is not storage:
                return "a tensor it reads has been given other data since"
            if number not in written and storage.version != version:
                at = storage.written_at
                return f"a tensor it reads has been written since{f', at {at[0]}:{at[1]}' if at else ''}"
        return None

    def gradients_unrecorded(self, seeds: Sequence[Tensor | None]) -> list[Tensor | None] | None:
        """While another function is recorded, whose gradients flow through this call: by the compiled backward pass,
        of which the recording knows nothing, where the function cannot be run again. None where it can."""
        recorder = state.recorder
        refuse = getattr(recorder, "refuse", None)
        if refuse is None or (why := self.why_not_again()) is None:
            return None
        refuse(f"gradients flow through a jitted function that would have to run again, but {why}", user_location())
        state.recorder = None
        try:
            return self.gradients(seeds)
        finally:
            state.recorder = recorder


class CompiledNode(Node):
    """The tape step of one call; with several outputs its gradient arrives as a `Bundle`.

    Backward through it again is an error where it is one eagerly: where it comes through a node of the recorded tape
    that held saved tensors, and has been `freed`. `used` are the nodes that the latest backward has come through.
    """

    __slots__ = ("call", "freed", "results", "used", "ways")

    def __init__(self, call: Call, first: np.ndarray) -> None:
        self.call: Call | None = call
        self.ways = call.backward.ways
        self.freed = self.used = 0
        self.results: list[weakref.ref[Node]] = []
        self._start([edge_of(call.inputs[i]) for i in call.backward.roots], first)

    def name(self) -> str:
        return "CompiledBackward"

    def vjp(self, g: Any) -> Sequence[Any]:
        call, ways = self.call, self.ways
        parts, results = (g.parts, bits(g.parts)) if type(g) is Bundle else ({0: g}, 1)
        inputs = ALL if state.wanted is None else self._leading_to(state.wanted)
        self.used = ways.between(results, inputs)
        if inputs != ALL and not ways.reached_from(results) & inputs:
            return [None] * len(self.edges)
        if call is None or self.used & self.freed:
            _spent(g)
        assert call is not None
        call.check_memory(self, results, inputs)
        for position, result in enumerate(self.results):
            node = result() if ways.users[position] & results & ~(1 << position) else None
            if node is not None and (node.hooks or node.extra or node.retains):
                raise RuntimeError(
                    "a hook or retain_grad() on a result of a jitted function that other results are computed from: "
                    "its whole gradient is not known outside; call the function without jitcore.jit here"
                )
        seeds = [parts.get(i) for i in range(len(call.kinds))]
        found = call.gradients(seeds) if state.recorder is None else call.gradients_unrecorded(seeds)
        if found is None:
            with call.as_at_the_call():
                return call.gradients_by_tape(seeds, state.grad_enabled)
        if state.grad_enabled:
            _attach_second(call, seeds, found)
        return found

    def _leading_to(self, wanted: Set[Any]) -> int:
        """The inputs whose gradients are asked for."""
        return bits(i for i, edge in enumerate(self.edges) if edge in wanted)

    def result_edge(self, position: int, array: np.ndarray) -> Node:
        call = self.call
        if call is None or len(call.kinds) == 1:
            return self
        made = CallNode(self.name(), (self,), array, _part(position))
        self.results.append(weakref.ref(made, partial(_gone, weakref.ref(self))))
        return made

    def release(self) -> None:
        """Eagerly a backward frees what it has come through."""
        self.freed |= self.used
        self.give_up()

    def give_up(self) -> None:
        """Let go of the call where no result is left that has something to go backward through. One that saves nothing,
        as for sums, may go backward again."""
        if self.call is None:
            return
        for position in range(len(self.call.kinds)):
            if not self.results or self.results[position]() is not None:
                own = self.ways.between(1 << position, ALL)
                if not own or own & ~self.freed:
                    return
        self.call = None

    def held(self) -> tuple[Any, ...] | None:
        return self, "call", "freed"


def _gone(node: weakref.ref[CompiledNode], result: weakref.ref[Node]) -> None:
    """A result of the call is no longer there."""
    if (there := node()) is not None:
        there.give_up()


def _attach_second(call: Call, seeds: Sequence[Tensor | None], found: Sequence[Tensor | None]) -> None:
    """Give gradients that came from a program a history: made by running the function again, if it is ever used."""
    edges = [None if g is None else edge_of(g) for g in seeds] + [edge_of(call.inputs[i]) for i in call.backward.roots]
    seeded = any(edge is not None for edge in edges[: len(seeds)])
    positions = [i for i, g in enumerate(found) if g is not None and (call.backward.varies[i] or seeded)]
    made = [g for i in positions if (g := found[i]) is not None]

    def vjp(g: Any) -> Sequence[Any]:
        parts = g.parts
        own = [None if seed is None else alias(seed) for seed in seeds]
        for seed in own:
            if seed is not None:
                seed._requires_grad = True
        targets = [*own, *edges[len(seeds) :]]
        with call.as_at_the_call():
            with no_effects():
                first = call.gradients_by_tape(own, True)
            starts = {n: edge_of(g) for n, i in enumerate(positions) if n in parts and (g := first[i]) is not None}
            roots = [(edge, parts[n]) for n, edge in starts.items() if edge is not None]
            return run(roots, True, state.grad_enabled, targets, accumulate=False, ends=True)

    if made:
        node = CallNode("CompiledBackwardBackward", edges, made[0]._array, vjp)
        for n, g in enumerate(made):
            _with_node(g, CallNode(node.label, (node,), g._array, _part(n)))


def _with_node(output: Any, node: Node) -> Tensor:
    made = output if isinstance(output, Tensor) else wrap(output)
    made._node = node
    made._requires_grad = True
    return made


def _part(position: int) -> Callable[[Any], Sequence[Any]]:
    return lambda g: (Bundle({position: g}),)


def _array(output: Any) -> np.ndarray:
    return output._array if isinstance(output, Tensor) else output


def _are_finite(arrays: Sequence[np.ndarray]) -> bool:
    """Whether all elements are; their sums show it without memory for as many truth values."""
    if not arrays:
        return True
    with np.errstate(all="ignore"):
        return all(np.isfinite(array.sum()) for array in arrays)


def _saved(x: Tensor, storage: Storage, version: int, role: str) -> Saved:
    saved = Saved(x, None, role)
    saved.storage, saved.version = storage, version
    return saved


def _spent(g: Any) -> Sequence[Any]:
    raise RuntimeError(
        "Trying to backward through the graph a second time: the tensors that a jitted function saved have been freed. "
        "Pass retain_graph=True to the first backward() or grad() call."
    )
