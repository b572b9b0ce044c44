"""The segments of a file: ranges checked against its size and each other, contents against their checksums."""

from __future__ import annotations

import zlib
from typing import Any

from .archive import Segment
from .errors import ArchiveError
from .layout import ALIGNMENT, aligned, digest
from .tables import SEGMENT_KINDS


class Segments:
    """The segments after byte `start` of `file`, which they fill. Raises ArchiveError where they do not."""

    def __init__(self, file: memoryview, start: int, tables: Any, check_weights: bool) -> None:
        self._file = file
        self._check_weights = check_weights
        self._taken: set[int] = set()
        self.segments: list[Segment] = []
        end = start
        base = aligned(start)
        for number, table in enumerate(tables):
            offset = base + table.offset
            if table.offset % ALIGNMENT or offset != aligned(end) or table.size > len(file) - offset:
                raise ArchiveError(
                    f"segment {number} ({table.size} bytes at {offset}) does not follow what ends at {end}, "
                    f"in a file of {len(file)} bytes"
                )
            if any(file[end:offset]):
                raise ArchiveError(f"the padding before segment {number} is not zero")
            kind = SEGMENT_KINDS[table.kind]
            if (len(table.sha256) != 32) if kind != "elements" else (len(table.sha256) != 0):
                raise ArchiveError(f"segment {number} ({kind}) has a digest of {len(table.sha256)} bytes")
            checksum = table.sha256.hex() if table.sha256 else f"{table.crc32:08x}"
            self.segments.append(Segment(kind, offset, table.size, checksum))
            end = offset + table.size
        if end != len(file):
            raise ArchiveError(f"it ends at byte {end}, but the file has {len(file)}")

    def view(self, number: int, kind: str) -> memoryview:
        """The content as it lies in the file, its crc32 compared unless the caller declined."""
        segment = self._segment(number, kind)
        content = self._file[segment.offset : segment.offset + segment.size]
        if self._check_weights and f"{zlib.crc32(content):08x}" != segment.checksum:
            raise ArchiveError(f"segment {number} (elements of an array) does not match its checksum")
        return content

    def copy(self, number: int, kind: str) -> bytes:
        """A copy of the content, compared with its sha256 after the copying: a file may change under its mapping."""
        segment = self._segment(number, kind)
        content = bytes(self._file[segment.offset : segment.offset + segment.size])
        if digest(content).hex() != segment.checksum:
            raise ArchiveError(f"segment {number} ({kind}) does not match its digest")
        return content

    def check_all_used(self, code: bool) -> None:
        """Raise ArchiveError for a segment that nothing took; without `code`, only arrays count."""
        for number, segment in enumerate(self.segments):
            if number not in self._taken and (code or segment.kind == "elements"):
                raise ArchiveError(f"segment {number} ({segment.kind}) is not used")

    def _segment(self, number: int, kind: str) -> Segment:
        if not 0 <= number < len(self.segments):
            raise ArchiveError(f"it refers to segment {number} of {len(self.segments)}")
        if self.segments[number].kind != kind:
            raise ArchiveError(f"segment {number} holds {self.segments[number].kind}, not {kind}")
        if number in self._taken:
            raise ArchiveError(f"segment {number} is used twice")
        self._taken.add(number)
        return self.segments[number]
