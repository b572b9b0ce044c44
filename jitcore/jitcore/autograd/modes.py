"""Grad mode: whether operations are recorded for backward. Each works as a context manager and as a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..state import state


class _Mode:
    """Sets `state.grad_enabled` between enter and exit. One object may be entered several times, also nested."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((state.grad_enabled, state.inference))
        state.grad_enabled = self._enabled

    def __exit__(self, *exception: object) -> None:
        state.grad_enabled, state.inference = self._before.pop()

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            return _generator(self, function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapper

    def _fresh(self) -> _Mode:
        return type(self)()  # type: ignore[call-arg]


class no_grad(_Mode):
    """Operations inside are not recorded: `with no_grad():` or `@no_grad()` or `@no_grad`."""

    def __new__(cls, function: Callable | None = None) -> Any:
        return object.__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_Mode):
    """Operations inside are recorded even within no_grad."""

    def __new__(cls, function: Callable | None = None) -> Any:
        return object.__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_Mode):
    """Sets grad mode at once; used with `with`, the old mode comes back at the end."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._at_start = (state.grad_enabled, state.inference)
        state.grad_enabled = self._enabled

    def __enter__(self) -> None:
        self._before.append(self._at_start)
        state.grad_enabled = self._enabled

    def __call__(self, function: Callable) -> Callable:
        state.grad_enabled = self._at_start[0]  # as a decorator it does not act at once
        return super().__call__(function)

    def _fresh(self) -> _Mode:
        return set_grad_enabled(self._enabled)


class inference_mode(_Mode):
    """no_grad, and `is_inference_mode_enabled()` is true. `inference_mode(False)` turns both off."""

    def __new__(cls, mode: Any = True) -> Any:
        return cls()(mode) if callable(mode) else object.__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)
        self._mode = mode

    def __enter__(self) -> None:
        super().__enter__()
        state.inference = self._mode

    def _fresh(self) -> _Mode:
        return inference_mode(self._mode)


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require grad are being recorded."""
    return state.grad_enabled


def is_inference_mode_enabled() -> bool:
    return state.inference


def _generator(mode: _Mode, function: Callable) -> Callable:
    """A generator function whose body runs in the mode, while its consumer does not."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        sent: Any = None
        while True:
            try:
                with mode._fresh():
                    value = generator.send(sent)
            except StopIteration as end:
                return end.value
            sent = yield value

    return wrapper
