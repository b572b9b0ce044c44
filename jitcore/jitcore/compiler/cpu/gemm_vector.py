"""Products of one row, or of very few: y is read once, in the order in which it lies in memory.

There is nothing to gain from tiles here; what counts is that y streams. Where y's columns are neighbours, several of
its rows at a time are added to the row of sums. Where k runs through neighbours, each sum is a product of two vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llvmlite import ir

from jitcore_ir import shapes
from jitcore_ir.dtypes import DType

from .blocking import SERIAL_WORK, STREAM_BYTES
from .gemm_builder import I64, PTR, Code, Frame, Size, define, listed, numbered, offset, parallel, product, unflatten
from .gemm_epilogue import emit_row, read_context, scalar_epilogue
from .gemm_spec import Dim, Epilogue, GemmSpec, PlainStore
from .microkernel import element_type, multiply_add, plus

_DOT_ROWS = 4
_DOT_COLUMNS = 4
_DOT_BLOCK = 64
_STREAM_STEPS = 8
_STREAM_BLOCK = 1024


def is_column(spec: GemmSpec) -> bool:
    """Whether the product is better computed transposed."""
    return not spec.prepacked and spec.n == 1 and spec.m != 1


def transposed(spec: GemmSpec) -> GemmSpec:
    """The same product with the operands in each other's place."""
    x_strides, y_strides = _swapped(spec.y_strides), _swapped(spec.x_strides)
    return replace(spec, m=spec.n, n=spec.m, x_strides=x_strides, y_strides=y_strides)


def transposed_epilogue(epilogue: Epilogue | PlainStore) -> Epilogue | PlainStore:
    """The same epilogue for a result whose last two axes are in each other's place."""
    if isinstance(epilogue, PlainStore) and all(isinstance(stride, int) for stride in epilogue.strides):
        return PlainStore(_swapped(epilogue.strides))
    scalar = scalar_epilogue(epilogue)

    def emit(builder: ir.IRBuilder, total: ir.Value, indices: list[ir.Value], captured: list[ir.Value]) -> None:
        *batch, column, row = indices
        scalar.emit(builder, total, [*batch, row, column], captured)

    return replace(scalar, emit=emit)


def is_vector_product(spec: GemmSpec) -> bool:
    """Whether the code here is meant for this product."""
    return _streams(spec) or _dots(spec)


def emit_vector_product(
    code: Code, name: str, spec: GemmSpec, epilogue: Epilogue | PlainStore, sizes: dict[str, Size], n: Size, k: Size,
    batch: list[Size],
) -> None:  # fmt: skip
    """Emit the product into a function. `sizes` holds the pointers x, y and context and the operands' strides."""
    task = _VectorTask(code.module, name, spec, epilogue)
    blocks = code.ceil_divide(n, task.block)
    work = product(code, [*batch, 1 if not isinstance(spec.m, int) else spec.m, n, k])
    frame = Frame(sizes | {"n": n, "k": k, "blocks": blocks} | numbered("batch", batch))
    count = product(code, [*batch, blocks])
    parallel(code.module, code, f"{name}.columns", frame, count, code.less(work, SERIAL_WORK), task.emit)


def _streams(spec: GemmSpec) -> bool:
    size = shapes.product((spec.k, spec.n, spec.dtype.itemsize))
    large = not isinstance(size, int) or size >= STREAM_BYTES
    plain = spec.accumulator is spec.dtype and not spec.prepacked
    return plain and large and spec.m == 1 and spec.y_strides[-1] == 1


def _dots(spec: GemmSpec) -> bool:
    plain = spec.accumulator is spec.dtype and not spec.prepacked
    few = isinstance(spec.m, int) and 1 <= spec.m <= _DOT_ROWS
    return plain and few and spec.x_strides[-1] == spec.y_strides[-2] == 1 and spec.y_strides[-1] != 1


class _VectorTask:
    """Emits the task that computes a block of columns, all rows of it."""

    def __init__(self, module: ir.Module, name: str, spec: GemmSpec, epilogue: Epilogue | PlainStore) -> None:
        self.module, self.spec, self.rank = module, spec, len(spec.batch)
        self.element = element_type(spec.dtype)
        self.rows = spec.m if isinstance(spec.m, int) else 1
        self.streams = _streams(spec)
        self.block = _STREAM_BLOCK if self.streams else _DOT_BLOCK
        self.epilogue = scalar_epilogue(epilogue)
        self.row = emit_row(module, f"{name}.row", self.element, self.epilogue, self.rank + 2, _position)

    def emit(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        matrix, block = unflatten(code, index, [0, v["blocks"]])
        position = unflatten(code, matrix, listed(v, "batch", self.rank))
        x_strides, y_strides = listed(v, "x_stride", self.rank + 2), listed(v, "y_stride", self.rank + 2)
        first = code.times(block, self.block)
        count = code.least(self.block, code.minus(v["n"], first))
        x = code.at(v["x"], offset(code, position, x_strides[:-2]), self.element)
        y = code.at(v["y"], offset(code, [*position, 0, first], y_strides), self.element)
        sums = code.stack(self.element, self.rows * self.block)
        if self.streams:
            self._stream(code, sums, (x, x_strides[-1]), (y, y_strides[-2]), count, v["k"])
        else:
            function = dot_kernel(self.module, self.spec, self.rows)
            with code.loop(0, count, _DOT_COLUMNS, name="columns") as column:
                some = code.minus(count, column.index)
                place = code.at(y, code.times(column.index, y_strides[-1]), self.element)
                target = code.at(sums, column.index, self.element)
                code.invoke(function, [x, x_strides[-2], place, y_strides[-1], target, self.block, some, v["k"]])
        captured = read_context(code, v["context"], self.epilogue.captures)
        for row in range(self.rows):
            line = code.at(sums, row * self.block, self.element)
            code.invoke(self.row, [line, count, *position, row, first, *captured])

    def _stream(
        self, code: Code, sums: ir.Value, x: tuple[ir.Value, Size], y: tuple[ir.Value, Size], count: Size, depth: Size
    ) -> None:
        """sums[n] += x[k] * y[k, n], for several k in one pass over n."""
        zero = ir.Constant(self.element, 0 if isinstance(self.element, ir.IntType) else 0.0)
        with code.loop(0, count, name="clear", optimize=True) as column:
            code.write(zero, sums, column.index)
        begin: Size = 0
        for steps in (_STREAM_STEPS, 1):
            stop = code.times(code.divide(depth, steps), steps)
            with code.loop(begin, stop, steps, name=f"by{steps}") as k:
                places = [code.plus(k.index, i) for i in range(steps)]
                factors = [code.read(x[0], code.times(place, x[1]), self.element) for place in places]
                lines = [code.at(y[0], code.times(place, y[1]), self.element) for place in places]
                with code.loop(0, count, name="column", optimize=True) as column:
                    total = code.read(sums, column.index, self.element)
                    for factor, line in zip(factors, lines):
                        element = code.read(line, column.index, self.element)
                        total = multiply_add(code, self.spec.machine, self.spec.dtype, factor, element, total)
                    code.write(total, sums, column.index)
            begin = stop


def dot_kernel(module: ir.Module, spec: GemmSpec, rows: int) -> ir.Function:
    """The function that multiplies `rows` rows of x with some columns of y, k neighbours in both.

        void dot(ptr x, i64 x_row, ptr y, i64 y_column, ptr c, i64 c_row, i64 columns, i64 depth)

    It computes _DOT_COLUMNS sums of each row; where fewer columns are left, the last is computed again.
    """
    name = f"jc.dot.{spec.dtype.short}.{rows}"
    found = module.globals.get(name)
    if found is not None:
        return found
    function, code = define(module, name, [PTR, I64, PTR, I64, PTR, I64, I64, I64])
    function.attributes.add("noinline")
    x, x_row, y, y_column, c, c_row, columns, depth = function.args
    element, machine, dtype = element_type(spec.dtype), spec.machine, spec.dtype
    lanes = machine.lanes(dtype)
    vector = ir.VectorType(element, lanes)
    here = [code.least(j, code.minus(columns, 1)) for j in range(_DOT_COLUMNS)]
    x_lines = [code.at(x, code.times(x_row, i), element) for i in range(rows)]
    y_lines = [code.at(y, code.times(y_column, j), element) for j in here]

    def step(sums: Sequence[ir.Value], k: Size, type: ir.Type) -> list[ir.Value]:
        left, right = (
            [code.load(code.at(line, k, element), typ=type, align=dtype.itemsize) for line in lines]
            for lines in (x_lines, y_lines)
        )
        pairs = [(a, b) for a in left for b in right]
        return [multiply_add(code, machine, dtype, a, b, total) for (a, b), total in zip(pairs, sums)]

    unroll = 2 if rows == 1 else 1
    zeros = [ir.Constant(vector, None)] * (rows * _DOT_COLUMNS * unroll)
    chunk = lanes * unroll
    whole = code.times(code.divide(depth, chunk), chunk)
    half = rows * _DOT_COLUMNS
    with code.loop(0, whole, chunk, zeros, name="chunk") as loop:
        sums = loop.carried
        loop.next = [
            total
            for u in range(unroll)
            for total in step(sums[u * half : (u + 1) * half], code.plus(loop.index, u * lanes), vector)
        ]
    sums = loop.carried[:half]
    for u in range(1, unroll):
        sums = [plus(code, dtype, a, b) for a, b in zip(sums, loop.carried[u * half :])]
    totals = [_horizontal(code, dtype, total, lanes) for total in sums]
    with code.loop(whole, depth, 1, totals, name="rest") as loop:
        loop.next = step(loop.carried, loop.index, element)
    for number, total in enumerate(loop.carried):
        row, column = divmod(number, _DOT_COLUMNS)
        code.write(total, c, code.plus(code.times(c_row, row), here[column]))
    code.ret_void()
    return function


def _horizontal(code: Code, dtype: DType, vector: ir.Value, lanes: int) -> ir.Value:
    """The sum of a vector's lanes, as a tree."""
    i32 = ir.IntType(32)
    while lanes > 1:
        lanes //= 2
        halves = [
            code.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(i32, lanes), list(range(s, s + lanes))))
            for s in (0, lanes)
        ]
        vector = plus(code, dtype, *halves)
    return code.extract_element(vector, ir.Constant(i32, 0))


def _position(code: Code, outer: Sequence[ir.Value], number: ir.Value) -> list[ir.Value]:
    return [*outer[:-1], code.add(outer[-1], number, flags=("nsw",))]


def _swapped(strides: tuple[Dim, ...]) -> tuple[Dim, ...]:
    return (*strides[:-2], strides[-1], strides[-2])
