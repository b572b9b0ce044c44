"""What a shape rule may rely on where symbols leave a relation open.

A rule asks `equal` and `at_least`. What is known for all values of the symbols is answered at once. Otherwise the rule
refuses unequal dims and lets an open inequality pass, since it is checked when the symbols have values. Who records a
run knows more: inside `assuming(...)` it answers from the run, and takes note of what the graph then relies on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .shapes import Dim, Shape, is_nonnegative, sub


class Assumptions(Protocol):
    """Answers open questions; a True is something that the graph relies on from then on."""

    def equal(self, left: Dim, right: Dim) -> bool:
        """May `left == right` be relied on?"""

    def at_least(self, left: Dim, right: Dim) -> bool:
        """May `left >= right` be relied on?"""


class _Current(threading.local):
    assumptions: Assumptions | None = None


_current = _Current()


@contextmanager
def assuming(assumptions: Assumptions) -> Iterator[None]:
    """Let `assumptions` answer what shape rules leave open."""
    before = _current.assumptions
    _current.assumptions = assumptions
    try:
        yield
    finally:
        _current.assumptions = before


def equal(left: Dim, right: Dim) -> bool:
    """Whether two dims are the same."""
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    return _current.assumptions is not None and _current.assumptions.equal(left, right)


def equal_shapes(left: Shape, right: Shape) -> bool:
    """Whether two shapes are the same, dim by dim."""
    return len(left) == len(right) and all(map(equal, left, right))


def at_least(left: Dim, right: Dim) -> bool:
    """False where `left >= right` is known not to hold."""
    difference = sub(left, right)
    if isinstance(difference, int):
        return difference >= 0
    if is_nonnegative(sub(-1, difference)):
        return False
    if _current.assumptions is None or is_nonnegative(difference):
        return True
    return _current.assumptions.at_least(left, right)
