"""From a lowered program to an image: LLVM module, optimization, object, link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_runtime.plan import Image

from ...log import log
from ..link import link
from ..loops.module import LoopModule
from ..memory_plan import MemoryPlan
from .program import emit_program
from .target import create_machine


def build_image(
    module: LoopModule, memory: MemoryPlan, guards: Sequence[tuple[int, Any]], target: str, timers: bool = False
) -> Image:
    """Run LLVM. Raises LinkError for code that needs a function the runtime does not have."""
    import llvmlite.binding as llvm

    text = str(emit_program(module, memory, guards, target, timers))
    log("llvm", lambda: text)
    machine = create_machine(target)
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    exports = ["jc_run", "jc_prepare"] if '@"jc_prepare"(' in text or "@jc_prepare(" in text else ["jc_run"]
    return link([machine.emit_object(parsed)], target, exports)
