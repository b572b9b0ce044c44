"""What a recording keeps of memory from outside: where it enters, what was read of it, what it held before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir import UNKNOWN, Location, Value

from .sources import Source
from .views import Chain


@dataclass(eq=False, slots=True)
class Root:
    """Memory from outside the recording, entering at one view of one storage.

    `tensor` is the tensor it was first seen as, `value` the graph input, `current` what the memory holds now.
    `source` says how a replay finds the tensor again (see `sources`); None means the same tensor each time.
    """

    tensor: Any
    chain: Chain
    value: Value
    current: Value
    source: Source | None = None
    written: bool = False
    location: Location = UNKNOWN
    memory: int = 0
    """The id of its storage while the function was recorded."""


@dataclass(frozen=True, slots=True)
class Read:
    """A value that decided what Python did. Replays must see the same `outcome`; `value` is the 0-d graph value it came
    from, which is among the first `position` operations."""

    value: Value
    outcome: bool | int | float
    kind: str
    location: Location
    position: int


@dataclass(eq=False, slots=True)
class GradientSlot:
    """What happened to `.grad` of one leaf: the gradient before, whether that was looked at, and the last one set."""

    leaf: Any
    before: Any
    observed: bool = False
    assigned: bool = False
    after: Any = None


@dataclass(frozen=True, slots=True)
class Before:
    """Outside memory before a write to it: elements (only for the first), and the history of the tensors on it."""

    tensor: Any
    elements: np.ndarray | None
    histories: list[tuple[Any, Any, bool, int]]
    rebased: int

    @classmethod
    def of(cls, tensor: Any, target: Any, is_first: bool) -> Before:
        touched = [t for t in (tensor, target, target._base) if t is not None]
        histories = [(t, t._node, t._requires_grad, t._seen) for t in touched]
        return cls(tensor, tensor._array.copy() if is_first else None, histories, tensor._storage.rebased)

    def put_back(self) -> None:
        storage = self.tensor._storage
        if self.elements is not None:
            np.copyto(self.tensor._array, self.elements)
            storage.version += 1
        storage.rebased = self.rebased
        for tensor, node, requires_grad, seen in self.histories:
            tensor._node, tensor._requires_grad, tensor._seen = node, requires_grad, seen
