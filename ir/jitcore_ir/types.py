"""Types of SSA values: tensors, and buffers (memory) once a graph has been lowered to loops."""

from __future__ import annotations

from dataclasses import dataclass

from .dtypes import DType
from .shapes import Expr


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor of `dtype` whose `shape` is a tuple of dims (integers or expressions). `f32[N,784]`; 0-d is `f32[]`."""

    dtype: DType
    shape: tuple[int | Expr, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(str(d) for d in self.shape)}]"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class BufferType:
    """Row-major memory holding `shape` elements of `dtype`, seen only below the graph level. `buffer<f32[N,784]>`."""

    dtype: DType
    shape: tuple[int | Expr, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return f"buffer<{self.dtype.short}[{','.join(str(d) for d in self.shape)}]>"

    __repr__ = __str__


Type = TensorType | BufferType
