"""`jitcore._dynamo`: settings of torch.compile that scripts touch. They are kept, and change nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

config = SimpleNamespace(
    suppress_errors=False, cache_size_limit=8, recompile_limit=8, verbose=False, optimize_ddp=True,
    capture_scalar_outputs=False,
)  # fmt: skip

__path__: list[str] = []  # so that `import jitcore._dynamo.config` gives the settings
sys.modules[f"{__name__}.config"] = config  # type: ignore[assignment]


def reset() -> None:
    """Nothing to forget: recordings belong to their jitted functions."""


def disable(fn: Callable | None = None, recursive: bool = True, **options: Any) -> Any:
    """The function itself; a jitted function records what it runs."""
    return fn if fn is not None else lambda function: function


def is_compiling() -> bool:
    """False: recordings run the same Python."""
    return False


mark_dynamic = maybe_mark_dynamic = mark_static = graph_break = lambda *arguments, **keywords: None

__all__ = ["config", "disable", "graph_break", "is_compiling", "mark_dynamic", "mark_static", "reset"]
