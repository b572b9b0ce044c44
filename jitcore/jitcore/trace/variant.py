"""`Variant`: the way into a recording and out of it again, for each later call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jitcore_ir.shapes import Expr, evaluate

from ..autograd.tape import NO_GRAD_VIEW
from ..dispatch import apply
from ..state import state
from ..tensor import Tensor, alias, wrap
from .capture import Recording
from .compiled_node import Call
from .containers import LEAF, part_at, unflatten
from .kinds import SizeChecks
from .links import LinkChecks, Links, gradient_of
from .numbers import same_float
from .pieces import (
    Again,
    FromContainer,
    FromNumber,
    FromOutput,
    FromRoot,
    FromSize,
    Piece,
    Static,
    laid_out,
    settled_piece,
    whole_of,
)
from .segments import Numbering
from .sizes import ShapeGuard
from .sources import Argument, Entry, GradientOf, Integer, MemoryOf, Number, StateOf
from .views import Chain, whole_memory


class CannotReplay(Exception):
    """This call's tensors do not suit the recording in a way that its key and checks do not show; it runs eagerly."""


class Variant:
    """One recorded way through the function: how a call's tensors become graph inputs, and results the user's objects.

    `fits(leaves)` says whether the Python state and the numbers that the recording depends on are as it saw them. What
    runs in between is the business of the `TraceTree` that the variant is a leaf of.
    """

    def __init__(self, recording: Recording, backward: Any = None) -> None:
        self.recording = recording
        self.numbering = Numbering(recording.graph)
        self.still_valid = recording.checks.compile()
        self.outcomes = tuple(read.outcome for read in recording.reads)
        self.pins = [(position, number) for position, (number, _) in recording.pins.items()]
        self.values = tuple(self.numbering.key(value) for value in recording.values)
        self.hits = 0
        self.seconds = 0.0  # that compiling it took
        self.noted = self.idle = 0
        """Hits when they were last looked at, and how often they had not changed then."""
        self.backward = backward  # where the result carries gradient history
        self._written = tuple(recording.written)
        self._storages = len({root.memory for root in recording.roots})
        self._effects = recording.effects
        self._layouts = tuple(recording.layouts.items())
        self._pieces = recording.pieces[: len(recording.pieces) - len(recording.gradients)]
        leaf_of = {id(r.tensor): r.source.index for r in recording.roots if isinstance(r.source, Argument)}
        recorder = recording.recorder
        assert recorder is not None
        leaf_of |= recorder.aliases
        slots = list(recorder.gradients.values())
        self.links = LinkChecks(recording.links, slots, leaf_of)
        self._gradients = [(_owner(slot.leaf, leaf_of), piece) for slot, piece in recording.gradients]
        self._observed = [(_owner(slot.leaf, leaf_of), slot.before is None) for slot in slots if slot.observed]
        self.finders = [_finder(root, leaf_of) for root in recording.roots]
        sizes, pattern = recorder.sizes, recording.pattern
        assert pattern is not None
        recording.pattern = pattern = pattern.current(sizes)
        self.size_guards = tuple(sizes.guards)
        self._sizes = SizeChecks(pattern, self.size_guards) if self.size_guards and pattern.is_symbolic else None
        self._pieces = [settled_piece(piece, sizes) for piece in self._pieces]
        self._gradients = [(owner, settled_piece(piece, sizes)) for owner, piece in self._gradients]
        pieces = (*self._pieces, *(piece for _, piece in self._gradients))
        # Whether sizes of the result depend on symbols beyond what the program's outputs have.
        self._sized = pattern.is_symbolic and any(isinstance(p, FromSize) or getattr(p, "chain", None) for p in pieces)
        self._only_output = self._single_output()
        self._forget_the_run()

    def _forget_the_run(self) -> None:
        """Let go of the recorded call's tensors: their memory is not needed any more."""
        recording = self.recording
        for root in recording.roots:
            if root.source is not None and not isinstance(root.source, GradientOf):
                root.tensor = None
        recording.recorder, recording.links = None, Links()
        recording.gradients, recording.differentiable = [], []

    def is_valid(self) -> bool:
        """Whether the Python state, and which captured leaves have a gradient, are as the recording saw them."""
        if not self.still_valid():
            return False
        return not self._observed or all(
            isinstance(owner, int) or (owner._grad is None) == absent for owner, absent in self._observed
        )

    def fits(self, leaves: Sequence[Any]) -> bool:
        """Whether the recording holds for these arguments, as far as can be told before it runs."""
        return self.holds_for(leaves) and (self._sizes is None or self._sizes.values(leaves) is not None)

    def holds_for(self, leaves: Sequence[Any]) -> bool:
        """The same for arguments whose sizes are known to fit."""
        for position, number in self.pins:
            if not same_float(leaves[position], number):
                return False
        if self.links.are_there and self.links.broken(leaves) is not None:
            return False
        for owner, absent in self._observed:
            if isinstance(owner, int) and (gradient_of(owner, leaves) is None) != absent:
                return False
        return self.is_valid()

    def broken_guard(self, leaves: Sequence[Any]) -> ShapeGuard | None:
        """The first guard on sizes that does not hold for these arguments."""
        assert self.recording.pattern is not None
        values = self.recording.pattern.bind(leaves)
        return None if values is None else next((g for g in self.size_guards if not g.holds(values)), None)

    def inputs(self, leaves: Sequence[Any]) -> list[Tensor]:
        """The tensors that are this call's graph inputs. Raises CannotReplay where a captured one changed its shape, or
        where memory that is written overlaps another input."""
        inputs = [find(leaves) for find in self.finders]
        self.check_memory(inputs)
        return inputs

    def check_memory(self, inputs: Sequence[Tensor]) -> None:
        """Raises CannotReplay where memory that is written overlaps another input, as it did not when recorded."""
        if self._written:
            if len({id(x._storage) for x in inputs}) != self._storages:
                raise CannotReplay("other inputs share memory than when the function was recorded")
            for number in self._written:
                check_overlap(inputs, number)

    def begin(self, inputs: list[Tensor], arguments: tuple, keywords: dict) -> Call | None:
        """What the backward pass needs to know of the call before its program writes anything."""
        if self._written and state.undo is not None:
            for number in self._written:
                state.undo.write(inputs[number])
        return None if self.backward is None else Call(self.backward, inputs, arguments, keywords)

    def results(
        self, leaves: Sequence[Any], inputs: list[Tensor], outputs: list[Any], call: Call | None, given: tuple
    ) -> Any:
        """What the user gets, once the program has run: `outputs` are the recording's values; `given` the positional
        and named arguments."""
        for number, axes in self._layouts:
            outputs[number] = laid_out(outputs[number], axes)
        if self._effects:
            arrays = dict(zip(self.recording.values, outputs))
            for effect in self._effects:
                effect.replay(arrays.__getitem__)
        if call is not None:
            call.attach(outputs)
        return self._finish(leaves, inputs, outputs, given)

    def _finish(self, leaves: Sequence[Any], inputs: Sequence[Tensor], outputs: list[Any], given: tuple) -> Any:
        """Commit what the run changed besides memory (versions, gradients) and build the result."""
        self.hits += 1
        values = self._values(leaves) if self._sized else None
        for number in self._written:
            inputs[number]._storage.version += 1
        if self._only_output is not None:
            made = outputs[self._only_output]
            return made if isinstance(made, Tensor) else wrap(made)
        built: list[Any] = []
        owners: dict[int, Tensor] = {}  # by their numbers; under ~n, output n itself, once it has been given out
        for piece in self._pieces:
            built.append(self._build(piece, leaves, inputs, outputs, built, owners, values, given))
        result = unflatten(self.recording.structure, built)
        for owner, piece in self._gradients:
            built.append(self._build(piece, leaves, inputs, outputs, built, owners, values, given))
            leaf = leaves[owner] if isinstance(owner, int) else owner
            if state.undo is not None:
                state.undo.change(leaf)
            leaf._grad = built[-1]
        return result

    def _values(self, leaves: Sequence[Any]) -> dict[str, int] | None:
        """What the symbols are in this call: sizes of its arguments, and integers."""
        assert self.recording.pattern is not None
        return self.recording.pattern.bind(leaves)

    def _build(
        self,
        piece: Piece,
        leaves: Sequence[Any],
        inputs: Sequence[Tensor],
        outputs: list[Any],
        built: list[Any],
        owners: dict[int, Tensor],
        values: Mapping[str, int] | None,
        given: tuple,
    ) -> Any:
        if isinstance(piece, Static):
            return piece.value
        if isinstance(piece, FromContainer):
            return part_at(given, piece.path)
        if isinstance(piece, Again):
            return built[piece.position]
        if isinstance(piece, FromSize):
            assert values is not None
            return evaluate(piece.dim, values)
        if isinstance(piece, FromNumber):
            return outputs[piece.output].item()
        if isinstance(piece, FromRoot):
            memory = inputs[piece.root]
            if piece.chain is None:
                return memory
            if piece.base is not None:
                base = piece.base if isinstance(piece.base, Tensor) else whole_of(leaves[piece.base])
                made = _without_history(base, piece.chain[len(base._view) :], values)
            elif piece.owner is None:
                made = _without_history(memory, piece.chain, values)
            else:
                owner = owners.get(piece.owner.number)
                if owner is None:
                    owner = _owned(alias(memory), piece, values)
                    owners[piece.owner.number] = owner
                made = view_through(owner, piece.chain[piece.owner.steps :], values)
        else:
            owner = owners.get(piece.owner.number)
            if owner is None:
                owner = owners[piece.owner.number] = self._output(piece, outputs, owners, values)
            made = view_through(owner, piece.chain[piece.owner.steps :], values)
        if piece.is_fixed:
            made._seen = NO_GRAD_VIEW
        return made

    def _output(
        self, piece: FromOutput, outputs: list[Any], owners: dict[int, Tensor], values: Mapping[str, int] | None
    ) -> Tensor:
        """The tensor that a result in new memory is a view of. The first that suits is the output's own."""
        made = outputs[piece.output]
        if not isinstance(made, Tensor):
            made = outputs[piece.output] = wrap(made)  # results that share memory must go on sharing it
        if piece.owner.steps:
            return _owned(alias(made), piece, values)
        if made.requires_grad and not piece.requires_grad:
            return alias(made)
        if ~piece.output in owners:
            return alias(made, keep_grad=True)
        owners[~piece.output] = made
        return made

    def _single_output(self) -> int | None:
        """The output number where the result is one new tensor and nothing else needs doing: the common case."""
        if self.recording.structure is LEAF and len(self._pieces) == 1:
            piece = self._pieces[0]
            if isinstance(piece, FromOutput) and not piece.chain and not self._gradients:
                return piece.output
        return None


def _without_history(base: Tensor, chain: Chain, values: Mapping[str, int] | None) -> Tensor:
    """A view of `base` as no_grad gives it, if gradients flow to that."""
    before, state.grad_enabled = state.grad_enabled, state.grad_enabled and not base.requires_grad
    try:
        return view_through(base, chain, values)
    finally:
        state.grad_enabled = before


def _owned(memory: Tensor, piece: FromRoot | FromOutput, values: Mapping[str, int] | None) -> Tensor:
    """The detached tensor on `memory` that a result is a view of."""
    assert piece.chain is not None and piece.owner is not None
    return alias(view_through(memory, piece.chain[: piece.owner.steps], values)) if piece.owner.steps else memory


def check_overlap(inputs: Sequence[Tensor], written: int) -> None:
    """Memory that NumPy shares may overlap although the storages differ; then a write could be seen by an input.
    Raises CannotReplay, which sends the call to eager execution."""
    if not inputs[written]._storage.shared:
        return
    array = inputs[written]._array
    for other, x in enumerate(inputs):
        if other != written and np.may_share_memory(array, x._array):
            raise CannotReplay("an input overlaps memory that the function writes")


def view_through(tensor: Tensor, chain: Chain, values: Mapping[str, int] | None = None) -> Tensor:
    """The view of `tensor` that the steps of `chain` lead to; `values` are those of symbols in it."""
    for spec, attributes in chain:
        given = attributes if values is None else {name: _at(value, values) for name, value in attributes.items()}
        tensor = apply(spec, (tensor,), dict(given))
    return tensor


def _at(attribute: Any, values: Mapping[str, int]) -> Any:
    if isinstance(attribute, tuple):
        return tuple(_at(item, values) for item in attribute)
    return evaluate(attribute, values) if isinstance(attribute, Expr) else attribute


def _owner(leaf: Tensor, leaf_of: dict[int, int]) -> Tensor | int:
    """The tensor itself, or where among a call's arguments it is found."""
    return leaf_of.get(id(leaf), leaf)


def _finder(root: Any, leaf_of: dict[int, int]) -> Callable[[Sequence[Any]], Tensor]:
    """How a call finds the tensor of one graph input."""
    source = root.source
    if isinstance(source, Argument):
        index = source.index
        return lambda leaves: leaves[index]
    if isinstance(source, StateOf):
        number = source.index
        return lambda leaves: leaves[number]._state
    if isinstance(source, MemoryOf):
        inside = source.index
        return lambda leaves: whole_memory(leaves[inside])
    if isinstance(source, Number):
        position = source.index
        return lambda leaves: wrap(np.array(leaves[position]))
    if isinstance(source, Integer):
        place_of = source.index
        return lambda leaves: wrap(np.empty((leaves[place_of], 0)))
    if isinstance(source, GradientOf):
        owner = _owner(source.leaf, leaf_of)
        if isinstance(owner, int):
            argument = owner
            return lambda leaves: leaves[argument]._grad  # type: ignore[return-value]
        leaf = owner
        return lambda leaves: leaf._grad  # type: ignore[return-value]
    if isinstance(source, Entry):
        table, key, place = source.table, source.key, source.index
        if place is None:
            return lambda leaves: wrap(np.array(table[key], np.float64))
        return lambda leaves: wrap(np.array(table[key][place], np.float64))
    tensor, shape, dtype = root.tensor, root.tensor._array.shape, root.tensor._array.dtype

    def captured(leaves: Sequence[Any]) -> Tensor:
        array = tensor._array
        if array.shape != shape or array.dtype != dtype:
            raise CannotReplay(f"a captured tensor was {dtype}{list(shape)}, now {array.dtype}{list(array.shape)}")
        return tensor

    return captured
