"""Nests for reductions that are not one loop per row, and for what follows them element by element.

Over leading axes (`sum` of [N, D] over axis 0) a row accumulator holds a tile of columns, and rows are added to it:
every loop runs along memory. A long reduction into few results is cut into chunks of a fixed size, each giving a
partial result; a second kernel combines those in order, so that the sum is the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jitcore_ir import Value
from jitcore_ir.shapes import add, floordiv, maximum, minimum, mul, product, sub
from jitcore_runtime.plan import BufferKind

from ..fuse.cluster import Cluster
from ..fuse.node import Node
from ..fuse.schedule import Shape
from ..loops.module import LoopBuffer
from .collapse import merge_runs
from .emitter import carrier
from .index import Dim, Index, Indices, variable_name
from .kernel import KernelBuilder, Memory
from .reduction import REDUCTIONS, initial
from .rows import axis_use, merged_extents, spread

TILE = 128
"""Columns in a row accumulator: several vector registers wide, small enough to share columns out to threads."""

CHUNK = 1 << 14
"""Elements in one chunk of a long reduction."""

CHUNK_TILE = 1024
"""Columns in a row accumulator over a chunk of rows: whole rows where they are shorter."""

Element = Callable[[Indices, Indices], Value]
Finish = Callable[[Indices, Value], None]


@dataclass(slots=True)
class Axes:
    """The loops of a reduction: the results' axes (`kept`; the last is the column where there are columns) and those
    summed over."""

    kept: tuple[Dim, ...]
    reduced: tuple[Dim, ...]


def emit_reduction(
    new_kernel: Callable[[str], KernelBuilder],
    memory: Memory,
    cluster: Cluster,
    finish: Callable[[KernelBuilder, Indices], None],
) -> None:
    """The kernels of a cluster anchored at a reduction. `finish` stores what becomes of the result at its indices."""
    anchor = cluster.anchor
    kept_runs, reduced_runs = _runs(anchor)
    kept, reduced = anchor.extents(anchor.free), anchor.extents(anchor.reduced)
    axes = Axes(merged_extents(kept, kept_runs), merged_extents(reduced, reduced_runs))

    def element(kernel: KernelBuilder, outer: Indices, taps: Indices) -> Value:
        places = dict(zip(map(variable_name, anchor.free), spread(outer, kept, kept_runs, kernel.e.space)))
        places |= dict(zip(map(variable_name, anchor.reduced), spread(taps, reduced, reduced_runs, kernel.e.space)))
        remaining = [places[variable_name(v)] for v in anchor.whole]
        x = anchor.operation.operands[0]
        return kernel.e.at(x, tuple(0 if d == 1 else remaining.pop(0) for d in x.type.shape))

    def result_indices(kernel: KernelBuilder, outer: Indices) -> Indices:
        remaining = list(spread(outer, kept, kept_runs, kernel.e.space))
        return tuple(0 if v == 0 else remaining.pop(0) for v in anchor.place)

    def done(kernel: KernelBuilder, outer: Indices, total: Value) -> None:
        place = result_indices(kernel, outer)
        kernel.e.remember((anchor.value, place), total)
        finish(kernel, place)

    name = anchor.operation.spec.name
    columns = cluster.shape in (Shape.COLUMNS, Shape.COLUMN_CHUNKS)
    if cluster.shape is Shape.COLUMNS:
        kernel = new_kernel(name)
        _column_nest(kernel, anchor, axes, TILE, lambda o, t: element(kernel, o, t), lambda o, v: done(kernel, o, v))
        return kernel.finish()
    rows, count = _chunks(axes)
    partial = LoopBuffer(BufferKind.TEMPORARY, carrier(anchor.value.type.dtype), (count, *axes.kept))
    buffer = memory.add(partial)
    first = new_kernel(f"{name} of chunks")
    chunked = Axes((count, *axes.kept), (rows, *axes.reduced[1:]))

    def part(outer: Indices, taps: Indices) -> Value:
        return element(first, outer[1:], (add(mul(outer[0], rows), taps[0]), *taps[1:]))

    def limit(outer: Indices) -> Index | None:
        left = sub(axes.reduced[0], mul(outer[0], rows))
        whole = isinstance(rows, int) and isinstance(axes.reduced[0], int) and axes.reduced[0] % rows == 0
        return None if whole else minimum(rows, left)

    def keep(outer: Indices, total: Value) -> None:
        first.store(total, buffer, outer, partial.shape)

    nest = _column_nest if columns else _row_nest
    nest(first, anchor, chunked, CHUNK_TILE, part, keep, limit)
    first.finish()
    second = new_kernel(f"{name} of the chunks' results")
    nest = _column_nest if axes.kept else _row_nest
    nest(
        second, anchor, Axes(axes.kept, (count,)), TILE,
        lambda o, t: second.load(buffer, (*t, *o), partial.shape), lambda o, v: done(second, o, v),
    )  # fmt: skip
    return second.finish()


def _runs(anchor: Node) -> tuple[list[int], list[int]]:
    return merge_runs([axis_use(anchor, anchor.free)]), merge_runs([axis_use(anchor, anchor.reduced)])


def _chunks(axes: Axes) -> tuple[Dim, Dim]:
    """(iterations of the first reduced loop in a chunk, number of chunks)."""
    columns = axes.kept[-1] if axes.kept and isinstance(axes.kept[-1], int) else 1
    rest = mul(product(axes.reduced[1:]), columns)
    if isinstance(rest, int):
        rows: Dim = max(1, CHUNK * (4 if columns != 1 else 1) // max(rest, 1))
    else:
        rows = maximum(1, floordiv(CHUNK, maximum(rest, 1)))
    return rows, floordiv(sub(add(axes.reduced[0], rows), 1), rows)


def _row_nest(
    kernel: KernelBuilder, anchor: Node, axes: Axes, tile: int, element: Element, finish: Finish,
    limit: Callable[[Indices], Index | None] | None = None,
) -> None:  # fmt: skip
    """One result after the other."""
    e, spec = kernel.e, REDUCTIONS[anchor.operation.spec].spec

    def reduce(outer: Indices, taps: Indices, carried: Value) -> Value:
        level = len(taps)
        if level == len(axes.reduced):
            return e.scalar(spec, carried, element(outer, taps))
        bound = limit(outer) if limit and level == 0 else None
        with e.loop(axes.reduced[level], "reduce", [carried], bound) as loop:
            loop.results = [reduce(outer, (*taps, loop.index), loop.carried[0])]
        return loop.results[0]

    def result(outer: Indices) -> None:
        finish(outer, reduce(outer, (), initial(e, anchor.operation)))

    if not axes.kept:
        return result(())
    with e.loop(product(axes.kept), "parallel") as loop:
        result(e.space.unflatten(loop.index, axes.kept))


def _column_nest(
    kernel: KernelBuilder, anchor: Node, axes: Axes, tile: int, element: Element, finish: Finish,
    limit: Callable[[Indices], Index | None] | None = None,
) -> None:  # fmt: skip
    """A tile of results at once, in a row accumulator."""
    e, spec = kernel.e, REDUCTIONS[anchor.operation.spec].spec
    with column_tiles(kernel, axes.kept[:-1], axes.kept[-1], tile) as tiles:
        accumulator = e.alloc(carrier(anchor.value.type.dtype), (tiles.width,))
        start = initial(e, anchor.operation)
        with tiles.columns() as column:
            e.store(start, accumulator, (column.inside,))

        def reduce(taps: Indices) -> None:
            level = len(taps)
            if level == len(axes.reduced):
                with tiles.columns() as column:
                    value = element((*tiles.outer, column.index), taps)
                    before = e.load(accumulator, (column.inside,), moving=False)
                    e.store(e.scalar(spec, before, value), accumulator, (column.inside,))
                return
            bound = limit(tiles.outer) if limit and level == 0 else None
            with e.loop(axes.reduced[level], "serial", (), bound) as loop:
                reduce((*taps, loop.index))

        reduce(())
        with tiles.columns() as column:
            finish((*tiles.outer, column.index), e.load(accumulator, (column.inside,), moving=False))


@dataclass(slots=True)
class Tiles:
    """One tile of columns of one row: `outer` are the row's indices, `width` the columns in a whole tile."""

    kernel: KernelBuilder
    outer: Indices
    width: Dim
    start: Index
    limit: Index | None

    @contextmanager
    def columns(self) -> Iterator[Column]:
        """A loop over the columns of the tile."""
        with self.kernel.e.loop(self.width, "serial", (), self.limit) as loop:
            yield Column(loop.index, add(self.start, loop.index))


@dataclass(slots=True)
class Column:
    """A column's index within its tile and within the whole row."""

    inside: Index
    index: Index


@contextmanager
def column_tiles(kernel: KernelBuilder, rows: tuple[Dim, ...], columns: Dim, tile: int) -> Iterator[Tiles]:
    """A parallel loop over rows and tiles of `columns`."""
    width = max(min(columns, tile), 1) if isinstance(columns, int) else tile
    count = floordiv(sub(add(columns, width), 1), width)
    whole = isinstance(columns, int) and columns % width == 0
    with kernel.e.loop(product((*rows, count)), "parallel") as loop:
        *outer, number = kernel.e.space.unflatten(loop.index, (*rows, count))
        start = mul(number, width)
        yield Tiles(kernel, tuple(outer), width, start, None if whole else minimum(width, sub(columns, start)))
