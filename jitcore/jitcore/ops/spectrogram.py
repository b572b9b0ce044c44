"""Short-time Fourier transforms: the transform of overlapping pieces of a signal, and the signal from those."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops

from .. import fft
from ..dispatch import apply
from ..state import state
from ..tensor import Tensor, method, shape_of
from .complex_numbers import view_as_complex, view_as_real
from .padding import pad, pad_constant


@method
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Transforms of pieces of n_fft elements, hop_length (n_fft // 4) apart, times the window: [*, frequency, piece].

    `center` pads the signal so that piece i is centred on element i * hop_length. `normalized` divides by n_fft's root.
    """
    is_complex = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not is_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft({list(input.shape)}): expected a 1D or 2D tensor")
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    hop, length = _lengths("stft", n_fft, hop_length, win_length)
    onesided = not is_complex if onesided is None else onesided
    if is_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    x = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    window = _full_window("stft", input, n_fft, length, window)
    if not 0 < n_fft <= shape_of(x)[1]:
        raise RuntimeError(f"stft({list(input.shape)}): expected 0 < n_fft <= {shape_of(x)[1]}, but got {n_fft}")
    pieces = x.unfold(1, n_fft, hop)
    pieces = pieces if window is None else pieces * window
    norm = "ortho" if normalized else "backward"
    transform = fft.rfft if onesided else fft.fft
    result = transform(pieces, norm=norm).transpose(1, 2)
    result = result if input.ndim == 2 else result.squeeze(0)
    return result if return_complex else view_as_real(result)


@method
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose stft this is: pieces are added up and divided by the sum of the squared windows.

    `length` cuts or fills the result. Raises RuntimeError where no window covers an element.
    """
    if not input.dtype.is_complex:
        if shape_of(input)[-1:] != (2,):
            raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft")
        input = view_as_complex(input)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"istft({list(input.shape)}): expected a tensor of 2 or 3 dimensions")
    hop, size = _lengths("istft", n_fft, hop_length, win_length)
    rows = shape_of(input)[-2]
    onesided = rows != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if onesided else n_fft
    if rows != expected:
        raise RuntimeError(f"istft: expected the frequency dimension to have {expected} elements, but got {rows}")
    if return_complex and onesided:
        raise RuntimeError("cannot have onesided output if window or input is complex")
    x = input if input.ndim == 3 else input.unsqueeze(0)
    pieces, norm = x.transpose(1, 2), "ortho" if normalized else "backward"
    if return_complex:
        pieces = fft.ifft(pieces, norm=norm)
    else:  # a real signal: the other half holds nothing more
        pieces = fft.irfft(pieces, n_fft, norm=norm)
    window = _full_window("istft", input, n_fft, size, window)
    if window is None:
        window = pieces.new_ones((n_fft,))
    count = shape_of(pieces)[1]
    total = (count - 1) * hop + n_fft
    signal = _added(pieces * window, total, hop)
    weights = _added((window * window).expand(1, count, n_fft), total, hop)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - n_fft // 2 if center else total
    stop = min(end, total)
    signal, weights = signal[:, start:stop], weights[:, start:stop]
    # A recorded program is not to depend on values: it divides by 0 there.
    if state.recorder is None and not bool((weights.detach().abs() > 1e-11).all()):
        raise RuntimeError("window overlap add min: 1 -- some elements are covered by no window")
    result = signal / weights
    if end > stop:
        result = pad_constant(result, {1: (0, end - stop)}, 0)
    return result if input.ndim == 3 else result.squeeze(0)


def _lengths(name: str, n_fft: int, hop_length: int | None, win_length: int | None) -> tuple[int, int]:
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={length}")
    return hop, length


def _full_window(name: str, x: Tensor, n_fft: int, length: int, window: Tensor | None) -> Tensor | None:
    """The window with zeros on both sides, n_fft elements."""
    if window is None:
        if length == n_fft:
            return None
        window = x.new_ones((length,), dtype=x.real.dtype if x.dtype.is_complex else None)
    if window.ndim != 1 or shape_of(window)[0] != length:
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={length}, but got window with size "
            f"{list(window.shape)}"
        )
    left = (n_fft - length) // 2
    return pad_constant(window, {0: (left, n_fft - length - left)}, 0) if length < n_fft else window


def _added(pieces: Tensor, total: Any, hop: int) -> Tensor:
    """Pieces [batch, count, n], each `hop` further on, added up: [batch, total]."""
    return apply(ops.FOLD_WINDOWS, (pieces,), {"spatial": (total,), "stride": (hop,), "dilation": (1,)})
