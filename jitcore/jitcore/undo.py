"""What tensors were before a call, so that one which ends in an exception leaves them as they were.

While such a call runs, whatever is about to change memory (`dispatch.write`, a replay), a tensor itself (`.grad`,
`.data`, `requires_grad`, gradient history) or a tape from before (which backward frees) tells `state.undo`, which keeps
what it was before the first change. Outside such calls there is none, and each of these places pays for one look.

Not seen: what NumPy code writes to memory that it shares with a tensor (`numpy()`, `from_numpy`), what other threads
do, and Python objects. A generator's state is a tensor, and is seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from jitcore_runtime.arena import address_of

from .autograd import tape
from .state import state
from .storage import Storage
from .tensor import Tensor, memory


@contextmanager
def undone_on_error(is_own: Callable[[Tensor], bool] | None = None) -> Iterator[Undo]:
    """A `with` block that leaves tensors as they were where it ends in an exception, KeyboardInterrupt included. What
    it gives can undo the block so far at any time.

    is_own: whether the block has made the memory that a tensor looks at, where somebody knows that; such tensors are
        left as they are.
    """
    outer = state.undo
    undo = state.undo = Undo(is_own)
    try:
        yield undo
    except BaseException:
        state.undo = outer
        undo.put_back()
        raise
    state.undo = outer
    if outer is not None:
        outer.absorb(undo)
    undo.clear()


_FIELDS = ("_array", "_storage", "_view", "_base", "_node", "_requires_grad", "_seen", "_grad")
"""What is kept of a tensor itself; its elements are its storage's."""


class Undo:
    """What was kept so far; true where that is something.

    It keeps no tensor alive: what the call has made, written and dropped is forgotten. Of a storage it copies the parts
    that are written, but all of it rather than more than that.
    """

    __slots__ = ("_began", "_elements", "_fields", "_is_own", "_storages")

    def __init__(self, is_own: Callable[[Tensor], bool] | None = None) -> None:
        self._is_own = is_own
        self._began = next(tape._sequence)
        self._storages: dict[int, _Kept] = {}
        self._elements: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
        """(memory, what it held), oldest first: as parts overlap they are put back in the opposite order."""
        self._fields: dict[tuple[int, str], tuple[weakref.ref[Any], dict[str, Any]]] = {}
        """(tensor or node, what of it was)."""

    def __bool__(self) -> bool:
        return bool(self._elements or self._fields)

    def write(self, target: Tensor) -> None:
        """The memory that `target` looks at is about to change."""
        array, storage = target._array, target._storage
        if array is not memory(target) or (self._is_own is not None and self._is_own(target)):
            return  # inside vmap the whole batch is written in turn
        kept = self._kept(storage)
        key: tuple = (id(storage), address_of(array), array.shape, array.strides, array.dtype)
        if kept.is_whole or key in self._elements:
            return
        if kept.bytes + array.nbytes >= storage.array.nbytes:
            key, array, kept.is_whole = key[:1], storage.array, True
        self._keep(kept, key, array, array.copy(order="K"))

    def change(self, owner: Any, names: Sequence[str] = _FIELDS) -> None:
        """These attributes of a tensor (all that it is) or a node are about to change."""
        if (id(owner), names[0]) not in self._fields:
            if isinstance(owner, Tensor):
                if self._is_own is not None and self._is_own(owner):
                    return
                self._kept(owner._storage)
            self._know(owner, {name: getattr(owner, name) for name in names})

    def release(self, node: tape.Node) -> None:
        """What the node has saved for backward is about to be freed."""
        held = node.held() if node.sequence < self._began else None
        if held is not None:
            self.change(held[0], held[1:])

    def gave_history(self, tensor: Tensor) -> bool:
        """Whether a tensor on the memory of this one has got another gradient history."""
        changed = ((reference(), before) for reference, before in list(self._fields.values()))
        return any(
            isinstance(owner, Tensor)
            and owner._storage is tensor._storage
            and owner._node is not None
            and owner._node is not before["_node"]
            for owner, before in changed
        )

    def put_back(self) -> None:
        """Make everything what it was, and begin anew."""
        elements, fields = list(self._elements.values()), list(self._fields.values())
        storages = [(kept.storage(), kept) for kept in list(self._storages.values())]
        self.clear()
        for array, before in reversed(elements):
            np.copyto(array, before)
        for storage, kept in storages:
            if storage is not None:
                storage.rebased = kept.rebased
                storage.version = _Version.before(kept.version, storage.version)
        for reference, before in fields:
            owner = reference()
            for name, value in before.items() if owner is not None else ():
                setattr(owner, name, value)

    def absorb(self, inner: Undo) -> None:
        """Take over what was kept in a block inside this one, which has ended well."""
        for key, (array, before) in list(inner._elements.items()):
            found = inner._storages.get(key[0])
            storage = None if found is None else found.storage()
            if found is None or storage is None:
                continue
            kept = self._kept(storage, found)
            if not kept.is_whole and key not in self._elements:
                self._keep(kept, key, array, before)
                kept.is_whole = found.is_whole and len(key) == 1
                if not kept.is_whole and kept.bytes >= storage.array.nbytes:
                    kept.is_whole = True
                    self._keep(kept, key[:1], storage.array, storage.array.copy(order="K"))
        for storages in list(inner._storages.values()):
            if (storage := storages.storage()) is not None:
                self._kept(storage, storages)
        for place, (reference, fields) in list(inner._fields.items()):
            owner = reference()
            if owner is not None and place not in self._fields:
                self._know(owner, fields)

    def clear(self) -> None:
        """Forget everything."""
        self._elements.clear()
        self._fields.clear()
        self._storages.clear()

    def _kept(self, storage: Storage, earlier: Storage | _Kept | None = None) -> _Kept:
        """What is kept of a storage; `earlier` knows its counters where they have changed meanwhile."""
        kept = self._storages.get(id(storage))
        if kept is None:
            kept = self._storages[id(storage)] = _Kept(storage, self._forget, earlier or storage)
        return kept

    def _keep(self, kept: _Kept, key: tuple, array: np.ndarray, before: np.ndarray) -> None:
        self._elements[key] = array, before
        kept.bytes += before.nbytes
        kept.keys.append(key)

    def _know(self, owner: Any, fields: dict[str, Any]) -> None:
        place = id(owner), next(iter(fields))
        self._fields[place] = weakref.ref(owner, lambda _: self._fields.pop(place, None)), fields

    def _forget(self, number: int, reference: Any) -> None:
        kept = self._storages.pop(number, None)
        for key in kept.keys if kept is not None else ():
            self._elements.pop(key, None)


class _Kept:
    """Of one storage: `storage()` gives it while it is alive, `rebased` and `version` are what they were, `keys` and
    `bytes` are of the parts that were copied, `is_whole` says whether all of it was."""

    __slots__ = ("bytes", "is_whole", "keys", "rebased", "storage", "version")

    def __init__(self, storage: Storage, forget: Callable[[int, Any], None], counters: Storage | _Kept) -> None:
        self.storage: Callable[[], Storage | None]
        if storage.shared:  # its memory may outlive it
            self.storage = lambda: storage
        else:
            self.storage = weakref.ref(storage, partial(forget, id(storage)))
        self.rebased: int = counters.rebased
        self.version: int = counters.version
        self.keys: list[tuple] = []
        self.bytes = 0
        self.is_whole = False


class _Version(int):
    """A storage's version that was put back. The next one is none that the undone call has reached, so that nothing
    saved there is taken for what is written later."""

    highest: int

    @classmethod
    def before(cls, version: int, present: int) -> int:
        highest = max(version, present, getattr(present, "highest", 0))
        if highest == version:
            return version
        made = cls(version)
        made.highest = highest
        return made

    def __add__(self, more: int) -> int:
        return self.highest + more
