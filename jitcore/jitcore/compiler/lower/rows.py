"""Nests for "flat" and "rows" clusters: a parallel loop over rows, and in each row one loop per stage.

    softmax:  for row:  m = max over j of x[row, j]                       stage 0
                        for j: e[j] = exp(x[row, j] - m); s += e[j]       stage 1, e in row scratch
                        for j: y[row, j] = e[j] / s                       stage 2

What a row needs once (m, s, 1 / s) is a scalar in the row's scope. An elementwise kernel is the case with one stage
whose rows are all axes but the last run of merged ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jitcore_ir import Value, shapes
from jitcore_ir.shapes import add, floordiv, minimum, mul, product, sub

from ..fuse.cluster import Cluster
from ..fuse.node import Node
from ..fuse.roots import MULTIPLE_USE_COST
from .collapse import AxisUse, merge_runs
from .emitter import carrier
from .index import Dim, Index, IndexSpace, Indices, coefficients, flatten, variable_name
from .kernel import KernelBuilder, Scratch
from .reduction import REDUCTIONS, initial

TILE = 32
"""Rows and columns of a tile where an elementwise kernel reads along one axis and writes along another."""

SCRATCH_BYTES = 1 << 16
"""Row scratch beyond this goes to a temporary buffer, where it costs no stack."""


@dataclass(slots=True)
class Stage:
    """Nodes computed by one loop within a row; `extents` are those of its axes."""

    extents: tuple[Dim, ...]
    nodes: list[Node] = field(default_factory=list)


class RowNest:
    """Emits a "flat" or "rows" cluster into a kernel. `kept` are its values that must end up in memory."""

    def __init__(self, kernel: KernelBuilder, cluster: Cluster, kept: set[Value], costs: dict[Value, int]) -> None:
        self.kernel, self.cluster, self.kept, self.costs = kernel, cluster, kept, costs
        self.e = kernel.e
        kernel.members = {n.value for n in cluster.nodes}
        if cluster.kind == "flat":
            _make_rows(cluster)
        self.places: dict[Node, dict[str, Index]] = {n: {} for n in cluster.nodes}
        self.stages, self.stage_of = _stages(cluster)
        self._scratch: dict[Node, Value] = {}
        self._scratch_needed: dict[Node, tuple[Dim, ...]] = {}

    def emit(self) -> None:
        variables = [self.cluster.rows[n] for n in self.cluster.nodes]
        extents = self.cluster.nodes[0].extents(variables[0])
        runs = merge_runs([axis_use(n, v) for n, v in zip(self.cluster.nodes, variables, strict=True)])
        self._choose_memory()
        if not extents:
            return self._row(())
        merged = merged_extents(extents, runs)
        crossing = self._crossing_run(runs)
        if crossing is not None:
            return self._tiles(extents, runs, crossing)
        with self.e.loop(product(merged), "parallel") as loop:
            rows = spread(self.e.space.unflatten(loop.index, merged), extents, runs, self.e.space)
            self._row(rows)

    # --- reading across ---

    def _crossing_run(self, runs: Sequence[int]) -> int | None:
        """The run of row axes along which some operand's memory runs, where another runs along the innermost axis."""
        if len(self.stages) != 1 or any(n.kind == "reduction" or not self.cluster.inner(n) for n in self.cluster.nodes):
            return None
        for node in self.cluster.nodes:
            rows, last = self.cluster.rows[node], node.free[-1]
            for value, indices in node.reads:
                found = coefficients(flatten(indices, value.type.shape))
                strides = found[0] if found else {}
                if strides.get(variable_name(last), 1) == 1:
                    continue
                along = [a for a, v in enumerate(rows) if strides.get(variable_name(v)) == 1]
                if along and all(_may_exceed(node.space.extent(v), TILE) for v in (last, rows[along[0]])):
                    return next(r for r in range(len(runs)) if sum(runs[: r + 1]) > along[0])
        return None

    def _tiles(self, extents: tuple[Dim, ...], runs: Sequence[int], crossing: int) -> None:
        """Square tiles over the crossing rows and the innermost axis: both memories are used a line at a time."""
        (stage,) = self.stages
        inner_runs = merge_runs([axis_use(n, self.cluster.inner(n)) for n in stage.nodes])
        merged, width = merged_extents(extents, runs), product(stage.extents)
        height = merged[crossing]
        outer_extents = (*merged[:crossing], _tile_count(height), *merged[crossing + 1 :])
        with self.e.loop(product(outer_extents), "parallel") as loop:
            outer = self.e.space.unflatten(loop.index, outer_extents)
            with self.e.loop(_tile_count(width), "serial") as across:
                top, left = mul(outer[crossing], TILE), mul(across.index, TILE)
                with self.e.loop(TILE, "serial", (), _tile_limit(height, top)) as row:
                    at = (*outer[:crossing], add(top, row.index), *outer[crossing + 1 :])
                    rows = spread(at, extents, runs, self.e.space)
                    for node in self.cluster.nodes:
                        self._bind(node, self.cluster.rows[node], rows)
                    with self.e.loop(TILE, "serial", (), _tile_limit(width, left)) as column:
                        place = spread((add(left, column.index),), stage.extents, inner_runs, self.e.space)
                        self._body(stage, place, ())

    # --- one row ---

    def _row(self, rows: Indices) -> None:
        for node in self.cluster.nodes:
            self._bind(node, self.cluster.rows[node], rows)
        for node, dims in self._scratch_needed.items():
            self._scratch[node] = self.e.alloc(carrier(node.value.type.dtype), dims)
        for stage in self.stages:
            self._stage(stage)
        for node in self.cluster.nodes:
            if node.kind != "reduction" and self.cluster.inner(node):
                continue
            if node.value in self.kept:
                self.kernel.store_value(node.value, self._place(node))
            else:
                self.e.at(node.value, self._place(node))  # as in _body

    def _stage(self, stage: Stage) -> None:
        uses = [axis_use(n, self.cluster.inner(n)) for n in stage.nodes]
        runs = merge_runs(uses)
        merged = merged_extents(stage.extents, runs)
        reductions = [n for n in stage.nodes if n.kind == "reduction"]

        def nest(level: int, indices: Indices, carried: Sequence[Value]) -> list[Value]:
            if level == len(merged):
                return self._body(stage, spread(indices, stage.extents, runs, self.e.space), carried)
            with self.e.loop(merged[level], "reduce" if reductions else "serial", carried) as loop:
                loop.results = nest(level + 1, (*indices, loop.index), loop.carried)
            return loop.results

        results = nest(0, (), [initial(self.e, n.operation) for n in reductions])
        for node, result in zip(reductions, results, strict=True):
            self.e.remember((node.value, self._place(node)), result)
        for node in stage.nodes:
            if node in self._scratch:
                self.kernel.scratch[node.value] = Scratch(self._scratch[node], self._scratch_place(node))
            elif node.kind == "pointwise" and node.value in self.kept:
                self.kernel.written.add(node.value)

    def _body(self, stage: Stage, inner: Indices, carried: Sequence[Value]) -> list[Value]:
        results, accumulators = [], list(carried)
        read = {value for node in stage.nodes for value, _ in node.reads}
        for node in stage.nodes:
            self._bind(node, self.cluster.inner(node), inner)
            self.e.location = node.operation.location
            if node.kind == "reduction":
                x = node.operation.operands[0]
                element = self.e.at(x, self._whole(node))
                results.append(self.e.scalar(REDUCTIONS[node.operation.spec].spec, accumulators.pop(0), element))
                continue
            if node.value in self.kept:
                self.kernel.store_value(node.value, self._place(node))
            elif node in self._scratch:
                place = self._place(node)
                self.e.store(self.e.at(node.value, place), self._scratch[node], self._scratch_place(node)(place))
            elif node.value in read:
                self.e.at(node.value, self._place(node))  # in order, so that asking for a late one does not go deep
        return results

    # --- memory for what a later stage reads ---

    def _choose_memory(self) -> None:
        """Decide which values computed in one stage and read in a later one are kept, and where."""
        for node in self.cluster.nodes:
            if node.kind == "reduction" or not self.cluster.inner(node) or not self._read_later(node):
                continue
            if node.value in self.kept:
                self.kernel.shared.add(self.kernel.memory.of[node.value])
            elif self.costs[node.value] >= MULTIPLE_USE_COST:
                dims = node.extents(self.cluster.inner(node))
                size = product(dims)
                if isinstance(size, int) and size * carrier(node.value.type.dtype).itemsize <= SCRATCH_BYTES:
                    self._scratch_needed[node] = dims
                else:
                    self.kernel.shared.add(self.kernel.memory.temporary(node.value))
                    self.kept.add(node.value)

    def _read_later(self, node: Node) -> bool:
        stage = self.stage_of[node]
        return any(
            value is node.value and self.stage_of.get(n, len(self.stages)) > stage
            for n in self.cluster.nodes
            for value, _ in n.reads
        )

    def _scratch_place(self, node: Node) -> Callable[[Indices], Indices]:
        inner = {variable_name(v) for v in self.cluster.inner(node)}
        kept = [a for a, v in enumerate(node.place) if v != 0 and variable_name(v) in inner]
        return lambda indices: tuple(indices[a] for a in kept)

    # --- places ---

    def _bind(self, node: Node, variables: Indices, indices: Indices) -> None:
        self.places[node].update(zip(map(variable_name, variables), indices, strict=True))

    def _place(self, node: Node) -> Indices:
        return tuple(shapes.substitute(i, self.places[node]) for i in node.place)

    def _whole(self, node: Node) -> Indices:
        remaining = [self.places[node][variable_name(v)] for v in node.whole]
        return tuple(0 if d == 1 else remaining.pop(0) for d in node.operation.operands[0].type.shape)


def axis_use(node: Node, variables: Indices) -> AxisUse:
    """What merging some of a node's axes must respect: its reads and its own place in memory."""
    places = [(indices, value.type.shape) for value, indices in node.reads]
    return AxisUse(node.space, variables, [*places, (node.place, node.value.type.shape)], node.raw)


def merged_extents(extents: Sequence[Dim], runs: Sequence[int]) -> tuple[Dim, ...]:
    """The extent of each run of merged axes."""
    found, start = [], 0
    for length in runs:
        found.append(product(extents[start : start + length]))
        start += length
    return tuple(found)


def spread(indices: Indices, extents: Sequence[Dim], runs: Sequence[int], space: IndexSpace) -> Indices:
    """The indices of the axes from those of the runs they are merged into."""
    found: list[Index] = []
    start = 0
    for index, length in zip(indices, runs, strict=True):
        found += space.unflatten(index, extents[start : start + length])
        start += length
    return tuple(found)


def _may_exceed(extent: Dim, size: int) -> bool:
    return not isinstance(extent, int) or extent > size


def _tile_count(extent: Dim) -> Dim:
    return floordiv(add(extent, TILE - 1), TILE)


def _tile_limit(extent: Dim, start: Index) -> Index | None:
    """The size of the tile that begins at `start`, where it is not always whole."""
    return None if isinstance(extent, int) and extent % TILE == 0 else minimum(TILE, sub(extent, start))


def _make_rows(cluster: Cluster) -> None:
    """A flat cluster's rows: every axis but those that merge with the last; all of them where that is all."""
    runs = merge_runs([axis_use(n, n.free) for n in cluster.nodes])
    count = sum(runs[:-1]) if len(runs) > 1 else sum(runs)
    for node in cluster.nodes:
        cluster.rows[node] = node.free[:count]


def _stages(cluster: Cluster) -> tuple[list[Stage], dict[Node, int]]:
    """Loops of a row: each node in the first loop of its extents that comes after all the reductions it needs.

    Nodes of one element per row have no loop; `stage_of` gives the stage before which their value exists.
    """
    stages: list[Stage] = []
    ready: dict[Value, int] = {}
    stage_of: dict[Node, int] = {}
    for node in cluster.nodes:
        earliest = max((ready[v] for v, _ in node.reads if v in ready), default=0)
        inner = cluster.inner(node)
        if not inner and node.kind == "pointwise":
            ready[node.value] = earliest
            stage_of[node] = earliest
            continue
        extents = node.extents(inner)
        fitting = [n for n in range(earliest, len(stages)) if stages[n].extents == extents]
        if not fitting:
            stages.append(Stage(extents))
        number = fitting[0] if fitting else len(stages) - 1
        stages[number].nodes.append(node)
        ready[node.value] = number + (node.kind == "reduction")
        stage_of[node] = number
    return stages, stage_of
