"""Loads and runs compiled programs with NumPy alone: no compiler, no LLVM."""

from jitcore_serialize.errors import ArchiveError

from .errors import GuardFailed, InputError, NativeError
from .load import Model, load

__all__ = ["ArchiveError", "GuardFailed", "InputError", "Model", "NativeError", "load"]
