"""What a recording keeps of memory from outside: where it enters, what was read of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
