"""`KernelBuilder`: one kernel while it is emitted, and the buffers it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jitcore_ir import BufferType, Graph, Operation, Value
from jitcore_ir.dtypes import DType
from jitcore_ir.ops import PART
from jitcore_ir.shapes import add, mul, product
from jitcore_runtime.plan import BufferKind

from ..loops.module import KernelCall, LoopBuffer, LoopModule
from ..loops.steps import Place, Run, Step
from ..memory_plan import bytes_of
from .emitter import Emitter
from .facts import in_place_pairs, parallel_extent, work_of
from .index import Dim, Indices, flatten
from .parts import elements_at
from .peel import peel_offsets
from .pointwise import POINTWISE


@dataclass(slots=True)
class Places:
    """Where values may lie: the buffers of a module, and parts of them, which have negative numbers."""

    module: LoopModule
    steps: list[Step] = field(default_factory=list)  # where the next kernel goes
    parts: list[tuple[LoopBuffer, int, Dim]] = field(default_factory=list)  # seen as, inside of, from which element

    def add(self, buffer: LoopBuffer) -> int:
        self.module.buffers.append(buffer)
        return len(self.module.buffers) - 1

    def part(self, buffer: int, dtype: DType, shape: Sequence[Dim], offset: Dim) -> int:
        """The number of a part of a buffer, or of such a part."""
        whole, start = self.whole(buffer)
        self.parts.append((LoopBuffer(BufferKind.TEMPORARY, dtype, tuple(shape)), whole, add(start, offset)))
        return -len(self.parts)

    def buffer(self, number: int) -> LoopBuffer:
        return self.parts[-1 - number][0] if number < 0 else self.module.buffers[number]

    def whole(self, number: int) -> Place:
        """The buffer that a place lies in, and the element at which it begins."""
        return self.parts[-1 - number][1:] if number < 0 else (number, 0)


class Memory:
    """The buffers of a module, and which of them holds each value of a stretch of its graph."""

    def __init__(self, places: Places, numbers: Mapping[Operation, int]) -> None:
        self.places = places
        self.module = places.module
        self.numbers = numbers
        self.of: dict[Value, int] = {}
        self.add = places.add

    def temporary(self, value: Value) -> int:
        """The buffer of a value, a new temporary where it has none."""
        if value not in self.of:
            self.of[value] = self.add(LoopBuffer(BufferKind.TEMPORARY, value.type.dtype, value.type.shape))
        return self.of[value]


@dataclass(slots=True)
class Scratch:
    """Row scratch that holds a value: the memory, and how to find an element of the value in it."""

    buffer: Value
    place: Callable[[Indices], Indices]


class KernelBuilder:
    """Emits a kernel. `members` are the values it computes itself: they are not read from memory unless `written`.
    `shared` buffers are both written and read, so they are always addressed in one way. `operation` is the one that the
    kernel is mainly for."""

    def __init__(self, memory: Memory, label: str, operation: Operation | None) -> None:
        self.memory = memory
        self.e = Emitter("kernel", self._read, POINTWISE, memory.numbers)
        if operation is not None:
            self.e.location = operation.location
        self.members: set[Value] = set()
        self.written: set[Value] = set()
        self.scratch: dict[Value, Scratch] = {}
        self.shared: set[int] = set()
        self._label = label
        self._location = self.e.location
        self._operation = -1 if operation is None else memory.numbers.get(operation, -1)
        self._arguments: dict[tuple[int, tuple[Dim, ...], Dim], Value] = {}
        self._reads: set[int] = set()
        self._writes: set[int] = set()

    def argument(self, buffer: int, shape: Sequence[Dim], offset: Dim = 0, reads: bool = True) -> Value:
        """The kernel's input for a buffer seen in `shape` from element `offset` on."""
        key = (buffer, tuple(shape), offset)
        if key not in self._arguments:
            dtype = self.memory.places.buffer(buffer).dtype
            dtype = PART.get(dtype, dtype)
            self._arguments[key] = self.e.argument(BufferType(dtype, key[1]))
        (self._reads if reads else self._writes).add(list(self._arguments).index(key))
        return self._arguments[key]

    def load(self, buffer: int, indices: Indices, shape: Sequence[Dim], moving: bool = True) -> Value:
        indices, shape = self._address(buffer, indices, shape)
        return self.e.load(self.argument(buffer, shape), indices, moving)

    def store(self, value: Value, buffer: int, indices: Indices, shape: Sequence[Dim], offset: Dim = 0) -> None:
        indices, shape = self._address(buffer, indices, shape)
        self.e.store(value, self.argument(buffer, shape, offset, reads=False), indices)

    def store_value(self, value: Value, indices: Indices) -> None:
        """Compute an element of a graph value and write it to the value's memory."""
        for element in elements_at(value, indices):
            self.store(self.e.at(value, element), self.memory.of[value], element, value.type.shape)

    def finish(self) -> None:
        """Append the call of this kernel to the module."""
        graph = self.e.finish()
        keys = list(self._arguments)
        wholes = [self.memory.places.whole(k[0]) for k in keys]
        units = [2 if self.memory.places.buffer(k[0]).dtype.is_complex else 1 for k in keys]
        peeled = peel_offsets(graph)
        offsets = tuple(
            add(add(key[2], inner), mul(start, unit))
            for key, inner, (_, start), unit in zip(keys, peeled, wholes, units, strict=True)
        )
        reads, writes = tuple(sorted(self._reads)), tuple(sorted(self._writes))
        pairs = self._in_place(graph, keys, offsets, reads, writes)
        call = KernelCall(
            graph, tuple(whole for whole, _ in wholes), offsets, reads, writes, pairs, work_of(graph),
            parallel_extent(graph), self._label, self._location, self._operation,
        )  # fmt: skip
        module = self.memory.module
        module.kernels.append(call)
        self.memory.places.steps.append(Run(len(module.kernels) - 1))

    def _in_place(
        self,
        graph: Graph,
        keys: Sequence[tuple],
        offsets: Sequence[Dim],
        reads: tuple[int, ...],
        writes: tuple[int, ...],
    ) -> tuple[tuple[int, int], ...]:
        """The pairs that are safe as whole buffers, not only as the parts that this kernel sees."""
        sizes = [bytes_of(self.memory.places.buffer(buffer)) for buffer, *_ in keys]
        pairs = in_place_pairs(graph, reads, writes)
        whole = {k for k, (buffer, *_) in enumerate(keys) if buffer >= 0}
        safe = {(w, r) for w, r in pairs if sizes[w] == sizes[r] and offsets[w] == offsets[r] and {w, r} <= whole}
        again = {r: [o for o in reads if keys[o][0] == keys[r][0]] for r in reads}  # the same buffer, seen otherwise
        return tuple((w, r) for w, r in pairs if all((w, other) in safe for other in again[r]))

    def _address(self, buffer: int, indices: Indices, shape: Sequence[Dim]) -> tuple[Indices, tuple[Dim, ...]]:
        if buffer in self.shared:
            return (flatten(indices, shape),), (product(shape),)
        return self.e.space.merge(indices, tuple(shape))

    def _read(self, e: Emitter, value: Value, indices: Indices) -> Value | None:
        if value in self.scratch:
            scratch = self.scratch[value]
            return e.load(scratch.buffer, scratch.place(indices), moving=False)
        if value in self.members and value not in self.written:
            return None
        if value not in self.memory.of:
            return None
        return self.load(self.memory.of[value], indices, value.type.shape, moving=value not in self.members)
