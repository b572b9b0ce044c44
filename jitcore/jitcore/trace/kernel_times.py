"""What `explain` says of kernels: their shares of the time, as calls of the program measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitcore_runtime.executor import Executor
from jitcore_runtime.program import Program
from jitcore_runtime.timers import Timings

_MOST_SHOWN = 8
"""Kernels that are listed; the rest is one line."""


@dataclass(slots=True)
class _Row:
    """Kernels of one text: how many, seconds and runs a call."""

    kernels: int = 0
    seconds: float = 0.0
    runs: float = 0.0


def kernel_times(executors: Sequence[Executor], whose: str = "Its") -> list[str]:
    """Lines about the kernels of the programs that a call runs one after the other."""
    found = [(e.program, e.timings()) for e in executors]
    if not any(e.is_native for e in executors):
        return [f"  {whose} operations are not timed: NumPy runs them, one by one."]
    measured = [(program, timings) for program, timings in found if timings is not None and timings.calls]
    waiting = [label for program, timings in found if timings is None or not timings.calls for label in labels(program)]
    lines = []
    if measured:
        lines = _measured(measured, whose)
    if waiting:
        lines.append(
            f"  {'Further' if measured else whose} {_counted(len(waiting))} "
            f"{'was' if len(waiting) == 1 else 'were'} not measured yet (the second replay is the first to be timed):"
        )
        lines += [f"    {label}" for label in waiting[:_MOST_SHOWN]]
        if len(waiting) > _MOST_SHOWN:
            lines.append(f"    and {len(waiting) - _MOST_SHOWN} more")
    return lines


def _measured(measured: Sequence[tuple[Program, Timings]], whose: str) -> list[str]:
    rows: dict[str, _Row] = {}
    for program, timings in measured:
        for label, seconds, runs in zip(labels(program), timings.kernels, timings.runs, strict=True):
            row = rows.setdefault(label, _Row())
            row.kernels += 1
            row.seconds += seconds / timings.calls
            row.runs += runs / timings.calls
    outside = sum(timings.outside / timings.calls for _, timings in measured)
    total = sum(row.seconds for row in rows.values()) + outside
    count = sum(row.kernels for row in rows.values())
    calls = sorted({timings.calls for _, timings in measured})
    over = f"{calls[0]} calls" if len(calls) == 1 else f"{calls[0]} to {calls[-1]} calls"
    over = "one call" if calls == [1] else over
    lines = [f"  {whose} {_counted(count)}, as measured in {over} of the compiled code, {_micro(total)} a call:"]
    ordered = sorted(rows.items(), key=lambda item: -item[1].seconds)
    lines += [_line(row, label, total) for label, row in ordered[:_MOST_SHOWN]]
    rest = [row for _, row in ordered[_MOST_SHOWN:]]
    if rest:
        kernels, seconds = sum(row.kernels for row in rest), sum(row.seconds for row in rest)
        lines.append(_line(_Row(kernels, seconds, kernels), f"{kernels} more", total))
    lines.append(_line(_Row(1, outside, 1), "outside of kernels: guards, loops, writing updates", total))
    return lines


def _line(row: _Row, text: str, total: float) -> str:
    if row.runs == 0:
        return f"    {'0%':>4} {'0 us':>10}  {text} (never run)"
    if row.runs != row.kernels:
        text += f" ({row.runs:.4g} {'run' if row.runs == 1 else 'runs'} a call)"
    share = row.seconds / total if total else 0.0
    return f"    {f'{share:.0%}' if share >= 0.005 else '<1%':>4} {_micro(row.seconds):>10}  {text}"


def labels(program: Program) -> list[str]:
    """The kernels of a program with timers: what each computes, and the line in the user's code."""
    operations = list(program.graph.walk())
    found = []
    for name, number in program.kernels:
        location = operations[number].location if 0 <= number < len(operations) else None
        found.append(f"{name} at {location}" if location is not None and location.line else name)
    return found


def _counted(count: int) -> str:
    return "kernel" if count == 1 else f"{count} kernels"


def _micro(seconds: float) -> str:
    micro = seconds * 1e6
    if micro < 0.005:
        return "<0.01 us"
    return f"{micro:.0f} us" if micro >= 100 else f"{micro:.3g} us" if micro >= 0.1 else f"{micro:.2f} us"
