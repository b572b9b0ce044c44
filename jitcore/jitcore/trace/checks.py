"""Checks that Python state still is what a recording saw, compiled into one function.

Each check is one comparison such as `d3.get("alpha", missing) is v3`. A conjunction of a hundred costs a few
microseconds, far less than a loop over check objects.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from .contents import alike
from .libraries import is_library_class
from .objects import keys_of
from .scalars import SCALARS, is_plain, is_scalar_with_state

_MISSING = object()
_MANY = 8
"""Conditions on entries of one table from which on they are looked at together."""
_ENTRY = re.compile(
    r"(?:\(\(x := )?(?P<table>v\d+)\.get\((?P<key>'\w+'), missing\)\)? is (?P<value>v\d+)(?: or \(type\(x\) .*\)\))?"
)
"""A condition that the entry of a table is an object, or one that is equal to it."""
_FETCH = re.compile(r"(?P<table>v\d+)\.get\('(?P<key>\w+)', missing\)")
"""An expression that gives an entry of a table."""
_NAME = re.compile(r"\bv\d+\b")
"""The names of bound objects. The first one of a condition is the object that it asks about."""


class _Attributes:
    """An object whose attributes are the entries of some dict."""


def _is_compared(value: Any) -> bool:
    """Whether equal ones are as good as the same one."""
    return (isinstance(value, SCALARS) and not is_scalar_with_state(value)) or is_plain(value)


def _is_attribute(key: str) -> bool:
    return key.isidentifier() and not keyword.iskeyword(key) and not hasattr(_Attributes, key)


@dataclass(eq=False)
class Checks:
    """A growing list of conditions on Python objects, each with words for the user."""

    conditions: list[str] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """For each condition, the function that read the state."""
    subjects: list[str] = field(default_factory=list)
    """For each condition, the name of the object that it asks about."""
    place: str = ""
    """The function that is reading state now."""
    names: dict[str, Any] = field(
        default_factory=lambda: {
            "missing": _MISSING, "type": type, "len": len, "bool": bool, "getattr": getattr, "copysign": math.copysign,
            "repr": repr, "alike": alike, "list_len": list.__len__, "list_item": list.__getitem__,
            "dict_get": dict.get, "keys_of": keys_of,
        }
    )  # fmt: skip
    _numbers: Iterator[int] = field(default_factory=count)
    _bound: dict[int, str] = field(default_factory=dict)
    _keys: dict[str, list] = field(default_factory=dict)
    _constants: dict[Any, Any] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _first: dict[str, Any] = field(default_factory=dict)
    """What each expression gave when it was looked at first."""
    _lacking: dict[str, set[str]] = field(default_factory=dict)
    """Names that tables did not have when they were looked at first."""

    def same_object(self, fetch: str, expected: Any, description: str) -> None:
        if self._is_of_the_run(fetch, expected):
            return
        self._add(f"{fetch} is {self.bind(expected)}", description)

    def same_value(self, fetch: str, expected: Any, description: str) -> None:
        """By identity first; else equal and of the same type (so that 1, 1.0 and True differ, and NaN holds), a zero of
        the same sign."""
        if self._is_of_the_run(fetch, expected):
            return
        value, kind = self.bind(expected), self.bind(type(expected))
        equal = f"type(x) is {kind} and x == {value}"
        if type(expected) is float and expected == 0:
            equal += f" and copysign(1, x) == {math.copysign(1, expected)}"
        elif type(expected) is complex:
            equal = f"type(x) is {kind} and repr(x) == {repr(expected)!r}"
        self._add(f"((x := {fetch}) is {value} or ({equal}))", description)

    def absent(self, fetch: str, description: str) -> None:
        """That there still is no such thing; `fetch` gives `missing` then."""
        if self._is_of_the_run(fetch, _MISSING):
            return
        self._add(f"{fetch} is missing", description)

    def without(self, table: Any, names: frozenset[str], description: str) -> None:
        """That a dict of attributes has nothing under those of `names` that it lacks now."""
        lacking = frozenset(name for name in names if name not in table)
        if lacking and (bound := self._bound.get(id(table))) is not None:
            lacking = frozenset(n for n in lacking if self._first.get(f"{bound}.get({n!r}, missing)", self) is self)
        if lacking:
            self._lacking.setdefault(self.bind(table), set()).update(lacking)
            words = f"{description} {', '.join(sorted(lacking)[:4])}"
            self._add(f"{self.bind(table)}.keys().isdisjoint({self.constant(lacking)})", words)

    def alike(self, fetch: str, expected: Any, description: str) -> None:
        """By identity first, else by what is in it (see `contents.alike`)."""
        if self._is_of_the_run(fetch, expected):
            return
        value = self.bind(expected)
        self._add(f"((x := {fetch}) is {value} or alike(x, {value}))", description)

    def same_class(self, thing: Any, description: str) -> None:
        self._add(f"type({self.bind(thing)}) is {self.bind(type(thing))}", description)

    def same_keys(self, mapping: dict, description: str) -> None:
        """The same keys in the same order; for keys that are compared by value."""
        bound = self.bind(mapping)
        now = [*keys_of(mapping)]
        keys = self._keys.setdefault(bound, now)
        if keys == now:  # else the run itself changed them, which the first check will tell
            given = bound if is_library_class(type(mapping)) else f"keys_of({bound})"  # past methods of the user's
            self._add(f"[*{given}] == {self.bind(keys)}" if keys else f"not {given}", description)

    def nothing_put(self, tensor: Any, description: str) -> None:
        """That the tensor has no attributes of the user's."""
        self._add(f"not {self.bind(tensor)}.__dict__", description)

    def same_truth(self, fetch: str, expected: Any, description: str) -> None:
        """Zero, or empty, as `expected` is."""
        if self._is_of_the_run(fetch, expected):
            return
        self._add(f"bool({fetch}) is {bool(expected)}", description)

    def same_flag(self, tensor: Any, description: str) -> None:
        """Whether gradients flow to the tensor, as when it was recorded."""
        fetch = f"{self.bind(tensor)}._requires_grad"
        if not self._is_of_the_run(fetch, tensor._requires_grad):
            self._add(f"{fetch} is {tensor._requires_grad}", description)

    def same_leafness(self, tensor: Any, is_leaf: bool, description: str) -> None:
        """Whether the tensor has history on the tape, as when it was recorded."""
        self._add(f"{self.bind(tensor)}.is_leaf is {is_leaf}", description)

    def no_history(self, tensor: Any, description: str) -> None:
        """That the tensor still is a leaf of the tape."""
        self._add(f"{self.bind(tensor)}._node is None", description)

    def same_hooks(self, leaf: Any, description: str) -> None:
        """The hooks on a leaf's gradient, or that there are none."""
        hooks = f"{self.bind(leaf)}._hooks"
        if leaf._hooks is None or not (leaf._hooks.before or leaf._hooks.after):
            self._add(f"({hooks} is None or not ({hooks}.before or {hooks}.after))", description)
            return
        expected = self.bind((*leaf._hooks.before.values(), None, *leaf._hooks.after.values()))
        self._add(f"(*{hooks}.before.values(), None, *{hooks}.after.values()) == {expected}", description)

    def same_memory(self, tensor: Any, description: str) -> None:
        """That the tensor still is the same view of the same storage."""
        bound = self.bind(tensor)
        storage, view = self.bind(tensor._storage), self.bind(tensor._view)
        self._add(f"{bound}._storage is {storage} and {bound}._view is {view}", description)

    def same_length(self, fetch: str, expected: int, description: str, length: str = "") -> None:
        """`length`: what tells it of objects of the user's, past their methods."""
        if length:
            self._add(f"{length}({fetch}) == {expected}", description)
        else:
            self._add(f"len({fetch}) == {expected}" if expected else f"not {fetch}", description)

    def custom(self, thing: Any, test: Callable[[], bool], description: str) -> None:
        """What a function of our own says about `thing`."""
        self._add(f"{self.bind(test)}()", description, self.bind(thing))

    def subject(self, fetch: str) -> Any:
        """The object that an expression starts from."""
        name = _NAME.search(fetch)
        assert name is not None
        return self.names[name[0]]

    def constant(self, value: Any) -> str:
        """The name of a hashable value inside the compiled function, one for all equal ones."""
        return self.bind(self._constants.setdefault(value, value))

    def bind(self, thing: Any) -> str:
        """The name of `thing` inside the compiled function."""
        name = self._bound.get(id(thing))
        if name is None:
            name = self._bound[id(thing)] = f"v{next(self._numbers)}"
            self.names[name] = thing  # holds it, so that its id is not reused
        return name

    def compile(self) -> Callable[[], bool]:
        """One function that tells whether every condition holds."""
        body = " and ".join(self._gathered()) or "True"
        errors = "AttributeError, LookupError, TypeError, ValueError"
        source = f"def holds():\n    try:\n        return {body}\n    except ({errors}):\n        return False"
        exec(source, self.names)
        return self.names["holds"]

    def _gathered(self) -> list[str]:
        """The conditions, those on many entries of one dict as one: as attributes, they are found to be the very
        objects they were in half the time; where some are others, each is looked at."""
        tables: dict[str, list[tuple[str, str, str]]] = {}
        for condition in self.conditions:
            entry = _ENTRY.fullmatch(condition)
            if entry and type(self.names[entry["table"]]) is dict and _is_attribute(key := entry["key"][1:-1]):
                tables.setdefault(entry["table"], []).append((condition, key, entry["value"]))
        found = dict.fromkeys(self.conditions)
        for table, entries in tables.items():
            if len(entries) < _MANY:
                continue
            for condition, _, _ in entries:
                del found[condition]
            attributes = _Attributes()
            attributes.__dict__ = self.names[table]
            same = " and ".join(f"x.{key} is {value}" for _, key, value in entries)
            each = " and ".join(condition for condition, _, _ in entries)
            found[f"((x := {self.bind(attributes)}) and {same} or ({each}))"] = None
        return list(found)

    def first_broken(self) -> str | None:
        """Words for the first condition that no longer holds."""
        for condition, description, place, _ in self._rows():
            try:
                if eval(condition, self.names):
                    continue
            except (AttributeError, LookupError, TypeError, ValueError):
                pass
            return f"{description} (read by {place})" if place else description
        return None

    def drop(self, things: set[int]) -> None:
        """Forget the conditions on the objects with these ids, and what only they named."""
        gone = {name for key, name in self._bound.items() if key in things}
        kept = [row for row in self._rows() if row[-1] not in gone]
        self.conditions, self.descriptions, self.places, self.subjects = (
            [row[column] for row in kept] for column in range(4)
        )
        self._known = set(self.conditions)
        named = {name for condition in self.conditions for name in _NAME.findall(condition)}
        self._bound = {key: name for key, name in self._bound.items() if name in named}
        self._keys = {name: keys for name, keys in self._keys.items() if name in named}
        self.names = {name: thing for name, thing in self.names.items() if name in named or not _NAME.fullmatch(name)}

    def _is_of_the_run(self, fetch: str, found: Any) -> bool:
        """Whether the run itself has put there what an expression gives now, as it gave something else before. It is
        enough that it gives that again when the call begins and when it ends."""
        first = self._first.setdefault(fetch, found)
        if first is not found and not (_is_compared(first) and alike(first, found)):
            return True
        entry = _FETCH.fullmatch(fetch) if self._lacking and found is not _MISSING else None
        return entry is not None and entry["key"] in self._lacking.get(entry["table"], ())

    def holders(self) -> list[Any]:
        """Everything of this table that refers to the objects it asks about."""
        return [self, vars(self), self.names, self._keys, *self._keys.values(), self._constants, self._first]

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        return zip(self.conditions, self.descriptions, self.places, self.subjects, strict=True)

    def _add(self, condition: str, description: str, subject: str | None = None) -> None:
        if condition not in self._known:
            first = _NAME.search(condition)
            assert first is not None
            self._known.add(condition)
            self.conditions.append(condition)
            self.descriptions.append(description)
            self.places.append(self.place)
            self.subjects.append(subject or first[0])
