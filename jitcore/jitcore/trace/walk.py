"""`Walker`: walks Python values that a recorded run can reach and writes down the conditions under which they are the
same again.

Scalars are checked by value, functions, tensors and other objects by identity, lists, dicts and sets entry by entry.
Of objects with attributes only those are looked at that the running code names.
"""

from __future__ import annotations

import abc
import enum
import functools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..source import is_own_file
from .attributes import OF_FUNCTIONS, Attributes
from .checks import Checks
from .containers import is_container
from .contents import items_of_set, plain_list, watcher_of
from .libraries import LAYERS, is_library, is_library_class, is_library_module
from .names import MAYBE, OURS, STORED, code_names
from .numbers import RecordedNumber
from .objects import about, attributes_of, dict_of, items_of, keys_of, mro_of, table_of
from .our_objects import watcher_of_ours
from .scalars import SCALARS, in_words, is_plain, is_scalar_with_state
from .user_builtins import STAND_INS

_PLAIN = (int, float, bool, str, type(None))
_SEQUENCES = (list, tuple, deque)
_MOST = 20_000
"""Conditions after which a function's state counts as too large to watch."""


class Walker(Attributes):
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
        self.passed: set[int] = set()  # ids of objects among the arguments, where what they hold is in the key
        self.looked: dict[type, frozenset[str]] = {}  # by class, the names of code that has an object of it
        self.looks_at_all = False  # whether code may look up what it does not name
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
                self.checks.same_value(fetch, value, f"{what} was {in_words(value)}")
            if isinstance(value, enum.Enum) and not is_library_class(type(value)):
                self.class_attributes(type(value), what, names)
            return
        if fetch and is_plain(value):
            self.checks.alike(fetch, value, f"{what} was {in_words(value):.60}")
            self.outside.add(id(value))
            return
        if fetch:
            self.checks.same_object(fetch, value, f"{what} was another {type(value).__name__}")
            if not self.is_passing:
                self.outside.add(id(value))
                self.hold(value, self.checks.subject(fetch))
        if self.is_new(value, (hash(names), bool(fetch), self.is_passing)):
            try:
                self._parts(value, what, names, bool(fetch))
            except RecursionError:
                self.refuse(f"{what:.60}... leads to too much to watch")

    def hold(self, value: Any, holder: Any) -> None:
        """Note that a check finds `value` in `holder`."""
        self.held.setdefault(id(value), set()).add(id(holder))

    def held_containers(self) -> frozenset[int]:
        """Ids of the lists, dicts and objects that checks fetch."""
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

    def _parts(self, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
        if not is_held and id(value) in self.passed:
            self._passed_object(value, what, names)
            return
        if isinstance(value, list | tuple | dict | set | frozenset | deque) and not is_library_class(type(value)):
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
            self.entries(value, what, names)
        elif isinstance(value, set):
            if is_held and self.is_new(value, "content"):  # others come and go with the run
                items_of_set(self, value, what)
        elif isinstance(value, frozenset):
            for item in value:
                self.visit("", item, f"an item of {what}", names)
        elif isinstance(value, type):
            if isinstance(value, abc.ABCMeta) and OURS not in names:
                self.registered(value, what)
            self.class_attributes(value, what, names)
            self.class_attributes(type(value), f"the class of {what}", names)
        elif isinstance(value, types.ModuleType):
            if not is_library_module(value):
                self.namespaces.add(id(value.__dict__))
                self.names_in(value.__dict__, what, names)
                self.lacks(value, what, names, STORED, MAYBE)
            elif self.is_new(value, (hash(names), "library")):
                self.library(value, what, names)
        elif isinstance(value, Iterator) and dict_of(value) is None:
            if is_held:
                self.refuse(f"{what} is an iterator ({type(value).__name__}), which gives another item each time")
        elif type(value).__module__ == "numpy.random._generator" or isinstance(value, np.random.RandomState):
            self.sources.append((value, numpy_state(value), what))
        elif type(value).__module__.startswith(("jitcore.", "jitcore_")):
            pass
        elif (watch := watcher_of(value)) is not None:
            watch(self, value, what, names, is_held)
        elif dict_of(value) is not None or any("__slots__" in table_of(cls) for cls in mro_of(type(value))):
            self.attributes(value, what, names)

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
            if isinstance(content, WeakKeyDictionary) and is_library(function.__code__.co_filename):
                continue  # what `functools.singledispatch` remembers of its registry
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
            for name in sorted(OF_FUNCTIONS & names):
                self.visit(f"{bound}.{name}", getattr(function, name), f"{name} of {function.__name__}", names)
        if function.__dict__:
            self.names_in(function.__dict__, what, inner)
        self.lacks(function, what, names, STORED, MAYBE)

    def _sequence(self, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
        bound = self.checks.bind(value)
        is_tuple = isinstance(value, tuple)
        is_own = is_tuple or self._is_own(value)
        items = [*value] if isinstance(value, deque) else [*items_of(value)]
        is_users = isinstance(value, list) and not is_library_class(type(value))  # with methods of its own
        if not is_own:
            self.checks.same_length(bound, len(items), f"{what} had {len(items)} items", "list_len" if is_users else "")
            if len(items) > 8 and not is_users and all(type(item) in _PLAIN for item in items):
                if self.is_new(value, "content"):
                    plain_list(self, value, what)
                return
        for position, item in enumerate(items):
            fetch = f"list_item({bound}, {position})" if is_users else f"{bound}[{position}]"
            self.visit("" if is_own else fetch, item, f"{what}[{position}]", names)
            if is_tuple and is_held:
                self.outside.add(id(item))
                self.hold(item, value)

    def _is_own(self, value: Any) -> bool:
        """Whether a container is the run's own, another one in each call: then only what it holds matters."""
        return self.is_passing and id(value) not in self.outside

    def is_in_key(self, thing: Any) -> bool:
        """Whether the key of a call has all that the object holds, which is not reached but as an argument."""
        return id(thing) in self.passed and id(thing) not in self.held

    def _passed_object(self, value: Any, what: str, names: frozenset[str]) -> None:
        self.look_at(value, names)
        before, self.is_passing = self.is_passing, True
        for name, item in attributes_of(value).items():
            if name in names or ("__dict__" in names and OURS not in names):
                self.visit("", item, f"{what}.{name}", names)
        for position, item in enumerate([*items_of(value)]):
            self.visit("", item, f"{what}[{position}]", names)
        self.is_passing = before
        self.class_attributes(type(value), what, names)  # of the object itself nothing is kept: it holds its tensors

    def look_at(self, value: Any, names: frozenset[str]) -> None:
        """Note what code may look up in an object of the user's."""
        if about(type(value)).layout is not None:
            self.looked[type(value)] = self.looked.get(type(value), frozenset()) | names

    def entries(self, value: dict, what: str, names: frozenset[str]) -> None:
        if (id(value), "entries") in self._visited:
            return
        if self._is_own(value):
            for key, item in zip([*keys_of(value)], [*items_of(value)]):
                self.visit("", item, f"{what}[{_label(key)}]", names)
            return
        bound, keys = self.checks.bind(value), [*keys_of(value)]
        is_users = not is_library_class(type(value))  # with methods of its own
        if not self.is_new(value, "keys"):
            pass
        elif all(isinstance(key, SCALARS) for key in keys):
            some = ", ".join(map(in_words, keys[:4]))
            self.checks.same_keys(value, f"{what} had the {len(keys)} keys {some} ...")
        else:
            table = f"keys_of({bound})" if is_users else bound
            self.checks.same_length(table, len(keys), f"{what} had {len(keys)} entries")
        for key, item in zip(keys, [*items_of(value)]):
            if key == "__builtins__":
                continue  # of a namespace that code was run in
            if not isinstance(key, SCALARS):
                self.hold(key, value)
                self.visit("", key, f"a key of {what}", names)
            of_key = self.checks.bind(key)
            fetch = f"dict_get({bound}, {of_key}, missing)" if is_users else f"{bound}.get({of_key}, missing)"
            self.visit(fetch, item, f"{what}[{_label(key)}]", names)


@functools.cache
def _label(key: Any) -> str:
    """A dict's key in words."""
    return repr(key) if isinstance(key, _PLAIN) else type(key).__name__


def numpy_state(source: Any) -> str:
    """What a NumPy generator will draw next, as text that can be compared."""
    if isinstance(source, np.random.RandomState):
        _, key, position, has_gauss, cached = source.get_state()
        return f"{hash(np.asarray(key).tobytes())} {position} {has_gauss} {cached}"
    return str(source.bit_generator.state)
