"""Pointwise rules: the element of an operation's result at an index, from elements of its operands.

A rule is `rule(emitter, operation, indices) -> scalar`. Movement only rewrites the indices; nothing here needs memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from jitcore_ir import OPS, Operation, OpSpec, Trait, Value, ops
from jitcore_ir.dtypes import int64
from jitcore_ir.shapes import add, mul, sub

from ..loops.ops import CHECK_INDEX
from .emitter import Emitter, carrier
from .index import Dim, Index, Indices, flatten
from .parts import INTERLEAVE

Rule = Callable[[Emitter, Operation, Indices], Value]
POINTWISE: dict[OpSpec, Rule] = {}


def rule(*specs: OpSpec) -> Callable[[Rule], Rule]:
    """Decorator: the pointwise rule of these operations."""

    def register(function: Rule) -> Rule:
        POINTWISE.update(dict.fromkeys(specs, function))
        return function

    return register


def broadcast(indices: Indices, shape: tuple[Dim, ...]) -> Indices:
    """Where an operand of `shape` is read for the result's element at `indices` (NumPy's alignment to the right)."""
    aligned = indices[len(indices) - len(shape) :]
    return tuple(0 if dim == 1 else index for index, dim in zip(aligned, shape, strict=True))


def _elementwise(e: Emitter, operation: Operation, indices: Indices) -> Value:
    scalars = [e.at(x, broadcast(indices, x.type.shape)) for x in operation.operands]
    return e.scalar(operation.spec, *scalars, **operation.attributes)


POINTWISE.update({s: _elementwise for s in OPS.values() if s.has(Trait.ELEMENTWISE)})


@rule(ops.CAST)
def _cast(e: Emitter, operation: Operation, indices: Indices) -> Value:
    (x,), dtype = operation.operands, operation.attributes["dtype"]
    value = e.at(x, indices)
    return value if x.type.dtype is dtype else e.cast(e.cast(value, dtype), carrier(dtype))


@rule(ops.COPY)
def _copy(e: Emitter, operation: Operation, indices: Indices) -> Value:
    return e.at(operation.operands[0], indices)


@rule(ops.CONSTANT)
def _constant(e: Emitter, operation: Operation, indices: Indices) -> Value:
    value = operation.attributes["value"]  # all elements are equal; other constants are buffers
    return e.constant(value.flat[0] if value.size else 0, carrier(operation.result.type.dtype))


@rule(ops.IOTA)
def _iota(e: Emitter, operation: Operation, indices: Indices) -> Value:
    return e.cast(e.index(indices[operation.attributes["axis"]]), carrier(operation.attributes["dtype"]))


@rule(ops.SIZE)
def _size(e: Emitter, operation: Operation, indices: Indices) -> Value:
    return e.index(operation.attributes["dim"])


@rule(ops.RESHAPE)
def _reshape(e: Emitter, operation: Operation, indices: Indices) -> Value:
    (x,) = operation.operands
    return e.at(x, e.space.unflatten(flatten(indices, operation.result.type.shape), x.type.shape))


@rule(ops.PERMUTE)
def _permute(e: Emitter, operation: Operation, indices: Indices) -> Value:
    permutation = operation.attributes["permutation"]
    return e.at(operation.operands[0], tuple(indices[permutation.index(a)] for a in range(len(permutation))))


@rule(ops.BROADCAST_TO)
def _broadcast_to(e: Emitter, operation: Operation, indices: Indices) -> Value:
    (x,) = operation.operands
    return e.at(x, broadcast(indices, x.type.shape))


@rule(ops.SLICE)
def _slice(e: Emitter, operation: Operation, indices: Indices) -> Value:
    starts, steps = operation.attributes["starts"], operation.attributes["steps"]
    return e.at(operation.operands[0], tuple(add(s, mul(i, t)) for i, s, t in zip(indices, starts, steps, strict=True)))


@rule(ops.FLIP)
def _flip(e: Emitter, operation: Operation, indices: Indices) -> Value:
    (x,), axes = operation.operands, operation.attributes["axes"]
    return e.at(x, tuple(sub(sub(d, 1), i) if a in axes else i for a, (i, d) in enumerate(zip(indices, x.type.shape))))


@rule(ops.WINDOWS)
def _windows(e: Emitter, operation: Operation, indices: Indices) -> Value:
    stride, dilation = operation.attributes["stride"], operation.attributes["dilation"]
    count = len(stride)
    lead = len(indices) - 2 * count
    places = zip(indices[lead : lead + count], indices[lead + count :], stride, dilation, strict=True)
    return e.at(operation.operands[0], (*indices[:lead], *(add(mul(o, s), mul(k, d)) for o, k, s, d in places)))


@rule(ops.PAD)
def _pad(e: Emitter, operation: Operation, indices: Indices) -> Value:
    x, value = operation.operands
    inner = tuple(sub(i, low) for i, low in zip(indices, operation.attributes["low"], strict=True))
    return _inside(e, inner, x.type.shape, lambda: e.at(x, inner), e.at(value, ()))


@rule(ops.CONCAT)
def _concat(e: Emitter, operation: Operation, indices: Indices) -> Value:
    axis = operation.attributes["axis"]
    start: Dim = 0
    found = e.constant(0, carrier(operation.result.type.dtype))
    for x in operation.operands:
        inner = (*indices[:axis], sub(indices[axis], start), *indices[axis + 1 :])

        def piece(x: Value = x, inner: Indices = inner) -> Value:
            return e.at(x, inner)

        found = _inside(e, inner, x.type.shape, piece, found)
        start = add(start, x.type.shape[axis])
    return found


@rule(ops.SLICE_UPDATE)
def _slice_update(e: Emitter, operation: Operation, indices: Indices) -> Value:
    x, update = operation.operands
    starts, steps = operation.attributes["starts"], operation.attributes["steps"]
    inner, exact = [], []
    for index, start, step in zip(indices, starts, steps, strict=True):
        quotient, remainder = e.space.split(sub(index, start), step)
        inner.append(quotient)
        exact.append(remainder)
    return _inside(e, tuple(inner), update.type.shape, lambda: e.at(update, tuple(inner)), e.at(x, indices), exact)


@rule(ops.FOLD_WINDOWS)
def _fold_windows(e: Emitter, operation: Operation, indices: Indices) -> Value:
    """Each element gathers from the windows that cover it: o = (s - k*d) / stride wherever that is whole and in range.
    Along an axis whose windows do not overlap there is at most one: o = s // stride, k = s % stride."""
    (x,) = operation.operands
    stride, dilation = operation.attributes["stride"], operation.attributes["dilation"]
    count = len(stride)
    lead = len(indices) - count
    window = x.type.shape[x.type.rank - count :]
    apart = [isinstance(k, int) and k <= st and d == 1 for k, st, d in zip(window, stride, dilation, strict=True)]
    zero = e.constant(0, carrier(x.type.dtype))

    def tap(taps: Indices) -> Value:
        remaining, outer, inner, exact = list(taps), [], [], []
        for s, st, d, one in zip(indices[lead:], stride, dilation, apart, strict=True):
            if one:
                o, k = e.space.split(s, st)
            else:
                k = remaining.pop(0)
                o, remainder = e.space.split(sub(s, mul(k, d)), st)
                exact.append(remainder)
            outer.append(o)
            inner.append(k)
        place = (*indices[:lead], *outer, *inner)
        return _inside(e, place, x.type.shape, lambda: e.at(x, place), zero, exact)

    overlapping = tuple(k for k, one in zip(window, apart, strict=True) if not one)
    return reduce_over(e, overlapping, indices, ops.ADD, zero, tap)


@rule(INTERLEAVE)
def _interleave(e: Emitter, operation: Operation, indices: Indices) -> Value:
    real, imag = operation.operands
    *place, part = indices
    if isinstance(part, int):
        return e.at(imag if part else real, tuple(place))
    first = e.scalar(ops.EQ, e.index(part), e.constant(0, int64))
    return e.scalar(ops.WHERE, first, e.at(real, tuple(place)), e.at(imag, tuple(place)))


@rule(ops.TAKE)
def _take(e: Emitter, operation: Operation, indices: Indices) -> Value:
    positions, axis = operation.operands[1], operation.attributes["axis"]
    end = axis + positions.type.rank
    return _at_position(e, operation, positions, indices[axis:end], (*indices[:axis], 0, *indices[end:]))


@rule(ops.GATHER)
def _gather(e: Emitter, operation: Operation, indices: Indices) -> Value:
    return _at_position(e, operation, operation.operands[1], indices, indices)


@rule(ops.SCATTER)
def _scatter(e: Emitter, operation: Operation, indices: Indices) -> Value:
    """Where each position along the axis is written at most once: x, or the update if it goes here."""
    x, positions, updates = operation.operands
    axis = operation.attributes["axis"]
    where = (*indices[:axis], 0, *indices[axis + 1 :])
    before = e.at(x, indices)
    position = checked_position(e, operation, e.at(positions, where), x.type.shape[axis])
    value = e.at(updates, where)
    if operation.attributes["mode"] == "add":
        value = e.scalar(ops.ADD, before, value)
    here = e.scalar(ops.EQ, e.index(indices[axis]), e.index(position))
    return e.scalar(ops.WHERE, here, value, before)


def writes_once(operation: Operation) -> bool:
    """True for a scatter with one update per row, which can be computed element by element of its result."""
    if operation.spec is not ops.SCATTER:
        return False
    axis, x, positions = operation.attributes["axis"], *(v.type.shape for v in operation.operands[:2])
    return positions[axis] == 1 and x[:axis] == positions[:axis] and x[axis + 1 :] == positions[axis + 1 :]


def _at_position(e: Emitter, operation: Operation, positions: Value, where: Indices, inner: Indices) -> Value:
    """x at `inner` with the index of its axis replaced by the one found in `positions` at `where`."""
    x, axis = operation.operands[0], operation.attributes["axis"]
    size = x.type.shape[axis]
    index = checked_position(e, operation, e.at(positions, where), size)
    place = (*inner[:axis], index, *inner[axis + 1 :])
    if isinstance(size, int) and size > 0:
        return e.at(x, place)
    some = e.scalar(ops.GT, e.index(size), e.constant(0, int64))  # nothing can be read where there is nothing
    return e.branch(some, lambda: e.at(x, place), e.constant(0, carrier(x.type.dtype)))


def checked_position(e: Emitter, operation: Operation, position: Value, size: Dim) -> Index:
    """A position read from a tensor, as an index below `size`; out of range it ends the program with an IndexError."""
    number, axis = e.numbers[operation], operation.attributes["axis"]
    checked = e.scalar(CHECK_INDEX, position, e.index(size), operation=number, axis=axis)
    return e.name_index(checked, size)


def reduce_over(
    e: Emitter,
    extents: tuple[Dim, ...],
    outer: Indices,
    spec: OpSpec,
    initial: Value,
    element: Callable[[Indices], Value],
    unroll: int = 32,
) -> Value:
    """Combine element(k) over every k below `extents`; straight-line code where they are few and known. `outer`: the
    indices that `element` depends on besides."""
    if any(extent == 0 for extent in extents):
        return initial
    known = [extent for extent in extents if isinstance(extent, int)]
    if len(known) == len(extents) and math.prod(known) <= unroll:
        taps: list[tuple[int, ...]] = [()]
        for count in known:
            taps = [(*t, k) for t in taps for k in range(count)]
        values = [element(t) for t in taps]
        result = values[0]
        for value in values[1:]:
            result = e.scalar(spec, result, value)
        return result

    def nest(level: int, taps: Indices, carried: Value) -> Value:
        if level == len(extents):
            return e.scalar(spec, carried, element(taps))
        with e.loop(extents[level], "reduce", [carried]) as loop:
            loop.results = [nest(level + 1, (*taps, loop.index), loop.carried[0])]
        return loop.results[0]

    with e.scope_of(outer):
        return nest(0, (), initial)


def _inside(
    e: Emitter,
    indices: Indices,
    shape: tuple[Dim, ...],
    then: Callable[[], Value],
    otherwise: Value,
    exact: list[Index] | None = None,
) -> Value:
    """`then()` where every index lies in `shape` and every one of `exact` is 0, else `otherwise`."""
    zero, condition = e.constant(0, int64), None
    tests: list[tuple[OpSpec, Index, Dim]] = [(ops.EQ, i, 0) for i in exact or () if i != 0]
    tests += [(ops.GE, i, 0) for i in indices if not e.space.known_natural(i)]
    tests += [(ops.LT, i, d) for i, d in zip(indices, shape, strict=True) if not e.space.known_below(i, d)]
    e.tests += tests
    if any(_fails(e, spec, index, bound) for spec, index, bound in tests):
        return otherwise
    for spec, index, bound in tests:
        holds = e.scalar(spec, e.index(index), zero if bound == 0 else e.index(bound))
        condition = holds if condition is None else e.scalar(ops.MUL, condition, holds)
    return then() if condition is None else e.branch(condition, then, otherwise)


def _fails(e: Emitter, spec: OpSpec, index: Index, bound: Dim) -> bool:
    """True where a test of `_inside` is known to fail everywhere."""
    if spec is ops.LT:
        return e.space.known_natural(sub(index, bound))
    return spec is ops.GE and e.space.known_below(index, bound)
