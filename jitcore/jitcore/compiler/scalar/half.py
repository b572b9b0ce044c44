"""16-bit floats from and to their bits, for targets that do not convert them in hardware. `bits` are int32 scalars."""

from __future__ import annotations

from jitcore_ir.dtypes import DType, bfloat16, float32, float64, int32

from .builder import Scalar


def widen(bits: Scalar, dtype: DType) -> Scalar:
    """float32 from the bits of a float16 or bfloat16."""
    if dtype is bfloat16:
        return (bits << 16).bits(float32)
    sign, body = (bits & 0x8000) << 16, (bits & 0x7FFF) << 13
    # Scaling by 2**112 moves the exponent's bias and makes subnormals right; infinity and NaN need all exponent bits.
    scaled = body.bits(float32) * 2.0**112
    magnitude = (body | 0x7F800000).bits(float32).where(body >= 0x0F800000, scaled)
    return (magnitude.bits(int32) | sign).bits(float32)


def narrow_any(x: Scalar, dtype: DType) -> Scalar:
    """`narrow` of any dtype, rounded as NumPy rounds: float64 once to float16, by way of float32 to bfloat16."""
    return narrow(single(x, dtype), dtype)


def single(x: Scalar, dtype: DType) -> Scalar:
    """`x` as the float32 to make the 16-bit float from."""
    return round_to_odd(x) if x.dtype is float64 and dtype is not bfloat16 else x.to(float32)


def narrow(x: Scalar, dtype: DType) -> Scalar:
    """The bits of the float16 or bfloat16 nearest to a float32, halves to even; the upper 16 bits mean nothing."""
    bits = x.bits(int32)
    if dtype is bfloat16:
        rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
        return ((bits >> 16) | 0x40).where(x.differs(x), rounded)
    sign, size = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    normal = (size - 0x38000000 + (((size >> 13) & 1) + 0xFFF)) >> 13
    normal = normal.where(normal < 0x7C00, 0x7C00)
    # Adding 0.5 lines the subnormal's last bit up with float32's, which rounds it to even.
    subnormal = (size.bits(float32) + 0.5).bits(int32) - 0x3F000000
    result = normal.where(size >= 0x38800000, subnormal)
    return result.like(0x7E00).where(size > 0x7F800000, result) | sign


def round_to_odd(x: Scalar) -> Scalar:
    """float64 to float32, truncated with the last bit set where something was cut off, so that rounding once more
    rounds as if once (S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums", 2008)."""
    narrow = x.to(float32)
    back = narrow.to(float64)
    bits = narrow.bits(int32)
    bits = (bits - 1).where(back.apply("abs") > x.apply("abs"), bits)
    odd = (bits | 1).where(back.differs(x) & x.equals(x) & back.apply("abs").differs(float("inf")), bits)
    return odd.bits(float32)
