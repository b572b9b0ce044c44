"""`Parameter`: a tensor that a Module learns, and `Buffer`: one that it keeps but does not learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, alias, wrap


class Parameter(Tensor):
    """A leaf tensor that registers itself when assigned to a Module attribute. Shares memory with `data`."""

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return _as_leaf(cls, data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that registers itself as a buffer when assigned to a Module attribute."""

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        made = _as_leaf(cls, data, False)
        made.persistent = persistent
        return made

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass


class UninitializedParameter(Parameter):
    """A parameter without a shape yet, of a lazy layer; it holds no elements."""


def is_lazy(param: Any) -> bool:
    """Whether a parameter has no shape yet."""
    return isinstance(param, UninitializedParameter)


def _as_leaf(cls: type, data: Tensor | None, requires_grad: bool) -> Any:
    """A leaf of class `cls` on the memory of `data`."""
    if data is None:
        data = wrap(np.empty(0, np.float32))
    if not isinstance(data, Tensor):
        raise TypeError(f"{cls.__name__} takes a Tensor, not {type(data).__name__}")
    made = alias(data, cls)
    made.requires_grad_(requires_grad)
    return made
