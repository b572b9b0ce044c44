"""Functions without arguments that read settings of the whole process: a replay asks them again."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import numpy as np


@functools.cache
def readers() -> dict[CodeType, Callable[[], Any]]:
    """Those written in Python, by their code."""
    from .. import settings  # which imports `jit`

    functions: list[Any] = [
        settings.are_deterministic_algorithms_enabled, settings.is_deterministic_algorithms_warn_only_enabled,
        settings.get_deterministic_debug_mode, settings.get_float32_matmul_precision,
        settings.get_num_interop_threads, settings.get_num_threads, settings.is_warn_always_enabled,
        np.geterr, np.geterrcall, np.get_printoptions, threading.active_count,
    ]  # fmt: skip
    return {function.__code__: function for function in functions if isinstance(function, FunctionType)}


BUILT_IN_READERS = frozenset(
    [
        ("sys", "getrecursionlimit"),
        ("sys", "getswitchinterval"),
        ("sys", "getdefaultencoding"),
        ("sys", "gettrace"),
        ("gc", "isenabled"),
        ("gc", "get_threshold"),
    ]
)
"""Modules and names of those written in C."""
