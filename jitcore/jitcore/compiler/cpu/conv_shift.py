"""Convolutions whose vectors run over positions: for few result channels, depthwise ones above all.

The lines of a block are taken together with what lies between them in the image, so that every step of every kernel
call loads neighbouring elements; the sums in between belong to no result and are dropped.
"""

from __future__ import annotations

from llvmlite import ir

from .blocking import BLOCK_BYTES, BLOCK_ROWS
from .conv_geometry import Geometry
from .conv_task import Block, Steps, Sums, WindowTask
from .conv_weight import WeightLayout
from .gemm_builder import PTR, Code, Size
from .gemm_spec import Epilogue, PlainStore
from .microkernel import Shape, kernel

_NULL = ir.Constant(PTR, None)


class ShiftTask(WindowTask):
    """`masked`: the image is x itself and must not be read past its end. `in_place`: so is the weight y."""

    def __init__(
        self, module: ir.Module, name: str, geometry: Geometry, layout: WeightLayout, epilogue: Epilogue | PlainStore,
        masked: bool, in_place: bool,
    ) -> None:  # fmt: skip
        machine, dtype = geometry.spec.machine, geometry.spec.accumulator
        self.columns, self.wide = machine.columns(dtype), machine.strips(layout.height)
        self.masked, self.in_place = masked, in_place
        block_tiles = max(1, min(layout.tiles, BLOCK_ROWS // layout.height))
        step = self.columns * self.wide
        capacity = min(1024, BLOCK_BYTES // (block_tiles * layout.height * dtype.itemsize))
        super().__init__(module, name, geometry, layout, epilogue, block_tiles, max(step, capacity // step * step))

    def line_step(self, width: Size, extent: Size) -> Size:
        return extent

    def compute(self, code: Code, v: dict[str, Size], block: Block) -> Sums:
        stride = self.capacity + self.columns  # not a power of two, which caches dislike
        sums = code.stack(self.element, self.block_tiles * self.layout.height * stride)
        step = v[f"extent{self.rank - 1}"]
        count = code.plus(code.times(code.minus(block.lines, 1), step), block.width)
        image = code.at(block.image, self.origin_offset(code, v, block), self.element)
        weight = block.weight
        if self.in_place:  # rows follow each other without padding between groups
            first = code.plus(
                code.times(block.group, self.layout.rows), code.times(block.first_tile, self.layout.height)
            )  # fmt: skip
            weight = code.at(v["weight"], code.times(first, self.layout.steps), self.element)

        def run(steps: Steps) -> None:
            self._strips(code, block, image, weight, Sums(sums, stride, step), count, steps)

        self.runs(code, v, run)
        return Sums(sums, stride, step)

    def _strips(
        self, code: Code, block: Block, image: ir.Value, weight: ir.Value, sums: Sums, count: Size, steps: Steps
    ) -> None:
        """All strips of `count` positions for one run of steps."""
        layout, width = self.layout, self.columns
        next_row, step = (layout.steps, 1) if self.in_place else (1, layout.height)
        start = code.at(weight, code.times(steps.first, step), self.element)

        def strip(index: Size, wide: int, columns: Size, masked: bool = False) -> None:
            shape = Shape(self.spec.accumulator, layout.height, wide, masked, packed=not self.in_place, y_table=True)
            function = kernel(self.module, self.machine, shape)
            windows = code.at(image, code.times(index, width), self.element)
            target = code.at(sums.pointer, code.times(index, width), self.element)
            with code.loop(0, block.tiles, name="tile") as tile:
                row = code.times(code.plus(block.first_tile, tile.index), layout.height)
                x = code.at(start, code.times(tile.index, layout.height * layout.steps), self.element)
                c = code.at(target, code.times(tile.index, code.times(layout.height, sums.stride)), self.element)
                rows = code.least(layout.height, code.minus(layout.rows, row))
                code.invoke(function, [
                    x, next_row, step, windows, 0, width, c, sums.stride, rows, columns, steps.depth, steps.accumulate,
                    _NULL, steps.table,
                ])  # fmt: skip

        whole = code.divide(count, width)
        strips = whole if self.masked else code.ceil_divide(count, width)
        begin: Size = 0
        if self.wide > 1:
            begin = code.times(code.divide(strips, self.wide), self.wide)
            with code.loop(0, begin, self.wide, name="wide") as loop:
                strip(loop.index, self.wide, width)
        with code.loop(begin, strips, name="strip") as loop:
            strip(loop.index, 1, width)
        if self.masked:
            rest = code.remainder(count, width)
            with code.when(code.less(0, rest)) as possible:
                if possible:
                    strip(whole, 1, rest, masked=True)
