"""`plan`: how a matrix product is divided, decided from its sizes.

What depends on sizes known now comes out as Python integers and bools, so that code nobody needs is never emitted; the
rest is computed where the product starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llvmlite import ir

from jitcore_ir import shapes

from .blocking import (
    BLOCK_BYTES,
    BLOCK_K,
    BLOCK_ROWS,
    LOCAL_K,
    LOW_ROWS,
    SERIAL_WORK,
    SMALL_BYTES,
    TASK_WORK,
    TASKS,
    WIDE_COLUMNS,
)  # fmt: skip
from .gemm_builder import I64, Code, Size, Truth, define
from .gemm_spec import Dim, GemmSpec

ALIGN = 64


@dataclass(frozen=True, slots=True)
class GemmPlan:
    """Sizes of one product and its parts.

    The result is cut into `tiles` register tiles of `rows` rows down and `strips` strips of `width` columns across;
    `row_blocks` x `column_blocks` tasks take `block_tiles` x `block_strips` of them each. k is cut into `k_blocks` of
    `block_k`. `wide` strips share one kernel call. `pack_x`, `pack_y`: whether the operand is packed first. `local_y`:
    each task packs its own part of y instead, strip by strip.
    """

    m: Size
    n: Size
    k: Size
    batch: Size
    width: int
    rows: Size
    wide: Size
    tiles: Size
    strips: Size
    block_tiles: Size
    block_strips: Size
    row_blocks: Size
    column_blocks: Size
    k_blocks: Size
    block_k: Size
    pack_x: Truth
    pack_y: Truth
    local_y: bool
    serial: Truth

    @property
    def tasks(self) -> tuple[Size, Size, Size]:
        """How many tasks there are along each axis. Neighbours in the last share their part of y."""
        return self.batch, self.column_blocks, self.row_blocks

    def values(self) -> dict[str, Size]:
        """The plan as values of a `Frame`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, values: Mapping[str, Size]) -> GemmPlan:
        """The plan inside a task."""
        chosen: dict[str, Any] = {field.name: values[field.name] for field in fields(cls)}
        return cls(**chosen)


def plan(code: Code, spec: GemmSpec, batch: Size, m: Size, n: Size, k: Size) -> GemmPlan:
    """Divide a product whose sizes are these."""
    machine, size = spec.machine, spec.accumulator.itemsize
    width = machine.columns(spec.accumulator)
    rows = _rows(code, spec, m)
    tiles, strips = code.ceil_divide(m, rows), code.ceil_divide(n, width)
    pack_y = _packs_y(code, spec, m, n, k)
    local_y = pack_y is not False and _is_low_and_wide(m, n)
    wide = 1 if local_y else _wide(code, spec, rows)
    work = code.times(code.times(batch, code.times(m, n)), k)
    tasks = code.greatest(1, code.least(TASKS, code.divide(work, TASK_WORK)))
    # As few blocks as fit the cache, more where that leaves threads idle: columns first, so that x is read whole.
    row_blocks = code.ceil_divide(tiles, BLOCK_ROWS // machine.rows)
    column_blocks = code.ceil_divide(strips, BLOCK_BYTES // (BLOCK_ROWS * width * size))
    missing = code.ceil_divide(tasks, code.greatest(1, code.times(batch, row_blocks)))
    column_blocks = code.greatest(column_blocks, code.least(code.ceil_divide(strips, 2), missing))
    missing = code.ceil_divide(tasks, code.greatest(1, code.times(batch, column_blocks)))
    row_blocks = 1 if local_y else code.greatest(row_blocks, code.least(tiles, missing))
    block_tiles = code.greatest(1, code.ceil_divide(tiles, code.greatest(1, row_blocks)))
    block_strips = code.ceil_divide(strips, code.greatest(1, column_blocks))
    block_strips = code.greatest(1, code.times(code.ceil_divide(block_strips, wide), wide))
    k_blocks = code.greatest(1, code.ceil_divide(k, LOCAL_K if local_y else BLOCK_K))
    block_k = code.times(code.ceil_divide(code.ceil_divide(k, k_blocks), 4), 4)
    return GemmPlan(
        m, n, k, batch, width, rows, wide, tiles, strips, block_tiles, block_strips,
        code.ceil_divide(tiles, block_tiles), code.ceil_divide(strips, block_strips), k_blocks, block_k,
        _packs_x(code, spec, m, n, k), not local_y and pack_y, local_y, code.less(work, SERIAL_WORK),
    )  # fmt: skip


def heights(spec: GemmSpec) -> list[int]:
    """The rows that register tiles may have."""
    rows = _rows(Code(), spec, spec.m) if isinstance(spec.m, int) else None
    if isinstance(rows, int):
        return [rows]
    full = spec.machine.rows
    if spec.accumulator is not spec.dtype:  # x is always packed, in strips of a width known now
        return [full]
    return [*spec.machine.fewer, full]


def workspace_layout(spec: GemmSpec) -> tuple[Dim, Dim]:
    """Bytes of the workspace for packed y and for packed x, which follows it."""
    function, code = define(ir.Module(), "sizes", [I64] * 4)
    sizes = [
        dim if isinstance(dim, int) else argument
        for dim, argument in zip((shapes.product(spec.batch), spec.m, spec.n, spec.k), function.args)
    ]
    found = plan(code, spec, *sizes)
    y = 0 if found.pack_y is False else packed_bytes(spec, spec.n, found.width)
    x = 0 if found.pack_x is False else packed_bytes(spec, spec.m, heights(spec)[-1])
    return y, x


def packed_bytes(spec: GemmSpec, neighbours: Dim, width: int) -> Dim:
    """Bytes of an operand with so many rows or columns, packed, rounded up to ALIGN."""
    strips = shapes.floordiv(shapes.add(neighbours, width - 1), width)
    elements = shapes.mul(shapes.product((*spec.batch, strips, spec.k)), width)
    return aligned(shapes.mul(elements, spec.accumulator.itemsize))


def aligned(size: Dim) -> Dim:
    """Bytes rounded up to a multiple of ALIGN."""
    return shapes.mul(shapes.floordiv(shapes.add(size, ALIGN - 1), ALIGN), ALIGN)


def _rows(code: Code, spec: GemmSpec, m: Size) -> Size:
    """Height of the register tiles: as low as their number allows, so that the last is nearly full."""
    machine = spec.machine
    even = code.ceil_divide(m, code.greatest(1, code.ceil_divide(m, machine.rows)))
    if isinstance(even, int):
        return max(even, 1)
    rows: Size = machine.rows
    for height in reversed(heights(spec)[:-1]):
        rows = code.choose(code.less(height, even), rows, height)
    return rows


def _wide(code: Code, spec: GemmSpec, rows: Size) -> Size:
    wide: Size = 1
    for height in heights(spec):
        wide = code.choose(code.equal(rows, height), spec.machine.strips(height), wide)
    return wide


def _packs_y(code: Code, spec: GemmSpec, m: Size, n: Size, k: Size) -> Truth:
    if spec.prepacked:
        return False
    width = spec.machine.columns(spec.dtype)
    if spec.accumulator is not spec.dtype or spec.y_strides[-1] != 1:
        return True
    if not spec.machine.masks and not (isinstance(n, int) and n % width == 0):
        return True  # a ragged strip cannot be read where it lies
    return code.both(
        code.less(spec.machine.rows, m), code.less(SMALL_BYTES // spec.dtype.itemsize, code.times(k, n))
    )  # fmt: skip


def _is_low_and_wide(m: Size, n: Size) -> bool:
    """Whether one row of blocks covers the result, so that no two tasks read the same part of y."""
    return isinstance(m, int) and isinstance(n, int) and m <= LOW_ROWS and n >= WIDE_COLUMNS


def _packs_x(code: Code, spec: GemmSpec, m: Size, n: Size, k: Size) -> Truth:
    if spec.accumulator is not spec.dtype:
        return True
    large = code.less(SMALL_BYTES // spec.dtype.itemsize, code.times(m, k))
    return code.both(
        large,
        code.both(code.less(4 * spec.machine.columns(spec.dtype), n), code.less(4 * spec.machine.rows, m)),
    )  # fmt: skip
