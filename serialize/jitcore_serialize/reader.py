"""`read_archive`: a file into an Archive, everything checked before it is used.

In this order: the header, the metadata's digest, every offset and count in the metadata (`checked`), the segments'
ranges (`segments`), every number and checksum (`decode`), then whether the parts fit each other (`checks`). Nothing in
the file is executed, and memory and time are bounded by the file's size.
"""

from __future__ import annotations

import mmap
import os

from .archive import Archive
from .checked import read_flatbuffer
from .checks import check_archive
from .decode import Decoder
from .errors import NEWER, ArchiveError
from .layout import FORMAT_VERSION, HEADER, MAGIC, MAX_METADATA, digest
from .segments import Segments


def read_archive(
    source: str | os.PathLike | bytes | memoryview, *, code: bool = True, check_weights: bool = True
) -> Archive:
    """The archive in a file or in memory.

    Weights and constants are read-only views of the mapped file, which must not be changed in place while they live
    (write_archive never does: it replaces files). `code=False` leaves machine code unread. `check_weights=False` skips
    their checksums, which otherwise read the whole file once (2.9 GiB/s).
    Raises ArchiveError for anything wrong with the content, and OSError where the file cannot be opened.
    """
    name = "the given bytes" if isinstance(source, bytes | memoryview) else os.fspath(source)
    try:
        file = memoryview(source).toreadonly().cast("B") if isinstance(source, bytes | memoryview) else _map(source)
        return _read(file, code, check_weights)
    except ArchiveError as error:
        raise ArchiveError(error.problem, error.advice, name) from (error.__cause__ or None)


def _map(path: str | os.PathLike) -> memoryview:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < HEADER.size:
            raise ArchiveError(f"it is shorter than an archive's header of {HEADER.size} bytes")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _read(file: memoryview, code: bool, check_weights: bool) -> Archive:
    version, metadata = _metadata(file)
    table = read_flatbuffer(metadata, "Metadata")
    segments = Segments(file, HEADER.size + len(metadata), table.segments, check_weights)
    archive = Decoder(table, segments, code).archive()
    archive.segments = tuple(segments.segments)
    archive.format_version = version
    check_archive(archive)
    return archive


def _metadata(file: memoryview) -> tuple[int, bytes]:
    """The format version and a copy of the metadata that matches its digest."""
    if len(file) < HEADER.size:
        raise ArchiveError(f"it is shorter than an archive's header of {HEADER.size} bytes")
    magic, version, header, offset, size, expected = HEADER.unpack_from(file)
    if magic != MAGIC:
        raise ArchiveError("it does not start as a .jca archive does")
    if not 1 <= version <= FORMAT_VERSION:
        raise ArchiveError(f"its format version is {version}; this reader knows 1 to {FORMAT_VERSION}", NEWER)
    if header != HEADER.size or offset != HEADER.size or size > min(MAX_METADATA, len(file) - offset):
        raise ArchiveError(
            f"its header of {header} bytes puts {size} bytes of metadata at {offset}, in {len(file)} bytes"
        )
    metadata = bytes(file[offset : offset + size])
    if digest(metadata) != expected:
        raise ArchiveError("its metadata does not match its digest")
    return version, metadata
