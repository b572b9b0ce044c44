"""Questions about the tape that leads to the results of a recorded run."""

from __future__ import annotations

import dis
import types
from collections import deque
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

from ..autograd.tape import Node, edge_of
from ..source import is_own_file
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
    """The user's hooks on nodes, and backward functions that change Python state: what they do beside their result must
    be done once in each backward pass."""
    for node in between(starts, ends):
        hooks = node.hooks or (node.extra is not None and (node.extra.before or node.extra.after))
        if hooks:
            return "a hook on a gradient inside it"
        function = getattr(node, "function", None)
        if (beside := getattr(function, "beside", None)) is not None:
            return beside
        backward = getattr(function, "backward", None)
        if isinstance(backward, types.FunctionType) and _changes_state(backward):
            return f"{backward.__qualname__} changes Python state"
    return None


def _changes_state(function: types.FunctionType, known: frozenset[CodeType] = frozenset()) -> bool:
    """Whether its code, or that of functions which it names, stores variables from outside it, attributes, or entries
    of a container from outside."""
    code = function.__code__
    if is_own_file(code.co_filename) or code in known:
        return False
    steps = {step.opname for step in dis.get_instructions(code)}
    if not steps.isdisjoint(("STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR")):
        return True
    try:
        held = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # not there yet
        return True
    held += [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    changes = not steps.isdisjoint(("STORE_SUBSCR", "DELETE_SUBSCR")) or not _CHANGING.isdisjoint(code.co_names)
    if changes and any(isinstance(thing, list | dict | set | deque) for thing in held):
        return True
    return any(_changes_state(thing, known | {code}) for thing in held if isinstance(thing, types.FunctionType))


_CHANGING = frozenset([
    "append", "appendleft", "extend", "insert", "add", "update", "setdefault", "pop", "popleft", "popitem", "remove",
    "discard", "clear", "write",
])  # fmt: skip
"""Methods of containers and files that change them."""


def between(starts: Sequence[Any], ends: Sequence[Any]) -> Iterator[Node]:
    """The nodes that ways from `starts` lead through before they come to one of `ends`."""
    stack, seen = list(starts), set(ends)
    while stack:
        node = stack.pop()
        if not isinstance(node, Node) or node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(node.edges)
