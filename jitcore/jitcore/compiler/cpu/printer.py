"""Loop IR to LLVM: the body of one kernel.

The code is scalar; LLVM vectorizes it. What that needs is here: buffers that are `noalias`, reductions whose combining
operation may be regrouped, math without calls (`SCALARS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llvmlite import ir

from jitcore_ir import Block, BufferType, Operation, Value, ops
from jitcore_ir.dtypes import DType, bool_, int64
from jitcore_ir.shapes import product

from ..loops import ops as loops
from ..scalar import SCALARS, Scalar
from .dims import emit_dim
from .scalars import I8, I64, PTR, LLVMScalars, declare, memory_type

STACK_BYTES = 64 * 1024
"""Scratch up to this size lies on the stack of the thread; more is allocated."""

ZERO_DIVISION = -2
"""What error[0] holds after an integer division by zero; else the number of the operation with a bad index."""


@dataclass(slots=True)
class Range:
    """The part of the parallel loop that a call runs: begin <= index < end."""

    begin: ir.Value
    end: ir.Value


@dataclass(slots=True)
class Printer:
    """Prints operations at `b`. `values` maps loop IR values to Scalars, buffers to pointers.

    `error` is the i64[4] of the call; `allocated` collects memory to free at the end of the function.
    """

    b: ir.IRBuilder
    half: bool
    symbols: Mapping[str, ir.Value]
    error: ir.Value
    values: dict[Value, Scalar | ir.Value] = field(default_factory=dict)
    part: Range | None = None
    allocated: list[ir.Value] = field(default_factory=list)
    scalars: LLVMScalars = field(init=False)
    _natural: set[Value] = field(default_factory=set)  # i64 values that are never negative
    _carried: set[Value] = field(default_factory=set)  # accumulators of the reduce loop being printed

    def __post_init__(self) -> None:
        self.scalars = LLVMScalars(self.b, self.half, self._report_zero_division)

    def block(self, block: Block) -> list[Scalar]:
        """Print a block; gives what its terminator yields."""
        for operation in block.operations[:-1]:
            self.operation(operation)
        return [self.scalar(v) for v in block.terminator.operands]

    def operation(self, operation: Operation) -> None:
        """Print one operation."""
        handler = _HANDLERS.get(operation.spec)
        if handler is not None:
            handler(self, operation)
        else:
            self._elementwise(operation)

    def scalar(self, value: Value) -> Scalar:
        found = self.values[value]
        assert isinstance(found, Scalar)
        return found

    def pointer(self, buffer: Value, indices: list[Value]) -> ir.Value:
        """The address of one element."""
        assert isinstance(buffer.type, BufferType)
        linear: ir.Value = I64(0)
        for position, (dim, index) in enumerate(zip(buffer.type.shape, indices, strict=True)):
            if position:
                linear = self.b.mul(linear, emit_dim(self.b, dim, self.symbols), flags=("nsw",))
                linear = self.b.add(linear, self.scalar(index).handle, flags=("nsw",))
            else:
                linear = self.scalar(index).handle
        base = self.values[buffer]
        return self.b.gep(base, [linear], inbounds=True, source_etype=memory_type(buffer.type.dtype))

    def set_index(self, value: Value, handle: ir.Value) -> None:
        """Bind an i64 value that is a position, so never negative."""
        self.values[value] = self.scalars.wrap(handle, int64)
        self._natural.add(value)

    # Scalars

    def _constant(self, operation: Operation) -> None:
        array = operation.attributes["value"]
        dtype = operation.result.type.dtype
        self.values[operation.result] = self.scalars.constant(dtype, array.item())
        if dtype is int64 and array.item() >= 0:
            self._natural.add(operation.result)

    def _size(self, operation: Operation) -> None:
        self.set_index(operation.result, emit_dim(self.b, operation.attributes["dim"], self.symbols))

    def _cast(self, operation: Operation) -> None:
        self.values[operation.result] = self.scalar(operation.operands[0]).to(operation.attributes["dtype"])

    def _elementwise(self, operation: Operation) -> None:
        result = operation.result
        natural = all(v in self._natural for v in operation.operands) and not self._divides_by_zero(operation)
        if result.type.dtype is int64 and natural and operation.spec in _NATURAL:
            handles = [self.scalar(v).handle for v in operation.operands]
            self.set_index(result, _NATURAL[operation.spec](self.b, *handles))
            return
        regroups = operation.spec in _REGROUPED and any(v in self._carried for v in operation.operands)
        self.scalars.flags = ("reassoc", "nsz", "contract") if regroups else ()
        self.values[result] = SCALARS[operation.spec](*(self.scalar(v) for v in operation.operands))
        self.scalars.flags = ()

    def _divides_by_zero(self, operation: Operation) -> bool:
        """Whether the divisor is the literal 0, which is the user's and has to end in an error."""
        if operation.spec not in (ops.FLOOR_DIVIDE, ops.REMAINDER):
            return False
        divisor = self.scalar(operation.operands[1]).handle
        return isinstance(divisor, ir.Constant) and divisor.constant == 0

    # Memory

    def _load(self, operation: Operation) -> None:
        buffer, *indices = operation.operands
        dtype = buffer.type.dtype
        handle = self.b.load(self.pointer(buffer, indices), typ=memory_type(dtype))
        if dtype is bool_:
            handle = self.b.icmp_unsigned("!=", handle, I8(0))
        self.values[operation.result] = self.scalars.wrap(handle, dtype)

    def _store(self, operation: Operation) -> None:
        value, buffer, *indices = operation.operands
        handle = self.scalar(value).handle
        if buffer.type.dtype is bool_:
            handle = self.b.zext(handle, I8)
        self.b.store(handle, self.pointer(buffer, indices))

    def _alloc(self, operation: Operation) -> None:
        """Scratch for the whole call: iterations of the parallel loop use it one after another."""
        dtype, shape = operation.attributes["dtype"], operation.attributes["shape"]
        size = product(shape)
        kind = memory_type(dtype)
        with self.b.goto_entry_block():
            if isinstance(size, int) and size * dtype.itemsize <= STACK_BYTES:
                memory = self.b.alloca(kind, size=I64(max(size, 1)))
                memory.align = 64
            else:
                allocate = declare(self.b.module, "malloc", PTR, [I64])
                count = emit_dim(self.b, size, self.symbols)
                memory = self.b.call(allocate, [self.b.add(self.b.mul(count, I64(dtype.itemsize)), I64(64))])
                self.allocated.append(memory)
        self.values[operation.result] = memory

    def free_scratch(self) -> None:
        """At the end of the function: give back what did not fit on the stack."""
        release = declare(self.b.module, "free", ir.VoidType(), [PTR]) if self.allocated else None
        for memory in self.allocated:
            self.b.call(release, [memory])

    # Errors

    def _check_index(self, operation: Operation) -> None:
        index, size = (self.scalar(v).handle for v in operation.operands)
        inside = self.b.icmp_unsigned("<", index, size)
        with self.b.if_then(self.b.not_(inside), likely=False):
            fields = (operation.attributes["operation"], index, size, operation.attributes["axis"])
            for number, content in enumerate(fields):
                handle = I64(content) if isinstance(content, int) else content
                self.b.store(handle, self.b.gep(self.error, [I64(number)], source_etype=I64))
        self.set_index(operation.result, self.b.select(inside, index, I64(0)))

    def _report_zero_division(self, is_zero: ir.Value) -> None:
        with self.b.if_then(is_zero, likely=False):
            self.b.store(I64(ZERO_DIVISION), self.error)

    # Control

    def _for(self, operation: Operation) -> None:
        extent, *starts = operation.operands
        block = operation.regions[0].block
        part = self.part if operation.attributes["kind"] == "parallel" else None
        begin = part.begin if part else I64(0)
        end = part.end if part else self.scalar(extent).handle
        initial = [self.scalar(v) for v in starts]
        before = self.b.block
        body, after = self.b.append_basic_block("loop"), self.b.append_basic_block("after")
        self.b.cbranch(self.b.icmp_signed("<", begin, end), body, after)
        self.b.position_at_end(body)
        index = self.b.phi(I64)
        index.add_incoming(begin, before)
        self.set_index(block.arguments[0], index)
        phis = []
        for argument, start in zip(block.arguments[1:], initial, strict=True):
            phi = self.b.phi(start.handle.type)
            phi.add_incoming(start.handle, before)
            self.values[argument] = self.scalars.wrap(phi, start.dtype)
            phis.append(phi)
        outer = self._carried
        if operation.attributes["kind"] == "reduce":
            self._carried = set(block.arguments[1:])
        following = self.block(block)
        self._carried = outer
        last = self.b.block
        advanced = self.b.add(index, I64(1), flags=("nsw", "nuw"))
        self.b.cbranch(self.b.icmp_signed("<", advanced, end), body, after)
        index.add_incoming(advanced, last)
        self.b.position_at_end(after)
        for phi, start, value, result in zip(phis, initial, following, operation.results, strict=True):
            phi.add_incoming(value.handle, last)
            merged = self.b.phi(phi.type)
            merged.add_incoming(start.handle, before)
            merged.add_incoming(value.handle, last)
            self.values[result] = self.scalars.wrap(merged, start.dtype)

    def _if(self, operation: Operation) -> None:
        condition, *otherwise = (self.scalar(v) for v in operation.operands)
        before = self.b.block
        inside, after = self.b.append_basic_block("then"), self.b.append_basic_block("after")
        self.b.cbranch(condition.handle, inside, after)
        self.b.position_at_end(inside)
        given = self.block(operation.regions[0].block)
        last = self.b.block
        self.b.branch(after)
        self.b.position_at_end(after)
        for value, other, result in zip(given, otherwise, operation.results, strict=True):
            merged = self.b.phi(value.handle.type)
            merged.add_incoming(value.handle, last)
            merged.add_incoming(other.handle, before)
            self.values[result] = self.scalars.wrap(merged, value.dtype)


_HANDLERS: dict = {
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

_REGROUPED = frozenset((ops.ADD, ops.MUL, ops.MAXIMUM, ops.MINIMUM))

_NATURAL: dict[object, Callable[..., ir.Value]] = {
    ops.ADD: lambda b, x, y: b.add(x, y, flags=("nsw", "nuw")),
    ops.MUL: lambda b, x, y: b.mul(x, y, flags=("nsw", "nuw")),
    ops.FLOOR_DIVIDE: lambda b, x, y: b.udiv(x, _not_zero(b, y)),
    ops.REMAINDER: lambda b, x, y: b.urem(x, _not_zero(b, y)),
}
"""Index arithmetic on values that are never negative."""


def _not_zero(b: ir.IRBuilder, y: ir.Value) -> ir.Value:
    """An extent as a divisor: where it is 0 no iteration uses the quotient, which may be computed outside the loop."""
    if isinstance(y, ir.Constant):
        return y
    return b.select(b.icmp_unsigned("==", y, I64(0)), I64(1), y)


def element_pointer(b: ir.IRBuilder, base: ir.Value, offset: ir.Value, dtype: DType) -> ir.Value:
    """`base` moved by `offset` elements."""
    return b.gep(base, [offset], inbounds=True, source_etype=memory_type(dtype))
