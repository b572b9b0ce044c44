"""`jitcore.utils`: data loading, exchange of memory and other helpers around training."""

from ..paths import add_paths
from . import _pytree, checkpoint, data, dlpack

add_paths(__name__)

__all__ = ["_pytree", "checkpoint", "data", "dlpack"]
