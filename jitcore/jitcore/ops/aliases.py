"""Second names of functions and methods, in place ones included."""

from __future__ import annotations

from ..tensor import Tensor, method, shape_of
from .activation import hardshrink, prelu
from .arithmetic import atan2
from .copies import unsafe_split_with_sizes
from .elementwise import acosh, asinh, atanh

arccosh, arcsinh, arctanh, arctan2 = acosh, asinh, atanh, atan2

_METHODS = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "negative": "neg", "not_equal": "ne",
}  # fmt: skip
for _alias, _name in _METHODS.items():
    for _suffix in ("", "_"):
        if hasattr(Tensor, _name + _suffix) and not hasattr(Tensor, _alias + _suffix):
            setattr(Tensor, _alias + _suffix, getattr(Tensor, _name + _suffix))

method(hardshrink)
method(prelu)
Tensor.unsafe_split_with_sizes = unsafe_split_with_sizes  # type: ignore[attr-defined]


@method
def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Write a number along the main diagonal (`wrap`: again and again down a tall matrix)."""
    if self._array.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self._array.ndim == 2:
        rows, columns = shape_of(self)
        step = columns + 1
        for start in range(0, rows if wrap else 1, step):
            block = self[start : start + step]
            block.diagonal().fill_(fill_value)
        return self
    if len(set(shape_of(self))) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    from .creation import arange

    places = arange(shape_of(self)[0])
    self[(places,) * self._array.ndim] = fill_value
    return self


@method
def get_device(self: Tensor) -> int:
    """-1: the CPU."""
    return -1


@method
def is_signed(self: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return self.dtype.kind not in ("uint", "bool")


@method
def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return shape_of(self) == shape_of(other)


@method
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same view of the same memory."""
    a, b = self._array, tensor._array
    return self._storage is tensor._storage and (a.shape, a.strides) == (b.shape, b.strides)


@method
def is_shared(self: Tensor) -> bool:
    """False: memory is not shared between processes."""
    return False


@method
def share_memory_(self: Tensor) -> Tensor:
    """Accepted; other processes get copies."""
    return self


@method
def is_pinned(self: Tensor, device: object = None) -> bool:
    """False: there is no pinned memory on the CPU."""
    return False
