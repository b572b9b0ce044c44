"""Handing a finished tile of sums to the epilogue: a loop nest of scalar code for LLVM to vectorize."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from .gemm_builder import I64, PTR, Code, Size, define, offset
from .gemm_spec import Epilogue, PlainStore

Position = Callable[[Code, Sequence[ir.Value], ir.Value], list[ir.Value]]


def emit_row(
    module: ir.Module, name: str, element: ir.Type, epilogue: Epilogue, outer: int, position: Position
) -> ir.Function:
    """Add a function that hands `count` neighbouring sums to the epilogue.

        void name(ptr sums, i64 count, i64 outer..., captured...)

    `position(code, outer, number)` gives the indices in the result of sum `number`. The loop is a function of its own
    so that `noalias` can say what LLVM needs to vectorize it.
    """
    function, code = define(module, name, [PTR, I64, *[I64] * outer, *epilogue.captures])
    sums, count, *rest = function.args
    sums.add_attribute("noalias")
    for number in epilogue.distinct:
        rest[outer + number].add_attribute("noalias")
    with code.loop(0, count, name="column", optimize=True) as column:
        total = code.read(sums, column.index, element)
        epilogue.emit(code, total, position(code, rest[:outer], column.index), rest[outer:])
    code.ret_void()
    return function


def read_context(code: Code, context: ir.Value, types: Sequence[ir.Type]) -> list[ir.Value]:
    """The fields of the struct that the epilogue captures."""
    struct = ir.LiteralStructType(list(types))
    i32 = ir.IntType(32)
    found = []
    for number, type in enumerate(types):
        place = code.gep(context, [ir.Constant(i32, 0), ir.Constant(i32, number)], True, source_etype=struct)
        found.append(code.load(place, typ=type))
    return found


def stride_values(store: PlainStore, captured: Sequence[ir.Value]) -> list[Size]:
    """The strides of a store, given the fields it captured."""
    moving = iter(captured[1:])
    return [stride if isinstance(stride, int) else next(moving) for stride in store.strides]


def scalar_epilogue(epilogue: Epilogue | PlainStore) -> Epilogue:
    """The epilogue that a `PlainStore` is, where sums do not go straight to the result."""
    if isinstance(epilogue, Epilogue):
        return epilogue
    store = epilogue

    def emit(builder: ir.IRBuilder, total: ir.Value, indices: list[ir.Value], captured: list[ir.Value]) -> None:
        assert isinstance(builder, Code)
        builder.write(total, captured[0], offset(builder, indices, stride_values(store, captured)))

    return Epilogue(emit, store.captures, (0,))
