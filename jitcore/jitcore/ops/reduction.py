"""Reductions along dimensions: sums, extremes, means, spreads, norms, running sums."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from jitcore_ir import OpSpec, ops
from jitcore_ir.dtypes import DType, bool_, int64, uint8

from ..device import get_default_dtype
from ..dispatch import NONE, apply
from ..promotion import binary
from ..symbolic import larger
from ..tensor import Tensor, method, shape_of
from .compare import isnan, refuse_complex, truth
from .complex_numbers import real, squared_size
from .half import in_float32
from .inplace import with_inplace
from .movement import axes_of, axis_of, product, slice_axis
from .select import gather


class ValuesIndices(NamedTuple):
    """What `max(dim=...)`, `sort` and `topk` give."""

    values: Tensor
    indices: Tensor


def numpy_names(function: Callable) -> Callable:
    """Also accept NumPy's `axis` and `keepdims`, as PyTorch does."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            if "axis" in kwargs:
                kwargs["dim"] = kwargs.pop("axis")
            if "keepdims" in kwargs:
                kwargs["keepdim"] = kwargs.pop("keepdims")
        return function(*args, **kwargs)

    return wrapper


def reduced_axes(input: Tensor, dim: Any) -> tuple[int, ...]:
    """The axes a `dim` argument names: all of them for None or an empty list."""
    rank = input._array.ndim
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(rank))
    axes = axes_of(dim, rank)
    return axes if rank else ()


def reduce(spec: OpSpec, input: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Run a reduction primitive."""
    return apply(spec, (input,), {"axes": axes, "keepdims": bool(keepdim)})


@method
@numpy_names
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Sum along dim (all dimensions for None); integers and bool are summed as int64."""
    return reduce(ops.SUM, _summable(input, dtype), reduced_axes(input, dim), keepdim)


def _summable(input: Tensor, dtype: DType | None) -> Tensor:
    if dtype is None and input._array.dtype.kind in "biu":
        dtype = int64
    return input if dtype is None or input.dtype is dtype else apply(ops.CAST, (input,), {"dtype": dtype})


@method
@numpy_names
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """sum with NaN counted as 0."""
    refuse_complex("nansum", input)
    return sum(input.masked_fill(isnan(input), 0), dim, keepdim, dtype=dtype)


@method
@numpy_names
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Product along dim (all dimensions for None); integers and bool are multiplied as int64."""
    return reduce(ops.PROD, _summable(input, dtype), reduced_axes(input, dim), keepdim)


@method
@numpy_names
@in_float32
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Arithmetic mean along dim (all dimensions for None). Raises RuntimeError for integers without a float dtype."""
    if dtype is not None and input.dtype is not dtype:
        input = apply(ops.CAST, (input,), {"dtype": dtype})
    if input._array.dtype.kind in "biu":
        raise RuntimeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype.name}"
        )
    axes = reduced_axes(input, dim)
    return binary(ops.DIV, reduce(ops.SUM, input, axes, keepdim), count_of(input, axes), to_float=True)


@method
@numpy_names
@in_float32
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """mean of the elements that are not NaN."""
    counted = apply(ops.CAST, (isnan(input).logical_not(),), {"dtype": input.dtype})
    return nansum(input, dim, keepdim) / sum(counted, dim, keepdim)


def count_of(input: Tensor, axes: tuple[int, ...]) -> Any:
    """Number of elements that a reduction over `axes` combines; symbolic where sizes are."""
    shape = shape_of(input)
    return product([shape[a] for a in axes])


@method
@numpy_names
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Largest along dim (all dimensions for none); the gradient is shared evenly among equal largest."""
    return reduce(ops.AMAX, _nonempty("amax", input, reduced_axes(input, dim)), reduced_axes(input, dim), keepdim)


@method
@numpy_names
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Smallest along dim (all dimensions for none)."""
    return reduce(ops.AMIN, _nonempty("amin", input, reduced_axes(input, dim)), reduced_axes(input, dim), keepdim)


def _nonempty(name: str, input: Tensor, axes: tuple[int, ...]) -> Tensor:
    shape = input._array.shape
    if input._array.size == 0 and 0 in [shape[a] for a in axes]:
        raise IndexError(
            f"{name}(): Expected reduction dim to have non-zero size, but the tensor has shape {list(shape)}."
        )
    return input


@method
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """amin and amax."""
    dims = () if dim is None else dim
    return amin(input, dims, keepdim), amax(input, dims, keepdim)


def _extreme(name: str, whole: Callable, position: OpSpec, pairwise: OpSpec) -> Callable:
    @numpy_names
    def operation(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        if isinstance(dim, Tensor) or other is not None:
            return binary(pairwise, input, dim if other is None else other)
        refuse_complex(name, input)
        if dim is None:
            if input._array.size == 0:
                raise RuntimeError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                    f"Specify the reduction dim "
                    f"with the 'dim' argument."
                )
            return whole(input)
        axis = axis_of(dim, input._array.ndim)
        if not input._array.ndim:
            return ValuesIndices(apply(ops.COPY, (input,)), apply(ops.CAST, (input.detach() * 0,), {"dtype": int64}))
        _nonempty(name, input, (axis,))
        indices = apply(position, (input,), {"axis": axis, "keepdims": True})
        values = gather(input, axis, indices)
        if not keepdim:
            values, indices = values.squeeze(axis), indices.squeeze(axis)
        return ValuesIndices(values, indices)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = (
        f"{name}(input): the {'largest' if name == 'max' else 'smallest'} element; {name}(input, "
        f"dim): (values, indices) "
        f"along dim; {name}(input, other): elementwise."
    )
    return method(operation)


max = _extreme("max", amax, ops.ARGMAX, ops.MAXIMUM)
min = _extreme("min", amin, ops.ARGMIN, ops.MINIMUM)


def _position(name: str, spec: OpSpec) -> Callable:
    @numpy_names
    def operation(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        if dim is None:
            if input._array.size == 0:
                raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
            flat = apply(spec, (input.reshape(-1),), {"axis": 0, "keepdims": False})
            return flat.reshape((1,) * input._array.ndim) if keepdim else flat
        axis = axis_of(dim, input._array.ndim)
        if not input._array.ndim:
            return apply(spec, (input.reshape(1),), {"axis": 0, "keepdims": False})
        return apply(spec, (_nonempty(name, input, (axis,)),), {"axis": axis, "keepdims": bool(keepdim)})

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"{spec.doc} Of the flattened tensor where dim is None."
    return method(operation)


argmax = _position("argmax", ops.ARGMAX)
argmin = _position("argmin", ops.ARGMIN)


@method
@numpy_names
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether some element along dim is nonzero."""
    return _truth_reduction(ops.AMAX, input, dim, keepdim, False)


@method
@numpy_names
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether every element along dim is nonzero."""
    return _truth_reduction(ops.AMIN, input, dim, keepdim, True)


def _truth_reduction(spec: OpSpec, input: Tensor, dim: Any, keepdim: bool, of_nothing: bool) -> Tensor:
    if input.dtype is uint8:  # whose answers are uint8 in PyTorch, from when there was no bool
        return apply(ops.CAST, (_truth_reduction(spec, truth(input), dim, keepdim, of_nothing),), {"dtype": uint8})
    axes = reduced_axes(input, dim)
    flags = truth(input)
    shape = shape_of(input)
    if 0 in [shape[a] for a in axes]:  # any of nothing is False, all of nothing True
        counted = reduce(ops.SUM, apply(ops.CAST, (flags,), {"dtype": int64}), axes, keepdim)
        return apply(ops.EQ if of_nothing else ops.NE, (counted, counted), NONE)
    return reduce(spec, flags, axes, keepdim)


@method
@numpy_names
@in_float32
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance along dim: mean squared distance from the mean, divided by count - correction (1 unless given)."""
    return _variance(input, dim, unbiased, keepdim, correction)[0]


def _variance(input: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> tuple[Tensor, Tensor]:
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    if input._array.dtype.kind in "biu":
        raise RuntimeError(f"std and var only support floating point and complex dtypes, but got {input.dtype.name}")
    axes = reduced_axes(input, dim)
    count = count_of(input, axes)
    average = binary(ops.DIV, reduce(ops.SUM, input, axes, True), count)
    distance = binary(ops.SUB, input, average)
    total = reduce(ops.SUM, squared_size(distance), axes, keepdim)
    degrees = larger(count - correction, 0)
    kept = average if keepdim else average.reshape(shape_of(total))
    return binary(ops.DIV, total, degrees, to_float=True), kept


@method
@numpy_names
@in_float32
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Standard deviation: square root of var."""
    return _root(_variance(input, dim, unbiased, keepdim, correction)[0])


def _root(variance: Tensor) -> Tensor:
    """The square root, whose slope at 0 counts as 0."""
    zero = variance == 0
    return variance.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


@numpy_names
@in_float32
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """var and mean."""
    return _variance(input, dim, unbiased, keepdim, correction)


@numpy_names
@in_float32
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """std and mean."""
    variance, average = _variance(input, dim, unbiased, keepdim, correction)
    return _root(variance), average


@method
@numpy_names
@in_float32
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))) along dim, without overflow."""
    axes = reduced_axes(input, dim)
    if not input.is_floating_point() and not input.is_complex():
        input = apply(ops.CAST, (input,), {"dtype": get_default_dtype()})
    top: Any = 0.0
    if 0 not in [shape_of(input)[a] for a in axes]:
        top = reduce(ops.AMAX, real(input.detach()), axes, True)
        top = top.masked_fill(top.abs() == float("inf"), 0.0)
    total = reduce(ops.SUM, (input - top).exp(), axes, True).log() + top
    return total if keepdim else total.squeeze(axes)


@with_inplace
@method
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sum along dim."""
    return _running(ops.CUMSUM, input, dim, dtype)


@with_inplace
@method
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running product along dim."""
    return _running(ops.CUMPROD, input, dim, dtype)


def _running(spec: OpSpec, input: Tensor, dim: int, dtype: DType | None) -> Tensor:
    axis = axis_of(dim, input._array.ndim)
    x = _summable(input, dtype)
    return apply(spec, (x,), {"axis": axis}) if x._array.ndim else apply(ops.COPY, (x,))


def _running_extreme(name: str) -> Callable:
    def operation(input: Tensor, dim: int) -> ValuesIndices:
        axis = axis_of(dim, input._array.ndim)
        if not input._array.ndim:
            return ValuesIndices(input.clone(), apply(ops.CAST, (input.detach() * 0,), {"dtype": int64}))
        index = apply(ops.RUNNING_POSITION, (input,), {"axis": axis, "largest": name == "cummax"})
        return ValuesIndices(input.gather(axis, index), index)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"(values, indices) of the running {'largest' if name == 'cummax' else 'smallest'} along dim."
    return method(operation)


cummax = _running_extreme("cummax")
cummin = _running_extreme("cummin")


@method
@numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements along dim are nonzero."""
    flags = apply(ops.CAST, (truth(input),), {"dtype": int64})
    return reduce(ops.SUM, flags, reduced_axes(input, dim), False)


@method
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along dim, n times, after joining `prepend` and `append` to it."""
    if not input._array.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    axis = axis_of(dim, input._array.ndim)
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if n and (prepend is not None or append is not None):
        from .join import cat

        input = cat([t for t in (prepend, input, append) if t is not None], axis)
    if not n:
        return apply(ops.COPY, (input,))
    size = shape_of(input)[axis]
    n = size if n > size else n  # `min` is the tensors' here
    for _ in range(n):
        count = shape_of(input)[axis] - 1
        upper, lower = slice_axis(input, axis, 1, count), slice_axis(input, axis, 0, count)
        input = upper != lower if input.dtype is bool_ else upper - lower
    return input


@method
def trace(input: Tensor) -> Tensor:
    """Sum of a matrix's diagonal."""
    if input._array.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input._array.ndim}")
    return input.diagonal().sum()
