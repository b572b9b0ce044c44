"""`GemmSpec`: what decides the code of a matrix product; `Epilogue`, `PlainStore`: what becomes of its sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir import BufferType
from jitcore_ir.dtypes import BOOL, REAL, DType
from jitcore_ir.errors import DTypeError
from jitcore_ir.ops.elementwise import ACCUMULATOR
from jitcore_ir.shapes import Expr, mul

from .blocking import Machine, machine

Dim = int | Expr
Dims = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What becomes of a finished sum: any scalar code.

    `emit(builder, sum, indices, captured)` adds code that stores it. `indices` are the i64 position in the result, the
    last of which usually is the index of the innermost loop; `captured` are the values of the fields of the struct at
    `context`, whose types are `captures`. `distinct` are positions in `captures` of pointers to memory that the
    epilogue reaches in no other way, which spares the vectorizer its checks.
    `emit` may add basic blocks; it must leave the builder where control continues.
    """

    emit: Callable[[ir.IRBuilder, ir.Value, list[ir.Value], list[ir.Value]], None]
    captures: tuple[ir.Type, ...]
    distinct: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PlainStore:
    """The sums are the result, at element strides `strides` over its axes.

    The struct at `context` is the result's pointer, then the strides that are not integers, in order. The result must
    not overlap an operand. The last stride should be 1; other values are right but not faster than an `Epilogue`.
    """

    strides: Dims

    @property
    def captures(self) -> tuple[ir.Type, ...]:
        """The types of the fields of the struct at `context`."""
        moving = [stride for stride in self.strides if isinstance(stride, Expr)]
        return (ir.PointerType(), *[ir.IntType(64)] * len(moving))


@dataclass(frozen=True, slots=True)
class GemmSpec:
    """[*batch, m, k] x [*batch, k, n] -> [*batch, m, n], for one target.

    Strides are in elements, over the logical axes [*batch, m, k] and [*batch, k, n]. `prepacked`: y is in the layout
    that `emit_pack` writes for this spec, and y_strides describe what it was packed from. The packed layout depends on
    dtype, target, batch, k and n alone, so one packed y serves products of any m.
    """

    dtype: DType
    batch: Dims
    m: Dim
    n: Dim
    k: Dim
    x_strides: Dims
    y_strides: Dims
    prepacked: bool
    target: str

    def __post_init__(self) -> None:
        check_dtype(self.dtype)

    @classmethod
    def of(
        cls, x: BufferType, y: BufferType, x_permutation: Sequence[int], y_permutation: Sequence[int],
        prepacked: bool, target: str,
    ) -> GemmSpec:  # fmt: skip
        """The spec of a loop IR `gemm` operation: logical axis i of x is the buffer's axis x_permutation[i]."""
        x_shape, x_strides = permuted(x.shape, x_permutation)
        y_shape, y_strides = permuted(y.shape, y_permutation)
        return cls(
            x.dtype, x_shape[:-2], x_shape[-2], y_shape[-1], x_shape[-1], x_strides, y_strides, prepacked, target
        )  # fmt: skip

    @property
    def accumulator(self) -> DType:
        """The dtype of the sums."""
        return ACCUMULATOR[self.dtype]

    @property
    def machine(self) -> Machine:
        return machine(self.target)

    @property
    def run_time_dims(self) -> tuple[Expr, ...]:
        """The distinct dims that are not integers, in the order in which `sizes` holds them."""
        return run_time_dims((*self.batch, self.m, self.n, self.k, *self.x_strides, *self.y_strides))


def run_time_dims(dims: Iterable[Dim]) -> tuple[Expr, ...]:
    """The distinct non-integers among `dims`, in order of first appearance."""
    return tuple(dict.fromkeys(d for d in dims if isinstance(d, Expr)))


def row_major(shape: Dims) -> Dims:
    """Element strides of row-major memory."""
    strides: list[Dim] = []
    step: Dim = 1
    for dim in reversed(shape):
        strides.append(step)
        step = mul(step, dim)
    return tuple(reversed(strides))


def permuted(shape: Dims, permutation: Sequence[int]) -> tuple[Dims, Dims]:
    """Shape and element strides of row-major memory whose axes are taken in the order `permutation`."""
    strides = row_major(shape)
    return tuple(shape[p] for p in permutation), tuple(strides[p] for p in permutation)


def check_dtype(dtype: DType) -> None:
    if dtype not in BOOL + REAL:
        names = ", ".join(d.name for d in BOOL + REAL)
        raise DTypeError(f"native matrix products take {names}; not {dtype.name}: interpret the operation instead")
