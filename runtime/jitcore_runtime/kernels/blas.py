"""Products of matrices whose bits do not depend on the number of threads.

OpenBLAS cuts a product for its threads at places that depend on how many there are, and adds in another order at the
edges of its tiles. So large products are cut here, at places that the shape alone decides; each part is multiplied on
one thread of OpenBLAS, and the parts are shared out to as many threads as `get_num_threads()` says. Where NumPy uses
another BLAS, it may use threads of its own for each part, and bits may depend on their number.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..cpu_features import host_targets
from ..threads import MAX_THREADS, get_num_threads

_ALONE = 1 << 18
"""Multiplications up to which OpenBLAS uses one thread (its GEMM_MULTITHREAD_THRESHOLD is 4, times 2**16)."""
_ALONE_WITH_VECTOR = 9216
"""The same where one operand is a vector: 2304 times that threshold."""
_PART = 1 << 24
"""Multiplications in one part: about half a millisecond."""
_NARROW = 256
"""Rows or columns of a part, at least. Each part packs the other operand anew, which costs 6% at this width."""
TINY = 10**6 if "x86-64-v4" in host_targets() else 0
"""Multiplications up to which OpenBLAS has kernels of their own for AVX-512, one for each layout of the operands
(kernel/x86_64/sgemm_small_kernel_permit_skylakex.c): these products want both operands row-major."""
_SHARED = 1 << 23
"""A stack of small products with fewer multiplications than this is not worth waking a thread for."""
_STACKS = 16
"""Parts of a stack, at most."""


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """np.matmul of floats [*B, M, K] and [*B, K, N] that lie as BLAS takes them."""
    rows, inner = x.shape[-2:]
    columns = y.shape[-1]
    work = rows * inner * columns
    if rows == 1 or columns == 1:
        return np.matmul(x, y) if work < _ALONE_WITH_VECTOR else _on_one_thread(np.matmul, x, y)
    if work <= _ALONE:
        many = x.ndim > 2 and x.size * columns >= _SHARED
        return _stacked(x, y) if many else np.matmul(x, y)
    length, other = max(rows, columns), min(rows, columns)
    size = max(_NARROW, _PART // (other * inner) // 64 * 64)
    if length <= size and x.ndim == 2:
        return _on_one_thread(np.matmul, x, y)
    return _on_one_thread(_in_parts, x, y, size)


def _in_parts(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """Cut along the longer axis of the result, evenly, into parts of up to `size` rows or columns."""
    *batch, rows, _ = x.shape
    columns = y.shape[-1]
    length = max(rows, columns)
    count = -(-length // size)
    out = np.empty((*batch, rows, columns), x.dtype)
    places = list(itertools.product(np.ndindex(*batch), range(count)))

    def part(number: int) -> None:
        index, place = places[number]
        some = slice(place * length // count, (place + 1) * length // count)
        a, b, c = x[index], y[index], out[index]
        if rows >= columns:
            np.matmul(a[some], b, out=c[some])
        else:
            np.matmul(a, b[:, some], out=c[:, some])

    _share(part, len(places))
    return out


def _stacked(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Many small products, for each of which OpenBLAS uses one thread anyway."""
    count = x.shape[0]
    parts = min(count, _STACKS)
    out = np.empty((*x.shape[:-1], y.shape[-1]), x.dtype)

    def part(number: int) -> None:
        some = slice(number * count // parts, (number + 1) * count // parts)
        np.matmul(x[some], y[some], out=out[some])

    _share(part, parts)
    return out


# Threads

_helpers: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_users = 0
_before = 1


def _share(part: Callable[[int], Any], count: int) -> None:
    """part(0) ... part(count - 1), in whatever order, on this thread and helpers. Raises what a part raised."""
    global _helpers
    numbers = iter(range(count))

    def work() -> None:
        with np.errstate(all="ignore"):
            for number in numbers:  # taking the next of a range is one step under the GIL
                part(number)

    helpers = min(get_num_threads(), count) - 1
    if helpers <= 0:
        return work()
    with _lock:
        if _helpers is None:
            _helpers = ThreadPoolExecutor(MAX_THREADS, "jitcore-products")
        try:
            waiting = [_helpers.submit(work) for _ in range(helpers)]
        except RuntimeError:  # the interpreter is about to end
            waiting = []
    work()
    for future in waiting:
        future.result()


def _on_one_thread(compute: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
    """compute(*arguments) while OpenBLAS uses one thread for whatever it is asked, by any thread."""
    global _users, _before
    if _SET is None:
        return compute(*arguments)
    with _lock:
        if _users == 0:
            _before = _GET()
            if _before != 1:
                _SET(1)
        _users += 1
    try:
        return compute(*arguments)
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _before != 1:
                _SET(_before)


def _functions() -> tuple[Any, ...]:
    """OpenBLAS's own setting, under the name that NumPy's build gave it."""
    core: Any = getattr(np, "_core", None) or np.core
    try:
        library = ctypes.CDLL(core._multiarray_umath.__file__)
    except OSError:
        return None, None
    for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "")):
        try:
            return tuple(library[f"{prefix}openblas_{verb}_num_threads{suffix}"] for verb in ("set", "get"))
        except AttributeError:
            continue
    return None, None


_SET, _GET = _functions()


def _after_fork() -> None:
    global _helpers, _lock, _users
    if _users and _SET is not None:
        _SET(_before)
    _helpers, _lock, _users = None, threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
