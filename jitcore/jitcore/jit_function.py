"""`jit`: record a function on its first call, compile the recording, run the program on later calls.

What decides whether a recording may be replayed: the structure, dtypes and shapes of the arguments, grad mode, which
arguments share memory (the key); Python state it read (checks); values of tensors that Python looked at (guards).
Where any of them differs, the function is recorded anew beside the old recordings; where a run cannot be replayed
safely, it runs eagerly and says why once.
"""

from __future__ import annotations

import functools
import threading
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitcore_runtime.errors import GuardFailed, OperationFailed

from .device import get_default_dtype
from .log import log
from .nn.module import Module
from .state import state
from .tensor import Tensor
from .trace.capture import Recording, capture, seal
from .trace.containers import flatten
from .trace.variant import CannotReplay, Variant

MOST_VARIANTS = 16
"""Recordings kept for one key. A call that needs yet another runs eagerly."""
MOST_ATTEMPTS = 3
"""Recordings of one key that may fail because the function changes state, before it stays eager."""


class JitWarning(UserWarning):
    """Said once per cause: a call runs eagerly, and why."""


@dataclass(slots=True)
class Entry:
    """What is known for one key: compiled variants, most recently used first, or the reason to stay eager."""

    variants: list[Variant] = field(default_factory=list)
    reason: str | None = None
    failures: int = 0
    keep: tuple = ()


@dataclass(slots=True)
class PlainCall:
    """The latest replayed call where all arguments were plain tensors: what the next one is compared with first, at a
    tenth of the cost of building its key. One small tensor, measured: 0.5 us."""

    variant: Variant
    arrays: tuple[tuple[Any, Any, bool], ...]
    modes: tuple[Any, ...]

    @classmethod
    def of(cls, variant: Variant, leaves: Sequence[Any], arguments: tuple, keywords: dict) -> PlainCall | None:
        plain = not keywords and len(leaves) == len(arguments) and all(type(a) is Tensor for a in arguments)
        if not plain or len({id(a._storage) for a in arguments}) < len(arguments):
            return None
        arrays = tuple((a._array.shape, a._array.dtype, a.requires_grad) for a in arguments)
        return cls(variant, arrays, _modes())

    def fits(self, arguments: tuple) -> bool:
        """Whether the key of a call with these arguments is the one of the call remembered."""
        if len(arguments) != len(self.arrays) or self.modes != _modes():
            return False
        storages = set()
        for argument, (shape, dtype, requires_grad) in zip(arguments, self.arrays):
            if type(argument) is not Tensor:
                return False
            array = argument._array
            if array.shape != shape or array.dtype != dtype:
                return False
            if (argument._requires_grad if argument._base is None else argument.requires_grad) is not requires_grad:
                return False
            storages.add(id(argument._storage))
        return len(storages) == len(arguments)


def _modes() -> tuple[Any, ...]:
    return (state.grad_enabled, state.inference, state.autocast, get_default_dtype())


class JitFunction:
    """A function or Module that is recorded, compiled and replayed. Made by `jit`."""

    def __init__(self, function: Callable, native: bool = True) -> None:
        self._function = function
        self._native = native
        self._entries: dict[Any, Entry] = {}
        self._lock = threading.RLock()
        self._warned: set[str] = set()
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._eager_calls = 0
        self._last: PlainCall | None = None
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if state.recorder is not None or state.eager_only:  # inside another recording: part of it
            return self._function(*arguments, **keywords)
        last = self._last
        if last is not None and not keywords and last.fits(arguments) and last.variant.is_valid():
            try:
                return last.variant.call(arguments, arguments, keywords)
            except (GuardFailed, CannotReplay, OperationFailed):
                pass  # nothing has been changed; the way below finds out what to do
        leaves, structure = flatten((arguments, keywords))
        key = _key(leaves, structure)
        entry = self._entries.get(key)
        if entry is not None:
            if entry.reason is None:
                variant = _matching(entry)
                if variant is not None:
                    result = self._replay(entry, variant, leaves, arguments, keywords)
                    if result is not _MISSED:
                        if len(entry.variants) == 1:
                            self._last = PlainCall.of(variant, leaves, arguments, keywords)
                        return result
            else:
                self._eager_calls += 1
                return self._function(*arguments, **keywords)
        return self._record(key, leaves, arguments, keywords)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_function":
            raise AttributeError(name)
        return getattr(self._function, name)

    def __repr__(self) -> str:
        return f"<jitcore.jit {self._name}>"

    def explain(self) -> str:
        """In plain words: what was recorded and compiled, for which arguments, and what runs eagerly and why."""
        from .trace.explain import explain

        return explain(self._name, self._entries, self._eager_calls)

    def _replay(self, entry: Entry, variant: Variant, leaves: Sequence[Any], arguments: tuple, keywords: dict) -> Any:
        """Run `variant`; where a guard fails go to the sibling recorded for what was seen. `_MISSED`: there is none."""
        tried: set[int] = set()
        while True:
            try:
                return variant.call(leaves, arguments, keywords)
            except (CannotReplay, OperationFailed):  # eager execution raises what PyTorch would
                self._eager_calls += 1
                return self._function(*arguments, **keywords)
            except GuardFailed as failure:
                tried.add(id(variant))
                seen = (*variant.outcomes[: failure.index], failure.observed)
                sibling = next(
                    (
                        other
                        for other in entry.variants
                        if id(other) not in tried and other.outcomes[: len(seen)] == seen and other.is_valid()
                    ),
                    None,
                )
                if sibling is None:
                    return _MISSED
                variant = sibling
                _to_front(entry.variants, variant)

    def _record(self, key: Any, leaves: list[Any], arguments: tuple, keywords: dict) -> Any:
        with self._lock:
            entry = self._entries.setdefault(
                key, Entry(keep=tuple(leaf for leaf in leaves if not isinstance(leaf, Tensor)))
            )
        if len(entry.variants) >= MOST_VARIANTS:
            entry.variants = [v for v in entry.variants if v.is_valid()]
        if len(entry.variants) >= MOST_VARIANTS:
            self._stay_eager(entry, f"{MOST_VARIANTS} recordings were not enough: {_difference(entry)}", keep=True)
            self._eager_calls += 1
            return self._function(*arguments, **keywords)
        result, recording = capture(self._function, arguments, keywords, leaves, _identifier(self._name))
        if recording.problem is not None:
            entry.failures += 1
            if "changes Python state" not in recording.problem or entry.failures >= MOST_ATTEMPTS:
                self._stay_eager(entry, recording.problem)
            return result
        variant = self._compile(recording)
        with self._lock:
            entry.variants.insert(0, variant)
        return result

    def _compile(self, recording: Recording) -> Variant:
        from .compiler import compile_graph
        from .trace.differentiate import differentiate

        backward = differentiate(recording) if recording.differentiable else None
        if backward is not None:
            backward.compile(self._function, self._native)
        updates, guards = seal(recording)
        log("trace", lambda: f"{self._name} recorded:\n{recording.graph}")
        program = compile_graph(recording.graph, updates=updates, guards=guards)
        return Variant(recording, program, self._native, backward)

    def _stay_eager(self, entry: Entry, reason: str, keep: bool = False) -> None:
        if not keep:
            entry.reason = reason
        if reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(f"jitcore.jit: {self._name} runs eagerly: {reason}", JitWarning, stacklevel=4)


_MISSED = object()


def jit(function: Callable | None = None, *, native: bool = True) -> Any:
    """Compile a function, method or Module by recording it: `@jitcore.jit`, or `fast = jitcore.jit(model)`.

    The first call runs eagerly and is recorded; later calls with arguments of the same structure, dtypes and shapes run
    the compiled program. Tensors may be nested in tuples, lists, dicts and dataclasses; other leaves are constants of
    the recording, by value. `native=False` interprets the recorded graph instead of compiling it.

    Raises TypeError where `function` is not callable. A run that cannot be replayed safely stays eager, with one
    `JitWarning` that says why.
    """
    if function is None:
        return functools.partial(jit, native=native)
    if isinstance(function, type) and issubclass(function, Module):
        function.forward = JitFunction(function.forward, native)  # type: ignore[method-assign]
        return function
    if not callable(function):
        raise TypeError(f"jit: expected a function or Module, got {type(function).__name__}")
    return JitFunction(function, native)


def _key(leaves: Sequence[Any], structure: Any) -> Any:
    """What must be equal for a recording to fit: everything that can be told without looking at tensor elements."""
    parts: list[Any] = [structure, *_modes()]
    storages: dict[int, int] = {}
    shared = False
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            array = leaf._array
            parts.append(array.dtype)
            parts.append(array.shape)
            parts.append(leaf.requires_grad)
            storage = leaf._storage
            first = storages.setdefault(id(storage), len(storages))
            if first != len(storages) - 1 or shared:
                parts.append(first)
                shared = True
        elif isinstance(leaf, _BY_VALUE):
            parts.append(type(leaf))
            parts.append(leaf if leaf == leaf else "nan")
        else:
            parts.append(id(leaf))
    return tuple(parts)


_BY_VALUE = (int, float, complex, str, bytes, bool, type(None))


def _matching(entry: Entry) -> Variant | None:
    for variant in entry.variants:
        if variant.is_valid():
            return variant
    return None


def _to_front(variants: list[Variant], variant: Variant) -> None:
    if variants and variants[0] is not variant:
        variants.remove(variant)
        variants.insert(0, variant)


def _difference(entry: Entry) -> str:
    """Words for what kept changing between the recordings of one key."""
    for variant in entry.variants:
        broken = variant.recording.checks.first_broken()
        if broken is not None:
            return broken
    reads = entry.variants[0].recording.reads
    return (
        f"{reads[-1].kind}() at {reads[-1].location} keeps giving new values" if reads else "its state keeps changing"
    )


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name.replace("<locals>", "").replace("..", "."))
