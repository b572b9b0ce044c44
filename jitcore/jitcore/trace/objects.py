"""What objects hold, told without running any code of theirs: `about` a class says where its objects keep what.

Objects of dataclasses are always looked into; those of other classes (`Layout`) only where all that they hold lies in
their dict, their slots and, for a class derived from list or dict, their items.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import types
import typing
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .libraries import is_library_class

_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: made by a `class` statement."""
_PLAIN_BASES = frozenset(
    [object, abc.ABC, typing.Generic, typing.Protocol, types.SimpleNamespace, collections.UserDict,
     collections.UserList]
)  # fmt: skip
"""Classes of Python's library that keep everything in the dict of an object, besides those of `collections.abc`."""
_ITEMS = (OrderedDict, dict, list)
_MADE_BY_CLASS = frozenset(["__dict__", "__weakref__"])
_DESCRIPTORS = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip
_NEVER = frozenset(["__class__", "__next__"])
"""What a class defines whose objects are not what they say, or which are used up."""

mro_of = type.__dict__["__mro__"].__get__
"""The classes of a class, past any metaclass."""
table_of = type.__dict__["__dict__"].__get__
"""What a class itself holds, likewise."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the objects of the class `kind` hold what they hold.

    slots: names and descriptors; table: the descriptor of `__dict__`, if they have one; items: list, dict or
    OrderedDict, if they are one too. fixed: attributes that library code reads, None: which it reads all.
    """

    kind: type
    slots: tuple[tuple[str, Any], ...]
    table: Any
    items: type | None
    fixed: frozenset[str] | None

    def attributes(self, thing: Any) -> dict[str, Any]:
        """What an object has in its slots and its dict."""
        found = {}
        for name, slot in self.slots:
            try:
                found[name] = slot.__get__(thing)
            except AttributeError:
                continue
        if self.table is not None:
            table = self.table.__get__(thing)
            if table is not thing:  # as some dicts are, so that items are attributes
                found.update(table)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class About:
    """What is known of a class. layout: where its objects may be taken apart."""

    is_dataclass: bool
    layout: Layout | None


_NOTHING = About(False, None)
_known: dict[int, tuple[weakref.ref, About]] = {}
"""By the id of a class: a metaclass may compare and hash classes as it likes."""


def about(cls: type) -> About:
    """What is known of a class."""
    try:
        return _known[id(cls)][1]
    except KeyError:
        pass
    found = _look_at(cls)
    number = id(cls)
    _known[number] = (weakref.ref(cls, lambda _: _known.pop(number, None)), found)
    return found


def _look_at(cls: type) -> About:
    classes = mro_of(cls)
    if issubclass(cls, type):
        return _NOTHING
    meta = [table_of(base) for base in mro_of(type(cls)) if base not in (type, object)]
    is_compared = any("__eq__" in table or "__hash__" in table for table in meta)
    if any("__dataclass_fields__" in table_of(base) for base in classes):
        return About(not _is_module(cls), None)
    layout = None if is_compared else _layout(cls, classes)
    return About(False, layout)


def _is_module(cls: type) -> bool:
    from ..nn.module import Module

    return issubclass(cls, Module)


def _layout(cls: type, classes: tuple[type, ...]) -> Layout | None:
    items: type | None = None
    slots: list[tuple[str, Any]] = []
    table = None
    fixed: frozenset[str] | None = frozenset()
    for base in classes:
        held = table_of(base)
        table = table or held.get("__dict__")
        if base in _ITEMS:
            items = items or base
            continue
        if base is types.SimpleNamespace or ("__getattribute__" in held and base is not object):
            fixed = None
        elif base in (collections.UserDict, collections.UserList) and fixed is not None:
            fixed |= {"data"}
        if base in _PLAIN_BASES or base.__module__ in ("collections.abc", "_collections_abc"):
            continue
        if is_library_class(base) or not base.__flags__ & _HEAP_TYPE or not _NEVER.isdisjoint(held):
            return None
        for name, part in held.items():
            is_own = type(part) in _DESCRIPTORS and part.__objclass__ is base
            if is_own and type(part) is types.MemberDescriptorType:
                slots.append((name, part))
            elif is_own and name not in _MADE_BY_CLASS:
                return None  # written in C
    if table is not None and type(table) not in (types.GetSetDescriptorType, types.MemberDescriptorType):
        return None
    is_any = len(slots) > 0 or table is not None or items is not None
    return Layout(cls, tuple(slots), table, items, fixed) if is_any else None


def is_object(value: Any) -> bool:
    """Whether it is an object of a dataclass."""
    return about(type(value)).is_dataclass


def may_be_told_apart(value: Any) -> bool:
    """Whether it is an object that a call's arguments may be taken apart to, once."""
    known = about(type(value))
    return known.is_dataclass or known.layout is not None


def attributes_of(value: Any) -> dict[str, Any]:
    """What an object holds. Of a dataclass: its fields, also those its constructor does not take, and what else was set
    on it; of one that is a dict or list too, what its constructor takes."""
    layout = about(type(value)).layout
    if layout is not None:
        return layout.attributes(value)
    fields = dataclasses.fields(value)
    if issubclass(type(value), dict | list | tuple):
        return {f.name: getattr(value, f.name) for f in fields if f.init}
    found = {f.name: getattr(value, f.name) for f in fields if hasattr(value, f.name)}
    return found | getattr(value, "__dict__", {})


def dict_of(thing: Any) -> Any:
    """The `__dict__` of anything, past `__getattr__`; None where there is none."""
    try:
        return object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None


def has_slot(thing: Any, cls: type, name: str) -> bool:
    """Whether something is in a slot of an object, which that class of it gave it."""
    try:
        table_of(cls)[name].__get__(thing)
    except (AttributeError, KeyError):
        return False
    return True


def items_of(value: Any) -> Iterable[Any]:
    """The items of a list, tuple or dict, also of a class derived from one, past methods of that."""
    kind = type(value)
    if issubclass(kind, OrderedDict):
        return OrderedDict.values(value)
    if issubclass(kind, dict):
        return dict.values(value)
    return list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value) if issubclass(kind, tuple) else ()


def keys_of(value: Any) -> Iterable[Any]:
    """The keys of a dict, likewise."""
    return OrderedDict.keys(value) if issubclass(type(value), OrderedDict) else dict.keys(value)
