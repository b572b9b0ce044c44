"""Where a replay finds the tensor of a graph input. A root without a source is the same captured tensor each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Argument:
    """A graph input that is leaf number `index` of the call's arguments."""

    index: int


@dataclass(frozen=True, slots=True)
class MemoryOf:
    """A graph input that is the whole memory in which leaf number `index` of the call's arguments lies: several
    arguments are views of it."""

    index: int


@dataclass(frozen=True, slots=True)
class StateOf:
    """A graph input that is the state of the generator at leaf number `index` of the call's arguments."""

    index: int


@dataclass(frozen=True, slots=True)
class Number:
    """A graph input that is the Python float at leaf number `index` of the call's arguments."""

    index: int


@dataclass(frozen=True, slots=True)
class Integer:
    """A graph input whose first size is the Python int at leaf number `index` of the call's arguments."""

    index: int


@dataclass(frozen=True, slots=True)
class GradientOf:
    """A graph input that is the gradient `leaf.grad` at the time of the call."""

    leaf: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GradientOf) and self.leaf is other.leaf

    def __hash__(self) -> int:
        return hash(id(self.leaf))


@dataclass(frozen=True, slots=True)
class Entry:
    """A graph input that is a Python number read from `table[key]`, or from `table[key][index]`, at each call (a
    learning rate, say)."""

    table: dict
    key: str
    index: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and self.table is other.table and self._place() == other._place()

    def __hash__(self) -> int:
        return hash((id(self.table), self._place()))

    def _place(self) -> tuple[str, int | None]:
        return self.key, self.index


Source = Argument | MemoryOf | StateOf | Number | Integer | GradientOf | Entry
