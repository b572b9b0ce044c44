"""`jitcore.utils`: data loading and other helpers around training."""

from . import data

__all__ = ["data"]
