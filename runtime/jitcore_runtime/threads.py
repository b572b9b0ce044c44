"""The process's one thread pool, which runs the parallel loops of every program.

Its code is an image like any other, made by the compiler and carried by archives; the first one installed stays. It is
never unloaded: a worker may be inside it. Where there is none, parallel loops run on the thread that calls.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

from .errors import NativeError
from .native import LoadedImage, load_image
from .plan import Image
from .processors import usable_processors
from .serial import serial_image

POOL_EXPORTS = ("jc_parallel_for", "jc_pool_set_threads", "jc_pool_reset", "jc_pool_version")
POOL_VERSION = 2
"""Of the functions above. An image with another number is not installed."""
MAX_THREADS = 256

_lock = threading.RLock()
_pool: LoadedImage | None = None
_serial: LoadedImage | None = None
_threads: int | None = None


def install_pool(image: Image) -> None:
    """Load the pool unless there is one already.

    Raises NativeError as `load_image` does, and for a pool of another version; ValueError as `get_num_threads` does.
    """
    global _pool
    with _lock:
        if _pool is not None:
            return
        loaded = load_image(image, immortal=True, pool=True)
        version = loaded.function("jc_pool_version", ctypes.c_int64)()
        if version != POOL_VERSION:
            raise NativeError(f"the thread pool's code has version {version}, this runtime wants {POOL_VERSION}")
        if loaded.address("jc_parallel_for") is None:
            raise NativeError("the thread pool's code does not export jc_parallel_for")
        loaded.function("jc_pool_set_threads", None, ctypes.c_int64)(get_num_threads())
        _pool = loaded


def pool_installed() -> bool:
    """Whether parallel loops of code that is loaded from now on may use several threads."""
    return _pool is not None


def parallel_for_address() -> int:
    """The address of `jc_parallel_for`: the pool's, or without a pool one that runs the loop on the calling thread.

    Raises NativeError on a processor that runs no native code.
    """
    global _serial
    with _lock:
        if _pool is None and _serial is None:
            _serial = load_image(serial_image(), immortal=True)
        loaded: Any = _pool or _serial
        return int(loaded.address("jc_parallel_for"))


def get_num_threads() -> int:
    """How many threads a parallel loop may use.

    What `set_num_threads` set, else the environment's JITCORE_NUM_THREADS, else the processors that this process may
    use. Raises ValueError where the variable holds no number from 1 to MAX_THREADS.
    """
    global _threads
    if _threads is None:
        wish = os.environ.get("JITCORE_NUM_THREADS", "").strip()
        if not wish:
            _threads = min(usable_processors(), MAX_THREADS)
        elif wish.isdecimal() and 1 <= int(wish) <= MAX_THREADS:
            _threads = int(wish)
        else:
            raise ValueError(f"JITCORE_NUM_THREADS is {wish!r}; it takes a number from 1 to {MAX_THREADS}")
    return _threads


def set_num_threads(threads: int) -> None:
    """Let parallel loops use up to `threads` threads from now on. No result depends on it.

    Raises TypeError for what is no integer and ValueError outside 1 to MAX_THREADS.
    """
    global _threads
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"set_num_threads takes an int, not {type(threads).__name__}")
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"set_num_threads takes a number from 1 to {MAX_THREADS}, not {threads}")
    with _lock:
        _threads = threads
        if _pool is not None:
            _pool.function("jc_pool_set_threads", None, ctypes.c_int64)(threads)


def _after_fork() -> None:
    """Only the forking thread lives on: no worker does, and whoever held the lock may not."""
    global _lock
    _lock = threading.RLock()
    if _pool is not None:
        _pool.function("jc_pool_reset", None)()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
