"""Loads and runs compiled programs with NumPy alone: no compiler, no LLVM."""

from jitcore_serialize.errors import ArchiveError

from .custom import MissingCustomOp, register_custom_op
from .errors import GuardFailed, InputError, NativeError
from .load import Model, load

__all__ = [
    "ArchiveError", "GuardFailed", "InputError", "MissingCustomOp", "Model", "NativeError", "load",
    "register_custom_op",
]  # fmt: skip
