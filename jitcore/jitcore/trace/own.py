"""Which objects a run made for itself: after it, nothing but one another and the recording refers to them.

What a later call cannot reach cannot decide what it does, so nothing about such an object needs to hold: neither that a
dict of keywords still has the keys that were popped from it, nor that a list which was filled is still empty.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import Any

from ..nn.module import Module
from ..tensor import Tensor

_MOST = 200_000
"""Objects looked at before all of them count as anybody's."""
_OWNED = (list, dict, set, deque, types.FunctionType, types.CellType, types.SimpleNamespace)
"""Types whose objects may be the run's own, besides classes written in Python. Those of others, such as the views of a
dict, may lead to what is not theirs."""
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: made by a `class` statement."""
_CLOSED = (
    Tensor, type, types.ModuleType, types.CodeType, types.FrameType, types.TracebackType, types.GeneratorType,
    types.CoroutineType, types.BuiltinFunctionType,
)  # fmt: skip
"""Types of objects that are not looked into: what they refer to counts as referred to from elsewhere. So are our own
objects but for layers: graphs and tapes are large, and lead nowhere."""


def own_objects(watched: Iterable[Any], holders: list[Any], namespaces: set[int]) -> set[int]:
    """The ids of those objects, reached from `watched`, that only each other and `holders` refer to.

    As in the garbage collector, the references that come from within are subtracted from each object's count; what has
    any left, and all that it leads to, is reachable otherwise. namespaces: ids of modules' dicts.
    """
    holding = {id(holder): holder for holder in holders}
    objects = _reached(watched, holding.keys() | namespaces)
    if len(objects) > _MOST:
        return set()
    position = {id(item): number for number, item in enumerate(objects)}
    objects.append(object())  # its count is what there is here of an object that nothing else refers to
    counts = [sys.getrefcount(item) for item in objects]
    alone = counts.pop()
    objects.pop()
    for targets in chain(map(_referents, objects), map(gc.get_referents, holding.values())):
        for target in targets:
            number = position.get(id(target))
            if number is not None:
                counts[number] -= 1
    rest = [number for number, count in enumerate(counts) if count > alone]
    reachable = set(rest)
    while rest:
        for target in _referents(objects[rest.pop()]):
            number = position.get(id(target))
            if number is not None and number not in reachable:
                reachable.add(number)
                rest.append(number)
    return {id(item) for number, item in enumerate(objects) if number not in reachable and _may_be_owned(item)}


def _may_be_owned(item: Any) -> bool:
    return isinstance(item, _OWNED) or bool(type(item).__flags__ & _HEAP_TYPE)


def _reached(watched: Iterable[Any], known: set[int]) -> list[Any]:
    """`watched` and what it leads to, each once, without what is known."""
    found: list[Any] = []
    rest = list(watched)
    while rest and len(found) <= _MOST:
        item = rest.pop()
        if id(item) in known or not (gc.is_tracked(item) or isinstance(item, dict | tuple)):
            continue
        known.add(id(item))
        found.append(item)
        rest += _referents(item)
    return found


def _referents(item: Any) -> list[Any]:
    """What `item` refers to; of a function not the globals, which are everybody's."""
    if isinstance(item, types.FunctionType):
        shared = (item.__globals__, item.__builtins__)  # type: ignore[attr-defined]
        return [part for part in gc.get_referents(item) if not any(part is other for other in shared)]
    if isinstance(item, _CLOSED):
        return []
    is_ours = type(item).__module__.startswith(("jitcore.", "jitcore_"))
    return [] if is_ours and not isinstance(item, Module) else gc.get_referents(item)
