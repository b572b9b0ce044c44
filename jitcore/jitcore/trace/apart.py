"""`TakenApart`: the classes whose objects are looked into where a function gets them as arguments.

An object counts as itself at first: what the function reads of it is checked, what else it holds may change. That suits
a model or a configuration, which is the same in each call. Where another object of the class comes, and a recording
for the one before served no second call, objects of the class are taken apart from then on: what they hold are leaves,
as the items of a list are. Left out is what the function has no name for. An object that serves several calls as it is
stays one leaf; so does one that changes so often that looking into it is in vain.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from .containers import Flattening
from .names import MAYBE, STORED
from .objects import Layout, about, attributes_of, items_of

MOST_KEPT = 3
"""Objects of one class that served several calls each; where more come, they are taken apart."""
MOST_IN_VAIN = 6
"""Recordings in a row of calls with one object taken apart, without a replay, after which it is one leaf again."""
_MOST_REMEMBERED = 256
_MOST_DEEP, _MOST_ITEMS = 4, 64
"""How far two objects are compared."""
_LOOK_AT_ALL = frozenset(
    ["__dict__", "vars", "dir", "__getattribute__", "__setattr__", "__delattr__", "__getstate__", "__reduce__",
     "__reduce_ex__", "__match_args__", "attrgetter", "methodcaller", "getmembers", "getattr_static", "copy",
     "deepcopy", "dumps", "dump", "pickle", "pprint", "format", "format_map"]
)  # fmt: skip
"""Names in code that may look at, or set, attributes which it does not name."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a call's arguments is taken apart (see `containers.Apart`). layouts: by the id of a class; whole: objects
    of these classes that are one leaf; read: by the id of a class, the names that code which has an object of it may
    look up, None for all; too_large: classes of objects that lead to too much."""

    layouts: Mapping[int, Layout] = field(default_factory=dict)
    whole: Mapping[int, Any] = field(default_factory=dict)
    read: Mapping[int, frozenset[str] | None] = field(default_factory=dict)
    too_large: dict[int, Layout] = field(default_factory=dict)

    def layout(self, value: Any) -> Layout | None:
        number = id(type(value))
        found = self.layouts.get(number)
        return None if found is None or id(value) in self.whole or number in self.too_large else found

    def reads(self, layout: Layout, name: str) -> bool:
        if layout.fixed is None or name in layout.fixed:
            return True
        names = self.read.get(id(layout.kind), ())
        return names is None or name in names

    def give_up(self, layout: Layout) -> None:
        self.too_large[id(layout.kind)] = layout


class TakenApart:
    """Of one jitted function; `rules` are what is known so far, which never change for who has them."""

    def __init__(self) -> None:
        self.rules = Rules()
        self._recorded: dict[int, tuple[weakref.ref, int, int]] = {}
        """Objects that were taken apart where a call was recorded, with replays up to then, and how often in a row."""

    def note(self, looked: Mapping[type, frozenset[str]], containers: Iterable[Any]) -> bool:
        """Take down which names a recorded run has for objects of each class; whether it may have looked at attributes
        of `containers`, which it was given, that were left out."""
        new: dict[int, frozenset[str] | None] = {}
        rules = self.rules
        for cls, names in looked.items():
            before = rules.read.get(id(cls), frozenset())
            layout = about(cls).layout
            if layout is None or layout.fixed is None or before is None:
                continue
            plain = {name[1:] if name.startswith((MAYBE, STORED)) else name for name in names}
            if not plain <= before:
                new[id(cls)] = None if plain & _LOOK_AT_ALL else before | plain
        if not new:
            return False
        self.rules = replace(rules, read={**rules.read, **new})
        return any(id(type(x)) in new and rules.layout(x) is not None and self._has_more(x, rules) for x in containers)

    def _has_more(self, thing: Any, before: Rules) -> bool:
        layout = about(type(thing)).layout
        assert layout is not None
        names = layout.attributes(thing)
        return any(self.rules.reads(layout, name) and not before.reads(layout, name) for name in names)

    def learn(self, found: Flattening, entries: Iterable[Any]) -> list[Any] | None:
        """Before a call is recorded, whose arguments these are: None where they are to be looked at as they were, else
        those entries that no call will use any more."""
        gone: list[Any] = []
        before = self.rules
        entries = list(entries)
        for leaf in found.leaves:
            layout = about(type(leaf)).layout
            if layout is None or id(type(leaf)) in self.rules.layouts or id(type(leaf)) in self.rules.too_large:
                continue
            kept = [(entry, x) for entry in entries for x in entry.keep if type(x) is type(leaf)]
            if any(x is leaf for _, x in kept):
                continue
            given = set(map(id, found.leaves))
            useful = {id(x): x for entry, x in kept if id(x) in given or any(v.hits for v in entry.variants)}
            in_vain = [(entry, x) for entry, x in kept if id(x) not in useful]
            if in_vain or len(useful) >= MOST_KEPT:
                self._change(whole=useful, layouts=_alike((in_vain or kept)[-1][1], leaf))
                gone += (entry for entry, _ in in_vain)
        hits = sum(variant.hits for entry in entries for variant in entry.variants)
        for thing in found.containers:
            if self.rules.layout(thing) is not None and self._comes_in_vain(thing, hits):
                self._change(whole={id(thing): thing})
        return None if self.rules is before else gone

    def _change(self, whole: Mapping[int, Any], layouts: Mapping[int, Layout] | None = None) -> None:
        rules = self.rules
        self.rules = replace(rules, whole={**rules.whole, **whole}, layouts={**rules.layouts, **(layouts or {})})

    def _comes_in_vain(self, thing: Any, hits: int) -> bool:
        """Whether calls with this very object have been recorded again and again; counts this one. `hits`: replays of
        the function so far."""
        reference, before, count = self._recorded.get(id(thing), (None, hits, 0))
        is_again = reference is not None and reference() is thing and before == hits
        if len(self._recorded) >= _MOST_REMEMBERED:
            self._recorded.clear()
        try:
            self._recorded[id(thing)] = weakref.ref(thing), hits, count + 1 if is_again else 1
        except TypeError:  # of a class with slots, say
            return False
        return is_again and count >= MOST_IN_VAIN


def _alike(before: Any, after: Any, deep: int = 0) -> dict[int, Layout]:
    """The classes of two objects that came one after the other, and of those in them: which are others each time."""
    known = about(type(after))
    if type(before) is not type(after) or before is after or deep > _MOST_DEEP:
        return {}
    found: dict[int, Layout] = {} if known.layout is None else {id(type(after)): known.layout}
    pairs = [*zip(islice(items_of(before), _MOST_ITEMS), islice(items_of(after), _MOST_ITEMS))]
    if found or known.is_dataclass:
        old, new = attributes_of(before), attributes_of(after)
        pairs += [(old[name], new[name]) for name in old.keys() & new.keys()]
    for one, other in pairs:
        found |= _alike(one, other, deep + 1)
    return found
