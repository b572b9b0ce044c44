"""`torch.fft`: discrete Fourier transforms along one dimension, two or several, with gradients.

`n` or `s` cut the input or fill it with zeros to these sizes first. `norm` is "backward" (the inverse divides by the
number of elements; the default), "forward" (the forward one does) or "ortho" (both divide by its root). Integers become
the default dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops

from .device import get_default_dtype
from .dispatch import apply
from .ops.creation import arange
from .ops.movement import axis_of
from .ops.out import add_out
from .ops.padding import pad_constant
from .ops.repetition import roll
from .promotion import as_operand, complex_of
from .tensor import Tensor, shape_of

_OTHER_WAY = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def fft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along dim."""
    return fftn(input, _one(n), (dim,), norm)


def ifft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse transform along dim."""
    return ifftn(input, _one(n), (dim,), norm)


def rfft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first half, n // 2 + 1 elements, of a real input's transform."""
    return rfftn(input, _one(n), (dim,), norm)


def irfft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real input of rfft from its result; n is 2 (m - 1) by default."""
    return irfftn(input, _one(n), (dim,), norm)


def hfft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real transform of a signal that is the conjugate of its reverse, given its first half."""
    return hfftn(input, _one(n), (dim,), norm)


def ihfft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of hfft: the first half of a real input's inverse transform."""
    return ihfftn(input, _one(n), (dim,), norm)


def fft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """fftn of two dimensions."""
    return fftn(input, s, dim, norm)


def ifft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """ifftn of two dimensions."""
    return ifftn(input, s, dim, norm)


def rfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """rfftn of two dimensions."""
    return rfftn(input, s, dim, norm)


def irfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """irfftn of two dimensions."""
    return irfftn(input, s, dim, norm)


def hfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """hfftn of two dimensions."""
    return hfftn(input, s, dim, norm)


def ihfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """ihfftn of two dimensions."""
    return ihfftn(input, s, dim, norm)


def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform along each of `dim` (all dimensions by default)."""
    axes, sizes = _places(input, s, dim)
    return _complex_transform(_resized(_as_complex(input), axes, sizes), axes, False, _norm(norm))


def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of fftn."""
    axes, sizes = _places(input, s, dim)
    return _complex_transform(_resized(_as_complex(input), axes, sizes), axes, True, _norm(norm))


def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """fftn of a real input, the first half along the last of `dim`."""
    x, axes = _real_input("rfftn", input, s, dim)
    half = apply(ops.RFFT, (x,), {"axis": axes[-1], "norm": _norm(norm)})
    return _complex_transform(half, axes[:-1], False, _norm(norm))


def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of rfftn; the last size is 2 (m - 1) by default."""
    x, axes, n = _half_input(input, s, dim)
    x = _complex_transform(x, axes[:-1], True, _norm(norm))
    return apply(ops.IRFFT, (x,), {"axis": axes[-1], "n": n, "norm": _norm(norm)})


def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """fftn, then hfft along the last of `dim`."""
    x, axes, n = _half_input(input, s, dim)
    x = _complex_transform(x, axes[:-1], False, _norm(norm))
    return apply(ops.IRFFT, (x.conj(),), {"axis": axes[-1], "n": n, "norm": _OTHER_WAY[_norm(norm)]})


def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of hfftn."""
    x, axes = _real_input("ihfftn", input, s, dim)
    half = apply(ops.RFFT, (x,), {"axis": axes[-1], "norm": _OTHER_WAY[_norm(norm)]}).conj()
    return _complex_transform(half, axes[:-1], True, _norm(norm))


def fftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of fft's elements for samples d apart: 0, 1, ..., -1 over n d."""
    x = arange(n, **{"dtype": get_default_dtype(), **options})
    return x.where(x < (n + 1) // 2, x - n) * (1.0 / (n * d))


def rfftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of rfft's elements."""
    return arange(n // 2 + 1, **{"dtype": get_default_dtype(), **options}) * (1.0 / (n * d))


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The elements moved so that frequency 0 is in the middle."""
    axes = _shifted(input, dim)
    return roll(input, [shape_of(input)[a] // 2 for a in axes], axes)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of fftshift."""
    axes = _shifted(input, dim)
    return roll(input, [(shape_of(input)[a] + 1) // 2 for a in axes], axes)


def _shifted(x: Tensor, dim: Any) -> list[int]:
    if dim is None:
        return list(range(x.ndim))
    return [axis_of(d, x.ndim) for d in ([dim] if isinstance(dim, int) else dim)]


def _one(n: Any) -> Any:
    return None if n is None else (n,)


def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in _OTHER_WAY:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def _places(x: Tensor, s: Any, dim: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The axes to transform and their sizes; None where the input keeps its own."""
    if isinstance(dim, int):
        dim = (dim,)
    if isinstance(s, int):
        s = (s,)
    if dim is None:
        if s is not None and len(s) > x.ndim:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {x.ndim} dimensions.")
        dim = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    if x.ndim == 0 and len(dim):
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    axes = tuple(axis_of(d, x.ndim) for d in dim)
    if len(set(axes)) != len(axes):
        raise RuntimeError("FFT dims must be unique")
    if s is not None and len(s) != len(axes):
        raise RuntimeError("When given, dim and shape arguments must have the same length")
    sizes = [None] * len(axes) if s is None else [None if n == -1 else n for n in s]
    for n in sizes:
        if n is not None and n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return axes, sizes


def _resized(x: Tensor, axes: Sequence[int], sizes: Sequence[Any]) -> Tensor:
    for axis, n in zip(axes, sizes):
        if n is None and not shape_of(x)[axis]:
            raise RuntimeError("Invalid number of data points (0) specified")
        if n is None or n == shape_of(x)[axis]:
            continue
        have = shape_of(x)[axis]
        x = x.narrow(axis, 0, n) if n < have else pad_constant(x, {axis: (0, n - have)}, 0)
    return x


def _as_complex(x: Tensor) -> Tensor:
    if x.dtype.is_complex:
        return x
    x = _as_float(x)
    return as_operand(x, complex_of(x.dtype))


def _as_float(x: Tensor) -> Tensor:
    if not x.dtype.is_floating_point:
        return as_operand(x, get_default_dtype())
    if x.dtype.bits == 16:
        raise RuntimeError(f"Unsupported dtype {x.dtype.name}")
    return x


def _real_input(name: str, input: Tensor, s: Any, dim: Any) -> tuple[Tensor, tuple[int, ...]]:
    if input.dtype.is_complex:
        raise RuntimeError(f"{name} expects a real-valued input tensor, but got {input.dtype.name}")
    axes, sizes = _places(input, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    return _resized(_as_float(input), axes, sizes), axes


def _half_input(input: Tensor, s: Any, dim: Any) -> tuple[Tensor, tuple[int, ...], Any]:
    """The input with n // 2 + 1 elements along the last axis, for a result of n."""
    axes, sizes = _places(input, s, dim)
    if not axes:
        raise RuntimeError("irfftn must transform at least one axis")
    n = sizes[-1]
    if n is None:
        n = (shape_of(input)[axes[-1]] - 1) * 2
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return _resized(_as_complex(input), axes, [*sizes[:-1], n // 2 + 1]), axes, n


def _complex_transform(x: Tensor, axes: Sequence[int], inverse: bool, norm: str) -> Tensor:
    if not axes:
        return x
    return apply(ops.FFT, (x,), {"axes": tuple(axes), "inverse": inverse, "norm": norm})


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

add_out(globals(), "fft")
