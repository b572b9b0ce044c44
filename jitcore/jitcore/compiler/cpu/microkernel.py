"""The innermost function of matrix products: a tile of the result, its sums held in registers.

```
void kernel(ptr x, i64 x_row, i64 x_step, ptr y, i64 y_step, i64 y_strip, ptr c, i64 c_row,
            i64 rows, i64 columns, i64 depth, i64 accumulate, ptr row_offsets, ptr step_offsets)
c[i, j] = (accumulate ? c[i, j] : 0) + sum over k < depth of x[i, k] * y[k, j]
```

Strides and offsets are in elements. Which parameters are read depends on the `Shape`:

    x[i, k]                                    element  x + i*x_row + k*x_step
                     shape.packed              element  x + i + k*shape.rows
                     shape.x_table             element  x + row_offsets[i] + step_offsets[k]
    y[k, j]                                    element  y + k*y_step + (j // width)*y_strip + j % width
                     shape.y_table             element  y + step_offsets[k] + (j // width)*y_strip + j % width

with width the columns of one strip. Fewer than `shape.rows` rows may be asked for: the others repeat the last one, and
store the same values to the same place. `columns` is read by masked kernels only, which touch no y and no c beyond it.
A kernel is emitted once per module however many products use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir.dtypes import BOOL, DType, bfloat16, float16, float32, float64

from .blocking import Machine
from .gemm_builder import I64, PTR, VOID, Code, Size, define

_UNROLL_PACKED = 4
_UNROLL = 2
"""Products per step of the k loop. Where x's rows are apart, more would spill the registers that point at them."""

_I32 = ir.IntType(32)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which kernel: `rows` x `strips` sums of `dtype` (an accumulator dtype)."""

    dtype: DType
    rows: int
    strips: int = 1
    masked: bool = False
    packed: bool = False
    x_table: bool = False
    y_table: bool = False

    @property
    def name(self) -> str:
        marks = "".join(
            f".{mark}" for mark in ("masked", "packed", "x_table", "y_table") if getattr(self, mark)
        )  # fmt: skip
        return f"jc.kernel.{self.dtype.short}.{self.rows}x{self.strips}{marks}"


def element_type(dtype: DType) -> ir.Type:
    """How an element lies in memory: 16-bit floats and bools as integers."""
    if dtype is float32:
        return ir.FloatType()
    if dtype is float64:
        return ir.DoubleType()
    return ir.IntType(dtype.bits)


def kernel(module: ir.Module, machine: Machine, shape: Shape) -> ir.Function:
    """The kernel of this shape, emitted if the module does not have it yet."""
    found = module.globals.get(shape.name)
    return found if found is not None else _Kernel(module, machine, shape).function


def kernels(module: ir.Module, machine: Machine, shapes: Sequence[Shape]) -> ir.Function:
    """A function that calls the kernel whose height is its first argument. The shapes differ in nothing else."""
    name = "|".join(shape.name for shape in shapes)
    found = module.globals.get(name)
    if found is not None:
        return found
    targets = [kernel(module, machine, shape) for shape in shapes]
    function, code = define(module, name, [I64, *targets[0].function_type.args])
    blocks = [code.append_basic_block("height") for _ in shapes]
    switch = code.switch(function.args[0], blocks[-1])
    for shape, block, target in zip(shapes, blocks, targets):
        if block is not blocks[-1]:
            switch.add_case(ir.Constant(I64, shape.rows), block)
        code.position_at_end(block)
        code.call(target, function.args[1:], tail=True)
        code.ret_void()
    return function


def multiply_add(code: Code, machine: Machine, dtype: DType, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
    """total + x*y: fused for floats where the machine can, logical for bools."""
    if dtype in BOOL:
        return code.or_(total, code.and_(x, y))
    if not dtype.is_floating_point:
        return code.add(total, code.mul(x, y))
    if machine.fma:
        is_vector = isinstance(x.type, ir.VectorType)
        kind = f"v{x.type.count}{x.type.element.intrinsic_name}" if is_vector else x.type.intrinsic_name
        name = f"llvm.fma.{kind}"
        fma = code.module.globals.get(name) or ir.Function(code.module, ir.FunctionType(x.type, [x.type] * 3), name)
        return code.call(fma, [x, y, total])
    return code.fadd(total, code.fmul(x, y))


def plus(code: Code, dtype: DType, a: ir.Value, b: ir.Value) -> ir.Value:
    """The sum of two sums."""
    if dtype in BOOL:
        return code.or_(a, b)
    return code.fadd(a, b) if dtype.is_floating_point else code.add(a, b)


def widen(code: Code, machine: Machine, dtype: DType, value: ir.Value) -> ir.Value:
    """An element as it lies in memory, in the accumulator dtype."""
    if dtype is bfloat16:
        wide = code.shl(code.zext(value, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return code.bitcast(wide, ir.FloatType())
    if dtype is not float16:
        return value
    if machine.half:
        return code.fpext(code.bitcast(value, ir.HalfType()), ir.FloatType())
    return _half_to_float(code, value)


def _half_to_float(code: Code, value: ir.Value) -> ir.Value:
    """Shift the exponent and fraction into place and rescale, which also normalizes subnormals."""
    i32, f32 = ir.IntType(32), ir.FloatType()
    bits = code.zext(value, i32)
    magnitude = code.shl(code.and_(bits, ir.Constant(i32, 0x7FFF)), ir.Constant(i32, 13))
    scaled = code.bitcast(code.fmul(code.bitcast(magnitude, f32), ir.Constant(f32, 2.0**112)), i32)
    special = code.or_(magnitude, ir.Constant(i32, 0x7F800000))
    is_special = code.icmp_unsigned(">=", magnitude, ir.Constant(i32, 0x7C00 << 13))
    sign = code.shl(code.and_(bits, ir.Constant(i32, 0x8000)), ir.Constant(i32, 16))
    return code.bitcast(code.or_(code.select(is_special, special, scaled), sign), f32)


class _Kernel:
    """Builds one kernel."""

    def __init__(self, module: ir.Module, machine: Machine, shape: Shape) -> None:
        self.machine, self.shape, self.module = machine, shape, module
        self.element = element_type(shape.dtype)
        self.lanes = machine.lanes(shape.dtype)
        self.vector = ir.VectorType(self.element, self.lanes)
        self._align = ir.Constant(_I32, shape.dtype.itemsize)
        self.function, self.code = define(module, shape.name, [PTR, I64, I64, PTR, I64, I64, PTR, *[I64] * 5, PTR, PTR])
        self.function.attributes.add("noinline")
        names = "x x_row x_step y y_step y_strip c c_row rows columns depth accumulate row_offsets step_offsets"
        self.arg = dict(zip(names.split(), self.function.args))
        for argument, name in zip(self.function.args, names.split()):
            argument.name = name
        self._emit()

    def _emit(self) -> None:
        code, arg, shape = self.code, self.arg, self.shape
        last = code.minus(arg["rows"], 1)
        rows = [0, *(code.least(i, last) for i in range(1, shape.rows))]
        self.masks = [self._mask(v) for v in range(2)] if shape.masked else []
        self.x_offsets = [self._x_offset(i, row) for i, row in enumerate(rows)]
        self.y_offsets = [code.times(arg["y_strip"], s) for s in range(shape.strips)]
        c_rows = [code.at(arg["c"], code.times(row, arg["c_row"]), self.element) for row in rows]
        sums = self._start(c_rows)
        if shape.x_table or shape.y_table:
            sums = self._table_loop(sums)
        else:
            sums = self._strided_loop(sums)
        for i, row in enumerate(c_rows):
            for v in range(2 * shape.strips):
                self._put(sums[i * 2 * shape.strips + v], code.at(row, v * self.lanes, self.element), v)
        code.ret_void()

    def _start(self, c_rows: list[ir.Value]) -> list[ir.Value]:
        code, width = self.code, 2 * self.shape.strips
        entry = code.block
        zero = ir.Constant(self.vector, None)
        load, begin = code.append_basic_block("load"), code.append_basic_block("begin")
        code.cbranch(code.icmp_signed("!=", self.arg["accumulate"], ir.Constant(I64, 0)), load, begin)
        code.position_at_end(load)
        old = [
            self._get(code.at(row, v * self.lanes, self.element), v) for row in c_rows for v in range(width)
        ]  # fmt: skip
        code.branch(begin)
        code.position_at_end(begin)
        sums = []
        for value in old:
            phi = code.phi(self.vector)
            phi.add_incoming(zero, entry)
            phi.add_incoming(value, load)
            sums.append(phi)
        return sums

    def _strided_loop(self, sums: list[ir.Value]) -> list[ir.Value]:
        """Several products per step, then single ones. The pointers move; the offsets from them are fixed."""
        code, arg, shape = self.code, self.arg, self.shape
        x_step: Size = shape.rows if shape.packed else arg["x_step"]
        x, y = arg["x"], arg["y"]
        begin: Size = 0
        for unroll in (_UNROLL_PACKED if shape.packed else _UNROLL, 1):
            steps = code.times(code.divide(arg["depth"], unroll), unroll)
            with code.loop(begin, steps, unroll, [x, y, *sums], name=f"by{unroll}") as loop:
                x, y, *now = loop.carried
                for _ in range(unroll):
                    now = self._step(now, x, y)
                    x = code.at(x, x_step, self.element)
                    y = code.at(y, arg["y_step"], self.element)
                loop.next = [x, y, *now]
            x, y, *sums = loop.carried
            begin = steps
        return sums

    def _table_loop(self, sums: list[ir.Value]) -> list[ir.Value]:
        """Each step looks up where its operand lies; the other operand moves by its stride."""
        code, arg, shape = self.code, self.arg, self.shape
        x_step: Size = shape.rows if shape.packed else arg["x_step"]
        x, y = arg["x"], arg["y"]
        with code.loop(0, arg["depth"], 1, [x, y, *sums], name="by1") as loop:
            x, y, *now = loop.carried
            offset = code.read(arg["step_offsets"], loop.index, I64)
            here_x = code.at(arg["x"], offset, self.element) if shape.x_table else x
            here_y = code.at(arg["y"], offset, self.element) if shape.y_table else y
            now = self._step(now, here_x, here_y)
            following_x = x if shape.x_table else code.at(x, x_step, self.element)
            following_y = y if shape.y_table else code.at(y, arg["y_step"], self.element)
            loop.next = [following_x, following_y, *now]
        return loop.carried[2:]

    def _step(self, sums: list[ir.Value], x: ir.Value, y: ir.Value) -> list[ir.Value]:
        """One k: every row's element of x times every vector of y."""
        code, width = self.code, 2 * self.shape.strips
        vectors = []
        for v in range(width):
            place = code.at(code.at(y, self.y_offsets[v // 2], self.element), v % 2 * self.lanes, self.element)
            vectors.append(self._get(place, v))
        found = []
        for i in range(self.shape.rows):
            factor = self._splat(code.read(x, self.x_offsets[i], self.element))
            for v in range(width):
                total = sums[i * width + v]
                found.append(multiply_add(code, self.machine, self.shape.dtype, factor, vectors[v], total))
        return found

    def _x_offset(self, number: int, row: Size) -> Size:
        if self.shape.packed:
            return number
        if self.shape.x_table:
            return self.code.read(self.arg["row_offsets"], row, I64)
        return self.code.times(row, self.arg["x_row"])

    def _mask(self, vector: int) -> ir.Value:
        lanes = ir.VectorType(I64, self.lanes)
        positions = ir.Constant(lanes, [vector * self.lanes + i for i in range(self.lanes)])
        return self.code.icmp_signed("<", positions, self._splat(self.arg["columns"]))

    def _splat(self, scalar: ir.Value) -> ir.Value:
        vector = ir.VectorType(scalar.type, self.lanes)
        first = self.code.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
        lanes = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.code.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)

    def _get(self, place: ir.Value, vector: int) -> ir.Value:
        if self.masks:
            load = self._masked("load", self.vector, [PTR, _I32, self.masks[0].type, self.vector])
            return self.code.call(load, [place, self._align, self.masks[vector % 2], ir.Constant(self.vector, None)])
        return self.code.load(place, typ=self.vector, align=self.shape.dtype.itemsize)

    def _put(self, value: ir.Value, place: ir.Value, vector: int) -> None:
        if self.masks:
            store = self._masked("store", VOID, [self.vector, PTR, _I32, self.masks[0].type])
            self.code.call(store, [value, place, self._align, self.masks[vector % 2]])
        else:
            self.code.store(value, place, align=self.shape.dtype.itemsize)

    def _masked(self, what: str, result: ir.Type, parameters: list[ir.Type]) -> ir.Function:
        name = f"llvm.masked.{what}.v{self.lanes}{self.vector.element.intrinsic_name}.p0"
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, parameters), name)
