"""Derivatives of the primitives that move elements: each is the move back."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitcore_ir import ops

from ...dispatch import apply
from ...promotion import as_operand
from ...tensor import Tensor, shape_of
from ..rules import vjp
from ..tape import zeros_like


def _inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.argsort(permutation).tolist())


def _slice_back(g: Tensor, x_shape: tuple, starts: tuple, steps: tuple) -> Tensor:
    """g placed among zeros. Plain padding where steps are 1, which compiles best."""
    zero = as_operand(0, g.dtype)
    if all(s == 1 for s in steps):
        high = tuple(n - start - size for n, start, size in zip(x_shape, starts, shape_of(g)))
        return apply(ops.PAD, (g, zero), {"low": tuple(starts), "high": high})
    whole = apply(ops.BROADCAST_TO, (zero,), {"shape": tuple(x_shape)})
    return apply(ops.SLICE_UPDATE, (whole, g), {"starts": starts, "steps": steps})


def _inner(g: Tensor, low: tuple, x_shape: tuple) -> Tensor:
    return apply(ops.SLICE, (g,), {"starts": low, "sizes": x_shape, "steps": (1,) * len(x_shape)})


def _pad_value(g: Tensor, low: tuple, x_shape: tuple) -> Tensor:
    inside = zeros_like(_inner(g, low, x_shape))
    around = apply(ops.SLICE_UPDATE, (g, inside), {"starts": low, "steps": (1,) * len(x_shape)})
    return around.sum()


def _concat_part(g: Tensor, position: int, shapes: Any, axis: int) -> Tensor:
    start: Any = 0
    for shape in shapes[:position]:
        start = start + shape[axis]
    rank = len(shapes[position])
    starts = (0,) * axis + (start,) + (0,) * (rank - axis - 1)
    return apply(ops.SLICE, (g,), {"starts": starts, "sizes": shapes[position], "steps": (1,) * rank})


vjp(ops.RESHAPE, x=lambda g, x_shape: apply(ops.RESHAPE, (g,), {"shape": x_shape}))
vjp(ops.PERMUTE, x=lambda g, permutation: apply(ops.PERMUTE, (g,), {"permutation": _inverse(permutation)}))
vjp(ops.BROADCAST_TO, x=lambda g: g)  # the engine sums what was stretched
vjp(ops.SLICE, x=_slice_back)
vjp(
    ops.SLICE_UPDATE,
    x=lambda g, update_shape, starts, steps: apply(
        ops.SLICE_UPDATE, (g, as_operand(0, g.dtype).expand(update_shape)), {"starts": starts, "steps": steps}
    ),
    update=lambda g, update_shape, starts, steps: apply(
        ops.SLICE, (g,), {"starts": starts, "sizes": update_shape, "steps": steps}
    ),
)
vjp(ops.FLIP, x=lambda g, axes: apply(ops.FLIP, (g,), {"axes": axes}))
vjp(ops.PAD, x=lambda g, low, x_shape: _inner(g, low, x_shape), value=_pad_value)
vjp(ops.CONCAT, xs=_concat_part)
vjp(
    ops.WINDOWS,
    x=lambda g, x_shape, window, stride, dilation: apply(
        ops.FOLD_WINDOWS,
        (g,),
        {"spatial": tuple(x_shape[len(x_shape) - len(window) :]), "stride": stride, "dilation": dilation},
    ),
)
vjp(
    ops.FOLD_WINDOWS,
    x=lambda g, x_shape, spatial, stride, dilation: apply(
        ops.WINDOWS,
        (g,),
        {
            "window": tuple(int(n) for n in x_shape[len(x_shape) - len(spatial) :]),
            "stride": stride,
            "dilation": dilation,
        },
    ),
)
