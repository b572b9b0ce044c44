"""The gradient of a convolution in its weight: sums over samples and positions.

Row (channel, tap) and column (output channel) of a group's product: each kernel step is a position, which reads for
every row the element of the image under that tap, and the gradients of the output channels there, packed beforehand.
Samples are divided into a fixed number of chunks, summed apart and then added in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir import shapes

from .blocking import BLOCK_BYTES, BLOCK_K, BLOCK_ROWS, SERIAL_WORK, TASK_WORK, TASKS
from .conv_geometry import Geometry, image_elements
from .conv_image import emit_image, emit_position_table, emit_tap_table
from .conv_spec import ConvSpec
from .gemm import Dimensions
from .gemm_builder import (
    I8,
    I64,
    PTR,
    Code,
    Frame,
    Size,
    define,
    listed,
    numbered,
    parallel,
    product,
    unflatten,
)  # fmt: skip
from .gemm_epilogue import emit_row, read_context, scalar_epilogue
from .gemm_plan import ALIGN, aligned
from .gemm_spec import Dim, Epilogue, PlainStore
from .microkernel import Shape, element_type, kernel, plus
from .packing import GROUP, Source, pack_group


def emit_weight_gradient(
    module: ir.Module, name: str, spec: ConvSpec, epilogue: Epilogue | PlainStore
) -> ir.Function:  # fmt: skip
    """Add the function of a weight gradient."""
    function, code = define(module, name, [PTR] * 5, internal=False)
    x, y, context, sizes, workspace = function.args
    geometry = Geometry(spec)
    part, how = geometry.parts[0], _Division.of(geometry)
    dims = Dimensions(code, geometry.run_time_dims, sizes)
    samples, extents, counts = dims[spec.x_shape[0]], dims.all(geometry.extents), dims.all(part.counts)
    positions = product(code, counts)
    work = code.times(code.times(samples, positions), spec.groups * how.rows * how.columns)
    serial = code.less(work, SERIAL_WORK)
    chunk = code.greatest(1, code.ceil_divide(samples, how.chunks))
    chunks = code.ceil_divide(samples, chunk)

    place: Size = 0
    found = []
    for size in _layout(geometry, how):
        found.append(code.at(workspace, place, I8))
        bytes = size if isinstance(size, int) else _run_time_size(code, geometry, how, dims, len(found))
        place = code.plus(place, bytes)
    rows, steps, sums, packed, image = found
    emit_tap_table(code, geometry, part, extents, how.channels, rows)
    emit_position_table(code, counts, extents, steps)
    if geometry.is_plain:
        image = x
    else:
        channels = code.times(samples, how.channels * spec.groups)
        emit_image(code, name, geometry, x, image, dims.all(geometry.sizes), extents, channels, serial)

    values: dict[str, Size] = {"rows": rows, "steps": steps, "sums": sums, "packed": packed, "image": image, "y": y}
    values |= {"context": context, "samples": samples, "positions": positions, "chunk": chunk, "chunks": chunks}
    values["channel"] = code.times(product(code, extents), geometry.phases)
    frame = Frame(values | numbered("task", [chunks, spec.groups, how.column_blocks, how.row_blocks]))
    task = _GradientTask(module, name, geometry, how, epilogue)
    groups = -(-how.strips // GROUP)
    parallel(module, code, f"{name}.pack", frame, code.times(samples, spec.groups * groups), serial, task.pack)
    parallel(module, code, f"{name}.sum", frame, product(code, listed(frame.values, "task", 4)), serial, task.sum)
    grain = 1 + TASK_WORK // (how.columns * 64 + 1)
    parallel(module, code, f"{name}.finish", frame, spec.groups * how.rows, serial, task.finish, grain)
    code.ret_void()
    return function


def gradient_workspace(spec: ConvSpec) -> Dim:
    """Bytes of workspace."""
    geometry = Geometry(spec)
    total: Dim = 0
    for size in _layout(geometry, _Division.of(geometry)):
        total = shapes.add(total, size)
    return total


@dataclass(frozen=True, slots=True)
class _Division:
    """Sizes of one group's product and its parts: `rows` = `channels` * taps by `columns` output channels."""

    channels: int
    rows: int
    columns: int
    height: int
    width: int
    strips: int
    block_tiles: int
    block_strips: int
    chunks: int

    @classmethod
    def of(cls, geometry: Geometry) -> _Division:
        spec = geometry.spec
        channels, columns = (
            size // spec.groups for size in (spec.x_shape[1], spec.y_shape[1]) if isinstance(size, int)
        )
        rows = channels * len(geometry.parts[0].taps)
        tiles = max(1, -(-rows // spec.machine.rows))
        height = max(1, -(-rows // tiles))
        width = spec.machine.columns(spec.accumulator)
        strips = -(-columns // width)
        block_tiles = max(1, BLOCK_ROWS // height)
        block_strips = max(1, BLOCK_BYTES // (BLOCK_ROWS * width * spec.accumulator.itemsize))
        blocks = spec.groups * -(-rows // (height * block_tiles)) * -(-strips // block_strips)
        return cls(
            channels, rows, columns, height, width, strips, block_tiles, block_strips, -(-TASKS // max(1, blocks))
        )  # fmt: skip

    @property
    def tiles(self) -> int:
        return -(-self.rows // self.height)

    @property
    def row_blocks(self) -> int:
        return -(-self.tiles // self.block_tiles)

    @property
    def column_blocks(self) -> int:
        return -(-self.strips // self.block_strips)

    @property
    def stride(self) -> int:
        """Elements between rows of sums."""
        return self.strips * self.width


def _layout(geometry: Geometry, how: _Division) -> list[Dim]:
    """Bytes of the parts of the workspace: both tables, the chunks' sums, packed y, the image."""
    spec = geometry.spec
    positions = shapes.product(geometry.parts[0].counts)
    item = spec.accumulator.itemsize
    packed = shapes.product((spec.x_shape[0], spec.groups * how.stride, positions, item))
    image = 0 if geometry.is_plain else shapes.product((spec.x_shape[0], image_elements(geometry), item))
    sums = how.chunks * spec.groups * how.rows * how.stride * item
    return [aligned(size) for size in (how.rows * 8, shapes.mul(positions, 8), sums, packed, image)]


def _run_time_size(code: Code, geometry: Geometry, how: _Division, dims: Dimensions, number: int) -> Size:
    """The value of entry `number - 1` of the layout."""
    spec = geometry.spec
    positions = product(code, dims.all(geometry.parts[0].counts))
    item = spec.accumulator.itemsize
    size = code.times(positions, 8)
    if number > 2:
        size = product(code, [dims[spec.x_shape[0]], positions, spec.groups * how.stride * item])
    return code.times(code.ceil_divide(size, ALIGN), ALIGN)


class _GradientTask:
    """Emits the three loops: packing y, summing, finishing."""

    def __init__(
        self, module: ir.Module, name: str, geometry: Geometry, how: _Division, epilogue: Epilogue | PlainStore
    ) -> None:
        self.module, self.geometry, self.how, self.spec = module, geometry, how, geometry.spec
        self.machine = self.spec.machine
        self.element = element_type(self.spec.accumulator)
        self.epilogue = scalar_epilogue(epilogue)
        outer = 2 + geometry.rank
        self.row = emit_row(module, f"{name}.row", self.element, self.epilogue, outer, self._position)

    def pack(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        """Some strips of the output channels of one group of one sample."""
        how = self.how
        groups = -(-how.strips // GROUP)
        matrix, first = unflatten(code, index, [0, groups])  # matrix: sample * groups + group
        positions = v["positions"]
        start = code.times(matrix, code.times(how.columns, positions))
        source = code.at(v["y"], start, element_type(self.spec.dtype))
        target = code.at(v["packed"], code.times(matrix, code.times(how.stride, positions)), self.element)
        operand = Source(self.spec.dtype, source, how.columns, positions, positions, 1)
        pack_group(code, self.machine, operand, how.width, target, code.times(first, GROUP))

    def sum(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        """A block of one group's sums over one chunk of samples."""
        how, groups, positions = self.how, self.spec.groups, v["positions"]
        chunk, group, column_block, row_block = unflatten(code, index, listed(v, "task", 4))
        first_sample = code.times(chunk, v["chunk"])
        last_sample = code.least(code.plus(first_sample, v["chunk"]), v["samples"])
        tiles = code.times(row_block, how.block_tiles)
        tiles_end = code.least(code.plus(tiles, how.block_tiles), how.tiles)
        strips = code.times(column_block, how.block_strips)
        strips_end = code.least(code.plus(strips, how.block_strips), how.strips)
        sums = code.plus(code.times(chunk, groups), group)
        sums = code.at(v["sums"], code.times(sums, how.rows * how.stride), self.element)
        function = kernel(
            self.module, self.machine, Shape(self.spec.accumulator, how.height, x_table=True)
        )  # fmt: skip
        blocks = code.greatest(1, code.ceil_divide(positions, BLOCK_K))
        with code.loop(first_sample, last_sample, name="sample") as sample, code.loop(0, blocks, name="block") as block:
            matrix = code.plus(code.times(sample.index, groups), group)
            image = code.at(v["image"], code.times(matrix, code.times(how.channels, v["channel"])), self.element)
            first = code.times(block.index, BLOCK_K)
            depth = code.least(BLOCK_K, code.minus(positions, first))
            started = code.either(code.less(first_sample, sample.index), code.less(0, block.index))
            accumulate = code.choose(started, 1, 0)
            steps = code.at(v["steps"], first, I64)
            with code.loop(strips, strips_end, name="strip") as strip, code.loop(tiles, tiles_end, name="tile") as tile:
                row = code.times(tile.index, how.height)
                step = code.plus(code.times(code.plus(code.times(matrix, how.strips), strip.index), positions), first)
                place = code.plus(code.times(row, how.stride), code.times(strip.index, how.width))
                code.invoke(function, [
                    image, 0, 0, code.at(v["packed"], code.times(step, how.width), self.element), how.width, 0,
                    code.at(sums, place, self.element), how.stride, code.least(how.height, code.minus(how.rows, row)),
                    how.width, depth, accumulate, code.at(v["rows"], row, I64), steps,
                ])  # fmt: skip

    def finish(self, code: Code, v: dict[str, Size], index: ir.Value) -> None:
        """Add the chunks of one row of one group in order, and hand them to the epilogue."""
        how, kernel_sizes = self.how, self.geometry.kernel
        group, row = unflatten(code, index, [0, how.rows])
        channel, *taps = unflatten(code, row, [0, *kernel_sizes])
        width, size = how.stride, self.spec.groups * how.rows * how.stride
        zero = ir.Constant(self.element, 0 if isinstance(self.element, ir.IntType) else 0.0)
        line = code.stack(self.element, width)
        with code.loop(0, width, name="column", optimize=True) as column:
            code.write(zero, line, column.index)
        start = code.at(v["sums"], code.times(index, width), self.element)
        with code.loop(0, v["chunks"], name="chunk") as chunk:
            more = code.at(start, code.times(chunk.index, size), self.element)
            with code.loop(0, width, name="column", optimize=True) as column:
                before, term = (code.read(place, column.index, self.element) for place in (line, more))
                total = plus(code, self.spec.accumulator, before, term)
                code.write(total, line, column.index)
        captured = read_context(code, v["context"], self.epilogue.captures)
        code.invoke(self.row, [line, how.columns, code.times(group, how.columns), channel, *taps, *captured])

    def _position(self, code: Code, outer: Sequence[ir.Value], number: ir.Value) -> list[ir.Value]:
        first, *rest = outer
        return [code.add(first, number), *rest]
