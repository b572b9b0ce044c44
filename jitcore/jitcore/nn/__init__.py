"""Layers, losses and containers, with PyTorch's names."""

from typing import TYPE_CHECKING, Any

from . import functional, init
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .linear import Flatten, Identity, Linear, Unflatten
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, LayerNorm
from .parameter import Buffer, Parameter
from .sparse import Embedding

if TYPE_CHECKING:  # the layers that `layers` makes from its tables

    def __getattr__(name: str) -> Any: ...


__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Buffer", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
    "ConvTranspose2d", "Embedding", "Flatten", "GroupNorm", "Identity", "LayerNorm", "Linear", "Module", "ModuleDict",
    "ModuleList", "Parameter", "ParameterDict", "ParameterList", "Sequential", "Unflatten", "functional", "init",
    *_layers,
]  # fmt: skip
