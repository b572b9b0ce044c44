"""NumPy kernels of complex numbers and their parts. The views are views of the operand's memory."""

from __future__ import annotations

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from .floating import Kernel, exact

_COMPLEX: dict[np.dtype, np.dtype] = {
    np.dtype(np.float32): np.dtype(np.complex64),
    np.dtype(np.float64): np.dtype(np.complex128),
}
_PART = {whole: part for part, whole in _COMPLEX.items()}


def make_complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    result = np.empty(np.broadcast_shapes(real.shape, imag.shape), _COMPLEX[real.dtype])
    result.real = real
    result.imag = imag
    return result


def real(x: np.ndarray) -> np.ndarray:
    return x.real


def imag(x: np.ndarray) -> np.ndarray:
    return x.imag


def view_as_real(x: np.ndarray) -> np.ndarray:
    part = _PART[x.dtype]
    shape, strides = (*x.shape, 2), (*x.strides, part.itemsize)
    return np.lib.stride_tricks.as_strided(x.real, shape, strides, writeable=x.flags.writeable)


def view_as_complex(x: np.ndarray) -> np.ndarray:
    """A view where memory holds the parts of each number side by side, else a copy."""
    whole = _COMPLEX[x.dtype]
    if x.strides[-1] != x.itemsize or any(s % whole.itemsize for s, n in zip(x.strides, x.shape[:-1]) if n > 1):
        x = np.ascontiguousarray(x)
    return x.view(whole)[..., 0]


KERNELS: dict[OpSpec, Kernel] = {
    ops.MAKE_COMPLEX: make_complex,
    ops.CONJ: exact(np.conjugate),
    ops.REAL: real,
    ops.IMAG: imag,
    ops.VIEW_AS_REAL: view_as_real,
    ops.VIEW_AS_COMPLEX: view_as_complex,
}
