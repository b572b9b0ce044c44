"""Putting an image into executable memory.

There is nothing to relocate: the linker has resolved everything inside the image, and the loader only fills its import
slots. Text is mapped read-execute, constants read-only, data read-write; no page is ever writable and executable.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from .cpu_features import host_features, host_targets
from .errors import NativeError
from .plan import ABI_VERSION, Image

PAGE = 4096
"""An image's parts start at multiples of this."""

IMPORTS = ("jc_parallel_for", "jc_call_out", "clock_gettime", "memcpy", "memmove", "memset", "malloc", "free")
"""What an image may import: the thread pool's entry, `call_out`'s, and functions of the C library (the clock
is for `timers`)."""

POOL_IMPORTS = (
    "pthread_attr_destroy",
    "pthread_attr_init",
    "pthread_attr_setdetachstate",
    "pthread_attr_setstacksize",
    "pthread_create",
    "pthread_sigmask",
    "sigdelset",
    "sigfillset",
    "syscall",
)
"""What the thread pool's own image may import besides."""

_NONE, _READ, _WRITE, _EXECUTE = 0, 1, 2, 4
_PRIVATE, _FIXED, _ANONYMOUS = 0x02, 0x10, 0x20
_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_EXEC = 1, 2, 0x10
_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF
_FAILED = ctypes.c_void_p(-1).value


class LoadedImage:
    """An image in memory.

    It stays mapped as long as this object or a function taken from it is alive; whoever calls a bare address must keep
    one of them. An `immortal` image stays for as long as the process.
    """

    def __init__(self, image: Image, base: int, immortal: bool) -> None:
        self.image = image
        self._exports = dict(image.exports)
        self._mapping: _Mapping | None = _Mapping(base, len(image.code), immortal)

    def address(self, name: str) -> int | None:
        """The address of an exported function; None where the image does not export it. NativeError once closed."""
        if self._mapping is None:
            raise NativeError("the code has been closed")
        offset = self._exports.get(name)
        return None if offset is None else self._mapping.base + offset

    def function(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        """An exported function as a ctypes callable, which releases the GIL and keeps the image mapped.

        `result` and `arguments` are ctypes types (None: nothing is returned). Raises NativeError for an unknown name.
        """
        address = self.address(name)
        if address is None:
            raise NativeError(f"the code exports no {name!r}, only {', '.join(self._exports) or 'nothing'}")
        function: Any = ctypes.CFUNCTYPE(result, *arguments)(address)
        function.mapping = self._mapping
        return function  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let go of the memory. It is unmapped when no function taken from the image is left."""
        self._mapping = None


class _Mapping:
    """Mapped memory, unmapped when the last owner goes. Not at exit: a thread may still run in it."""

    def __init__(self, base: int, size: int, immortal: bool) -> None:
        self.base = base
        if not immortal:
            weakref.finalize(self, _libc().munmap, base, size).atexit = False


def load_image(image: Image, immortal: bool = False, pool: bool = False) -> LoadedImage:
    """Map the image, fill its import slots, and protect it.

    `pool`: the image is the thread pool's, which may also import thread functions. Raises NativeError where the image
    is malformed, not for this machine, imports what is not allowed, or the system refuses executable memory.
    """
    verify_image(image)
    _check_machine(image)
    code = bytearray(image.code)
    for name, offset in image.imports:
        code[offset : offset + 8] = _host_function(name, pool).to_bytes(8, "little")
    for way in _WAYS:
        base = way(image, bytes(code))
        if base is not None:
            return LoadedImage(image, base, immortal)
    raise NativeError(
        "the system refuses executable memory (a security policy, such as SELinux without execmem); "
        "load without native=True to interpret the graph instead"
    )


def verify_image(image: Image) -> None:
    """Raise NativeError unless the image's parts, exports and import slots lie where they must."""
    sizes = (image.text_size, image.rodata_size, image.data_size)
    if image.abi != ABI_VERSION:
        raise NativeError(f"the code has ABI {image.abi}, this runtime runs ABI {ABI_VERSION}: export the model again")
    if any(size < 0 or size % PAGE for size in sizes) or sum(sizes) != len(image.code) or not image.text_size:
        raise NativeError(
            f"an image of {len(image.code)} bytes cannot have parts of {sizes} bytes (each a multiple of {PAGE})"
        )
    _check_distinct("export", [name for name, _ in image.exports])
    _check_distinct("import", [name for name, _ in image.imports])
    for name, offset in image.exports:
        if not 0 <= offset < image.text_size:
            raise NativeError(f"export {name!r} at {offset} lies outside the text of {image.text_size} bytes")
    start = image.text_size + image.rodata_size
    for name, offset in image.imports:
        if offset % 8 or not start <= offset <= len(image.code) - 8:
            raise NativeError(f"the import slot of {name!r} at {offset} lies outside the writable part")
    _check_distinct("import slot", [offset for _, offset in image.imports])


def _check_distinct(what: str, values: list[Any]) -> None:
    if len(set(values)) != len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise NativeError(f"the image has the {what} {twice!r} twice")


def _check_machine(image: Image) -> None:
    targets = host_targets()
    if image.target not in targets:
        here = f"runs {', '.join(targets)}" if targets else "runs no target that jitcore has"
        raise NativeError(f"the code is for {image.target}, and this machine {here}")
    missing = sorted(set(image.features) - host_features())
    if missing:
        raise NativeError(f"the code needs processor features that this machine lacks: {', '.join(missing)}")
    page = os.sysconf("SC_PAGE_SIZE")
    if any(size % page for size in (image.text_size, image.rodata_size, image.data_size)):
        raise NativeError(
            f"this machine's memory pages have {page} bytes, and the code's parts are not multiples of that"
        )


def _host_function(name: str, pool: bool) -> int:
    if name == "jc_parallel_for" and not pool:
        from .threads import parallel_for_address

        return parallel_for_address()
    if name == "jc_call_out" and not pool:
        from .call_out import call_out_address

        return call_out_address()
    allowed: Iterable[str] = IMPORTS + POOL_IMPORTS if pool else IMPORTS
    if name not in allowed:
        raise NativeError(f"the code imports {name!r}, which is not allowed (allowed: {', '.join(allowed)})")
    try:
        function = getattr(_libc(), name)
    except AttributeError:
        raise NativeError(f"the code imports {name!r}, which this system's C library lacks") from None
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = address
    libc.mmap.argtypes = (address, size, number, number, number, ctypes.c_long)
    libc.mprotect.argtypes = (address, size, number)
    libc.munmap.argtypes = (address, size)
    return libc


def _parts(image: Image) -> list[tuple[int, int, int]]:
    """(offset, size, protection) of the parts that are not empty."""
    sizes = (image.text_size, image.rodata_size, image.data_size)
    offsets = (0, image.text_size, image.text_size + image.rodata_size)
    protections = (_READ | _EXECUTE, _READ, _READ | _WRITE)
    return [part for part in zip(offsets, sizes, protections) if part[1]]


def _map_anonymous(image: Image, code: bytes) -> int | None:
    """Copy into fresh memory, then protect it. The usual way. None where the system refuses."""
    libc = _libc()
    base = libc.mmap(None, len(code), _READ | _WRITE, _PRIVATE | _ANONYMOUS, -1, 0)
    if base in (None, _FAILED):
        return None
    ctypes.memmove(base, code, len(code))
    if all(libc.mprotect(base + offset, size, protection) == 0 for offset, size, protection in _parts(image)):
        return int(base)
    libc.munmap(base, len(code))
    return None


def _map_file(image: Image, code: bytes) -> int | None:
    """Map a sealed memory file: allowed by some policies that forbid memory to become executable. None if refused."""
    handle = _memory_file(code)
    if handle is None:
        return None
    libc = _libc()
    try:
        base = libc.mmap(None, len(code), _NONE, _PRIVATE | _ANONYMOUS, -1, 0)
        if base in (None, _FAILED):
            return None
        for offset, size, protection in _parts(image):
            if libc.mmap(base + offset, size, protection, _PRIVATE | _FIXED, handle, offset) == _FAILED:
                libc.munmap(base, len(code))
                return None
        return int(base)
    finally:
        os.close(handle)


def _memory_file(code: bytes) -> int | None:
    import fcntl

    if not hasattr(os, "memfd_create"):
        return None
    for execute in (_MFD_EXEC, 0):  # older kernels do not know the flag and need none
        try:
            handle = os.memfd_create("jitcore", _MFD_CLOEXEC | _MFD_ALLOW_SEALING | execute)
        except OSError:
            continue
        with open(handle, "wb", closefd=False) as file:
            file.write(code)
        fcntl.fcntl(handle, _F_ADD_SEALS, _ALL_SEALS)
        return handle
    return None


_WAYS: tuple[Callable[[Image, bytes], int | None], ...] = (_map_anonymous, _map_file)
