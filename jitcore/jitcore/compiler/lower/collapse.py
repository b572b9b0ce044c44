"""Which neighbouring loop axes are one loop: `x[i, j] + y[i, j]` over [N, D] is a single loop over N*D.

Two axes merge when every place that is read or written, and every use of an index as a number, can be written with
the merged variable without dividing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitcore_ir import shapes
from jitcore_ir.shapes import product

from .index import Dim, Index, IndexSpace, Indices, quotients, recombine, variable_name

Place = tuple[Indices, tuple[Dim, ...]]


@dataclass(slots=True)
class AxisUse:
    """How one computation uses a group of loop axes: its variables for them, the places (indices, shape of the memory)
    it touches and the indices it uses as numbers."""

    space: IndexSpace
    variables: Indices
    places: Sequence[Place]
    numbers: Sequence[Index] = ()


def merge_runs(uses: Sequence[AxisUse]) -> list[int]:
    """Lengths of the runs of neighbouring axes that merge, outermost first; they sum to the number of axes."""
    count = len(uses[0].variables) if uses else 0
    runs: list[int] = []  # innermost first while they are built
    start = count
    while start > 0:
        length = 1
        while start - length > 0 and all(_merges(use, start - length - 1, start) for use in uses):
            length += 1
        runs.append(length)
        start -= length
    return runs[::-1]


def _merges(use: AxisUse, start: int, end: int) -> bool:
    axes = use.variables[start:end]
    extents = [use.space.extent(v) for v in axes]
    merged = use.space.variable(product(extents))
    new = dict(zip(map(variable_name, axes), use.space.unflatten(merged, extents), strict=True))
    for indices, shape in use.places:
        before = use.space.merge(indices, shape)[0]
        after = use.space.merge(tuple(shapes.substitute(i, new) for i in indices), shape)[0]
        if quotients(after) > quotients(before):
            return False
    apart = [recombine(shapes.substitute(index, new)) for index in use.numbers]
    return quotients(apart) <= quotients(use.numbers)
