"""Built-in functions that read state without naming it, as the user's code sees them while it is recorded.

A walk finds the attributes that code names. `getattr(self, f"layer{n}")` names none, `vars(config)` all of them; and
`type(x)` would see through a recorded number. While a run is recorded, the modules whose functions use these built-ins
have a global of that name, which reports what is asked for and then does what the built-in does.
"""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from ..symbolic import SymInt
from ..tensor import Tensor
from .effects import recorded_warn
from .numbers import RecordedNumber

if TYPE_CHECKING:
    from .watch import Watcher


class _Active(threading.local):
    watcher: Watcher | None = None


_active = _Active()


@contextmanager
def listening(watcher: Watcher) -> Iterator[None]:
    """Inside, `watcher` is told of what this thread asks for; `replace_in` has put the functions in place."""
    before, _active.watcher = _active.watcher, watcher
    try:
        yield
    finally:
        _active.watcher = before
        _put_back(watcher)


def _getattr(thing: Any, name: str, *default: Any) -> Any:
    _report("attribute", thing, name)
    return getattr(thing, name, *default)


def _hasattr(thing: Any, name: str, /) -> bool:
    _report("attribute", thing, name)
    return hasattr(thing, name)


def _setattr(thing: Any, name: str, value: Any, /) -> None:
    _report("attribute", thing, name)
    setattr(thing, name, value)


def _delattr(thing: Any, name: str, /) -> None:
    _report("attribute", thing, name)
    delattr(thing, name)


def _vars(*things: Any) -> Any:
    if not things:
        return sys._getframe(1).f_locals
    _report("every_attribute", *things)
    return vars(*things)


def _dir(*things: Any) -> list[str]:
    if not things:
        return sorted(sys._getframe(1).f_locals)
    _report("every_attribute", *things)
    return dir(*things)


def _globals() -> dict[str, Any]:
    frame = sys._getframe(1)
    if _active.watcher is not None:
        _active.watcher.refuse(f"globals() at {frame.f_code.co_filename}:{frame.f_lineno}, which may hold anything")
    return frame.f_globals


def _id(thing: Any, /) -> int:
    _refuse_place("id()", thing)
    return id(thing)


def _hash(thing: Any, /) -> int:
    if type(thing).__hash__ in (object.__hash__, Tensor.__hash__):
        _refuse_place("hash()", thing)
    return hash(thing)


def _refuse_place(call: str, thing: Any) -> None:
    watcher = _active.watcher
    if watcher is not None and watcher.is_another(thing):
        frame = sys._getframe(2)
        watcher.refuse(
            f"{call} of an argument at {frame.f_code.co_filename}:{frame.f_lineno}, another one in each call"
        )


class _TypeOfType(type):
    """Makes a class that stands for `type` itself."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if cls is not _Type:  # a class of the user's, derived from `type`
            return super().__call__(*arguments, **keywords)
        if len(arguments) == 1 and not keywords:
            found = type(arguments[0])
            return arguments[0].__class__ if found in (RecordedNumber, SymInt) else _Type if found is type else found
        return type(*arguments, **keywords)

    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, type) if cls is _Type else super().__instancecheck__(thing)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, type) if cls is _Type else super().__subclasscheck__(other)

    def __getitem__(cls, item: Any) -> Any:
        return type[item]

    def __eq__(cls, other: object) -> bool:
        return other is type or other is cls if cls is _Type else cls is other

    def __hash__(cls) -> int:
        return hash(type) if cls is _Type else super().__hash__()


class _Type(type, metaclass=_TypeOfType):
    pass


_REPLACED = {
    "getattr": _getattr, "hasattr": _hasattr, "setattr": _setattr, "delattr": _delattr, "vars": _vars, "dir": _dir,
    "globals": _globals, "id": _id, "hash": _hash, "type": _Type,
}  # fmt: skip
NAMES = frozenset(_REPLACED)
STAND_INS = frozenset(map(id, [*_REPLACED.values(), recorded_warn]))
"""Ids of the functions that are in others' places while a run is recorded, which are not the user's state."""
_PUT: dict[int, tuple[dict[str, Any], dict[str, set[int]]]] = {}
"""By the id of a table of globals: the table, and for each name in it which watchers need it."""
_lock = threading.Lock()


def replace_in(frame: FrameType, watcher: Watcher) -> None:
    """Let the code of a frame that starts, and the rest of its module, use the functions above."""
    wanted = _wanted(frame.f_code)
    table = frame.f_globals
    if not wanted or all(id(watcher) in _PUT.get(id(table), (None, {}))[1].get(name, ()) for name in wanted):
        return
    with _lock:
        _, needed = _PUT.setdefault(id(table), (table, {}))
        for name in wanted:
            if name in needed or (name not in table and table.get("__builtins__", builtins) in _USUAL):
                table[name] = _REPLACED[name]
                needed.setdefault(name, set()).add(id(watcher))


def _put_back(watcher: Watcher) -> None:
    with _lock:
        for number, (table, needed) in list(_PUT.items()):
            for name, watchers in list(needed.items()):
                watchers.discard(id(watcher))
                if not watchers:
                    del needed[name]
                    if table.get(name) is _REPLACED[name]:
                        del table[name]
            if not needed:
                del _PUT[number]


_USUAL = (builtins, builtins.__dict__)


def _wanted(code: CodeType) -> frozenset[str]:
    found = NAMES.intersection(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _wanted(constant)
    return found


def _report(what: str, *arguments: Any) -> None:
    watcher = _active.watcher
    if watcher is not None:
        watcher.is_asked(sys._getframe(2), what, *arguments)
