"""`GradScaler`: loss scaling for float16 on GPUs. On the CPU it passes everything through, as a disabled one."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class GradScaler:
    """Accepts PyTorch's calls; the scale is 1, and `step` is the optimizer's own step."""

    def __init__(
        self,
        device: str = "cpu",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._factors = [growth_factor, backoff_factor]
        self._interval = growth_interval

    def scale(self, outputs: Any) -> Any:
        """outputs themselves."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing to undo."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step()."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Nothing to adapt."""

    def get_scale(self) -> float:
        """1.0"""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return False

    def get_growth_factor(self) -> float:
        return self._factors[0]

    def set_growth_factor(self, new_factor: float) -> None:
        self._factors[0] = new_factor

    def get_backoff_factor(self) -> float:
        return self._factors[1]

    def set_backoff_factor(self, new_factor: float) -> None:
        self._factors[1] = new_factor

    def get_growth_interval(self) -> int:
        return self._interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """Empty, as for a disabled scaler of PyTorch's."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Accepts any state."""
