"""Reductions over the same elements that read the same memory become one pass over it: the sums of a layer norm's
gradient over rows, for its weight and for its bias."""

from __future__ import annotations

from collections import defaultdict

from .cluster import Cluster, Clusters


def join_siblings(clusters: Clusters) -> None:
    """Unite clusters anchored at reductions of one shape that share something they read and need nothing of each
    other."""
    alike: dict[object, list[Cluster]] = defaultdict(list)
    for cluster in clusters.dependence.clusters:
        if cluster.shape is None or cluster.kind != "anchored":
            continue
        key = _shape_of(cluster)
        partner = next((c for c in alike[key] if _may_unite(clusters, c, cluster)), None)
        if partner is None:
            alike[key].append(cluster)
        else:
            clusters.unite(partner, cluster)


def _shape_of(cluster: Cluster) -> object:
    node = cluster.anchor
    pattern = tuple(v in node.reduced for v in node.whole)
    return cluster.shape, pattern, node.extents(node.whole), node.extents(node.free), node.extents(node.reduced)


def _may_unite(clusters: Clusters, first: Cluster, second: Cluster) -> bool:
    read = {v for a in first.anchors for v, indices in a.reads if indices}
    if not any(v in read for v, indices in second.anchor.reads if indices):
        return False
    dependence = clusters.dependence
    return not dependence.reaches(first, second) and not dependence.reaches(second, first)
