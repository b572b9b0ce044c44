"""`jitcore.cpu`: what `torch.cpu` tells about the one device there is."""

from types import SimpleNamespace
from typing import Any

from .amp.autocast_mode import cpu_autocast
from .amp.grad_scaler import GradScaler

amp = SimpleNamespace(autocast=cpu_autocast, GradScaler=GradScaler)


def is_available() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """ "cpu" """
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Nothing to wait for."""
