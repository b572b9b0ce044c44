"""`FloatTensor`, `LongTensor`, ...: PyTorch's old types, as constructors and in isinstance checks.

`FloatTensor(2, 3)` makes a tensor of that size, `FloatTensor([2, 3])` one of those values, and
`isinstance(x, FloatTensor)` asks for the dtype.
"""

from __future__ import annotations

from typing import Any

from jitcore_ir.dtypes import DType

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


TYPES = {name: _made(name, dtype) for name, dtype in _OLD_NAMES.items()}
"""The old types by name."""
