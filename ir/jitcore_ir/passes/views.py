"""Chains of operations that only move elements become one.

```
%0 = permute(%x) {permutation = [1, 0, 2]} : f32[3,2,4]          %0 = permute(%x) {permutation = [2, 0, 1]} : f32[4,2,3]
%1 = permute(%0) {permutation = [2, 1, 0]} : f32[4,2,3]    ->    return(%0)
return(%1)
```

Reshapes, permutations, broadcasts, slices, flips and pads of their own kind compose; a permutation that moves only axes
of size 1 is a reshape; a slice of a concatenation reads the part it lies in; a slice of a `slice_update` (what a write
through a view becomes) reads the update or what was there before.
"""

from __future__ import annotations

from ..builder import Builder
from ..graph import Operation, Value
from ..ops import AMAX, AMIN, BROADCAST_TO, CONCAT, FLIP, PAD, PERMUTE, PROD, RESHAPE, SLICE, SLICE_UPDATE, SUM
from ..ops.reduction import reduced_shape
from ..shapes import Shape, add, mul
from .match import defined_by, shape_of, without_leading_ones
from .rewrite import Patterns

views = Patterns("views")


@views.on(RESHAPE)
def reshape_of_reshape(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], RESHAPE)
    return build.value(RESHAPE, inner.operands[0], shape=op.attributes["shape"]) if inner else None


@views.on(RESHAPE)
def reshape_of_reduction(op: Operation, build: Builder) -> Value | None:
    """A reshape that drops or restores the reduced axes, where nobody else wants them otherwise."""
    inner = defined_by(op.operands[0], SUM, PROD, AMAX, AMIN)
    if inner is None or len(inner.result.uses) > 1:
        return None
    axes, keepdims = inner.attributes["axes"], not inner.attributes["keepdims"]
    if reduced_shape(shape_of(inner.operands[0]), axes, keepdims) != op.attributes["shape"]:
        return None
    return build.value(inner.spec, inner.operands[0], axes=axes, keepdims=keepdims)


@views.on(PERMUTE)
def permute_of_permute(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], PERMUTE)
    if inner is None:
        return None
    composed = tuple(inner.attributes["permutation"][p] for p in op.attributes["permutation"])
    return build.value(PERMUTE, inner.operands[0], permutation=composed)


@views.on(PERMUTE)
def permute_of_single_axes(op: Operation, build: Builder) -> Value | None:
    x, permutation = op.operands[0], op.attributes["permutation"]
    moved = [p for p in permutation if shape_of(x)[p] != 1]
    if moved != sorted(moved):
        return None
    return build.value(RESHAPE, x, shape=shape_of(op.result))


@views.on(BROADCAST_TO)
def broadcast_of_broadcast(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], BROADCAST_TO)
    return build.value(BROADCAST_TO, inner.operands[0], shape=op.attributes["shape"]) if inner else None


@views.on(BROADCAST_TO)
def broadcast_of_leading_ones(op: Operation, build: Builder) -> Value | None:
    """`broadcast_to` puts axes of size 1 in front by itself."""
    x = without_leading_ones(op.operands[0])
    return None if x is op.operands[0] else build.value(BROADCAST_TO, x, shape=op.attributes["shape"])


@views.on(SLICE)
def slice_of_slice(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], SLICE)
    if inner is None:
        return None
    starts, steps = inner.attributes["starts"], inner.attributes["steps"]
    return build.value(
        SLICE,
        inner.operands[0],
        starts=tuple(add(s, mul(t, more)) for s, t, more in zip(starts, steps, op.attributes["starts"], strict=True)),
        sizes=op.attributes["sizes"],
        steps=tuple(t * more for t, more in zip(steps, op.attributes["steps"], strict=True)),
    )


@views.on(FLIP)
def flip_of_flip(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], FLIP)
    if inner is None:
        return None
    axes = tuple(sorted(set(op.attributes["axes"]) ^ set(inner.attributes["axes"])))
    return build.value(FLIP, inner.operands[0], axes=axes) if axes else inner.operands[0]


@views.on(PAD)
def pad_of_pad(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], PAD)
    if inner is None or inner.operands[1] is not op.operands[1]:
        return None
    low, high = (tuple(map(add, inner.attributes[side], op.attributes[side])) for side in ("low", "high"))
    return build.value(PAD, inner.operands[0], op.operands[1], low=low, high=high)


@views.on(CONCAT)
def concat_of_concat(op: Operation, build: Builder) -> Value | None:
    """Where the inner one has no other user, so that nothing is copied twice."""
    parts: list[Value] = []
    for value in op.operands:
        inner = defined_by(value, CONCAT)
        joins = inner is not None and inner.attributes == op.attributes and len(value.uses) == 1
        parts += inner.operands if joins and inner else [value]
    return build.create(CONCAT, parts, op.attributes).result if len(parts) > len(op.operands) else None


@views.on(SLICE)
def slice_of_concat(op: Operation, build: Builder) -> Value | None:
    inner = defined_by(op.operands[0], CONCAT)
    if inner is None:
        return None
    axis = inner.attributes["axis"]
    read = extent(op.attributes["starts"], op.attributes["sizes"], op.attributes["steps"], axis)
    if read is None:
        return None
    start, last = read
    position = 0
    for part in inner.operands:
        size = shape_of(part)[axis]
        if not isinstance(size, int):
            return None
        if position <= start and last < position + size:
            starts = list(op.attributes["starts"])
            starts[axis] = start - position
            return build.create(SLICE, [part], op.attributes | {"starts": tuple(starts)}).result
        position += size
    return None


@views.on(SLICE_UPDATE)
def update_of_everything(op: Operation, build: Builder) -> Value | None:
    x, update = op.operands
    return update if x.type == update.type else None


@views.on(SLICE)
def slice_of_update(op: Operation, build: Builder) -> Value | None:
    """Reading what was just written gives the update; reading beside it gives what was there."""
    inner = defined_by(op.operands[0], SLICE_UPDATE)
    if inner is None:
        return None
    x, update = inner.operands
    written = (inner.attributes["starts"], shape_of(update), inner.attributes["steps"])
    read = (op.attributes["starts"], op.attributes["sizes"], op.attributes["steps"])
    if read == written:
        return update
    if any(_apart(extent(*read, axis), extent(*written, axis)) for axis in range(len(read[0]))):
        return build.create(SLICE, [x], op.attributes).result
    return None


Extent = tuple[int, int] | None


def extent(starts: Shape, sizes: Shape, steps: tuple[int, ...], axis: int) -> Extent:
    """First and last position that a slice touches along `axis`; None where that is not known or there are none."""
    start, size, step = starts[axis], sizes[axis], steps[axis]
    if not isinstance(start, int) or not isinstance(size, int) or size == 0:
        return None
    return start, start + (size - 1) * step


def _apart(a: Extent, b: Extent) -> bool:
    return a is not None and b is not None and (a[1] < b[0] or b[1] < a[0])
