"""Plain words about a jitted function: what was compiled, what it depends on, what runs eagerly and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jitcore_ir import Trait
from jitcore_ir.custom_call import called_name
from jitcore_runtime.call_out import native_calls
from jitcore_runtime.plan import BufferKind, Plan
from jitcore_runtime.program import Program

from .capture import Recording
from .differentiate import Backward
from .kernel_times import kernel_times
from .retrace import Retrace, advice
from .sources import Argument
from .tree import Node
from .variant import Variant


def explain(name: str, entries: Mapping[Any, Any], retraces: Sequence[Retrace], notes: Sequence[str] = ()) -> str:
    """One paragraph per recording of the function `name`, then why there are several, then what ran eagerly."""
    if not entries:
        return f"{name} has not been called yet."
    lines = []
    for entry in entries.values():
        for variant in entry.variants:
            lines += _variant(name, variant, entry.tree.way(variant))
        for root in entry.tree.roots:
            if root.merged is not None:
                lines.append(f"{name}: {len(root.merged.variants)} recordings are one program with branches by now.")
                lines += kernel_times([root.merged.executor])
        if entry.job is not None and entry.job.is_running():
            lines.append(
                f"{name} is being compiled in the background for some arguments; calls run eagerly until then."
            )
        if entry.reason is not None:
            lines.append(f"{name} runs eagerly for some arguments: {entry.reason}.{advice(entry.reason)}")
    if retraces:
        lines.append(f"It was recorded again {len(retraces)} times:")
        about = Counter(retrace.about for retrace in retraces)
        latest = {retrace.about: retrace for retrace in retraces}
        lines += [f"    {about[key]} for {retrace.cause}" for key, retrace in latest.items()]
    return "\n".join([*lines, *notes])


def _variant(name: str, variant: Variant, way: Sequence[Node]) -> list[str]:
    recording = variant.recording
    programs = [node.code.program for node in way]
    how = "; then ".join(_how(program) for program in programs)
    lines = [f"{name}({_arguments(recording)}): {how}; replayed {variant.hits} times."]
    lines.append(f"  Compiling it took {variant.seconds * 1e3:.1f} ms.")
    shared = sum(node.variant is None for node in way)
    if shared:
        lines.append(f"  {shared} of its {len(way)} programs are shared with other recordings.")
    captured = [root for root in recording.roots if root.source is None]
    if captured:
        lines.append(
            f"  It reads {len(captured)} tensors that are not arguments and writes {len(recording.written)} tensors."
        )
    if recording.reads:
        lines.append("  It holds while Python sees the same values:")
        lines += [f"    {read.kind}() gave {read.outcome!r} at {read.location}" for read in recording.reads]
    if variant.size_guards:
        lines.append("  It holds for sizes with:")
        lines += [f"    {guard}{_where(guard.location)}" for guard in variant.size_guards]
    lines += [
        f"  It holds while argument {n} is {number!r}, which decides at {where}."
        for n, (number, where) in recording.pins.items()
    ]
    called = ", ".join(filter(None, map(called_out, programs)))
    if called:
        lines.append(f"  Run by NumPy from within the compiled program: {called}.")
    called = ", ".join(filter(None, map(called_natively, programs)))
    if called:
        lines.append(f"  Called natively from within the compiled program: {called}.")
    if variant.backward is not None and variant.backward.outputs:
        lines.append(f"  {_backward(variant.backward)}")
    lines += kernel_times([node.code.executor for node in way])
    if variant.backward is not None and variant.backward.executor is not None:
        lines += kernel_times([variant.backward.executor], "Its backward pass's")
    conditions = dict(zip(recording.checks.descriptions, recording.checks.places))
    if conditions:
        lines.append(f"  It holds while {len(conditions)} pieces of Python state are unchanged, among them:")
        shown = sorted(conditions, key=_interest)[:_MOST_SHOWN]
        lines += [f"    {text}{_read_by(conditions[text])}" for text in shown]
    return lines


def _where(location: Any) -> str:
    return f", as {location} decides" if location.line else ""


_MOST_SHOWN = 8
"""Pieces of Python state that are listed."""


def _interest(description: str) -> tuple[bool, int]:
    """Values before identities, short before long."""
    return "was another" in description or " of its own" in description, len(description)


def _read_by(place: str) -> str:
    return f" (read by {place})" if place else ""


def _backward(backward: Backward) -> str:
    if backward.problem is not None:
        return f"Its backward pass runs the function again, eagerly: {backward.problem}."
    count, size = backward.kept
    return (
        f"Its backward pass is compiled too: the call saves {count} values ({size} bytes) for its backward pass, which "
        f"recomputes {backward.recomputed} operations."
    )


def called_out(program: Program) -> str:
    """The operations without native code and where each occurs; empty where there is none. Of an exact program, where
    they are many, how often."""
    return "" if program.plan is None else _calls(program, program.plan, native=False)


def called_natively(program: Program) -> str:
    """The custom operations whose native functions are called, likewise."""
    return "" if program.plan is None else _calls(program, program.plan, native=True)


def _calls(program: Program, plan: Plan, native: bool) -> str:
    natively = native_calls(plan, program.graph)
    operations = list(program.graph.walk())
    calls = [operations[c.operation] for n, c in enumerate(plan.call_outs) if (n in natively) == native]
    if program.exact:
        counts = Counter(called_name(o.spec.name, o.attributes) for o in calls)
        return ", ".join(f"{name} ({count} times)" if count > 1 else name for name, count in counts.items())
    names = ((called_name(o.spec.name, o.attributes), o.location) for o in calls)
    return ", ".join(f"{name} at {location}" if location.line else name for name, location in names)


def _arguments(recording: Recording) -> str:
    return ", ".join(str(root.value.type) for root in recording.roots if isinstance(root.source, Argument))


def _how(program: Any) -> str:
    operations = sum(not o.spec.has(Trait.TERMINATOR) for o in program.graph.walk())
    if program.image is None:
        return f"{operations} operations, interpreted with NumPy"
    temporaries = sum(b.kind is BufferKind.TEMPORARY for b in program.plan.buffers)
    size = f"{len(program.image.code)} bytes of code, {temporaries} temporary buffers"
    exactly = ", exact to the bit" if program.exact else ""
    return f"{operations} operations compiled for {program.image.target}{exactly} ({size})"
