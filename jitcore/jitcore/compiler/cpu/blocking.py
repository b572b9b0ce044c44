"""Tile sizes of matrix products, per target, as data.

A register tile holds `rows` x `columns` sums. Each step of its k loop loads `columns / lanes` vectors of y and
broadcasts `rows` elements of x: rows * vectors fused multiply-adds. Both are as large as the registers allow
(AVX2: 6 x 2 sums + 2 of y + 1 of x = 15 of 16) because that makes loads rarest per multiply-add.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitcore_ir.dtypes import DType


@dataclass(frozen=True, slots=True)
class Machine:
    """What the generators of matrix products need to know of a target.

    `vector_bits` and `rows` shape the register tile, which is always two vectors wide. `fewer` are the heights of tiles
    for few rows where their number is known at run time only. `wide[r]` says how many tiles lie side by side where
    they have few rows r, so that enough independent sums hide the latency of a multiply-add. `masks`: vectors can be
    loaded and stored in part. `half`: float16 converts in hardware.
    """

    vector_bits: int
    rows: int
    fewer: tuple[int, ...]
    wide: tuple[int, ...]
    fma: bool
    masks: bool
    half: bool

    def lanes(self, dtype: DType) -> int:
        """Elements of `dtype` in a vector."""
        return self.vector_bits // 8 // dtype.itemsize

    def columns(self, dtype: DType) -> int:
        """Width of a register tile, and of a packed strip, in elements."""
        return 2 * self.lanes(dtype)

    def strips(self, rows: int) -> int:
        """How many strips a tile of `rows` rows spans."""
        return self.wide[rows] if rows < len(self.wide) else 1


MACHINES: dict[str, Machine] = {
    "x86-64-v2": Machine(128, rows=6, fewer=(1, 2, 4), wide=(0, 4, 2), fma=False, masks=False, half=False),
    "x86-64-v3": Machine(256, rows=6, fewer=(1, 2, 4), wide=(0, 4, 2), fma=True, masks=True, half=True),
    "x86-64-v4": Machine(512, rows=14, fewer=(1, 2, 4, 8), wide=(0, 6, 4, 3, 2, 2), fma=True, masks=True, half=True),
    "aarch64": Machine(128, rows=12, fewer=(1, 2, 4, 8), wide=(0, 8, 4, 3, 2, 2), fma=True, masks=False, half=True),
}

BLOCK_K = 384
"""Sums run over this many products in registers before they are added to the tile in memory. Results depend on it."""

BLOCK_ROWS = 96
BLOCK_BYTES = 96 << 10
"""A task's tile of the result has at most so many rows, and its sums take at most so many bytes: with its part of
packed x it stays in the L2 cache, and on the stack."""

SMALL_BYTES = 32 << 10
"""Operands of at most so many bytes stay in the L1 cache, and are read where they lie instead of being packed."""

STREAM_BYTES = 128 << 10
"""A single row times a y of at least so many bytes is computed in the order in which y lies in memory."""

LOW_ROWS = 72
WIDE_COLUMNS = 256
"""A product of at most LOW_ROWS rows and at least WIDE_COLUMNS columns packs y strip by strip, just before its use: one
task uses each strip, which would leave the cache on its way through the workspace."""

LOCAL_BYTES = 256
LOCAL_K = 192
"""Such a product packs strips that are together so wide, for so many steps, at once, and sums over blocks of k that
long."""

TASK_WORK = 1 << 18
TASKS = 16
"""A product is divided into tasks of about TASK_WORK multiply-adds, or into TASKS tasks where that gives more."""

SERIAL_WORK = 1 << 16
"""Products of fewer multiply-adds than this (about two microseconds) do not use the thread pool."""


def machine(target: str) -> Machine:
    """The description of a target. Raises ValueError for an unknown one."""
    try:
        return MACHINES[target]
    except KeyError:
        raise ValueError(f"no tile sizes for target {target!r}; known are {', '.join(MACHINES)}") from None
