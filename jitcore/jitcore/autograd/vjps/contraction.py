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


def _as_convolved(
    g: Any, x_shape: tuple, weight_shape: tuple, stride: tuple, padding: tuple, dilation: tuple
) -> tuple[Any, tuple]:
    """A transposed convolution's output gradient and the padding of the convolution from it to the input: an output
    padded at its end (output_padding) is padded less there, and cut where the kernel does not reach."""
    sizes, pads = list(shape_of(g)), []
    for axis, (n, k, s, (low, high), d) in enumerate(
        zip(x_shape[2:], weight_shape[2:], stride, padding, dilation), start=2
    ):
        extra = sizes[axis] - ((n - 1) * s + d * (k - 1) + 1 - low - high)
        if extra < s:
            extra = 0  # the last window does not move for so little
        sizes[axis] = sizes[axis] - max(extra - high, 0)
        pads.append((low, max(high - extra, 0)))
    if sizes != list(shape_of(g)):
        rank = len(sizes)
        g = apply(ops.SLICE, (g,), {"starts": (0,) * rank, "sizes": tuple(sizes), "steps": (1,) * rank})
    return g, tuple(pads)


def _transposed_input(
    g: Any, weight: Any, x_shape: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Any:
    g, padding = _as_convolved(g, x_shape, shape_of(weight), stride, padding, dilation)
    return apply(ops.CONV, (g, weight.conj()), _options(stride, padding, dilation, groups))


def _transposed_weight(
    g: Any, x: Any, weight_shape: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Any:
    g, padding = _as_convolved(g, shape_of(x), weight_shape, stride, padding, dilation)
    attributes = {**_options(stride, padding, dilation, groups), "kernel": _kernel(weight_shape)}
    return apply(ops.CONV_WEIGHT_GRADIENT, (g, x.conj()), attributes)


vjp(ops.CONV_TRANSPOSE, x=_transposed_input, weight=_transposed_weight)
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
