"""What model code asks before it moves to a GPU. Eager tensors live in host memory, so the answer is no."""

from __future__ import annotations

from typing import Any

from ..errors import OutOfMemoryError
from ..paths import add_paths
from . import amp
from .events import Event, Stream, _refuse, current_stream, default_stream, device, mem_get_info, stream


def is_available() -> bool:
    """False: there is no device for eager tensors but the CPU."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def init() -> None:
    """Raises RuntimeError: there is nothing to initialize."""
    _refuse()


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


manual_seed = manual_seed_all


def empty_cache() -> None:
    """Nothing to free."""


ipc_collect = reset_peak_memory_stats = reset_max_memory_allocated = empty_cache


def synchronize(device: Any = None) -> None:
    """Nothing to wait for."""


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def get_rng_state_all() -> list:
    """No devices, no states."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Nothing to set."""


def set_device(device: Any) -> None:
    """Raises RuntimeError: there is no CUDA device for eager tensors."""
    _refuse()


def current_device() -> int:
    """Raises RuntimeError: there is no CUDA device for eager tensors."""
    _refuse()


def get_device_name(device: Any = None) -> str:
    """Raises RuntimeError: there is no CUDA device for eager tensors."""
    _refuse()


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Raises RuntimeError: there is no CUDA device for eager tensors."""
    _refuse()


def get_device_properties(device: Any = None) -> Any:
    """Raises RuntimeError: there is no CUDA device for eager tensors."""
    _refuse()


add_paths(__name__)

__all__ = [
    "Event", "OutOfMemoryError", "Stream", "current_stream", "default_stream", "device", "mem_get_info", "stream",
    "amp", "current_device", "device_count", "empty_cache", "get_device_capability", "get_device_name",
    "get_device_properties", "get_rng_state_all", "init", "ipc_collect", "is_available", "is_bf16_supported",
    "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "memory_allocated", "memory_reserved", "reset_max_memory_allocated", "reset_peak_memory_stats", "set_device",
    "set_rng_state_all", "synchronize",
]  # fmt: skip
