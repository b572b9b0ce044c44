"""Where every buffer of a lowered program lives: the arena's slots, and which updates happen in place.

Liveness is counted in kernel calls and the starts and ends of loops; what a loop reads from before it, or leaves to
what comes after it, is alive during the whole loop. A temporary takes a slot that is free over its whole life; slots of
known size grow to the largest temporary they hold, slots of symbolic size are shared by temporaries of equal size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jitcore_ir import Operation, ops
from jitcore_ir.custom_call import read_arguments
from jitcore_ir.dtypes import int64, uint8
from jitcore_ir.shapes import Expr, add, floordiv, mul, product
from jitcore_runtime.custom import is_numeric
from jitcore_runtime.plan import ALIGNMENT, Buffer, BufferKind, CallOut, Plan

from .loops.module import LoopBuffer, LoopModule
from .loops.ops import CALL_OUT, CHECK_INDEX, call_out
from .loops.steps import Branch, Run, Step

Dim = int | Expr


@dataclass(slots=True)
class MemoryPlan:
    """`plan` for the runtime. The pointer table starts with the module's buffers, in order; `workspace[k]` is the table
    position of the workspace of kernel call k, `functions[n]` that of the native function of call-out n, which has one.
    `commits` are pairs (buffer, input buffer) to copy at the end."""

    plan: Plan
    workspace: dict[int, int]
    commits: list[tuple[int, int]]
    in_place: dict[int, int]  # output buffer -> input buffer whose memory it is
    functions: dict[int, int]


@dataclass(slots=True)
class _Slots:
    """Arena slots while they are handed out. `busy[s]` is the last call that uses slot s."""

    sizes: list[Dim] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)

    def take(self, size: Dim, first: int, last: int) -> int:
        free = [s for s in range(len(self.sizes)) if self.busy[s] < first]
        best = self._fit(size, free)
        if best is None:
            self.sizes.append(size)
            self.busy.append(last)
            return len(self.sizes) - 1
        if isinstance(size, int):
            self.sizes[best] = max(self.sizes[best], size)  # type: ignore[type-var]
        self.busy[best] = last
        return best

    def _fit(self, size: Dim, free: Sequence[int]) -> int | None:
        if not isinstance(size, int):
            return next((s for s in free if self.sizes[s] == size), None)
        static = [s for s in free if isinstance(self.sizes[s], int)]
        large = [s for s in static if self.sizes[s] >= size]  # type: ignore[operator]
        if large:
            return min(large, key=lambda s: self.sizes[s])  # type: ignore[return-value, arg-type]
        return max(static, key=lambda s: self.sizes[s], default=None)  # type: ignore[return-value, arg-type]


def plan_memory(
    module: LoopModule,
    updates: Sequence[tuple[int, int]],
    guards: Sequence[int],
    workspaces: Mapping[int, Dim],
    prepared: Mapping[int, Dim],
) -> MemoryPlan:
    """Plan `module`. `updates` are pairs (graph output, graph input), `guards` graph outputs; `workspaces` gives bytes
    by kernel call, `prepared` bytes by prepared buffer."""
    timeline = _Timeline(module)
    lives = timeline.lives
    outputs = {b.index: n for n, b in enumerate(module.buffers) if b.kind is BufferKind.OUTPUT}
    in_place: dict[int, int] = {}
    commits: list[tuple[int, int]] = []
    end = timeline.now
    for output, input in updates:
        buffer = outputs[output]
        if not guards and not _can_fail(module) and _may_share(module, buffer, input):
            in_place[buffer] = input
        else:
            commits.append((buffer, input))
            lives[buffer] = (lives.get(buffer, (0, 0))[0], end)
    slots = _Slots()
    committed = {buffer for buffer, _ in commits}
    wanted = [
        (*lives.get(n, (0, end)), n, bytes_of(b))
        for n, b in enumerate(module.buffers)
        if b.kind is BufferKind.TEMPORARY or n in committed
    ]
    wanted += [(timeline.at[k], timeline.at[k], -1 - k, size) for k, size in workspaces.items()]
    places: dict[int, int] = {}
    for first, last, number, size in sorted(wanted, key=lambda w: (w[0], w[1], w[2])):
        places[number] = slots.take(_aligned(size), first, last)
    table = [_entry(n, b, in_place, places, prepared) for n, b in enumerate(module.buffers)]
    workspace = {}
    for call, size in workspaces.items():
        workspace[call] = len(table)
        table.append(Buffer(BufferKind.TEMPORARY, uint8, (size,), places[-1 - call]))
    prepared_from = [module.buffers[b.preparation.source] for b in module.buffers if b.preparation is not None]
    sources = {b.index for b in prepared_from if b.kind is BufferKind.INPUT}
    aliases = tuple((module.buffers[b].index, i) for b, i in in_place.items())
    call_outs = tuple(_call_outs(module))
    functions = {}
    for number, called in enumerate(call_outs):
        if _may_be_native(module.call_outs[called.operation]):
            functions[number] = len(table)
            table.append(Buffer(BufferKind.FUNCTION, int64, (), number))
    plan = Plan(tuple(table), module.symbols, tuple(slots.sizes), aliases, tuple(sorted(sources)), call_outs)
    return MemoryPlan(plan, workspace, commits, in_place, functions)


def _call_outs(module: LoopModule) -> Iterator[CallOut]:
    """In the order in which the kernels run."""
    for call in module.kernels:
        operation = call_out(call.kernel)
        if operation is not None:
            *operands, result = (call.arguments[call.kernel.inputs.index(v)] for v in operation.operands)
            yield CallOut(operation.attributes["operation"], tuple(operands), result)


def _may_be_native(operation: Operation) -> bool:
    """Whether a native function can be called where the operation stands: a custom one whose arguments are numbers and
    whose results, having one dtype, are one buffer."""
    if operation.spec is not ops.CUSTOM_CALL:
        return False
    given = operation.attributes
    return is_numeric(read_arguments(given["arguments"])) and len(set(given["dtypes"].split(","))) == 1


def bytes_of(buffer: LoopBuffer) -> Dim:
    return mul(product(buffer.shape), buffer.dtype.itemsize)


def _aligned(size: Dim) -> Dim:
    return mul(floordiv(add(size, ALIGNMENT - 1), ALIGNMENT), ALIGNMENT)


def _entry(number: int, buffer: LoopBuffer, in_place: Mapping, places: Mapping, prepared: Mapping) -> Buffer:
    if number in in_place:
        return Buffer(BufferKind.INPUT, buffer.dtype, buffer.shape, in_place[number])
    if number in places:
        return Buffer(BufferKind.TEMPORARY, buffer.dtype, buffer.shape, places[number])
    if buffer.kind is BufferKind.PREPARED:
        return Buffer(BufferKind.PREPARED, uint8, (prepared[number],))
    return Buffer(buffer.kind, buffer.dtype, buffer.shape, buffer.index, buffer.data)


class _Timeline:
    """When each kernel call runs (`at`), and the first and last time that each buffer is needed (`lives`)."""

    def __init__(self, module: LoopModule) -> None:
        self.module = module
        self.at: dict[int, int] = {}
        self.lives: dict[int, tuple[int, int]] = {}
        self.now = 0
        self.loops: list[tuple[int, int]] = []
        self.walk(module.steps)
        self.stretch()

    def touch(self, *buffers: int) -> None:
        self.now += 1
        for number in buffers:
            self.lives[number] = (self.lives.get(number, (self.now, self.now))[0], self.now)

    def walk(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Run):
                self.touch(*self.module.kernels[step.kernel].arguments)
                self.at[step.kernel] = self.now
            elif isinstance(step, Branch):
                self.touch(step.predicate[0])
                self.walk(step.then)
                self.walk(step.otherwise)
            else:
                carried = [number for c in step.carries for number in (c.current, c.following)]
                self.touch(*carried, *(c.initial[0] for c in step.carries))
                start = self.now
                self.walk(step.condition)
                self.touch(*(() if step.test is None else (step.test,)))
                self.walk(step.body)
                self.touch(*carried, *(c.result[0] for c in step.carries))
                self.loops.append((start, self.now))

    def stretch(self) -> None:
        """What comes into a loop, or leaves it, is there all the while. Inner loops come before outer ones."""
        for start, end in self.loops:
            for number, (first, last) in self.lives.items():
                leaves = last > end or self.module.buffers[number].kind is BufferKind.OUTPUT
                if first < start <= last:
                    self.lives[number] = (first, max(last, end))
                elif start <= first <= end and leaves:
                    self.lives[number] = (start, last)


def _can_fail(module: LoopModule) -> bool:
    """Whether a kernel may find a bad index or divisor: then nothing may be written before all have run."""
    kernels = {id(call.kernel): call.kernel for call in module.kernels}.values()
    return any(
        operation.spec in (CHECK_INDEX, CALL_OUT)
        or (operation.spec.name in _DIVISIONS and operation.result.type.dtype.is_integer)
        for kernel in kernels
        for operation in kernel.walk()
        if operation.results or operation.spec is CALL_OUT
        if not _is_index_arithmetic(operation)
    )


_DIVISIONS = ("floor_divide", "remainder", "fmod")


def _is_index_arithmetic(operation: object) -> bool:
    """Divisions by constants and sizes take positions apart; they cannot fail."""
    operands = operation.operands  # type: ignore[attr-defined]
    if operation.spec.name not in _DIVISIONS:  # type: ignore[attr-defined]
        return False
    source = operands[1].operation
    if source is None:
        return False
    return source.spec.name == "size" or (source.spec.name == "constant" and bool(source.attributes["value"].all()))


def _may_share(module: LoopModule, output: int, input: int) -> bool:
    """Whether the output may be written straight into the input's memory: one call writes it, no later call reads the
    input, and the call itself reads each element of the input before it stores to that place."""
    writers = [k for k, call in enumerate(module.kernels) if output in (call.arguments[w] for w in call.writes)]
    readers = [k for k, call in enumerate(module.kernels) if input in call.arguments]
    reread = [k for k, call in enumerate(module.kernels) if output in (call.arguments[r] for r in call.reads)]
    if len(writers) != 1 or reread or any(k > writers[0] for k in readers):
        return False
    if any(b.preparation is not None and b.preparation.source == input for b in module.buffers):
        return False
    straight = {step.kernel for step in module.steps if isinstance(step, Run)}
    if not straight.issuperset((*writers, *readers)):
        return False  # in a branch, which may not run, or in a loop, which comes back
    call = module.kernels[writers[0]]
    (position,) = (w for w in call.writes if call.arguments[w] == output)
    if call.offsets[position] != 0:
        return False
    for read, number in enumerate(call.arguments):
        if number == input and ((position, read) not in call.in_place or call.offsets[read] != 0):
            return False
    return True
