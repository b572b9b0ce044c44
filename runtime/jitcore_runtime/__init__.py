"""Loads and runs compiled programs with NumPy alone: no compiler, no LLVM."""

from .errors import GuardFailed, InputError, NativeError

__all__ = ["GuardFailed", "InputError", "NativeError"]
