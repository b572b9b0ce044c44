"""`Walker`: walks Python values that a recorded run can reach and writes down the conditions under which they are the
same again.

Scalars are checked by value, functions, tensors and other objects by identity, lists, dicts and sets entry by entry.
Of objects with attributes only those are looked at that the running code names.
"""

from __future__ import annotations

import abc
import enum
import functools
import os
import sys
import sysconfig
import threading
import types
from collections import ChainMap, deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from jitcore_ir import DType, OpSpec

from ..source import is_own_file
from ..symbolic import SymInt
from .checks import Checks
from .containers import attributes_of, is_container
from .contents import items_of_set, plain_list, watcher_of
from .names import MAYBE, OURS, STORED, code_names, marked
from .numbers import RecordedNumber
from .our_objects import watcher_of_ours
from .user_builtins import STAND_INS

SCALARS = (int, float, complex, str, bytes, bool, type(None), range, slice, enum.Enum, np.generic, DType, OpSpec)
_EXACT = (int, float, complex, str, bytes)
_PLAIN = (int, float, bool, str, type(None))
_SEQUENCES = (list, tuple, deque)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYERS = tuple(os.path.join(_PACKAGE, part) + os.sep for part in ("nn", "optim", "amp"))
_STANDARD = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
_NUMPY = os.path.dirname(np.__file__) + os.sep
_MOST_IN_LIBRARY = 100
"""Items up to which lists of library modules are watched."""
_MOST = 20_000
"""Conditions after which a function's state counts as too large to watch."""
_IMPLICIT = frozenset(
    ["__call__", "__getitem__", "__len__", "__iter__", "__contains__", "__getattr__", "__getattribute__", "__bool__",
     "__enter__", "__exit__", "forward"]
)  # fmt: skip
"""Attributes of a class that code uses without naming them."""


class Walker:
    """Fills `checks`, `seen` and `problem`.

    fetch: the expression that gets a value again, "" where nothing holds it by name.
    names: those that the code which can reach the value looks up.
    """

    def __init__(self) -> None:
        self.checks = Checks()
        self.problem: str | None = None
        self.seen: dict[int, list[Any]] = {}  # storage id -> tensors on it that a check or an argument accounts for
        self.outside: set[int] = set()  # ids of objects that were there before the run
        self.held: dict[int, set[int]] = {}  # of these, the ones that a check fetches: ids, with those of what has them
        self.is_passing = False  # a container among a call's local variables is walked, another one in each call
        self.passed: set[int] = set()  # ids of objects of dataclasses among the arguments: what they hold is in the key
        self.generators: set[int] = set()  # ids of storages of generators' states
        self.optimizers: dict[int, Any] = {}
        self.numbers_of_optimizers: dict[tuple[int, Any], Any] = {}  # before the run (`numbers_in_state`)
        self.sources: list[tuple[Any, Any, str]] = []  # NumPy generators: with their state before the run, and words
        self.caches: dict[int, tuple[Any, int, str]] = {}  # of functions: with how often they were filled, and words
        self.namespaces: set[int] = set()  # ids of modules' dicts
        self._class_dicts: dict[type, Any] = {}
        self._visited: set[tuple[int, Any]] = set()
        self._alive: list[Any] = []  # keeps visited ids from being reused

    def see(self, tensor: Any) -> None:
        """Count a tensor (and its gradient) as accounted for."""
        self.seen.setdefault(id(tensor._storage), []).append(tensor)
        self._alive.append(tensor._storage)
        if tensor._grad is not None:
            self.see(tensor._grad)

    def see_generator(self, generator: Any) -> None:
        """Count a generator that any code reaches as accounted for."""
        self.see(generator._state)
        self.hold(generator._state, generator)
        self.generators.add(id(generator._state._storage))

    def refuse(self, problem: str) -> None:
        """Note why the run cannot be replayed; the first reason is kept."""
        self.problem = self.problem or problem

    def visit(self, fetch: str, value: Any, what: str, names: frozenset[str]) -> None:
        if len(self.checks.conditions) > _MOST:
            self.refuse(f"{what}: more than {_MOST} pieces of Python state to watch")
            return
        if type(value) is RecordedNumber or id(value) in STAND_INS:
            return  # made by the run itself; what it decides is a guard
        if isinstance(value, SCALARS) and not is_scalar_with_state(value):
            if fetch:
                self.checks.same_value(fetch, value, f"{what} was {value!r}")
            if isinstance(value, enum.Enum) and not _is_library_class(type(value)):
                self.class_attributes(type(value), what, names)
            return
        if fetch and is_plain(value):
            self.checks.alike(fetch, value, f"{what} was {value!r:.60}")
            self.outside.add(id(value))
            return
        if fetch:
            self.checks.same_object(fetch, value, f"{what} was another {type(value).__name__}")
            if not self.is_passing:
                self.outside.add(id(value))
                self.hold(value, self.checks.subject(fetch))
        if self.is_new(value, (hash(names), bool(fetch), self.is_passing)):
            self._parts(value, what, names, bool(fetch))

    def hold(self, value: Any, holder: Any) -> None:
        """Note that a check finds `value` in `holder`."""
        self.held.setdefault(id(value), set()).add(id(holder))

    def held_containers(self) -> frozenset[int]:
        """Ids of the lists, dicts and objects of dataclasses that checks fetch."""
        outside = self.held.keys() & self.outside
        return frozenset(id(value) for value in self._alive if id(value) in outside and is_container(value))

    def is_new(self, value: Any, aspect: Any) -> bool:
        """Whether this aspect of a value is met for the first time."""
        key = (id(value), aspect)
        if key in self._visited:
            return False
        self._visited.add(key)
        self._alive.append(value)
        return True

    def leave_out(self, value: Any, aspect: Any) -> None:
        """Count an aspect of a value as met."""
        self._visited.add((id(value), aspect))
        self._alive.append(value)

    def _parts(self, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
        if not is_held and id(value) in self.passed:
            self._passed_object(value, what, names)
            return
        if isinstance(value, list | tuple | dict | set | frozenset | deque) and not _is_library_class(type(value)):
            self.attributes(value, what, names)  # methods of a class of the user's may use them
        if (watch := watcher_of_ours(value)) is not None:
            watch(self, value, what, names, is_held)
        elif isinstance(value, types.FunctionType):
            self.function(value, what, names)
        elif isinstance(value, types.MethodType):
            self.visit("", value.__func__, what, names)
            self.visit("", value.__self__, what, names)
        elif isinstance(value, functools.partial):
            names |= {text for text in value.args if isinstance(text, str)}  # for getattr
            for part in ("func", "args", "keywords"):
                self.visit("", getattr(value, part), f"{part} of {what}", names)
        elif isinstance(value, _SEQUENCES):
            self._sequence(value, what, names, is_held)
        elif isinstance(value, dict):
            self._dict(value, what, names)
        elif isinstance(value, set):
            if is_held and self.is_new(value, "content"):  # others come and go with the run
                items_of_set(self, value, what)
        elif isinstance(value, frozenset):
            for item in value:
                self.visit("", item, f"an item of {what}", names)
        elif isinstance(value, type):
            if isinstance(value, abc.ABCMeta) and OURS not in names:
                self._registered(value, what)
            self.class_attributes(value, what, names)
            self.class_attributes(type(value), f"the class of {what}", names)
        elif isinstance(value, types.ModuleType):
            if not is_library_module(value):
                self.namespaces.add(id(value.__dict__))
                self.names_in(value.__dict__, what, names)
                self._lacks(value, what, names)
            elif self.is_new(value, (hash(names), "library")):
                self.library(value, what, names)
        elif isinstance(value, Iterator) and not hasattr(value, "__dict__"):
            if is_held:
                self.refuse(f"{what} is an iterator ({type(value).__name__}), which gives another item each time")
        elif type(value).__module__ == "numpy.random._generator" or isinstance(value, np.random.RandomState):
            self.sources.append((value, numpy_state(value), what))
        elif type(value).__module__.startswith(("jitcore.", "jitcore_")):
            pass
        elif (watch := watcher_of(value)) is not None:
            watch(self, value, what, names, is_held)
        elif hasattr(value, "__dict__") or hasattr(type(value), "__slots__"):
            self.attributes(value, what, names)

    def _registered(self, cls: type, what: str) -> None:
        """That no class has been registered with an abstract one, which `isinstance` asks."""
        token = abc.get_cache_token()
        self.checks.custom(cls, lambda: abc.get_cache_token() == token, f"a class was registered with {what}, say")

    def is_local(self, value: Any) -> bool:
        """Whether a function that is running within the run has `value` in a local variable, where each call has its
        own; what comes from outside is met where it does."""
        return False

    def function(self, function: types.FunctionType, what: str, names: frozenset[str]) -> None:
        """Code, closure, defaults and attributes of a function of the user's."""
        if is_own_file(function.__code__.co_filename) and not function.__code__.co_filename.startswith(LAYERS):
            wrapped = getattr(function, "__wrapped__", None)
            if wrapped is None:
                return
        inner = code_names(function.__code__) | names
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            what_it_is = f"closure variable {name!r}"
            if not isinstance(content, SCALARS) and self.is_local(content):
                before, self.is_passing = self.is_passing, True
                self.visit("", content, what_it_is, inner)
                self.is_passing = before
                continue
            self.visit(f"{self.checks.bind(cell)}.cell_contents", content, what_it_is, inner)
        bound = self.checks.bind(function)
        if not is_library(function.__code__.co_filename):
            self.checks.same_object(f"{bound}.__code__", function.__code__, f"{function.__name__} had other code")
        if function.__defaults__:
            self.visit(f"{bound}.__defaults__", function.__defaults__, f"defaults of {function.__name__}", inner)
        if function.__kwdefaults__:
            self.visit(f"{bound}.__kwdefaults__", function.__kwdefaults__, f"defaults of {function.__name__}", inner)
        if OURS not in names:
            for name in sorted(_OF_FUNCTIONS & names):
                self.visit(f"{bound}.{name}", getattr(function, name), f"{name} of {function.__name__}", names)
        if function.__dict__:
            self.names_in(function.__dict__, what, inner)
        self._lacks(function, what, names)

    def _sequence(self, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
        bound = self.checks.bind(value)
        is_tuple = isinstance(value, tuple)
        is_own = is_tuple or self._is_own(value)
        if not is_own:
            self.checks.same_length(bound, len(value), f"{what} had {len(value)} items")
            if len(value) > 8 and all(type(item) in _PLAIN for item in value):
                if self.is_new(value, "content"):
                    plain_list(self, value, what)
                return
        for position, item in enumerate(value):
            self.visit("" if is_own else f"{bound}[{position}]", item, f"{what}[{position}]", names)
            if is_tuple and is_held:
                self.outside.add(id(item))
                self.hold(item, value)

    def _is_own(self, value: Any) -> bool:
        """Whether a container is the run's own, another one in each call: then only what it holds matters."""
        return self.is_passing and id(value) not in self.outside

    def _is_in_key(self, thing: Any) -> bool:
        """Whether the key of a call has all that the object holds, which is not reached but as an argument."""
        return id(thing) in self.passed and id(thing) not in self.held

    def _passed_object(self, value: Any, what: str, names: frozenset[str]) -> None:
        before, self.is_passing = self.is_passing, True
        for name, item in attributes_of(value).items():
            if name in names:
                self.visit("", item, f"{what}.{name}", names)
        self.is_passing = before
        self.class_attributes(type(value), what, names)  # of the object itself nothing is kept: it holds its tensors

    def _dict(self, value: dict, what: str, names: frozenset[str]) -> None:
        if (id(value), "entries") in self._visited:
            return
        if self._is_own(value):
            for key, item in list(value.items()):
                self.visit("", item, f"{what}[{_label(key)}]", names)
            return
        bound = self.checks.bind(value)
        if not self.is_new(value, "keys"):
            pass
        elif all(isinstance(key, SCALARS) for key in value):
            self.checks.same_keys(
                value, f"{what} had the {len(value)} keys {', '.join(map(repr, list(value)[:4]))} ..."
            )
        else:
            self.checks.same_length(bound, len(value), f"{what} had {len(value)} entries")
        for key, item in list(value.items()):
            if key == "__builtins__":
                continue  # of a namespace that code was run in
            if not isinstance(key, SCALARS):
                self.hold(key, value)
                self.visit("", key, f"a key of {what}", names)
            self.visit(f"{bound}.get({self.checks.bind(key)}, missing)", item, f"{what}[{_label(key)}]", names)

    def attributes(self, value: Any, what: str, names: frozenset[str]) -> None:
        """What an object holds under `names`, in its dict, its slots and its class."""
        if isinstance(value, enum.Enum):
            names |= {"_value_"}
        if hasattr(value, "__dict__"):
            self.own_dict(value.__dict__, what, names)
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name.startswith("__") and not name.endswith("__"):
                    name = f"_{cls.__name__.lstrip('_')}{name}"
                if name not in names:
                    continue
                if hasattr(value, name) or MAYBE + name in names or STORED + name in names:
                    self.slot(value, name, what, names)
        self.class_of(value, what, names)

    def own_dict(self, table: dict[str, Any], what: str, names: frozenset[str]) -> None:
        """The attributes of an object; all of them where code reaches for its `__dict__`."""
        if "__dict__" in names and OURS not in names:
            self._dict(table, what, names)
        else:
            self.names_in(table, what, names)

    def names_in(self, table: dict[str, Any], what: str, names: frozenset[str]) -> None:
        bound = None
        for name, item in list(table.items()):
            if name in names:
                bound = bound or self.checks.bind(table)
                self.visit(f"{bound}.get({name!r}, missing)", item, f"{what}.{name}", names)
        self.checks.without(table, marked(names, MAYBE), f"{what} had no")

    def stores(self, thing: Any, what: str, names: frozenset[str]) -> None:
        """That an object lacks attributes which code assigns, as the run itself may do. Of objects that it made this is
        forgotten."""
        own = getattr(thing, "__dict__", None)
        if own is not None:
            self.checks.without(own, marked(names, STORED), f"{what} had no")

    def _lacks(self, thing: Any, what: str, names: frozenset[str]) -> None:
        """That a function or module lacks attributes which code assigns, or asks for though they may not be there."""
        self.checks.without(thing.__dict__, marked(names, STORED) | marked(names, MAYBE), f"{what} had no")

    def library(self, module: types.ModuleType, what: str, names: frozenset[str]) -> None:
        """A module that is none of the user's: that its functions have not been exchanged, and plain values."""
        table = module.__dict__
        bound = self.checks.bind(table)
        for name in sorted(names & table.keys()):
            item, fetch = table[name], f"{bound}.get({name!r}, missing)"
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
        self.stores(value, what, names)
        own = getattr(value, "__dict__", None)
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
        if not _is_library_class(cls):
            bound = self.checks.bind(cls)
            self.checks.same_object(f"{bound}.__mro__", cls.__mro__, f"{cls.__name__} had other base classes")
            for name in sorted(_OF_CLASSES & names) if OURS not in names else ():
                self.checks.same_value(f"{bound}.{name}", getattr(cls, name), f"{name} of {what} was another")
        for base in reversed(cls.__mro__):
            if _is_library_class(base):
                found += [name for name in vars(base) if name == "forward"]
                continue
            held = names & vars(base).keys()
            if not self.is_new(base, (hash(names), "class", tuple(found))):
                found += sorted(held)
                continue
            absent = marked(names, MAYBE) | marked(names, STORED) if "__getattr__" not in (*held, *found) else names
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
        own = getattr(thing, "__dict__", None)
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
        is_in_key = self._is_in_key(thing)
        if isinstance(own, dict) and not is_in_key:
            self._entry(own, name, what, names)
        classes = thing.__mro__ if isinstance(thing, type) else type(thing).__mro__
        for base in classes:
            if _is_library_class(base):
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
        if hasattr(thing, name):
            self.visit(fetch, getattr(thing, name), f"{what}.{name}", names)
        else:
            self.checks.absent(fetch, f"{what} had no {name}")

    def every_attribute(self, thing: Any, names: frozenset[str]) -> None:
        """All that the object's dict holds: code looks through it."""
        own = getattr(thing, "__dict__", None)
        if isinstance(own, dict) and not isinstance(thing, types.ModuleType) and not self._is_in_key(thing):
            self._dict(own, type(thing).__name__, names)


@functools.cache
def _label(key: Any) -> str:
    """A dict's key in words."""
    return repr(key) if isinstance(key, _PLAIN) else type(key).__name__


def is_scalar_with_state(value: Any) -> bool:
    """Whether it is a scalar of a class of the user's that may have attributes, or a member of an enumeration that
    holds more than a scalar."""
    if type(value) in _EXACT:
        return False
    if not isinstance(value, enum.Enum):
        return isinstance(value, _EXACT) and not _is_library_class(type(value))
    held = {name: part for name, part in value.__dict__.items() if name not in _OF_ENUMS}
    return bool(held) or not (isinstance(value._value_, SCALARS) or is_plain(value._value_))


_OF_FUNCTIONS = frozenset(["__annotations__", "__doc__", "__module__", "__name__", "__qualname__"])
_OF_CLASSES = _OF_FUNCTIONS - {"__annotations__", "__doc__", "__module__"}
"""What functions and classes say of themselves."""
_OF_ENUMS = frozenset(["_name_", "_value_", "__objclass__", "_sort_order_"])


def is_plain(value: Any) -> bool:
    """Whether a tuple or frozen set holds nothing but scalars: another one with the same ones will do."""
    if not isinstance(value, tuple | frozenset):
        return False
    return all((isinstance(item, SCALARS) and type(item) not in _RECORDED) or is_plain(item) for item in value)


_RECORDED = (RecordedNumber, SymInt)
"""They say that they are numbers, which they are in one run only."""


def _is_library_class(cls: type) -> bool:
    """Whether a class is none of the user's."""
    origin = sys.modules.get(cls.__module__)
    is_main = cls.__module__ == "__main__" or origin is None  # or code run by exec
    return cls is object or (not is_main and is_library_module(origin))


def is_library_module(module: Any) -> bool:
    """Whether a module is none of the user's. Those without a file and a specification were made by hand."""
    file = getattr(module, "__file__", None)
    if file is None:
        return getattr(module, "__spec__", None) is not None
    return is_library(file)


@functools.lru_cache(maxsize=4096)
def is_library(file: str | None) -> bool:
    """Python's own library, NumPy, jitcore, and what has no file: their state is not the user's."""
    if file is None or file.startswith("<frozen ") or is_own_file(file) or file.startswith(_NUMPY):
        return True
    return file.startswith(_STANDARD) and "-packages" + os.sep not in file


def numpy_state(source: Any) -> str:
    """What a NumPy generator will draw next, as text that can be compared."""
    if isinstance(source, np.random.RandomState):
        _, key, position, has_gauss, cached = source.get_state()
        return f"{hash(np.asarray(key).tobytes())} {position} {has_gauss} {cached}"
    return str(source.bit_generator.state)
