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
_SAME = "same"
"""In a structure, with its number: a list, dict or object that was there before."""
_USUAL = frozenset([Tensor, int, float, bool, str, type(None)])
"""Types that are leaves at first sight, for speed."""
_TEXT = frozenset([str])


def flatten(
    tree: Any,
    varies: Callable[[Any], bool] | None = None,
    whole: Callable[[Any], bool] | None = None,
    once: bool = False,
) -> tuple[list[Any], Any]:
    """The leaves of `tree`, left to right, and its structure (hashable, comparable).

    varies: whether a leaf is another in each call. Where given, a dataclass without such leaves is a leaf itself, since
    `unflatten` would make another object of it. whole: whether a list, dict or dataclass is a leaf, itself and not what
    it holds. once: of a list, dict or dataclass that is in several places, the structure says so, and `unflatten` makes
    one.
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
    if met is not None and id(tree) in met:
        return (_SAME, met[id(tree)])
    structure = _structure(tree, kind, leaves, varies, whole, met)
    if met is not None and structure is not LEAF:
        met[id(tree)] = len(met)
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
        before = 0 if met is None else len(met)
        parts = tuple(_flatten(v, inside, varies, whole, met) for v in attributes.values())
        if varies is None or any(map(varies, inside)):
            leaves += inside
            return (kind, tuple(attributes), parts)
        for within in list(met or ())[before:]:  # which nobody will make
            del met[within]  # type: ignore[union-attr]
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
    return 1 if structure == LEAF else sum(map(count_leaves, structure[-1]))


Path = tuple[Any, ...]
"""Positions, keys and names that lead from a tree to a part of it."""


def mutable_parts(tree: Any, path: Path = ()) -> Iterator[tuple[Any, Path]]:
    """The lists and dicts in a tree, each with its path."""
    if type(tree) in (list, dict, OrderedDict):
        yield tree, path
    for step, part in _steps(tree):
        yield from mutable_parts(part, (*path, step))


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
    return key.plain if getattr(type(key), "is_recorded", False) else key


def has_recorded_keys(tree: Any) -> bool:
    """Whether a dict in a tree has a number of a recording as a key."""
    if isinstance(tree, dict) and any(_key(key) is not key for key in tree):
        return True
    return any(has_recorded_keys(part) for _, part in _steps(tree))


def _is_module(tree: Any) -> bool:
    from ..nn.module import Module

    return isinstance(tree, Module)


def _types(tree: dict) -> tuple:
    """Of keys that are not strings, what they are besides equal: 1 is True, and 0.0 is -0.0."""
    return tuple((type(key), str(key) if type(key) is float else None) for key in tree)


def _is_object(tree: Any) -> bool:
    """Whether it is an object of a dataclass."""
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type) and not _is_module(tree)


def objects_in(tree: Any) -> Iterator[Any]:
    """The objects of dataclasses in a tree, but those that are lists or dicts too, which may hold more than `flatten`
    finds."""
    if isinstance(tree, list | tuple | dict):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from objects_in(part)
    elif _is_object(tree):
        yield tree
        for part in attributes_of(tree).values():
            yield from objects_in(part)


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
    """`made`: the lists, dicts and objects so far, in the order in which `flatten` was done with them."""
    if structure is LEAF or structure == LEAF:
        return next(leaves)
    kind = structure[0]
    if kind is tuple or kind is Size:
        return kind([_unflatten(part, leaves, made) for part in structure[1]])
    if kind is _SAME:
        return made[structure[1]]
    parts = [_unflatten(part, leaves, made) for part in structure[-1]]
    if kind is list:
        built: Any = parts
    elif kind is dict or kind is OrderedDict:
        built = kind(zip(structure[1], parts, strict=True))
    elif len(structure) == 2:
        return tuple.__new__(kind, parts)
    else:
        built = _object(kind, dict(zip(structure[1], parts, strict=True)))
    made.append(built)
    return built


def _object(kind: type, values: dict[str, Any]) -> Any:
    """An object of a dataclass."""
    if issubclass(kind, dict | list | tuple):
        return kind(**values)
    made = object.__new__(kind)  # its constructor has done its work on these values already
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
