"""`write_archive`: an Archive into a file, as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import flatbuffers

from .archive import Archive
from .checks import check_archive
from .encode import Encoded, element_bytes, encode
from .errors import ArchiveError, ArchiveWriteError
from .layout import FORMAT_VERSION, HEADER, MAGIC, MAX_METADATA, aligned, digest
from .reader import read_archive


def write_archive(archive: Archive, path: str | os.PathLike) -> None:
    """Write `archive` to `path`, replacing what is there once the new file is complete and on the disk.

    Equal archives give equal bytes. Weights go to the file from the memory they are in.
    Raises ArchiveError for an archive that breaks a rule or a limit of the format (then nothing is written), and
    ArchiveWriteError (an OSError) where the file cannot be written: the old one is untouched, and no other is left.
    """
    path = Path(path)
    try:
        check_archive(archive)
        encoded = encode(archive)
        _replace(path, _pack(encoded), encoded)
    except ArchiveError as error:
        raise ArchiveError(
            f"cannot be written: {error.problem}", "see docs/archive.md for what an archive holds", str(path)
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArchiveWriteError(
            error.errno,
            f"cannot write the archive: {reason}; choose a folder that exists, can be written to and has space",
            str(path),
        ) from error


def _pack(encoded: Encoded) -> bytes:
    """The metadata, its segments placed one after another."""
    offset = 0
    for segment in encoded.metadata.segments:
        segment.offset = aligned(offset)
        offset = segment.offset + segment.size
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(encoded.metadata.Pack(builder))
    metadata = bytes(builder.Output())
    if len(metadata) > MAX_METADATA:
        raise ArchiveError(f"its metadata takes {len(metadata)} bytes; {MAX_METADATA} are allowed")
    return metadata


def _replace(path: Path, metadata: bytes, encoded: Encoded) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(HEADER.pack(MAGIC, FORMAT_VERSION, HEADER.size, HEADER.size, len(metadata), digest(metadata)))
            file.write(metadata)
            base = aligned(file.tell())
            for segment, content in zip(encoded.metadata.segments, encoded.contents, strict=True):
                file.write(bytes(base + segment.offset - file.tell()))
                file.write(content if isinstance(content, bytes) else element_bytes(content))
            file.flush()
            os.fsync(file.fileno())
        read_archive(temporary, check_weights=False)  # what cannot be read again must not replace what can
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power failure, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
