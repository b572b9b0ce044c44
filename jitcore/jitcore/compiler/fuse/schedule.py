"""How a reduction's loops are arranged, so that the innermost one runs along memory and there are rows to share out."""

from __future__ import annotations

from enum import Enum

from jitcore_ir.shapes import product

from .node import Node

LONG_ROW = 1 << 15
"""A reduction of at least this many elements into few results is cut into chunks."""

FEW_RESULTS = 8
LONG_COLUMNS = 1 << 18
MANY_ROWS = 64
"""A reduction over leading axes of at least so many elements and so many rows is cut into chunks of rows."""


class Shape(Enum):
    """ROWS: one result after the other, the innermost loop along the last axis. COLUMNS: many results at once, the
    innermost loop along the last axis, which is kept. CHUNKS, COLUMN_CHUNKS: the same over parts of fixed size into a
    buffer of partial results that is then combined by a second kernel, so that the answer does not depend on the
    number of threads."""

    ROWS = 1
    COLUMNS = 2
    CHUNKS = 3
    COLUMN_CHUNKS = 4


def reduction_shape(node: Node) -> Shape:
    """The arrangement for a reduction node."""
    kept, taps = product(node.extents(node.free)), product(node.extents(node.reduced))
    if not node.reduced or node.whole[-1] in node.reduced:
        if isinstance(taps, int) and taps < LONG_ROW:
            return Shape.ROWS
        few = kept == 1 or (isinstance(kept, int) and kept <= FEW_RESULTS)
        return Shape.CHUNKS if few else Shape.ROWS
    if not isinstance(taps, int) or not isinstance(kept, int):
        return Shape.COLUMNS
    separate = product(node.extents(node.free)[:-1])  # results besides those side by side: enough to share out
    if taps * kept >= LONG_COLUMNS and taps >= MANY_ROWS and isinstance(separate, int) and separate < MANY_ROWS:
        return Shape.COLUMN_CHUNKS
    return Shape.COLUMNS
