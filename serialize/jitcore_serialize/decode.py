"""Checked metadata -> Archive: numbers become what they refer to, or an ArchiveError."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from jitcore_ir.errors import IRError
from jitcore_ir.graph import Block, Graph, Region, Value, create_operation
from jitcore_ir.location import UNKNOWN, Location
from jitcore_ir.spec import OPS, Kind, OpSpec
from jitcore_ir.types import TensorType
from jitcore_runtime.plan import Buffer, BufferKind, CallOut, Image, Plan

from .archive import Archive, DeviceCode, Entry, Launch, NativeCode, Provenance, Range, Structure
from .dims import INT64_MAX, MAX_TERMS, DimReader, check_shape, symbolic_terms, symbolic_work
from .errors import NEWER, ArchiveError
from .layout import MAX_OPERATIONS
from .segments import Segments
from .tables import DTYPES, KINDS, STRUCTURE_KINDS

T = TypeVar("T")

_SYMBOLIC_WORK = 1 << 24
"""In `symbolic_work`'s units, all operations together: some 15 s. A symbol per shape costs 16 or so an operation."""
_MAX_TARGETS = 64


class Decoder:
    """Decodes one archive. `code` says whether machine code is taken along."""

    def __init__(self, metadata: Any, segments: Segments, code: bool) -> None:
        self.metadata = metadata
        self.segments = segments
        self.with_code = code
        self.operations_left = MAX_OPERATIONS
        self.work_left = _SYMBOLIC_WORK
        self.dims = DimReader(metadata.symbols, (e.code for e in metadata.expressions))
        self.types = [self.type(t) for t in metadata.types]
        self.type_work: dict[Any, int] = {type: symbolic_work(type.shape) for type in self.types}
        self.operators = [_operator(o) for o in metadata.operators]
        self.arrays = [self.array(a) for a in metadata.arrays]
        self.images = [self.image(i) for i in metadata.images] if code else []

    def archive(self) -> Archive:
        metadata = self.metadata
        provenance = metadata.provenance
        weights = {w.name: self.pick(self.arrays, w.array, "array") for w in metadata.weights}
        _unique("weight", [w.name for w in metadata.weights])
        names = list(weights)
        _unique("entry", [e.name for e in metadata.entries])
        entries = [self.entry(e, names) for e in metadata.entries]
        self.segments.check_all_used(self.with_code)
        pools = [self.pick(self.images, number, "image") for number in metadata.pools] if self.with_code else []
        _unique("thread pool", [p.target for p in pools])
        return Archive(
            {entry.name: entry for entry in entries},
            weights,
            {image.target: image for image in pools},
            Provenance(provenance.version, provenance.producer, provenance.source) if provenance else Provenance(),
            operators={o.name: o.version for o in metadata.operators},
        )

    # Graphs

    def entry(self, table: Any, weights: list[str]) -> Entry:
        graph = Graph(table.graph_name)
        if table.block is None:
            raise ArchiveError(f"entry {table.name!r} has no graph")
        _GraphDecoder(self, f"entry {table.name!r}").block(table.block, graph.block)
        if len(table.weights) != len(graph.inputs):
            raise ArchiveError(
                f"entry {table.name!r} says of {len(table.weights)} inputs what they are, but has {len(graph.inputs)}"
            )
        entry = Entry(
            table.name,
            graph,
            {i: self.pick(weights, n, "weight") for i, n in enumerate(table.weights) if n != -1},
            table.outputs,
            _structure(table.structure) if table.structure else None,
            _pairs(table.updates),
            tuple((g.output, self.expected(g)) for g in table.guards),
            {
                self.dims.symbol(r.symbol): Range(r.minimum, None if r.maximum == INT64_MAX else r.maximum)
                for r in table.ranges
            },
        )
        if table.exact not in (0, 1):
            raise ArchiveError(f"entry {table.name!r} says {table.exact} where it says whether it is exact")
        entry.exact = bool(table.exact)
        _unique("range", [self.dims.symbol(r.symbol) for r in table.ranges])
        if self.with_code:
            if len(table.code) + len(table.device_code) > _MAX_TARGETS:
                raise ArchiveError(f"entry {table.name!r} has code for more than {_MAX_TARGETS} targets")
            codes = [self.code(c) for c in table.code]
            _unique("target", [c.image.target for c in codes] + [d.target for d in table.device_code])
            entry.code = {c.image.target: c for c in codes}
            entry.device_code = {d.target: self.device_code(d) for d in table.device_code}
        return entry

    def expected(self, guard: Any) -> bool | int | float:
        kind = KINDS[guard.kind]
        if kind not in (Kind.BOOL, Kind.INT, Kind.FLOAT) or guard.expected is None:
            raise ArchiveError(f"a guard that expects a {kind.value}")
        return self.attribute(kind, guard.expected)

    def type(self, table: Any) -> TensorType:
        dtype, shape = DTYPES[table.dtype], self.dims.dims(table.shape)
        check_shape(dtype, shape)
        return TensorType(dtype, shape)

    def attribute(self, kind: Kind, table: Any) -> Any:
        if (kind is Kind.STRING and table.values) or (kind is not Kind.STRING and table.text):
            raise ArchiveError(f"an attribute of kind {kind.value} holds more than that")
        return _ATTRIBUTES[kind](self, table)

    def one(self, table: Any) -> int:
        if len(table.values) != 1:
            raise ArchiveError(f"an attribute holds {len(table.values)} values, not one")
        return table.values[0]

    def boolean(self, table: Any) -> bool:
        if self.one(table) not in (0, 1):
            raise ArchiveError(f"an attribute is {self.one(table)}, neither false (0) nor true (1)")
        return bool(self.one(table))

    def dims_attribute(self, table: Any) -> tuple:
        dims = self.dims.dims(table.values)
        if symbolic_terms(dims) > MAX_TERMS:
            raise ArchiveError(f"a list of dims whose product has more than {MAX_TERMS} terms")
        self.work(symbolic_work(dims))
        return dims

    def work(self, work: int) -> None:
        """Count what symbolic shapes cost, which a small file could drive to hours."""
        self.work_left -= work
        if self.work_left < 0:
            raise ArchiveError("the symbolic shapes of its graphs are too many and too complex to check")

    def location(self, file: int, line: int) -> Location:
        return Location(self.pick(self.metadata.files, file, "file"), line) if line else UNKNOWN

    # Memory

    def array(self, table: Any) -> np.ndarray:
        """A read-only view of the metadata or of the file."""
        dtype, shape = DTYPES[table.dtype], table.shape
        check_shape(dtype, shape)
        try:
            element = dtype.numpy
        except ImportError:
            raise ArchiveError(f"it holds {dtype.name} arrays", "install the package ml_dtypes") from None
        size = math.prod(shape) * dtype.itemsize
        data: Any = table.data
        if table.segment != -1:
            if data:
                raise ArchiveError("an array is both in the metadata and in a segment")
            data = self.segments.view(table.segment, "elements")
        if len(data) != size:
            raise ArchiveError(f"an array {dtype.short}{list(shape)} of {len(data)} bytes, not {size}")
        array = np.frombuffer(data, element).reshape(shape) if size else np.zeros(shape, element)
        if dtype.kind == "bool" and size and array.view(np.uint8).max() > 1:
            raise ArchiveError("an array of bool holds other values than 0 and 1")
        array.flags.writeable = False
        return array

    # Code

    def code(self, table: Any) -> NativeCode:
        return NativeCode(self.plan(table.plan), self.pick(self.images, table.image, "image"), table.operations)

    def image(self, table: Any) -> Image:
        return Image(
            table.target,
            self.segments.copy(table.segment, "image"),
            table.text_size,
            table.rodata_size,
            table.data_size,
            tuple((s.name, s.offset) for s in table.exports),
            tuple((s.name, s.offset) for s in table.imports),
            table.features,
            table.abi,
        )

    def plan(self, table: Any) -> Plan:
        if table is None:
            raise ArchiveError("code without a plan")
        return Plan(
            tuple(self.buffer(b) for b in table.buffers),
            tuple(self.dims.symbol(s) for s in table.symbols),
            self.dims.dims(table.slots),
            _pairs(table.aliases),
            table.prepared_from,
            tuple(CallOut(c.operation, tuple(c.operands), c.result) for c in table.call_outs),
        )

    def buffer(self, table: Any) -> Buffer:
        data = None if table.array == -1 else self.pick(self.arrays, table.array, "array")
        return Buffer(BufferKind(table.kind), DTYPES[table.dtype], self.dims.dims(table.shape), table.index, data)

    def device_code(self, table: Any) -> DeviceCode:
        launches = tuple(self.launch(launch) for launch in table.launches)
        return DeviceCode(self.segments.copy(table.segment, "module"), self.plan(table.plan), launches)

    def launch(self, table: Any) -> Launch:
        grid, shared = self.dims.dims(table.grid), self.dims.dim(table.shared_bytes)
        return Launch(table.kernel, grid, table.block, table.buffers, self.dims.dims(table.scalars), shared)  # type: ignore[arg-type]

    def pick(self, items: Sequence[T], number: int, what: str) -> T:
        if not 0 <= number < len(items):
            raise ArchiveError(f"it refers to {what} {number} of {len(items)}")
        return items[number]


class _GraphDecoder:
    """Builds one graph, every operation's types by the operator's own rule."""

    def __init__(self, decoder: Decoder, where: str) -> None:
        self.decoder = decoder
        self.where = where
        self.values: list[Value] = []

    def block(self, table: Any, block: Block) -> None:
        decoder = self.decoder
        for type, name in zip(table.arguments, self.names(table.names, len(table.arguments))):
            self.values.append(block.add_argument(decoder.pick(decoder.types, type, "type"), name))
        for operation in table.operations:
            self.operation(operation, block)

    def operation(self, table: Any, block: Block) -> None:
        decoder = self.decoder
        decoder.operations_left -= 1
        if decoder.operations_left < 0:
            raise ArchiveError(f"its graphs have more than {MAX_OPERATIONS} operations")
        spec, order = decoder.pick(decoder.operators, table.operator, "operator")
        operands = [decoder.pick(self.values, number, "value") for number in table.operands]
        if len(table.attributes) != len(order):
            self.fail(spec, f"it has {len(table.attributes)} attributes, not {len(order)}")
        found = {name: decoder.attribute(spec.attributes[name], a) for name, a in zip(order, table.attributes)}
        location = decoder.location(table.file, table.line)
        regions = []
        for inner in table.regions:
            regions.append(Region())
            self.block(inner, regions[-1].block)
        work = sum(decoder.type_work[type] for type in {v.type for v in operands})
        decoder.work((1 + len(operands)) * work)
        try:
            operation = create_operation(
                spec, operands, {name: found[name] for name in spec.attributes}, location, regions
            )
        except (IRError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
            self.fail(spec, str(error))
        results = [decoder.pick(decoder.types, number, "type") for number in table.results]
        if results != [v.type for v in operation.results]:
            self.fail(spec, f"its results are {results}, but its operands give {[v.type for v in operation.results]}")
        for value, name in zip(operation.results, self.names(table.names, len(results))):
            value.name = name
        operation.block = block
        block.operations.append(operation)
        self.values += operation.results

    def names(self, names: tuple[str, ...], count: int) -> Sequence[str]:
        if names and len(names) != count:
            raise ArchiveError(f"{self.where}: {len(names)} names for {count} values")
        return names or [""] * count

    def fail(self, spec: OpSpec, problem: str) -> Any:
        raise ArchiveError(f"{self.where}: {spec.name}: {problem}")


def _operator(table: Any) -> tuple[OpSpec, list[str]]:
    """The spec and its attributes in the file's order."""
    spec = OPS.get(table.name)
    if spec is None:
        raise ArchiveError(f"it uses the operation {table.name!r}, which is unknown here", NEWER)
    if spec.version != table.version:
        raise ArchiveError(
            f"it uses version {table.version} of {table.name}, which is version {spec.version} here", NEWER
        )
    if {a.name: KINDS[a.kind] for a in table.attributes} != dict(spec.attributes) or len(table.attributes) != len(
        spec.attributes
    ):
        raise ArchiveError(
            f"its {table.name} has the attributes {[a.name for a in table.attributes]}, not {list(spec.attributes)}"
        )
    return spec, [a.name for a in table.attributes]


def _structure(table: Any) -> Structure:
    kind = STRUCTURE_KINDS[table.kind]
    if (kind == "dict") != bool(table.keys or (kind == "dict" and not table.items)) or (
        table.items and kind in ("result", "none")
    ):
        raise ArchiveError(
            f"a {kind} in the structure of the result with keys {table.keys} and {len(table.items)} items"
        )
    if kind == "result":
        return table.result
    items = [_structure(item) for item in table.items]
    if kind == "dict":
        if len(set(table.keys)) != len(items) or len(table.keys) != len(items):
            raise ArchiveError(f"the keys {table.keys} for {len(items)} items in the structure of the result")
        return dict(zip(table.keys, items))
    return None if kind == "none" else items if kind == "list" else tuple(items)


def _pairs(flat: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if len(flat) % 2:
        raise ArchiveError(f"pairs made of {len(flat)} numbers")
    return tuple(zip(flat[::2], flat[1::2]))


def _unique(what: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise ArchiveError(f"two of it are the {what} {Counter(names).most_common(1)[0][0]!r}")


_ATTRIBUTES: dict[Kind, Callable[[Decoder, Any], Any]] = {
    Kind.INT: Decoder.one,
    Kind.FLOAT: lambda self, table: struct.unpack("<d", struct.pack("<q", self.one(table)))[0],
    Kind.BOOL: Decoder.boolean,
    Kind.STRING: lambda self, table: table.text,
    Kind.DTYPE: lambda self, table: self.pick(DTYPES, self.one(table), "dtype"),
    Kind.DIM: lambda self, table: self.dims.dim(self.one(table)),
    Kind.INTS: lambda self, table: table.values,
    Kind.DIMS: Decoder.dims_attribute,
    Kind.PAIRS: lambda self, table: _pairs(table.values),
    Kind.DENSE: lambda self, table: self.pick(self.arrays, self.one(table), "array"),
}
