"""Arguments and results as trees: nested tuples, lists, dicts and objects with leaves.

`flatten` gives the leaves in order and a hashable structure; `unflatten` puts new leaves in the same structure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..symbolic import SymInt
from ..tensor import Size, Tensor
from .objects import Layout, about, attributes_of, is_object, items_of, keys_of, may_be_told_apart, table_of

LEAF = "leaf"
SAME = "same"
"""In a structure, with its number: a list, dict or object that was there before."""
_USUAL = frozenset([Tensor, int, float, bool, str, type(None)])
"""Types that are leaves at first sight, for speed."""
_TEXT = frozenset([str])
_PLAIN = frozenset([int, bool, str, bytes, complex, type(None), frozenset])

MOST_INSIDE = 512
"""Leaves of an object that is no dataclass, and MOST_DEEP objects in one another, up to which it is taken apart."""
MOST_DEEP = 16


class Apart(Protocol):
    """Which objects that are no dataclasses a call's arguments are taken apart to."""

    def layout(self, value: Any) -> Layout | None:
        """Where the object holds what it holds; None for one that is a leaf."""

    def reads(self, layout: Layout, name: str) -> bool:
        """Whether the function may look at that attribute."""

    def give_up(self, layout: Layout) -> None:
        """Objects of this class are too large."""


class TooLarge(Exception):
    """What an object leads to is too much to be looked at in each call."""


def flatten(
    tree: Any,
    varies: Callable[[Any], bool] | None = None,
    whole: Callable[[Any], bool] | None = None,
    once: bool = False,
    apart: Apart | None = None,
) -> tuple[list[Any], Any]:
    """The leaves of `tree`, left to right, and its structure (hashable, comparable).

    varies: whether a leaf is another in each call. Where given, a dataclass without such leaves is a leaf itself, since
    `unflatten` would make another object of it. whole: whether a list, dict or dataclass is a leaf, itself and not what
    it holds. once: of a list, dict or object that is in several places, or in itself, the structure says so: what it
    holds is there once, and `unflatten` makes one. apart: the objects of other classes that are no leaves, of which
    `unflatten` makes none.
    """
    flattening = Flattening(varies, whole, once, apart)
    structure = flattening.of(tree)
    return flattening.leaves, structure


class Flattening:
    """What `flatten` finds. containers: the lists, dicts and objects, each once, in an order that the structure
    decides."""

    __slots__ = ("apart", "containers", "deep", "leaves", "met", "most", "once", "varies", "whole")

    def __init__(
        self,
        varies: Callable[[Any], bool] | None = None,
        whole: Callable[[Any], bool] | None = None,
        once: bool = True,
        apart: Apart | None = None,
    ) -> None:
        self.varies, self.whole, self.once, self.apart = varies, whole, once, apart
        self.leaves: list[Any] = []
        self.containers: list[Any] = []
        self.met: dict[int, int] = {}
        self.deep = 0
        self.most: int | None = None  # leaves, inside of an object that may be too large

    def of(self, tree: Any) -> Any:
        """The structure of a tree, whose leaves are added."""
        kind = type(tree)
        if kind in _USUAL or (self.whole is not None and self.whole(tree)):
            self.leaves.append(tree)
            return LEAF
        if kind is tuple or kind is Size or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            return (kind, tuple([self.of(item) for item in items_of(tree)]))
        if not self.once:
            return self._container(tree, kind)
        number = self.met.setdefault(id(tree), count := len(self.containers))
        if number < count:
            return (SAME, number)
        self.containers.append(tree)
        structure = self._container(tree, kind)
        if structure is LEAF:  # nor is anything made of what is in it
            self._forget(count)
        return structure

    def _forget(self, count: int) -> None:
        """All containers from number `count` on."""
        for within in self.containers[count:]:
            del self.met[id(within)]
        del self.containers[count:]

    def _container(self, tree: Any, kind: type) -> Any:
        if kind is list:
            self._check_size(len(tree))
            return (kind, tuple([self.of(item) for item in tree]))
        if kind is dict or kind is OrderedDict:
            self._check_size(len(tree))
            parts = tuple([self.of(item) for item in tree.values()])
            return (kind, *_keys(tree), parts)
        known = about(kind)
        if known.is_dataclass:
            before, count = len(self.leaves), len(self.containers)
            attributes = attributes_of(tree)
            self._check_size(len(attributes))
            parts = tuple([self.of(value) for value in attributes.values()])
            if self.varies is None or any(map(self.varies, self.leaves[before:])):
                return (kind, tuple(attributes), parts)
            del self.leaves[before:]
            if self.once:
                self._forget(count)
        elif self.apart is not None and known.layout is not None and self.apart.layout(tree) is not None:
            return self._object(tree, known.layout)
        self.leaves.append(tree)
        return LEAF

    def _object(self, tree: Any, layout: Layout) -> Any:
        if self.most is not None:
            return self._parts(tree, layout)
        before, count = len(self.leaves), len(self.containers)
        self.most = before + MOST_INSIDE
        try:
            return self._parts(tree, layout)
        except TooLarge:
            assert self.apart is not None
            self.apart.give_up(layout)
            self._forget(count)
            self.leaves[before:] = [tree]
            return LEAF
        finally:
            self.most, self.deep = None, 0

    def _parts(self, tree: Any, layout: Layout) -> Any:
        """Its class, the names of its attributes, the keys of its items, what is there."""
        apart = self.apart
        assert apart is not None
        self.deep += 1
        if self.deep > MOST_DEEP:
            raise TooLarge
        reads = apart.reads
        attributes = {name: value for name, value in layout.attributes(tree).items() if reads(layout, name)}
        items = [] if layout.items is None else [*items_of(tree)]
        self._check_size(len(attributes) + len(items))
        parts = [*map(self.of, attributes.values()), *map(self.of, items)]
        self.deep -= 1
        keys = _keys(tree) if issubclass(layout.kind, dict) else ()
        return (layout.kind, tuple(attributes), keys, tuple(parts))

    def steps(self, tree: Any) -> Iterator[tuple[Any, Any]]:
        """What a tuple, or one of the containers, holds, each with the step that leads there."""
        known = about(type(tree))
        if issubclass(type(tree), dict) and not known.is_dataclass:
            yield from zip(keys_of(tree), items_of(tree))
        elif not known.is_dataclass:
            yield from enumerate(items_of(tree))
        for name, part in attributes_of(tree).items() if may_be_told_apart(tree) else ():
            if known.layout is None or (self.apart is not None and self.apart.reads(known.layout, name)):
                yield Named(name), part

    def _check_size(self, size: int) -> None:
        if self.most is not None and len(self.leaves) + size > self.most:
            raise TooLarge


def _keys(tree: dict) -> tuple:
    """What a structure has of a dict's keys."""
    keys = tuple(keys_of(tree))
    return (keys,) if set(map(type, keys)) <= _TEXT else (tuple(map(_key, keys)), _types(keys))


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


def count_containers(structure: Any) -> int:
    """How many lists, dicts and objects a tree of this structure has, where none is in several places."""
    if structure == LEAF:
        return 0
    is_one = not issubclass(structure[0], tuple)
    return is_one + sum(map(count_containers, structure[-1]))


def has_shared(structure: Any) -> bool:
    """Whether a list, dict or object is in several places of a tree of this structure."""
    return structure != LEAF and (structure[0] is SAME or any(map(has_shared, structure[-1])))


@dataclass(frozen=True, slots=True)
class Named:
    """A step to an attribute."""

    name: str


Path = tuple[Any, ...]
"""Positions, keys and names that lead from a tree to a part of it."""


def paths_to(tree: Any, found: Flattening) -> dict[int, Path]:
    """The ids of lists, dicts and objects that were found in a tree, each with a path to it. None leads through what
    the structure does not have: in another call something else may be there."""
    wanted = set(map(id, found.containers))
    paths: dict[int, Path] = {}

    def look_into(tree: Any, path: Path) -> None:
        number = id(tree)
        if number in paths or not (number in wanted or issubclass(type(tree), tuple)):
            return
        if number in wanted:
            paths[number] = path
        for step, part in found.steps(tree):
            look_into(part, (*path, step))

    look_into(tree, ())
    return paths


def part_at(tree: Any, path: Path) -> Any:
    """The part of a tree that a path leads to."""
    for step in path:
        kind = type(tree)
        if type(step) is Named:
            tree = attributes_of(tree)[step.name]
        else:
            tree = next(base for base in (dict, list, tuple) if issubclass(kind, base)).__getitem__(tree, step)
    return tree


def _key(key: Any) -> Any:
    """A dict's key; of a number of a recording, which depends on it from then on, the number itself."""
    if type(key) is SymInt:
        return key.value
    if type(key) is tuple or type(key) is frozenset:
        parts = [_key(part) for part in key]
        return key if all(a is b for a, b in zip(parts, key, strict=True)) else type(key)(parts)
    return key.plain if "is_recorded" in table_of(type(key)) else key


def has_recorded_keys(tree: Any) -> bool:
    """Whether a dict in a tree has a number of a recording as a key."""
    met: set[int] = set()
    rest = [tree]
    while rest:
        part = rest.pop()
        if type(part) in _USUAL or id(part) in met:
            continue
        met.add(id(part))
        if issubclass(type(part), dict) and any(_key(key) is not key for key in dict.keys(part)):
            return True
        rest += items_of(part)
    return False


def _types(keys: Iterable[Any]) -> tuple:
    """Of keys that are not strings, what they are besides equal: 1 is True, 0.0 is -0.0, and objects may say that they
    are equal to others."""
    return tuple((type(key), _told_apart(key)) for key in keys)


def _told_apart(key: Any) -> Any:
    if type(key) is tuple:
        return tuple((type(part), _told_apart(part)) for part in key)
    return str(key) if type(key) is float else None if type(key) in _PLAIN else id(key)


def is_container(part: Any) -> bool:
    """Whether a call's arguments may be taken apart to what it holds, and Python can tell it from another one that
    holds the same."""
    return type(part) in (list, dict, OrderedDict) or may_be_told_apart(part)


def objects_among(containers: Iterable[Any]) -> Iterator[Any]:
    """Those that are objects, of which the structure and the leaves have everything. A dataclass that is a list or dict
    too may hold more."""
    kinds = (list, dict, OrderedDict)
    return (x for x in containers if type(x) not in kinds and not (is_object(x) and isinstance(x, list | dict | tuple)))


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
