"""Archive -> the object tree that flatc's generated code packs into the metadata, and the segments beside it."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jitcore_ir.dtypes import from_numpy
from jitcore_ir.graph import Block, Graph, Operation, Value
from jitcore_ir.location import Location
from jitcore_ir.spec import Kind, OpSpec
from jitcore_ir.types import TensorType
from jitcore_runtime.plan import Buffer, Image, Plan

from .archive import Archive, DeviceCode, Entry, Launch, NativeCode, Range, Structure
from .dims import INT64_MAX, DimWriter
from .errors import ArchiveError
from .generated.Array import ArrayT
from .generated.Attribute import AttributeT
from .generated.AttributeSpec import AttributeSpecT
from .generated.Block import BlockT
from .generated.Buffer import BufferT
from .generated.CallOut import CallOutT
from .generated.Code import CodeT
from .generated.DeviceCode import DeviceCodeT
from .generated.Entry import EntryT
from .generated.Expression import ExpressionT
from .generated.Guard import GuardT
from .generated.Image import ImageT
from .generated.ImageSymbol import ImageSymbolT
from .generated.Launch import LaunchT
from .generated.Metadata import MetadataT
from .generated.Operation import OperationT
from .generated.Operator import OperatorT
from .generated.Plan import PlanT
from .generated.Provenance import ProvenanceT
from .generated.Segment import SegmentT
from .generated.Structure import StructureT
from .generated.SymbolRange import SymbolRangeT
from .generated.ValueType import ValueTypeT
from .generated.Weight import WeightT
from .layout import INLINE_BYTES, digest
from .tables import DTYPE_CODES, KIND_CODES, SEGMENT_KINDS, STRUCTURE_KINDS

MEND = "this is a limit of the format; change the model, or leave this entry out"


@dataclass(slots=True)
class Encoded:
    """`metadata` with its segments' offsets still to be filled in, and each segment's content."""

    metadata: MetadataT
    contents: list[np.ndarray | bytes]


def encode(archive: Archive) -> Encoded:
    """Number everything and describe it. Raises ArchiveError for what the format cannot hold."""
    return _Encoder(archive).encode()


@dataclass(slots=True)
class _Encoder:
    archive: Archive
    dims: DimWriter = field(default_factory=DimWriter)
    types: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    operators: dict[OpSpec, int] = field(default_factory=dict)
    arrays: list[ArrayT] = field(default_factory=list)
    array_numbers: dict[tuple, int] = field(default_factory=dict)
    images: dict[int, int] = field(default_factory=dict)
    image_tables: list[ImageT] = field(default_factory=list)
    segments: list[SegmentT] = field(default_factory=list)
    contents: list[np.ndarray | bytes] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    """Objects whose ids are keys above, so that no other object gets the same id."""

    def encode(self) -> Encoded:
        archive = self.archive
        metadata: Any = MetadataT()
        metadata.provenance = ProvenanceT()
        for name in ("version", "producer", "source"):
            setattr(metadata.provenance, name, getattr(archive.provenance, name))
        numbers = {name: number for number, name in enumerate(archive.weights)}
        metadata.weights = [_made(WeightT(), name=n, array=self.array(a)) for n, a in archive.weights.items()]
        metadata.entries = [self.entry(entry, numbers) for entry in archive.entries.values()]
        metadata.pools = [self.image(image) for image in archive.pools.values()]
        metadata.images = self.image_tables
        metadata.arrays = self.arrays
        metadata.segments = self.segments
        metadata.symbols = list(self.dims.symbols)
        metadata.expressions = [_made(ExpressionT(), code=list(code)) for code in self.dims.expressions]
        metadata.types = [_made(ValueTypeT(), dtype=dtype, shape=list(shape)) for dtype, shape in self.types]
        metadata.files = list(self.files)
        metadata.operators = [_operator(spec) for spec in self.operators]
        return Encoded(metadata, self.contents)

    # Graphs

    def entry(self, entry: Entry, weights: dict[str, int]) -> EntryT:
        numbers = [weights[entry.weights[i]] if i in entry.weights else -1 for i in range(len(entry.graph.inputs))]
        table: Any = EntryT()
        table.name = entry.name
        table.graphName = entry.graph.name
        table.block = _GraphEncoder(self, entry.graph).block(entry.graph.block)
        table.weights = numbers
        table.outputs = list(entry.outputs)
        table.structure = None if entry.structure is None else _structure(entry.structure)
        table.updates = _flat(entry.updates)
        table.guards = [self.guard(output, expected) for output, expected in entry.guards]
        table.ranges = [self.range(symbol, limits) for symbol, limits in entry.ranges.items()]
        table.code = [self.code(code) for code in entry.code.values()]
        table.deviceCode = [self.device_code(target, code) for target, code in entry.device_code.items()]
        table.exact = int(entry.exact)
        return table

    def guard(self, output: int, expected: bool | int | float) -> GuardT:
        kind = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT}.get(type(expected))
        if kind is None:
            raise ArchiveError(f"a guard expects {expected!r}, which is not a bool, int or float", MEND)
        return _made(GuardT(), output=output, kind=KIND_CODES[kind], expected=self.attribute(kind, expected))

    def range(self, symbol: str, limits: Range) -> SymbolRangeT:
        maximum = INT64_MAX if limits.maximum is None else limits.maximum
        return _made(SymbolRangeT(), symbol=self.dims.symbol(symbol), minimum=limits.minimum, maximum=maximum)

    def type(self, type: Any) -> int:
        if not isinstance(type, TensorType):
            raise ArchiveError(f"a value of type {type}, but archives hold tensors only", MEND)
        key = (DTYPE_CODES[type.dtype], tuple(self.dims.dims(type.shape)))
        return self.types.setdefault(key, len(self.types))

    def operator(self, spec: OpSpec) -> int:
        return self.operators.setdefault(spec, len(self.operators))

    def attribute(self, kind: Kind, value: Any) -> AttributeT:
        table: Any = AttributeT()
        if kind is Kind.STRING:
            table.text = value
            return table
        values = self.values(kind, value)
        if any(not -INT64_MAX - 1 <= v <= INT64_MAX for v in values):
            raise ArchiveError(f"the attribute value {value!r} is beyond int64", MEND)
        table.values = np.array(values, np.int64) if values else None
        return table

    def values(self, kind: Kind, value: Any) -> list[int]:
        if kind in (Kind.INT, Kind.BOOL):
            return [int(value)]
        if kind is Kind.FLOAT:
            return [struct.unpack("<q", struct.pack("<d", value))[0]]
        if kind is Kind.DTYPE:
            return [DTYPE_CODES[value]]
        if kind is Kind.DIM:
            return [self.dims.dim(value)]
        if kind is Kind.INTS:
            return list(value)
        if kind is Kind.DIMS:
            return self.dims.dims(value)
        if kind is Kind.PAIRS:
            return _flat(value)
        return [self.array(value)]

    def location(self, location: Location) -> tuple[int, int]:
        if not location.line:
            return 0, 0
        return self.files.setdefault(portable_path(location.file), len(self.files)), location.line

    # Memory

    def array(self, array: np.ndarray) -> int:
        """The array's number; arrays that are the same memory get the same one."""
        dtype = from_numpy(array.dtype)
        key = (array.__array_interface__["data"][0], array.shape, array.strides, dtype)
        if array.nbytes > INLINE_BYTES and key in self.array_numbers:
            return self.array_numbers[key]
        table = _made(ArrayT(), dtype=DTYPE_CODES[dtype], shape=list(array.shape))
        if array.nbytes <= INLINE_BYTES:
            table.data = np.frombuffer(element_bytes(array), np.uint8) if array.nbytes else None
        else:
            table.segment = self.segment("elements", array)
        self.kept.append(array)
        self.arrays.append(table)
        self.array_numbers[key] = len(self.arrays) - 1
        return len(self.arrays) - 1

    def segment(self, kind: str, content: np.ndarray | bytes) -> int:
        table = _made(
            SegmentT(),
            kind=SEGMENT_KINDS.index(kind),
            size=len(content) if isinstance(content, bytes) else content.nbytes,
        )
        if isinstance(content, bytes):
            table.sha256 = np.frombuffer(digest(content), np.uint8)
        else:
            table.crc32 = zlib.crc32(element_bytes(content))
        self.segments.append(table)
        self.contents.append(content)
        return len(self.segments) - 1

    # Code

    def code(self, code: NativeCode) -> CodeT:
        return _made(CodeT(), plan=self.plan(code.plan), image=self.image(code.image), operations=list(code.operations))

    def image(self, image: Image) -> int:
        if id(image) not in self.images:
            self.kept.append(image)
            table = _made(
                ImageT(), target=image.target, segment=self.segment("image", bytes(image.code)), abi=image.abi
            )
            table.textSize, table.rodataSize, table.dataSize = image.text_size, image.rodata_size, image.data_size
            table.exports = [_made(ImageSymbolT(), name=n, offset=o) for n, o in image.exports]
            table.imports = [_made(ImageSymbolT(), name=n, offset=o) for n, o in image.imports]
            table.features = list(image.features)
            self.images[id(image)] = len(self.image_tables)
            self.image_tables.append(table)
        return self.images[id(image)]

    def plan(self, plan: Plan) -> PlanT:
        table: Any = PlanT()
        table.symbols = [self.dims.symbol(s) for s in plan.symbols]
        table.buffers = [self.buffer(b) for b in plan.buffers]
        table.slots = self.dims.dims(plan.slots)
        table.aliases = _flat(plan.aliases)
        table.preparedFrom = list(plan.prepared_from)
        table.callOuts = [
            _made(CallOutT(), operation=c.operation, operands=list(c.operands), result=c.result) for c in plan.call_outs
        ]
        return table

    def buffer(self, buffer: Buffer) -> BufferT:
        table = _made(BufferT(), kind=int(buffer.kind), dtype=DTYPE_CODES[buffer.dtype], index=buffer.index)
        table.shape = self.dims.dims(buffer.shape)
        if buffer.data is not None:
            table.array = self.array(buffer.data)
        return table

    def device_code(self, target: str, code: DeviceCode) -> DeviceCodeT:
        table = _made(DeviceCodeT(), target=target, segment=self.segment("module", bytes(code.module)))
        table.plan = self.plan(code.plan)
        table.launches = [self.launch(launch) for launch in code.launches]
        return table

    def launch(self, launch: Launch) -> LaunchT:
        table = _made(LaunchT(), kernel=launch.kernel, block=list(launch.block), buffers=list(launch.buffers))
        table.grid, table.scalars = self.dims.dims(launch.grid), self.dims.dims(launch.scalars)
        table.sharedBytes = self.dims.dim(launch.shared_bytes)
        return table


class _GraphEncoder:
    """Encodes one graph, numbering its values in the order they are defined."""

    def __init__(self, encoder: _Encoder, graph: Graph) -> None:
        self.encoder = encoder
        self.numbers: dict[Value, int] = {}

    def block(self, block: Block) -> BlockT:
        table: Any = BlockT()
        table.arguments = [self.encoder.type(a.type) for a in block.arguments]
        table.names = _names(block.arguments)
        self.define(block.arguments)
        table.operations = [self.operation(o) for o in block.operations]
        return table

    def operation(self, operation: Operation) -> OperationT:
        encoder, spec = self.encoder, operation.spec
        table: Any = OperationT()
        table.operator = encoder.operator(spec)
        table.operands = (
            np.array([self.numbers[v] for v in operation.operands], np.uint32) if operation.operands else None
        )
        table.attributes = [
            encoder.attribute(kind, operation.attributes[name]) for name, kind in spec.attributes.items()
        ]
        table.regions = [self.block(region.block) for region in operation.regions]
        table.results = [encoder.type(v.type) for v in operation.results]
        table.names = _names(operation.results)
        table.file, table.line = encoder.location(operation.location)
        self.define(operation.results)
        return table

    def define(self, values: Sequence[Value]) -> None:
        for value in values:
            self.numbers[value] = len(self.numbers)


def element_bytes(array: np.ndarray) -> memoryview:
    """The elements in row-major order, little-endian; a view of the array's own memory where that is so already."""
    ordered = np.ascontiguousarray(array).reshape(-1)
    if ordered.dtype.byteorder == ">" or (ordered.dtype.byteorder == "=" and struct.pack("=H", 1) != b"\1\0"):
        ordered = ordered.astype(ordered.dtype.newbyteorder("<"))
    return ordered.view(np.uint8).data


def portable_path(file: str) -> str:
    """A source file as archives name it: relative to the working folder or to the installed packages, else its name.

    A machine's own paths say nothing on another machine, and may say too much about whose it is.
    """
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(os.getcwd()):
        path = path.relative_to(os.getcwd())
    for folder in ("site-packages", "dist-packages"):
        if folder in path.parts:
            path = Path(*path.parts[path.parts.index(folder) + 1 :])
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()


def _structure(structure: Structure) -> StructureT:
    table: Any = StructureT()
    if isinstance(structure, dict):
        table.kind, table.keys = STRUCTURE_KINDS.index("dict"), list(structure)
        table.items = [_structure(part) for part in structure.values()]
    elif isinstance(structure, tuple | list):
        table.kind = STRUCTURE_KINDS.index("list" if isinstance(structure, list) else "tuple")
        table.items = [_structure(part) for part in structure]
    elif structure is None:
        table.kind = STRUCTURE_KINDS.index("none")
    else:
        table.kind, table.result = STRUCTURE_KINDS.index("result"), structure
    return table


def _operator(spec: OpSpec) -> OperatorT:
    attributes = [_made(AttributeSpecT(), name=name, kind=KIND_CODES[kind]) for name, kind in spec.attributes.items()]
    return _made(OperatorT(), name=spec.name, version=spec.version, attributes=attributes)


def _names(values: Sequence[Value]) -> list[str] | None:
    return [v.name for v in values] if any(v.name for v in values) else None


def _flat(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return [number for pair in pairs for number in pair]


def _made(table: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(table, name, value)
    return table
