"""What an archive holds, as plain data: `write_archive` takes an `Archive`, `read_archive` gives one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir.graph import Graph
from jitcore_ir.ops import CUSTOM_CALL
from jitcore_ir.shapes import Expr
from jitcore_runtime.plan import Image, Plan

Structure = Any
"""What a call returns: an int (that result), None, or a tuple, list or str-keyed dict of structures."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made the archive. `source` is the user's own file, relative; never a path of the machine."""

    version: str = ""
    producer: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """The sizes that a symbol may take, both ends included; `maximum` None is no limit."""

    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class NativeCode:
    """An entry's machine code for one CPU target. `operations[n]` names the one it calls number n in an IndexError."""

    plan: Plan
    image: Image
    operations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel launch: `kernel` gets pointers to `buffers` (numbers in the plan), then `scalars` as int64."""

    kernel: str
    grid: tuple[int | Expr, int | Expr, int | Expr]
    block: tuple[int, int, int]
    buffers: tuple[int, ...]
    scalars: tuple[int | Expr, ...] = ()
    shared_bytes: int | Expr = 0


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """An entry's code for an accelerator: the module's text (PTX) and its launches, run in order."""

    module: bytes
    plan: Plan
    launches: tuple[Launch, ...]


@dataclass(slots=True)
class Entry:
    """One callable of an archive.

    `graph`'s outputs are the results, then the values that `updates` (pairs: output, input) store into inputs once
    every guard has held, then the 0-d values that `guards` (pairs: output, expected bool, int or float) compare.
    `weights` says which graph inputs (by number) are weights (by name); the others are the call's arguments, named by
    the graph. `outputs` names the results, `structure` says how a call returns them; None is the one result alone, or a
    tuple of several. `ranges` limits symbols; `code` and `device_code` are by target. `exact`: all code gives the bits
    that the interpreter's kernels give.
    """

    name: str
    graph: Graph
    weights: dict[int, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    structure: Structure = None
    updates: tuple[tuple[int, int], ...] = ()
    guards: tuple[tuple[int, bool | int | float], ...] = ()
    ranges: dict[str, Range] = field(default_factory=dict)
    code: dict[str, NativeCode] = field(default_factory=dict)
    device_code: dict[str, DeviceCode] = field(default_factory=dict)
    exact: bool = False

    @property
    def arguments(self) -> list[int]:
        """Numbers of the graph inputs that a call gives, in order."""
        return [i for i in range(len(self.graph.inputs)) if i not in self.weights]

    @property
    def results(self) -> list[int]:
        """Numbers of the graph outputs that a call returns, in order."""
        taken = {output for output, _ in (*self.updates, *self.guards)}
        return [i for i in range(len(self.graph.outputs)) if i not in taken]


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of the file. `kind` is "elements", "image" or "module"; `checksum` its crc32 or sha256 in hexadecimal."""

    kind: str
    offset: int
    size: int
    checksum: str


@dataclass(slots=True)
class Archive:
    """Entries by name (the first is the default), the weights they share by name, and one thread pool per CPU target.

    `segments`, `operators` (name -> version) and `format_version` describe a file that was read; the writer makes
    its own.
    """

    entries: dict[str, Entry]
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    pools: dict[str, Image] = field(default_factory=dict)
    provenance: Provenance = Provenance()
    segments: tuple[Segment, ...] = ()
    operators: dict[str, int] = field(default_factory=dict)
    format_version: int = 0

    @property
    def custom_calls(self) -> list[dict[str, Any]]:
        """The attributes of every call of a custom operation."""
        operations = (o for entry in self.entries.values() for o in entry.graph.walk())
        return [o.attributes for o in operations if o.spec is CUSTOM_CALL]

    @property
    def custom_ops(self) -> list[tuple[str, int]]:
        """Name and version of every custom operation that a graph calls, sorted."""
        return sorted({(call["name"], call["version"]) for call in self.custom_calls})

    @staticmethod
    def of(*entries: Entry, weights: dict[str, np.ndarray] | None = None, **others: Any) -> Archive:
        """An archive of these entries."""
        return Archive({entry.name: entry for entry in entries}, dict(weights or {}), **others)
