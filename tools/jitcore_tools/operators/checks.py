"""Which forms of a call a run of the operator database checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checks:
    """Which further forms of a call to check beside the function and its gradient, on how many samples."""

    methods: bool = True
    jit: bool = False
    export: bool = False
    second: bool = False
    dynamic: bool = False
    samples: int = 60
