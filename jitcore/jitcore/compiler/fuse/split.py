"""Splitting an elementwise kernel where padding begins and ends, so that no loop asks at every element.

    y[i] = 0 <= i - 64 < 64 ? x[i - 64] : 0     for i below 192

becomes three kernels, over 0..64, 64..128 and 128..192: in each the question has one answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from jitcore_ir import Operation, OpSpec, ops
from jitcore_ir.shapes import add, sub

from ..lower.index import Dim, Index, coefficients
from ..lower.parts import elements_at
from ..lower.trial import Trial
from .cluster import Cluster
from .node import Node
from .roots import Roots

MOST_PIECES = 4
WORTH_SPLITTING = 1 << 12
"""Kernels over fewer elements are not worth compiling several times."""


def split_cluster(cluster: Cluster, roots: Roots, numbers: Mapping[Operation, int]) -> list[Cluster]:
    """A flat cluster as several, one after another along one axis; itself where there is nothing to gain."""
    elements = cluster.nodes[0].elements
    if not isinstance(elements, int) or elements < WORTH_SPLITTING:
        return [cluster]
    inside: dict[int, set[int]] = defaultdict(set)
    for node in cluster.nodes:
        for test in node.tests:
            axis, point = _boundary(node, *test)
            extent = node.space.extent(node.free[axis]) if axis >= 0 else 0
            if isinstance(extent, int) and 0 < point < extent:
                inside[axis].add(point)
    if not inside:
        return [cluster]
    axis = max(inside, key=lambda a: (len(inside[a]), a))
    extent = cluster.nodes[0].space.extent(cluster.nodes[0].free[axis])
    assert isinstance(extent, int)
    edges = [0, *sorted(inside[axis]), extent]
    if len(edges) - 1 > MOST_PIECES:
        return [cluster]
    return [
        Cluster("flat", [_narrowed(n, axis, start, end - start, roots, numbers) for n in cluster.nodes])
        for start, end in pairwise(edges)
    ]


def _boundary(node: Node, spec: OpSpec, index: Index, bound: Dim) -> tuple[int, int]:
    """(axis, place) where a test's answer changes; axis -1 where that is not one place along one axis."""
    found = coefficients(sub(index, bound))
    if found is None or spec is ops.EQ or len(found[0]) != 1 or not isinstance(found[1], int):
        return -1, 0
    (name, stride), constant = next(iter(found[0].items())), found[1]
    for axis, variable in enumerate(node.free):
        if stride == 1 and str(variable) == name:
            return axis, -constant
    return -1, 0


def _narrowed(
    node: Node, axis: int, start: int, extent: int, roots: Roots, numbers: Mapping[Operation, int]
) -> Node:  # fmt: skip
    """The node over part of one of its axes."""
    variable = node.space.variable(extent)
    position = node.place.index(node.free[axis])
    place = (*node.place[:position], add(variable, start), *node.place[position + 1 :])
    free = tuple(v for v in (*node.free[:axis], variable, *node.free[axis + 1 :]) if v != 0)
    trial = Trial(node.space, free, roots, numbers)
    for element in elements_at(node.value, place):
        trial.compute(node.value, element)
    return Node(
        node.value, node.kind, node.space, place, free, (), free, trial.reads, trial.emitter.raw, trial.emitter.tests,
        node.operations,
    )  # fmt: skip
