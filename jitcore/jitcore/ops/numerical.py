"""Small numerical functions: integrals, differences, covariances, and what is made of several arithmetic steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jitcore_ir.dtypes import int32, int64

from ..promotion import promoted
from ..tensor import Tensor, method, shape_of
from .arithmetic import logaddexp
from .compare import refuse_complex
from .creation import tensor
from .elementwise import exp2, where
from .inplace import with_inplace
from .join import cat, stack
from .movement import axis_of


class MantissaExponent(NamedTuple):
    """What frexp gives."""

    mantissa: Tensor
    exponent: Tensor


@method
def frexp(input: Tensor) -> MantissaExponent:
    """(mantissa in [0.5, 1), int32 exponent) with input = mantissa * 2 ** exponent."""
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    size = input.detach().abs()
    usual = (size > 0) & (size < math.inf)
    power = where(usual, where(usual, size, 1.0).log2().floor(), -1.0) + 1
    mantissa = input * exp2(-power / 2) * exp2(-(power - (power / 2)))
    # log2 may round up to a power of two from below.
    low = usual & (mantissa.detach().abs() < 0.5)
    power, mantissa = where(low, power - 1, power), where(low, mantissa * 2, mantissa)
    high = usual & (mantissa.detach().abs() >= 1)
    power, mantissa = where(high, power + 1, power), where(high, mantissa * 0.5, mantissa)
    return MantissaExponent(where(usual, mantissa, input), where(usual, power, 0.0).to(int32))


@with_inplace
@method
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2 ** other."""
    x, y = promoted((input, other), True)
    return x * exp2(y)


@method
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2 ** input + 2 ** other)."""
    refuse_complex("logaddexp2", input, other)
    ln2 = math.log(2)
    return logaddexp(input * ln2, other * ln2) / ln2


@with_inplace
@method
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    if vec1._array.ndim != 1 or vec2._array.ndim != 1:
        raise RuntimeError(
            f"addr: Expected 1-D argument vec1 and vec2, but got {vec1._array.ndim}-D and {vec2._array.ndim}-D"
        )
    outer = vec1.unsqueeze(1) * vec2.unsqueeze(0)
    outer = outer if alpha == 1 else outer * alpha
    if beta == 0:
        return outer
    return (input if beta == 1 else input * beta) + outer


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All r-subsets of a vector's elements, one a row."""
    if input._array.ndim != 1:
        raise RuntimeError("Expect a 1D vector, but got shape " + str(list(input.shape)))
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(int(shape_of(input)[0])), r))
    if not rows or r == 0:
        return input[:0] if r == 0 else input[:0].reshape(0, r)
    return input[tensor(rows, dtype=int64)]


@method
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables in rows (observations in columns), or the variance of a vector."""
    if input._array.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got {input._array.ndim}")
    x = input if input._array.ndim == 2 else input.reshape(1, -1)
    if not (x.is_floating_point() or x.is_complex()):
        x = promoted((x,), True)[0]
    weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    count = shape_of(x)[1]
    if weights is None:
        total: Any = count
        mean = x.mean(1, keepdim=True) if count else x.sum(1, keepdim=True)
    else:
        weights = weights.to(x.real.dtype if x.is_complex() else x.dtype)
        total = weights.sum()
        mean = (x * weights).sum(1, keepdim=True) / total
    if weights is not None and aweights is not None and correction:
        freedom: Any = total - correction * (weights * aweights).sum() / total
    else:
        freedom = total - correction
    freedom = freedom.clamp(min=0) if isinstance(freedom, Tensor) else max(freedom, 0)
    centred = x - mean
    weighted = centred if weights is None else centred * weights
    found = weighted @ centred.t().conj() if x.is_complex() else weighted @ centred.t()
    found = found / (freedom if isinstance(freedom, Tensor) or freedom else 0.0)
    return found.squeeze() if input._array.ndim < 2 or shape_of(x)[0] == 1 else found


@method
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables in rows."""
    if input._array.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input._array.ndim} "
            f"dimensions"
        )
    found = cov(input)
    if found._array.ndim == 0:
        return found / found
    deviation = found.diagonal().real.sqrt() if found.is_complex() else found.diagonal().sqrt()
    found = found / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    return found if found.is_complex() else found.clamp(-1, 1)


def _steps(x: Tensor | None, dx: float, y: Tensor, axis: int) -> Any:
    """Distances between samples along axis, to be broadcast against y's pairs."""
    if x is None:
        return dx
    if x._array.ndim == 1:
        shape = [1] * y._array.ndim
        shape[axis] = -1
        x = x.reshape(shape)
        return x.narrow(axis, 1, shape_of(x)[axis] - 1) - x.narrow(axis, 0, shape_of(x)[axis] - 1)
    n = shape_of(x)[axis - y._array.ndim]
    return x.narrow(axis - y._array.ndim, 1, n - 1) - x.narrow(axis - y._array.ndim, 0, n - 1)


def _pairs(y: Tensor, axis: int) -> Tensor:
    n = shape_of(y)[axis]
    return y.narrow(axis, 1, n - 1) + y.narrow(axis, 0, n - 1)


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of samples y along dim by the trapezoidal rule; x holds where, else they are dx apart."""
    axis = axis_of(dim, y._array.ndim)
    if shape_of(y)[axis] == 0:
        return y.sum(axis)
    areas = _pairs(y, axis) * _steps(x, dx, y, axis)
    return areas.sum(axis) / 2


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """Running integrals of samples y along dim by the trapezoidal rule."""
    axis = axis_of(dim, y._array.ndim)
    areas = _pairs(y, axis) * _steps(x, dx, y, axis)
    return areas.cumsum(axis) / 2


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Derivatives along each dimension by central differences, one-sided at the ends (of order edge_order)."""
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if not (input.is_floating_point() or input.is_complex()):
        input = promoted((input,), True)[0]
    rank = input._array.ndim
    axes = list(range(rank)) if dim is None else [axis_of(d, rank) for d in ([dim] if isinstance(dim, int) else dim)]
    if spacing is None:
        spacing = 1
    if not isinstance(spacing, list | tuple):
        spacing = [spacing] * len(axes)
    if len(spacing) != len(axes):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to 'dim', but got "
            f"{len(spacing)} for {len(axes)}"
        )
    return tuple(_slope(input, axis, step, edge_order) for axis, step in zip(axes, spacing))


def _slope(x: Tensor, axis: int, step: Any, edge_order: int) -> Tensor:
    n = shape_of(x)[axis]
    if n < edge_order + 1:
        raise RuntimeError(f"torch.gradient expected each dimension size to be at least {edge_order + 1}")
    if not isinstance(step, Tensor) or step._array.ndim == 0:
        given: Any = [step] * (n - 1)
        h = stack([s if isinstance(s, Tensor) else tensor(float(s), dtype=x.dtype) for s in given])
    else:
        h = step[1:] - step[:-1]
    h = h.to(x.dtype)
    shape = [1] * x._array.ndim
    shape[axis] = -1

    def at(start: int, count: int) -> Tensor:
        return x.narrow(axis, start, count)

    def wide(v: Tensor) -> Tensor:
        return v.reshape(shape)

    before, after = h[:-1], h[1:]
    inner = (
        (
            wide(-after / (before * (before + after))) * at(0, n - 2)
            + wide((after - before) / (before * after)) * at(1, n - 2)
            + wide(before / (after * (before + after))) * at(2, n - 2)
        )
        if n > 2
        else at(0, 0)
    )
    if edge_order == 1:
        first, last = (at(1, 1) - at(0, 1)) / wide(h[:1]), (at(n - 1, 1) - at(n - 2, 1)) / wide(h[-1:])
    else:
        a, b = h[0:1], h[1:2]
        first = (
            wide(-(2 * a + b) / (a * (a + b))) * at(0, 1) + wide((a + b) / (a * b)) * at(1, 1)
            - wide(a / (b * (a + b))) * at(2, 1)
        )  # fmt: skip
        c, d = h[-1:], h[-2:-1]
        last = (
            wide((2 * c + d) / (c * (c + d))) * at(n - 1, 1) - wide((c + d) / (c * d)) * at(n - 2, 1)
            + wide(c / (d * (c + d))) * at(n - 3, 1)
        )  # fmt: skip
    return cat([first, inner, last], axis)


@method
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with input's elements on a diagonal."""
    return input.reshape(-1).diag(offset)


@with_inplace
@method
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along dim whose p-norm is above maxnorm scaled down to it."""
    if input._array.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input._array.ndim} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    axis = axis_of(dim, input._array.ndim)
    others = [a for a in range(input._array.ndim) if a != axis]
    norms = input.norm(p, others, keepdim=True)
    factor = where(norms > maxnorm, maxnorm / (norms + 1e-7), norms.detach() * 0 + 1)
    return input * factor


def scalar_tensor(
    s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """A 0-d tensor."""
    from ..device import get_default_dtype

    return tensor(s, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor:
    """pad with mode "constant"."""
    from .padding import pad as padded

    return padded(input, pad, "constant", value)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like input with every element `value`."""
    result = input.clone()
    result.fill_(value)
    return result
