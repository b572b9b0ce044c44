"""Derivatives of matrix products and convolutions. The three convolutions are each other's adjoints."""

from __future__ import annotations

from typing import Any

from jitcore_ir import ops

from ...dispatch import apply
from ...tensor import Tensor, shape_of
from ..rules import vjp


def _transposed(x: Tensor) -> Tensor:
    rank = x._array.ndim
    return apply(ops.PERMUTE, (x,), {"permutation": (*range(rank - 2), rank - 1, rank - 2)})


vjp(
    ops.DOT,
    x=lambda g, y: apply(ops.DOT, (g, _transposed(y.conj()))),
    y=lambda g, x: apply(ops.DOT, (_transposed(x.conj()), g)),
)


def _options(stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _kernel(weight_shape: tuple) -> tuple[int, ...]:
    return tuple(int(n) for n in weight_shape[2:])


vjp(
    ops.CONV,
    x=lambda g, weight, x_shape, stride, padding, dilation, groups: apply(
        ops.CONV_TRANSPOSE,
        (g, weight.conj()),
        {**_options(stride, padding, dilation, groups), "spatial": tuple(x_shape[2:])},
    ),
    weight=lambda g, x, weight_shape, stride, padding, dilation, groups: apply(
        ops.CONV_WEIGHT_GRADIENT,
        (x.conj(), g),
        {**_options(stride, padding, dilation, groups), "kernel": _kernel(weight_shape)},
    ),
)


def _reached(g: Any, x_shape: tuple, weight_shape: tuple, stride: tuple, padding: tuple, dilation: tuple) -> Any:
    """The part of a transposed convolution's output that the kernel reaches: more may have been padded at its end."""
    sizes = list(shape_of(g))
    for axis, (n, k, s, (low, high), d) in enumerate(
        zip(x_shape[2:], weight_shape[2:], stride, padding, dilation), start=2
    ):
        reach = (n - 1) * s + d * (k - 1) + 1 - low - high
        if isinstance(reach, int) and isinstance(sizes[axis], int) and sizes[axis] >= reach + s:
            sizes[axis] = reach
    if sizes == list(shape_of(g)):
        return g
    rank = len(sizes)
    return apply(ops.SLICE, (g,), {"starts": (0,) * rank, "sizes": tuple(sizes), "steps": (1,) * rank})


vjp(
    ops.CONV_TRANSPOSE,
    x=lambda g, weight, x_shape, stride, padding, dilation, groups: apply(
        ops.CONV,
        (_reached(g, x_shape, weight.shape, stride, padding, dilation), weight.conj()),
        _options(stride, padding, dilation, groups),
    ),
    weight=lambda g, x, weight_shape, stride, padding, dilation, groups: apply(
        ops.CONV_WEIGHT_GRADIENT,
        (_reached(g, shape_of(x), weight_shape, stride, padding, dilation), x.conj()),
        {**_options(stride, padding, dilation, groups), "kernel": _kernel(weight_shape)},
    ),
)
vjp(
    ops.CONV_WEIGHT_GRADIENT,
    x=lambda g, y, x_shape, stride, padding, dilation, groups: apply(
        ops.CONV_TRANSPOSE,
        (y.conj(), g),
        {**_options(stride, padding, dilation, groups), "spatial": tuple(x_shape[2:])},
    ),
    y=lambda g, x, stride, padding, dilation, groups: apply(
        ops.CONV, (x.conj(), g), _options(stride, padding, dilation, groups)
    ),
)
