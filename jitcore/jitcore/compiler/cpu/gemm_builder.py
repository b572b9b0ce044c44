"""`Code`: an IR builder for loop nests whose sizes may or may not be known.

Sizes are `Size = int | ir.Value` (an i64). Arithmetic on two ints is done at once, so that one generator serves static
and run-time shapes, and it can ask `isinstance(size, int)` where the difference matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from llvmlite import ir

Size: TypeAlias = "int | ir.Value"
Truth: TypeAlias = "bool | ir.Value"
I1, I8, I16, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(16), ir.IntType(64)
PTR = ir.PointerType()
VOID = ir.VoidType()


@dataclass(eq=False, slots=True)
class Loop:
    """A loop under construction. Assign `next` for the carried values; after the loop, `carried` are the last ones."""

    index: ir.Value
    carried: list[ir.Value]
    next: list[ir.Value] = field(default_factory=list)


class Code(ir.IRBuilder):
    """An IRBuilder with foldable size arithmetic, counted loops and element addresses."""

    def value(self, size: Size) -> ir.Value:
        return ir.Constant(I64, size) if isinstance(size, int) else size

    # --- arithmetic on sizes ---

    def plus(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self.add(self.value(a), self.value(b), flags=("nsw",))

    def minus(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.sub(self.value(a), self.value(b), flags=("nsw",))

    def times(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1 or b == 1:
            return b if a == 1 else a
        if a == 0 or b == 0:
            return 0
        return self.mul(self.value(a), self.value(b), flags=("nsw",))

    def divide(self, a: Size, b: Size) -> Size:
        """a // b of natural numbers."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        return a if b == 1 else self.udiv(self.value(a), self.value(b))

    def remainder(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a % b
        return 0 if b == 1 else self.urem(self.value(a), self.value(b))

    def ceil_divide(self, a: Size, b: Size) -> Size:
        return self.divide(self.plus(a, self.minus(b, 1)), b)

    def least(self, a: Size, b: Size) -> Size:
        return self.choose(self.less(a, b), a, b)

    def greatest(self, a: Size, b: Size) -> Size:
        return self.choose(self.less(a, b), b, a)

    def less(self, a: Size, b: Size) -> Truth:
        if isinstance(a, int) and isinstance(b, int):
            return a < b
        return self.icmp_signed("<", self.value(a), self.value(b))

    def equal(self, a: Size, b: Size) -> Truth:
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        return self.icmp_signed("==", self.value(a), self.value(b))

    def both(self, a: Truth, b: Truth) -> Truth:
        if isinstance(a, bool):
            return b if a else False
        if isinstance(b, bool):
            return a if b else False
        return self.and_(a, b)

    def either(self, a: Truth, b: Truth) -> Truth:
        return self.negated(self.both(self.negated(a), self.negated(b)))

    def negated(self, a: Truth) -> Truth:
        return not a if isinstance(a, bool) else self.not_(a)

    def choose(self, condition: Truth, a: Size, b: Size) -> Size:
        """a where the condition holds, else b."""
        if isinstance(condition, bool):
            return a if condition else b
        if isinstance(a, int) and isinstance(b, int) and a == b:
            return a
        return self.select(condition, self.value(a), self.value(b))

    # --- control ---

    @contextmanager
    def loop(
        self, start: Size, stop: Size, step: Size = 1, carried: Sequence[ir.Value] = (), name: str = "loop",
        optimize: bool = False,
    ) -> Iterator[Loop]:  # fmt: skip
        """for index in range(start, stop, step). `optimize`: LLVM may vectorize and unroll; otherwise it is told not
        to, which saves it time on loops that are outer ones or made of vectors already."""
        entry = self.block
        head, body, done = (self.append_basic_block(f"{name}.{part}") for part in ("head", "body", "done"))
        self.branch(head)
        self.position_at_end(head)
        index = self.phi(I64)
        index.add_incoming(self.value(start), entry)
        phis = []
        for initial in carried:
            phi = self.phi(initial.type)
            phi.add_incoming(initial, entry)
            phis.append(phi)
        self.cbranch(self.icmp_signed("<", index, self.value(stop)), body, done)
        self.position_at_end(body)
        loop = Loop(index, list(phis))
        yield loop
        index.add_incoming(self.value(self.plus(index, step)), self.block)
        for phi, following in zip(phis, loop.next, strict=True):
            phi.add_incoming(following, self.block)
        back = self.branch(head)
        if not optimize:
            back.set_metadata("llvm.loop", _as_it_is(self.module))
        self.position_at_end(done)

    @contextmanager
    def when(self, condition: Truth) -> Iterator[bool]:
        """Run the body where the condition holds. Yields False where it is known not to: emit nothing then."""
        if isinstance(condition, bool):
            yield condition
            return
        with self.if_then(condition):
            yield True

    # --- memory ---

    def at(self, pointer: ir.Value, index: Size, type: ir.Type) -> ir.Value:
        """The address of element `index`."""
        if isinstance(index, int) and index == 0:
            return pointer
        return self.gep(pointer, [self.value(index)], inbounds=True, source_etype=type)

    def read(self, pointer: ir.Value, index: Size, type: ir.Type) -> ir.Value:
        return self.load(self.at(pointer, index, type), typ=type)

    def write(self, value: ir.Value, pointer: ir.Value, index: Size) -> None:
        self.store(value, self.at(pointer, index, value.type))

    def stack(self, type: ir.Type, count: int, align: int = 64) -> ir.Value:
        """`count` elements of stack memory for the whole function."""
        return self.reserve(ir.ArrayType(type, count), align)

    def reserve(self, type: ir.Type, align: int) -> ir.Value:
        """Stack memory for one `type`."""
        with self.goto_entry_block():
            memory = self.alloca(type)
        memory.align = align
        memory.type = PTR  # llvmlite gives it a typed pointer, which mixes with nothing
        return memory

    def invoke(self, function: ir.Value, arguments: Sequence[Size]) -> None:
        """Call a function that returns nothing."""
        self.call(function, [self.value(a) if isinstance(a, int) else a for a in arguments])


def _as_it_is(module: ir.Module) -> ir.MDValue:
    """A loop's metadata that keeps LLVM from unrolling and vectorizing it. LLVM wants it to contain itself."""
    unroll = module.add_metadata(["llvm.loop.unroll.disable"])
    vectorize = module.add_metadata(["llvm.loop.vectorize.enable", ir.Constant(I1, 0)])
    node = module.add_metadata([f"loop {len(module.metadata)}", unroll, vectorize])
    node.operands = (node, unroll, vectorize)
    return node


def define(
    module: ir.Module, name: str, parameters: Sequence[ir.Type], internal: bool = True
) -> tuple[ir.Function, Code]:
    """A new function that returns nothing, and a builder at its entry."""
    function = ir.Function(module, ir.FunctionType(VOID, parameters), name)
    function.attributes.add("nounwind")
    if internal:
        function.linkage = "internal"
    return function, Code(function.append_basic_block("entry"))


class Frame:
    """Named values that a function hands to the bodies of its parallel loops: integers stay integers, the rest
    travels in a struct on the stack."""

    def __init__(self, values: dict[str, Size]) -> None:
        self.values = values
        self._moving = [name for name, value in values.items() if not isinstance(value, int)]
        self._type = ir.LiteralStructType([values[name].type for name in self._moving])  # type: ignore[union-attr]

    def save(self, code: Code) -> ir.Value:
        """Store the values. Returns the struct's address."""
        memory = code.reserve(self._type, 8)
        for number, name in enumerate(self._moving):
            code.store(self.values[name], self._field(code, memory, number))
        return memory

    def load(self, code: Code, memory: ir.Value) -> dict[str, Size]:
        """The values, inside a body."""
        found = dict(self.values)
        for number, name in enumerate(self._moving):
            found[name] = code.load(self._field(code, memory, number), typ=self._type.elements[number])
        return found

    def _field(self, code: Code, memory: ir.Value, number: int) -> ir.Value:
        zero, position = ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), number)
        return code.gep(memory, [zero, position], inbounds=True, source_etype=self._type)


Task = Callable[[Code, dict[str, Size], ir.Value], None]


def parallel(
    module: ir.Module, code: Code, name: str, frame: Frame, count: Size, serial: Truth, task: Task,
    grain: Size = 1,
) -> None:  # fmt: skip
    """Emit `task` as the body of a parallel loop over `count` and run it."""
    run_parallel(code, emit_body(module, name, frame, task), frame, count, serial, grain)


def emit_body(module: ir.Module, name: str, frame: Frame, task: Task) -> ir.Function:
    """The function that runs `task` for a range of indices. It fits frames of the same names and types."""
    body, code = define(module, name, [PTR, I64, I64])
    values = frame.load(code, body.args[0])
    with code.loop(body.args[1], body.args[2], name="task") as loop:
        task(code, values, loop.index)
    code.ret_void()
    return body


def run_parallel(code: Code, body: ir.Function, frame: Frame, count: Size, serial: Truth, grain: Size = 1) -> None:
    """Run a body for all indices below `count`: here where `serial`, else on the pool."""
    memory, total, zero = frame.save(code), code.value(count), ir.Constant(I64, 0)
    shared = [code.bitcast(body, PTR), memory, total, code.value(grain)]
    if serial is True:
        code.call(body, [memory, zero, total])
    elif serial is False:
        code.call(parallel_for(code.module), shared)
    else:
        with code.if_else(serial) as (here, there):
            with here:
                code.call(body, [memory, zero, total])
            with there:
                code.call(parallel_for(code.module), shared)


def parallel_for(module: ir.Module) -> ir.Function:
    """The declaration of jc_parallel_for."""
    found = module.globals.get("jc_parallel_for")
    if found is None:
        found = ir.Function(module, ir.FunctionType(VOID, [PTR, PTR, I64, I64]), "jc_parallel_for")
    return found


def product(code: Code, sizes: Sequence[Size]) -> Size:
    """The product of sizes."""
    total: Size = 1
    for size in sizes:
        total = code.times(total, size)
    return total


def unflatten(code: Code, index: Size, dims: Sequence[Size]) -> list[Size]:
    """The indices of the row-major position `index`. The first of `dims` is not read."""
    found: list[Size] = []
    for dim in reversed(dims[1:]):
        found.append(code.remainder(index, dim))
        index = code.divide(index, dim)
    return [index, *reversed(found)] if dims else []


def offset(code: Code, indices: Sequence[Size], strides: Sequence[Size]) -> Size:
    """The sum of indices times strides."""
    total: Size = 0
    for index, stride in zip(indices, strides, strict=True):
        total = code.plus(total, code.times(index, stride))
    return total


def numbered(name: str, values: Sequence[Size]) -> dict[str, Size]:
    """Values of a `Frame` for a list."""
    return {f"{name}{number}": value for number, value in enumerate(values)}


def listed(values: Mapping[str, Size], name: str, count: int) -> list[Size]:
    """The list that `numbered` took apart."""
    return [values[f"{name}{number}"] for number in range(count)]
