"""`Recordings`: all that is kept for one jitted function, and what gives way where there is no room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..tensor import Tensor
from .apart import TakenApart
from .background import Job
from .containers import Flattening
from .keys import kind_of
from .kinds import Kind, Pattern
from .tree import TraceTree
from .variant import Variant

MOST_VARIANTS = 32
"""Recordings kept for one kind of call: one structure, with one dtype and shape of each tensor."""
MOST_KINDS = 256
"""Kinds of calls remembered of one function."""
MOST_KEYS = 1024
"""Keys (exact sizes) whose recordings are remembered."""
MOST_BYTES = 256 << 20
"""Code and constants kept for one function."""
PATIENCE = 64
"""Calls that fit no recording, after which one that none of the calls in between used gives way to a new one."""


FEW, LONG = 4, 10.0
"""So many recordings in a row that served no other call, which took so many seconds together, are made in vain."""


@dataclass(slots=True)
class Entry:
    """What is known for one kind of call and one pattern of sizes: the recordings, or the reason to stay eager."""

    tree: TraceTree
    kind: Any
    pattern: Pattern
    reason: str | None = None
    failures: int = 0
    keep: tuple = ()
    words: tuple[str, ...] = ()
    """What is in the key, for the user."""
    job: Job | None = None
    """The compilation that goes on in the background."""
    unused: list[float] = field(default_factory=list)
    """The seconds that each recording took since one was last replayed."""
    waited: int = 0

    @property
    def variants(self) -> list[Variant]:
        return self.tree.variants


@dataclass(eq=False)
class Recordings:
    """Entries by kind of call and pattern of sizes. `make_tree` makes the tree of a new one."""

    make_tree: Callable[[], TraceTree]
    entries: dict[Any, Entry] = field(default_factory=dict)
    kinds: dict[Any, Kind] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)  # type: ignore[valid-type]
    containers: frozenset[int] = frozenset()
    """Ids of the lists, dicts and objects that the recorded function reaches otherwise than as arguments."""
    apart: TakenApart = field(default_factory=TakenApart)
    _known: dict[Any, tuple[Entry, ...]] = field(default_factory=dict)

    def flatten(self, arguments: tuple, keywords: dict) -> tuple[Flattening, Any]:
        """The leaves and containers among a call's arguments, and their structure."""
        found = Flattening(apart=self.apart.rules)
        return found, found.of((arguments, keywords))

    def form(self, structure: Any, found: Flattening) -> Any:
        """The structure of a call's arguments, and which of them are lists, dicts or objects that the function reaches
        otherwise too: it may ask `x is DEFAULTS`."""
        if not self.containers:
            return structure
        given = [*map(id, found.containers)]
        if self.containers.isdisjoint(given):
            return structure
        return structure, tuple(part if part in self.containers else None for part in given)

    def for_key(self, key: Any, leaves: Sequence[Any], form: Any) -> tuple[Entry, ...]:
        """The entries whose sizes a call may have; the latest first."""
        return self._known.get(key) or self.fitting(key, leaves, form)

    def fitting(self, key: Any, leaves: Sequence[Any], form: Any) -> tuple[Entry, ...]:
        """The entries whose sizes a call may have, remembered by its key; the latest first."""
        kind = kind_of(leaves, form, key)
        entries = tuple(
            entry
            for entry in reversed(self.entries.values())
            if entry.kind == kind and entry.pattern.bind(leaves) is not None
        )
        if entries:
            self.know(key, entries)
        return entries

    def know(self, key: Any, entries: tuple[Entry, ...]) -> None:
        """Remember which entries calls with this key may use."""
        with self.lock:
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known[key] = entries

    def learn(self, found: Flattening) -> bool:
        """Whether the arguments of a call that is to be recorded are to be looked at in another way."""
        with self.lock:
            gone = self.apart.learn(found, self.entries.values())
            for key, entry in list(self.entries.items()) if gone else ():
                if any(entry is other for other in gone or ()) and (entry.job is None or not entry.job.is_running()):
                    del self.entries[key]
                    self._known.clear()
        return gone is not None

    def variants(self) -> list[Variant]:
        """All recordings."""
        return [variant for entry in self.entries.values() for variant in entry.variants]

    def watch(self, containers: frozenset[int]) -> None:
        """Have forms of calls tell of these as well, and of none that only forgotten recordings told of: another object
        may be at that address now."""
        if any(entry.job is not None for entry in self.entries.values()):  # whose recordings are in no tree yet
            self.containers |= containers
        else:
            self.containers = containers.union(*(variant.recording.containers for variant in self.variants()))

    def enter(self, kind: Any, pattern: Pattern, leaves: Sequence[Any], words: tuple[str, ...]) -> Entry:
        """The entry for a kind of call and a pattern of sizes, made if it is not there."""
        entry = self.entries.get((kind, pattern))
        if entry is None:
            put_on = (value for leaf in leaves if isinstance(leaf, Tensor) for value in leaf.__dict__.values())
            keep = (*(leaf for leaf in leaves if not isinstance(leaf, Tensor)), *put_on)
            entry = Entry(self.make_tree(), kind, pattern, keep=keep, words=words)
            self.entries[kind, pattern] = entry
        return entry

    def make_place(self) -> bool:
        """Whether one more kind of call, or pattern of sizes, may be remembered, if need be in the place of one that
        was not used lately."""
        with self.lock:
            if len(self.entries) >= MOST_KINDS:
                unused = ((k, e) for k, e in self.entries.items() if all(v.idle for v in e.variants))
                idle = (k for k, entry in unused if entry.job is None or not entry.job.is_running())
                oldest = next(idle, None)
                if oldest is None:
                    self._age()
                    return False
                del self.entries[oldest]
                self._known.clear()
            return True

    def make_room(self, entry: Entry) -> bool:
        """Whether one more recording may be kept for a kind of call, after forgetting those that cannot be used again
        because Python state is gone, then the ones not used for longest."""
        with self.lock:
            self._age()
            kept = sorted(entry.variants, key=lambda variant: variant.idle, reverse=True)
            for variant in kept:
                if len(entry.variants) < MOST_VARIANTS and self.bytes() < MOST_BYTES:
                    return True
                if entry.job is None and (not variant.is_valid() or variant.idle > PATIENCE):
                    entry.tree.remove(variant)
            return len(entry.variants) < MOST_VARIANTS and self.bytes() < MOST_BYTES

    def in_vain(self, entry: Entry) -> bool:
        """Whether the latest recordings for a kind of call took long and served no other one. From time to time another
        one is to be tried."""
        if len(entry.unused) < FEW or sum(entry.unused) < LONG:
            return False
        entry.waited = (entry.waited + 1) % PATIENCE
        return entry.waited != 0

    def _age(self) -> None:
        """Note which recordings were used since the last time."""
        for entry in self.entries.values():
            for variant in entry.variants:
                if variant.hits > variant.noted:
                    entry.unused.clear()
                variant.idle = 0 if variant.hits > variant.noted else variant.idle + 1
                variant.noted = variant.hits

    def bytes(self) -> int:
        """Code and constants that the recordings hold."""
        return sum(entry.tree.bytes() for entry in self.entries.values())
