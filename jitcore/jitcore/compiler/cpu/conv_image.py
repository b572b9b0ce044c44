"""Images (padded, split into phases) and the tables of offsets that kernels follow through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

from .conv_geometry import Geometry, Part
from .gemm_builder import Code, Frame, Size, Truth, listed, numbered, offset, parallel, product, unflatten
from .microkernel import element_type, widen

COPY_WORK = 1 << 14
"""Elements of an image that one task copies, at least."""


def row_major_sizes(code: Code, shape: Sequence[Size]) -> list[Size]:
    """Element strides of row-major memory."""
    return [product(code, shape[axis + 1 :]) for axis in range(len(shape))]


@contextmanager
def nest(code: Code, counts: Sequence[Size]) -> Iterator[list[Size]]:
    """Nested loops, one per count."""
    if not counts:
        yield []
        return
    with code.loop(0, counts[0], name="axis") as outer, nest(code, counts[1:]) as inner:
        yield [outer.index, *inner]


def emit_image(
    code: Code, name: str, geometry: Geometry, x: ir.Value, image: ir.Value, sizes: list[Size],
    extents: list[Size], channels: Size, serial: Truth,
) -> None:  # fmt: skip
    """Copy all channels of all samples of x (`channels` of them) into the image, widened, with its border."""
    values: dict[str, Size] = {"x": x, "image": image, **numbered("size", sizes), **numbered("extent", extents)}
    rank = geometry.rank

    def task(inner: Code, v: dict[str, Size], index: ir.Value) -> None:
        lengths, places = listed(v, "size", rank), listed(v, "extent", rank)
        plane = product(inner, places)
        start = inner.times(index, product(inner, lengths))
        target = inner.times(index, inner.times(plane, geometry.phases))
        with nest(inner, [geometry.phases] if geometry.phases > 1 else []) as number:
            phase = unflatten(inner, number[0], geometry.split) if number else [0] * rank
            here = inner.plus(target, inner.times(number[0], plane) if number else 0)
            with nest(inner, places[:-1]) as line:
                _copy_line(inner, geometry, v, (start, here), lengths, places, phase, line)

    elements = code.times(product(code, extents), geometry.phases)
    grain = code.plus(code.divide(COPY_WORK, code.plus(elements, 1)), 1)
    parallel(code.module, code, f"{name}.image", Frame(values), channels, serial, task, grain)


def _copy_line(
    code: Code, geometry: Geometry, v: dict[str, Size], starts: tuple[Size, Size], sizes: list[Size],
    extents: list[Size], phase: list[Size], line: list[Size],
) -> None:  # fmt: skip
    """One row of a phase: zeros, elements of x, zeros."""
    dtype, machine = geometry.spec.dtype, geometry.spec.machine
    source = starts[0]
    inside: Truth = True
    strides = row_major_sizes(code, sizes)
    for axis, place in enumerate(line):
        at = code.plus(code.times(place, geometry.split[axis]), code.minus(phase[axis], geometry.low[axis]))
        inside = code.both(inside, code.both(code.less(-1, at), code.less(at, sizes[axis])))
        source = code.plus(source, code.times(at, strides[axis]))
    split, extent = geometry.split[-1], extents[-1]
    shift = code.minus(phase[-1], geometry.low[-1])  # element e is at coordinate e*split + shift
    first = code.least(extent, code.ceil_divide(code.greatest(code.minus(0, shift), 0), split))
    stop = code.least(extent, code.ceil_divide(code.greatest(code.minus(sizes[-1], shift), 0), split))
    stop = code.choose(inside, code.greatest(first, stop), first)
    target = code.plus(starts[1], code.times(offset(code, line, row_major_sizes(code, extents)[:-1]), 1))
    memory, wide = element_type(dtype), element_type(geometry.spec.accumulator)
    x, image = v["x"], code.at(v["image"], target, wide)
    zero = ir.Constant(wide, 0 if isinstance(wide, ir.IntType) else 0.0)
    with code.loop(0, first, name="border") as e:
        code.write(zero, image, e.index)
    with code.loop(first, stop, name="inside", optimize=True) as e:
        place = code.plus(source, code.plus(code.times(e.index, split), shift))
        value = widen(code, machine, dtype, code.read(x, place, memory))
        code.write(value, image, e.index)
    with code.loop(stop, extent, name="border") as e:
        code.write(zero, image, e.index)


def emit_tap_table(
    code: Code, geometry: Geometry, part: Part, extents: list[Size], channels: int, table: ir.Value
) -> None:
    """Offsets into one sample of the image for each channel and tap: by channel first, or by tap in a transposed
    convolution."""
    plane = product(code, extents)
    strides = row_major_sizes(code, extents)
    channel = code.times(plane, geometry.phases)
    with code.loop(0, channels, name="channel") as c:
        for number, tap in enumerate(part.taps):
            phase = 0
            for index, size in zip(tap.phase, geometry.split):
                phase = phase * size + index
            place = code.plus(code.times(plane, phase), offset(code, tap.shift, strides))
            if geometry.is_transposed:
                entry = code.plus(number * channels, c.index)
            else:
                entry = code.plus(code.times(c.index, len(part.taps)), number)
            code.write(code.value(code.plus(code.times(c.index, channel), place)), table, entry)


def emit_position_table(code: Code, counts: list[Size], extents: list[Size], table: ir.Value) -> None:
    """Offsets into a phase of the image for each position of a window."""
    strides = row_major_sizes(code, extents)
    steps = row_major_sizes(code, counts)
    with nest(code, counts) as position:
        code.write(code.value(offset(code, position, strides)), table, offset(code, position, steps))
