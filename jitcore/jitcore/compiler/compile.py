"""`compile_graph`: passes, then the program of what they give: from the cache, or lowered, planned and compiled."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitcore_ir import Graph
from jitcore_runtime.cpu_features import host_targets
from jitcore_runtime.program import Program
from jitcore_runtime.threads import install_pool, pool_installed

from .cache import load, store
from .compiled import Compiled
from .cpu.pool import build_pool_image
from .cpu.target import host_target, target_named
from .passes import optimize
from .request import Request
from .workers import build_anywhere

Pairs = Sequence[tuple[int, int]]

EXACT_TARGETS = "x86-64"
"""What the names of targets begin with for which exact programs are made: elsewhere NumPy orders zeros otherwise."""


def compile_graph(
    graph: Graph,
    updates: Pairs = (),
    guards: Sequence[tuple[int, Any]] = (),
    constant_inputs: Collection[int] = (),
    target: str | None = None,
    cache: bool = True,
    exact: bool = False,
    timers: bool = False,
    build: Callable[[Request], Compiled] = build_anywhere,
) -> Program:
    """Compile `graph`, which is left as it is, for `target` (default: this machine).

    updates: (graph output, graph input) pairs: the output's value is committed to the input's memory at the end.
    guards: (graph output, expected Python value): a run whose value differs changes nothing.
    constant_inputs: inputs with the same values in every call, whose packed form is computed once.
    exact: the program's results are those of the NumPy kernels to the bit (docs/jit.md).
    timers: the program measures its kernels in some of its calls (`Executor.timings`).
    build: what makes the program where the cache does not have it; see `workers.build`.

    Raises ValueError for an unknown target, NotImplementedError for one that has no exact programs, and LinkError where
    the code would need what the runtime does not provide.
    """
    target = target_named(target or host_target()).name
    if exact and not target.startswith(EXACT_TARGETS):
        raise NotImplementedError(f"exact programs are made for x86-64 only, not for {target}; compile without exact")
    graph = optimize(graph)
    request = Request(graph, tuple(updates), tuple(guards), tuple(sorted(constant_inputs)), target, exact, timers)
    made = _cached(request, build) if cache else build(request)
    if target in host_targets() and not pool_installed():
        install_pool(build_pool_image(host_target()))
    return Program(
        graph.name, graph, made.plan, made.image, request.updates, request.guards, made.operations, exact, made.kernels
    )


@dataclass(slots=True)
class _Flight:
    """A program that a thread is making, for others that want the same."""

    done: threading.Event = field(default_factory=threading.Event)
    made: Compiled | None = None


_flights: dict[str, _Flight] = {}
_lock = threading.Lock()


def _cached(request: Request, build: Callable[[Request], Compiled]) -> Compiled:
    """From the cache, or made and kept there; by one thread where several want it."""
    key = request.key()
    with _lock:
        flight = _flights.get(key)
        mine = flight is None
        if flight is None:
            flight = _flights[key] = _Flight()
    if not mine:
        flight.done.wait()
        return flight.made or build(request)  # where the other failed, it is this thread's to raise
    try:
        flight.made = load(key)
        if flight.made is None:
            flight.made = build(request)
            store(key, flight.made)
        return flight.made
    finally:
        with _lock:
            _flights.pop(key, None)
        flight.done.set()


def _after_fork() -> None:
    """No other thread lives on, so nobody will finish what they were making."""
    global _lock
    _lock = threading.Lock()
    _flights.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
