"""Where a value came from in the user's program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the user's source. `line` counts from 1; an unknown place is `UNKNOWN`."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else "unknown location"


UNKNOWN = Location("", 0)
