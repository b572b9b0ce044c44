"""Element types, their NumPy counterparts and how two of them promote.

A `DType` is what users see as `jitcore.float32` and what the IR prints as `f32`.
bfloat16 needs the `ml_dtypes` package, which is imported only when its NumPy form is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class DType:
    """One element type. There is exactly one instance of each, so `is` compares them.

    `name` is PyTorch's name ("float32"), `short` the IR's ("f32"), `kind` one of
    "bool", "uint", "int", "float", "complex", `bits` the size of one element in bits.
    """

    name: str
    short: str
    kind: str
    bits: int

    @property
    def itemsize(self) -> int:
        """Bytes in one element."""
        return max(self.bits // 8, 1)

    @cached_property
    def numpy(self) -> np.dtype:
        """The NumPy dtype of an array with these elements."""
        if self.name == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(self.name)

    @property
    def is_signed(self) -> bool:
        """Whether there are numbers below zero."""
        return self.kind not in ("bool", "uint")

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "float"

    @property
    def is_complex(self) -> bool:
        return self.kind == "complex"

    @property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers, False for bool."""
        return self.kind in ("int", "uint")

    def to_complex(self) -> DType:
        """The complex dtype whose parts have this dtype. Raises ValueError where there is none."""
        found = {"bfloat16": "complex64", "float32": "complex64", "float64": "complex128"}.get(self.name, self.name)
        if not dtype_named(found).is_complex:
            raise ValueError(f"{self.name} is not the dtype of a complex number's parts; those are float32 and float64")
        return dtype_named(found)

    def to_real(self) -> DType:
        """The dtype of a complex dtype's parts; itself where it is real."""
        return dtype_named({"complex64": "float32", "complex128": "float64"}.get(self.name, self.name))

    def __repr__(self) -> str:
        return f"jitcore.{self.name}"

    def __reduce__(self) -> tuple:
        return (dtype_named, (self.name,))


bool_ = DType("bool", "bool", "bool", 8)
uint8 = DType("uint8", "u8", "uint", 8)
int8 = DType("int8", "i8", "int", 8)
int16 = DType("int16", "i16", "int", 16)
int32 = DType("int32", "i32", "int", 32)
int64 = DType("int64", "i64", "int", 64)
float16 = DType("float16", "f16", "float", 16)
bfloat16 = DType("bfloat16", "bf16", "float", 16)
float32 = DType("float32", "f32", "float", 32)
float64 = DType("float64", "f64", "float", 64)
complex64 = DType("complex64", "c64", "complex", 64)
complex128 = DType("complex128", "c128", "complex", 128)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128)
BOOL = (bool_,)
INTEGER = (uint8, int8, int16, int32, int64)
FLOATING = (float16, bfloat16, float32, float64)
COMPLEX = (complex64, complex128)
REAL = INTEGER + FLOATING
NUMERIC = REAL + COMPLEX

_BY_NAME = {d.name: d for d in ALL} | {d.short: d for d in ALL}


def dtype_named(name: str) -> DType:
    """The dtype called `name`, by PyTorch's name or the IR's. Raises ValueError for an unknown one."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"unknown dtype {name!r}; known are {', '.join(d.name for d in ALL)}") from None


def from_numpy(dtype: np.dtype) -> DType:
    """The dtype of a NumPy array's elements. Raises TypeError where jitcore has no such type."""
    found = _BY_NAME.get(np.dtype(dtype).name)
    if found is None:
        raise TypeError(
            f"NumPy dtype {np.dtype(dtype)} has no jitcore counterpart; convert the array to one of "
            f"{', '.join(d.name for d in ALL)} first"
        )
    return found


def promote(a: DType, b: DType) -> DType:
    """The dtype that holds both, by PyTorch's lattice (bool < uint8/ints < floats < complex)."""
    if a is b:
        return a
    rank = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}
    if rank[a.kind] < rank[b.kind]:
        a, b = b, a
    if rank[a.kind] == rank[b.kind]:
        return _promote_within(a, b)
    if a.kind == "complex" and b is float64:
        return complex128
    return a


def _promote_within(a: DType, b: DType) -> DType:
    """Promote two different dtypes of one rank."""
    if a.kind != b.kind:  # uint8 with a signed integer
        signed = a if a.kind == "int" else b
        return signed if signed.bits > 8 else int16
    if a.bits == b.bits:  # float16 with bfloat16
        return float32
    return a if a.bits > b.bits else b
