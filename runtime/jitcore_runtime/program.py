"""`Program`: a graph with what it takes to run it. The jit cache holds it, an archive stores it, the executor runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jitcore_ir.graph import Graph

from .plan import Image, Plan


@dataclass(slots=True)
class Program:
    """Graph outputs are results first, then updated values, then guard values.

    `updates`: pairs (graph output, graph input): the output's value is committed to the input's memory at the end.
    `guards`: pairs (graph output, expected Python value): where one differs, nothing is committed.
    `plan` and `image` are None for a program that is interpreted. `operations[n]` names the operation that an index
    error number n of the native code is about.
    """

    name: str
    graph: Graph
    plan: Plan | None = None
    image: Image | None = None
    updates: tuple[tuple[int, int], ...] = ()
    guards: tuple[tuple[int, Any], ...] = ()
    operations: tuple[str, ...] = ()

    @property
    def results(self) -> list[int]:
        """The graph outputs that are given back."""
        taken = {output for output, _ in (*self.updates, *self.guards)}
        return [number for number in range(len(self.graph.outputs)) if number not in taken]
