"""`Event`, `Stream` and the marks of profilers: with no device for eager tensors, there is nothing to make them of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn


class Stream:
    """A queue of a device's work. Raises RuntimeError: there is no device for eager tensors."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        _refuse()


class Event:
    """A point in a device's work. Raises RuntimeError: there is no device for eager tensors."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        _refuse()


def current_stream(device: Any = None) -> NoReturn:
    """Raises RuntimeError: there is no device for eager tensors."""
    _refuse()


default_stream = current_stream


@contextlib.contextmanager
def stream(stream: Any) -> Iterator[None]:
    """Work in a stream's queue; None changes nothing."""
    if stream is not None:
        _refuse()
    yield


@contextlib.contextmanager
def device(device: Any) -> Iterator[None]:
    """Use a device for a `with` block. Raises RuntimeError unless that is none, or a negative number."""
    if device is not None and not (isinstance(device, int) and device < 0):
        _refuse()
    yield


def mem_get_info(device: Any = None) -> NoReturn:
    """Raises RuntimeError: there is no device for eager tensors."""
    _refuse()


def range_push(msg: str) -> int:
    """A mark for a profiler of devices: there is none."""
    return -1


def range_pop() -> int:
    """A mark for a profiler of devices: there is none."""
    return -1


def mark(msg: str) -> None:
    """A mark for a profiler of devices: there is none."""


@contextlib.contextmanager
def range(msg: str, *arguments: Any, **keywords: Any) -> Iterator[None]:
    """A mark for a profiler of devices: there is none."""
    yield


def _refuse() -> NoReturn:
    raise RuntimeError("no CUDA device is available for eager tensors; check jitcore.cuda.is_available() first")


__all__ = ["Event", "Stream", "current_stream", "default_stream", "device", "mem_get_info", "stream"]
