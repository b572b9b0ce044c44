"""`jitcore.profiler`: the labels that scripts put on their code. Measuring is left to Python's profilers."""

from __future__ import annotations

import contextlib
import enum
from typing import Any

from .paths import add_paths


class record_function(contextlib.ContextDecorator):
    """A label on what runs in its `with` block, or on a function. It costs nothing and records nothing."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class ProfilerActivity(enum.Enum):
    """What PyTorch can measure."""

    CPU = 0
    CUDA = 1
    XPU = 2


class profile:
    """Not offered: raises NotImplementedError."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        raise NotImplementedError(
            "profile is not offered by jitcore; the nearest is Python's cProfile, and fn.explain() of a jitted function"
        )


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, **rest: Any) -> Any:
    """Not offered: raises NotImplementedError."""
    return profile()


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Any:
    """Not offered: raises NotImplementedError."""
    return profile()


emit_nvtx = profile

__path__: list[str] = []
add_paths(__name__)

__all__ = ["ProfilerActivity", "emit_nvtx", "profile", "record_function", "schedule", "tensorboard_trace_handler"]
