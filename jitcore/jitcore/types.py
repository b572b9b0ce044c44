"""`jitcore.types`: the types that annotations of PyTorch code name."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from jitcore_ir.dtypes import DType

from .device import Device as _device
from .tensor import Size, Tensor

Number = builtins.int | builtins.float | builtins.bool
Device = _device | str | int | None
_dtype = DType
_int, _float, _bool = builtins.int, builtins.float, builtins.bool
_size = Size | list[int] | tuple[int, ...]
_TensorOrTensors = Tensor | Sequence[Tensor]

__all__ = ["Device", "Number"]
