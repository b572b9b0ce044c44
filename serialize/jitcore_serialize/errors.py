"""Errors about archives. Each says which file, what is wrong and what to do."""

from __future__ import annotations

DAMAGED = "the file is damaged or was not written by jitcore; export the model again"
NEWER = "upgrade jitcore-runtime, or export the model with the jitcore release that runs here"


class ArchiveError(ValueError):
    """An archive that cannot be used: damaged, hostile, of another version, or not an archive at all."""

    def __init__(self, problem: str, advice: str = DAMAGED, file: str = "") -> None:
        super().__init__(f"{file}: {problem}; {advice}" if file else f"{problem}; {advice}")
        self.problem = problem
        self.advice = advice
        self.file = file


class ArchiveWriteError(OSError):
    """An archive that could not be written. Whatever was at the path is still there, unchanged."""
