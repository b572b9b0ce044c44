"""`Attributes`: the part of a walk that looks at what objects, modules and classes hold under names that code has."""

from __future__ import annotations

import abc
import enum
import threading
import types
from collections import ChainMap
from typing import TYPE_CHECKING, Any

from ..source import is_own_file
from .checks import Checks
from .libraries import is_library_class, is_library_module
from .names import MAYBE, OURS, STORED, marked
from .objects import dict_of, has_slot
from .scalars import SCALARS, is_scalar_with_state
from .user_builtins import STAND_INS

_MOST_IN_LIBRARY = 100
"""Items up to which lists of library modules are watched."""
_IMPLICIT = frozenset(
    ["__call__", "__getitem__", "__len__", "__iter__", "__contains__", "__getattr__", "__getattribute__", "__bool__",
     "__enter__", "__exit__", "forward"]
)  # fmt: skip
"""Attributes of a class that code uses without naming them."""
OF_FUNCTIONS = frozenset(["__annotations__", "__doc__", "__module__", "__name__", "__qualname__"])
_OF_CLASSES = OF_FUNCTIONS - {"__annotations__", "__doc__", "__module__"}
"""What functions and classes say of themselves."""


class Attributes:
    """What a `Walker` does with attributes."""

    if TYPE_CHECKING:  # what the walker has besides
        checks: Checks
        namespaces: set[int]
        _class_dicts: dict[type, Any]

        def visit(self, fetch: str, value: Any, what: str, names: frozenset[str]) -> None: ...
        def is_new(self, value: Any, aspect: Any) -> bool: ...
        def function(self, function: types.FunctionType, what: str, names: frozenset[str]) -> None: ...
        def entries(self, value: dict, what: str, names: frozenset[str]) -> None: ...
        def is_in_key(self, thing: Any) -> bool: ...
        def look_at(self, value: Any, names: frozenset[str]) -> None: ...

    def attributes(self, value: Any, what: str, names: frozenset[str]) -> None:
        """What an object holds under `names`, in its dict, its slots and its class."""
        self.look_at(value, names)
        if isinstance(value, enum.Enum):
            names |= {"_value_"}
        if "__match_args__" in names:  # by position in a class pattern
            names |= frozenset(getattr(type(value), "__match_args__", ()))
        if (own := dict_of(value)) is not None:
            self.own_dict(own, what, names)
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name.startswith("__") and not name.endswith("__"):
                    name = f"_{cls.__name__.lstrip('_')}{name}"
                if name not in names:
                    continue
                if has_slot(value, cls, name) or MAYBE + name in names or STORED + name in names:
                    self.slot(value, name, what, names)
        self.class_of(value, what, names)

    def own_dict(self, table: dict[str, Any], what: str, names: frozenset[str]) -> None:
        """The attributes of an object; all of them where code reaches for its `__dict__`."""
        if "__dict__" in names and OURS not in names:
            self.entries(table, what, names)
        else:
            self.names_in(table, what, names)

    def names_in(self, table: dict[str, Any], what: str, names: frozenset[str]) -> None:
        bound = None
        for name, item in list(table.items()):
            if name in names:
                bound = bound or self.checks.bind(table)
                self.visit(f"{bound}.get({name!r}, missing)", item, f"{what}.{name}", names)
        self.checks.without(table, marked(names, MAYBE), f"{what} had no")

    def lacks(self, thing: Any, what: str, names: frozenset[str], *marks: str) -> None:
        """That an object lacks attributes which code assigns (STORED), as the run itself may do, or asks for though
        they may not be there (MAYBE). Of objects that the run made this is forgotten."""
        own = dict_of(thing)
        if own is not None:
            self.checks.without(own, frozenset().union(*(marked(names, mark) for mark in marks)), f"{what} had no")

    def library(self, module: types.ModuleType, what: str, names: frozenset[str]) -> None:
        """A module that is none of the user's: that its functions have not been exchanged, and plain values."""
        table = module.__dict__
        self.namespaces.add(id(table))
        bound = self.checks.bind(table)
        for name in sorted(names & table.keys()):
            item, fetch = table[name], f"{bound}.get({name!r}, missing)"
            if id(item) in STAND_INS:
                continue
            if callable(item):
                self.checks.same_object(fetch, item, f"{what}.{name} was another")
            elif isinstance(item, types.ModuleType):
                if is_library_module(item) and self.is_new(item, (hash(names), "library")):
                    self.library(item, f"{what}.{name}", names)
            elif not is_own_file(getattr(module, "__file__", None) or "") and (
                isinstance(item, SCALARS) or (type(item) is list and len(item) <= _MOST_IN_LIBRARY)
            ):
                self.visit(fetch, item, f"{what}.{name}", names)

    def class_of(self, value: Any, what: str, names: frozenset[str]) -> None:
        """The class of an object: that it still is that one, its attributes that the code names, and that the object
        has none of its own in front of them."""
        cls = type(value)
        self.checks.same_class(value, f"{what} was a {cls.__name__}")
        self.lacks(value, what, names, STORED)
        own = dict_of(value)
        found = self.class_attributes(cls, what, names)
        if own is not None:
            if "__getattr__" in found:  # asked for all that is not there
                found = sorted({*found, *(n for n in names if n.isidentifier())})
            self.checks.without(own, frozenset(found), f"{what} had no")

    def class_attributes(self, cls: type, what: str, names: frozenset[str]) -> list[str]:
        """Check what the classes of a user's class hold under `names`, and that none stands in front of another; gives
        the names that are there."""
        names |= _IMPLICIT
        found: list[str] = []
        if (ours := next((b for b in cls.__mro__ if b.__module__.startswith("jitcore.")), None)) is not None:
            found += self._methods(ours, names)
        if not is_library_class(cls):
            bound = self.checks.bind(cls)
            self.checks.same_object(f"{bound}.__mro__", cls.__mro__, f"{cls.__name__} had other base classes")
            for name in sorted(_OF_CLASSES & names) if OURS not in names else ():
                self.checks.same_value(f"{bound}.{name}", getattr(cls, name), f"{name} of {what} was another")
        for base in reversed(cls.__mro__):
            if is_library_class(base):
                found += [name for name in vars(base) if name == "forward"]
                continue
            held = names & vars(base).keys()
            if not self.is_new(base, (hash(names), "class", tuple(found))):
                found += sorted(held)
                continue
            absent = marked(names, MAYBE) | marked(names, STORED)
            if "__getattr__" in (*held, *found):  # asked for all that is not there
                absent |= {n for n in names if n.isidentifier()}
            self.checks.without(self._class_dict(base), absent.union(found), f"{base.__name__} had no")
            found += sorted(held)
            for name in sorted(held):
                self._entry(self._class_dict(base), name, base.__name__, names)
            for name, item in list(vars(base).items()):
                if isinstance(item, types.FunctionType) and name not in held:
                    self.function(item, f"{base.__name__}.{name}", names)  # its closure may hold what it uses
        return found

    def _methods(self, cls: type, names: frozenset[str]) -> list[str]:
        """That methods of a class of ours have not been exchanged; gives their names."""
        held = ChainMap(*map(dict, map(vars, cls.__mro__)))
        found = [n for n in sorted(names.intersection(held)) if isinstance(held[n], types.FunctionType | property)]
        if self.is_new(cls, (hash(names), "methods")):
            for name in found:
                fetch = f"{self.checks.bind(cls)}.{name}"
                self.checks.same_object(fetch, held[name], f"{cls.__name__}.{name} was another")
        return found

    def attribute(self, thing: Any, name: str, names: frozenset[str]) -> None:
        """What one attribute is, or that there is none: code has asked for it by a name that it made."""
        own = dict_of(thing)
        is_module = isinstance(thing, types.ModuleType)
        if isinstance(thing, SCALARS) and not is_scalar_with_state(thing):
            return
        if is_module and is_library_module(thing):
            self.library(thing, thing.__name__, names | {name})
            self.checks.without(own, frozenset({name}), f"{thing.__name__} had no")
            return
        if isinstance(thing, threading.local):
            self.slot(thing, name, type(thing).__name__, names)
            return
        what = thing.__name__ if is_module or isinstance(thing, type) else type(thing).__name__
        is_in_key = self.is_in_key(thing)
        self.look_at(thing, names | {name})
        if isinstance(own, dict) and not is_in_key:
            self._entry(own, name, what, names)
        classes = thing.__mro__ if isinstance(thing, type) else type(thing).__mro__
        for base in classes:
            if is_library_class(base):
                continue
            self._entry(self._class_dict(base), name, base.__name__, names)
            item = vars(base).get(name)
            if isinstance(item, types.MemberDescriptorType) and not is_in_key:
                self.slot(thing, name, what, names)
            if name in vars(base):
                break

    def _class_dict(self, cls: type) -> Any:
        """What a class holds, as one object: `vars` makes another one each time."""
        return self._class_dicts.setdefault(cls, vars(cls))

    def _entry(self, table: Any, name: str, what: str, names: frozenset[str]) -> None:
        if name not in table:
            self.checks.without(table, frozenset({name}), f"{what} had no")
            return
        item = table[name]
        self.visit(f"{self.checks.bind(table)}.get({name!r}, missing)", item, f"{what}.{name}", names)
        inner = (
            item.__func__
            if isinstance(item, staticmethod | classmethod)
            else item.fget
            if isinstance(item, property)
            else None
        )
        if inner is not None:
            self.visit("", inner, f"{what}.{name}", names)

    def slot(self, thing: Any, name: str, what: str, names: frozenset[str]) -> None:
        fetch = f"getattr({self.checks.bind(thing)}, {name!r}, missing)"
        try:
            item = getattr(thing, name)
        except Exception:  # its class may have code for what is not there
            self.checks.absent(fetch, f"{what} had no {name}")
        else:
            self.visit(fetch, item, f"{what}.{name}", names)

    def every_attribute(self, thing: Any, names: frozenset[str]) -> None:
        """All that the object's dict holds: code looks through it."""
        self.look_at(thing, names | {"__dict__"})
        own = dict_of(thing)
        if isinstance(own, dict) and not isinstance(thing, types.ModuleType) and not self.is_in_key(thing):
            self.entries(own, type(thing).__name__, names)

    def registered(self, cls: type, what: str) -> None:
        """That no class has been registered with an abstract one, which `isinstance` asks."""
        token = abc.get_cache_token()
        self.checks.custom(cls, lambda: abc.get_cache_token() == token, f"a class was registered with {what}, say")
