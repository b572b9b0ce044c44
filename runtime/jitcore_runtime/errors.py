"""The runtime's errors."""

from __future__ import annotations

from typing import Any


class InputError(ValueError):
    """Inputs that a program does not take: says which, what was given and what is expected."""


class NativeError(RuntimeError):
    """Machine code that cannot be run here: says why."""


class PositionError(IndexError, RuntimeError):
    """A position that is out of range. PyTorch raises IndexError in some functions, RuntimeError in others."""


class DivisionError(ZeroDivisionError, RuntimeError):
    """An integer is divided by zero: Python's error, and PyTorch's RuntimeError."""


class OperationFailed(RuntimeError):
    """The NumPy kernel of an operation raised (a singular matrix, say). Nothing has been changed.

    `__cause__` is what it raised.
    """

    def __init__(self, operation: str, location: str, cause: BaseException) -> None:
        super().__init__(f"{operation}: {cause}" + (f"; at {location}" if location else ""))
        self.__cause__ = cause


class GuardFailed(Exception):
    """A value that the recording saw came out otherwise. Nothing has been changed.

    `index` is the number of the first guard that failed, `observed` the value it has now.
    """

    def __init__(self, index: int, observed: Any) -> None:
        super().__init__(f"guard {index} observed {observed!r}")
        self.index = index
        self.observed = observed


class LinAlgError(RuntimeError):
    """A matrix that an operation of linear algebra does not take: singular, or not positive definite."""
