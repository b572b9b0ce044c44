"""CPU targets: what code is compiled for, and LLVM's machine for it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

from jitcore_runtime.cpu_features import host_target as _host_target

from ...forking import no_fork


@dataclass(frozen=True, slots=True)
class Target:
    """A named CPU level. `half`: float16 converts in hardware."""

    name: str
    triple: str
    cpu: str
    features: str
    half: bool


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("x86-64-v2", "x86_64-unknown-linux-gnu", "x86-64-v2", "", False),
        Target("x86-64-v3", "x86_64-unknown-linux-gnu", "x86-64-v3", "", True),
        Target("x86-64-v4", "x86_64-unknown-linux-gnu", "x86-64-v4", "-prefer-256-bit", True),
        Target("aarch64", "aarch64-unknown-linux-gnu", "generic", "+neon", True),
    )
}


def target_named(name: str) -> Target:
    """Raises ValueError for an unknown target."""
    if name not in TARGETS:
        raise ValueError(f"unknown CPU target {name!r}; known are {', '.join(TARGETS)}")
    return TARGETS[name]


def host_target() -> str:
    """The best target this machine runs. Raises RuntimeError on a processor jitcore makes no code for."""
    found = _host_target()
    if found is None:
        raise RuntimeError(f"jitcore makes no native code for this processor ({platform.machine()})")
    return found


def create_machine(name: str, opt: int = 3) -> Any:
    """A new llvmlite TargetMachine: position-independent, small code model. Each thread needs one of its own.

    Raises ValueError for an unknown target.
    """
    import llvmlite.binding as llvm

    target = target_named(name)
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=opt, reloc="pic", codemodel="small"
    )


_initialized = False


def _initialize() -> None:
    """Register LLVM's targets, once: a second registration while another thread compiles is not safe."""
    global _initialized
    import llvmlite.binding as llvm

    with no_fork:
        if not _initialized:
            llvm.initialize_all_targets()
            llvm.initialize_all_asmprinters()
            _initialized = True
