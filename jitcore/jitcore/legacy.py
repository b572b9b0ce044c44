"""`FloatTensor`, `LongTensor`, ...: PyTorch's old types, as constructors and in isinstance checks.

`FloatTensor(2, 3)` makes a tensor of that size, `FloatTensor([2, 3])` one of those values, and
`isinstance(x, FloatTensor)` asks for the dtype.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from jitcore_ir.dtypes import DType, float64

from .ops.convert import _OLD_NAMES
from .tensor import Tensor, alias, legacy_tensor


class LegacyType(type):
    """The type of the old tensor types."""

    dtype: DType

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        return legacy_tensor(args, cls.dtype, device)


def _made(name: str, dtype: DType) -> Any:
    doc = f"Old name of tensors of {dtype.name}."
    return LegacyType(name, (), {"dtype": dtype, "__doc__": doc, "__module__": "jitcore"})


class _VariableType(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableType):
    """`autograd.Variable(data, requires_grad=False)`: the tensor itself, as a leaf."""

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        return alias(data).requires_grad_(requires_grad)


def range(start: float = 0, end: float | None = None, step: float = 1, **options: Any) -> Tensor:
    """PyTorch's old `range`, which includes the end and makes floating numbers: `arange` is what to use."""
    from .device import get_default_dtype
    from .ops import arange

    warnings.warn(
        "range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    start, end = (0, start) if end is None else (start, end)
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(
            "upper bound and lower bound inconsistent with step sign" if step else "step must be nonzero"
        )
    count = math.floor((end - start) / step) + 1
    return (arange(count, dtype=float64) * step + start).to(
        options.pop("dtype", None) or get_default_dtype(), **options
    )


TYPES = {name: _made(name, dtype) for name, dtype in _OLD_NAMES.items()}
"""The old types by name."""
