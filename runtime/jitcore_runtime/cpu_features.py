"""What this processor can run, without a compiler's help."""

from __future__ import annotations

import platform
from functools import cache

_LEVELS = (
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
"""Each level of the x86-64 psABI needs these flags (as Linux names them) and those of the levels before."""


@cache
def host_targets() -> tuple[str, ...]:
    """Names of the targets whose code runs here, best first; empty for an unknown processor or system."""
    if platform.system() != "Linux":
        return ()
    if platform.machine() == "aarch64":
        return ("aarch64",)
    if platform.machine() != "x86_64":
        return ()
    flags = _cpu_flags()
    found: list[str] = []
    for name, needs in _LEVELS:
        if not set(needs.split()) <= flags:
            break
        found.insert(0, name)
    return tuple(found)


def host_target() -> str | None:
    """The best target for this processor, None where there is none."""
    targets = host_targets()
    return targets[0] if targets else None


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()
