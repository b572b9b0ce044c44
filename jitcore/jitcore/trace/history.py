"""Questions about the tape that leads to the results of a recorded run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..autograd.tape import Node, edge_of
from ..tensor import Tensor

if TYPE_CHECKING:
    from .recorder import Recorder


def outside_leaf(recorder: Recorder, results: Sequence[Tensor]) -> Tensor | None:
    """A leaf that gradients of `results` reach although it is no input of the recording (it shares its memory with one,
    say), nor made by the run; None where there is none."""
    stack: list[Any] = [edge_of(t) for t in results]
    seen = {id(edge_of(root.tensor)) for root in recorder.roots}
    while stack:
        edge = stack.pop()
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        if isinstance(edge, Node):
            stack.extend(edge.edges)
        elif not recorder.is_inside(edge):
            return edge
    return None


def hooks_between(starts: Sequence[Any], ends: Sequence[Any]) -> str | None:
    """The user's hooks on nodes: what they do beside their result must be done once in each backward pass."""
    for node in _between(starts, ends):
        hooks = node.hooks or (node.extra is not None and (node.extra.before or node.extra.after))
        if hooks or getattr(getattr(node, "function", None), "runs_hooks", False):
            return "a hook on a gradient inside it"
    return None


def saves_between(starts: Sequence[Any], ends: Sequence[Any]) -> bool:
    """Whether a node keeps something for the backward pass, which is gone after one that does not retain the graph."""
    held = (node.held() for node in _between(starts, ends))
    return any(place is not None and getattr(*place) for place in held)


def _between(starts: Sequence[Any], ends: Sequence[Any]) -> Iterator[Node]:
    """The nodes that ways from `starts` lead through before they come to one of `ends`."""
    stack, seen = list(starts), set(ends)
    while stack:
        node = stack.pop()
        if not isinstance(node, Node) or node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(node.edges)


def reached_from_another(nodes: Sequence[Node]) -> list[int]:
    """Positions of the nodes that a way leads to from another one of them."""
    found: set[Any] = set()
    for start in nodes if len(nodes) > 1 else ():
        stack = list(start.edges)
        while stack:
            node = stack.pop()
            if isinstance(node, Node) and node not in found:
                found.add(node)
                stack.extend(node.edges)
    return [position for position, node in enumerate(nodes) if node in found]
