"""Which roots share a kernel.

A `Cluster` is one kernel to be: "flat" (elementwise over one domain), "rows" (each row's reductions and what is made
of them, row by row), "anchored" (a contraction, or a reduction over leading axes, with what is computed from its
result element by element) or "alone". Roots are taken in order; each joins the latest cluster it reads from if it may:

- it reads the cluster's roots at its own position (same row; for an anchor, same element), so that each is computed
  once and handed over in registers or row scratch;
- the merged cluster would not have to run both before and after some third one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jitcore_ir.shapes import product

from ..lower.index import Dim, IndexSpace, Indices, is_variable
from ..lower.trial import Trial
from .anchor import place_after
from .dependence import Dependence
from .node import Node
from .roots import CONTRACTIONS, Roots
from .schedule import Shape, reduction_shape

FEW_ROWS = 8
MUCH_WORK = 1 << 16
"""What has more elements than this is not computed row by row where there are fewer rows than FEW_ROWS to share out."""

SMALL = 1 << 14
"""What has at most this many elements may be computed without a parallel loop, behind a reduction of everything."""

MOST_OPERATIONS = 600
"""Scalar operations in one kernel: beyond this it only gets slow to compile."""


@dataclass(eq=False, slots=True)
class Cluster:
    """Roots computed by one kernel, in order.

    `rows` gives, for each node of a "rows" cluster, its variables that are the row's indices, in the cluster's order.
    `places` gives, for each node of an "anchored" cluster, its position in terms of the variables of its anchor, which
    `anchor_of` gives; an anchor is its own.
    """

    kind: str
    nodes: list[Node] = field(default_factory=list)
    rows: dict[Node, Indices] = field(default_factory=dict)
    places: dict[Node, Indices] = field(default_factory=dict)
    anchor_of: dict[Node, Node] = field(default_factory=dict)
    shape: Shape | None = None

    @property
    def anchor(self) -> Node:
        return self.anchors[0]

    @property
    def anchors(self) -> list[Node]:
        """The anchors: several where reductions over the same elements share a kernel."""
        return list(dict.fromkeys(self.anchor_of.values()))

    @property
    def operations(self) -> int:
        return sum(n.operations for n in self.nodes)

    def row_extents(self) -> tuple[Dim, ...]:
        node, rows = next(iter(self.rows.items()))
        return node.extents(rows)

    def inner(self, node: Node) -> Indices:
        """A node's variables that are not the row's, those of a reduction last."""
        rows = self.rows[node]
        return (*(v for v in node.free if v not in rows), *node.reduced)


class Clusters:
    """The clusters of a graph while they are formed; `dependence.order()` gives them in execution order."""

    def __init__(self, roots: Roots, numbers: dict) -> None:
        self._roots = roots
        self._numbers = numbers
        self.dependence = Dependence()
        self._position: dict[Node, int] = {}

    def add(self, node: Node) -> None:
        """Put a node into a cluster, joining clusters where that lets them share it."""
        self._position[node] = len(self._position)
        joined: Cluster | None = None
        started = {c: n for n, c in enumerate(self.dependence.clusters)}
        for cluster in sorted(self.dependence.read_by(node), key=started.__getitem__, reverse=True):
            if joined is None:
                if self._may_join(node, cluster):
                    joined = cluster
                    self._join(node, cluster)
            else:
                joined = self._merge(node, joined, cluster)
        if joined is None:
            self._start(node)

    def unite(self, target: Cluster, other: Cluster) -> None:
        """Make `other` part of `target`. Whoever asks has seen that nothing lies between them."""
        target.nodes = sorted(target.nodes + other.nodes, key=self._position.__getitem__)
        target.rows.update(other.rows)
        target.places.update(other.places)
        target.anchor_of.update(other.anchor_of)
        self.dependence.unite(target, other)

    # --- forming ---

    def _start(self, node: Node) -> None:
        cluster = Cluster("alone", [node])
        if node.operation.spec in CONTRACTIONS:
            _anchor(cluster, node)
        elif node.kind == "pointwise":
            cluster.kind = "flat"
        elif node.kind == "reduction":
            cluster.shape = reduction_shape(node)
            if cluster.shape is Shape.ROWS:
                cluster.kind, cluster.rows[node] = "rows", node.free
            else:
                _anchor(cluster, node)
        self.dependence.put(node, cluster)

    def _may_join(self, node: Node, cluster: Cluster) -> bool:
        if cluster.operations + node.operations > MOST_OPERATIONS:
            return False
        if node.kind == "alone" or cluster.kind == "alone" or self.dependence.between([cluster], node):
            return False
        if cluster.kind == "anchored":
            return self._epilogue_place(node, cluster) is not None
        if cluster.kind == "flat":
            return self._flat_rows(node, cluster) is not None
        rows = self._rows_read(node, cluster)
        return rows is not None and self._fits_rows(node, rows)

    def _join(self, node: Node, cluster: Cluster) -> None:
        if cluster.kind == "anchored":
            place = self._epilogue_place(node, cluster)
            assert place is not None
            cluster.places[node] = place
            cluster.anchor_of[node] = cluster.anchor
        elif cluster.kind == "flat":
            rows = self._flat_rows(node, cluster)
            assert rows is not None
            if node.kind == "reduction":
                _split_rows(cluster, node, rows)
        else:
            found = self._rows_read(node, cluster)
            assert found is not None
            cluster.rows[node] = found
        cluster.nodes.append(node)
        self.dependence.put(node, cluster)

    def _merge(self, node: Node, target: Cluster, other: Cluster) -> Cluster:
        """Also join `other`, which `node` reads, to the cluster that `node` is in by now. Gives the merged one."""
        if "anchored" in (target.kind, other.kind) or "alone" in (target.kind, other.kind):
            return target
        if target.operations + other.operations > MOST_OPERATIONS or self.dependence.between([target, other], node):
            return target
        if target.kind == "flat" and other.kind == "flat":
            if self._flat_rows(node, other) is None:
                return target
        elif target.kind == "flat":
            rows = self._rows_read(node, other)
            if rows is None or not self._fits_rows(node, rows) or not _same_place(target, node):
                return target
            _split_rows(target, node, rows)
            target.kind = "rows"
            target.rows[node] = rows
        elif other.kind == "flat":
            if self._flat_rows(node, other) is None or node.whole != node.free:
                return target
            _split_rows(other, node, target.rows[node])
        elif self._rows_read(node, other) != target.rows[node]:
            return target
        self.unite(target, other)
        return target

    # --- what is legal ---

    def _reads_from(self, node: Node, cluster: Cluster) -> list[tuple[Node, Indices]]:
        """(member read, its indices without the axes of extent 1)."""
        members = {m.value: m for m in cluster.nodes}
        found = []
        for value, indices in node.reads:
            if value in members:
                kept = tuple(i for i, p in zip(indices, members[value].place) if p != 0)
                found.append((members[value], kept))
        return found

    def _flat_rows(self, node: Node, cluster: Cluster) -> Indices | None:
        """The variables that would be the rows if `node` joined a flat cluster: all of a pointwise node's, which must
        have the cluster's domain; those a reduction keeps, if its operand has that domain. None where it may not."""
        for member, indices in self._reads_from(node, cluster):
            if indices != node.whole or member.extents(member.free) != node.extents(node.whole):
                return None
        if node.kind == "reduction" and reduction_shape(node) is not Shape.ROWS:
            return None
        return node.free

    def _rows_read(self, node: Node, cluster: Cluster) -> Indices | None:
        """The node's variables that index the rows of the members it reads; None where it reads other rows too."""
        found: Indices | None = None
        for member, indices in self._reads_from(node, cluster):
            if not all(is_variable(i) for i in indices) or len(set(indices)) != len(indices):
                return None
            by_variable = dict(zip(member.free, indices, strict=True))
            rows = tuple(by_variable[v] for v in cluster.rows[member])
            if found not in (None, rows) or any(v not in node.free for v in rows):
                return None
            if node.extents(rows) != cluster.row_extents():
                return None
            found = rows
        return found

    def _fits_rows(self, node: Node, rows: Indices) -> bool:
        """True where computing `node` row by row is sound and keeps its innermost axis inside the row."""
        inner = [v for v in node.free if v not in rows]
        if node.kind == "reduction":
            return not inner
        if inner and node.free[-1] in rows:
            return False
        count, elements = product(node.extents(rows)), node.elements
        if not inner or not isinstance(count, int):
            return bool(rows) or not inner or (isinstance(elements, int) and elements <= SMALL)
        limit = SMALL if not rows else MUCH_WORK
        return count >= FEW_ROWS or (isinstance(elements, int) and elements <= limit)

    def _epilogue_place(self, node: Node, cluster: Cluster) -> Indices | None:
        """Where `node` is written for the anchor's element, if it can be computed from that element."""
        if node.kind != "pointwise" or node.elements != cluster.anchor.elements:
            return None
        if node in cluster.places:
            return cluster.places[node]
        space: IndexSpace = cluster.anchor.space
        members = {m.value: cluster.places[m] for m in cluster.nodes}
        place = place_after(node.value, members, space, self._roots)
        if place is None:
            return None
        trial = Trial(space, cluster.anchor.place, self._roots, self._numbers)
        trial.compute(node.value, place)
        if any(indices != members[value] for value, indices in trial.reads if value in members):
            return None
        cluster.places[node] = place
        return place


def form_clusters(nodes: list[Node], roots: Roots, numbers: dict) -> Clusters:
    """Group the nodes of a graph into kernels."""
    clusters = Clusters(roots, numbers)
    for node in nodes:
        clusters.add(node)
    return clusters


def _anchor(cluster: Cluster, node: Node) -> None:
    """Make `node` the anchor of a new cluster."""
    cluster.kind = "anchored"
    cluster.places[node] = node.place
    cluster.anchor_of[node] = node


def _split_rows(cluster: Cluster, node: Node, rows: Indices) -> None:
    """Turn a flat cluster into one of rows: the axes of its domain at which `node`, which shares it, has `rows`."""
    positions = [node.whole.index(v) for v in rows]
    cluster.kind = "rows"
    for member in cluster.nodes:
        cluster.rows[member] = tuple(member.free[p] for p in positions)
    if node not in cluster.rows:
        cluster.rows[node] = rows


def _same_place(cluster: Cluster, node: Node) -> bool:
    """True where every member of a flat cluster has the node's whole domain."""
    return all(len(m.free) == len(node.whole) for m in cluster.nodes)
