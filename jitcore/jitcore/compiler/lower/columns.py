"""Nests for reductions that are not one loop per row, and for what follows them element by element.

Over leading axes (`sum` of [N, D] over axis 0) a row accumulator holds a tile of columns, and rows are added to it:
every loop runs along memory. A long reduction into few results is cut into chunks of a fixed size, each giving a
partial result; a second kernel combines those in order, so that the sum is the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from jitcore_ir import OpSpec, Value
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

FEW_COLUMNS = 4
"""At most this many columns are summed in registers, the vectors running along the reduced axis."""

CHUNK = 1 << 14
"""Elements in one chunk of a long reduction."""

CHUNK_TILE = 1024
"""Columns in a row accumulator over a chunk of rows: whole rows where they are shorter."""

Element = Callable[[Indices, Indices], Value]
Finish = Callable[[Indices, list[Value]], None]
Limit = Callable[[Indices], "Index | None"]


@dataclass(slots=True)
class Nest:
    """Loops that reduce the same elements for one or several results.

    `kept` are the extents of the results' axes (the last is the column where there are columns), `reduced` of those
    summed over. `anchors` say what is summed, `elements` give the element of each at indices of both, and `finish`
    takes the totals at indices of the kept ones. `limit`: the iterations of the first reduced loop, where fewer.
    """

    kernel: KernelBuilder
    anchors: list[Node]
    kept: tuple[Dim, ...]
    reduced: tuple[Dim, ...]
    elements: list[Element]
    finish: Finish
    limit: Limit = field(default=lambda outer: None)

    @property
    def specs(self) -> list[OpSpec]:
        return [REDUCTIONS[a.operation.spec].spec for a in self.anchors]

    def starts(self) -> list[Value]:
        return [initial(self.kernel.e, a.operation) for a in self.anchors]

    def rows(self) -> None:
        """One result after the other."""
        if not self.kept:
            return self._row(())
        with self.kernel.e.loop(product(self.kept), "parallel") as loop:
            self._row(self.kernel.e.space.unflatten(loop.index, self.kept))

    def _row(self, outer: Indices) -> None:
        e = self.kernel.e

        def reduce(taps: Indices, carried: list[Value]) -> list[Value]:
            level = len(taps)
            if level == len(self.reduced):
                values = [element(outer, taps) for element in self.elements]
                return [e.scalar(s, c, v) for s, c, v in zip(self.specs, carried, values, strict=True)]
            bound = self.limit(outer) if level == 0 else None
            with e.loop(self.reduced[level], "reduce", carried, bound) as loop:
                loop.results = reduce((*taps, loop.index), loop.carried)
            return loop.results

        self.finish(outer, reduce((), self.starts()))

    def columns(self, tile: int) -> None:
        """A tile of results at once, in row accumulators."""
        e = self.kernel.e
        if isinstance(self.kept[-1], int) and self.kept[-1] <= FEW_COLUMNS:
            return self._few_columns(self.kept[-1])
        with column_tiles(self.kernel, self.kept[:-1], self.kept[-1], tile) as tiles:
            accumulators = [e.alloc(carrier(a.value.type.dtype), (tiles.width,)) for a in self.anchors]
            starts = self.starts()
            with tiles.columns() as column:
                for start, accumulator in zip(starts, accumulators, strict=True):
                    e.store(start, accumulator, (column.inside,))

            def reduce(taps: Indices) -> None:
                level = len(taps)
                if level < len(self.reduced):
                    bound = self.limit(tiles.outer) if level == 0 else None
                    with e.loop(self.reduced[level], "serial", (), bound) as loop:
                        return reduce((*taps, loop.index))
                with tiles.columns() as column:
                    for spec, element, accumulator in zip(self.specs, self.elements, accumulators, strict=True):
                        value = element((*tiles.outer, column.index), taps)
                        before = e.load(accumulator, (column.inside,), moving=False)
                        e.store(e.scalar(spec, before, value), accumulator, (column.inside,))

            reduce(())
            with tiles.columns() as column:
                totals = [e.load(a, (column.inside,), moving=False) for a in accumulators]
                self.finish((*tiles.outer, column.index), totals)

    def _few_columns(self, count: int) -> None:
        """One row of results after the other, a whole row at once: `rows` for each anchor and column."""

        def of_column(element: Element, column: int) -> Element:
            return lambda outer, taps: element((*outer, column), taps)

        def finish(outer: Indices, totals: list[Value]) -> None:
            for column in range(count):
                self.finish((*outer, column), totals[column::count])

        elements = [of_column(element, column) for element in self.elements for column in range(count)]
        anchors = [anchor for anchor in self.anchors for _ in range(count)]
        Nest(self.kernel, anchors, self.kept[:-1], self.reduced, elements, finish, self.limit).rows()


def emit_reduction(
    new_kernel: Callable[[str], KernelBuilder],
    memory: Memory,
    cluster: Cluster,
    finish: Callable[[KernelBuilder, Node, Indices], None],
) -> None:
    """The kernels of a cluster anchored at reductions. `finish` stores what becomes of an anchor's result at its
    indices."""
    anchors = cluster.anchors
    axes = _MergedAxes(anchors)
    name = "+".join(a.operation.spec.name for a in anchors)

    def elements(kernel: KernelBuilder) -> list[Element]:
        return [partial(axes.element, kernel, a) for a in anchors]

    def done(kernel: KernelBuilder, outer: Indices, totals: list[Value]) -> None:
        places = [axes.place(kernel, a, outer) for a in anchors]
        for anchor, place, total in zip(anchors, places, totals, strict=True):
            kernel.e.remember((anchor.value, place), total)
        for anchor, place in zip(anchors, places, strict=True):
            finish(kernel, anchor, place)

    if cluster.shape is Shape.COLUMNS:
        kernel = new_kernel(name)
        Nest(kernel, anchors, axes.kept, axes.reduced, elements(kernel), partial(done, kernel)).columns(TILE)
        return kernel.finish()
    rows, count = _chunks(axes.kept, axes.reduced)
    shape = (count, *axes.kept)
    buffers = [
        memory.add(LoopBuffer(BufferKind.TEMPORARY, carrier(a.value.type.dtype), shape, name="partial"))
        for a in anchors
    ]
    kernel = new_kernel(f"{name} of chunks")
    whole = elements(kernel)

    def part(element: Element, outer: Indices, taps: Indices) -> Value:
        return element(outer[1:], (add(mul(outer[0], rows), taps[0]), *taps[1:]))

    def limit(outer: Indices) -> Index | None:
        exact = isinstance(rows, int) and isinstance(axes.reduced[0], int) and axes.reduced[0] % rows == 0
        return None if exact else minimum(rows, sub(axes.reduced[0], mul(outer[0], rows)))

    def keep(outer: Indices, totals: list[Value]) -> None:
        for buffer, total in zip(buffers, totals, strict=True):
            kernel.store(total, buffer, outer, shape)

    parts: list[Element] = [partial(part, element) for element in whole]
    nest = Nest(kernel, anchors, shape, (rows, *axes.reduced[1:]), parts, keep, limit)
    if cluster.shape is Shape.COLUMN_CHUNKS:
        nest.columns(CHUNK_TILE)
    else:
        nest.rows()
    kernel.finish()

    second = new_kernel(f"{name} of the chunks' results")

    def kept_part(buffer: int, outer: Indices, taps: Indices) -> Value:
        return second.load(buffer, (*taps, *outer), shape)

    results: list[Element] = [partial(kept_part, buffer) for buffer in buffers]
    nest = Nest(second, anchors, axes.kept, (count,), results, partial(done, second))
    if axes.kept:
        nest.columns(TILE)
    else:
        nest.rows()
    return second.finish()


class _MergedAxes:
    """The loops that anchors over the same elements share: their axes, merged where all of them allow it."""

    def __init__(self, anchors: list[Node]) -> None:
        self._kept_runs = merge_runs([axis_use(a, a.free) for a in anchors])
        self._reduced_runs = merge_runs([axis_use(a, a.reduced) for a in anchors])
        self._kept, self._reduced = anchors[0].extents(anchors[0].free), anchors[0].extents(anchors[0].reduced)
        self.kept = merged_extents(self._kept, self._kept_runs)
        self.reduced = merged_extents(self._reduced, self._reduced_runs)

    def element(self, kernel: KernelBuilder, anchor: Node, outer: Indices, taps: Indices) -> Value:
        """The element of an anchor's operand at these indices."""
        space, x = kernel.e.space, anchor.operation.operands[0]
        places = dict(zip(map(variable_name, anchor.free), spread(outer, self._kept, self._kept_runs, space)))
        taps = spread(taps, self._reduced, self._reduced_runs, space)
        places |= dict(zip(map(variable_name, anchor.reduced), taps))
        remaining = [places[variable_name(v)] for v in anchor.whole]
        return kernel.e.at(x, tuple(0 if d == 1 else remaining.pop(0) for d in x.type.shape))

    def place(self, kernel: KernelBuilder, anchor: Node, outer: Indices) -> Indices:
        """The indices of an anchor's result."""
        remaining = list(spread(outer, self._kept, self._kept_runs, kernel.e.space))
        return tuple(0 if v == 0 else remaining.pop(0) for v in anchor.place)


def _chunks(kept: tuple[Dim, ...], reduced: tuple[Dim, ...]) -> tuple[Dim, Dim]:
    """(iterations of the first reduced loop in a chunk, number of chunks)."""
    columns = kept[-1] if kept and isinstance(kept[-1], int) else 1
    rest = mul(product(reduced[1:]), columns)
    if isinstance(rest, int):
        rows: Dim = max(1, CHUNK * (4 if columns != 1 else 1) // max(rest, 1))
    else:
        rows = maximum(1, floordiv(CHUNK, maximum(rest, 1)))
    return rows, floordiv(sub(add(reduced[0], rows), 1), rows)


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
