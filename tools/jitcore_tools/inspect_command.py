"""`jitcore inspect`: what is in an archive, in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from jitcore_ir import Trait
from jitcore_ir.custom_call import called_name
from jitcore_ir.printer import print_graph
from jitcore_runtime import ArchiveError
from jitcore_runtime.cpu_features import host_targets
from jitcore_runtime.plan import BufferKind
from jitcore_serialize.archive import Archive, Entry, NativeCode
from jitcore_serialize.reader import read_archive

from .errors import InputError, user_errors


def inspect_archive(path: Path, with_graph: bool) -> str:
    """The text for one archive. Raises InputError where it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    with user_errors(ArchiveError, OSError):
        archive = read_archive(path)
    lines = [f"{path}: {path.stat().st_size} bytes, format version {archive.format_version}"]
    made = archive.provenance
    lines.append(f"made by {made.producer or 'someone'} {made.version}{f' from {made.source}' if made.source else ''}")
    if archive.custom_ops:
        needed = ", ".join(f"{name} (version {version})" for name, version in archive.custom_ops)
        lines.append(f"needs the custom operations {needed}: it loads where they are registered, by their name")
    for entry in archive.entries.values():
        lines += ["", *_entry(entry, archive)]
        if with_graph:
            lines += ["", *("  " + line for line in print_graph(entry.graph, elide=64).splitlines())]
    lines += ["", *_segments(archive)]
    return "\n".join(lines)


def _entry(entry: Entry, archive: Archive) -> list[str]:
    lines = [f"entry {entry.name}"]
    for number in entry.arguments:
        value = entry.graph.inputs[number]
        lines.append(f"  input   {value.name}: {value.type}")
    results = [entry.graph.outputs[n].type for n in entry.results]
    lines += [f"  output  {name}: {type}" for name, type in zip(entry.outputs, results, strict=False)]
    weights = sum(archive.weights[name].nbytes for name in entry.weights.values())
    lines.append(f"  weights {len(entry.weights)} tensors, {weights} bytes")
    operations = sum(not o.spec.has(Trait.TERMINATOR) for o in entry.graph.walk())
    lines.append(f"  graph   {operations} operations")
    if entry.exact:
        lines.append("  exact   native code gives the bits that the interpreter gives")
    for target, code in entry.code.items():
        here = "runs here" if target in host_targets() else "does not run here"
        lines.append(f"  code    {target}: {len(code.image.code)} bytes, {here}; {_memory(code)}")
        if code.plan.call_outs:
            lines.append(f"          runs {_called_out(code, entry)} with NumPy, which cannot be done from C")
    lines += [
        f"  code    {target}: {len(code.module)} bytes, {len(code.launches)} launches"
        for target, code in entry.device_code.items()
    ]
    if not entry.code and not entry.device_code:
        lines.append("  code    none: the runtime interprets the graph")
    return lines


def _called_out(code: NativeCode, entry: Entry) -> str:
    """The operations that native code has no code for, each with its count."""
    operations = list(entry.graph.walk())
    called = (operations[call.operation] for call in code.plan.call_outs)
    names = Counter(called_name(o.spec.name, o.attributes) for o in called)
    return ", ".join(name if count == 1 else f"{name} ({count} times)" for name, count in names.items())


def _memory(code: NativeCode) -> str:
    kinds = [buffer.kind for buffer in code.plan.buffers]
    temporary, prepared = kinds.count(BufferKind.TEMPORARY), kinds.count(BufferKind.PREPARED)
    return f"{temporary} temporaries in {len(code.plan.slots)} arena slots, {prepared} prepared weights"


def _segments(archive: Archive) -> list[str]:
    lines = [f"{len(archive.segments)} segments"]
    lines += [f"  {s.kind:8} offset {s.offset:>10}  {s.size:>10} bytes  {s.checksum[:16]}" for s in archive.segments]
    return lines
