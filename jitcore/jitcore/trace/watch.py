"""`Watcher`: notices which Python state a run reads, so that a replay can check it is unchanged.

While the run is recorded, a profile hook sees every Python function that starts. For each function of the user's
(and for the layers and optimizers of `nn` and `optim`) the values its code can name are walked: globals, closure
cells, arguments, attributes. Scalars are checked by value, functions, tensors and other objects by identity, lists
and dicts entry by entry. Calls that make a run unrepeatable (random numbers, the clock, input) are noticed too.
"""

from __future__ import annotations

import dis
import enum
import gc
import logging
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from jitcore_ir import DType, OpSpec

from ..source import is_own_file, restore_profile
from .checks import Checks
from .numbers import RecordedNumber

_SCALARS = (int, float, complex, str, bytes, bool, type(None), range, slice, enum.Enum, np.generic, DType, OpSpec)
_PLAIN = (int, float, bool, str, type(None))
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LAYERS = tuple(os.path.join(_PACKAGE, part) + os.sep for part in ("nn", "optim"))
_STANDARD = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
_NUMPY = os.path.dirname(np.__file__) + os.sep
_MOST = 20_000
"""Conditions after which a function's state counts as too large to watch."""
_OURS = "<jitcore>"
"""Among the names of our own code."""
_SMALL_ARRAY = 4096
"""Elements up to which a NumPy array is watched by content."""


class Watcher:
    """Use as a context manager around the recorded run; then read `checks`, `seen` and `problem`."""

    def __init__(self, function: Callable, arguments: Iterable[Any]) -> None:
        self.checks = Checks()
        self.problem: str | None = None
        self.seen: dict[int, list[Any]] = {}  # storage id -> tensors on it that a check or an argument accounts for
        self.optimizers: dict[int, Any] = {}
        self._visited: set[tuple[int, int]] = set()
        self._alive: list[Any] = []  # keeps visited ids from being reused
        self._function = function
        self._arguments = list(arguments)
        self._previous: Any = None
        self._busy = False
        self._collects = False

    def __enter__(self) -> Watcher:
        names = _names(getattr(self._function, "__code__", None))
        self._visit("", self._function, "the function", names)
        for argument in self._arguments:
            self._visit("", argument, "an argument", names)
        # The collector would run finalizers and callbacks of other code in the middle, which the hook would take for
        # the function's own.
        self._collects = gc.isenabled()
        gc.disable()
        self._previous = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exc: object) -> None:
        restore_profile(self._previous)
        if self._collects:
            gc.enable()

    def see(self, tensor: Any) -> None:
        """Count a tensor (and its gradient) as accounted for."""
        self.seen.setdefault(id(tensor._storage), []).append(tensor)
        self._alive.append(tensor._storage)
        if tensor._grad is not None:
            self.see(tensor._grad)

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            if event == "call":
                self._function_starts(frame)
            elif event == "c_call" and self.problem is None and not is_own_file(frame.f_code.co_filename):
                self._builtin_starts(frame, argument)
        finally:
            self._busy = False

    def _function_starts(self, frame: FrameType) -> None:
        code = frame.f_code
        if code.co_name == "_log" and code.co_filename == logging.__file__:
            self._refuse_log(frame)
        if not _is_watched(frame):
            return
        names = _names(code)
        if (id(frame.f_globals), id(code)) not in self._visited:
            self._visited.add((id(frame.f_globals), id(code)))
            table = frame.f_globals
            bound = self.checks.bind(table)
            for name in _globals(code):
                if name in table:
                    self._visit(f"{bound}.get({name!r}, missing)", table[name], f"global {name!r}", names)
        for name, value in list(frame.f_locals.items()):
            self._visit("", value, name, names)

    def _refuse_log(self, frame: FrameType) -> None:
        """A message that `logging` lets through is an effect, which a replay would not have."""
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename == logging.__file__:
            caller = caller.f_back
        where = "" if caller is None else f" at {caller.f_code.co_filename}:{caller.f_lineno}"
        self.problem = self.problem or f"a message is logged{where}, which replays would not do; log what it returns"

    def _builtin_starts(self, frame: FrameType, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        origin = (
            type(owner).__module__
            if owner is not None and not isinstance(owner, types.ModuleType)
            else function.__module__
        )
        origin, name = str(origin), getattr(function, "__name__", "?")
        direct = not _is_library(frame.f_code.co_filename)
        unrepeatable = (
            origin.split(".")[0] in ("random", "_random", "secrets")
            or origin.startswith("numpy.random")
            or (
                direct
                and (
                    origin == "time" or (origin, name) in (("builtins", "input"), ("posix", "urandom"), ("io", "open"))
                )
            )
        )
        if unrepeatable:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.problem = f"{origin}.{name}() at {where}, which gives another result each time"
        elif direct and name in ("write", "writelines") and origin in ("_io", "io"):
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.problem = f"{name}() to a file at {where}, which replays would not do"

    # Walking values. `fetch` is the expression that gets the value again, or "" where nothing holds it by name.

    def _visit(self, fetch: str, value: Any, what: str, names: frozenset[str]) -> None:
        if len(self.checks.conditions) > _MOST:
            self.problem = self.problem or f"{what}: more than {_MOST} pieces of Python state to watch"
            return
        if type(value) is RecordedNumber:
            return  # made by the run itself; what it decides is a guard
        if isinstance(value, _SCALARS):
            if fetch:
                self.checks.same_value(fetch, value, f"{what} was {value!r}")
            return
        if fetch:
            self.checks.same_object(fetch, value, f"{what} was another {type(value).__name__}")
        key = (id(value), hash(names) if hasattr(value, "__dict__") else 0)
        if key in self._visited:
            return
        self._visited.add(key)
        self._alive.append(value)
        self._visit_parts(value, what, names)

    def _visit_parts(self, value: Any, what: str, names: frozenset[str]) -> None:
        from ..nn.module import Module
        from ..optim.lr_scheduler import LRScheduler
        from ..optim.optimizer import Optimizer
        from ..random import Generator
        from ..tensor import Tensor

        if isinstance(value, Tensor):
            self.see(value)
        elif isinstance(value, types.FunctionType):
            self._visit_function(value, what, names)
        elif isinstance(value, types.MethodType):
            self._visit("", value.__func__, what, names)
            self._visit("", value.__self__, what, names)
        elif isinstance(value, list | tuple):
            self._visit_sequence(value, what, names)
        elif isinstance(value, dict):
            self._visit_dict(value, what, names)
        elif isinstance(value, np.ndarray):
            self._visit_array(value, what)
        elif isinstance(value, Module):
            self._visit_module(value, what, names)
        elif isinstance(value, Optimizer):
            self.optimizers[id(value)] = value
            self._visit_groups(value, what)
            for group in value.param_groups:
                self._visited.add((id(group), 0))  # where it is met again, as a dict, nothing is to be added
                self._visit_hyperparameters(group, type(value).__name__, value.run_time_scalars, names)
            self._visit_names(value.__dict__, what, names - {"param_groups", "state", "defaults"})
            self._visit_class(type(value), what, names)
        elif isinstance(value, Generator):
            self._visit("", value._state, what, names)
        elif isinstance(value, LRScheduler):
            self._visit_attributes(value, what, names)
        elif isinstance(value, type):
            self._visit_class(value, what, names)
        elif isinstance(value, types.ModuleType):
            if not _is_library(getattr(value, "__file__", None)):
                self._visit_names(value.__dict__, what, names)
        elif type(value).__module__.startswith(("jitcore.", "jitcore_")):
            pass  # our own machinery: what matters of it is in the key
        elif hasattr(value, "__dict__") or hasattr(type(value), "__slots__"):
            self._visit_attributes(value, what, names)

    def _visit_groups(self, optimizer: Any, what: str) -> None:
        """The tables of state and the list of groups, which `load_state_dict` and `add_param_group` change."""
        bound = self.checks.bind(optimizer.__dict__)
        for name in ("state", "param_groups"):
            self.checks.same_object(f"{bound}.get({name!r}, missing)", getattr(optimizer, name), f"{what}.{name}")
        groups = self.checks.bind(optimizer.param_groups)
        self.checks.same_length(groups, len(optimizer.param_groups), f"the number of groups of {what}")
        for number, group in enumerate(optimizer.param_groups):
            self.checks.same_object(f"{groups}[{number}]", group, f"group {number} of {what} was another")

    def _visit_hyperparameters(self, group: dict, what: str, run_time: tuple[str, ...], names: frozenset[str]) -> None:
        """Everything in an optimizer's group but the numbers that replays read anew; of those, whether they are 0."""
        bound = self.checks.bind(group)
        for key, value in group.items():
            fetch = f"{bound}.get({key!r}, missing)"
            numbers = value if isinstance(value, tuple) else (value,)
            by_user = key in names and _OURS not in names
            if by_user or key not in run_time or not all(isinstance(number, int | float) for number in numbers):
                self._visit(fetch, value, f"{what} {key}", names)
            elif key != "lr":
                self.checks.same_truth(fetch, value, f"{what} {key} was {value!r}")

    def _visit_function(self, function: types.FunctionType, what: str, names: frozenset[str]) -> None:
        if is_own_file(function.__code__.co_filename) and not function.__code__.co_filename.startswith(_LAYERS):
            wrapped = getattr(function, "__wrapped__", None)
            if wrapped is None:
                return
        inner = _names(function.__code__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            self._visit(f"{self.checks.bind(cell)}.cell_contents", content, f"closure variable {name!r}", inner)
        bound = self.checks.bind(function)
        if function.__defaults__:
            self._visit(f"{bound}.__defaults__", function.__defaults__, f"defaults of {function.__name__}", inner)
        if function.__kwdefaults__:
            self._visit(f"{bound}.__kwdefaults__", function.__kwdefaults__, f"defaults of {function.__name__}", inner)

    def _visit_sequence(self, value: list | tuple, what: str, names: frozenset[str]) -> None:
        bound = self.checks.bind(value)
        if isinstance(value, list):
            self.checks.same_length(bound, len(value), f"{what} had {len(value)} items")
            if len(value) > 8 and all(type(item) in _PLAIN for item in value):
                copy = list(value)
                self.checks.same_value(bound, copy, f"an item of {what} was another")
                self.checks.custom(lambda: value == copy, f"an item of {what} was another")
                return
        for position, item in enumerate(value):
            fetch = f"{bound}[{position}]" if isinstance(value, list) else ""
            self._visit(fetch, item, f"{what}[{position}]", names)

    def _visit_dict(self, value: dict, what: str, names: frozenset[str]) -> None:
        bound = self.checks.bind(value)
        self.checks.same_length(bound, len(value), f"{what} had {len(value)} entries")
        for key, item in list(value.items()):
            label = repr(key) if isinstance(key, str | int | float | bool) else type(key).__name__
            self._visit(f"{bound}.get({self.checks.bind(key)}, missing)", item, f"{what}[{label}]", names)

    def _visit_array(self, value: np.ndarray, what: str) -> None:
        if value.size > _SMALL_ARRAY:
            self.problem = (
                self.problem
                or f"{what} is a NumPy array of {value.size} elements, too large to watch; make it a tensor"
            )
            return
        copy = value.copy()
        self.checks.custom(
            lambda: np.array_equal(value, copy, equal_nan=value.dtype.kind in "fc"), f"an element of {what} was another"
        )

    def _visit_module(self, module: Any, what: str, names: frozenset[str]) -> None:
        attributes = module.__dict__
        if "training" not in attributes:
            return  # its constructor has not got that far: it is made by the run itself
        label = what if what != "self" else type(module).__name__
        bound = self.checks.bind(attributes)
        self._visit(f"{bound}.get('training', missing)", module.training, f"{label}.training", names)
        for table in ("_parameters", "_buffers", "_modules"):
            self._visit("", attributes[table], f"{label}", names)
        for name in attributes:
            if name.endswith("_hooks") and isinstance(attributes[name], dict):
                self._visit("", attributes[name], f"{label}.{name}", names)
        self._visit_names(attributes, label, names - {"training", "_parameters", "_buffers", "_modules"})
        self._visit_class(type(module), label, names)

    def _visit_attributes(self, value: Any, what: str, names: frozenset[str]) -> None:
        if hasattr(value, "__dict__"):
            self._visit_names(value.__dict__, what, names)
        bound = None
        for cls in type(value).__mro__:
            for name in getattr(cls, "__slots__", ()):
                if name in names and hasattr(value, name):
                    bound = bound or self.checks.bind(value)
                    self._visit(f"getattr({bound}, {name!r}, missing)", getattr(value, name), f"{what}.{name}", names)
        self._visit_class(type(value), what, names)

    def _visit_names(self, table: dict[str, Any], what: str, names: frozenset[str]) -> None:
        bound = None
        for name, item in list(table.items()):
            if name in names:
                bound = bound or self.checks.bind(table)
                self._visit(f"{bound}.get({name!r}, missing)", item, f"{what}.{name}", names)

    def _visit_class(self, cls: type, what: str, names: frozenset[str]) -> None:
        """Class attributes that the code names, and what the methods of a user's class close over."""
        for base in cls.__mro__:
            origin = sys.modules.get(base.__module__)
            if base is object or (base.__module__ != "__main__" and _is_library(getattr(origin, "__file__", None))):
                continue
            if (id(base), hash(names)) in self._visited:
                continue
            self._visited.add((id(base), hash(names)))
            for name, item in list(vars(base).items()):
                if isinstance(item, types.FunctionType):
                    self._visit_function(item, f"{base.__name__}.{name}", names)
                elif name in names and isinstance(item, _SCALARS):
                    bound = self.checks.bind(base)
                    self._visit(f"{bound}.__dict__.get({name!r}, missing)", item, f"{base.__name__}.{name}", names)


def _names(code: CodeType | None) -> frozenset[str]:
    """Names that `code` and the code nested in it can look up: globals, attributes, and strings (for getattr)."""
    if code is None:
        return frozenset()
    found = {*code.co_names, *([_OURS] if is_own_file(code.co_filename) else [])}
    for constant in code.co_consts:
        if isinstance(constant, str) and constant.isidentifier():
            found.add(constant)
        elif isinstance(constant, CodeType):
            found |= _names(constant)
    return frozenset(found)


def _globals(code: CodeType) -> list[str]:
    """Names that `code` looks up as globals (`co_names` has its attributes' names too)."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    return list(dict.fromkeys(step.argval for step in dis.get_instructions(code) if step.opname in loads))


def _is_watched(frame: FrameType) -> bool:
    """The user's functions, and our layers and optimizers; not the rest of jitcore nor installed libraries."""
    file = frame.f_code.co_filename
    if file.startswith(_LAYERS):
        return True
    if file.startswith("<") and str(frame.f_globals.get("__name__")).startswith("jitcore"):
        return False  # code that a dataclass of ours was given
    return not _is_library(file)


def _is_library(file: str | None) -> bool:
    """Python's own library, NumPy, jitcore, and what has no file: their state is not the user's."""
    if file is None or file.startswith("<frozen ") or is_own_file(file) or file.startswith(_NUMPY):
        return True
    return file.startswith(_STANDARD) and "-packages" + os.sep not in file
