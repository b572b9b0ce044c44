"""Why a function was recorded again or runs eagerly, and what its writer can do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jitcore_ir import UNKNOWN

from ..tensor import Tensor
from .numbers import same_float
from .scalars import in_words

NOTICED = 3
"""Recordings for one cause after which the user is told."""

_FIXES = {
    "outcome": (
        "compute with the tensor: jitcore.where(condition, a, b) for a choice, x.sum() in place of x.sum().item()",
        "or take the decision out: return the number, and call one of two jitted functions",
    ),
    "number": (
        "pass it as a tensor: jitcore.tensor(value)",
        "or as an argument of its own that is used in arithmetic and comparisons only: int(), text and indices pin it",
    ),
    "state": (
        "pass what changes as an argument: a float argument is not part of a recording",
        "or keep it in a tensor that is written in place: self.register_buffer(...), tensor.fill_(value)",
    ),
    "kind": (
        "let sizes be symbols: jitcore.jit(dynamic=True), or jitcore.mark_dynamic(x, 0); else pad to a few sizes",
        "or pass what differs as a tensor: numbers but floats, strings and objects are part of the key",
    ),
    "size": (
        "write the line so that it holds for all sizes (x.reshape(-1, n), jitcore.where on tensors)",
        "or keep to sizes on one side of it: pad, or drop the last batch",
    ),
    "link": (
        "pass a tensor that the function does not hold: x.clone()",
        "or do not ask for it inside: is_leaf, `x is self.y`, and memory in common are part of the recording",
    ),
    "gradients": (
        "clear gradients in the same way each time: optimizer.zero_grad() before every call",
        "or inside the function, as its first line",
    ),
}
"""Two things to do, by what kept changing."""

_ADVICE = {
    "numpy() of": ("compute with jitcore's functions on the tensor", "or return the tensor and call numpy() outside"),
    "tolist() of": ("compute with jitcore's functions on the tensor", "or return the tensor and call tolist() outside"),
    "changes Python state": (
        "return the new value and keep it outside", "or keep it in a tensor that is written in place (register_buffer)",
    ),
    "is changed by the function": ("return the new list or dict", "or change it outside, with what is returned"),
    "gives another result each time": (
        "draw random numbers with jitcore.rand and its like", "or draw them outside and pass them as an argument",
    ),
    "random numbers are drawn": (
        "draw random numbers with jitcore.rand and its like", "or draw them outside and pass them as an argument",
    ),
    "iterator": ("pass or keep a list", "or call next() outside and pass the item"),
    "cannot watch": ("pass the tensor as an argument", "or keep it in an attribute, a list or a dict"),
    "that it made itself": (
        "return tensors and numbers in tuples, lists, dicts or dataclasses", "or make the object outside",
    ),
    "too large to watch": ("make it a tensor: jitcore.from_numpy(array)", "or pass it as an argument"),
    "to a file": ("return what is to be written", "or print() it, which every call does again"),
    "is logged": ("return what is to be logged", "or print() it, which every call does again"),
}  # fmt: skip
"""Two things to do, by words in the reason to stay eager."""


@dataclass(frozen=True, slots=True)
class Retrace:
    """Why a call was recorded although there were recordings; `location` where a value that Python saw decided.

    kind: "outcome" of a value that Python saw, "number" of an argument, Python "state", "kind" of arguments (shapes,
    dtypes, modes), a relation between sizes ("size"), the "link" of arguments to what the function holds,
    "gradients" that are there.
    """

    kind: str
    cause: str
    location: Any = None

    @property
    def about(self) -> Any:
        """What two retraces have in common that are for one cause."""
        return self.kind, str(self.location) if self.location is not None else self.cause.partition(" was ")[0]

    def advice(self) -> str:
        return _lines(_FIXES[self.kind])


def advice(reason: str) -> str:
    """What to do where a function cannot be recorded for `reason`, on lines of its own; may be empty."""
    return next((_lines(fixes) for words, fixes in _ADVICE.items() if words in reason), "")


def _lines(fixes: Sequence[str]) -> str:
    return "".join(f"\n    {text}" for text in fixes)


def cause_of(tree: Any, leaves: Sequence[Any]) -> Retrace:
    """Why the call fits no recording of its key, which are those of `tree`."""
    if tree.missed is not None:
        variant, number, seen = tree.missed
        read = variant.recording.reads[number]
        words = "a number" if read.outcome != read.outcome else repr(seen)
        text = f"{read.kind} at {read.location} gave {words}, where {read.outcome!r} was recorded"
        return Retrace("outcome", text, read.location)
    for variant in tree.variants:
        for position, (pinned, location) in variant.recording.pins.items():
            if not same_float(leaves[position], pinned):
                if location is UNKNOWN:
                    text = f"argument {position}, a number inside a list, dict or object, was {pinned!r}"
                else:
                    text = f"argument {position} was {pinned!r}, on which {location} depends"
                return Retrace("number", text, location)
        broken = variant.recording.checks.first_broken()
        if broken is not None:
            return Retrace("state", broken)
        if (link := variant.links.broken(leaves)) is not None:
            return Retrace("link", link)
        guard = variant.broken_guard(leaves)
        if guard is not None:
            text = f"sizes with {guard} were recorded, on which {guard.location} depends"
            return Retrace("size", text, guard.location)
    return Retrace("gradients", "other gradients were there before the call")


def describe(leaves: Sequence[Any], modes: Mapping[str, Any]) -> tuple[str, ...]:
    """Words for what of a call is in its key: one for each argument leaf, then the modes."""
    words = [f"argument {n} is {_kind(leaf)}" for n, leaf in enumerate(leaves)]
    return (*words, *(f"{name} {value}" for name, value in modes.items()))


def _kind(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        dtype = str(leaf.dtype).rpartition(".")[2]
        with_grad = " that requires grad" if leaf.requires_grad else ""
        return f"a {dtype} tensor of shape {list(leaf._array.shape)}{with_grad}"
    return "a float" if type(leaf) is float else in_words(leaf)[:60]


def other_kind(words: tuple[str, ...], before: Sequence[tuple[str, ...]]) -> Retrace:
    """Why a call is of another kind than those seen `before`: how it differs from the closest of them."""
    closest = min(before, key=lambda other: sum(a != b for a, b in zip(words, other)) + abs(len(words) - len(other)))
    changed = [f"{a}, where {_what(b)} was recorded" for a, b in zip(words, closest) if a != b]
    if len(words) != len(closest) or not changed:
        changed = ["other arguments: their number, containers, memory layout or shared memory"]
    what = "; ".join(changed[:2]) + ("; ..." if len(changed) > 2 else "")
    about = changed[0].partition(",")[0].partition(" is ")[0].removesuffix(" True").removesuffix(" False")
    return Retrace("kind", what, about)


def _what(words: str) -> str:
    """The words without what they are about."""
    if words.startswith("argument "):
        return words.split(" ", 3)[3]
    return words.rpartition(" ")[2]
