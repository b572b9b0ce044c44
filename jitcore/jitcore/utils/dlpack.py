"""DLPack under PyTorch's names; see `jitcore.ops.exchange`."""

from ..ops.exchange import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
