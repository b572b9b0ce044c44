"""Activations and softmax, elementwise or along one dimension."""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import DType, int64

from ..dispatch import NONE, apply
from ..promotion import as_operand
from ..state import state
from ..tensor import Tensor, memory, method, row_major, shape_of
from .elementwise import sigmoid, tanh, where
from .half import in_float32, reals_in_float32
from .inplace import store, with_inplace
from .movement import axis_of, broadcast_tensors
from .reduction import reduce
from .sampling import rand_like


@with_inplace
@method
def relu(input: Tensor) -> Tensor:
    """max(input, 0), with gradient 0 at 0; NaN stays NaN."""
    zero = as_operand(0, input.dtype)
    return apply(ops.WHERE, (apply(ops.LE, (input, zero), NONE), zero, input), NONE)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input limited to [0, 6]."""
    return _maybe_inplace(input, hardtanh(input, 0.0, 6.0), inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input limited to [min_val, max_val], with gradient 0 at the limits."""
    x = where(input <= min_val, as_operand(min_val, input.dtype), input)
    return _maybe_inplace(input, where(x >= max_val, as_operand(max_val, input.dtype), x), inplace)


def _maybe_inplace(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    return store(input, result) if inplace else result


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, else negative_slope * input."""
    return _maybe_inplace(input, where(input > 0, input, input * negative_slope), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu with a learned slope, one or one per channel (dimension 1)."""
    count = weight._array.size
    if count != 1:
        channels = shape_of(input)[1] if input._array.ndim > 1 else 1
        if count != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{count} and channel size = {channels}."
            )
        weight = weight.reshape((-1,) + (1,) * (input._array.ndim - 2))
    elif not input._array.ndim:
        weight = weight.reshape(())
    return where(input > 0, input, input * weight)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """leaky_relu whose slope is drawn from [lower, upper] for each element while training, else is their mean."""
    from .sampling import uniform_bits

    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = uniform_bits(shape_of(input), input.dtype) * (upper - lower) + lower
    return _maybe_inplace(input, apply(ops.WHERE, (input > 0, input, input * slope)), inplace)


@reals_in_float32
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha * (exp(input) - 1)."""
    positive = input > 0
    below = where(positive, as_operand(0, input.dtype), input)  # exp of large inputs would give inf * 0 in backward
    return _maybe_inplace(input, where(positive, input, below.expm1() * alpha), inplace)


@reals_in_float32
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the self-normalizing constants of Klambauer et al., 2017."""
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return _maybe_inplace(input, elu(input, alpha) * scale, inplace)


@reals_in_float32
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha * (exp(input / alpha) - 1)."""
    positive = input > 0
    below = where(positive, as_operand(0, input.dtype), input)
    return _maybe_inplace(input, where(positive, input, (below / alpha).expm1() * alpha), inplace)


@reals_in_float32
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), Phi the normal distribution function; "tanh" approximates it (Hendrycks and Gimpel, 2016)."""
    if approximate == "none":
        return input * 0.5 * ((input * math.sqrt(0.5)).erf() + 1.0)
    if approximate == "tanh":
        inner = (input + 0.044715 * (input * input * input)) * math.sqrt(2 / math.pi)
        return input * 0.5 * (tanh(inner) + 1.0)
    raise RuntimeError(f"approximate argument must be either none or tanh, not {approximate!r}")


@in_float32
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""
    return _maybe_inplace(input, input * sigmoid(input), inplace)


@reals_in_float32
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input))."""
    return _maybe_inplace(input, input * tanh(softplus(input)), inplace)


@reals_in_float32
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; input itself where beta * input exceeds threshold."""
    scaled = input if beta == 1 else input * beta
    linear = scaled > threshold
    bent = where(linear, as_operand(0, input.dtype), scaled).exp().log1p()
    return where(linear, input, bent if beta == 1 else bent / beta)


@in_float32
def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1.0)


@in_float32
def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - tanh(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where |input| > lambd, else 0."""
    return where((input >= -lambd) & (input <= lambd), as_operand(0, input.dtype), input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved towards 0 by lambd."""
    zero = as_operand(0, input.dtype)
    return where(input > lambd, input - lambd, where(input < -lambd, input + lambd, zero))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where above threshold, else value."""
    return _maybe_inplace(input, where(input <= threshold, as_operand(value, input.dtype), input), inplace)


@reals_in_float32
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """input / 6 + 1/2 limited to [0, 1]."""
    return _maybe_inplace(input, hardtanh(input + 3.0, 0.0, 6.0) / 6.0, inplace)


@reals_in_float32
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input)."""
    zero = as_operand(0, input.dtype)
    above = apply(ops.WHERE, (input >= 3.0, input, input * (input + 3.0) / 6.0))
    return _maybe_inplace(input, apply(ops.WHERE, (input <= -3.0, zero, above)), inplace)


@reals_in_float32
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without overflow."""
    zero = as_operand(0, input.dtype)
    return apply(ops.MINIMUM, (input, zero)) - (-input.abs()).exp().log1p()


@reals_in_float32
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along dim times the sigmoid of the second."""
    axis = axis_of(dim, input._array.ndim)
    if shape_of(input)[axis] % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {shape_of(input)[axis]}")
    a, b = input.chunk(2, axis)
    return a * sigmoid(b)


def _in_float(input: Tensor, dtype: DType | None) -> Tensor:
    if dtype is not None and input.dtype is not dtype:
        return apply(ops.CAST, (input,), {"dtype": dtype})
    if input._array.dtype.kind in "biu":
        raise NotImplementedError(
            f'"softmax" not implemented for {input.dtype.name}; convert to a floating dtype first'
        )
    return input


def _default_dim(input: Tensor, dim: int | None) -> int:
    """The dimension PyTorch chooses where none is given."""
    return (0 if input._array.ndim in (0, 1, 3) else 1) if dim is None else dim


@method
@reals_in_float32
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """exp(input) / sum(exp(input)) along dim, without overflow."""
    x = _in_float(input, dtype)
    if not x._array.ndim:
        return x * 0.0 + 1.0
    axes = (axis_of(_default_dim(x, dim), x._array.ndim),)
    if shape_of(x)[axes[0]] == 0:
        return apply(ops.COPY, (x,))
    top = reduce(ops.AMAX, x.detach(), axes, True)  # any shift gives the same value, so the shift needs no gradient
    e = (x - top).exp()
    return row_major(e / reduce(ops.SUM, e, axes, True))


@method
@reals_in_float32
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """log(softmax(input)), without overflow."""
    x = _in_float(input, dtype)
    if not x._array.ndim:
        return x * 0.0
    axes = (axis_of(_default_dim(x, dim), x._array.ndim),)
    if shape_of(x)[axes[0]] == 0:
        return apply(ops.COPY, (x,))
    shifted = x - reduce(ops.AMAX, x.detach(), axes, True)
    return row_major(shifted - reduce(ops.SUM, shifted.exp(), axes, True).log())


@reals_in_float32
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """softmax(-input)."""
    return softmax(-input, dim, dtype=dtype)


@in_float32
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the relaxed categorical distribution; `hard` rounds it to one-hot with the soft gradient."""
    gumbel = -(-(rand_like(logits) + 1e-20).log()).log()
    soft = softmax((logits + gumbel) / tau, dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    one = soft.detach() * 0.0
    return one.scatter(dim, index, 1.0) - soft.detach() + soft


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 vectors, a new last dimension, with 1 at the class and 0 elsewhere. -1 counts classes from the data.

    Raises RuntimeError (a replay: IndexError) for a class that is not there."""
    if tensor.dtype is not int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, not {tensor.dtype.name}")
    if num_classes == -1:
        if not tensor._array.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(tensor.max()) + 1
    values = memory(tensor)
    if state.recorder is None and values.size and not 0 <= values.min() <= values.max() < num_classes:
        wrong = "non-negative" if values.min() < 0 else "smaller than num_classes"
        raise RuntimeError(f"Class values must be {wrong}.")
    shape = (num_classes, num_classes)
    row, column = (apply(ops.IOTA, (), {"shape": shape, "axis": axis, "dtype": int64}) for axis in (0, 1))
    # Rows of the identity are taken, so that a replay too refuses a class that is not there.
    return apply(ops.TAKE, (apply(ops.CAST, (row == column,), {"dtype": int64}), tensor), {"axis": 0})


@in_float32
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """input divided by its p-norm along dim, which is taken as at least eps."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


@reals_in_float32
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between vectors along dim."""
    x1, x2 = broadcast_tensors(x1, x2)
    product = (x1 * x2).sum(dim)
    sizes = x1.norm(2, dim).clamp(min=eps) * x2.norm(2, dim).clamp(min=eps)
    return product / sizes
