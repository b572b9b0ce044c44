"""`TileTask`: one task of a matrix product, a block of the result from first product to epilogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from .blocking import BLOCK_BYTES, LOCAL_BYTES, LOCAL_K
from .gemm_builder import Code, Size, Truth, listed, offset, unflatten
from .gemm_epilogue import emit_row, read_context, scalar_epilogue, stride_values
from .gemm_plan import GemmPlan, heights
from .gemm_spec import Epilogue, GemmSpec, PlainStore
from .microkernel import Shape, element_type, kernel, kernels
from .packing import Source, pack_group

_NULL = ir.Constant(ir.PointerType(), None)


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Where an operand's elements lie: element (i, k) of tile or strip t at `pointer + t*part + i*next + k*step`."""

    pointer: ir.Value
    part: Size
    next: Size
    step: Size


class TileTask:
    """Emits the body of the loop over tasks.

    A task owns a block of register tiles. It goes through k in blocks, through the strips of y within, and through the
    tiles of x innermost: a strip of y stays in the L1 cache while the block's part of x, in L2, passes over it.
    """

    def __init__(self, module: ir.Module, name: str, spec: GemmSpec, epilogue: Epilogue | PlainStore) -> None:
        self.module, self.spec, self.machine = module, spec, spec.machine
        self.element = element_type(spec.accumulator)
        self.rank = len(spec.batch)
        self.width = spec.machine.columns(spec.accumulator)
        self.group = max(1, LOCAL_BYTES // (self.width * spec.accumulator.itemsize))  # strips packed together in a task
        self.ragged = not (isinstance(spec.n, int) and spec.n % self.width == 0)
        self.direct = self._stores_directly(epilogue)
        self.epilogue = epilogue
        if not self.direct:
            scalar = scalar_epilogue(epilogue)
            self.row = emit_row(module, f"{name}.row", self.element, scalar, self.rank + 2, _position)

    def emit(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        """Task number `index`."""
        p = GemmPlan.of(v)
        matrix, column_block, row_block = unflatten(code, index, p.tasks)
        position = unflatten(code, matrix, listed(v, "batch", self.rank))
        tiles = _range(code, row_block, p.block_tiles, p.tiles)
        strips = _range(code, column_block, p.block_strips, p.strips)
        x, y = self._x(code, v, p, matrix, position), self._y(code, v, p, matrix, position)
        buffer = code.stack(self.element, p.width * LOCAL_K * self.group) if p.local_y else None
        first_row, first_column = code.times(tiles[0], p.rows), code.times(strips[0], p.width)
        captured = read_context(code, v["context"], self.epilogue.captures)
        if self.direct and isinstance(self.epilogue, PlainStore):
            strides = stride_values(self.epilogue, captured)
            place = offset(code, [*position, first_row, first_column], strides)
            c, ld = code.at(captured[0], place, self.element), strides[-2]
        else:
            c, ld = code.stack(self.element, self._tile_elements(p)), code.times(p.block_strips, p.width)

        def block(accumulate: Size, first_k: Size) -> None:
            depth = code.least(p.block_k, code.minus(p.k, first_k))
            self._columns(code, p, x, y, buffer, (c, ld), tiles, strips, first_k, depth, accumulate)

        if p.k_blocks == 1:
            block(0, 0)
        else:
            with code.loop(0, p.k_blocks, name="k_block") as k_block:
                block(k_block.index, code.times(k_block.index, p.block_k))
        if not self.direct:
            rows = code.least(code.minus(p.m, first_row), code.times(code.minus(tiles[1], tiles[0]), p.rows))
            columns = code.least(code.minus(p.n, first_column), code.times(code.minus(strips[1], strips[0]), p.width))
            with code.loop(0, rows, name="row") as row:
                sums = code.at(c, code.times(row.index, ld), self.element)
                place = [*position, code.plus(first_row, row.index), first_column]
                code.invoke(self.row, [sums, columns, *place, *captured])

    def _columns(
        self, code: Code, p: GemmPlan, x: _Matrix, y: _Matrix, buffer: ir.Value | None, c: tuple[ir.Value, Size],
        tiles: tuple[Size, Size], strips: tuple[Size, Size], first_k: Size, depth: Size, accumulate: Size,
    ) -> None:  # fmt: skip
        """All strips of a block for some k."""
        strip_size = code.times(p.width, depth)

        def strip(index: Size, first: Size, call: Callable[[list[Size]], None], columns: Size) -> None:
            """Strip `index`, of those packed from `first` on if y is packed here."""
            if buffer is not None:
                y_start, y_step = code.times(code.minus(index, first), strip_size), p.width
            else:
                y_start, y_step = code.plus(code.times(index, y.part), code.times(first_k, y.step)), y.step
            y_here = code.at(y.pointer if buffer is None else buffer, y_start, self.element)
            c_start = code.at(c[0], code.times(code.minus(index, strips[0]), p.width), self.element)
            with code.loop(tiles[0], tiles[1], name="tile") as tile:
                x_start = code.plus(code.times(tile.index, x.part), code.times(first_k, x.step))
                row = code.times(code.minus(tile.index, tiles[0]), code.times(p.rows, c[1]))
                rows = code.least(p.rows, code.minus(p.m, code.times(tile.index, p.rows)))
                call([
                    code.at(x.pointer, x_start, self.element), x.next, x.step, y_here, y_step, y.part,
                    code.at(c_start, row, self.element), c[1], rows, columns, depth, accumulate, _NULL, _NULL,
                ])  # fmt: skip

        if buffer is None:
            self._strips(code, p, strips, strip)
            return
        with code.loop(strips[0], strips[1], self.group, name="group") as group:
            stop = code.least(code.plus(group.index, self.group), strips[1])
            place = code.plus(code.times(group.index, y.part), code.times(first_k, y.step))
            present = code.minus(p.n, code.times(group.index, p.width))
            start = code.at(y.pointer, place, element_type(self.spec.dtype))
            source = Source(self.spec.dtype, start, present, depth, y.next, y.step)
            pack_group(code, self.machine, source, p.width, buffer, 0, self.group)
            self._strips(code, p, (group.index, stop), strip)

    def _strips(self, code: Code, p: GemmPlan, strips: tuple[Size, Size], strip: Callable[..., None]) -> None:
        """Some strips: as many at once as the tile's height asks for, then one by one, a ragged one last."""
        in_place = not (self.spec.prepacked or p.local_y or p.pack_y is True)  # y may be read where it lies
        masked = self.ragged and (self.direct or in_place)
        whole = code.least(strips[1], code.divide(p.n, p.width)) if masked else strips[1]
        begin = strips[0]
        if p.wide != 1:
            stop = code.plus(begin, code.times(code.divide(code.minus(whole, begin), p.wide), p.wide))
            with code.loop(begin, stop, p.wide, name="wide") as loop:
                strip(loop.index, strips[0], self._call(code, p, wide=True), p.width)
            begin = stop
        with code.loop(begin, whole, name="strip") as loop:
            strip(loop.index, strips[0], self._call(code, p), p.width)
        if masked:
            with code.when(code.less(whole, strips[1])) as possible:
                if possible:
                    strip(whole, strips[0], self._call(code, p, masked=True), code.remainder(p.n, p.width))

    def _call(self, code: Code, p: GemmPlan, wide: bool = False, masked: bool = False) -> Callable[..., None]:
        """What calls the kernel for tiles of the height in question."""
        shapes = [
            Shape(self.spec.accumulator, rows, self.machine.strips(rows) if wide else 1, masked, p.pack_x is True)
            for rows in heights(self.spec)
        ]
        if len(shapes) == 1:
            only = kernel(self.module, self.machine, shapes[0])
            return lambda arguments: code.invoke(only, arguments)
        function = kernels(self.module, self.machine, shapes)
        return lambda arguments: code.invoke(function, [p.rows, *arguments])

    def _x(self, code: Code, v: dict[str, Size], p: GemmPlan, matrix: Size, position: list[Size]) -> _Matrix:
        strides = listed(v, "x_stride", self.rank + 2)
        size = code.times(p.rows, p.k)
        packed = _Matrix(v["packed_x"], size, 1, p.rows)
        direct = _Matrix(v["x"], code.times(p.rows, strides[-2]), strides[-2], strides[-1])
        start = offset(code, position, strides[:-2]), code.times(matrix, code.times(p.tiles, size))
        return self._either(code, p.pack_x, packed, direct, start)

    def _y(self, code: Code, v: dict[str, Size], p: GemmPlan, matrix: Size, position: list[Size]) -> _Matrix:
        strides = listed(v, "y_stride", self.rank + 2)
        size = code.times(p.width, p.k)
        packed = _Matrix(v["packed_y"], size, 1, p.width)
        direct = _Matrix(v["y"], code.times(p.width, strides[-1]), strides[-1], strides[-2])
        start = offset(code, position, strides[:-2]), code.times(matrix, code.times(p.strips, size))
        return self._either(code, True if self.spec.prepacked else p.pack_y, packed, direct, start)

    def _either(self, code: Code, packs: Truth, packed: _Matrix, direct: _Matrix, starts: tuple[Size, Size]) -> _Matrix:
        """The packed operand or the one in place, from where this task's matrix starts."""
        if isinstance(packs, bool):
            found, start = (packed, starts[1]) if packs else (direct, starts[0])
            element = self.element if packs else element_type(self.spec.dtype)
            return _Matrix(code.at(found.pointer, start, element), found.part, found.next, found.step)
        pointer = code.select(
            packs, code.at(packed.pointer, starts[1], self.element), code.at(direct.pointer, starts[0], self.element)
        )  # fmt: skip
        parts = ((packed.part, direct.part), (packed.next, direct.next), (packed.step, direct.step))
        return _Matrix(pointer, *(code.choose(packs, a, b) for a, b in parts))

    def _stores_directly(self, epilogue: Epilogue | PlainStore) -> bool:
        """Whether kernels can store to the result itself."""
        unit = isinstance(epilogue, PlainStore) and epilogue.strides[-1] == 1
        return unit and (self.machine.masks or not self.ragged)

    def _tile_elements(self, p: GemmPlan) -> int:
        """Elements of stack that hold the sums of any block. Tiles lower than the machine's are few."""
        if isinstance(p.block_tiles, int) and isinstance(p.block_strips, int) and isinstance(p.rows, int):
            return p.block_tiles * p.rows * p.block_strips * p.width
        return BLOCK_BYTES // self.spec.accumulator.itemsize


def _range(code: Code, block: Size, size: Size, count: Size) -> tuple[Size, Size]:
    first = code.times(block, size)
    return first, code.least(code.plus(first, size), count)


def _position(code: Code, outer: Sequence[ir.Value], number: ir.Value) -> list[ir.Value]:
    return [*outer[:-1], code.add(outer[-1], number, flags=("nsw",))]
