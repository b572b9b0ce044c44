"""The thread pool's image: `jc_parallel_for` and what sets the pool up, made like any other code."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from jitcore_runtime.native import POOL_IMPORTS
from jitcore_runtime.plan import Image
from jitcore_runtime.threads import MAX_THREADS, POOL_EXPORTS, POOL_VERSION

from ...forking import no_fork
from ..cache import key_of, load, store
from ..compiled import Compiled
from ..link import link
from .pool_text import TEXT
from .target import create_machine, target_named

_SPINS = 500
"""Longer spins are a trap: two threads on one processor wait for each other's time slice."""
_YIELDS = 4
_STACK = 1 << 21
"""Loop bodies keep packed panels on the stack; untouched pages cost nothing."""
_PORTIONS = 8
"""How many claims each thread makes when chunks are plenty: enough to even out, few enough to be cheap."""
_WAIT, _WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, private to the process


@dataclass(frozen=True, slots=True)
class _Processor:
    """Linux's numbers of the system calls, and the instruction that tells the processor that we spin."""

    futex: int
    sched_yield: int
    pause: str
    declaration: str


_PROCESSORS = {
    "x86_64": _Processor(202, 24, "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": _Processor(98, 124, "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}


def pool_text(target: str) -> str:
    """The pool's LLVM text for a target. Raises ValueError for an unknown one."""
    triple = target_named(target).triple
    processor = _PROCESSORS[triple.split("-")[0]]
    text = Template(TEXT).substitute(
        FUTEX=processor.futex,
        YIELD=processor.sched_yield,
        PAUSE=processor.pause,
        DECLARE_PAUSE=processor.declaration,
        WAIT=_WAIT,
        WAKE=_WAKE,
        SPINS=_SPINS,
        SPINS_AND_YIELDS=_SPINS + _YIELDS,
        STACK=_STACK,
        PORTIONS=_PORTIONS,
        MOST=MAX_THREADS,
        VERSION=POOL_VERSION,
    )
    return f'target triple = "{triple}"\n{text}'


def pool_object(target: str) -> bytes:
    """The pool as an ELF object, from LLVM."""
    import llvmlite.binding as llvm

    machine = create_machine(target)
    module = llvm.parse_assembly(pool_text(target))
    module.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    return machine.emit_object(module)  # type: ignore[no-any-return]


def build_pool_image(target: str) -> Image:
    """The pool's image, from the cache on disk where it is there."""
    key = key_of(("pool", pool_text(target), target))
    found = load(key)
    if found is None:
        with no_fork:
            found = Compiled(link([pool_object(target)], target, POOL_EXPORTS, POOL_IMPORTS))
        store(key, found)
    return found.image
