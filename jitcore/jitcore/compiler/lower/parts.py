"""Complex numbers: graphs that hold them are interpreted for now."""

from __future__ import annotations

from jitcore_ir import Graph, OpSpec, ops

PARTS: tuple[OpSpec, ...] = (
    ops.MAKE_COMPLEX, ops.CONJ, ops.REAL, ops.IMAG, ops.VIEW_AS_REAL, ops.VIEW_AS_COMPLEX,
)  # fmt: skip


def holds_complex(graph: Graph) -> bool:
    """Whether some value of the graph is complex."""
    values = [*graph.inputs, *(v for o in graph.operations for v in o.results)]
    return any(v.type.dtype.is_complex for v in values)
