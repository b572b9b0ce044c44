"""Tensors inside nested arguments: found, put back, and given other sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch


def tensors(structure: Any, kind: type) -> list[Any]:
    """Everything of `kind` in nested tuples, lists and dicts, in order."""
    if isinstance(structure, kind):
        return [structure]
    if isinstance(structure, tuple | list):
        return [t for part in structure for t in tensors(part, kind)]
    return [t for part in structure.values() for t in tensors(part, kind)] if isinstance(structure, dict) else []


def mapped(structure: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """The structure with `function` of everything of `kind` in its place."""
    if isinstance(structure, kind):
        return function(structure)
    if isinstance(structure, tuple | list) and not hasattr(structure, "_fields") and type(structure) in (tuple, list):
        return type(structure)(mapped(part, kind, function) for part in structure)
    if isinstance(structure, dict):
        return {name: mapped(part, kind, function) for name, part in structure.items()}
    return structure


def replaced(structure: Any, leaves: Sequence[torch.Tensor]) -> Any:
    """The structure with other tensors in place of its own, in order."""
    waiting: Iterator[torch.Tensor] = iter(leaves)
    return mapped(structure, torch.Tensor, lambda _: next(waiting))


def resized(x: torch.Tensor, size: int, larger: int) -> torch.Tensor:
    """A tensor like x with `larger` wherever x has `size`: x's own values in order, some of them repeated."""
    shape = [larger if d == size else d for d in x.shape]
    if shape == list(x.shape):
        return x
    if not x.numel():
        return torch.zeros(shape, dtype=x.dtype)
    flat = x.reshape(-1)
    count = int(torch.Size(shape).numel())
    return flat[torch.arange(count) * flat.numel() // count].reshape(shape)
