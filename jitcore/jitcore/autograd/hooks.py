"""Hooks on gradients and the handles that remove them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .tape import Node

_numbers = itertools.count()


@dataclass(slots=True)
class LeafHooks:
    """Hooks of a leaf: `before` its gradient is accumulated, `after` it has been."""

    before: dict[int, Callable] = field(default_factory=dict)
    after: dict[int, Callable] = field(default_factory=dict)


class Handle:
    """What registering a hook returns: `remove()` takes the hook away; also a context manager."""

    def __init__(self, hooks: dict[int, Any], hook: Callable) -> None:
        self._hooks = hooks
        self.id = next(_numbers)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def hooks_of(leaf: Tensor) -> LeafHooks:
    """The leaf's hooks, made on first use."""
    if leaf._hooks is None:
        leaf._hooks = LeafHooks()
    return leaf._hooks


def node_hooks(node: Node) -> dict[int, Callable]:
    """A node's hooks on the gradient of the tensor it made."""
    if node.hooks is None:
        node.hooks = {}
    return node.hooks
