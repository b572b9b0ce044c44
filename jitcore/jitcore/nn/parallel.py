"""`DataParallel` on the one device there is: the module itself, under the name `module`."""

from __future__ import annotations

from typing import Any

from ..paths import add_paths
from .module import Module


class DataParallel(Module):
    """Runs `module`; the keys of its state dict begin with "module." as PyTorch's do."""

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.dim = dim
        self.device_ids: list = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """Not offered: raises NotImplementedError."""

    def __init__(self, module: Module, *arguments: Any, **keywords: Any) -> None:
        raise NotImplementedError(
            "DistributedDataParallel is not offered by jitcore: it trains in one process; use the module itself"
        )


def data_parallel(module: Module, inputs: Any, *devices: Any, module_kwargs: Any = None, **rest: Any) -> Any:
    """module(*inputs), on the one device."""
    return module(*(inputs if isinstance(inputs, tuple) else (inputs,)), **(module_kwargs or {}))


__path__: list[str] = []
add_paths(__name__)

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]
