"""`TensorSpec`: a tensor's shape and dtype without its elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir.dtypes import DType

from .device import get_default_dtype


class TensorSpec:
    """What a tensor looks like: `TensorSpec((8, 784), jitcore.float32)`; without a dtype, of the default one.

    Shape rules of custom operations return it, and `jit(warmup=...)` takes it. Raises TypeError for a shape or dtype
    that is none.
    """

    __slots__ = ("dtype", "requires_grad", "shape")

    def __init__(self, shape: Sequence[Any] | int, dtype: DType | None = None, *, requires_grad: bool = False) -> None:
        if isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple | list) or not all(
            hasattr(d, "__index__") and not isinstance(d, bool) for d in shape
        ):
            raise TypeError(f"TensorSpec: shape is {shape!r}; give a tuple of sizes")
        if dtype is not None and not isinstance(dtype, DType):
            raise TypeError(f"TensorSpec: dtype is {dtype!r}; give a dtype such as jitcore.float32")
        self.shape = tuple(shape)
        self.dtype = dtype or get_default_dtype()
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"TensorSpec({self.shape}, {self.dtype!r}{grad})"
