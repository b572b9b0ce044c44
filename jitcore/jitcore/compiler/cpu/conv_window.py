"""Forward and transposed convolutions: kernels that pass a weight over the windows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir import shapes

from .blocking import BLOCK_BYTES, BLOCK_ROWS, SERIAL_WORK, TASK_WORK, TASKS
from .conv_geometry import Geometry, Part, image_elements
from .conv_image import emit_image, emit_tap_table, row_major_sizes
from .conv_spec import ConvSpec
from .conv_weight import WeightLayout, emit_pack_weight, packed_weight_size, weight_layout
from .gemm import Dimensions
from .gemm_builder import (
    I8, I64, PTR, Code, Frame, Size, define, emit_body, listed, numbered, offset, product, run_parallel, unflatten,
)  # fmt: skip
from .gemm_epilogue import emit_row, read_context, scalar_epilogue
from .gemm_plan import ALIGN
from .gemm_spec import Dim, Epilogue, PlainStore
from .microkernel import Shape, element_type, kernel

_NULL = ir.Constant(PTR, None)
_RUN = 3
"""Entries that describe a run of taps: where it starts in a packed tile and in the table, and how many steps it has."""


def emit_windows(module: ir.Module, name: str, spec: ConvSpec, epilogue: Epilogue | PlainStore) -> ir.Function:
    """Add the function of a forward or transposed convolution."""
    function, code = define(module, name, [PTR] * 5, internal=False)
    x, y, context, sizes, workspace = function.args
    geometry, memory = Geometry(spec), _Workspace(spec)
    dims = Dimensions(code, geometry.run_time_dims, sizes)
    layout = weight_layout(spec)
    samples, extents = dims[spec.x_shape[0]], dims.all(geometry.extents)
    positions = [product(code, dims.all(part.counts)) for part in geometry.parts]
    work = code.times(code.times(samples, positions[0]), spec.groups * layout.rows * layout.steps)
    serial = code.less(work, SERIAL_WORK)

    image, weight = x, y
    tables = code.at(workspace, memory.tables, I8)
    if memory.weight:
        weight = code.at(workspace, memory.packed, I8)
        emit_pack_weight(code, f"{name}.weight", spec, y, weight, serial)
    if not memory.plain:
        image = code.at(workspace, memory.image, I8)
        channels = code.times(samples, spec.x_shape[1] if isinstance(spec.x_shape[1], int) else 0)
        emit_image(code, name, geometry, x, image, dims.all(geometry.sizes), extents, channels, serial)

    task = _WindowTask(module, name, geometry, layout, epilogue, memory)
    common: dict[str, Size] = {"image": image, "weight": weight, "context": context, **numbered("extent", extents)}
    body: ir.Function | None = None
    place = 0
    for part in geometry.parts:
        table = code.at(tables, place, I64)
        runs = code.at(table, layout.channels * len(part.taps), I64)
        place += layout.channels * len(part.taps) + _RUN * len(part.taps)
        emit_tap_table(code, geometry, part, extents, layout.channels, table)
        values = task.divide(code, part, samples, dims.all(part.counts), extents)
        values |= {"table": table, "runs": runs} | _emit_runs(code, geometry, layout, part, runs)
        if len(geometry.parts) > 1:  # one body serves all parts
            values = {key: code.value(value) for key, value in values.items()}
        frame = Frame(common | values)
        if body is None:
            body = emit_body(module, f"{name}.windows", frame, task.emit)
        count = product(code, listed(values, "task", geometry.rank + 3))
        grain = code.plus(code.divide(TASK_WORK, code.plus(values["task_work"], 1)), 1)
        run_parallel(code, body, frame, count, serial, grain)
    code.ret_void()
    return function


def windows_workspace(spec: ConvSpec) -> Dim:
    """Bytes of workspace: tables, then the weight if it is packed here, then the image."""
    return _Workspace(spec).size


class _Workspace:
    """What the workspace holds, and where."""

    def __init__(self, spec: ConvSpec) -> None:
        geometry, layout = Geometry(spec), weight_layout(spec)
        masks = spec.machine.masks  # without them a kernel would read past the end of x
        self.plain = geometry.is_plain and masks
        self.in_place = spec.direction == "forward" and spec.accumulator is spec.dtype and not spec.prepacked
        self.weight = not spec.prepacked and not self.in_place
        taps = sum(len(part.taps) for part in geometry.parts)
        self.tables = 0
        self.packed = _aligned(taps * (layout.channels + _RUN) * 8)
        self.image = self.packed + (packed_weight_size(spec) if self.weight else 0)
        slack = spec.machine.columns(spec.accumulator)  # kernels read whole strips
        elements = 0 if self.plain else shapes.add(shapes.mul(spec.x_shape[0], image_elements(geometry)), slack)
        self.size = shapes.add(self.image, shapes.mul(elements, spec.accumulator.itemsize))


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _emit_runs(code: Code, geometry: Geometry, layout: WeightLayout, part: Part, table: ir.Value) -> dict[str, Size]:
    """Describe the runs of taps. A forward convolution is one run through a packed tile from its start."""
    if not geometry.is_transposed:
        return {"run_count": 1}
    done = 0
    for number, (first, count) in enumerate(part.runs):
        entries = (first * layout.channels * layout.height, done * layout.channels, count * layout.channels)
        for entry, value in enumerate(entries):
            code.write(code.value(value), table, _RUN * number + entry)
        done += count
    return {"run_count": len(part.runs)}


@dataclass(frozen=True, slots=True)
class _Windows:
    """Consecutive positions of a block: `lines` rows of `width` results, at distance `step`, flattened to `count`."""

    lines: Size
    width: Size
    step: Size
    count: Size


class _WindowTask:
    """Emits the task that computes a block of rows for a block of positions of one sample and group."""

    def __init__(
        self, module: ir.Module, name: str, geometry: Geometry, layout: WeightLayout,
        epilogue: Epilogue | PlainStore, memory: _Workspace,
    ) -> None:  # fmt: skip
        self.module, self.geometry, self.layout = module, geometry, layout
        self.spec, self.machine, self.rank = geometry.spec, geometry.spec.machine, geometry.rank
        self.element = element_type(self.spec.accumulator)
        self.columns = self.machine.columns(self.spec.accumulator)
        self.wide = self.machine.strips(layout.height)
        self.masked = memory.plain
        self.in_place = memory.in_place
        self.block_tiles = max(1, min(layout.tiles, BLOCK_ROWS // layout.height))
        self.lines = min(self.rank - 1, 1)  # how many axes besides the last a block of positions spans
        step = self.columns * self.wide
        capacity = BLOCK_BYTES // (self.block_tiles * layout.height * self.spec.accumulator.itemsize)
        self.capacity = max(step, min(capacity, 1024) // step * step)
        self._stride = self.capacity + self.columns  # between rows of sums; not a power of two, which caches dislike
        self.epilogue = scalar_epilogue(epilogue)
        self.row = emit_row(module, f"{name}.row", self.element, self.epilogue, 2 + 2 * self.rank, self._position)

    def divide(
        self, code: Code, part: Part, samples: Size, counts: list[Size], extents: list[Size]
    ) -> dict[str, Size]:
        """Values of a part: its counts, the lines and width of a block, and the number of tasks along each axis."""
        step, lines_count = extents[-1], counts[-2] if self.lines else 1
        row_blocks = -(-self.layout.tiles // self.block_tiles)
        narrow = code.less(counts[-1], self.capacity + 1)
        width = code.choose(narrow, counts[-1], self.capacity)
        fitting = code.divide(self.capacity, code.greatest(step, 1))
        lines = code.choose(narrow, code.greatest(1, code.least(lines_count, fitting)), 1)
        others = product(code, [samples, self.spec.groups * row_blocks, *counts[: -1 - self.lines]])
        work = code.times(product(code, [others, lines_count, counts[-1]]), self.layout.height * self.layout.steps)
        wanted = code.least(TASKS, code.divide(work, TASK_WORK))
        missing = code.greatest(1, code.ceil_divide(wanted, code.greatest(1, others)))
        lines = code.greatest(1, code.least(lines, code.ceil_divide(lines_count, missing)))
        width_blocks = code.ceil_divide(counts[-1], code.greatest(1, width))
        tasks = [samples, self.spec.groups, *counts[: -1 - self.lines]]
        tasks += [code.ceil_divide(lines_count, lines)] if self.lines else []
        tasks += [width_blocks, row_blocks]
        rows = self.block_tiles * self.layout.height * self.layout.steps
        if len(self.geometry.parts) == 1 and isinstance(step, int) and isinstance(width, int) and isinstance(lines, int):
            self._stride = -(-((lines - 1) * step + width) // self.columns) * self.columns
        values: dict[str, Size] = {"lines": lines, "width": width}
        values["task_work"] = code.times(code.times(lines, width), rows)
        return values | numbered("task", tasks) | numbered("count", counts) | numbered("add", part.add)

    def emit(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        """Task number `index`."""
        layout, spec, rank = self.layout, self.spec, self.rank
        extents, counts = listed(v, "extent", rank), listed(v, "count", rank)
        sample, group, *place, width_block, row_block = unflatten(code, index, listed(v, "task", rank + 3))
        line = code.times(place[-1], v["lines"]) if self.lines else 0
        column = code.times(width_block, v["width"])
        origin = [*place[:-1], line, column] if self.lines else [column]
        lines = code.least(v["lines"], code.minus(counts[-2], line)) if self.lines else 1
        width = code.least(v["width"], code.minus(counts[-1], column))
        count = code.plus(code.times(code.minus(lines, 1), extents[-1]), width)
        windows = _Windows(lines, width, extents[-1], count)

        channels = layout.channels * spec.groups
        channel = code.times(product(code, extents), self.geometry.phases)
        start = code.times(code.plus(code.times(sample, channels), code.times(group, layout.channels)), channel)
        start = code.plus(start, offset(code, origin, row_major_sizes(code, extents)))
        image = code.at(v["image"], start, self.element)
        first_tile = code.times(row_block, self.block_tiles)
        tiles = code.least(self.block_tiles, code.minus(layout.tiles, first_tile))
        if self.in_place:
            weight = code.plus(code.times(group, layout.rows * layout.steps), code.times(first_tile, self._tile_size))
        else:
            weight = code.times(code.plus(code.times(group, layout.tiles), first_tile), self._tile_size)
        pointer = code.at(v["weight"], weight, self.element)
        sums = code.stack(self.element, self.block_tiles * layout.height * self._stride)
        self._runs(code, v, image, pointer, sums, windows, first_tile, tiles)
        self._finish(code, v, sums, windows, (sample, group, first_tile, tiles), origin)

    @property
    def _tile_size(self) -> int:
        return self.layout.height * self.layout.steps

    def _runs(
        self, code: Code, v: dict[str, Size], image: ir.Value, weight: ir.Value, sums: ir.Value, windows: _Windows,
        first_tile: Size, tiles: Size,
    ) -> None:  # fmt: skip
        if not self.geometry.is_transposed:
            self._strips(code, image, weight, sums, windows, first_tile, tiles, (v["table"], self.layout.steps, 0))
            return
        # A part without taps still runs once, over no steps, to clear the sums.
        with code.loop(0, code.greatest(1, v["run_count"]), name="run") as run:
            exists = code.less(run.index, v["run_count"])
            entry = code.times(code.choose(exists, run.index, 0), _RUN)
            x, y, steps = (
                code.choose(exists, code.read(v["runs"], code.plus(entry, i), I64), 0) for i in range(_RUN)
            )  # fmt: skip
            table, start = code.at(v["table"], y, I64), code.at(weight, x, self.element)
            self._strips(code, image, start, sums, windows, first_tile, tiles, (table, steps, run.index))

    def _strips(
        self, code: Code, image: ir.Value, weight: ir.Value, sums: ir.Value, windows: _Windows, first_tile: Size,
        tiles: Size, steps: tuple[ir.Value, Size, Size],
    ) -> None:  # fmt: skip
        """All strips of positions for one run of steps (their table, number, and whether sums go on)."""
        layout, width = self.layout, self.columns
        table, depth, accumulate = steps
        next_row, step = (layout.steps, 1) if self.in_place else (1, layout.height)

        def strip(index: Size, shape: Shape, columns: Size) -> None:
            function = kernel(self.module, self.machine, shape)
            start = code.at(image, code.times(index, width), self.element)
            target = code.at(sums, code.times(index, width), self.element)
            with code.loop(0, tiles, name="tile") as tile:
                row = code.times(code.plus(first_tile, tile.index), layout.height)
                code.invoke(function, [
                    code.at(weight, code.times(tile.index, self._tile_size), self.element), next_row, step,
                    start, 0, width, code.at(target, code.times(tile.index, layout.height * self._stride), self.element),
                    self._stride, code.least(layout.height, code.minus(layout.rows, row)), columns, depth, accumulate,
                    _NULL, table,
                ])  # fmt: skip

        whole = code.divide(windows.count, width)
        strips = whole if self.masked else code.ceil_divide(windows.count, width)
        begin: Size = 0
        if self.wide > 1:
            begin = code.times(code.divide(strips, self.wide), self.wide)
            with code.loop(0, begin, self.wide, name="wide") as loop:
                strip(loop.index, self._shape(self.wide), width)
        with code.loop(begin, strips, name="strip") as loop:
            strip(loop.index, self._shape(1), width)
        if self.masked:
            rest = code.remainder(windows.count, width)
            with code.when(code.less(0, rest)) as possible:
                if possible:
                    strip(whole, self._shape(1, masked=True), rest)

    def _shape(self, strips: int, masked: bool = False) -> Shape:
        return Shape(
            self.spec.accumulator, self.layout.height, strips, masked, packed=not self.in_place, y_table=True
        )  # fmt: skip

    def _finish(
        self, code: Code, v: dict[str, Size], sums: ir.Value, windows: _Windows, block: tuple[Size, Size, Size, Size],
        origin: list[Size],
    ) -> None:  # fmt: skip
        """Hand the sums that belong to results to the epilogue, line by line."""
        sample, group, first_tile, tiles = block
        captured = read_context(code, v["context"], self.epilogue.captures)
        height, rows = self.layout.height, self.layout.rows
        first = code.times(first_tile, height)
        stop = code.least(code.times(tiles, height), code.minus(rows, first))
        adds = listed(v, "add", self.rank)
        with code.loop(0, stop, name="row") as row, code.loop(0, windows.lines, name="line") as line:
            place = code.plus(code.times(row.index, self._stride), code.times(line.index, windows.step))
            channel = code.plus(code.times(group, rows), code.plus(first, row.index))
            here = list(origin)
            if self.lines:
                here[-2] = code.plus(here[-2], line.index)
            pointer = code.at(sums, place, self.element)
            code.invoke(self.row, [pointer, windows.width, sample, channel, *here, *adds, *captured])

    def _position(self, code: Code, outer: Sequence[ir.Value], number: ir.Value) -> list[ir.Value]:
        sample, channel, *rest = outer
        position, adds = list(rest[: self.rank]), rest[self.rank :]
        position[-1] = code.add(position[-1], number)
        factors = self.geometry.parts[0].mul
        places = [code.plus(code.times(q, factor), more) for q, factor, more in zip(position, factors, adds)]
        return [sample, channel, *(code.value(place) for place in places)]

