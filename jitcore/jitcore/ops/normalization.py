"""Normalizations and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import float32

from ..dispatch import apply, write
from ..random import Generator
from ..state import state
from ..tensor import Tensor, row_major, shape_of
from ..typeinfo import finfo
from .half import first_in_float32, reals_in_float32
from .inplace import store
from .padding import pad
from .reduction import count_of, reduce
from .sampling import uniform_bits


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, x - mean and biased variance over axes, which are kept as 1."""
    count = count_of(x, axes)
    mean = reduce(ops.SUM, x, axes, True) / count
    centred = x - mean
    return mean, centred, reduce(ops.SUM, centred * centred, axes, True) / count


@first_in_float32
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias for each channel of input [N, C, ...].

    In training the batch's own mean and biased variance are used, and the running ones (with the unbiased variance)
    are updated in place; otherwise the running ones are used.
    """
    channels = shape_of(input)[1] if input._array.ndim > 1 else 0
    for name, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if t is not None and shape_of(t) != (channels,):
            raise RuntimeError(f"{name} should contain {channels} elements not {t._array.size}")
    wide = (1, channels) + (1,) * (input._array.ndim - 2)
    if training:
        axes = (0, *range(2, input._array.ndim))
        count = count_of(input, axes)
        if count == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(shape_of(input))}"
            )
        mean, centred, var = _moments(input, axes)
        if running_mean is not None and running_var is not None:
            _track(running_mean, mean, momentum)
            _track(running_var, var.detach() * count / (count - 1), momentum)
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
        mean, var = running_mean.reshape(wide), running_var.reshape(wide)
        centred = input - mean
    result = centred * (var + eps).rsqrt()
    return row_major(_scaled(result, weight, bias, wide))


def _track(running: Tensor, new: Tensor, momentum: float) -> None:
    """running = (1 - momentum) * running + momentum * new, in place and outside autograd."""
    before = state.grad_enabled
    state.grad_enabled = False
    try:
        write(running, running * (1 - momentum) + new.reshape(shape_of(running)) * momentum)
    finally:
        state.grad_enabled = before


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None, wide: Sequence[int]) -> Tensor:
    if weight is not None:
        x = x * weight.reshape(wide)
    return x if bias is None else x + bias.reshape(wide)


@reals_in_float32
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias over the last dimensions, which must be normalized_shape."""
    axes = _last_axes("layer_norm", input, normalized_shape, weight, bias)
    _, centred, var = _moments(input, axes)
    result = centred * (var + eps).rsqrt()
    result = result if weight is None else result * weight
    return row_major(result if bias is None else result + bias)


@reals_in_float32
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """input / sqrt(mean(input ** 2) + eps) * weight over the last dimensions."""
    axes = _last_axes("rms_norm", input, normalized_shape, weight, None)
    if eps is None:
        eps = finfo(input.dtype).eps
    scale = (reduce(ops.SUM, input * input, axes, True) / count_of(input, axes) + eps).rsqrt()
    result = input * scale
    return result if weight is None else result * weight


def _last_axes(name: str, input: Tensor, normalized_shape: Any, *parameters: Tensor | None) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    rank = input._array.ndim
    if shape_of(input)[rank - len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, "
            f"{', '.join(str(n) for n in shape)}], but got "
            f"input of size {list(shape_of(input))} ({name})"
        )
    for t in parameters:
        if t is not None and shape_of(t) != shape:
            raise RuntimeError(
                f"{name}: weight and bias must have shape {list(shape)}, but one has {list(shape_of(t))}"
            )
    return tuple(range(rank - len(shape), rank))


@reals_in_float32
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalization over groups of channels of each sample of input [N, C, ...]."""
    n, c, *rest = shape_of(input)
    channels = shape_of(input)[1]
    if channels % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(shape_of(input))} and num_groups={num_groups}"
        )
    size: Any = c // num_groups
    for d in rest:
        size = size * d
    grouped = input.reshape((n, num_groups, size))
    _, centred, var = _moments(grouped, (2,))
    result = (centred * (var + eps).rsqrt()).reshape(shape_of(input))
    return _scaled(result, weight, bias, (1, channels) + (1,) * len(rest))


@first_in_float32
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalization of each channel of each sample of input [N, C, ...]."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, input._array.ndim))
    mean, centred, var = _moments(input, axes)
    if running_mean is not None and running_var is not None:
        count = count_of(input, axes)
        _track(running_mean, mean.detach().mean(0), momentum)
        _track(running_var, var.detach().mean(0) * count / (count - 1), momentum)
    wide = (1, shape_of(input)[1]) + (1,) * (input._array.ndim - 2)
    return _scaled(centred * (var + eps).rsqrt(), weight, bias, wide)


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Elements set to 0 with probability p, the rest divided by 1 - p, while training."""
    return _dropped(input, shape_of(input), p, training, inplace, generator)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """dropout of whole channels of [N, C, L]."""
    return _dropped(input, (*shape_of(input)[:-1], 1), p, training, inplace, None)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """dropout of whole channels of [N, C, H, W]."""
    return _dropped(input, (*shape_of(input)[:-2], 1, 1), p, training, inplace, None)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """dropout of whole channels of [N, C, D, H, W]."""
    return _dropped(input, (*shape_of(input)[:-3], 1, 1, 1), p, training, inplace, None)


def _dropped(
    input: Tensor, shape: tuple, p: float, training: bool, inplace: bool, generator: Generator | None
) -> Tensor:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        result = input * 0.0
    else:
        kept = apply(ops.CAST, (uniform_bits(shape, float32, generator) >= p,), {"dtype": input.dtype})
        result = input * (kept * (1.0 / (1.0 - p)))
    return store(input, result) if inplace else result


_ALPHA = -1.7580993408473766
"""Minus the product of SELU's scale and alpha: what a unit that is turned off saturates to (Klambauer et al., 2017)."""


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps the mean and variance of standard normal inputs, for SELU networks."""
    return _alpha_dropped(input, shape_of(input), p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels of [N, C, ...]."""
    if not training or p == 0:
        return input
    if input._array.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _alpha_dropped(input, (*shape_of(input)[:2], *[1] * (input._array.ndim - 2)), p, training, inplace)


def _alpha_dropped(input: Tensor, shape: tuple, p: float, training: bool, inplace: bool) -> Tensor:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        result = input * 0.0
    else:
        kept = apply(ops.CAST, (uniform_bits(shape, float32, None) >= p,), {"dtype": input.dtype})
        scale = ((1 - p) * (1 + p * _ALPHA**2)) ** -0.5
        result = (input * kept + _ALPHA * (1 - kept)) * scale - scale * _ALPHA * p
    return store(input, result) if inplace else result


@reals_in_float32
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input / (k + alpha * mean of squares over `size` neighbouring channels) ** beta."""
    squares = pad((input * input).movedim(1, -1), (size // 2, (size - 1) // 2))
    means = squares.unfold(squares._array.ndim - 1, size, 1).mean(-1).movedim(-1, 1)
    return input / (means * alpha + k) ** beta
