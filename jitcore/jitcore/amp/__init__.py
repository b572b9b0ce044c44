"""`jitcore.amp`: mixed precision with PyTorch's names. `autocast` to bfloat16 or float16 on the CPU is real."""

from .autocast_mode import (
    autocast,
    autocast_decorator,
    custom_bwd,
    custom_fwd,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_available,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
)
from .grad_scaler import GradScaler

__all__ = [
    "GradScaler", "autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "get_autocast_cpu_dtype",
    "get_autocast_dtype", "get_autocast_gpu_dtype", "is_autocast_available", "is_autocast_cpu_enabled",
    "is_autocast_enabled",
]  # fmt: skip
