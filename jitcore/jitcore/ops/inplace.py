"""In-place twins: `x.add_(y)` is `x + y` written into x's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..autograd.tape import OpNode, edge_of
from ..dispatch import write
from ..promotion import can_cast
from ..tensor import Tensor, method

F = TypeVar("F", bound=Callable[..., Any])


def with_inplace(function: F) -> F:
    """Decorator: also attach `name_`, which writes the function's result into its first argument and returns that."""

    def twin(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return store(self, function(self, *args, **kwargs))

    twin.__name__ = twin.__qualname__ = f"{function.__name__}_"
    twin.__doc__ = f"{function.__name__} in place: writes the result into this tensor's memory and returns it."
    method(twin)
    return function


def store(target: Tensor, result: Tensor) -> Tensor:
    """Write an operation's result into its operand. Raises RuntimeError where shape or dtype would have to change."""
    if result is target:
        return target
    if result._array.shape != target._array.shape:
        raise RuntimeError(
            f"output with shape {list(target._array.shape)} doesn't match the broadcast shape "
            f"{list(result._array.shape)}"
        )
    if result._array.dtype != target._array.dtype and not can_cast(result.dtype, target.dtype):
        raise RuntimeError(
            f"result type {result.dtype.name} can't be cast to the desired output type {target.dtype.name}"
        )
    if result._node is not None:
        _keep_before(result, target)
    write(target, result)
    return target


_MOST_STEPS = 64
"""Steps of the tape that one operation in place may consist of."""


def _keep_before(result: Tensor, target: Tensor) -> None:
    """Copy what the steps of the operation saved of `target`, which is about to be overwritten."""
    origin = edge_of(target)
    waiting, seen = [result._node], 0
    while waiting and seen < _MOST_STEPS:
        node = waiting.pop()
        if type(node) is not OpNode or node is origin:
            continue
        seen += 1
        for saved in (node.saved or {}).values():
            if saved.storage is target._storage and saved.tensor is not None:
                saved.keep_copy()
        waiting += node.edges
