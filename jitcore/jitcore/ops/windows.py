"""Window functions, as `torch.*_window` and `torch.signal.windows` spell them.

Computed in float64 and rounded once. A window of M elements is symmetric, or (`sym=False`, `periodic=True`) the first M
of a symmetric one of M + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from jitcore_ir.dtypes import DType

from ..device import check_device, get_default_dtype
from ..dispatch import constant
from ..tensor import Tensor
from .creation import check_options


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Any) -> Tensor:
    """a[0] - a[1] cos(x) + a[2] cos(2 x) - ..., over one period of x."""
    terms = list(a)
    if not terms:
        raise ValueError("Coefficients cannot be empty")
    return _window(M, sym, options, lambda n, last: _cosines(terms, n, last))


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(x)."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.54 - 0.46 cos(x)."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.5 - 0.5 cos(x)."""
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(x) + 0.08 cos(2 x)."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """The minimum 4-term Blackman-Harris window of Nuttall."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """A triangle with zeros at its ends."""
    return _window(M, sym, options, lambda n, last: 1 - np.abs(2 * n / last - 1))


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Half a period of the sine, at the middles of M steps."""
    return _window(M, sym, options, lambda n, last: np.sin(np.pi * (n + 0.5) / (last + 1)))


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-|n - center| / tau)."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    return _window(M, sym, options, lambda n, last: np.exp(-np.abs(n - (last / 2 if center is None else center)) / tau))


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-(n - middle)**2 / (2 std**2))."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window(M, sym, options, lambda n, last: np.exp(-(((n - last / 2) / std) ** 2) / 2))


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """I0(beta sqrt(1 - x**2)) / I0(beta) for x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def values(n: np.ndarray, last: int) -> np.ndarray:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * n / last - 1) ** 2, 0))) / np.i0(beta)

    return _window(M, sym, options, values)


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """0.5 - 0.5 cos(x)."""
    return _named("hann_window", window_length, periodic, hann, options)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> Tensor:
    """alpha - beta cos(x)."""
    return _named("hamming_window", window_length, periodic, general_cosine, options, a=[alpha, beta])


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(x) + 0.08 cos(2 x)."""
    return _named("blackman_window", window_length, periodic, blackman, options)


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """A triangle with zeros at its ends."""
    return _named("bartlett_window", window_length, periodic, bartlett, options)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    """I0(beta sqrt(1 - x**2)) / I0(beta) for x from -1 to 1."""
    return _named("kaiser_window", window_length, periodic, kaiser, options, beta=beta)


def _named(name: str, length: int, periodic: bool, window: Callable, options: dict, **more: Any) -> Tensor:
    dtype = options.get("dtype")
    if dtype is not None and not dtype.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype.name}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    return window(length, sym=not periodic, **more, **options)


def _cosines(terms: list[float], n: np.ndarray, last: int) -> np.ndarray:
    x = 2 * np.pi * n / last
    return np.sum([(-1) ** k * c * np.cos(k * x) for k, c in enumerate(terms)], 0)


def _window(M: int, sym: bool, options: dict, values: Callable[[np.ndarray, int], np.ndarray]) -> Tensor:
    """The window whose element n of `last` + 1 has `values(n, last)`."""
    return _made(M, sym, values, **options)


def _made(
    M: int,
    sym: bool,
    values: Callable[[np.ndarray, int], np.ndarray],
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **rest: Any,
) -> Tensor:
    check_device(device)
    check_options(rest)
    dtype = dtype or get_default_dtype()
    if M < 0:
        raise ValueError(f"Window length must be non-negative, got {M} instead.")
    if not dtype.is_floating_point:
        raise ValueError(f"window functions expect floating point dtypes, got: {dtype.name}")
    last = M - 1 if sym else M
    array = np.ones(M) if M < 2 else values(np.arange(M, dtype=np.float64), last)
    made = constant(array.astype(dtype.numpy))
    return made.requires_grad_() if requires_grad else made
