"""Chains of casts that lose nothing on the way become one cast, or none.

```
%0 = cast(%x) {dtype = f32} : f32[4]             %x: f16[4]
%1 = cast(%0) {dtype = f64} : f64[4]       ->    %1 = cast(%x) {dtype = f64} : f64[4]
%2 = cast(%1) {dtype = f16} : f16[4]             return(%1, %x)
return(%1, %2)
```
"""

from __future__ import annotations

from ..builder import Builder
from ..dtypes import DType, bfloat16, float16, float32, float64
from ..graph import Operation, Value
from ..ops import CAST
from .match import defined_by, tensor
from .rewrite import Patterns

casts = Patterns("casts")

_INTEGER_BITS = {float16: 11, bfloat16: 8, float32: 24, float64: 53}
"""How many bits the magnitude of an integer may have for the float to hold it, whatever it is."""


@casts.on(CAST)
def cast_of_cast(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], CAST)
    if inner is None:
        return None
    x = inner.operands[0]
    first, middle, last = tensor(x).dtype, tensor(inner.result).dtype, tensor(op.result).dtype
    if not (holds(middle, first) and _same_way(first, middle, last)) and not _wraps_twice(first, middle, last):
        return None
    return x if first is last else build.value(CAST, x, dtype=last)


def holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is one of `wide`."""
    if wide is narrow or narrow.kind == "bool":
        return True
    if wide.is_complex:
        part = float32 if wide.bits == 64 else float64
        return narrow.bits <= wide.bits if narrow.is_complex else holds(part, narrow)
    if narrow.is_integer:
        if wide.is_integer:
            return wide.kind == "int" and (
                wide.bits > narrow.bits or (wide.bits == narrow.bits and narrow.kind == "int")
            )
        return _INTEGER_BITS.get(wide, 0) >= narrow.bits - (narrow.kind == "int")
    return narrow.is_floating_point and wide.is_floating_point and wide.bits > narrow.bits


def _same_way(first: DType, middle: DType, last: DType) -> bool:
    """Whether casting `middle`, which holds `first`, to `last` does what casting `first` does.

    A value outside an integer's range wraps when it comes from an integer, but not when it comes from a float; so a
    change of kind on the way matters there, and floats of different widths may differ as well.
    """
    if not last.is_integer or first.kind == "bool" or holds(last, first):
        return True
    return first.is_integer and middle.is_integer


def _wraps_twice(first: DType, middle: DType, last: DType) -> bool:
    """Integers that lose high bits in two steps lose the same ones in one."""
    return first.is_integer and middle.is_integer and last.is_integer and middle.bits >= last.bits
