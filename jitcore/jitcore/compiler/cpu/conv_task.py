"""`WindowTask`: one task of a forward or transposed convolution, a block of channels and positions of one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from .blocking import TASK_WORK, TASKS
from .conv_geometry import Geometry, Part
from .conv_image import row_major_sizes
from .conv_weight import WeightLayout
from .gemm_builder import I64, Code, Size, listed, numbered, offset, product, unflatten
from .gemm_epilogue import emit_row, read_context, scalar_epilogue
from .gemm_spec import Epilogue, PlainStore
from .microkernel import element_type

RUN = 3
"""Entries that describe a run of taps: the step of a packed tile and the entry of the table where it starts, and its
number of steps."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a task computes: `tiles` tiles of channels of one group of one sample, at `lines` lines of `width` positions
    from position `origin`. `image` and `weight` point at the group's channels and at the first tile."""

    sample: Size
    group: Size
    first_tile: Size
    tiles: Size
    origin: list[Size]
    lines: Size
    width: Size
    image: ir.Value
    weight: ir.Value


@dataclass(frozen=True, slots=True)
class Steps:
    """A run of steps: their offsets in the image, their first step in a packed tile, their number, and whether the
    sums continue."""

    table: ir.Value
    first: Size
    depth: Size
    accumulate: Size


@dataclass(frozen=True, slots=True)
class Sums:
    """Finished sums: channel i, line l, position j lie at `pointer + i*stride + l*step + j`."""

    pointer: ir.Value
    stride: Size
    step: Size


class WindowTask:
    """Divides a part into blocks, and hands the sums of a block to the epilogue. How they are computed is left open."""

    def __init__(
        self, module: ir.Module, name: str, geometry: Geometry, layout: WeightLayout, epilogue: Epilogue | PlainStore,
        block_tiles: int, capacity: int,
    ) -> None:  # fmt: skip
        self.module, self.geometry, self.layout = module, geometry, layout
        self.spec, self.machine, self.rank = geometry.spec, geometry.spec.machine, geometry.rank
        self.element = element_type(self.spec.accumulator)
        self.block_tiles, self.capacity = block_tiles, capacity
        self.lines = min(self.rank - 1, 1)  # how many axes besides the last a block spans
        self.epilogue = scalar_epilogue(epilogue)
        self.row = emit_row(module, f"{name}.row", self.element, self.epilogue, 2 + 2 * self.rank, self._position)

    def compute(self, code: Code, v: dict[str, Size], block: Block) -> Sums:
        """Emit the sums of a block. Overridden."""
        raise NotImplementedError

    def line_step(self, width: Size, extent: Size) -> Size:
        """Distance of lines in a block, in positions of which it holds `capacity`. Overridden."""
        raise NotImplementedError

    def divide(
        self, code: Code, part: Part, samples: Size, counts: list[Size], extents: list[Size]
    ) -> dict[str, Size]:  # fmt: skip
        """Values of a part: its counts, the lines and width of a block, and the number of tasks along each axis."""
        line_count = counts[-2] if self.lines else 1
        row_blocks = -(-self.layout.tiles // self.block_tiles)
        narrow = code.less(counts[-1], self.capacity + 1)
        width = code.choose(narrow, counts[-1], self.capacity)
        fitting = code.divide(self.capacity, code.greatest(self.line_step(counts[-1], extents[-1]), 1))
        lines = code.choose(narrow, code.greatest(1, code.least(line_count, fitting)), 1)
        others = product(code, [samples, self.spec.groups * row_blocks, *counts[: -1 - self.lines]])
        work = code.times(product(code, [others, line_count, counts[-1]]), self.layout.height * self.layout.steps)
        wanted = code.least(TASKS, code.divide(work, TASK_WORK))
        missing = code.greatest(1, code.ceil_divide(wanted, code.greatest(1, others)))
        lines = code.greatest(1, code.least(lines, code.ceil_divide(line_count, missing)))
        tasks = [samples, self.spec.groups, *counts[: -1 - self.lines]]
        tasks += [code.ceil_divide(line_count, lines)] if self.lines else []
        tasks += [code.ceil_divide(counts[-1], code.greatest(1, width)), row_blocks]
        values: dict[str, Size] = {"lines": lines, "width": width}
        rows = min(self.block_tiles, self.layout.tiles) * self.layout.height
        values["task_work"] = code.times(code.times(lines, width), rows * self.layout.steps)
        return values | numbered("task", tasks) | numbered("count", counts) | numbered("add", part.add)

    def emit(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        """Task number `index`."""
        layout, rank = self.layout, self.rank
        extents, counts = listed(v, "extent", rank), listed(v, "count", rank)
        sample, group, *place, width_block, row_block = unflatten(code, index, listed(v, "task", rank + 3))
        line = code.times(place[-1], v["lines"]) if self.lines else 0
        column = code.times(width_block, v["width"])
        origin = [*place[:-1], line, column] if self.lines else [column]
        lines = code.least(v["lines"], code.minus(counts[-2], line)) if self.lines else 1
        width = code.least(v["width"], code.minus(counts[-1], column))
        channel = code.times(code.plus(code.times(sample, self.spec.groups), group), layout.channels)
        start = code.times(channel, code.times(product(code, extents), self.geometry.phases))
        first_tile = code.times(row_block, self.block_tiles)
        tiles = code.least(self.block_tiles, code.minus(layout.tiles, first_tile))
        weight = code.plus(code.times(group, layout.group), code.times(first_tile, layout.height * layout.steps))
        block = Block(
            sample, group, first_tile, tiles, origin, lines, width,
            code.at(v["image"], start, self.element), code.at(v["weight"], weight, self.element),
        )  # fmt: skip
        self._finish(code, v, block, self.compute(code, v, block))

    def origin_offset(self, code: Code, v: dict[str, Size], block: Block) -> Size:
        """Where a block's first window starts in the image."""
        return offset(code, block.origin, row_major_sizes(code, listed(v, "extent", self.rank)))

    def runs(self, code: Code, v: dict[str, Size], emit: Callable[[Steps], None]) -> None:
        """Call `emit(steps)` for the runs of taps, in a loop where there may be several."""
        if not self.geometry.is_transposed:
            emit(Steps(v["table"], 0, self.layout.steps, 0))
            return
        # A part without taps still runs once, over no steps, to clear the sums.
        with code.loop(0, code.greatest(1, v["run_count"]), name="run") as run:
            exists = code.less(run.index, v["run_count"])
            entry = code.times(code.choose(exists, run.index, 0), RUN)
            first, at, depth = (
                code.choose(exists, code.read(v["runs"], code.plus(entry, i), I64), 0) for i in range(RUN)
            )  # fmt: skip
            emit(Steps(code.at(v["table"], at, I64), first, depth, run.index))

    def _finish(self, code: Code, v: dict[str, Size], block: Block, sums: Sums) -> None:
        """Hand the sums to the epilogue, line by line."""
        captured = read_context(code, v["context"], self.epilogue.captures)
        height, rows = self.layout.height, self.layout.rows
        first = code.times(block.first_tile, height)
        stop = code.least(code.times(block.tiles, height), code.minus(rows, first))
        adds = listed(v, "add", self.rank)
        with code.loop(0, stop, name="row") as row, code.loop(0, block.lines, name="line") as line:
            place = code.plus(code.times(row.index, sums.stride), code.times(line.index, sums.step))
            channel = code.plus(code.times(block.group, rows), code.plus(first, row.index))
            here = list(block.origin)
            if self.lines:
                here[-2] = code.plus(here[-2], line.index)
            pointer = code.at(sums.pointer, place, self.element)
            code.invoke(self.row, [pointer, block.width, block.sample, channel, *here, *adds, *captured])

    def _position(self, code: Code, outer: Sequence[ir.Value], number: ir.Value) -> list[ir.Value]:
        sample, channel, *rest = outer
        position, adds = list(rest[: self.rank]), rest[self.rank :]
        position[-1] = code.add(position[-1], number)
        factors = self.geometry.parts[0].mul
        places = [code.plus(code.times(q, factor), more) for q, factor, more in zip(position, factors, adds)]
        return [sample, channel, *(code.value(place) for place in places)]
