"""NumPy kernels of Fourier transforms. NumPy 2 transforms float32 in float32; what older ones widen is rounded back."""

from __future__ import annotations

from typing import Literal

import numpy as np

from jitcore_ir import ops
from jitcore_ir.spec import OpSpec

from .floating import Kernel, quiet

Norm = Literal["backward", "ortho", "forward"]


@quiet
def fft(x: np.ndarray, axes: tuple[int, ...], inverse: bool, norm: Norm) -> np.ndarray:
    if not x.size or not axes:
        return x.copy()
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, None, axes, norm).astype(x.dtype, copy=False)


@quiet
def rfft(x: np.ndarray, axis: int, norm: Norm) -> np.ndarray:
    dtype = np.result_type(x.dtype, np.complex64)
    if not x.size:
        return np.empty((*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1 :]), dtype)
    return np.fft.rfft(x, None, axis, norm).astype(dtype, copy=False)


@quiet
def irfft(x: np.ndarray, axis: int, n: int, norm: Norm) -> np.ndarray:
    dtype = x.real.dtype
    if not x.size:
        return np.empty((*x.shape[:axis], n, *x.shape[axis + 1 :]), dtype)
    return np.fft.irfft(x, n, axis, norm).astype(dtype, copy=False)


KERNELS: dict[OpSpec, Kernel] = {ops.FFT: fft, ops.RFFT: rfft, ops.IRFFT: irfft}
