"""Nested tuples, lists and dicts as flat lists of leaves, and back; the functions of torch.utils._pytree."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TreeSpec:
    """The structure of a tree: the container's type, what it takes to rebuild it, and its children's. A leaf has none
    of them."""

    type: Any = None
    context: Any = None
    children_specs: tuple[TreeSpec, ...] = ()

    def is_leaf(self) -> bool:
        return self.type is None

    @property
    def num_leaves(self) -> int:
        return 1 if self.is_leaf() else sum(child.num_leaves for child in self.children_specs)


LeafSpec = TreeSpec


def _parts(tree: Any) -> tuple[list[Any], Any] | None:
    """(children, context) of a container; None for a leaf."""
    if type(tree) in (dict, OrderedDict):
        return list(tree.values()), tuple(tree)
    if type(tree) in (tuple, list) or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        return list(tree), None
    return None


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves in order, and the structure that `tree_unflatten` puts them back into. None is a leaf."""
    parts = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if parts is None:
        return [tree], TreeSpec()
    leaves: list[Any] = []
    specs = []
    for child in parts[0]:
        inner, spec = tree_flatten(child, is_leaf)
        leaves += inner
        specs.append(spec)
    return leaves, TreeSpec(type(tree), parts[1], tuple(specs))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of a structure with these leaves. Raises ValueError where their number differs."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
            f"holds {treespec.num_leaves} items"
        )
    return _built(iter(leaves), treespec)


def _built(leaves: Any, spec: TreeSpec) -> Any:
    if spec.is_leaf():
        return next(leaves)
    children = [_built(leaves, child) for child in spec.children_specs]
    if spec.context is not None:
        return spec.type(zip(spec.context, children, strict=True))
    return spec.type(*children) if hasattr(spec.type, "_fields") else spec.type(children)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The structure alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of func(leaf, leaf of each rest). Raises ValueError where a rest is built otherwise."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [_leaves_like(spec, rest) for rest in rests]
    return _built(map(func, leaves, *others), spec)


def _leaves_like(spec: TreeSpec, tree: Any) -> list[Any]:
    if spec.is_leaf():
        return [tree]
    parts = _parts(tree)
    if parts is None or type(tree) is not spec.type or parts[1] != spec.context:
        raise ValueError(f"Node type mismatch: expected {spec.type} with {spec.context}, but got {type(tree)}")
    if len(parts[0]) != len(spec.children_specs):
        raise ValueError(f"Node arity mismatch: expected {len(spec.children_specs)}, but got {len(parts[0])}")
    return [leaf for child, part in zip(spec.children_specs, parts[0]) for leaf in _leaves_like(child, part)]


def tree_map_only(kinds: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """`tree_map` over the leaves of the given types, or those for which a function says so."""
    chosen = kinds if callable(kinds) and not isinstance(kinds, type) else lambda leaf: isinstance(leaf, kinds)
    return tree_map(lambda leaf: func(leaf) if chosen(leaf) else leaf, tree, is_leaf=is_leaf)


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """func on each leaf for its effect; the tree itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether pred holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether pred holds for any leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


__all__ = [
    "LeafSpec", "TreeSpec", "tree_all", "tree_any", "tree_flatten", "tree_leaves", "tree_map", "tree_map_",
    "tree_map_only", "tree_structure", "tree_unflatten",
]  # fmt: skip
