"""jitcore's own error classes. Where PyTorch has an error for a cause, that class is raised instead."""

from __future__ import annotations


class TraceError(RuntimeError):
    """A run that cannot be recorded. Says what was met, on which line of the user's code, and what to write instead."""


class ExportError(RuntimeError):
    """A function or archive that cannot be exported as asked."""


class OutOfMemoryError(RuntimeError):
    """A device's memory that does not suffice; for scripts that catch it. The CPU's is Python's MemoryError."""
