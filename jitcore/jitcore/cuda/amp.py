"""`jitcore.cuda.amp`: the older names of mixed precision on GPUs; they change nothing here."""

from ..amp.autocast_mode import cuda_autocast as autocast
from ..amp.autocast_mode import custom_bwd, custom_fwd
from ..amp.grad_scaler import GradScaler as _GradScaler


class GradScaler(_GradScaler):
    """A scaler that passes everything through, with the arguments of the older one (no device)."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
