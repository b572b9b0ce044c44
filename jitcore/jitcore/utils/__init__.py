"""`jitcore.utils`: data loading, exchange of memory and other helpers around training."""

from . import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
