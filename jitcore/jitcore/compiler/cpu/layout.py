"""The memory plan of a lowered program for one target: workspaces and packed operands depend on its tile sizes."""

from __future__ import annotations

from collections.abc import Sequence

from jitcore_runtime.plan import BufferKind

from ..loops.module import LoopModule
from ..memory_plan import MemoryPlan, plan_memory
from .bodies import contraction, prepared_contraction


def lay_out(module: LoopModule, updates: Sequence[tuple[int, int]], guards: Sequence[int], target: str) -> MemoryPlan:
    """Plan the memory of `module`."""
    workspaces = {}
    for number, call in enumerate(module.kernels):
        found = contraction(call.kernel, target)
        if found is not None and found.workspace != 0:
            workspaces[number] = found.workspace
    prepared = {
        number: prepared_contraction(number, module.kernels, target).packed
        for number, buffer in enumerate(module.buffers)
        if buffer.kind is BufferKind.PREPARED
    }
    return plan_memory(module, updates, guards, workspaces, prepared)
