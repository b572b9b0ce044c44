"""`jitcore.utils`: data loading and other helpers around training."""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
