"""Limits of dtypes: `finfo` for floats, `iinfo` for integers."""

from __future__ import annotations

from jitcore_ir.dtypes import DType

from .device import get_default_dtype

# bits of the significand after the point, smallest and largest exponent
_FLOATS = {
    "float16": (10, -14, 15),
    "bfloat16": (7, -126, 127),
    "float32": (23, -126, 127),
    "float64": (52, -1022, 1023),
}


class finfo:
    """Limits of a floating dtype: bits, eps, max, min, tiny (= smallest_normal), resolution."""

    def __init__(self, type: DType | None = None) -> None:
        dtype = type or get_default_dtype()
        if dtype.is_complex:
            from jitcore_ir.dtypes import float32, float64

            dtype = float64 if dtype.bits == 128 else float32
        if dtype.name not in _FLOATS:
            raise TypeError(f"finfo() requires a floating point input type, not {dtype.name}. Use iinfo instead")
        digits, low, high = _FLOATS[dtype.name]
        self.dtype = dtype.name
        self.bits = dtype.bits
        self.eps = 2.0**-digits
        self.tiny = self.smallest_normal = 2.0**low
        self.max = (2.0 - self.eps) * 2.0**high
        self.min = -self.max
        self.resolution = 10.0 ** -int(digits * 0.30103)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution}, min={self.min}, max={self.max}, eps={self.eps}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: bits, max, min."""

    def __init__(self, type: DType) -> None:
        if not type.is_integer:
            raise TypeError(f"iinfo() requires an integer input type, not {type.name}. Use finfo instead")
        self.dtype = type.name
        self.bits = type.bits
        signed = type.kind == "int"
        self.max = 2 ** (type.bits - signed) - 1
        self.min = -(2 ** (type.bits - 1)) if signed else 0

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
