"""A recorded function as an archive entry: its graph with weights bound, and its code for each target."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jitcore_ir import Graph, Value, ops
from jitcore_ir.version import __version__
from jitcore_serialize.archive import Archive, Entry, NativeCode, Provenance, Range
from jitcore_serialize.writer import write_archive

from ..errors import ExportError
from ..trace.capture import Recording
from ..trace.containers import LEAF, SAME
from ..trace.pieces import Again, FromOutput, FromRoot, Piece, Static
from .compile import EXACT_TARGETS, compile_graph
from .cpu.pool import build_pool_image
from .cuda import device_code, parse_target
from .lower.lower import lower_graph
from .passes import optimize


def write_program(
    path: str | os.PathLike,
    recording: Recording,
    entry: str,
    weights: Mapping[int, str],
    targets: Sequence[str],
    source: str = "",
    exact: bool = False,
) -> None:
    """Compile `recording`, whose inputs in `weights` (by number) are constant, for each target, and write the archive.

    A target such as "ptx-8.0" stands for a GPU's compute capability: its kernels are stored as PTX. `exact`: see
    `compile_graph`. Raises ExportError for a result that an archive cannot return and for a target that is not exact,
    what `write_archive` raises and, for GPUs, what `device_code` does.
    """
    graph = recording.graph
    results = [_value(recording, piece) for piece in recording.pieces if isinstance(piece, FromOutput | FromRoot)]
    advanced = [recording.roots[number].current for number in recording.written]  # states of generators
    graph.block.append(ops.RETURN, [*results, *advanced])
    states = [recording.roots[number].value for number in recording.written]
    arrays = {number: np.asarray(recording.roots[number].tensor._array, order="C") for number in weights}
    weights = _drop_unused(graph, weights)
    updates = tuple((len(results) + n, value.index) for n, value in enumerate(states))
    constant = tuple(set(weights) - {value.index for value in states})
    structure, names = _structure(recording.structure, recording.pieces)
    graph = optimize(graph)
    assert recording.recorder is not None
    limits = recording.recorder.sizes.ranges.items()
    ranges = {symbol: Range(low or 0, high) for symbol, (low, high) in limits if low or high is not None}
    made = Entry(entry, graph, dict(weights), tuple(names), structure, updates, ranges=ranges, exact=exact)
    pools = {}
    for target in targets:
        if exact and not target.startswith(EXACT_TARGETS):
            raise ExportError(
                f"exact=True makes code for x86-64 only, not for {target}; leave that target out (targets=[...]), and "
                "the runtime interprets the graph there, or export without exact"
            )
        if target.startswith("ptx-"):
            made.device_code[target] = device_code(lower_graph(graph), parse_target(target))
            continue
        program = compile_graph(graph, updates, constant_inputs=constant, target=target, exact=exact)
        assert program.plan is not None and program.image is not None
        made.code[target] = NativeCode(program.plan, program.image, program.operations)
        if any(name == "jc_parallel_for" for name, _ in program.image.imports):
            pools[target] = build_pool_image(target)
    kept = {name: arrays[_number(recording, graph, name)] for name in made.weights.values()}
    write_archive(
        Archive.of(made, weights=kept, pools=pools, provenance=Provenance(__version__, "jitcore", source)), path
    )


def _value(recording: Recording, piece: Any) -> Value:
    """The graph value of a result leaf."""
    if isinstance(piece, FromOutput):
        value = recording.values[piece.output]
    else:
        value = recording.roots[piece.root].current
    assert recording.recorder is not None
    return recording.recorder.viewed(value, piece.chain or ())


def _drop_unused(graph: Graph, weights: Mapping[int, str]) -> dict[int, str]:
    """Remove weights that nothing reads from the graph's inputs; the rest by their new numbers."""
    kept: dict[int, str] = {}
    arguments: list[Value] = []
    for number, value in enumerate(graph.inputs):
        if number in weights and not value.uses:
            continue
        if number in weights:
            kept[len(arguments)] = value.name = weights[number]
        value.index = len(arguments)
        arguments.append(value)
    graph.block.arguments[:] = arguments
    return kept


def _number(recording: Recording, graph: Graph, name: str) -> int:
    """The root whose graph input got the name."""
    return next(i for i, root in enumerate(recording.roots) if root.value.name == name)


def _structure(structure: Any, pieces: Sequence[Piece]) -> tuple[Any, list[str]]:
    """The archive's form of a result structure, whose leaves are `pieces`, and the results' names."""
    names: list[str] = []
    leaves: list[int | None] = []  # the result that each leaf is
    parts: list[Any] = []  # lists and dicts, by their numbers in the structure

    def convert(part: Any, name: str) -> Any:
        if part is LEAF or part == LEAF:
            piece = pieces[len(leaves)]
            if isinstance(piece, Again):
                leaves.append(leaves[piece.position])
            elif isinstance(piece, Static):
                leaves.append(None)
            else:
                leaves.append(len(names))
                names.append(name or f"output{len(names)}")
            return leaves[-1]
        kind = part[0]
        if kind is SAME:
            if parts[part[1]] is None:
                raise ExportError("the function returns a list or dict that holds itself, which an archive cannot")
            return parts[part[1]]
        if kind is tuple:
            return tuple(convert(p, "") for p in part[1])
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return tuple(convert(p, name) for p, name in zip(part[1], kind._fields, strict=True))
        if kind is list or (kind is dict and all(isinstance(key, str) for key in part[1])):
            number = len(parts)
            parts.append(None)
            if kind is list:
                parts[number] = [convert(p, "") for p in part[1]]
            else:
                parts[number] = {key: convert(p, key) for key, p in zip(part[1], part[2], strict=True)}
            return parts[number]
        raise ExportError(
            f"the function returns a {kind.__name__}; return a tensor, or tuples, lists and dicts of tensors"
        )

    found = convert(structure, "")
    if len(set(names)) != len(names):
        names[:] = [f"output{i}" for i in range(len(names))]
    return found, names
