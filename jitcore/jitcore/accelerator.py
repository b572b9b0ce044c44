"""`jitcore.accelerator`: the questions of device-independent scripts. Eager tensors live on the CPU alone."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """False."""
    return False


def current_accelerator(check_available: bool = False) -> None:
    """None: there is no accelerator for eager tensors."""


def device_count() -> int:
    """0."""
    return 0


def synchronize(device: Any = None) -> None:
    """Nothing to wait for."""


def empty_cache() -> None:
    """Nothing to free."""


def manual_seed(seed: int) -> None:
    """Nothing to seed: `jitcore.manual_seed` is for the CPU."""


manual_seed_all = manual_seed

__all__ = [
    "current_accelerator", "device_count", "empty_cache", "is_available", "manual_seed", "manual_seed_all",
    "synchronize",
]  # fmt: skip
