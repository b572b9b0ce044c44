"""`PassManager`: runs passes in order, some of them until nothing changes, and can check and show each one's work."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import IRError, VerificationError
from ..graph import Graph
from ..printer import Names, print_graph
from ..spec import OpSpec
from ..verifier import verify
from .algebra import algebra
from .canonicalize import canonicalize
from .casts import casts
from .cse import merge_equal
from .dce import drop_unused
from .fold import ConstantFold
from .regions import regions
from .views import views


class Pass(Protocol):
    """Changes a graph in place, keeps its meaning, and returns whether it changed anything."""

    @property
    def name(self) -> str: ...

    def __call__(self, graph: Graph, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Fixpoint:
    """Passes run in turn until a whole round changes nothing. Raises IRError after `rounds`."""

    passes: Sequence[Any]
    rounds: int = 50


@dataclass(frozen=True, slots=True)
class Change:
    """What one run of a pass did: the graph's text before and after it (the same where nothing changed)."""

    name: str
    graph: str
    seconds: float
    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def __str__(self) -> str:
        """The lines that differ, under a heading; each line of the graph names the user's file and line."""
        head = f"{self.name} on @{self.graph}: {self.seconds * 1e3:.2f} ms"
        if not self.changed:
            return f"{head}, nothing changed"
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=1)
        return "\n".join([head, *list(lines)[2:]])


class PassManager:
    """Runs `passes` (each a Pass or a Fixpoint of such) in order.

    With `verify`, the graph is verified before the first and after each pass. `dump`, where given, is called with the
    Change of each pass; values keep their names from one Change to the next. Both cost time; neither changes a result.
    A PassManager is itself a Pass.
    """

    def __init__(
        self,
        passes: Sequence[Any],
        *,
        verify: bool = False,
        dump: Callable[[Change], None] | None = None,
        name: str = "passes",
    ) -> None:
        self.passes = list(passes)
        self.verify = verify
        self.dump = dump
        self.name = name

    def __call__(self, graph: Graph) -> bool:
        if self.verify:
            self.check(graph, "before any pass")
        names = Names()
        changed = [self.run_one(entry, graph, names) for entry in self.passes]
        return any(changed)

    def run_one(self, entry: Any, graph: Graph, names: Names) -> bool:
        if isinstance(entry, Fixpoint):
            return self.run_fixpoint(entry, graph, names)
        before = print_graph(graph, names=names, elide=256) if self.dump else ""
        start = time.perf_counter()
        changed = entry(graph)
        seconds = time.perf_counter() - start
        if self.verify:
            self.check(graph, f"after {entry.name}")
        if self.dump:
            after = print_graph(graph, names=names, elide=256) if changed else before
            self.dump(Change(entry.name, graph.name, seconds, before, after))
        return changed

    def run_fixpoint(self, entry: Fixpoint, graph: Graph, names: Names) -> bool:
        for round in range(entry.rounds):
            changed = [self.run_one(inner, graph, names) for inner in entry.passes]
            if not any(changed):
                return round > 0
        busy = [getattr(p, "name", "nested passes") for p, c in zip(entry.passes, changed, strict=True) if c]
        raise IRError(f"passes still change graph @{graph.name} after {entry.rounds} rounds: {', '.join(busy)}")

    def check(self, graph: Graph, when: str) -> None:
        try:
            verify(graph)
        except VerificationError as error:
            raise VerificationError(f"{when}: {error}") from error


def standard_passes(kernels: Mapping[OpSpec, Callable[..., Any]]) -> list[Any]:
    """The passes that every graph gets before lowering; `kernels` is the table that folds constants."""
    settle = Fixpoint([regions, canonicalize, ConstantFold(kernels), views, casts, algebra, merge_equal])
    return [drop_unused, settle, drop_unused]
