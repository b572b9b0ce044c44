"""What a recorded function does beside computing: done while it is recorded, and by every replay with the values of its
own call, when the program has run, in the order of the recording. Known are `print`, `warnings.warn`, and calls that
are put off with `later` (a learning-rate schedule's step).

Text made of a recorded number would pin the number. Not so where the text is made within a call of `print`, as in
`print(f"loss {loss.item():.3f}")`: there the number's place in the printed text is found again, and each replay fills
it in.
"""

from __future__ import annotations

import builtins
import io
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..source import user_frame, user_location
from ..state import state
from ..tensor import Tensor, wrap
from .numbers import RecordedNumber, plain

if TYPE_CHECKING:
    from jitcore_ir import Value

    from .recorder import Recorder


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """That Python was given `text` for a number; `spec` is None for repr. `frame` and `place` say where."""

    number: RecordedNumber
    text: str
    spec: str | None
    frame: FrameType | None
    place: int


@dataclass(frozen=True, slots=True)
class Filled:
    """A graph value inside a printed text: formatted by `spec`, or as `str` of it where that is None."""

    value: Value
    spec: str | None
    is_tensor: bool = False


@dataclass(frozen=True, slots=True)
class Print:
    """One call of print. Each argument is an object to print as it is, or a tuple of texts and `Filled`."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def values(self) -> Iterator[Value]:
        """The graph values it shows."""
        for argument in self.arguments:
            if type(argument) is tuple:
                yield from (part.value for part in argument if isinstance(part, Filled))

    def replay(self, element: Callable[[Value], Any]) -> None:
        """Print again; `element` gives the array that a graph value is in this call."""
        made = ["".join(_shown(p, element) for p in a) if type(a) is tuple else a for a in self.arguments]
        print(*made, **self.keywords)


@dataclass(frozen=True, slots=True)
class Later:
    """One call of a function that changes Python state. Arguments may be `Filled`."""

    function: Callable
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def values(self) -> Iterator[Value]:
        """The graph values it is given."""
        yield from (x.value for x in (*self.arguments, *self.keywords.values()) if isinstance(x, Filled))

    def replay(self, element: Callable[[Value], Any]) -> None:
        """Call again; `element` gives the array that a graph value is in this call."""

        def given(x: Any) -> Any:
            if not isinstance(x, Filled):
                return x
            return wrap(element(x.value)) if x.is_tensor else element(x.value).item()

        self.function(*map(given, self.arguments), **{name: given(x) for name, x in self.keywords.items()})


Effect = Print | Later


def later(function: Callable, arguments: tuple, keywords: dict[str, Any]) -> Any:
    """Call `function` (of ours, without a result) now, unrecorded; and after each replay. Tensors and recorded numbers
    among the arguments are each call's own."""
    if _silent.places is not None:
        _silent.places.append(str(user_location()))
        return
    recorder = state.recorder
    if recorder is None or not hasattr(recorder, "effects"):
        function(*arguments, **keywords)
        return

    def kept(x: Any) -> Any:
        if isinstance(x, Tensor):
            return Filled(recorder.value_of(x), None, True)  # type: ignore[attr-defined]
        return Filled(x.graph_value(), None) if type(x) is RecordedNumber else x

    given = tuple(kept(x) for x in arguments), {name: kept(x) for name, x in keywords.items()}
    recorder.effects.append(Later(function, *given))
    recorder.put_off = True  # type: ignore[attr-defined]
    profile = sys.getprofile()
    sys.setprofile(None)  # what the function reads and changes is its own business
    state.recorder = None
    try:
        function(*map(plain, arguments), **{name: plain(x) for name, x in keywords.items()})
    finally:
        state.recorder = recorder
        sys.setprofile(profile)


def _shown(part: Any, element: Callable[[Value], Any]) -> str:
    if not isinstance(part, Filled):
        return part
    array = element(part.value)
    if part.is_tensor:
        return str(wrap(array))
    return repr(array.item()) if part.spec is None else format(array.item(), part.spec)


def note_text(number: RecordedNumber, text: str, spec: str | None) -> str:
    """Remember that `text` shows a number of an open recording."""
    frame = user_frame()
    number.recorder.texts.append(Text(number, text, spec, frame, -1 if frame is None else frame.f_lasti))
    return text


@contextmanager
def watched_effects() -> Iterator[None]:
    """While a function is recorded, its calls of `print` and `warnings.warn` come here; those of other threads go
    through."""
    global _depth, _print, _warn
    with _lock:
        if not _depth:
            _print, _warn = builtins.print, warnings.warn
            builtins.print, warnings.warn = _recorded_print, recorded_warn
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth and builtins.print is _recorded_print:
                builtins.print = _print
            if not _depth and warnings.warn is recorded_warn:
                warnings.warn = _warn


@contextmanager
def no_effects() -> Iterator[list[str]]:
    """Inside, effects of this thread are left out, for what runs twice; gives a list of where they were to be."""
    before, _silent.places = _silent.places, []
    try:
        with watched_effects():
            yield _silent.places
    finally:
        _silent.places = before


class _Silent(threading.local):
    places: list[str] | None = None


_silent = _Silent()
_lock = threading.Lock()
_depth = 0
_print = builtins.print
_warn = warnings.warn


def _recorded_print(*arguments: Any, **keywords: Any) -> None:
    if _silent.places is not None:
        _silent.places.append(str(user_location()))
        return
    recorder = state.recorder
    if recorder is None or not hasattr(recorder, "effects"):
        _print(*arguments, **keywords)
        return
    file = sys.stdout if keywords.get("file") is None else keywords["file"]
    if not isinstance(file, io.TextIOWrapper) and all(file is not s for s in recorder.streams):  # type: ignore[attr-defined]
        recorder.refuse(f"text is printed to a {type(file).__name__}, which replays would not do", user_location())  # type: ignore
    shown = _made_here(recorder)  # type: ignore[arg-type]
    parts = [_argument(recorder, argument) for argument in arguments]  # type: ignore[arg-type]
    recorder.effects.append(Print(tuple(_filled(parts, shown)), keywords))
    state.recorder = None
    try:
        _print(*(a.plain if type(a) is RecordedNumber else a for a in arguments), **keywords)
    finally:
        state.recorder = recorder


def recorded_warn(message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **keywords: Any) -> None:
    recorder = state.recorder
    if _silent.places is not None:
        _silent.places.append(str(user_location()))
    elif recorder is None or not getattr(recorder, "repeats_warnings", False):
        _warn(message, category, max(stacklevel, 1) + 1, source, **keywords)
    elif keywords:
        recorder.refuse("a warning is given with skip_file_prefixes", user_location())  # type: ignore[attr-defined]
        _warn(message, category, max(stacklevel, 1) + 1, source, **keywords)
    else:
        frame: FrameType | None = sys._getframe(1)
        for _ in range(stacklevel - 1):
            frame = None if frame is None else frame.f_back
        table, file, line = (vars(sys), "sys", 1) if frame is None else _place(frame)
        kind = type(message) if isinstance(message, Warning) else category or UserWarning
        registry = table.setdefault("__warningregistry__", {})
        given = {"module": table.get("__name__") or "<string>", "registry": registry, "source": source}
        recorder.effects.append(Later(warnings.warn_explicit, (message, kind, file, line), given))  # type: ignore
        warnings.warn_explicit(message, kind, file, line, **given)


def _place(frame: FrameType) -> tuple[dict[str, Any], str, int]:
    return frame.f_globals, frame.f_code.co_filename, frame.f_lineno


def _argument(recorder: Recorder, argument: Any) -> Any:
    """What is to be printed in place of one argument: itself, or parts of which some are `Filled`."""
    if isinstance(argument, Tensor):
        if argument.requires_grad:
            recorder.refuse("print() of a tensor with gradient history (print x.detach())", user_location())
        return (Filled(recorder.value_of(argument), None, True),)
    if type(argument) is RecordedNumber:
        return (Filled(argument.graph_value(), None),)
    if type(argument) is str:
        return argument
    if recorder.containers is not None and id(argument) in recorder.containers:
        recorder.refuse("print() of a list, dict or object that is an argument (print what it holds)", user_location())
    before = len(recorder.texts)
    text = str(argument)  # a list of numbers, say
    inside = recorder.texts[before:]
    del recorder.texts[before:]
    return next(iter(_filled([text], inside))) if inside else argument


def _filled(arguments: list[Any], shown: list[Text]) -> list[Any]:
    """`arguments` with the numbers shown in their texts as `Filled`, if there is one way alone to find them there in
    their order; else they decide what is printed."""
    texts = [n for n, argument in enumerate(arguments) if type(argument) is str]
    if not texts and not shown:
        return arguments
    whole = _BETWEEN.join(arguments[n] for n in texts)
    ways = _ways([t.text for t in shown], whole, 0) if len(shown) <= _MOST else iter(())
    found = next(ways, None)
    if found is None or next(ways, None) is not None:
        for left in shown:
            left.number.recorder.pin(left.number)
        return arguments
    parts: list[list[Any]] = [[]]
    end = 0
    for start, part in [*zip(found, shown), (len(whole), None)]:
        first, *more = whole[end:start].split(_BETWEEN)
        parts[-1].append(first)
        parts += [[text] for text in more]
        if part is not None:
            parts[-1].append(Filled(part.number.graph_value(), part.spec))
            end = start + len(part.text)
    for n, made in zip(texts, parts, strict=True):
        arguments[n] = tuple(made) if len(made) > 1 else made[0]
    return arguments


def shows_address(recorder: Recorder, texts: Iterable[Any]) -> bool:
    """Whether the place of an argument in memory, another one in each call, is in one of the texts, or in what is
    printed or warned of."""
    given = (part for effect in recorder.effects for part in effect.arguments)
    parts = (part for argument in given for part in (argument if type(argument) is tuple else (argument,)))
    places = [f"{number:x}" for number in recorder.containers or ()]
    return any(place in text for text in (*texts, *parts) if type(text) is str and "0x" in text for place in places)


_BETWEEN = "\0"
_MOST = 16
"""Numbers in one call of print, up to which their places are sought."""


def _ways(texts: Sequence[str], whole: str, start: int) -> Iterator[tuple[int, ...]]:
    """All positions at which `texts` stand in `whole`, one after another."""
    if not texts:
        yield ()
        return
    position = whole.find(texts[0], start)
    while position >= 0:
        for rest in _ways(texts[1:], whole, position + len(texts[0])):
            yield (position, *rest)
        position = whole.find(texts[0], position + 1)


def _made_here(recorder: Recorder) -> list[Text]:
    """Take the texts that were made within the running call of print, by where they stand in the source."""
    frame = user_frame()
    if frame is None:
        return []
    places = list(frame.f_code.co_positions())
    call = places[frame.f_lasti // 2]
    here = [t for t in recorder.texts if t.frame is frame and _is_within(places[t.place // 2], call)]
    recorder.texts = [t for t in recorder.texts if t not in here]
    return here


def _is_within(inner: Sequence[int | None], outer: Sequence[int | None]) -> bool:
    """Whether a source range (line, last line, column, last column) lies in another."""
    if None in inner or None in outer:
        return False
    return (outer[0], outer[2]) <= (inner[0], inner[2]) and (inner[1], inner[3]) <= (outer[1], outer[3])  # type: ignore
