"""`Step`: what a lowered program does, in order: kernels, and the branches and loops around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jitcore_ir.shapes import Expr

Dim = int | Expr
Place = tuple[int, Dim]
"""A buffer, and the element of it at which something begins."""


@dataclass(frozen=True, slots=True)
class Run:
    """Kernel call number `kernel` of the module."""

    kernel: int


@dataclass(slots=True)
class Branch:
    """`then` where the bool at `predicate` is true, else `otherwise`."""

    predicate: Place
    then: list[Step] = field(default_factory=list)
    otherwise: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Carry:
    """Where one value lies that goes from turn to turn: in `initial` before the first; it is read from buffer `current`
    and written to buffer `following`, which change places after each turn, and copied to `result` after the last.

    `initial` is only read. It stands in for `current` during the first turn.
    """

    initial: Place
    current: int
    following: int
    result: Place


@dataclass(slots=True)
class Loop:
    """Turns of `body` with carried values.

    Counted: `length` turns, in which the symbol `index` of the kernels' offsets goes from 0 up, or down to 0 where
    `reverse`. Otherwise (`test` is a buffer): as long as the bool there is true after `condition`. A turn after which
    there is an error is the last.
    """

    carries: tuple[Carry, ...] = ()
    body: list[Step] = field(default_factory=list)
    length: Dim = 0
    index: str = ""
    reverse: bool = False
    condition: list[Step] = field(default_factory=list)
    test: int | None = None


Step = Run | Branch | Loop


def print_steps(steps: Sequence[Step], kernels: Sequence[str], indent: str = "  ") -> Iterator[str]:
    """Lines of text; `kernels` are those of the kernel calls."""
    for step in steps:
        if isinstance(step, Run):
            yield indent + kernels[step.kernel]
            continue
        if isinstance(step, Branch):
            parts = [(f"if {place_text(step.predicate)}:", step.then), ("else:", step.otherwise)]
        else:
            carried = ", ".join(map(_carry_text, step.carries))
            head = f"for {step.index} in {step.length}" if step.test is None else f"while b{step.test}"
            head += f"{' reversed' * step.reverse}{f' carrying {carried}' * bool(carried)}:"
            parts = [(head, step.condition), ("do:", step.body)] if step.test is not None else [(head, step.body)]
        for head, inner in parts:
            yield indent + head
            yield from print_steps(inner, kernels, indent + "  ")


def place_text(place: Place) -> str:
    buffer, offset = place
    return f"b{buffer}" if offset == 0 else f"b{buffer} + {offset}"


def _carry_text(carry: Carry) -> str:
    return f"{place_text(carry.initial)} -> b{carry.current}/b{carry.following} -> {place_text(carry.result)}"
