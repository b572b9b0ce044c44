"""`Watcher`: notices which Python state a run reads, so that a replay can check it is unchanged.

While the run is recorded, a profile hook sees every Python function that starts. For each function of the user's
(and for the layers and optimizers of `nn` and `optim`) the values its code can name are walked (see `walk`): globals,
closure cells, arguments, attributes. What a function returns, its callers can look into, so a function's names include
those of its callers. Calls that make a run unrepeatable (random numbers, the clock, input, files) are noticed too.
"""

from __future__ import annotations

import dis
import gc
import importlib
import logging
import os
import queue
import sys
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.util import resolve_name
from itertools import chain
from types import CodeType, FrameType
from typing import Any

import numpy as np

from ..source import is_own_file, restore_profile
from ..tensor import Tensor
from .containers import objects_among
from .contents import alike, filled_caches, is_unknown
from .libraries import LAYERS, is_library, is_library_module
from .names import OURS, code_names
from .own import own_objects
from .process_state import BUILT_IN_READERS, readers
from .scalars import SCALARS, is_scalar_with_state
from .unrepeatable import QUEUE, CallOfBuiltIn, is_for_us
from .user_builtins import NAMES, listening, replace_in
from .walk import Walker, numpy_state

_ENVIRONMENT = type(os.environ).__getitem__.__code__
_ENVIRONMENT_KEYS = (type(os.environ).__iter__.__code__, type(os.environ).__len__.__code__)
_THREAD = threading.current_thread.__code__
_IMPORT_MODULE = importlib.import_module.__code__
_IS_OF_PROTOCOL = type(typing.Protocol).__instancecheck__.__code__  # type: ignore[attr-defined]
_NAMES_ALL = frozenset(["collections", "collections.abc", "_collections_abc", "abc", "typing"])
"""Modules of Python's library whose functions name the attributes that they look at."""
_LOOKS_AT_NOTHING = frozenset(
    ["builtins", "itertools", "math", "_functools", "_collections", "_operator", "jitcore", "time", "_abc", "numpy"]
)
"""Where functions written in C are from that look at no attributes of objects, or at those that they are told in a way
that names tell."""
_LOOK_THROUGH = ("dataclasses",)
"""Modules of Python's library whose functions look through attributes of what they are given."""


class Watcher(Walker):
    """Use as a context manager around the recorded run; then read `checks`, `seen`, `outside` and `problem`."""

    def __init__(self, function: Callable, arguments: Iterable[Any], containers: Sequence[Any] = ()) -> None:
        """`arguments`: their leaves; `containers`: the lists, dicts and objects that these are in."""
        super().__init__()
        self._function = function
        self.arguments = list(arguments)
        self._containers = frozenset(map(id, containers))
        self.passed.update(map(id, objects_among(containers)))
        self._previous: Any = None
        self._busy = False
        self._readers = readers()
        self._collects = False
        self._first: FrameType | None = None
        self.namespaces.add(id(sys.modules))  # as wide as those of modules
        self._to_come: dict[str, list[tuple[frozenset[str], frozenset[str]]]] = {}  # modules that are imported later
        self._listening: AbstractContextManager[None]

    def __enter__(self) -> Watcher:
        from ..random import Generator

        names = code_names(getattr(self._function, "__code__", None))
        self.visit("", self._function, "the function", names)
        for argument in self.arguments:
            self.outside.add(id(argument))
            keeps = isinstance(argument, (Tensor, Generator, *SCALARS)) and not is_scalar_with_state(argument)
            self.visit("" if keeps else self.checks.bind(argument), argument, "an argument", names)
            if isinstance(argument, Tensor):  # what is put on it is in the key, by identity
                for name, value in argument.__dict__.items():
                    put_on = "" if isinstance(value, SCALARS) else self.checks.bind(value)
                    self.visit(put_on, value, f"an argument's {name}", names)
            if isinstance(argument, Iterator):
                self.problem = f"an argument is an iterator ({type(argument).__name__}), which is used up; pass a list"
        if "numpy.random" in sys.modules:
            shared = np.random.mtrand._rand
            self.sources.append((shared, numpy_state(shared), "numpy.random"))
        # The collector would run finalizers and callbacks of other code in the middle, which the hook would take for
        # the function's own.
        self._collects = gc.isenabled()
        gc.disable()
        self._previous = sys.getprofile()
        self._first = sys._getframe(1)
        self._listening = listening(self)
        self._listening.__enter__()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exc: object) -> None:
        restore_profile(self._previous)
        self._listening.__exit__(None, None, None)
        self._first = None
        if self._collects:
            gc.enable()
        for name in self._to_come:  # where importing it is an error that the code expects
            parent, _, item = name.rpartition(".")
            if hasattr(sys.modules.get(parent), item):
                continue  # no module: what the code takes from one
            self.checks.absent(
                f"{self.checks.bind(sys.modules)}.get({name!r}, missing)", f"there was no module {name!r}"
            )
        if (filled := filled_caches(self)) is not None:
            self.refuse(f"the function itself changes Python state: {filled}")
        for source, before, what in self.sources:
            if self.problem is None and numpy_state(source) != before:
                self.problem = f"random numbers are drawn from {what}, other ones each time"
        self.sources.clear()

    def forget_own(self, result: list[Any]) -> None:
        """After the run, forget what was noticed of objects that it made itself. `result` holds what it gave, which
        nothing else may refer to for the run's sake."""
        tables = (self.seen, self.caches)
        holders = [self, vars(self), result, self._alive, *tables, *(item for t in tables for item in t.values())]
        watched = chain(self.checks.names.values(), self._alive, result)
        own = own_objects(watched, holders + self.checks.holders(), self.namespaces)
        if own:
            self.checks.drop(own)
            self.outside -= own
            gone = own
            while gone:  # tuples go with the objects that hold them, and so on
                self.held = {key: holders - gone for key, holders in self.held.items() if key not in gone}
                gone = {key for key, holders in self.held.items() if not holders}

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            if event == "call":
                if self.passed and frame.f_globals.get("__name__") not in _NAMES_ALL:
                    self._may_look_at_all(frame)
                if frame.f_code.co_name == "_log" and frame.f_code.co_filename == logging.__file__:
                    self._refuse_log(frame)
                elif frame.f_code.co_filename == queue.__file__ and frame.f_code.co_name in QUEUE:
                    self.refuse(f"an item goes through a {type(frame.f_locals['self']).__name__}")
                if _is_watched(frame) and not self._is_importing(frame):
                    self._function_starts(frame)
                elif frame.f_code in self._readers:
                    self.process_state(self._readers[frame.f_code])
                elif frame.f_globals.get("__name__") in _LOOK_THROUGH:
                    replace_in(frame, self)
                elif frame.f_code is _ENVIRONMENT:
                    self._environment_is_read(frame.f_locals["self"], frame.f_locals["key"])
                elif frame.f_code in _ENVIRONMENT_KEYS:
                    self.checks.same_keys(frame.f_locals["self"]._data, "other environment variables were set")
                elif frame.f_code is _THREAD and frame.f_back is not None and _is_watched(frame.f_back):
                    self._same_thread()
                elif frame.f_code is _IS_OF_PROTOCOL:
                    for name in _names_of_protocol(frame.f_locals["cls"]):
                        self.attribute(frame.f_locals["instance"], name, self._names_of_callers(frame))
                elif frame.f_code is _IMPORT_MODULE:
                    for name in _resolved(frame.f_locals["name"], frame.f_locals["package"]):
                        self._module_is_imported(name, self._names_of_callers(frame))
                elif _is_library_method(frame.f_code) and self._is_followed(owner := frame.f_locals["self"], frame):
                    self.visit("", owner, f"a {type(owner).__name__}", self._names_of_callers(frame))
            elif event == "return" and self._to_come and frame.f_code.co_name == "<module>":
                self._module_is_there(frame.f_globals.get("__name__", ""))
            elif event == "c_call" and self.problem is None and not is_own_file(frame.f_code.co_filename):
                self._builtin_starts(frame, argument)
        finally:
            self._busy = False

    def _function_starts(self, frame: FrameType) -> None:
        code = frame.f_code
        if not is_own_file(code.co_filename):
            self.checks.place = f"{code.co_name} at {code.co_filename}:{code.co_firstlineno}"
        names = self._names_of_callers(frame)
        if self.is_new(frame.f_globals, (id(code), hash(names))):
            self._alive.append(code)
            table = frame.f_globals
            self.namespaces.add(id(table))
            bound = self.checks.bind(table)
            named = _globals(code)
            for name in named:
                if name in table:
                    self.visit(f"{bound}.get({name!r}, missing)", table[name], f"global {name!r}", names)
            if not is_own_file(code.co_filename):  # built-in functions, and names that the code knows may be missing
                self.checks.without(table, frozenset(named) - NAMES, "there was no global")
                replace_in(frame, self)
                for name, taken in imports(code, table.get("__package__")).items():
                    self._module_is_imported(name, names, frozenset(taken))
                if "modules" in code.co_names:  # of sys: those that the code may ask for
                    for text in code.co_consts:
                        if isinstance(text, str) and text.replace(".", "").isidentifier():
                            self._module_is_imported(text, names)
        for name, value in list(frame.f_locals.items()):
            is_closure = name in code.co_freevars and not self.is_local(value)
            self.is_passing = isinstance(value, list | tuple | dict | set) and not is_closure
            self.visit("", value, name, names)
            self.is_passing = False

    def _is_followed(self, owner: Any, frame: FrameType) -> bool:
        """Whether the state of an object of a library matters: code can reach it. Loggers are found by their names."""
        if frame.f_code.co_filename == logging.__file__:
            return not is_for_us(frame)
        return id(owner) in self.outside

    def _is_importing(self, frame: FrameType | None) -> bool:
        """Whether code runs because a module is imported, which later calls do not do again."""
        while frame is not None and frame is not self._first:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def _may_look_at_all(self, frame: FrameType) -> None:
        """A function of Python's library, say `copy.copy`, may look at attributes that it does not name."""
        if is_library(frame.f_code.co_filename) and not is_own_file(frame.f_code.co_filename):
            for value in frame.f_locals.values():
                if id(value) in self.passed:
                    self.look_at(value, frozenset({"__dict__"}))

    def _module_is_imported(self, name: str, names: frozenset[str], taken: frozenset[str] = frozenset()) -> None:
        """Code imports a module where it runs, and then looks up its attributes (`taken` ones at once): now, or when it
        is there."""
        module = sys.modules.get(name)
        if module is None:
            self._to_come.setdefault(name, []).append((names, taken))
            return
        self.visit(f"{self.checks.bind(sys.modules)}.get({name!r}, missing)", module, f"module {name!r}", names)
        if not is_library_module(module):
            self.checks.without(module.__dict__, taken, f"module {name!r} had no")

    def _module_is_there(self, name: str) -> None:
        for names, taken in self._to_come.pop(name, ()):
            self._module_is_imported(name, names, taken)

    def is_asked(self, frame: FrameType, method: str, *arguments: Any) -> None:
        """Code of `frame` reads state in a way that `user_builtins` tells of; `method` is how that is watched."""
        if self._busy or is_own_file(frame.f_code.co_filename):
            return
        self._busy = True
        try:
            getattr(self, method)(*arguments, self._names_of_callers(frame))
        finally:
            self._busy = False

    def is_another(self, thing: Any) -> bool:
        """Whether it is an argument that is another object in each call."""
        if id(thing) in self._containers:
            return True
        return isinstance(thing, Tensor) and any(thing is argument for argument in self.arguments)

    def hooks_start(self, leaf: Tensor) -> None:
        """The hooks of a leaf, which no code names, are about to be run."""
        for hook in () if leaf._hooks is None else (*leaf._hooks.before.values(), *leaf._hooks.after.values()):
            self.visit("", hook, "a hook", code_names(getattr(hook, "__code__", None)))

    def is_local(self, value: Any) -> bool:
        frame = None if self._first is None else sys._getframe(1)  # None: the run has not begun
        while frame is not None and frame is not self._first:
            if _is_watched(frame):
                free = frame.f_code.co_freevars  # of a function made elsewhere: no local variables of this frame
                if any(local is value for name, local in frame.f_locals.items() if name not in free):
                    return True
            frame = frame.f_back
        return False

    def _names_of_callers(self, frame: FrameType) -> frozenset[str]:
        """The names that the function's code and the code that called it, directly or not, can look up."""
        names = code_names(frame.f_code)
        caller = frame.f_back
        while caller is not None and caller is not self._first:
            if _is_watched(caller):
                names |= code_names(caller.f_code) - {OURS}
            caller = caller.f_back
        return names

    def _refuse_log(self, frame: FrameType) -> None:
        """A message that `logging` lets through is an effect, which a replay would not have."""
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename == logging.__file__:
            caller = caller.f_back
        where = "" if caller is None else f" at {caller.f_code.co_filename}:{caller.f_lineno}"
        self.problem = self.problem or f"a message is logged{where}, which replays would not do; log what it returns"

    def _environment_is_read(self, environ: Any, key: Any) -> None:
        try:
            encoded = environ.encodekey(key)
        except TypeError:
            return  # not text: an error of the user's
        table = environ._data
        fetch = f"{self.checks.bind(table)}.get({encoded!r}, missing)"
        what = f"the environment variable {key}"
        if encoded in table:
            self.checks.same_value(fetch, table[encoded], f"{what} was {environ.decodevalue(table[encoded])!r}")
        else:
            self.checks.absent(fetch, f"{what} was not set")

    def process_state(self, read: Callable[[], Any]) -> None:
        """Code asks for a setting of the whole process."""
        before = read()
        self.checks.custom(read, lambda: alike(read(), before), f"{read.__name__}() gave {before!r:.60}")

    def _same_thread(self) -> None:
        thread, name = threading.current_thread(), threading.current_thread().name

        def same() -> bool:
            return threading.current_thread() is thread and thread.name == name

        self.checks.custom(thread, same, f"another thread than {name} called")

    def _builtin_starts(self, frame: FrameType, function: Any) -> None:
        call = CallOfBuiltIn.of(frame, function)
        if call.is_direct and self.passed and call.origin.partition(".")[0] not in _LOOKS_AT_NOTHING:
            self.looks_at_all = True
        if call.is_direct and call.name in ("get_ident", "get_native_id", "current_thread"):
            self._same_thread()
        if (problem := call.problem()) is not None:
            self.problem = problem
        elif call.is_direct and call.name == "__subclasses__" and isinstance(call.owner, type):
            found: list[type] = call.owner.__subclasses__()
            self.checks.custom(
                call.owner, lambda: call.owner.__subclasses__() == found, f"{call.owner.__name__} had other subclasses"
            )
        elif call.is_direct and (call.origin, call.name) in BUILT_IN_READERS:
            self.process_state(function)
        elif call.is_direct and id(call.owner) in self.outside and is_unknown(call.owner, call.name):
            self.problem = (
                f"{call.name}() of a {type(call.owner).__name__} at {call.where}, whose state cannot be watched"
            )


def _names_of_protocol(cls: Any) -> Iterable[str]:
    """The attributes that `isinstance` asks an object for."""
    if not getattr(cls, "_is_protocol", False):
        return ()
    names = getattr(cls, "__protocol_attrs__", None)  # from Python 3.12 on
    return typing._get_protocol_attrs(cls) if names is None else names  # type: ignore[attr-defined]


def _is_library_method(code: CodeType) -> bool:
    """Whether it is a method of a class of Python's own library or NumPy, which may read the object's state."""
    if code.co_argcount == 0 or code.co_varnames[0] != "self" or code.co_filename == os.__file__:
        return False
    return is_library(code.co_filename) and not is_own_file(code.co_filename)


def _globals(code: CodeType) -> list[str]:
    """Names that `code` looks up, or assigns, as globals (`co_names` has its attributes' names too)."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL", "DELETE_GLOBAL")
    return list(dict.fromkeys(step.argval for step in dis.get_instructions(code) if step.opname in loads))


def imports(code: CodeType, package: str | None) -> dict[str, list[str]]:
    """The modules that `code` of a package imports, with the names that it takes from each, and those modules that such
    names may stand for."""
    found: dict[str, list[str]] = {}
    steps = list(dis.get_instructions(code))
    for number, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, taken = (before.argval for before in steps[number - 2 : number])  # what the statement pushes
            modules = _resolved("." * level + step.argval, package)
            for name in (*modules, *(f"{modules[-1]}.{item}" for item in taken or () if modules)):
                found.setdefault(name, [])
            if modules:
                found[modules[-1]] += taken or ()
    return found


def _resolved(name: Any, package: Any) -> list[str]:
    """The full names of a module and of those that it lies in; none where importing it is an error."""
    try:
        parts = resolve_name(name, package or "").split(".")
    except (AttributeError, ImportError, TypeError, ValueError):
        return []
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _is_watched(frame: FrameType) -> bool:
    """The user's functions, and our layers and optimizers; not the rest of jitcore nor installed libraries."""
    file = frame.f_code.co_filename
    if file.startswith(LAYERS):
        return True
    if file.startswith("<") and str(frame.f_globals.get("__name__")).startswith("jitcore"):
        return False  # code that a dataclass of ours was given
    return not is_library(file)
