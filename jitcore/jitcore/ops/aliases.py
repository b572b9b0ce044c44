"""Second names of functions and methods, in place ones included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor, legacy_tensor, method, shape_of
from .activation import hardshrink, prelu
from .arithmetic import atan2
from .copies import unsafe_split_with_sizes
from .creation import as_tensor
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
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it. Slow; not recorded by autograd."""
    return _replace(self, callable)


@method
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it and of the other tensor's."""
    return _replace(self, callable, tensor)


@method
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it and of two others'."""
    return _replace(self, callable, x, y)


def _replace(self: Tensor, function: Callable, *others: Tensor) -> Tensor:
    if self.requires_grad:
        raise RuntimeError(
            "apply_, map_ and map2_ are not recorded by autograd: use them under no_grad on detached data"
        )
    tensors = [self, *(other.expand_as(self) for other in others)]
    made = [function(*values) for values in zip(*(t.reshape(-1).tolist() for t in tensors))]
    return self.copy_(as_tensor(made, dtype=self.dtype).reshape(shape_of(self)))


@method
def new(self: Tensor, *args: Any) -> Tensor:
    """PyTorch's old constructor: `x.new(2, 3)` and `x.new([2, 3])` in x's dtype."""
    return legacy_tensor(args, self.dtype)


@method
def as_subclass(self: Tensor, cls: type) -> Any:
    """The same tensor, with its history, as an instance of a subclass of Tensor."""
    made = self.view_as(self)
    made.__class__ = cls
    return made


@method
def to_dense(self: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself: all are dense."""
    return self if dtype is None else self.to(dtype)


@method
def const_data_ptr(self: Tensor) -> int:
    """`data_ptr`."""
    return self.data_ptr()


@method
def dense_dim(self: Tensor) -> int:
    """The number of dimensions: all are dense."""
    return self._array.ndim


@method
def dim_order(self: Tensor, ambiguity_check: bool = False) -> tuple[int, ...]:
    """Dimensions from the one with the largest step in memory to the smallest."""
    steps = self._array.strides
    return tuple(sorted(range(self._array.ndim), key=lambda axis: -steps[axis]))


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
