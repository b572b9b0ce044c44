"""Calls of built-in functions that a replay cannot stand for: random numbers, the clock, input, files, and whatever
else asks or changes what is outside the program."""

from __future__ import annotations

import types
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..source import is_own_file
from .libraries import is_library

_NOW = ("now", "utcnow", "today")
_FILES = frozenset(
    [("io", "open"), ("_io", "open"), ("builtins", "open"), *(("posix", name) for name in (
        "open", "stat", "lstat", "listdir", "scandir", "access", "getcwd", "readlink"))]
)  # fmt: skip
_OUTSIDE = frozenset(
    ["posix", "nt", "_posixsubprocess", "_signal", "_socket", "_sqlite3", "_winapi", "atexit", "fcntl", "resource",
     "select", "syslog", "termios"]
)  # fmt: skip
"""Modules whose functions ask or change what is outside the program."""
_PURE = frozenset(
    ["fspath", "_path_normpath", "_path_splitroot", "_path_splitroot_ex", "cpu_count", "sched_getaffinity", "getpid",
     "strerror", "uname", "register_at_fork"]
)  # fmt: skip
"""Of these, such that do neither."""
_SOURCE_READERS = (
    "importlib",
    "_frozen_importlib",
    "linecache",
    "tokenize",
    "warnings",
    "traceback",
    "inspect",
    "zipimport",
)
_OUTPUT = ("write", "writelines")
QUEUE = ("get", "put")


@dataclass(frozen=True, slots=True)
class CallOfBuiltIn:
    """A function written in C starts in `frame`. `origin` is the module of it or of its object's class; `is_direct`:
    code of the user's calls it."""

    frame: FrameType
    owner: Any
    origin: str
    name: str
    is_direct: bool

    @classmethod
    def of(cls, frame: FrameType, function: Any) -> CallOfBuiltIn:
        """What `function`, which a profile hook was told of, is."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, type):
            origin = owner.__module__
        elif owner is not None and not isinstance(owner, types.ModuleType):
            origin = type(owner).__module__
        else:
            origin = function.__module__
        return cls(frame, owner, str(origin), getattr(function, "__name__", "?"), not is_library(_file(frame)))

    @property
    def where(self) -> str:
        """File and line."""
        return f"{_file(self.frame)}:{self.frame.f_lineno}"

    def problem(self) -> str | None:
        """Why a replay cannot stand for it, in words."""
        origin, name = self.origin, self.name
        if (origin, name) in _FILES and (user := _user_of_library(self.frame)) is not None:
            where = f"{_file(user)}:{user.f_lineno}"
            return f"files are read or looked at ({name}() at {where}), which may be others each time"
        if self._gives_another_result() and not (origin == "_queue" and is_for_us(self.frame)):
            return f"{origin}.{name}() at {self.where}, which gives another result each time"
        if (origin in _OUTSIDE or (origin == "_warnings" and self.is_direct)) and name not in _PURE:
            if (user := _user_of_library(self.frame)) is not None:
                where = f"{_file(user)}:{user.f_lineno}"
                return f"{origin}.{name}() at {where}, which asks or changes what is outside the program"
        elif origin in ("_io", "io") and name in _OUTPUT and self.is_direct:
            return f"{name}() to a file at {self.where}, which replays would not do"
        return None

    def _gives_another_result(self) -> bool:
        origin, name = self.origin, self.name
        if origin.split(".")[0] in ("random", "_random", "secrets") or (origin, name) == ("posix", "urandom"):
            return True
        if origin == "datetime" and name in _NOW:
            return True
        if origin == "_queue" and name.removesuffix("_nowait") in QUEUE:
            return True
        return self.is_direct and (origin == "time" or (origin, name) in (("builtins", "input"), ("posix", "getpid")))


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def _user_of_library(frame: FrameType | None) -> FrameType | None:
    """The user's frame that called library code which got to `frame`; None where that is about source code (imports,
    warnings, tracebacks)."""
    while frame is not None and is_library(frame.f_code.co_filename):
        if str(frame.f_globals.get("__name__")).startswith(_SOURCE_READERS):
            return None
        frame = frame.f_back
    return frame


def is_for_us(frame: FrameType | None) -> bool:
    """Whether it is jitcore that called library code, as kernels do that share a product among threads."""
    while frame is not None and is_library(frame.f_code.co_filename):
        if is_own_file(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False
