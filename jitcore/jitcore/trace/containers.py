"""Arguments and results as trees: nested tuples, lists, dicts and dataclasses with leaves.

`flatten` gives the leaves in order and a hashable structure; `unflatten` puts new leaves in the same structure.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..tensor import Size

LEAF = "leaf"


def flatten(tree: Any, varies: Callable[[Any], bool] | None = None) -> tuple[list[Any], Any]:
    """The leaves of `tree`, left to right, and its structure (hashable, comparable).

    varies: whether a leaf is another in each call. Where given, a dataclass without such leaves is a leaf itself, since
    `unflatten` would make another object of it.
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, varies)


def _flatten(tree: Any, leaves: list[Any], varies: Callable[[Any], bool] | None) -> Any:
    kind = type(tree)
    if kind is tuple or kind is list or kind is Size:
        return (kind, tuple(_flatten(item, leaves, varies) for item in tree))
    if kind is dict or kind is OrderedDict:
        return (kind, tuple(tree), tuple(_flatten(item, leaves, varies) for item in tree.values()))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (kind, tuple(_flatten(item, leaves, varies) for item in tree))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(f.name for f in dataclasses.fields(tree) if f.init)
        inside: list[Any] = []
        structure = (kind, names, tuple(_flatten(getattr(tree, name), inside, varies) for name in names))
        if varies is None or any(map(varies, inside)):
            leaves += inside
            return structure
    leaves.append(tree)
    return LEAF


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
        return kind((name, _unflatten(part, leaves)) for name, part in zip(structure[1], structure[2], strict=True))
    if len(structure) == 2:
        return kind(*(_unflatten(part, leaves) for part in structure[1]))
    values = (_unflatten(part, leaves) for part in structure[2])
    return kind(**dict(zip(structure[1], values, strict=True)))
