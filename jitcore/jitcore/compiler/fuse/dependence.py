"""Which clusters read from which while they are being formed: what keeps two from becoming one kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jitcore_ir import Value

from .node import Node

if TYPE_CHECKING:
    from .cluster import Cluster


class Dependence:
    """The clusters in the order they were started, the one that computes each root, and what each reads from."""

    def __init__(self) -> None:
        self.owner: dict[Value, Cluster] = {}
        self._sources: dict[Cluster, dict[Cluster, None]] = {}

    @property
    def clusters(self) -> list[Cluster]:
        return list(self._sources)

    def put(self, node: Node, cluster: Cluster) -> None:
        """`cluster`, which may be new, computes `node`."""
        sources = self._sources.setdefault(cluster, {})
        sources.update(dict.fromkeys(c for c in self.read_by(node) if c is not cluster))
        self.owner[node.value] = cluster

    def unite(self, target: Cluster, other: Cluster) -> None:
        """`other` becomes part of `target`."""
        self._sources[target].update(self._sources.pop(other))
        for cluster, sources in self._sources.items():
            if other in sources:
                del sources[other]
                sources[target] = None
            if cluster is target:
                sources.pop(target, None)
        for value, cluster in self.owner.items():
            if cluster is other:
                self.owner[value] = target

    def read_by(self, node: Node) -> list[Cluster]:
        """Clusters that a node reads from, each once."""
        return list(dict.fromkeys(self.owner[v] for v, _ in node.reads if v in self.owner))

    def between(self, group: Iterable[Cluster], node: Node | None = None) -> bool:
        """True where some cluster outside `group` reads from it and is read by it or by `node`: then the group cannot
        be one kernel."""
        members = set(group)
        pending = self.read_by(node) if node is not None else []
        for cluster in members:
            pending += self._sources[cluster]
        pending = [c for c in pending if c not in members]
        return any(c in members for c in self._all_sources(pending))

    def reaches(self, cluster: Cluster, other: Cluster) -> bool:
        """True where `cluster` reads from `other`, perhaps by way of others."""
        return other in self._all_sources([cluster])

    def order(self) -> list[Cluster]:
        """Clusters such that each comes after those it reads from, otherwise as they were started."""
        done: dict[Cluster, None] = {}
        pending = list(reversed(self._sources))
        while pending:
            cluster = pending[-1]
            missing = [c for c in self._sources[cluster] if c not in done]
            if missing:
                pending += reversed(missing)
                continue
            pending.pop()
            done[cluster] = None
        return list(done)

    def _all_sources(self, clusters: Iterable[Cluster]) -> set[Cluster]:
        seen: set[Cluster] = set()
        pending = list(clusters)
        while pending:
            for source in self._sources[pending.pop()]:
                if source not in seen:
                    seen.add(source)
                    pending.append(source)
        return seen
