"""`compile_graph`: passes, lowering, memory plan, code, link; on a warm start the image comes from the cache."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from jitcore_ir import Graph
from jitcore_runtime.cpu_features import host_targets
from jitcore_runtime.plan import Image
from jitcore_runtime.program import Program
from jitcore_runtime.threads import install_pool, pool_installed

from ..log import log
from .cache import cached_image
from .cpu.pool import build_pool_image
from .cpu.target import host_target
from .passes import optimize

Pairs = Sequence[tuple[int, int]]


def compile_graph(
    graph: Graph,
    updates: Pairs = (),
    guards: Sequence[tuple[int, Any]] = (),
    constant_inputs: Collection[int] = (),
    target: str | None = None,
    cache: bool = True,
    exact: bool = False,
) -> Program:
    """Compile `graph`, which is left as it is, for `target` (default: this machine).

    updates: (graph output, graph input) pairs: the output's value is committed to the input's memory at the end.
    guards: (graph output, expected Python value): a run whose value differs changes nothing.
    constant_inputs: inputs with the same values in every call, whose packed form is computed once.
    exact: the program's results are those of the NumPy kernels to the bit (docs/jit.md).

    Raises ValueError for an unknown target and LinkError where the code would need what the runtime does not provide.
    """
    from .lower.lower import lower_graph

    target = target or host_target()
    graph = optimize(graph)
    module = lower_graph(graph, constant_inputs, exact)
    log("loops", lambda: str(module))
    from .cpu.layout import lay_out

    memory = lay_out(module, updates, [output for output, _ in guards], target)
    kind = "exact program" if exact else "program"
    content = (kind, str(module), repr(list(updates)), repr(list(guards)), repr(sorted(constant_inputs)))

    def build() -> Image:
        from .cpu.build import build_image

        return build_image(module, memory, guards, target)

    image = cached_image(content, target, build, cache)
    if target in host_targets() and not pool_installed():
        install_pool(build_pool_image(host_target()))
    return Program(graph.name, graph, memory.plan, image, tuple(updates), tuple(guards), module.operations, exact)
