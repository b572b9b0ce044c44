"""What this processor can run, without a compiler's help."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache

from .plan import Image

LEVELS: tuple[tuple[str, str], ...] = (
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("x86-64-v4", "avx512bw avx512cd avx512dq avx512f avx512vl"),
)
"""Each level of the x86-64 psABI needs these flags (as Linux names them) and those of the levels before."""


@cache
def host_features() -> frozenset[str]:
    """The processor's features in Linux's spelling; empty where the system does not tell."""
    if platform.system() != "Linux":
        return frozenset()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return features_of(file.read())
    except OSError:
        return frozenset()


def features_of(cpuinfo: str) -> frozenset[str]:
    """The features that every processor of a /proc/cpuinfo text has: its lines "flags" (x86) or "Features" (Arm)."""
    lines = [line.partition(":") for line in cpuinfo.splitlines()]
    found = [frozenset(value.split()) for key, _, value in lines if key.strip() in ("flags", "Features")]
    return frozenset.intersection(*found) if found else frozenset()


def targets_of(machine: str, features: frozenset[str]) -> tuple[str, ...]:
    """The targets that a processor runs, best first. `machine` is as `platform.machine()` names it."""
    if machine == "aarch64":
        return ("aarch64",)
    if machine != "x86_64":
        return ()
    found: list[str] = []
    for name, needs in LEVELS:
        if not features.issuperset(needs.split()):
            break
        found.insert(0, name)
    return tuple(found)


@cache
def host_targets() -> tuple[str, ...]:
    """Names of the targets whose code runs here, best first; empty for an unknown processor or system."""
    return targets_of(platform.machine(), host_features()) if platform.system() == "Linux" else ()


def host_target() -> str | None:
    """The best target for this processor, None where there is none."""
    targets = host_targets()
    return targets[0] if targets else None


def choose_image(images: Iterable[Image]) -> Image | None:
    """The image made for the best level that this processor runs, None where none fits."""
    targets = host_targets()
    fitting = [image for image in images if image.target in targets and host_features().issuperset(image.features)]
    return min(fitting, key=lambda image: targets.index(image.target), default=None)
