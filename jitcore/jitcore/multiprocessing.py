"""`jitcore.multiprocessing`: Python's own, where tensors travel as pickles (a copy of their memory, views together)."""

from __future__ import annotations

import multiprocessing as _multiprocessing
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from multiprocessing import get_context
from typing import Any


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> Any:
    """Run `fn(i, *args)` in `nprocs` processes. Raises RuntimeError where one of them fails.

    Without `join`, returns the list of started processes.
    """
    context: Any = get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in processes:
        process.start()
    if not join:
        return processes
    for process in processes:
        process.join()
    for i, process in enumerate(processes):
        if process.exitcode:
            raise RuntimeError(f"process {i} terminated with exit code {process.exitcode}")
    return None


def get_sharing_strategy() -> str:
    """ "file_descriptor": kept for scripts that ask."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Kept: tensors are copied."""


def get_all_sharing_strategies() -> set[str]:
    """The names that scripts may set."""
    return {"file_descriptor", "file_system"}


__all__ = [
    *_multiprocessing.__all__, "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn",
]  # type: ignore  # fmt: skip
