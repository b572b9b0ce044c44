"""A lowered program as one LLVM module: `jc_run` calls its kernels in order, checks guards and errors, and commits
updates; `jc_prepare` packs the weights that never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from jitcore_ir import Operation
from jitcore_ir.dtypes import DType, bool_, float32, float64
from jitcore_ir.shapes import Expr, mul
from jitcore_runtime.call_out import CALL_OUT_ERROR, FAILED
from jitcore_runtime.timers import OUTSIDE

from ..loops.module import KernelCall, LoopModule
from ..loops.ops import call_out
from ..loops.steps import Branch, Loop, Place, Run, Step
from ..memory_plan import MemoryPlan, bytes_of
from .bodies import Contraction, contraction, emit_contraction, emit_loops, plain_result, prepared_contraction
from .custom import NATIVE, emit_native_call
from .dims import emit_dim, load_symbols
from .printer import ZERO_DIVISION, element_pointer
from .scalars import I8, I64, PTR, declare, memory_type
from .target import target_named
from .timing import begin_call, charge

SERIAL_WORK = 60_000
"""Calls of less work than this (in scalar operations) do not go to the thread pool."""
CHUNK_WORK = 30_000
"""Work in one chunk of a parallel loop."""

INDEX_ERROR, DIVISION_ERROR = -1, -2

Guard = tuple[int, Any]


def emit_program(
    module: LoopModule, memory: MemoryPlan, guards: Sequence[Guard], target: str, timers: bool = False
) -> ir.Module:
    """The LLVM module of the whole program; `timers`: it measures its kernels (`jitcore_runtime.timers`)."""
    text = ir.Module(module.name)
    text.triple = target_named(target).triple
    _Program(text, module, memory, target, timers).emit(guards)
    return text


@dataclass(slots=True)
class _Program:
    text: ir.Module
    module: LoopModule
    memory: MemoryPlan
    target: str
    timers: bool
    bodies: dict[Any, ir.Function] = field(default_factory=dict)
    contractions: dict[int, Contraction | None] = field(default_factory=dict)
    called: int = 0

    def emit(self, guards: Sequence[Guard]) -> None:
        run = ir.Function(self.text, ir.FunctionType(I64, [PTR]), "jc_run")
        b = ir.IRBuilder(run.append_basic_block("entry"))
        frame = _Frame(b, run.args[0], self.module.symbols)
        b.store(I64(-1), frame.error)
        if self.timers:
            frame.begin_call()
        self._steps(frame, self.module.steps)
        outputs = {buffer.index: n for n, buffer in enumerate(self.module.buffers) if buffer.kind.name == "OUTPUT"}
        for position, (output, expected) in enumerate(guards):
            buffer = self.module.buffers[outputs[output]]
            value = b.load(frame.buffer(outputs[output]), typ=memory_type(buffer.dtype))
            with b.if_then(b.not_(_equals(b, value, buffer.dtype, expected)), likely=False):
                frame.charge(OUTSIDE)
                b.ret(I64(position + 1))
        self._return_errors(frame)
        for buffer_number, input_number in self.memory.commits:
            size = emit_dim(b, bytes_of(self.module.buffers[buffer_number]), frame.symbols)
            self._copy(b, frame.buffer(input_number), frame.buffer(buffer_number), size)
        frame.charge(OUTSIDE)
        b.ret(I64(0))
        if any(buffer.preparation is not None for buffer in self.module.buffers):
            self._prepare()

    def _steps(self, frame: _Frame, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Run):
                self._call(frame, step.kernel, self.module.kernels[step.kernel])
                frame.charge(step.kernel + 1)
            elif isinstance(step, Branch):
                predicate = frame.b.load(self._address(frame, step.predicate), typ=memory_type(bool_))
                with frame.b.if_else(frame.b.icmp_unsigned("!=", predicate, I8(0))) as (then, otherwise):
                    with then:
                        self._steps(frame, step.then)
                    with otherwise:
                        self._steps(frame, step.otherwise)
            else:
                self._loop(frame, step)

    def _address(self, frame: _Frame, place: Place) -> ir.Value:
        buffer, offset = place
        base = frame.buffer(buffer)
        if offset == 0:
            return base
        size = self.module.buffers[buffer].dtype.itemsize
        return frame.b.gep(base, [emit_dim(frame.b, mul(offset, size), frame.symbols)], source_etype=I8)

    def _loop(self, frame: _Frame, loop: Loop) -> None:
        """Carried buffers change places in the pointer table, which is as it was when the loop is over."""
        b = frame.b
        own = [(frame.buffer(c.current), frame.buffer(c.following)) for c in loop.carries]
        for carry, (first, _) in zip(loop.carries, own, strict=True):
            frame.set_buffer(carry.current, self._address(frame, carry.initial))
            frame.set_buffer(carry.following, first)
        before = b.block
        head, body, after = (b.append_basic_block(name) for name in ("turn", "body", "over"))
        count = emit_dim(b, loop.length, frame.symbols)
        b.branch(head)
        b.position_at_end(head)
        turn = b.phi(I64)
        turn.add_incoming(I64(0), before)
        if loop.test is None:
            go_on = b.icmp_signed("<", turn, count)
            last = b.sub(b.sub(count, I64(1)), turn)
            frame.symbols[loop.index] = last if loop.reverse else turn
        else:
            self._steps(frame, loop.condition)
            test = b.load(frame.buffer(loop.test), typ=memory_type(bool_))
            go_on = b.icmp_unsigned("!=", test, I8(0))
        b.cbranch(b.and_(go_on, b.icmp_signed("==", b.load(frame.error, typ=I64), I64(-1))), body, after)
        b.position_at_end(body)
        self._steps(frame, loop.body)
        for carry, (first, second) in zip(loop.carries, own, strict=True):
            written = frame.buffer(carry.following)
            frame.set_buffer(carry.current, written)
            frame.set_buffer(carry.following, b.select(b.icmp_unsigned("==", written, first), second, first))
        turn.add_incoming(b.add(turn, I64(1)), b.block)
        b.branch(head)
        b.position_at_end(after)
        for carry, (first, second) in zip(loop.carries, own, strict=True):
            size = emit_dim(b, bytes_of(self.module.buffers[carry.current]), frame.symbols)
            self._copy(b, self._address(frame, carry.result), frame.buffer(carry.current), size)
            frame.set_buffer(carry.current, first)
            frame.set_buffer(carry.following, second)
        frame.symbols.pop(loop.index, None)
        frame.charge(OUTSIDE)

    def _copy(self, b: ir.IRBuilder, target: ir.Value, source: ir.Value, size: ir.Value) -> None:
        b.call(declare(self.text, "memcpy", PTR, [PTR, PTR, I64]), [target, source, size])

    def _return_errors(self, frame: _Frame) -> None:
        b = frame.b
        code = b.load(frame.error, typ=I64)
        with b.if_then(b.icmp_signed("!=", code, I64(-1)), likely=False):
            zero = b.icmp_signed("==", code, I64(ZERO_DIVISION))
            status = b.select(zero, I64(DIVISION_ERROR), I64(INDEX_ERROR))
            if self.called:
                status = b.select(b.icmp_signed("==", code, I64(FAILED)), I64(CALL_OUT_ERROR), status)
            b.ret(status)

    def _call(self, frame: _Frame, number: int, call: KernelCall) -> None:
        b = frame.b
        called = call_out(call.kernel)
        if called is not None:
            self._call_out(frame, call, called)
            self.called += 1
            return
        pointers = []
        for argument, offset, seen in zip(call.arguments, call.offsets, call.kernel.inputs, strict=True):
            base, dtype = frame.buffer(argument), seen.type.dtype
            pointers.append(
                base if offset == 0 else element_pointer(b, base, emit_dim(b, offset, frame.symbols), dtype)
            )
        found = self._contraction(call)
        if found is not None:
            self._call_contraction(frame, number, call, found, pointers)
            return
        context = frame.context([*pointers, frame.dims, frame.error])
        shared = self._shared(call)
        key = (id(call.kernel), tuple(sorted(shared.items())))
        if key not in self.bodies:
            self.bodies[key] = emit_loops(
                self.text, f"kernel{len(self.bodies)}", call.kernel, shared, self.module.symbols, self.target
            )
        body = self.bodies[key]
        extent = emit_dim(b, call.parallel, frame.symbols)
        if isinstance(call.work, int) and (call.work < SERIAL_WORK or call.parallel == 1):
            b.call(body, [context, I64(0), extent])
            return
        share = declare(self.text, "jc_parallel_for", ir.VoidType(), [PTR, PTR, I64, I64])
        b.call(share, [body, context, extent, _grain(b, call.work, call.parallel, extent, frame.symbols)])

    def _call_out(self, frame: _Frame, call: KernelCall, called: Operation) -> None:
        """Through the runtime, or straight to the native function of a custom operation that has one."""
        b = frame.b
        number = I64(self.called)
        runtime = declare(self.text, "jc_call_out", ir.VoidType(), [PTR, I64])
        if self.called not in self.memory.functions:
            b.call(runtime, [frame.call, number])
            return
        function = b.load(frame.buffer(self.memory.functions[self.called]), typ=NATIVE)
        buffers = [call.arguments[call.kernel.inputs.index(v)] for v in called.operands]
        operation = self.module.call_outs[called.attributes["operation"]]
        with b.if_else(b.icmp_unsigned("!=", function, NATIVE(None))) as (native, python):
            with native:
                emit_native_call(frame, function, operation, [frame.buffer(n) for n in buffers], number)
            with python:
                b.call(runtime, [frame.call, number])

    def _contraction(self, call: KernelCall) -> Contraction | None:
        key = id(call.kernel)
        if key not in self.contractions:
            self.contractions[key] = contraction(call.kernel, self.target)
        return self.contractions[key]

    def _call_contraction(
        self, frame: _Frame, number: int, call: KernelCall, found: Contraction, pointers: list[ir.Value]
    ) -> None:
        b = frame.b
        key = id(call.kernel)
        if key not in self.bodies:
            name = f"kernel{len(self.bodies)}"
            self.bodies[key] = emit_contraction(self.text, name, call.kernel, found, self.module.symbols, self.target)
        result = plain_result(call.kernel, found)
        fields = [pointers[result]] if result is not None else [*pointers, frame.dims, frame.error]
        x, y = (pointers[call.kernel.inputs.index(v)] for v in found.operation.operands)
        workspace = frame.buffer(self.memory.workspace[number]) if number in self.memory.workspace else PTR(None)
        b.call(self.bodies[key], [x, y, frame.context(fields), frame.sizes(found.spec.run_time_dims), workspace])

    def _shared(self, call: KernelCall) -> dict[int, int]:
        """Read position -> written position, where both are the same memory."""
        shared = {}
        for written, read in call.in_place:
            if self.memory.in_place.get(call.arguments[written]) == call.arguments[read]:
                shared[read] = written
        return shared

    def _prepare(self) -> None:
        prepare = ir.Function(self.text, ir.FunctionType(ir.VoidType(), [PTR]), "jc_prepare")
        b = ir.IRBuilder(prepare.append_basic_block("entry"))
        frame = _Frame(b, prepare.args[0], self.module.symbols)
        for number, buffer in enumerate(self.module.buffers):
            if buffer.preparation is not None:
                found = prepared_contraction(number, self.module.kernels, self.target)
                pack = found.emit_packing(self.text, f"pack{number}")
                pack.linkage = "internal"
                source = frame.buffer(buffer.preparation.source)
                b.call(pack, [source, frame.buffer(number), frame.sizes(found.spec.run_time_dims)])
        b.ret_void()


class _Frame:
    """What a call gives: its pointer table, the symbols' values and the error fields; and stack memory for contexts."""

    def __init__(self, b: ir.IRBuilder, call: ir.Value, symbols: tuple[str, ...]) -> None:
        self.b = b
        self.call = call
        self._table = b.load(call, typ=PTR)
        self.dims = b.load(b.gep(call, [I64(1)], source_etype=PTR), typ=PTR)
        self.error = b.gep(call, [I64(2)], source_etype=I64)
        self._timed: ir.Value | None = None
        self.symbols: dict[str, ir.Value] = dict(load_symbols(b, self.dims, symbols))

    def begin_call(self) -> None:
        """Have the call's timers count it, and measure if it is its turn."""
        timers = self.b.load(self.b.gep(self.call, [I64(6)], source_etype=I64), typ=PTR)
        self._timed = begin_call(self.b, timers)

    def charge(self, pair: int) -> None:
        """Say that the time since the last `charge` belongs to that pair of the timers."""
        if self._timed is not None:
            charge(self.b, self._timed, pair)

    def buffer(self, number: int) -> ir.Value:
        return self.b.load(self.b.gep(self._table, [I64(number)], source_etype=PTR), typ=PTR)

    def set_buffer(self, number: int, pointer: ir.Value) -> None:
        self.b.store(pointer, self.b.gep(self._table, [I64(number)], source_etype=PTR))

    def context(self, pointers: Sequence[ir.Value]) -> ir.Value:
        return self.stored(PTR, pointers)

    def sizes(self, dims: Sequence[int | Expr]) -> ir.Value:
        if not dims:
            return PTR(None)
        return self.stored(I64, [emit_dim(self.b, dim, self.symbols) for dim in dims])

    def stored(self, kind: ir.Type, values: Sequence[ir.Value]) -> ir.Value:
        """An array of values on the stack."""
        memory = self._stack(kind, len(values))
        for i, value in enumerate(values):
            self.b.store(value, self.b.gep(memory, [I64(i)], source_etype=kind))
        return memory

    def _stack(self, kind: ir.Type, count: int) -> ir.Value:
        with self.b.goto_entry_block():
            return self.b.alloca(kind, size=I64(count))


def _grain(b: ir.IRBuilder, work: int | Expr, parallel: int | Expr, extent: ir.Value, symbols: Mapping) -> ir.Value:
    """Iterations per chunk: CHUNK_WORK of work each."""
    if isinstance(work, int) and isinstance(parallel, int):
        return I64(max(1, CHUNK_WORK * parallel // max(work, 1)))
    total = emit_dim(b, work, symbols)
    total = b.select(b.icmp_signed(">", total, I64(0)), total, I64(1))
    grain = b.sdiv(b.mul(extent, I64(CHUNK_WORK)), total)
    return b.select(b.icmp_signed(">", grain, I64(0)), grain, I64(1))


def _equals(b: ir.IRBuilder, value: ir.Value, dtype: DType, expected: Any) -> ir.Value:
    kind = memory_type(dtype)
    if dtype in (float32, float64):
        return b.fcmp_ordered("==", value, ir.Constant(kind, float(expected)))
    if dtype is bool_:
        return b.icmp_unsigned("!=" if expected else "==", value, ir.Constant(kind, 0))
    return b.icmp_signed("==", value, ir.Constant(kind, int(expected)))
