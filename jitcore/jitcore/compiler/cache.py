"""Images on disk, keyed by everything that decides their bytes. A warm start runs no LLVM.

The folder is JITCORE_CACHE_DIR, else `jitcore` under XDG_CACHE_HOME or ~/.cache. A file that cannot be read or does not
match its digest counts as absent and is written anew; so does anything left by a crash. The oldest files go when the
folder grows past `LIMIT_BYTES`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from jitcore_ir.version import __version__
from jitcore_runtime.plan import ABI_VERSION, Image

from ..log import log

LIMIT_BYTES = 512 << 20
_MAGIC = b"jcimage1"


def cache_folder() -> Path:
    chosen = os.environ.get("JITCORE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jitcore"


def cached_image(content: tuple[str, ...], target: str, build: Callable[[], Image], use: bool = True) -> Image:
    """The image for this content and target: from the cache, else built and stored."""
    if not use or os.environ.get("JITCORE_CACHE_DIR") == "":
        return build()
    path = cache_folder() / f"{_key(content, target)}.image"
    image = _read(path)
    log("cache", lambda: f"{'hit' if image else 'miss'} {path.name} ({content[0]})")
    if image is None:
        image = build()
        _write(path, image)
    return image


def _key(content: tuple[str, ...], target: str) -> str:
    from importlib.metadata import version

    parts = [*content, target, __version__, str(ABI_VERSION), version("llvmlite"), _generator_digest()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part.encode())
    return digest.hexdigest()


@cache
def _generator_digest() -> str:
    """A digest of the compiler's own source: code made by another state of it is not reused. About 5 ms, once."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> Image | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if data[:8] != _MAGIC or hashlib.sha256(data[40:]).digest() != data[8:40]:
        return None
    length = int.from_bytes(data[40:48], "little")
    head = json.loads(data[48 : 48 + length])
    with contextlib.suppress(OSError):
        os.utime(path)
    text, rodata, data_size = head["sizes"]
    exports, imports = (tuple((name, offset) for name, offset in head[part]) for part in ("exports", "imports"))
    code = data[48 + length :]
    return Image(head["target"], code, text, rodata, data_size, exports, imports, tuple(head["features"]), head["abi"])


def _write(path: Path, image: Image) -> None:
    head = json.dumps(
        {
            "target": image.target,
            "sizes": [image.text_size, image.rodata_size, image.data_size],
            "exports": image.exports,
            "imports": image.imports,
            "features": image.features,
            "abi": image.abi,
        }
    ).encode()
    body = len(head).to_bytes(8, "little") + head + image.code
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
        _trim(path.parent)
    except OSError as error:  # a cache that cannot be written is only slower
        log("cache", lambda error=error: f"not written: {error}")  # type: ignore[misc]


def _trim(folder: Path) -> None:
    """Remove the least recently used files beyond the limit."""
    files = []
    for entry in os.scandir(folder):
        status = entry.stat()
        files.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    for _, size, name in sorted(files):
        if total <= LIMIT_BYTES:
            break
        os.unlink(name)
        total -= size
