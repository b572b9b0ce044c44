"""Compiled programs on disk, keyed by everything that decides their bytes. A warm start neither lowers nor runs LLVM.

The folder is JITCORE_CACHE_DIR (empty: no cache), else `jitcore` under XDG_CACHE_HOME or ~/.cache. Any number of
processes may use it at once: files are written aside and renamed. A file that cannot be read, does not match its digest
or belongs to another user counts as absent and is written anew; a folder that cannot be written, or is full, costs
only time. The least recently used files go when the folder grows past JITCORE_CACHE_BYTES (default 1 GiB).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jitcore_ir
import jitcore_runtime
from jitcore_ir.version import __version__
from jitcore_runtime.plan import ABI_VERSION

from ..log import log
from .compiled import Compiled, from_bytes, to_bytes

LIMIT_BYTES = 1 << 30
_SUFFIX, _UNFINISHED = ".jitcore", ".part"
_OLD_SECONDS = 3600
"""After so long an unfinished file is what a crash left."""


def cache_folder() -> Path | None:
    """Where compiled programs are kept; None where nowhere."""
    chosen = os.environ.get("JITCORE_CACHE_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jitcore"
    except RuntimeError:  # no home
        return None


def limit_bytes() -> int:
    """How large the folder may grow."""
    chosen = os.environ.get("JITCORE_CACHE_BYTES", "")
    return int(chosen) if chosen.isdigit() else LIMIT_BYTES


def key_of(parts: Iterable[str]) -> str:
    """The key of what these texts, this release, LLVM and the state of our own source decide."""
    digest = hashlib.sha256()
    for part in (*parts, __version__, str(ABI_VERSION), _llvmlite_version(), _source_digest()):
        digest.update(f"{len(part)}:".encode() + part.encode())
    return digest.hexdigest()


def load(key: str) -> Compiled | None:
    """What is kept under the key, if it is there and whole."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / (key + _SUFFIX)
    data = _read(path)
    found = None if data is None else from_bytes(data)
    log("cache", lambda: f"{'hit' if found else 'damaged' if data else 'miss'} {path.name}")
    if found is not None:
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of the last use
    return found


def store(key: str, made: Compiled) -> None:
    """Keep `made` under the key, where that is possible."""
    folder = cache_folder()
    if folder is None:
        return
    temporary = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=_UNFINISHED)
        with os.fdopen(handle, "wb") as file:
            file.write(to_bytes(made))
        os.replace(temporary, folder / (key + _SUFFIX))
        _trim(folder)
    except OSError as error:
        log("cache", lambda error=error: f"not written: {error}")  # type: ignore[misc]
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _read(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_uid not in (os.getuid(), 0):
                log("cache", lambda: f"{path.name} belongs to another user")
                return None
            return file.read()
    except OSError:
        return None


def _trim(folder: Path) -> None:
    """Remove the least recently used files beyond the limit, and unfinished ones that nobody will finish."""
    files = []
    now = time.time()
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):  # another process removed it
            status = entry.stat()
            if entry.name.endswith(_UNFINISHED) and now - status.st_mtime > _OLD_SECONDS:
                os.unlink(entry.path)
            elif entry.name.endswith(_SUFFIX):
                files.append((status.st_mtime, status.st_size, entry.path))
    total, limit = sum(size for _, size, _ in files), limit_bytes()
    for _, size, name in sorted(files):
        if total <= limit:
            break
        with contextlib.suppress(OSError):
            os.unlink(name)
        total -= size


@cache
def _llvmlite_version() -> str:
    return version("llvmlite")


@cache
def _source_digest() -> str:
    """A digest of the source that makes programs of graphs: what another state of it made is not used."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(jitcore_ir.__file__).parent, Path(jitcore_runtime.__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
