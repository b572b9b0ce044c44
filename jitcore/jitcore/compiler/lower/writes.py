"""Nests of their own: running sums, writes at positions, joins, random bits, plain copies.

A write (`put`, `scatter`, `slice_update`) copies x and then writes into the copy: two kernels, so that the copy can
be left out where the planner lets the result live in x's memory.
"""

from __future__ import annotations

from collections.abc import Callable

from jitcore_ir import Operation, OpSpec, Value, ops
from jitcore_ir.dtypes import int32, int64
from jitcore_ir.shapes import add, floordiv, mod, mul, product

from ..fuse.node import Node
from ..fuse.roots import Roots
from .collapse import AxisUse, merge_runs
from .columns import TILE, column_tiles
from .emitter import carrier
from .index import Dim, Index, IndexSpace, Indices
from .kernel import KernelBuilder, Memory
from .philox import philox
from .pointwise import checked_position
from .rows import merged_extents, spread
from .trial import Trial

NewKernel = Callable[[str], KernelBuilder]
Nest = Callable[[NewKernel, Memory, Node, Roots], None]
Destination = Callable[[Indices], tuple[Indices, tuple[Dim, ...]]]


def copy_into(
    new_kernel: NewKernel,
    memory: Memory,
    source: Value,
    buffer: int,
    roots: Roots,
    shape: tuple[Dim, ...] | None = None,
    where: Destination | None = None,
    offset: Dim = 0,
    label: str = "copy",
) -> None:
    """A kernel that computes every element of `source` and stores it in a buffer: at the same indices, or at those
    that `where` gives with the shape of the memory they index."""
    shape = source.type.shape if shape is None else shape
    if product(shape) == 0:
        return
    place_of = where or (lambda indices: (indices, shape))
    space = IndexSpace()
    variables = tuple(space.variable(d) for d in shape)
    trial = Trial(space, variables, roots, memory.numbers)
    trial.emitter.at(source, variables)
    places = [(indices, value.type.shape) for value, indices in trial.reads]
    free = tuple(v for v in variables if v != 0)
    extents = tuple(d for d in shape if d != 1)
    runs = merge_runs([AxisUse(space, free, [*places, place_of(variables)], trial.emitter.raw)])
    merged = merged_extents(extents, runs)
    kernel = new_kernel(label)

    def body(outer: Indices) -> None:
        remaining = list(spread(outer, extents, runs, kernel.e.space))
        indices = tuple(0 if d == 1 else remaining.pop(0) for d in shape)
        kernel.store(kernel.e.at(source, indices), buffer, *place_of(indices), offset)

    if not merged:
        body(())
    elif len(merged) == 1:
        with kernel.e.loop(merged[0], "parallel") as loop:
            body((loop.index,))
    else:
        with kernel.e.loop(product(merged[:-1]), "parallel") as rows:
            outer = kernel.e.space.unflatten(rows.index, merged[:-1])
            with kernel.e.loop(merged[-1], "serial") as loop:
                body((*outer, loop.index))
    kernel.finish()


def _concat(new_kernel: NewKernel, memory: Memory, node: Node, roots: Roots) -> None:
    """One kernel per operand, each into its part of the result: equal ones differ by the offset alone."""
    operation = node.operation
    axis, result = operation.attributes["axis"], memory.of[node.value]
    shape = node.value.type.shape
    start: Dim = 0
    for x in operation.operands:
        offset = mul(start, product(shape[axis + 1 :]))
        copy_into(new_kernel, memory, x, result, roots, None, lambda i: (i, shape), offset, "concat")
        start = add(start, x.type.shape[axis])


def _slice_update(new_kernel: NewKernel, memory: Memory, node: Node, roots: Roots) -> None:
    operation, result = node.operation, memory.of[node.value]
    x, update = operation.operands
    starts, steps = operation.attributes["starts"], operation.attributes["steps"]
    copy_into(new_kernel, memory, x, result, roots)

    def where(indices: Indices) -> tuple[Indices, tuple[Dim, ...]]:
        return tuple(add(s, mul(i, t)) for i, s, t in zip(indices, starts, steps, strict=True)), x.type.shape

    copy_into(new_kernel, memory, update, result, roots, None, where, label="slice_update")


def _scan(new_kernel: NewKernel, memory: Memory, node: Node, roots: Roots) -> None:
    """A running sum or product: in order along the axis, many independent ones side by side."""
    operation = node.operation
    (x,), axis, shape = operation.operands, operation.attributes["axis"], node.value.type.shape
    result, dtype = memory.of[node.value], carrier(node.value.type.dtype)
    combine, first = (ops.ADD, 0) if operation.spec is ops.CUMSUM else (ops.MUL, 1)
    kernel = new_kernel(operation.spec.name)
    e = kernel.e
    before, after = shape[:axis], shape[axis + 1 :]
    if all(d == 1 for d in after):
        zeros = (0,) * len(after)

        def run(outer: Indices) -> None:
            with e.loop(shape[axis], "serial", [e.constant(first, dtype)]) as loop:
                place = (*outer, loop.index, *zeros)
                total = e.scalar(combine, loop.carried[0], e.at(x, place))
                kernel.store(total, result, place, shape)
                loop.results = [total]

        if all(d == 1 for d in before):
            run((0,) * len(before))
        else:
            with e.loop(product(before), "parallel") as rows:
                run(e.space.unflatten(rows.index, before))
        return kernel.finish()
    with column_tiles(kernel, before, product(after), TILE) as tiles:
        accumulator = e.alloc(dtype, (tiles.width,))
        with tiles.columns() as column:
            e.store(e.constant(first, dtype), accumulator, (column.inside,))
        with e.loop(shape[axis], "serial") as loop, tiles.columns() as column:
            place = (*tiles.outer, loop.index, *e.space.unflatten(column.index, after))
            total = e.scalar(combine, e.load(accumulator, (column.inside,), moving=False), e.at(x, place))
            e.store(total, accumulator, (column.inside,))
            kernel.store(total, result, place, shape)
    return kernel.finish()


def _put(new_kernel: NewKernel, memory: Memory, node: Node, roots: Roots) -> None:
    """Positions in order, the elements at one position side by side: `set` keeps the last, `add` has one order."""
    operation = node.operation
    x, positions, updates = operation.operands
    axis, result = operation.attributes["axis"], memory.of[node.value]
    copy_into(new_kernel, memory, x, result, roots)
    count = positions.type.rank if operation.spec is ops.PUT else 1
    shape = updates.type.shape
    before, along, after = shape[:axis], shape[axis : axis + count], shape[axis + count :]
    if product(shape) == 0:
        return
    kernel = new_kernel(operation.spec.name)
    kernel.shared.add(result)
    e = kernel.e
    with column_tiles(kernel, before, product(after), TILE) as tiles:

        def nest(taken: Indices) -> None:
            if len(taken) < count:
                with e.loop(along[len(taken)], "serial") as loop:
                    return nest((*taken, loop.index))
            with tiles.columns() as column:
                inner = e.space.unflatten(column.index, after)
                _write(kernel, operation, result, (*tiles.outer, *taken, *inner), taken, (tiles.outer, inner))

        nest(())
    kernel.finish()


def _write(
    kernel: KernelBuilder, operation: Operation, result: int, place: Indices, taken: Indices,
    around: tuple[Indices, Indices],
) -> None:  # fmt: skip
    """One update, written or added at the position read for it, if there is anywhere to write to."""
    e = kernel.e
    x, positions, updates = operation.operands
    where = taken if operation.spec is ops.PUT else place
    size = x.type.shape[operation.attributes["axis"]]
    index: Index = checked_position(e, operation, e.at(positions, where), size)
    target = (*around[0], index, *around[1])

    def write() -> None:
        value = e.at(updates, place)
        combine = _COMBINE.get(operation.attributes["mode"])
        if combine is not None:
            value = e.scalar(combine, kernel.load(result, target, x.type.shape, moving=False), value)
        kernel.store(value, result, target, x.type.shape)

    if isinstance(size, int) and size > 0:
        write()
    else:
        e.guard(e.scalar(ops.GT, e.index(size), e.constant(0, int64)), write)


_COMBINE = {"add": ops.ADD, "max": ops.MAXIMUM, "min": ops.MINIMUM, "mul": ops.MUL}


def _random_bits(new_kernel: NewKernel, memory: Memory, node: Node, roots: Roots) -> None:
    """Four words from each Philox block, and the rest of the last block by itself."""
    operation, result = node.operation, memory.of[node.value]
    count = node.elements

    def block(kernel: KernelBuilder, number: Index, bound: Dim | None) -> None:
        e = kernel.e
        seed, offset = (e.at(v, ()) for v in operation.operands)
        for lane, word in enumerate(philox(e, seed, e.scalar(ops.ADD, offset, e.index(number)))):

            def write(place: Index = add(mul(number, 4), lane), word: Value = word) -> None:  # noqa: B008
                kernel.store(e.cast(word, int32), result, (place,), (count,))

            if bound is None:
                write()
            elif not isinstance(bound, int):
                e.guard(e.scalar(ops.LT, e.constant(lane, int64), e.index(bound)), write)
            elif lane < bound:
                write()

    whole, rest = floordiv(count, 4), mod(count, 4)
    if whole != 0:
        kernel = new_kernel("random_bits")
        with kernel.e.loop(whole, "parallel") as loop:
            block(kernel, loop.index, None)
        kernel.finish()
    if rest != 0:
        kernel = new_kernel("random_bits' end")
        block(kernel, whole, rest)
        kernel.finish()


NESTS: dict[OpSpec, Nest] = {
    ops.CONCAT: _concat,
    ops.SLICE_UPDATE: _slice_update,
    ops.PUT: _put,
    ops.SCATTER: _put,
    ops.SCATTER_REDUCE: _put,
    ops.CUMSUM: _scan,
    ops.CUMPROD: _scan,
    ops.RANDOM_BITS: _random_bits,
}
