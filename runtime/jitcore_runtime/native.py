"""Putting an image into executable memory. There is nothing to relocate: the linker has resolved everything inside the
image, and the loader only fills its table of import slots."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Mapping

from .cpu_features import host_targets
from .errors import NativeError
from .plan import ABI_VERSION, Image

PAGE = 4096
_LIBC_FUNCTIONS = ("memcpy", "memmove", "memset", "malloc", "free")
"""What any image may import, besides the thread pool's `jc_parallel_for`."""
_POOL_FUNCTIONS = ("pthread_create", "pthread_attr_init", "pthread_attr_setdetachstate", "pthread_attr_setstacksize", "syscall")
"""What the thread pool's own image may import besides."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def verify_image(image: Image) -> None:
    """Raise NativeError unless the image's parts, exports and import slots lie where they must."""
    sizes = (image.text_size, image.rodata_size, image.data_size)
    if image.abi != ABI_VERSION:
        raise NativeError(f"the code has ABI {image.abi}, this runtime {ABI_VERSION}; export the model again")
    if any(size < 0 or size % PAGE for size in sizes) or sum(sizes) != len(image.code) or not image.text_size:
        raise NativeError(f"an image of {len(image.code)} bytes cannot have parts of {sizes} bytes")
    for name, offset in image.exports:
        if not 0 <= offset < image.text_size:
            raise NativeError(f"export {name!r} at {offset} lies outside the text of {image.text_size} bytes")
    start = image.text_size + image.rodata_size
    for name, offset in image.imports:
        if offset % 8 or not start <= offset <= len(image.code) - 8:
            raise NativeError(f"the import slot of {name!r} at {offset} lies outside the writable part")


class LoadedImage:
    """An image in memory. Unmapped when the last reference goes, unless it is `immortal`."""

    def __init__(self, base: int, image: Image, immortal: bool) -> None:
        self._base = base
        self._size = len(image.code)
        self._exports = dict(image.exports)
        self._immortal = immortal
        self._process = os.getpid()

    def address(self, name: str) -> int | None:
        """The address of an exported function; None where the image does not export it."""
        offset = self._exports.get(name)
        return None if offset is None else self._base + offset

    def __del__(self) -> None:
        if not getattr(self, "_immortal", True) and _libc is not None:
            _libc.munmap(self._base, self._size)


def load_image(image: Image, immortal: bool = False, pool: bool = False) -> LoadedImage:
    """Map the image, fill its import slots, and protect it: text read-execute, constants read-only, data read-write.

    `pool`: the image is the thread pool's, which may also import thread functions. Raises NativeError where the code is
    not for this machine, imports something that is not allowed, or the system refuses executable memory.
    """
    verify_image(image)
    if image.target not in host_targets():
        raise NativeError(f"the code is for {image.target}, which this machine does not run ({', '.join(host_targets()) or 'no target'})")
    addresses = _resolve(image, pool)
    base = _map_anonymous(image, addresses)
    if base is None:
        base = _map_file(image, addresses)
    if base is None:
        raise NativeError(
            "the system refuses executable memory (a security policy such as SELinux's execmem); "
            "load without native=True to interpret the graph instead"
        )
    return LoadedImage(base, image, immortal)


def _resolve(image: Image, pool: bool) -> Mapping[int, int]:
    """Import slot offset -> function address."""
    found = {}
    for name, offset in image.imports:
        if name == "jc_parallel_for":
            from .threads import parallel_for_address

            found[offset] = parallel_for_address()
        elif name in _LIBC_FUNCTIONS or (pool and name in _POOL_FUNCTIONS):
            found[offset] = ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value or 0
        else:
            raise NativeError(f"the code imports {name!r}, which is not allowed")
    return found


def _filled(image: Image, addresses: Mapping[int, int]) -> bytes:
    code = bytearray(image.code)
    for offset, address in addresses.items():
        code[offset : offset + 8] = address.to_bytes(8, "little")
    return bytes(code)


def _map_anonymous(image: Image, addresses: Mapping[int, int]) -> int | None:
    size = len(image.code)
    base = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if base in (None, _FAILED):
        return None
    ctypes.memmove(base, _filled(image, addresses), size)
    if not _protect(base, image):
        _libc.munmap(base, size)
        return None
    return base


def _map_file(image: Image, addresses: Mapping[int, int]) -> int | None:
    """Through a sealed memory file, which some policies allow where anonymous executable memory is refused."""
    if not hasattr(os, "memfd_create"):
        return None
    handle = os.memfd_create("jitcore")
    try:
        os.write(handle, _filled(image, addresses))
        size = len(image.code)
        base = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, handle, 0)
        if base in (None, _FAILED):
            return None
        if not _protect(base, image):
            _libc.munmap(base, size)
            return None
        return base
    finally:
        os.close(handle)


def _protect(base: int, image: Image) -> bool:
    rodata, data = image.text_size, image.text_size + image.rodata_size
    parts = (
        (base, image.text_size, mmap.PROT_READ | mmap.PROT_EXEC),
        (base + rodata, image.rodata_size, mmap.PROT_READ),
        (base + data, image.data_size, mmap.PROT_READ | mmap.PROT_WRITE),
    )
    return all(not size or _libc.mprotect(start, size, protection) == 0 for start, size, protection in parts)
