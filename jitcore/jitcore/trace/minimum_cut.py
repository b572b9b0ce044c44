"""The cheapest set of edges that cuts a source off from a sink: Dinic's algorithm.

Dinitz, "Algorithm for solution of a problem of maximum flow in networks with power estimation", 1970. Nodes are the
numbers 0 ... count - 1; everything goes in order of insertion, so equal networks give equal cuts.
"""

from __future__ import annotations

INFINITE = 1 << 62


class Network:
    """A directed graph with integer capacities; `add_node` and `add_edge` build it, `cut` solves it once."""

    def __init__(self) -> None:
        self._edges: list[list[int]] = []  # of each node, positions in the three lists below
        self._target: list[int] = []
        self._left: list[int] = []  # capacity not used yet; an edge and its reverse are neighbours: e and e ^ 1
        self._level: list[int] = []
        self._next: list[int] = []

    def add_node(self) -> int:
        self._edges.append([])
        return len(self._edges) - 1

    def add_edge(self, start: int, end: int, capacity: int) -> None:
        self._edges[start].append(len(self._target))
        self._edges[end].append(len(self._target) + 1)
        self._target += [end, start]
        self._left += [capacity, 0]

    def cut(self, source: int, sink: int) -> list[bool]:
        """For each node, whether it lies on the sink's side of the cheapest cut; of equal ones, of the cut nearest to
        the sink. An edge is cut where it leads from one side to the other. Some finite cut must exist."""
        while self._layer(source, sink):
            self._next = [0] * len(self._edges)
            while self._augment(source, sink):
                pass
        return self._reaching(sink)

    def _layer(self, source: int, sink: int) -> bool:
        """Distances from the source along edges with capacity left; whether the sink has one."""
        self._level = [-1] * len(self._edges)
        self._level[source] = 0
        queue = [source]
        for node in queue:
            for edge in self._edges[node]:
                other = self._target[edge]
                if self._left[edge] and self._level[other] < 0:
                    self._level[other] = self._level[node] + 1
                    queue.append(other)
        return self._level[sink] >= 0

    def _augment(self, source: int, sink: int) -> bool:
        """Send flow along one shortest path; False where none is left. Without recursion, as paths may be long."""
        path: list[int] = []
        node = source
        while node != sink:
            edges, position = self._edges[node], self._next[node]
            while position < len(edges):
                edge = edges[position]
                other = self._target[edge]
                if self._left[edge] and self._level[other] == self._level[node] + 1:
                    break
                position += 1
            self._next[node] = position
            if position < len(edges):
                path.append(edges[position])
                node = self._target[edges[position]]
            elif path:
                node = self._target[path.pop() ^ 1]
                self._next[node] += 1
            else:
                return False
        flow = min(self._left[edge] for edge in path)
        for edge in path:
            self._left[edge] -= flow
            self._left[edge ^ 1] += flow
        return True

    def _reaching(self, sink: int) -> list[bool]:
        """The nodes from which the sink can be reached along edges with capacity left."""
        found = [False] * len(self._edges)
        found[sink] = True
        queue = [sink]
        for node in queue:
            for edge in self._edges[node]:
                other = self._target[edge]
                if self._left[edge ^ 1] and not found[other]:
                    found[other] = True
                    queue.append(other)
        return found
