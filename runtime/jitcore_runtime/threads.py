"""The process's one thread pool, which runs the parallel loops of every program.

Its code is an image like any other, made by the compiler and carried by archives; the first one installed stays. It is
never unloaded: a worker may be inside it.
"""

from __future__ import annotations

import ctypes
import os
import threading

from .errors import NativeError
from .native import LoadedImage, load_image
from .plan import Image

_lock = threading.Lock()
_pool: LoadedImage | None = None
_threads: int | None = None


def install_pool(image: Image) -> None:
    """Load the pool unless there is one already. Raises NativeError as `load_image` does."""
    global _pool
    with _lock:
        if _pool is None:
            loaded = load_image(image, immortal=True, pool=True)
            if loaded.address("jc_parallel_for") is None:
                raise NativeError("the thread pool's image does not export jc_parallel_for")
            _pool = loaded
            _call("jc_pool_set_threads", get_num_threads())
            os.register_at_fork(after_in_child=lambda: _call("jc_pool_reset", 0))


def pool_installed() -> bool:
    return _pool is not None


def parallel_for_address() -> int:
    """The address of `jc_parallel_for`. Raises NativeError where no pool is installed."""
    if _pool is None:
        raise NativeError("the code runs parallel loops but no thread pool is installed")
    return _pool.address("jc_parallel_for") or 0


def get_num_threads() -> int:
    """How many threads a parallel loop may use: what was set, else JITCORE_NUM_THREADS, else the processors we may use."""
    global _threads
    if _threads is None:
        wish = os.environ.get("JITCORE_NUM_THREADS", "")
        _threads = int(wish) if wish.isdigit() and int(wish) > 0 else len(os.sched_getaffinity(0))
    return _threads


def set_num_threads(threads: int) -> None:
    """Results never depend on it. Raises ValueError below 1."""
    global _threads
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"set_num_threads takes a positive number, not {threads!r}")
    _threads = min(threads, 256)
    with _lock:
        if _pool is not None:
            _call("jc_pool_set_threads", _threads)


def _call(name: str, argument: int) -> None:
    assert _pool is not None
    address = _pool.address(name)
    if address is not None:
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)(argument)
