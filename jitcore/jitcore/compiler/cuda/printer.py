"""Loop IR to numba.cuda source: the body of one kernel.

Barriers in "rows" kernels: between two uses of a buffer by the threads of a block, of which one is a store, there is a
barrier, unless both are in one shared loop, whose iterations touch different places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Lookup
from contextlib import contextmanager
from dataclasses import dataclass, field

from jitcore_ir import Block, BufferType, Operation, OpSpec, Value, ops
from jitcore_ir.dtypes import DType, bool_, int64
from jitcore_ir.shapes import product

from ..loops import ops as loops
from ..lower.reduction import REDUCTIONS, identity
from ..scalar import SCALARS, Scalar
from .dims import dim_source
from .mapping import Mapping
from .scalars import SourceScalars, memory_name

ZERO_DIVISION = -2
"""What error[0] holds after an integer division by zero; else the number of the operation with a bad index, or -1."""

_LIBRARY = {
    ops.SIN: "sin", ops.COS: "cos", ops.TAN: "tan", ops.ASIN: "asin", ops.ACOS: "acos", ops.ATAN: "atan",
    ops.ATAN2: "atan2", ops.LOG2: "log2", ops.POW: "pow",
}  # fmt: skip
"""Functions of floats that NVIDIA's device library has in float32; `SCALARS` computes them by way of float64."""

_IDENTITIES = {combination.spec: combination for combination in REDUCTIONS.values()}


@dataclass(slots=True)
class Printer:
    """Prints operations as lines of Python. `offsets[b]` names the parameter that is added to buffer b's positions."""

    mapping: Mapping
    threads: int
    buffers: Lookup[Value, str]
    offsets: Lookup[Value, str]
    lines: list[str] = field(default_factory=list)
    shared_bytes: int = 0
    scalars: SourceScalars = field(init=False)
    _indent: int = 1
    _counts: dict[str, int] = field(default_factory=dict)
    _values: dict[Value, Scalar] = field(default_factory=dict)
    _scratch: dict[Value, str] = field(default_factory=dict)
    _natural: set[Value] = field(default_factory=set)  # i64 values that are never negative
    _trees: dict[DType, str] = field(default_factory=dict)  # shared memory of the reductions
    _alone: bool = True  # whether what is printed is one thread's own work; else every thread of a block runs it
    _stored: set[Value] = field(default_factory=set)  # buffers stored to, and loaded from, since the last barrier
    _loaded: set[Value] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.scalars = SourceScalars(self.write, self._report_zero_division)

    def kernel(self, block: Block) -> None:
        """Print a whole kernel."""
        self.write("thread = int64(cuda.threadIdx.x)")
        self.write("block = int64(cuda.blockIdx.x)")
        self._alone = self.mapping.kind == "elements"
        if self.mapping.parallel is None:
            with self._nested("if block == 0 and thread == 0:" if self._alone else "if block == 0:"):
                self._block(block)
        else:
            self._block(block)

    def write(self, line: str) -> None:
        self.lines.append("    " * self._indent + line)

    # Structure

    @contextmanager
    def _nested(self, head: str) -> Iterator[None]:
        self.write(head)
        self._indent += 1
        length = len(self.lines)
        yield
        if len(self.lines) == length:
            self.write("pass")
        self._indent -= 1

    def _new(self, kind: str) -> str:
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"{kind}{number}"

    def _block(self, block: Block) -> list[Scalar]:
        for operation in block.operations[:-1]:
            handler = _HANDLERS.get(operation.spec, Printer._elementwise)
            handler(self, operation)
        return [self._values[v] for v in block.terminator.operands]

    def _set_index(self, value: Value, handle: str) -> None:
        self._values[value] = self.scalars.wrap(handle, int64)
        self._natural.add(value)

    # Scalars

    def _constant(self, operation: Operation) -> None:
        array, dtype = operation.attributes["value"], operation.result.type.dtype
        self._values[operation.result] = self.scalars.constant(dtype, array.item())
        if dtype is int64 and array.item() >= 0:
            self._natural.add(operation.result)

    def _size(self, operation: Operation) -> None:
        self._set_index(operation.result, dim_source(operation.attributes["dim"]))

    def _cast(self, operation: Operation) -> None:
        self._values[operation.result] = self._values[operation.operands[0]].to(operation.attributes["dtype"])

    def _elementwise(self, operation: Operation) -> None:
        operands, result, spec = [self._values[v] for v in operation.operands], operation.result, operation.spec
        _refuse_complex(operation)
        if result.type.dtype is int64 and spec in _NATURAL and all(v in self._natural for v in operation.operands):
            self._set_index(result, self.scalars.floor_division(_NATURAL[spec], *operands).handle)
        elif spec in _LIBRARY and operands[0].dtype.kind == "float":
            self._values[result] = self.scalars.call(_LIBRARY[spec], *operands)
        else:
            self._values[result] = SCALARS[spec](*operands)

    # Memory

    def _element(self, buffer: Value, indices: Iterable[Value]) -> str:
        """One element, as an expression that can be read and assigned."""
        assert isinstance(buffer.type, BufferType)
        linear = ""
        for dim, index in zip(buffer.type.shape, indices, strict=True):
            handle = self._values[index].handle
            if not linear or linear == "0":
                linear = handle
            else:
                linear = f"{f'({linear})' if ' + ' in linear else linear} * {dim_source(dim)} + {handle}"
        offset = self.offsets.get(buffer)
        linear = " + ".join(part for part in (offset, linear) if part) or "0"
        name = self._scratch.get(buffer) or self.buffers[buffer]
        return f"{name}[{linear}]"

    def _load(self, operation: Operation) -> None:
        buffer, *indices = operation.operands
        self._order(loaded={buffer})
        self._values[operation.result] = self.scalars.loaded(self._element(buffer, indices), buffer.type.dtype)

    def _store(self, operation: Operation) -> None:
        value, buffer, *indices = operation.operands
        self._order(stored={buffer})
        line = f"{self._element(buffer, indices)} = {self.scalars.stored(self._values[value])}"
        if self._alone:
            self.write(line)
        else:
            with self._nested("if thread == 0:"):
                self.write(line)

    def _alloc(self, operation: Operation) -> None:
        dtype, size = operation.attributes["dtype"], product(operation.attributes["shape"])
        if not isinstance(size, int):
            raise NotImplementedError(
                f"scratch memory of {size} elements at {operation.location}: its size must be known"
            )
        space = "local" if self._alone else "shared"
        name = self._scratch[operation.result] = self._new("scratch")
        self.write(f"{name} = cuda.{space}.array({max(size, 1)}, {memory_name(dtype)})")
        self.shared_bytes += 0 if self._alone else max(size, 1) * dtype.itemsize

    def _order(self, loaded: Iterable[Value] = (), stored: Iterable[Value] = ()) -> None:
        """A barrier where what is done next with these buffers must come after what other threads did with them."""
        if self._alone:
            return
        if self._stored.intersection((*loaded, *stored)) or self._loaded.intersection(stored):
            self._barrier()
        self._loaded.update(loaded)
        self._stored.update(stored)

    def _barrier(self) -> None:
        self.write("cuda.syncthreads()")
        self._stored.clear()
        self._loaded.clear()

    # Errors

    def _check_index(self, operation: Operation) -> None:
        index, size = (self._values[v].handle for v in operation.operands)
        inside = self.scalars.assign(f"{index} >= 0 and {index} < {size}", bool_).handle
        number, axis = operation.attributes["operation"], operation.attributes["axis"]
        with self._nested(f"if not {inside} and claim(error, {number}):"):
            for place, content in enumerate((index, size, axis), 1):
                self.write(f"error[{place}] = {content}")
        self._set_index(operation.result, self.scalars.assign(f"{index} if {inside} else 0", int64).handle)

    def _report_zero_division(self, is_zero: str) -> None:
        with self._nested(f"if {is_zero}:"):
            self.write(f"claim(error, {ZERO_DIVISION})")

    # Control

    def _for(self, operation: Operation) -> None:
        if operation is self.mapping.parallel:
            self._parallel(operation)
        elif operation in self.mapping.shared:
            self._shared_loop(operation, self.mapping.shared[operation])
        else:
            self._serial(operation)

    def _parallel(self, operation: Operation) -> None:
        extent, index = self._values[operation.operands[0]].handle, self._new("i")
        body = operation.regions[0].block
        blocks = "int64(cuda.gridDim.x)"
        start, step = ("block", blocks)
        if self._alone:
            start, step = f"block * {self.threads} + thread", f"{self.threads} * {blocks}"
        with self._nested(f"for {index} in range({start}, {extent}, {step}):"):
            self._set_index(body.arguments[0], index)
            self._block(body)
            if self._stored.intersection(self._scratch) or self._loaded.intersection(self._scratch):
                self._barrier()  # the next row uses the same scratch

    def _serial(self, operation: Operation) -> None:
        """A loop that every thread runs, whole."""
        extent, *starts = (self._values[v] for v in operation.operands)
        carried = self._carried(operation, starts)
        loaded, stored = _uses(operation)
        before = set(self._stored), set(self._loaded)
        with self._nested(f"for {self._open(operation)} in range({extent.handle}):"):
            if stored and not self._alone:
                self._barrier()  # orders one iteration after another
            self._advance(carried, self._block(operation.regions[0].block))
        if not self._alone:
            self._stored |= before[0] | stored
            self._loaded |= before[1] | loaded
        self._finish(operation, carried)

    def _shared_loop(self, operation: Operation, combining: tuple[OpSpec, ...]) -> None:
        """A loop whose iterations the threads of a block take turns at; then carried values are combined."""
        extent, *starts = (self._values[v] for v in operation.operands)
        self._order(*_uses(operation))
        neutral = [
            self.scalars.constant(start.dtype, identity(_IDENTITIES[spec], start.dtype))  # type: ignore[arg-type]
            for spec, start in zip(combining, starts, strict=True)
        ]
        carried = self._carried(operation, neutral)
        self._alone = True
        with self._nested(f"for {self._open(operation)} in range(thread, {extent.handle}, {self.threads}):"):
            self._advance(carried, self._block(operation.regions[0].block))
        self._alone = False
        totals = [self._tree(part, spec) for part, spec in zip(carried, combining, strict=True)]
        for result, total, start, zero, spec in zip(operation.results, totals, starts, neutral, combining, strict=True):
            self._values[result] = total if start.handle == zero.handle else SCALARS[spec](start, total)

    def _tree(self, part: Scalar, spec: OpSpec) -> Scalar:
        """The combination of every thread's `part`, in an order that is always the same."""
        if part.dtype not in self._trees:
            tree = self._trees[part.dtype] = f"tree_{part.dtype.name}"
            self.write(f"{tree} = cuda.shared.array({self.threads}, {memory_name(part.dtype)})")
            self.shared_bytes += self.threads * part.dtype.itemsize
        tree = self._trees[part.dtype]
        self.write(f"{tree}[thread] = {self.scalars.stored(part)}")
        self._barrier()
        step = self._new("step")
        self.write(f"{step} = {self.threads // 2}")
        with self._nested(f"while {step} > 0:"):
            with self._nested(f"if thread < {step}:"):
                x, y = (self.scalars.loaded(f"{tree}[{i}]", part.dtype) for i in ("thread", f"thread + {step}"))
                self.write(f"{tree}[thread] = {self.scalars.stored(SCALARS[spec](x, y))}")
            self._barrier()
            self.write(f"{step} = {step} // 2")
        total = self.scalars.loaded(f"{tree}[0]", part.dtype)
        self._barrier()  # before the memory is used again
        return total

    def _open(self, operation: Operation) -> str:
        index = self._new("i")
        self._set_index(operation.regions[0].block.arguments[0], index)
        return index

    def _carried(self, operation: Operation, starts: list[Scalar]) -> list[Scalar]:
        """Variables for the carried values, which hold `starts`."""
        carried = []
        for argument, start in zip(operation.regions[0].block.arguments[1:], starts, strict=True):
            variable = self.scalars.wrap(self._new("c"), start.dtype)
            self.write(f"{variable.handle} = {start.handle}")
            self._values[argument] = variable
            carried.append(variable)
        return carried

    def _advance(self, carried: list[Scalar], following: list[Scalar]) -> None:
        names = {variable.handle for variable in carried}
        if len(carried) > 1:  # the next value of one may be the present one of another
            following = [self.scalars.assign(v.handle, v.dtype) if v.handle in names else v for v in following]
        for variable, value in zip(carried, following, strict=True):
            if variable.handle != value.handle:
                self.write(f"{variable.handle} = {value.handle}")

    def _finish(self, operation: Operation, carried: list[Scalar]) -> None:
        self._values.update(zip(operation.results, carried, strict=True))

    def _if(self, operation: Operation) -> None:
        condition, *otherwise = (self._values[v] for v in operation.operands)
        results = []
        for other in otherwise:
            results.append(self.scalars.wrap(self._new("r"), other.dtype))
            self.write(f"{results[-1].handle} = {other.handle}")
        before = set(self._stored), set(self._loaded)
        with self._nested(f"if {condition.handle}:"):
            for result, value in zip(results, self._block(operation.regions[0].block), strict=True):
                self.write(f"{result.handle} = {value.handle}")
        self._stored |= before[0]
        self._loaded |= before[1]
        self._finish(operation, results)


def _uses(operation: Operation) -> tuple[set[Value], set[Value]]:
    """Buffers that an operation's regions load from, and store to."""
    loaded: set[Value] = set()
    stored: set[Value] = set()
    for region in operation.regions:
        for inner in region.block.operations:
            if inner.spec is loops.LOAD:
                loaded.add(inner.operands[0])
            elif inner.spec is loops.STORE:
                stored.add(inner.operands[1])
            more = _uses(inner)
            loaded |= more[0]
            stored |= more[1]
    return loaded, stored


def _refuse_complex(operation: Operation) -> None:
    for value in (*operation.operands, *operation.results):
        if value.type.dtype.kind == "complex":
            raise NotImplementedError(
                f"{operation.spec.name} of {value.type.dtype.name} at {operation.location} has no CUDA form"
            )


_HANDLERS: dict[OpSpec, Callable[[Printer, Operation], None]] = {
    ops.CONSTANT: Printer._constant,
    ops.SIZE: Printer._size,
    ops.CAST: Printer._cast,
    loops.LOAD: Printer._load,
    loops.STORE: Printer._store,
    loops.ALLOC: Printer._alloc,
    loops.CHECK_INDEX: Printer._check_index,
    loops.FOR: Printer._for,
    loops.IF: Printer._if,
}

_NATURAL: dict[OpSpec, str] = {ops.ADD: "+", ops.MUL: "*", ops.FLOOR_DIVIDE: "//", ops.REMAINDER: "%"}
"""Index arithmetic on values that are never negative, and never divided by 0: extents of loops that run."""
