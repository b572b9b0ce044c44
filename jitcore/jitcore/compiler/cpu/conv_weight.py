"""Packing the weight of a convolution: tiles of rows, as kernels read them.

Rows are the result's channels. Element (row i of tile t, step k) of group g lies at
`((g*tiles + t)*steps + k)*height + i`. A step is a (channel, tap) of a forward convolution and a (tap, channel) of a
transposed one, so that the taps a part needs are neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from .conv_spec import ConvSpec
from .gemm_builder import Code, Frame, Size, Truth, offset, parallel, unflatten
from .gemm_plan import ALIGN
from .microkernel import element_type, widen


@dataclass(frozen=True, slots=True)
class WeightLayout:
    """The sizes of one group of a weight [O, C / groups, *kernel] in a direction, and of its packed tiles.

    `rows` is the number of result channels and `channels` of those summed over. `wide`: vectors run over rows, and a
    tile is as high as a strip is wide; otherwise they run over positions.
    """

    wide: bool
    rows: int
    channels: int
    taps: int
    height: int
    tiles: int

    @property
    def steps(self) -> int:
        return self.channels * self.taps

    @property
    def group(self) -> int:
        """Elements of a group, packed."""
        return self.tiles * self.height * self.steps


def weight_layout(spec: ConvSpec) -> WeightLayout:
    """The layout of a forward or transposed convolution's weight."""
    outputs, inputs, *kernel = (size for size in spec.y_shape if isinstance(size, int))
    taps = 1
    for size in kernel:
        taps *= size
    outputs //= spec.groups
    rows, channels = (outputs, inputs) if spec.direction == "forward" else (inputs, outputs)
    strip = spec.machine.columns(spec.accumulator)
    wide = 4 * rows >= 3 * strip * -(-rows // strip) > 0  # at least three quarters of the vectors' lanes are of use
    height = strip if wide else max(1, -(-rows // max(1, -(-rows // spec.machine.rows))))
    return WeightLayout(wide, rows, channels, taps, height, max(1, -(-rows // height)))


def packed_weight_size(spec: ConvSpec) -> int:
    """Bytes of the packed weight."""
    return -(-spec.groups * weight_layout(spec).group * spec.accumulator.itemsize // ALIGN) * ALIGN


def emit_pack_weight(code: Code, name: str, spec: ConvSpec, weight: ir.Value, packed: ir.Value, serial: Truth) -> None:
    """Pack all tiles of all groups."""
    layout = weight_layout(spec)
    if spec.direction == "forward":
        group, row = layout.rows * layout.steps, layout.steps
        (outer, outer_stride), (inner, inner_stride) = (layout.channels, layout.taps), (layout.taps, 1)
    else:
        group, row = layout.channels * layout.rows * layout.taps, layout.taps
        (outer, outer_stride), (inner, inner_stride) = (layout.taps, 1), (layout.channels, layout.rows * layout.taps)
    memory, wide = element_type(spec.dtype), element_type(spec.accumulator)

    def task(code: Code, v: dict[str, Size], index: ir.Value) -> None:
        group_index, tile = unflatten(code, index, [0, layout.tiles])
        start = code.times(index, layout.steps * layout.height)
        first = code.times(tile, layout.height)
        with code.loop(0, outer, name="outer") as a, code.loop(0, inner, name="inner") as b:
            place = offset(code, [group_index, a.index, b.index], [group, outer_stride, inner_stride])
            step = code.plus(code.times(a.index, inner), b.index)
            target = code.plus(start, code.times(step, layout.height))
            with code.loop(0, layout.height, name="row") as i:
                position = code.least(code.plus(first, i.index), layout.rows - 1)  # past the end the last row repeats
                source = code.plus(place, code.times(position, row))
                value = widen(code, spec.machine, spec.dtype, code.read(v["weight"], source, memory))
                code.write(code.bitcast(value, wide), v["packed"], code.plus(target, i.index))

    values: dict[str, Size] = {"weight": weight, "packed": packed}
    count = spec.groups * layout.tiles if layout.rows else 0
    parallel(code.module, code, name, Frame(values), count, serial, task)
