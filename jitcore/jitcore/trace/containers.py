"""Arguments and results as trees: nested tuples, lists, dicts and dataclasses with leaves.

`flatten` gives the leaves in order and a hashable structure; `unflatten` puts new leaves in the same structure.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..tensor import Size, Tensor

LEAF = "leaf"
_USUAL = frozenset([Tensor, int, float, bool, str, type(None)])
"""Types that are leaves at first sight, for speed."""


def flatten(tree: Any, varies: Callable[[Any], bool] | None = None) -> tuple[list[Any], Any]:
    """The leaves of `tree`, left to right, and its structure (hashable, comparable).

    varies: whether a leaf is another in each call. Where given, a dataclass without such leaves is a leaf itself, since
    `unflatten` would make another object of it.
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, varies)


def _flatten(tree: Any, leaves: list[Any], varies: Callable[[Any], bool] | None) -> Any:
    kind = type(tree)
    if kind in _USUAL:
        leaves.append(tree)
        return LEAF
    if kind is tuple or kind is list or kind is Size:
        return (kind, tuple(_flatten(item, leaves, varies) for item in tree))
    if kind is dict or kind is OrderedDict:
        return (kind, tuple(tree), *_types(tree), tuple(_flatten(item, leaves, varies) for item in tree.values()))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (kind, tuple(_flatten(item, leaves, varies) for item in tree))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type) and not _is_module(tree):
        inside: list[Any] = []
        attributes = _attributes(tree)
        structure = (kind, tuple(attributes), tuple(_flatten(v, inside, varies) for v in attributes.values()))
        if varies is None or any(map(varies, inside)):
            leaves += inside
            return structure
    leaves.append(tree)
    return LEAF


def _is_module(tree: Any) -> bool:
    from ..nn.module import Module

    return isinstance(tree, Module)


def _types(tree: dict) -> tuple:
    """Of keys that are not strings, what they are besides equal: 1 is True, and 0.0 is -0.0."""
    if all(type(key) is str for key in tree):
        return ()
    return (tuple((type(key), str(key) if type(key) is float else None) for key in tree),)


def _attributes(tree: Any) -> dict[str, Any]:
    """What a dataclass holds: its fields, also those its constructor does not take, and what else was set on it. Of one
    that is a dict or list too, what its constructor takes."""
    fields = dataclasses.fields(tree)
    if isinstance(tree, dict | list | tuple):
        return {f.name: getattr(tree, f.name) for f in fields if f.init}
    found = {f.name: getattr(tree, f.name) for f in fields if hasattr(tree, f.name)}
    return found | getattr(tree, "__dict__", {})


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """The tree of `structure` holding `leaves`."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    if structure is LEAF or structure == LEAF:
        return next(leaves)
    kind = structure[0]
    if kind is tuple or kind is list or kind is Size:
        return kind([_unflatten(part, leaves) for part in structure[1]])
    if kind is dict or kind is OrderedDict:
        return kind((name, _unflatten(part, leaves)) for name, part in zip(structure[1], structure[-1], strict=True))
    if len(structure) == 2:
        return tuple.__new__(kind, [_unflatten(part, leaves) for part in structure[1]])
    values = dict(zip(structure[1], [_unflatten(part, leaves) for part in structure[2]], strict=True))
    if issubclass(kind, dict | list | tuple):
        return kind(**values)
    made = object.__new__(kind)  # its constructor has done its work on these values already
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
