"""Arguments and results as trees: nested tuples, lists, dicts and dataclasses with leaves.

`flatten` gives the leaves in order and a hashable structure; `unflatten` puts new leaves in the same structure.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..symbolic import SymInt
from ..tensor import Size, Tensor

LEAF = "leaf"
SAME = "same"
"""In a structure, with its number: a list, dict or object that was there before."""
_USUAL = frozenset([Tensor, int, float, bool, str, type(None)])
"""Types that are leaves at first sight, for speed."""
_TEXT = frozenset([str])
_PLAIN = frozenset([int, bool, str, bytes, complex, type(None), frozenset])


def flatten(
    tree: Any,
    varies: Callable[[Any], bool] | None = None,
    whole: Callable[[Any], bool] | None = None,
    once: bool = False,
) -> tuple[list[Any], Any]:
    """The leaves of `tree`, left to right, and its structure (hashable, comparable).

    varies: whether a leaf is another in each call. Where given, a dataclass without such leaves is a leaf itself, since
    `unflatten` would make another object of it. whole: whether a list, dict or dataclass is a leaf, itself and not what
    it holds. once: of a list, dict or dataclass that is in several places, or in itself, the structure says so: what it
    holds is there once, and `unflatten` makes one.
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, varies, whole, {} if once else None)


def _flatten(
    tree: Any, leaves: list[Any], varies: Callable | None, whole: Callable | None, met: dict[int, int] | None
) -> Any:
    kind = type(tree)
    if kind in _USUAL or (whole is not None and whole(tree)):
        leaves.append(tree)
        return LEAF
    if kind is tuple or kind is Size or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        return (kind, tuple(_flatten(item, leaves, varies, whole, met) for item in tree))
    if met is None:
        return _structure(tree, kind, leaves, varies, whole, met)
    number = met.setdefault(id(tree), count := len(met))
    if number < count:
        return (SAME, number)
    structure = _structure(tree, kind, leaves, varies, whole, met)
    if structure is LEAF:
        for within in list(met)[count:]:  # which nobody will make
            del met[within]
    return structure


def _structure(
    tree: Any,
    kind: type,
    leaves: list[Any],
    varies: Callable | None,
    whole: Callable | None,
    met: dict[int, int] | None,
) -> Any:
    if kind is list:
        return (kind, tuple(_flatten(item, leaves, varies, whole, met) for item in tree))
    if kind is dict or kind is OrderedDict:
        parts = tuple(_flatten(item, leaves, varies, whole, met) for item in tree.values())
        if set(map(type, tree)) <= _TEXT:
            return (kind, tuple(tree), parts)
        return (kind, tuple(map(_key, tree)), _types(tree), parts)
    if _is_object(tree):
        inside: list[Any] = []
        attributes = attributes_of(tree)
        parts = tuple(_flatten(v, inside, varies, whole, met) for v in attributes.values())
        if varies is None or any(map(varies, inside)):
            leaves += inside
            return (kind, tuple(attributes), parts)
    leaves.append(tree)
    return LEAF


def nested_leaves(structure: Any) -> frozenset[int]:
    """Of the structure of (arguments, keywords): the leaves that are not arguments but lie in one."""
    (_, positional), (_, *_, named) = structure[1]
    found: list[int] = []
    count = 0
    for part in (*positional, *named):
        size = count_leaves(part)
        if part != LEAF:
            found += range(count, count + size)
        count += size
    return frozenset(found)


def count_leaves(structure: Any) -> int:
    """How many leaves a tree of this structure has."""
    if structure == LEAF:
        return 1
    return 0 if structure[0] is SAME else sum(map(count_leaves, structure[-1]))


def has_shared(structure: Any) -> bool:
    """Whether a list, dict or object is in several places of a tree of this structure."""
    return structure != LEAF and (structure[0] is SAME or any(map(has_shared, structure[-1])))


Path = tuple[Any, ...]
"""Positions, keys and names that lead from a tree to a part of it."""


def mutable_parts(tree: Any) -> dict[int, Path]:
    """The ids of lists and dicts in a tree, each with a path to it."""
    found: dict[int, Path] = {}

    def look_into(tree: Any, path: Path) -> None:
        if id(tree) in found:
            return
        if type(tree) in (list, dict, OrderedDict):
            found[id(tree)] = path
        for step, part in _steps(tree):
            look_into(part, (*path, step))

    look_into(tree, ())
    return found


def _steps(tree: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(tree, list | tuple):
        return enumerate(tree)
    return tree.items() if isinstance(tree, dict) else ()


def part_at(tree: Any, path: Path) -> Any:
    """The part of a tree that a path leads to."""
    for step in path:
        tree = tree[step]
    return tree


def _key(key: Any) -> Any:
    """A dict's key; of a number of a recording, which depends on it from then on, the number itself."""
    if type(key) is SymInt:
        return key.value
    if type(key) is tuple or type(key) is frozenset:
        parts = [_key(part) for part in key]
        return key if all(a is b for a, b in zip(parts, key, strict=True)) else type(key)(parts)
    return key.plain if getattr(type(key), "is_recorded", False) else key


def has_recorded_keys(tree: Any) -> bool:
    """Whether a dict in a tree has a number of a recording as a key."""
    return any(isinstance(part, dict) and any(_key(key) is not key for key in part) for part in _parts(tree, _values))


def _is_module(tree: Any) -> bool:
    from ..nn.module import Module

    return isinstance(tree, Module)


def _types(tree: dict) -> tuple:
    """Of keys that are not strings, what they are besides equal: 1 is True, 0.0 is -0.0, and objects may say that they
    are equal to others."""
    return tuple((type(key), _told_apart(key)) for key in tree)


def _told_apart(key: Any) -> Any:
    if type(key) is tuple:
        return tuple((type(part), _told_apart(part)) for part in key)
    return str(key) if type(key) is float else None if type(key) in _PLAIN else id(key)


def _is_object(tree: Any) -> bool:
    """Whether it is an object of a dataclass."""
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type) and not _is_module(tree)


def objects_in(tree: Any) -> Iterator[Any]:
    """The objects of dataclasses in a tree, but those that are lists or dicts too, which may hold more than `flatten`
    finds."""
    return (part for part in _parts(tree, _held) if not isinstance(part, list | tuple | dict) and _is_object(part))


def containers_in(tree: Any) -> list[int]:
    """The ids of lists, dicts and objects of dataclasses in a tree, in an order that its structure decides."""
    return [id(part) for part in _parts(tree, _held) if is_container(part)]


def is_container(part: Any) -> bool:
    """Whether `flatten` looks into it, and Python can tell it from another one that holds the same."""
    return type(part) in (list, dict, OrderedDict) or _is_object(part)


def _parts(tree: Any, inside: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """A tree and all in it that holds something, each once."""
    met: set[int] = set()
    rest = [tree]
    while rest:
        part = rest.pop()
        if type(part) not in _USUAL and id(part) not in met:
            met.add(id(part))
            yield part
            rest += inside(part)


def _values(tree: Any) -> Iterable[Any]:
    return (part for _, part in _steps(tree))


def _held(tree: Any) -> Iterable[Any]:
    if isinstance(tree, list | tuple | dict):
        return _values(tree)
    return attributes_of(tree).values() if _is_object(tree) else ()


def attributes_of(tree: Any) -> dict[str, Any]:
    """What a dataclass holds: its fields, also those its constructor does not take, and what else was set on it. Of one
    that is a dict or list too, what its constructor takes."""
    fields = dataclasses.fields(tree)
    if isinstance(tree, dict | list | tuple):
        return {f.name: getattr(tree, f.name) for f in fields if f.init}
    found = {f.name: getattr(tree, f.name) for f in fields if hasattr(tree, f.name)}
    return found | getattr(tree, "__dict__", {})


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """The tree of `structure` holding `leaves`."""
    return _unflatten(structure, iter(leaves), [])


def _unflatten(structure: Any, leaves: Iterator[Any], made: list[Any]) -> Any:
    """`made`: the lists, dicts and objects so far, in the order in which `flatten` met them."""
    if structure is LEAF or structure == LEAF:
        return next(leaves)
    kind = structure[0]
    if kind is SAME:
        return made[structure[1]]
    if kind is tuple or kind is Size:
        return kind([_unflatten(part, leaves, made) for part in structure[1]])
    if len(structure) == 2 and kind is not list:
        return tuple.__new__(kind, [_unflatten(part, leaves, made) for part in structure[1]])
    is_plain = kind is list or kind is dict or kind is OrderedDict
    whole: Any = kind() if is_plain else object.__new__(kind) if not issubclass(kind, dict | list | tuple) else None
    number = len(made)
    made.append(whole)
    parts = [_unflatten(part, leaves, made) for part in structure[-1]]
    if kind is list:
        whole += parts
    elif is_plain:
        whole.update(zip(structure[1], parts, strict=True))
    elif whole is None:
        made[number] = whole = kind(**dict(zip(structure[1], parts, strict=True)))
    else:  # an object of a dataclass, whose constructor has done its work on these values already
        for name, value in zip(structure[1], parts, strict=True):
            object.__setattr__(whole, name, value)
    return whole
