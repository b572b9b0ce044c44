"""`jitcore.overrides`: questions about `__torch_function__`, which no tensor of ours has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """False."""
    return False


def has_torch_function_unary(argument: Any) -> bool:
    """False."""
    return False


def has_torch_function_variadic(*arguments: Any) -> bool:
    """False."""
    return False


def is_tensor_like(inp: Any) -> bool:
    """Whether inp is a Tensor."""
    from .tensor import Tensor

    return isinstance(inp, Tensor)


def handle_torch_function(public_api: Any, relevant_args: Iterable[Any], *arguments: Any, **keywords: Any) -> NoReturn:
    """Not offered: raises NotImplementedError. No tensor asks for it."""
    raise NotImplementedError("__torch_function__ is not offered by jitcore; subclasses override Tensor's methods")


__all__ = [
    "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
    "is_tensor_like",
]  # fmt: skip
