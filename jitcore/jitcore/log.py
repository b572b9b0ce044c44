"""`JITCORE_LOG=trace,graph,loops,llvm,cache`: each stage written to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

CATEGORIES = ("trace", "graph", "loops", "llvm", "cache")


def enabled(category: str) -> bool:
    """Whether the environment asks for this category (`all` asks for every one)."""
    wanted = os.environ.get("JITCORE_LOG")
    return bool(wanted) and (category in wanted.split(",") or "all" in wanted.split(","))  # type: ignore[union-attr]


def log(category: str, text: Callable[[], str]) -> None:
    """Write `text()`, each line marked with the category, where the category is enabled."""
    if enabled(category):
        for line in text().splitlines():
            print(f"[{category}] {line}", file=sys.stderr)
