"""Timers: where a program's own code adds up what its kernels take, in some of its calls.

Code compiled with timers finds the address of an array of int64 in its `jc_call`:

    calls before the next timed one | calls timed | time of the latest reading | the least that a reading takes
    then a pair (nanoseconds, runs) for what is outside of kernels, and one for each kernel, in the program's order

A timed call reads the clock (`clock_gettime`, monotonic) once after each kernel, and adds what has passed since the
last reading to the pair of that kernel. Every other call only counts down. Each frame has timers of its own, as it is
one call's at a time; `Timings` sums them up.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

COUNTDOWN, CALLS, LATEST, READING = range(4)
"""Places in the array."""
FIRST_PAIR = 4
OUTSIDE = 0
"""The pair of what is outside of kernels; kernel k has pair k + 1."""

SKIPPED = 1
"""Calls before the first timed one: they meet cold memory."""
DENSE = 8
"""So many calls are then timed one after the other."""
INTERVAL = 256
"""After them, one call in so many: reading the clock takes 20 ns for each kernel, 0.1 ns in the mean of all calls."""


def new_timers(kernels: int) -> Any:
    """An array for the timers of a program of so many kernels."""
    timers = (ctypes.c_int64 * (FIRST_PAIR + 2 * (kernels + 1)))()
    timers[COUNTDOWN], timers[READING] = SKIPPED, 1 << 40
    return timers


@dataclass(frozen=True, slots=True)
class Timings:
    """What was measured in `calls` calls: seconds spent in each kernel (`kernels`, in the program's order) and how
    often each ran (`runs`), seconds outside of kernels (`outside`: checks, guards, loops and branches, the writing of
    updates), all summed over those calls. Kernels that are divided among threads count until the last has finished."""

    calls: int
    kernels: tuple[float, ...]
    runs: tuple[int, ...]
    outside: float

    @staticmethod
    def of(frames: Iterable[Sequence[int]], kernels: int) -> Timings:
        """The sum over the timers of all frames, without what reading the clock itself took."""
        arrays = [list(timers) for timers in frames]
        reading = min((array[READING] for array in arrays), default=0)
        pairs = [
            (sum(a[place] for a in arrays), sum(a[place + 1] for a in arrays))
            for place in range(FIRST_PAIR, FIRST_PAIR + 2 * (kernels + 1), 2)
        ]
        seconds = tuple(max(0, spent - runs * reading) / 1e9 for spent, runs in pairs)
        return Timings(
            sum(array[CALLS] for array in arrays), seconds[1:], tuple(runs for _, runs in pairs[1:]), seconds[OUTSIDE]
        )
