"""How kernels treat floating point: no NumPy warnings, 16-bit floats computed in float32, results never scalars.

IEEE arithmetic is the contract: 1 / 0 is inf and log(-1) is NaN, without a RuntimeWarning and whatever the caller's
`np.errstate` says. `np.errstate` costs over a microsecond a call, so the context variable behind it is set directly
where NumPy has it (2.0 and later): about 0.1 us. NumPy 1.26 takes the `np.errstate` way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Kernel = Callable[..., np.ndarray]

try:
    from numpy._core._ufunc_config import _extobj_contextvar  # type: ignore[attr-defined]
    from numpy._core.umath import _make_extobj

    _set, _reset, _IGNORE = _extobj_contextvar.set, _extobj_contextvar.reset, _make_extobj(all="ignore")
except ImportError:

    def _set(_: Any) -> np.errstate:
        state = np.errstate(all="ignore")
        state.__enter__()
        return state

    def _reset(state: np.errstate) -> None:
        state.__exit__(None, None, None)

    _IGNORE = None  # type: ignore[assignment]

# `out=...` (NumPy 2.3) makes a ufunc give a 0-d array where it would give a scalar: 0.1 us less than `asarray`.
_HAS_ELLIPSIS_OUT = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (2, 3)


def exact(ufunc: np.ufunc) -> Kernel:
    """The kernel that is `ufunc` itself, for those that raise no floating-point flags (comparisons, bit operations)."""
    if _HAS_ELLIPSIS_OUT:
        return functools.partial(ufunc, out=...)
    return lambda *arrays: np.asarray(ufunc(*arrays))


def unary(ufunc: np.ufunc) -> Kernel:
    """The kernel that is `ufunc` of one array, silent about floating-point exceptions."""

    def kernel(x: np.ndarray) -> np.ndarray:
        if _Order.is_fixed:
            x = forwards(x)
        token = _set(_IGNORE)
        try:
            return ufunc(x, out=...)
        finally:
            _reset(token)

    return kernel if _HAS_ELLIPSIS_OUT else quiet(lambda x: np.asarray(ufunc(forwards(x))))


def binary(ufunc: np.ufunc) -> Kernel:
    """The kernel that is `ufunc` of two arrays, silent about floating-point exceptions."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if _Order.is_fixed:
            x, y = forwards(x), forwards(y)
        token = _set(_IGNORE)
        try:
            return ufunc(x, y, out=...)
        finally:
            _reset(token)

    return kernel if _HAS_ELLIPSIS_OUT else quiet(lambda x, y: np.asarray(ufunc(forwards(x), forwards(y))))


def of_reals(kernel: Kernel) -> Kernel:
    """`kernel` refusing complex operands, whose order NumPy makes up (by real part, then imaginary part)."""

    def refusing(x: np.ndarray, *rest: np.ndarray, **attributes: Any) -> np.ndarray:
        if x.dtype.kind == "c":
            raise TypeError("complex numbers have no order")
        return kernel(x, *rest, **attributes)

    return refusing


def quiet(kernel: Kernel) -> Kernel:
    """`kernel` with floating-point exceptions ignored."""

    @functools.wraps(kernel)
    def silent(*arrays: np.ndarray, **attributes: Any) -> np.ndarray:
        token = _set(_IGNORE)
        try:
            return kernel(*arrays, **attributes)
        finally:
            _reset(token)

    return silent


def in_float32(kernel: Kernel) -> Kernel:
    """`kernel` with 16-bit float operands widened to float32 and its result rounded back, once."""

    @functools.wraps(kernel)
    def widened(*arrays: np.ndarray, **attributes: Any) -> np.ndarray:
        dtype = arrays[0].dtype
        if dtype.itemsize != 2 or not is_half(dtype):
            return kernel(*arrays, **attributes)
        wide = [a.astype(np.float32) if a.dtype is dtype or a.dtype == dtype else a for a in arrays]
        return kernel(*wide, **attributes).astype(dtype)

    return widened


class _Order:
    """Whether sums and products add in an order that the shape alone decides."""

    is_fixed = False


def fix_order() -> None:
    """Let every result depend on values and shapes alone, from now on: exact programs ask for it.

    Sums and products round by the order in which they add. Some kernels leave that order to NumPy or BLAS, which choose
    it by strides too. Fixing it costs a copy where memory lies otherwise: a row vector times a row-major matrix of
    1024 x 1024 takes 5 ms instead of 0.07, a sum over a transposed matrix of that size 1.2 instead of 0.2.
    """
    _Order.is_fixed = True


def order_is_fixed() -> bool:
    return _Order.is_fixed


def ordered(x: np.ndarray) -> np.ndarray:
    """An operand of a sum or product: row-major and aligned where the order is fixed, else as it is."""
    return row_major(x) if _Order.is_fixed else x


def row_major(x: np.ndarray) -> np.ndarray:
    """x, or a row-major copy where it lies otherwise or off its alignment."""
    return x if x.flags.num & _PLAIN == _PLAIN else np.array(x, order="C")


def forwards(x: np.ndarray) -> np.ndarray:
    """x, or where the order is fixed a copy if it runs backwards in memory: with AVX-512, NumPy computes `exp` and its
    like by vector code, but not of such an operand, and the two round differently."""
    if not _Order.is_fixed or x.flags.num & _PLAIN == _PLAIN:
        return x
    return np.array(x, order="K") if any(step < 0 for step in x.strides) else x


_PLAIN = 0x101
"""Bits of `ndarray.flags.num` (numpy/ndarraytypes.h): row-major and aligned."""


def is_half(dtype: np.dtype) -> bool:
    """True for float16 and bfloat16 (a NumPy extension type, whose `kind` differs between ml_dtypes versions)."""
    return dtype.itemsize == 2 and dtype.kind not in "iu"


def accumulator(dtype: np.dtype) -> np.dtype:
    """What sums and products of `dtype` are carried in: float32 for 16-bit floats, else `dtype`."""
    return np.dtype(np.float32) if is_half(dtype) else dtype
