"""What the arguments of a call have to do with what the function reaches otherwise: memory that they share, objects
that they are, what the tape knows of them.

`Links` are those of a recorded run; `LinkChecks` tell whether another call has the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..tensor import Tensor
from .roots import GradientSlot
from .sources import Argument, MemoryOf, StateOf
from .views import Chain, same_chain

if TYPE_CHECKING:
    from .recorder import Recorder
    from .watch import Watcher


@dataclass(frozen=True, slots=True)
class Joined:
    """Argument leaf number `position` is that part of a memory which `chain` leads to: of `storage`, which the function
    reaches otherwise as well, or of that in which the gradient of `leaf` is, whose part is `gradient`. It is the very
    `tensor` that the function reaches, or none of those; or `is_gradient` tells whether it is the gradient itself."""

    position: int
    chain: Chain
    storage: Any = None
    tensor: Any = None
    leaf: Any = None
    gradient: Chain = ()
    is_gradient: bool = False


@dataclass(slots=True)
class Links:
    """joined: arguments in memory that the function reaches otherwise. leafness: arguments of which it matters
    whether they are leaves of the tape, and whether they are. held: ids of the tensors that the function reaches and
    that are no arguments."""

    joined: Sequence[Joined] = ()
    leafness: Sequence[tuple[int, bool]] = ()
    held: frozenset[int] = field(default_factory=frozenset)


def joined(recorder: Recorder, watcher: Watcher) -> list[Joined]:
    """Arguments that are, or share memory with, tensors that the function reaches otherwise as well."""
    found = []
    for root in recorder.roots:
        if not isinstance(root.source, Argument | MemoryOf | StateOf):
            continue
        position, storage = root.source.index, root.tensor._storage
        leaf = watcher.arguments[position]
        chain = leaf._view if isinstance(leaf, Tensor) else ()
        held = [t for t in watcher.seen.get(id(storage), ()) if id(t) in watcher.held]
        for tensor in held:
            watcher.checks.same_memory(tensor, "the data of a tensor that lies in an argument's memory was elsewhere")
        if held:
            found.append(Joined(position, chain, storage, next((t for t in held if t is leaf), None)))
        for slot in recorder.gradients.values():
            before = slot.before
            if before is not None and before._storage is storage:
                is_same = before is leaf
                found.append(Joined(position, chain, leaf=slot.leaf, gradient=before._view, is_gradient=is_same))
    return found


def asked_of_tape(recorder: Recorder, watcher: Watcher) -> list[tuple[int, bool]]:
    """What Python learned about the tape from arguments, and which of them gradients end at; of captured tensors that
    is a check."""
    position_of = {id(leaf): position for position, leaf in enumerate(watcher.arguments)}
    found = []
    for tensor, is_leaf in recorder.looked_at.values():
        if id(tensor) in position_of:
            found.append((position_of[id(tensor)], is_leaf))
        elif id(tensor) in watcher.held:
            watcher.checks.same_leafness(tensor, is_leaf, "is_leaf of a tensor was another")
    for slot in recorder.gradients.values():  # gradients end at a leaf, and go on into the history of other tensors
        if slot.assigned and slot.leaf._node is None:
            if id(slot.leaf) in position_of:
                found.append((position_of[id(slot.leaf)], True))
            elif id(slot.leaf) in watcher.held:
                watcher.checks.no_history(slot.leaf, "a tensor had no gradient history")
    return found


def held_tensors(watcher: Watcher) -> frozenset[int]:
    """Ids of the tensors that the function reaches and that are no arguments."""
    arguments = {id(leaf) for leaf in watcher.arguments}
    owners = (tensor for tensors in watcher.seen.values() for tensor in tensors)
    return frozenset(id(t) for t in owners if id(t) in watcher.held and id(t) not in arguments)


class LinkChecks:
    """Whether the arguments of a call are linked as those of a recorded run. `leaf_of` gives the positions of tensors
    among the recorded arguments; none of them is kept."""

    def __init__(self, links: Links, slots: Sequence[GradientSlot], leaf_of: Mapping[int, int]) -> None:
        self._memories = [(j.position, j.chain, j.storage, j.tensor) for j in links.joined if j.leaf is None]
        self._gradients = [
            (j.position, j.chain, leaf_of.get(id(j.leaf), j.leaf), j.gradient, j.is_gradient)
            for j in links.joined
            if j.leaf is not None
        ]
        self._leafness = tuple(links.leafness)
        self._held = links.held
        given = {id(j.leaf) for j in links.joined if j.is_gradient}
        self._apart = [
            leaf_of.get(id(slot.leaf), slot.leaf)
            for slot in slots
            if slot.before is not None and id(slot.leaf) not in given
        ]
        self.are_there = bool(links.joined or links.leafness or links.held or self._apart)

    def broken(self, leaves: Sequence[Any]) -> str | None:
        """Words for what was otherwise in the recorded run; None where all is the same."""
        for position, chain, storage, tensor in self._memories:
            leaf = leaves[position] if isinstance(leaves[position], Tensor) else leaves[position]._state
            if leaf._storage is not storage or not same_chain(leaf._view, chain):
                return f"argument {position} was part of memory that the function reaches itself"
            if tensor is not None and leaf is not tensor:
                return f"argument {position} was a tensor that the function reaches itself"
        for position, chain, owner, place, is_gradient in self._gradients:
            leaf, gradient = leaves[position], gradient_of(owner, leaves)
            if gradient is None or leaf._storage is not gradient._storage:
                return f"argument {position} was in the memory of a gradient that the function looks at"
            if not (same_chain(leaf._view, chain) and same_chain(gradient._view, place)):
                return f"argument {position} was that part of a gradient that the function looks at"
            if (leaf is gradient) is not is_gradient:
                return f"argument {position} was {'a' if is_gradient else 'no'} gradient that the function looks at"
        for position, is_leaf in self._leafness:
            if leaves[position].is_leaf is not is_leaf:
                return f"argument {position} was {'a' if is_leaf else 'no'} leaf of the tape"
        if not self._held.isdisjoint(map(id, leaves)):  # it may ask `x is self.y`
            return "no argument was a tensor that the function holds itself"
        if self._apart and not {id(gradient_of(owner, leaves)) for owner in self._apart}.isdisjoint(map(id, leaves)):
            return "no argument was a gradient that the function looks at"
        return None


def gradient_of(owner: Tensor | int, leaves: Sequence[Any]) -> Tensor | None:
    """The gradient of a tensor, or of the argument of that number."""
    found: Tensor | None = (leaves[owner] if isinstance(owner, int) else owner)._grad
    return found
