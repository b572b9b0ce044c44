"""The graph passes that run before lowering, and the pipeline's dumps."""

from __future__ import annotations

from jitcore_ir import Graph
from jitcore_ir.clone import clone_graph
from jitcore_ir.passes import PassManager, standard_passes
from jitcore_runtime.kernels import KERNELS

from ..log import enabled, log


def optimize(graph: Graph) -> Graph:
    """A simplified copy of `graph` that computes the same."""
    copy = clone_graph(graph)
    PassManager(standard_passes(KERNELS), verify=enabled("graph"))(copy)
    log("graph", lambda: str(copy))
    return copy
