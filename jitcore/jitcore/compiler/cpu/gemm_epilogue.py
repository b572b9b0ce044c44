"""Handing a finished tile of sums to the epilogue: a loop nest of scalar code for LLVM to vectorize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from .gemm_builder import I64, PTR, Code, Size, define
from .gemm_spec import Epilogue, PlainStore

Position = Callable[[Code, Sequence[ir.Value], ir.Value, ir.Value], list[ir.Value]]


@dataclass(frozen=True, slots=True)
class Finish:
    """The emitted function, to be called through `call`."""

    function: ir.Function

    def call(
        self, code: Code, tile: ir.Value, ld: Size, rows: tuple[Size, Size], columns: tuple[Size, Size],
        outer: Sequence[Size], captured: Sequence[ir.Value],
    ) -> None:  # fmt: skip
        """Finish a tile whose rows and columns are given as (first, count)."""
        code.invoke(self.function, [tile, ld, *rows, *columns, *outer, *captured])


def emit_finish(
    module: ir.Module, name: str, element: ir.Type, epilogue: Epilogue, outer: int, position: Position
) -> Finish:
    """Add a function that hands the sums of a tile to the epilogue, in row order.

    `position(code, outer, row, column)` gives the indices of a sum in the result; `outer` i64 values are handed through.
    The loop over a row is a function of its own so that `noalias` can say what LLVM needs to vectorize it.
    """
    function, code = define(module, name, [PTR, *[I64] * (5 + outer), *epilogue.captures])
    tile, ld, first_row, rows, first_column, columns, *rest = function.args
    inner, inner_code = define(module, f"{name}.row", [PTR, *[I64] * (3 + outer), *epilogue.captures])
    inner.args[0].add_attribute("noalias")
    for number in epilogue.distinct:
        inner.args[4 + outer + number].add_attribute("noalias")
    with code.loop(0, rows, name="row") as row:
        sums = code.at(tile, code.times(row.index, ld), element)
        code.invoke(inner, [sums, code.plus(first_row, row.index), first_column, columns, *rest])
    code.ret_void()

    sums, line, first, count, *rest = inner.args
    with inner_code.loop(0, count, name="column") as column:
        total = inner_code.read(sums, column.index, element)
        place = position(inner_code, rest[:outer], line, inner_code.add(first, column.index, flags=("nsw",)))
        epilogue.emit(inner_code, total, place, rest[outer:])
    inner_code.ret_void()
    return Finish(function)


def read_context(code: Code, context: ir.Value, types: Sequence[ir.Type]) -> list[ir.Value]:
    """The fields of the struct that the epilogue captures."""
    struct = ir.LiteralStructType(list(types))
    i32 = ir.IntType(32)
    found = []
    for number, type in enumerate(types):
        place = code.gep(context, [ir.Constant(i32, 0), ir.Constant(i32, number)], True, source_etype=struct)
        found.append(code.load(place, typ=type))
    return found


def storing(store: PlainStore) -> Epilogue:
    """The epilogue that a `PlainStore` is, where sums do not go straight to the result. It captures the result's
    pointer and, in order, the strides that are not integers."""

    def emit(builder: ir.IRBuilder, total: ir.Value, indices: list[ir.Value], captured: list[ir.Value]) -> None:
        assert isinstance(builder, Code)
        strides = iter(captured[1:])
        place: Size = 0
        for index, stride in zip(indices, store.strides, strict=True):
            place = builder.plus(place, builder.times(index, stride if isinstance(stride, int) else next(strides)))
        builder.write(total, captured[0], place)

    moving = sum(not isinstance(stride, int) for stride in store.strides)
    return Epilogue(emit, (PTR, *[I64] * moving), (0,))
