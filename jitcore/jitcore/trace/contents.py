"""What Python objects hold that no attribute names: how a walk watches containers of C code, buffers and caches.

Each function below writes conditions for one type of object; `WATCHED` says which one is for which type.
"""

from __future__ import annotations

import array
import collections
import contextvars
import ctypes
import functools
import gc
import io
import math
import operator
import queue
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .names import MAYBE, STORED, marked

if TYPE_CHECKING:
    from .walk import Walker

SMALL = 4096
"""Elements up to which an array or buffer is watched by content."""


def alike(x: Any, y: Any) -> bool:
    """Whether two immutable values, perhaps nested, compute alike: 1, 1.0 and True do not, nor zeros of two signs."""
    if type(x) is not type(y):
        return False
    if isinstance(x, tuple):
        return len(x) == len(y) and all(map(alike, x, y))
    if isinstance(x, frozenset):
        return _typed(x) == _typed(y)
    if isinstance(x, float | complex):
        return (x == y or x != x) and repr(x) == repr(y)
    return x is y or x == y


def plain_list(walker: Walker, value: Sequence[Any], what: str) -> None:
    """A long list or deque of numbers and strings."""
    copy, types = list(value), list(map(type, value))
    zeros = [(n, math.copysign(1, item)) for n, item in enumerate(copy) if type(item) is float and item == 0]

    def same() -> bool:
        return (
            list(value) == copy
            and list(map(type, value)) == types
            and all(math.copysign(1, value[n]) == sign for n, sign in zeros)
        )

    walker.checks.custom(value, same, f"an item of {what} was another")


def items_of_set(walker: Walker, value: set | frozenset, what: str) -> None:
    """Which items a set holds, with their types."""
    copy, typed = set(value), _typed(value)
    walker.checks.custom(value, lambda: value == copy and _typed(value) == typed, f"{what} held other items")


def _typed(items: Any) -> set:
    return {(type(item), repr(item) if isinstance(item, float | complex) else item) for item in items}


def numpy_array(walker: Walker, value: np.ndarray, what: str, names: frozenset[str], is_held: bool) -> None:
    """The elements of a NumPy array, to the bit."""
    if value.dtype.hasobject:
        bound = walker.checks.bind(value)
        for position, item in enumerate(value.flat):
            walker.visit(f"{bound}.flat[{position}]", item, f"{what}[{position}]", names)
        return
    if not walker.is_new(value, "content"):
        return
    if value.size > SMALL:
        walker.refuse(f"{what} is a NumPy array of {value.size} elements, too large to watch; make it a tensor")
        return
    _bytes(walker, value, value.tobytes, what, (value.shape, value.dtype), lambda: (value.shape, value.dtype))


def buffer(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """A bytearray, memoryview or array of the standard library."""
    if not walker.is_new(value, "content"):
        return
    if len(value) > SMALL:
        walker.refuse(f"{what} is a {type(value).__name__} of {len(value)} elements, too large to watch")
        return
    _bytes(walker, value, lambda: bytes(memoryview(value)), what, None, lambda: None)


def _bytes(walker: Walker, value: Any, read: Callable[[], bytes], what: str, kind: Any, kind_now: Callable) -> None:
    copy = read()
    walker.checks.custom(value, lambda: read() == copy and kind_now() == kind, f"an element of {what} was another")


def view_of_dict(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """A mapping proxy, or what `keys()`, `values()` and `items()` give: the dict behind it."""
    for behind in gc.get_referents(value):
        walker.visit(walker.checks.bind(behind) if is_held else "", behind, what, names)


def wrapper(*attributes: str) -> Callable:
    """A class of Python's own library whose methods read `attributes`."""

    def watch(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
        walker.attributes(value, what, names | set(attributes))

    return watch


def context_variable(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """The value that a context variable has in the context of the call."""
    missing = walker.checks.names["missing"]
    fetch, item = f"{walker.checks.bind(value)}.get(missing)", value.get(missing)
    if item is missing:
        walker.checks.absent(fetch, f"{what} was not set")
    else:
        walker.visit(fetch, item, f"{what}.get()", names)


def thread_local(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """The attributes that the thread of the call sees."""
    for name in sorted((names & value.__dict__.keys()) | marked(names, MAYBE) | marked(names, STORED)):
        walker.slot(value, name, what, names)
    walker.checks.same_class(value, f"{what} was a {type(value).__name__}")
    walker.class_attributes(type(value), what, names)


def cached_function(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """A function of `functools.lru_cache`: the results that it has, and that the run adds none (`filled_caches`)."""
    walker.visit("", value.__wrapped__, what, names)
    if "cache_info" in names:
        counts = value.cache_info()
        walker.checks.custom(value, lambda: value.cache_info() == counts, f"{what} had {counts}")
    walker.caches[id(value)] = (value, value.cache_info().misses, what)
    inside = [x for x in gc.get_referents(value) if x is not value.__dict__ and not isinstance(x, type)]
    cache = next((x for x in inside if type(x) is dict), {})
    bound = walker.checks.bind(cache)
    for key, entry in list(cache.items()):
        fetch = f"{bound}.get({walker.checks.bind(key)}, missing)"
        walker.checks.same_object(fetch, entry, f"what {what} gave was forgotten")
    known = {id(cache), id(value.__wrapped__), *map(id, cache)}
    for result in (*inside, *cache.values()):
        if id(result) not in known:
            walker.visit(walker.checks.bind(result), result, f"what {what} gave", names)


def built_in_method(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """A method of a list or dict, say, that is kept somewhere: what it belongs to."""
    owner = value.__self__
    if owner is not None and not isinstance(owner, types.ModuleType | type):
        walker.visit(walker.checks.bind(owner) if is_held else "", owner, what, names)


def attribute_getter(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """It reads attributes that no code names."""
    if is_held:
        walker.refuse(f"{what} is an operator.{type(value).__name__}, which cannot be watched; write a lambda")


def weak_reference(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """Conditions on what it leads to would keep that alive."""
    walker.refuse(f"{what} is a {type(value).__name__}, whose object may be gone in another call; refer to it directly")


def exception(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """Its arguments and attributes."""
    walker.visit(f"{walker.checks.bind(value)}.args", value.args, f"{what}.args", names)
    walker.attributes(value, what, names)


def c_data(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """A value, array or structure of ctypes: its bytes. Of a pointer also the first thing that it points to."""
    if ctypes.sizeof(value) > SMALL or isinstance(value, ctypes.py_object):
        walker.refuse(f"{what} is a {type(value).__name__} of ctypes, which cannot be watched")
    elif walker.is_new(value, "content"):
        before = _memory(value)
        walker.checks.custom(value, lambda: _memory(value) == before, f"{what} held something else")
    walker.attributes(value, what, names)


def _memory(value: Any) -> tuple[Any, ...]:
    if isinstance(value, ctypes._Pointer):
        return bytes(value), bytes(value.contents) if value else None
    return bytes(value), value.value if isinstance(value, ctypes.c_char_p | ctypes.c_wchar_p) else None


def text_buffer(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """A stream in memory: what it holds, and where it stands."""
    if not walker.is_new(value, "content"):
        return

    def now() -> Any:
        return None if value.closed else (value.getvalue(), value.tell())

    before = now()
    if before is not None and len(before[0]) > SMALL:
        walker.refuse(f"{what} is a {type(value).__name__} of {len(before[0])} elements, too large to watch")
    walker.checks.custom(value, lambda: now() == before, f"{what} held another text, or was read")


def lock(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """Whether somebody has it, where code asks."""
    if "locked" in names:
        is_locked = value.locked()
        walker.checks.custom(value, lambda: value.locked() is is_locked, f"{what} was locked: {is_locked}")


def simple_queue(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """How many items wait in it."""
    size = value.qsize()
    walker.checks.custom(value, lambda: value.qsize() == size, f"{what} had {size} items")


WATCHED: dict[type, Callable] = {
    np.ndarray: numpy_array,
    bytearray: buffer,
    memoryview: buffer,
    array.array: buffer,
    types.MappingProxyType: view_of_dict,
    type({}.keys()): view_of_dict,
    type({}.values()): view_of_dict,
    type({}.items()): view_of_dict,
    collections.UserDict: wrapper("data"),
    collections.UserList: wrapper("data"),
    collections.UserString: wrapper("data"),
    collections.ChainMap: wrapper("maps"),
    contextvars.ContextVar: context_variable,
    threading.local: thread_local,
    type(functools.lru_cache(len)): cached_function,
    types.BuiltinMethodType: built_in_method,
    types.MethodWrapperType: built_in_method,
    operator.attrgetter: attribute_getter,
    operator.methodcaller: attribute_getter,
    weakref.ref: weak_reference,
    weakref.WeakSet: weak_reference,
    weakref.WeakKeyDictionary: weak_reference,
    weakref.WeakValueDictionary: weak_reference,
    BaseException: exception,
    ctypes.c_int.__mro__[-2]: c_data,
    io.StringIO: text_buffer,
    io.BytesIO: text_buffer,
    type(threading.Lock()): lock,
    queue.SimpleQueue: simple_queue,
}

_UNCHANGING = frozenset(
    ["builtins", "collections", "datetime", "decimal", "fractions", "functools", "operator", "re", "types", "_abc",
     "_struct", "_thread", "zoneinfo"]
)  # fmt: skip
"""Modules of classes written in C whose objects never change, or which a walk looks into."""


def is_unknown(value: Any, method: str) -> bool:
    """Whether a method is one of a class written in C of which nothing is known: it may read or change any state."""
    cls = next((cls for cls in type(value).__mro__ if method in vars(cls)), object)
    if cls in WATCHED or cls.__module__.partition(".")[0] in (*_UNCHANGING, "numpy", "jitcore", "ml_dtypes"):
        return False
    return not isinstance(vars(cls).get(method), types.FunctionType)


def watcher_of(value: Any) -> Callable | None:
    """What watches an object of this type, or of a class derived from it."""
    return next((WATCHED[kind] for kind in type(value).__mro__ if kind in WATCHED), None)


def filled_caches(walker: Walker) -> str | None:
    """Words for a cache that the run has added to."""
    for function, misses, what in walker.caches.values():
        if function.cache_info().misses != misses:
            return f"{what} keeps a result (functools.lru_cache)"
    return None
