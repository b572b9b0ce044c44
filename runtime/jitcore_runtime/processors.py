"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def usable_processors() -> int:
    """The processors of our affinity mask, fewer where a control group's quota gives us less time than that."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = quota_of(Path("/sys/fs/cgroup"), _group())
    return max(1, min(count, quota) if quota else count)


def quota_of(root: Path, group: str) -> int | None:
    """Whole processors that the quotas (control groups version 2) of a group and those around it allow, at least 1.

    `group` is a path below `root`, where the hierarchy is mounted. None where nothing limits.
    """
    found: list[int] = []
    folder = root / group.strip("/")
    for place in (folder, *folder.parents):
        try:
            quota, period = (place / "cpu.max").read_text().split()
            if quota != "max":
                found.append(max(1, -(-int(quota) // int(period))))
        except (OSError, ValueError, ZeroDivisionError):
            pass
        if place == root:
            break
    return min(found, default=None)


def _group() -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")
