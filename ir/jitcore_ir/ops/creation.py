"""Values made from nothing: constants, counters, sizes, random bits."""

from __future__ import annotations

import numpy as np

from ..dtypes import REAL, DType, from_numpy, int32, int64
from ..errors import DTypeError, ShapeError
from ..shapes import Expr
from ..spec import Kind
from ..types import TensorType
from .rules import check_axis, check_dtype, check_sizes, op

__all__ = ["CONSTANT", "IOTA", "SIZE", "RANDOM_BITS"]


@op("constant", (), {"value": Kind.DENSE}, "An array known when the graph is built.")
def CONSTANT(value: np.ndarray) -> TensorType:
    return TensorType(from_numpy(value.dtype), value.shape)


@op("iota", (), {"shape": Kind.DIMS, "axis": Kind.INT, "dtype": Kind.DTYPE}, "0, 1, 2 ... along axis.")
def IOTA(shape: tuple[int | Expr, ...], axis: int, dtype: DType) -> TensorType:
    check_axis("iota", axis, len(shape))
    check_dtype("iota", "result", dtype, REAL)
    check_sizes("iota", shape)
    return TensorType(dtype, tuple(shape))


@op("size", (), {"dim": Kind.DIM}, "A dimension as an int64 value.")
def SIZE(dim: int | Expr) -> TensorType:
    return TensorType(int64)


@op(
    "random_bits",
    ("seed", "offset"),
    {"shape": Kind.DIMS},
    """32 random bits per element as int32, from the counter-based generator Philox4x32-10 (Salmon et al.,
    "Parallel random numbers: as easy as 1, 2, 3", 2011). Element e (row-major) is lane e % 4 of the block whose
    128-bit counter is offset + e // 4 (low 64 bits; the high 64 are 0) under the 64-bit key `seed`.""",
)
def RANDOM_BITS(seed: TensorType, offset: TensorType, shape: tuple[int | Expr, ...]) -> TensorType:
    for name, operand in (("seed", seed), ("offset", offset)):
        if operand.dtype is not int64:
            raise DTypeError(f"random_bits: {name} is {operand.dtype.name}, not int64")
        if operand.shape:
            raise ShapeError(f"random_bits: {name} has {operand.rank} dimensions, not 0")
    check_sizes("random_bits", shape)
    return TensorType(int32, tuple(shape))
