"""Convolutions whose vectors run over the result's channels: no lane is wasted, however small the image.

A kernel's rows are positions, found in the image by a table, and its columns are channels, as the weight was packed.
The sums come out channels last, and are transposed before the epilogue sees them.
"""

from __future__ import annotations

from llvmlite import ir

from .blocking import BLOCK_K
from .conv_geometry import Geometry
from .conv_image import row_major_sizes
from .conv_task import Block, Steps, Sums, WindowTask
from .conv_weight import WeightLayout
from .gemm_builder import I64, Code, Size, listed, offset
from .gemm_spec import Epilogue, PlainStore
from .microkernel import Shape, kernel
from .packing import transpose

_POSITIONS = 192
_CHANNEL_BYTES = 256
"""A block's sums are at most so many positions of so many bytes each: 48 KiB, and as much again transposed."""


class ChannelTask(WindowTask):
    def __init__(
        self, module: ir.Module, name: str, geometry: Geometry, layout: WeightLayout, epilogue: Epilogue | PlainStore
    ) -> None:
        size = geometry.spec.accumulator.itemsize
        block_tiles = max(1, min(layout.tiles, _CHANNEL_BYTES // (layout.height * size)))
        super().__init__(module, name, geometry, layout, epilogue, block_tiles, _POSITIONS)
        self.lanes = self.machine.lanes(self.spec.accumulator)

    def line_step(self, width: Size, extent: Size) -> Size:
        return width

    def compute(self, code: Code, v: dict[str, Size], block: Block) -> Sums:
        count = code.times(block.lines, block.width)
        channels = self.block_tiles * self.layout.height
        sums = code.stack(self.element, (_POSITIONS + self.lanes) * channels)
        stride = _POSITIONS + self.lanes  # not a power of two, which caches dislike
        turned = code.stack(self.element, channels * stride)
        counts = listed(v, "count", self.rank)
        first = offset(code, block.origin, row_major_sizes(code, counts))
        positions = code.at(v["positions"], first, I64)

        def run(steps: Steps) -> None:
            blocks = code.greatest(1, code.ceil_divide(steps.depth, BLOCK_K))
            if blocks == 1:
                self._strips(code, block, positions, count, sums, steps)
                return
            with code.loop(0, blocks, name="k_block") as loop:
                begin = code.times(loop.index, BLOCK_K)
                depth = code.least(BLOCK_K, code.minus(steps.depth, begin))
                accumulate = code.plus(steps.accumulate, loop.index)
                part = Steps(code.at(steps.table, begin, I64), code.plus(steps.first, begin), depth, accumulate)
                self._strips(code, block, positions, count, sums, part)

        self.runs(code, v, run)
        self._transpose(code, sums, turned, count, code.times(block.tiles, self.layout.height), channels, stride)
        return Sums(turned, stride, block.width)

    def _strips(self, code: Code, block: Block, positions: ir.Value, count: Size, sums: ir.Value, steps: Steps) -> None:
        """All channels for one run of steps."""
        layout, channels = self.layout, self.block_tiles * self.layout.height
        rows = self.machine.rows
        if isinstance(count, int):
            rows = max(1, -(-count // max(1, -(-count // rows))))
        function = kernel(self.module, self.machine, Shape(self.spec.accumulator, rows, x_table=True))
        with code.loop(0, block.tiles, name="strip") as strip:
            step = code.plus(code.times(strip.index, layout.steps), steps.first)
            y = code.at(block.weight, code.times(step, layout.height), self.element)
            target = code.at(sums, code.times(strip.index, layout.height), self.element)
            with code.loop(0, count, rows, name="tile") as tile:
                c = code.at(target, code.times(tile.index, channels), self.element)
                here = code.at(positions, tile.index, I64)
                some = code.least(rows, code.minus(count, tile.index))
                code.invoke(function, [
                    block.image, 0, 0, y, layout.height, 0, c, channels, some, layout.height, steps.depth,
                    steps.accumulate, here, steps.table,
                ])  # fmt: skip

    def _transpose(
        self, code: Code, sums: ir.Value, turned: ir.Value, count: Size, used: Size, channels: int, stride: int
    ) -> None:
        """turned[channel, position] = sums[position, channel], square by square."""
        lanes, align = self.lanes, self.spec.accumulator.itemsize
        vector = ir.VectorType(self.element, lanes)
        with code.loop(0, used, lanes, name="channel") as c, code.loop(0, count, lanes, name="position") as p:
            rows = []
            for i in range(lanes):
                place = code.plus(code.times(code.plus(p.index, i), channels), c.index)
                rows.append(code.load(code.at(sums, place, self.element), typ=vector, align=align))
            for i, column in enumerate(transpose(code, rows)):
                place = code.plus(code.times(code.plus(c.index, i), stride), p.index)
                code.store(column, code.at(turned, place, self.element), align=align)
