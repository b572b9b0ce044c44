"""Packing: operands copied into the order in which kernels read them, widened to the accumulator dtype.

Packed memory is a row of strips. A strip of width w holds `depth` steps of w neighbours each (w rows of x or w columns
of y): element (k, i) of strip s lies at `(s*depth + k)*w + i`. Beyond the operand's edge the last neighbour repeats, so
that a kernel may compute sums nobody asked for and store them over the last ones, which are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir.dtypes import DType
from jitcore_ir.ops.elementwise import ACCUMULATOR

from .blocking import Machine
from .gemm_builder import Code, Size
from .microkernel import element_type, widen

GROUP = 8
"""Strips that one task packs together: it reads so many times the width in one go from row-major memory."""


@dataclass(frozen=True, slots=True)
class Source:
    """A matrix to pack: `neighbours` x `depth` elements of `dtype` at `pointer`, with element strides for both."""

    dtype: DType
    pointer: ir.Value
    neighbours: Size
    depth: Size
    stride: Size
    step: Size


def pack_group(
    code: Code, machine: Machine, source: Source, width: int, packed: ir.Value, first: Size, count: int = GROUP
) -> None:
    """Pack strips first .. first + count - 1, as far as they exist, into the strips that start at `packed`."""
    packer = _Packer(code, machine, source, width)
    whole = code.divide(source.neighbours, width)
    stop = code.least(code.plus(first, count), whole)
    packer.whole(packed, first, stop)
    ragged = code.both(
        code.less(0, code.remainder(source.neighbours, width)),
        code.both(code.less(code.minus(first, 1), whole), code.less(whole, code.plus(first, count))),
    )  # fmt: skip
    with code.when(ragged) as possible:
        if possible:
            packer.ragged(packed, whole)


def transpose(code: Code, vectors: Sequence[ir.Value]) -> list[ir.Value]:
    """The square matrix whose rows are `vectors` (as many as lanes, a power of two), transposed.

    Blocks off the diagonal change places, at half the size each time.
    """
    rows, count = list(vectors), len(vectors)
    block = count // 2
    lanes_type = ir.VectorType(ir.IntType(32), count)
    while block:
        low = [i if not i & block else i - block + count for i in range(count)]
        high = [i + block if not i & block else i + count for i in range(count)]
        for i in range(count):
            if not i & block:
                a, b = rows[i], rows[i + block]
                rows[i] = code.shuffle_vector(a, b, ir.Constant(lanes_type, low))
                rows[i + block] = code.shuffle_vector(a, b, ir.Constant(lanes_type, high))
        block //= 2
    return rows


class _Packer:
    """Emits the copying of strips of one operand."""

    def __init__(self, code: Code, machine: Machine, source: Source, width: int) -> None:
        self.code, self.machine, self.source, self.width = code, machine, source, width
        self.element = element_type(source.dtype)
        self.wide = element_type(ACCUMULATOR[source.dtype])
        self.plain = ACCUMULATOR[source.dtype] is source.dtype
        self.lanes = machine.lanes(source.dtype)

    def whole(self, packed: ir.Value, start: Size, stop: Size) -> None:
        """Strips start .. stop - 1, all of whose neighbours exist."""
        source, code = self.source, self.code
        if self.plain and source.stride == 1:
            with code.loop(0, source.depth, name="step") as k, code.loop(start, stop, name="strip") as strip:
                self._copy(packed, strip.index, k.index)
            return
        with code.loop(start, stop, name="strip") as strip:
            begin: Size = 0
            if self.plain and source.step == 1 and self.lanes > 1 and 2 * self.width >= self.lanes:
                begin = self._turn(packed, strip.index)
            self._gather(packed, strip.index, begin, None)

    def ragged(self, packed: ir.Value, strip: Size) -> None:
        """The last strip, which the operand fills in part."""
        self._gather(packed, strip, 0, self.code.minus(self.source.neighbours, 1))

    def _copy(self, packed: ir.Value, strip: Size, k: Size) -> None:
        """One step of a strip whose neighbours are neighbours in memory."""
        code, source = self.code, self.source
        place = code.plus(code.times(k, source.step), code.times(strip, self.width))
        vector = ir.VectorType(self.element, self.width)
        align = source.dtype.itemsize
        value = code.load(code.at(source.pointer, place, self.element), typ=vector, align=align)
        code.store(value, code.at(packed, self._place(strip, k, 0), self.wide), align=align)

    def _turn(self, packed: ir.Value, strip: Size) -> Size:
        """Steps that are neighbours in memory, a square of vectors at a time. Returns the first step left to do.

        A strip narrower than a vector is stored with a few elements too many, which the next step overwrites; so the
        last step is always left.
        """
        code, source, lanes = self.code, self.source, self.lanes
        vector, align = ir.VectorType(self.element, lanes), source.dtype.itemsize
        narrow = self.width < lanes
        groups = [0] if narrow else sorted({*range(0, self.width - lanes + 1, lanes), self.width - lanes})
        stop = code.times(code.divide(code.greatest(code.minus(source.depth, 1 if narrow else 0), 0), lanes), lanes)
        with code.loop(0, stop, lanes, name="square") as k:
            for group in groups:
                rows = []
                for i in range(lanes):
                    neighbour = code.plus(code.times(strip, self.width), min(group + i, self.width - 1))
                    place = code.plus(code.times(neighbour, source.stride), k.index)
                    rows.append(code.load(code.at(source.pointer, place, self.element), typ=vector, align=align))
                for i, column in enumerate(transpose(code, rows)):
                    place = code.plus(self._place(strip, k.index, group), i * self.width)
                    code.store(column, code.at(packed, place, self.wide), align=align)
        return stop

    def _gather(self, packed: ir.Value, strip: Size, begin: Size, last: Size | None) -> None:
        """Element by element. `last`: neighbours end here; those beyond repeat it."""
        code, source = self.code, self.source
        first = code.times(strip, self.width)
        with (
            code.loop(begin, source.depth, name="step") as k,
            code.loop(0, self.width, name="neighbour", optimize=last is None) as i,
        ):
            neighbour = code.plus(first, i.index)
            neighbour = neighbour if last is None else code.least(neighbour, last)
            place = code.plus(code.times(neighbour, source.stride), code.times(k.index, source.step))
            value = widen(code, self.machine, source.dtype, code.read(source.pointer, place, self.element))
            code.write(value, packed, self._place(strip, k.index, i.index))

    def _place(self, strip: Size, k: Size, i: Size) -> Size:
        code = self.code
        step = code.plus(code.times(strip, self.source.depth), k)
        return code.plus(code.times(step, self.width), i)
