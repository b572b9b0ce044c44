"""One LLVM function per distinct kernel, and how the program calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir import BufferType, Graph, Operation
from jitcore_ir.ops.elementwise import ACCUMULATOR
from jitcore_ir.shapes import Expr

from ..loops import ops as loops
from ..loops.module import KernelCall
from .conv import conv_packed_size, conv_workspace_size, emit_conv, emit_conv_pack
from .conv_spec import ConvSpec
from .dims import load_symbols
from .gemm import emit_gemm, emit_pack, packed_size, workspace_size
from .gemm_spec import Epilogue, GemmSpec, PlainStore, row_major
from .printer import Printer, Range
from .scalars import I64, PTR
from .target import target_named

Dim = int | Expr


@dataclass(frozen=True, slots=True)
class Contraction:
    """A kernel's gemm or convolution, with what its generator needs."""

    operation: Operation
    spec: GemmSpec | ConvSpec

    @property
    def is_gemm(self) -> bool:
        return isinstance(self.spec, GemmSpec)

    @property
    def workspace(self) -> Dim:
        return workspace_size(self.spec) if isinstance(self.spec, GemmSpec) else conv_workspace_size(self.spec)

    @property
    def packed(self) -> Dim:
        return packed_size(self.spec) if isinstance(self.spec, GemmSpec) else conv_packed_size(self.spec)

    def emit_packing(self, module: ir.Module, name: str) -> ir.Function:
        """`void name(ptr y, ptr packed, ptr sizes)`."""
        return (
            emit_pack(module, name, self.spec)
            if isinstance(self.spec, GemmSpec)
            else emit_conv_pack(module, name, self.spec)
        )


def contraction(kernel: Graph, target: str) -> Contraction | None:
    """The gemm or convolution of a kernel, None where it has none."""
    for operation in kernel.operations:
        if operation.spec not in (loops.GEMM, loops.CONVOLUTION):
            continue
        x, y = (value.type for value in operation.operands)
        assert isinstance(x, BufferType) and isinstance(y, BufferType)
        if operation.spec is loops.GEMM:
            return Contraction(operation, GemmSpec.of(x, y, **operation.attributes, target=target))
        return Contraction(operation, ConvSpec.of(x, y, **operation.attributes, target=target))
    return None


def emit_loops(
    module: ir.Module, name: str, kernel: Graph, shared: Mapping[int, int], symbols: tuple[str, ...], target: str
) -> ir.Function:
    """`void name(ptr context, i64 begin, i64 end)` for a kernel of loops, which runs that part of its parallel loop.

    `context` is an array of the pointers to its buffers, then to the symbols' values and to the call's error fields.
    `shared[r] = w`: input r is the same memory as input w, so it is given the same pointer. The loops are in a function
    of their own whose parameters are `noalias`.
    """
    count = len(kernel.inputs)
    kinds = [PTR] * (count + 2) + [I64, I64]
    inner = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), f"{name}.loops")
    inner.linkage = "internal"
    for argument in inner.args[: count + 2]:
        argument.add_attribute("noalias")
    b = ir.IRBuilder(inner.append_basic_block("entry"))
    start = b.append_basic_block("start")
    b.branch(start)
    b.position_at_end(start)
    printer = Printer(b, target_named(target).half, load_symbols(b, inner.args[count], symbols), inner.args[count + 1])
    for number, value in enumerate(kernel.inputs):
        printer.values[value] = inner.args[shared.get(number, number)]
    printer.part = Range(inner.args[count + 2], inner.args[count + 3])
    printer.block(kernel.block)
    printer.free_scratch()
    b.ret_void()
    return _emit_entry(module, name, inner, count)


def _emit_entry(module: ir.Module, name: str, inner: ir.Function, count: int) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64, I64]), name)
    function.linkage = "internal"
    context, begin, end = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    pointers = [b.load(b.gep(context, [I64(i)], source_etype=PTR), typ=PTR) for i in range(count + 2)]
    b.call(inner, [*pointers, begin, end])
    b.ret_void()
    return function


def emit_contraction(
    module: ir.Module, name: str, kernel: Graph, found: Contraction, symbols: tuple[str, ...], target: str
) -> ir.Function:
    """`void name(ptr x, ptr y, ptr context, ptr sizes, ptr workspace)`, with the context of `emit_loops`, or of one
    pointer to the result where `plain_result` names one."""
    result = plain_result(kernel, found)
    if result is not None:
        buffer = kernel.inputs[result].type
        epilogue: Epilogue | PlainStore = PlainStore(row_major(buffer.shape))
    else:
        epilogue = Epilogue(_epilogue(kernel, found.operation, symbols, target), (PTR,) * (len(kernel.inputs) + 2))
    emit = emit_gemm if isinstance(found.spec, GemmSpec) else emit_conv
    function = emit(module, name, found.spec, epilogue)  # type: ignore[arg-type]
    function.linkage = "internal"
    return function


def plain_result(kernel: Graph, found: Contraction) -> int | None:
    """The input that simply receives the sums, where the region does nothing else."""
    block = found.operation.regions[0].block
    total, *indices = block.arguments
    if len(block.operations) != 2 or block.operations[0].spec is not loops.STORE:
        return None
    value, buffer, *places = block.operations[0].operands
    if value is not total or places != indices or buffer.type.dtype is not ACCUMULATOR[found.spec.dtype]:
        return None
    if any(isinstance(stride, Expr) for stride in row_major(buffer.type.shape)):
        return None  # a `PlainStore` would want those strides in its context
    return kernel.inputs.index(buffer)


def _epilogue(kernel: Graph, operation: Operation, symbols: tuple[str, ...], target: str):  # type: ignore[no-untyped-def]
    def emit(b: ir.IRBuilder, total: ir.Value, indices: Sequence[ir.Value], captured: Sequence[ir.Value]) -> None:
        count = len(kernel.inputs)
        printer = Printer(b, target_named(target).half, load_symbols(b, captured[count], symbols), captured[count + 1])
        for number, value in enumerate(kernel.inputs):
            printer.values[value] = captured[number]
        for other in kernel.operations:
            if other is not operation and other is not kernel.block.terminator:
                printer.operation(other)
        block = operation.regions[0].block
        printer.values[block.arguments[0]] = printer.scalars.wrap(total, block.arguments[0].type.dtype)
        for argument, index in zip(block.arguments[1:], indices, strict=True):
            printer.set_index(argument, index)
        printer.block(block)

    return emit


def prepared_contraction(number: int, calls: Sequence[KernelCall], target: str) -> Contraction:
    """The contraction that reads prepared buffer `number`, which decides its layout."""
    for call in calls:
        if number in call.arguments:
            found = contraction(call.kernel, target)
            if found is not None:
                return found
    raise ValueError(f"no contraction reads prepared buffer {number}")
