"""Padding with a constant, by reflection, by the border or around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops

from ..dispatch import apply
from ..promotion import as_operand
from ..symbolic import SymInt
from ..tensor import Tensor, shape_of
from .join import cat
from .movement import slice_axis


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """input with elements added around its last dimensions: `pad` is (low, high) of the last one, then the one before.

    mode: "constant" (with `value`, negative amounts cut), "reflect", "replicate" or "circular".
    """
    if len(pad) % 2 or len(pad) // 2 > input._array.ndim:
        raise RuntimeError(
            f"Padding length must be divisible by 2 and at most twice the input's dimensions, but got {list(pad)}"
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    rank = input._array.ndim
    if mode == "constant":
        return pad_constant(input, {rank - 1 - i: pair for i, pair in enumerate(pairs)}, value or 0)
    borders = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}
    if mode not in borders:
        raise NotImplementedError(f"Unrecognised padding mode {mode}; known are constant, reflect, replicate, circular")
    for i, (low, high) in enumerate(pairs):
        axis = rank - 1 - i
        first, cut = mode == "circular", max(-low, 0)  # negative amounts cut; what goes round is what is left
        if first and (low < 0 or high < 0):
            input = slice_axis(input, axis, cut, shape_of(input)[axis] - cut - max(-high, 0))
        input = borders[mode](input, axis, max(low, 0), max(high, 0))
        if not first and (low < 0 or high < 0):
            input = slice_axis(input, axis, cut, shape_of(input)[axis] - cut - max(-high, 0))
    return input


def pad_constant(input: Tensor, pairs: dict[int, tuple[Any, Any]], value: Any) -> Tensor:
    """`value` added (or, for negative amounts, elements cut) before and after each axis in `pairs`."""
    low, high = [0] * input._array.ndim, [0] * input._array.ndim
    for axis, (before, after) in pairs.items():
        if before < 0 or after < 0:
            cut = max(-before, 0)
            size = shape_of(input)[axis] - cut - max(-after, 0)
            if size < 0:
                raise RuntimeError(
                    f"pad: ({before}, {after}) leaves nothing of dimension {axis} of {list(shape_of(input))}"
                )
            input = slice_axis(input, axis, cut, size)
            before, after = max(before, 0), max(after, 0)
        low[axis], high[axis] = before, after
    if not any(isinstance(n, SymInt) or n for n in (*low, *high)):
        return input.clone()
    return apply(ops.PAD, (input, as_operand(value, input.dtype)), {"low": tuple(low), "high": tuple(high)})


def _reflect(input: Tensor, axis: int, low: int, high: int) -> Tensor:
    size = shape_of(input)[axis]
    if max(low, high) >= shape_of(input)[axis]:
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but "
            f"got: padding ({low}, "
            f"{high}) at dimension {axis} of input {list(shape_of(input))}"
        )
    parts = [input]
    if low:
        parts.insert(0, slice_axis(input, axis, 1, low).flip(axis))
    if high:
        parts.append(slice_axis(input, axis, size - 1 - high, high).flip(axis))
    return cat(parts, axis)


def _replicate(input: Tensor, axis: int, low: int, high: int) -> Tensor:
    shape = shape_of(input)
    parts = [input]
    if low:
        parts.insert(0, slice_axis(input, axis, 0, 1).expand((*shape[:axis], low, *shape[axis + 1 :])))
    if high:
        parts.append(slice_axis(input, axis, shape[axis] - 1, 1).expand((*shape[:axis], high, *shape[axis + 1 :])))
    return cat(parts, axis)


def _circular(input: Tensor, axis: int, low: int, high: int) -> Tensor:
    size = shape_of(input)[axis]
    if max(low, high) > shape_of(input)[axis]:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    parts = [input]
    if low:
        parts.insert(0, slice_axis(input, axis, size - low, low))
    if high:
        parts.append(slice_axis(input, axis, 0, high))
    return cat(parts, axis)


def pad_zeros(input: Tensor, pads: Sequence[int]) -> Tensor:
    """Zeros on both sides of the last len(pads) dimensions; input itself where there are none."""
    if not any(pads):
        return input
    first = input._array.ndim - len(pads)
    return pad_constant(input, {first + i: (p, p) for i, p in enumerate(pads)}, 0)
