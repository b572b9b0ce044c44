"""Calls of a compiled function on the tape: one node each, whose backward pass is compiled too.

Where there is no compiled backward pass that fits, and where gradients of gradients are asked for, the function is run
again, eagerly, on everything as it was at the call, and the tape of that run is used.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from jitcore_runtime.errors import GuardFailed

from ..autograd.engine import Bundle, run
from ..autograd.tape import CallNode, Node, Saved, changed, edge_of, zeros_like
from ..source import user_location
from ..state import state
from ..storage import Storage
from ..tensor import Tensor, alias, wrap
from .containers import flatten
from .differentiate import Backward, Captured, Seed
from .effects import no_effects
from .pieces import whole_of

_MOST_COPIED = 1 << 22
"""Bytes of tensors the function writes, up to which they are copied at each call so that it can be run again."""

_rerun_versions = itertools.count(1 << 40, 1 << 20)


class Call:
    """One forward call: what its backward pass needs. `arrays` are the program's outputs."""

    __slots__ = ("arguments", "arrays", "backward", "before", "inputs", "keywords", "memories", "results")

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
        if not backward.outputs:
            return
        if backward.spent:
            for number in backward.outputs:
                outputs[number] = _with_node(outputs[number], CallNode("CompiledBackward", (), outputs[number], _spent))
            return
        self.results = [alias(outputs[n]) for n in backward.watched_outputs]  # they must not lead back to the node
        self.arrays = [
            None if place is None else self.inputs[place[1]]._array if place[0] else _array(outputs[place[1]])
            for place in backward.kept_at
        ]
        node = CompiledNode(self, [_array(outputs[n]) for n in backward.outputs])
        for position, number in enumerate(backward.outputs):
            array = _array(outputs[number])
            outputs[number] = _with_node(outputs[number], node.result_edge(position, array))
            if number in backward.retained:
                outputs[number].retain_grad()

    def check_memory(self, node: Node) -> None:
        """Raise RuntimeError where what the backward pass reads has been written since the call."""
        for number in self.backward.watched_inputs:
            storage, version = self.memories[number]
            if storage.version != version:
                raise RuntimeError(changed(_saved(self.inputs[number], storage, version, "an input"), node))
        for x in self.results:
            if x._storage.version:
                raise RuntimeError(changed(_saved(x, x._storage, 0, "a result"), node))

    def gradients(self, seeds: Sequence[Tensor]) -> list[Tensor | None] | None:
        """By the compiled backward pass; None where it does not fit."""
        backward = self.backward
        if backward.executor is None or (backward.still_valid is not None and not backward.still_valid()):
            return None
        arrays: list[Any] = []
        for source, kept in zip(backward.inputs, self.arrays, strict=True):
            if isinstance(source, Seed):
                arrays.append(seeds[source.number]._array)
            else:
                arrays.append(source.tensor._array if isinstance(source, Captured) else kept)
        try:
            found = iter(backward.executor.run(arrays))
        except GuardFailed:
            return None
        return [wrap(next(found)) if there else None for there in backward.has_gradient]

    def gradients_by_tape(self, seeds: Sequence[Tensor], create_graph: bool) -> list[Tensor | None]:
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
        roots = list(zip(edges.values(), seeds, strict=True))
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

    def gradients_unrecorded(self, seeds: Sequence[Tensor]) -> list[Tensor | None] | None:
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
    """The tape step of one call; with several outputs its gradient arrives as a `Bundle`."""

    __slots__ = ("call", "inner", "outputs")

    def __init__(self, call: Call, outputs: Sequence[np.ndarray]) -> None:
        self.call: Call | None = call
        self.outputs = [(array.shape, array.dtype) for array in outputs]
        self.inner: list[weakref.ref[Node]] = []
        self._start([edge_of(call.inputs[i]) for i in call.backward.roots], outputs[0])

    def name(self) -> str:
        return "CompiledBackward"

    def vjp(self, g: Any) -> Sequence[Any]:
        call = self.call
        if call is None:
            _spent(g)
        assert call is not None
        call.check_memory(self)
        if any((n := inner()) is not None and (n.hooks or n.extra or n.retains) for inner in self.inner):
            raise RuntimeError(
                "a hook or retain_grad() on a result of a jitted function that other results are computed from: its "
                "whole gradient is not known outside; call the function without jitcore.jit here"
            )
        parts = g.parts if type(g) is Bundle else {0: g}
        seeds = [parts[i] if i in parts else _zeros(*kind) for i, kind in enumerate(self.outputs)]
        found = call.gradients(seeds) if state.recorder is None else call.gradients_unrecorded(seeds)
        if found is None:
            with call.as_at_the_call():
                return call.gradients_by_tape(seeds, state.grad_enabled)
        if state.grad_enabled:
            _attach_second(call, seeds, found)
        return found

    def result_edge(self, position: int, array: np.ndarray) -> Node:
        if len(self.outputs) == 1:
            return self
        made = CallNode(self.name(), (self,), array, _part(position))
        if self.call is not None and position in self.call.backward.inner:
            self.inner.append(weakref.ref(made))
        return made

    def release(self) -> None:
        """Give up what was kept. Where eager execution saves nothing, as for sums, backward may come again."""
        if self.call is not None and self.call.backward.saves:
            self.call = None

    def held(self) -> tuple[Any, str] | None:
        return self, "call"


def _attach_second(call: Call, seeds: Sequence[Tensor], found: Sequence[Tensor | None]) -> None:
    """Give gradients that came from a program a history: made by running the function again, if it is ever used."""
    edges = [edge_of(g) for g in seeds] + [edge_of(call.inputs[i]) for i in call.backward.roots]
    there = [i for i, g in enumerate(found) if g is not None]
    seeded = any(edge is not None for edge in edges[: len(seeds)])
    positions = [i for i, varies in zip(there, call.backward.varies, strict=True) if varies or seeded]
    made = [g for i in positions if (g := found[i]) is not None]

    def vjp(g: Any) -> Sequence[Any]:
        parts = g.parts
        own = [alias(seed) for seed in seeds]
        for seed in own:
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


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> Tensor:
    return zeros_like(wrap(np.broadcast_to(np.zeros((), dtype), shape)))


def _saved(x: Tensor, storage: Storage, version: int, role: str) -> Saved:
    saved = Saved(x, None, role)
    saved.storage, saved.version = storage, version
    return saved


def _spent(g: Any) -> Sequence[Any]:
    raise RuntimeError(
        "Trying to backward through the graph a second time: the tensors that a jitted function saved have been freed. "
        "Pass retain_graph=True to the first backward() or grad() call."
    )
