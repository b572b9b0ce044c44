"""`Request`: a program to be compiled, as plain data: what its key is made of and what a worker process is sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitcore_ir import Graph, Kind
from jitcore_ir.parser import parse_graph
from jitcore_ir.printer import Names, print_graph

from ..forking import no_fork
from ..log import log
from .cache import key_of
from .compiled import Compiled, constant_digest

_SHOWN_BYTES = 256
"""Constants up to this size are in the key as text, larger ones as digests."""


@dataclass(frozen=True, slots=True)
class Request:
    """A graph, after the passes, with what `compile_graph` takes besides. `constant_inputs` are sorted."""

    graph: Graph
    updates: tuple[tuple[int, int], ...]
    guards: tuple[tuple[int, Any], ...]
    constant_inputs: tuple[int, ...]
    target: str
    exact: bool = False
    timers: bool = False

    def key(self) -> str:
        """The same for all requests that are compiled to the same bytes: names and lines do not count."""
        text = print_graph(self.graph, locations=False, elide=_SHOWN_BYTES, names=_Numbers())
        large = [constant_digest(array) for array in _constants(self.graph) if array.nbytes > _SHOWN_BYTES]
        rest = (self.updates, self.guards, self.constant_inputs, self.target, self.exact, self.timers)
        return key_of(("program", text.partition("(")[2], *large, *map(repr, rest)))

    def to_bytes(self) -> bytes:
        """For another process."""
        fields = {
            "graph": print_graph(self.graph, locations=False), "updates": self.updates, "guards": self.guards,
            "constant_inputs": self.constant_inputs, "target": self.target, "exact": self.exact,
            "timers": self.timers,
        }  # fmt: skip
        return json.dumps(fields).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Request:
        fields = json.loads(data)
        return Request(
            parse_graph(fields["graph"]),
            _pairs(fields["updates"]),
            _pairs(fields["guards"]),
            tuple(fields["constant_inputs"]),
            fields["target"],
            fields["exact"],
            fields["timers"],
        )

    def build(self) -> Compiled:
        """Lower the graph, plan its memory and run LLVM, in this process. Raises LinkError."""
        with no_fork:
            from .cpu.build import build_image
            from .cpu.layout import lay_out
            from .lower.lower import lower_graph

            module = lower_graph(self.graph, self.constant_inputs, self.exact)
            log("loops", lambda: str(module))
            memory = lay_out(module, self.updates, [output for output, _ in self.guards], self.target)
            image = build_image(module, memory, self.guards, self.target, self.timers)
        kernels = tuple((call.name, call.operation) for call in module.kernels) if self.timers else ()
        return Compiled(image, memory.plan, module.operations, kernels)


class _Numbers(Names):
    """Values by number, whatever they are called."""

    def new(self, name: str) -> str:
        return super().new("")


def _constants(graph: Graph) -> list[Any]:
    return [
        operation.attributes[name]
        for operation in graph.walk()
        for name, kind in operation.spec.attributes.items()
        if kind is Kind.DENSE
    ]


def _pairs(found: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((first, second) for first, second in found)
