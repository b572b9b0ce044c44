"""`Program`: all it takes to run a compiled function. jit keeps it, an archive stores it, `Executor` runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jitcore_ir import Graph

from .plan import Image, Plan


@dataclass(frozen=True, slots=True)
class Program:
    """A graph with what a run of it commits and checks, and optionally its native code.

    The graph's outputs are the results, then the values named in `updates`, then those named in `guards`.
    `updates` are pairs (graph output, graph input): once every guard has held, the output's value is written to the
    input's memory. `guards` are pairs (graph output, expected Python value) of 0-d outputs: where a value differs, the
    run ends with `GuardFailed` and nothing has been written. `plan` and `image` are both there or both None; without
    them the graph is interpreted. `operations[n]` names the operation that native code calls number n in an IndexError,
    which is `graph.operations[n]` where the graph is the one that was lowered. `exact`: the native code gives the bits
    that the NumPy kernels give; whoever compiles the graph again has to see to that again. `kernels` are what code with
    timers measures: their names, each with the number of the graph operation that it is mainly for, or -1.
    """

    name: str
    graph: Graph
    plan: Plan | None = None
    image: Image | None = None
    updates: tuple[tuple[int, int], ...] = ()
    guards: tuple[tuple[int, Any], ...] = ()
    operations: tuple[str, ...] = ()
    exact: bool = False
    kernels: tuple[tuple[str, int], ...] = ()

    @property
    def results(self) -> tuple[int, ...]:
        """The graph outputs that a run returns: those that are neither updates nor guards."""
        internal = {output for output, _ in self.updates} | {output for output, _ in self.guards}
        return tuple(n for n in range(len(self.graph.outputs)) if n not in internal)
