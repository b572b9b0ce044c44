"""The file around the metadata: fixed header, alignment, digests, and the limits both halves keep to."""

from __future__ import annotations

import hashlib
import struct

MAGIC = b"\x89JCA\r\n\x1a\n"
"""As in PNG: not text, and changed by anything that converts line ends."""

FORMAT_VERSION = 1
HEADER = struct.Struct("<8sIIQQ32s")
"""magic, format version, size of the header, offset and size of the metadata, its sha256."""

ALIGNMENT = 64
"""Segments start at multiples of it: a cache line, and enough for every vector instruction."""

INLINE_BYTES = 256
"""Arrays up to this size are stored in the metadata: a segment of their own would cost as much in padding."""

MAX_METADATA = 64 << 20
"""Bytes of metadata: some 300,000 operations. The checked reader needs up to about twenty times as much memory."""

MAX_OPERATIONS = 500_000
"""In one archive, all entries together."""

MAX_DEPTH = 64
"""Tables within tables. A region is two: its block and the operation around it."""

MAX_RANK = 32
"""Dimensions of a tensor, which is what NumPy 1 allows."""


def aligned(offset: int) -> int:
    """The first multiple of ALIGNMENT at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def digest(data: bytes | memoryview) -> bytes:
    """sha256, which guards metadata and code against change on purpose (1.5 GiB/s here; crc32 makes 2.9)."""
    return hashlib.sha256(data).digest()
