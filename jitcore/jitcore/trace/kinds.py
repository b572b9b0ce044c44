"""Which sizes of a function's arguments become symbols.

A `Kind` is what calls have in common that differ at most in sizes (and in integers). Its first recording takes the
sizes as they are; one that was another at a later recording is a symbol there. A `Pattern` says what is left of that
after the recording: the sizes that a call may have to use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitcore_ir import UNKNOWN, Location, shapes
from jitcore_ir.equations import sizes_of
from jitcore_ir.shapes import Dim, Shape

from ..dims import Dim as Limits
from ..tensor import Tensor
from .sizes import ShapeGuard, Sizes, Specialization

Place = tuple[int, int]
"""(leaf, dimension); an integer is a leaf of one dimension, itself."""

LARGEST_INTEGER = 1 << 40
"""Integers from 0 up to here may be symbols."""

MOST_REMEMBERED = 8
"""Recordings whose sizes are compared, to tell which sizes go together."""

_NAMES = "NMKLPQ"


@dataclass(frozen=True, slots=True)
class Pattern:
    """The sizes of arguments that use a recording: by leaf, the dims of a tensor or an integer, None for others."""

    leaves: tuple[Shape | None, ...]

    @property
    def is_symbolic(self) -> bool:
        return any(shape is not None and not shapes.is_static(shape) for shape in self.leaves)

    def current(self, sizes: Sizes) -> Pattern:
        """After what a recording has found out."""
        return Pattern(tuple(None if s is None else sizes.current_shape(s) for s in self.leaves))

    def bind(self, leaves: Sequence[Any]) -> dict[str, int] | None:
        """The symbols' values for a call; None where its sizes do not fit."""
        pairs: list[tuple[Dim, int]] = []
        for leaf, shape in zip(leaves, self.leaves, strict=True):
            if shape is None:
                continue
            if isinstance(leaf, Tensor):
                pairs += zip(shape, leaf._array.shape, strict=True)
            elif isinstance(shape[0], int) or may_be_symbol(leaf):
                pairs.append((shape[0], leaf))
            else:
                return None
        return sizes_of(pairs)


@dataclass(slots=True)
class Kind:
    """What is known of the sizes of one kind of call."""

    history: list[tuple[tuple[int, ...] | None, ...]] = field(default_factory=list)
    """Sizes at the latest recordings, by leaf."""
    changed: set[Place] = field(default_factory=set)
    fixed: dict[Place, Location] = field(default_factory=dict)
    """Sizes that were symbols but turned out to be used as numbers, and where."""
    static: bool = False
    """A recording with symbols went wrong: take sizes as they are."""

    def pattern(
        self, leaves: Sequence[Any], dynamic: bool | None, nested: frozenset[int] = frozenset()
    ) -> tuple[Pattern, Sizes]:
        """What to record a call with, and note its sizes. Sizes that were equal at every recording are one symbol.

        nested: leaves inside of containers. Python reads integers there as they are, so that they are no symbols.
        """
        now = sizes_at(leaves)
        for leaf, (before, after) in enumerate(zip(self.history[-1], now, strict=True) if self.history else ()):
            self.changed |= {(leaf, axis) for axis, n in enumerate(after or ()) if n != before[axis]}  # type: ignore
        self.history = [*self.history[-MOST_REMEMBERED + 1 :], now]
        names: dict[Any, str] = {}
        sizes = Sizes()
        patterns: list[Shape | None] = []
        for leaf, shape in enumerate(now):
            dims: list[Dim] = []
            marks = marks_of(leaves[leaf])
            for axis, size in enumerate(shape or ()):
                mark = marks.get(axis)
                is_bare = leaf in nested and not isinstance(leaves[leaf], Tensor)
                if is_bare or not self._is_symbol((leaf, axis), leaves[leaf], dynamic, mark):
                    dims.append(size)
                    continue
                key = tuple(past[leaf][axis] for past in self.history), mark  # type: ignore[index]
                if key not in names:
                    names[key] = _name(len(names))
                    sizes.values[names[key]] = size
                    sizes.guards += limits(names[key], mark)
                dims.append(shapes.symbol(names[key]))
            patterns.append(None if shape is None else tuple(dims))
        return Pattern(tuple(patterns)), sizes

    def learn(self, before: Pattern, after: Pattern, found: Sequence[Specialization]) -> None:
        """Note which symbols a recording used as numbers. 0 and 1 say little: what is stretched is 1 by chance."""
        for leaf, (shape, left) in enumerate(zip(before.leaves, after.leaves, strict=True)):
            for axis, (dim, now) in enumerate(zip(shape or (), left or (), strict=True)):
                if isinstance(now, int) and not isinstance(dim, int) and now > 1:
                    where = next((f.location for f in found if str(f.expr) == str(dim)), UNKNOWN)
                    self.fixed.setdefault((leaf, axis), where)

    def _is_symbol(self, place: Place, leaf: Any, dynamic: bool | None, mark: Limits | None) -> bool:
        if self.static or dynamic is False or place in self.fixed:
            return False
        if mark is not None or (dynamic and isinstance(leaf, Tensor)):
            return True
        return place in self.changed and (isinstance(leaf, Tensor) or may_be_symbol(leaf))


def may_be_symbol(number: int) -> bool:
    """Whether an integer argument is of the size that tensors have, so that what is computed from it fits 64 bits."""
    return 0 <= number < LARGEST_INTEGER


def sizes_at(leaves: Sequence[Any]) -> tuple[tuple[int, ...] | None, ...]:
    """By leaf: a tensor's shape, an integer, None for others."""
    return tuple(
        leaf._array.shape if isinstance(leaf, Tensor) else (leaf,) if type(leaf) is int else None for leaf in leaves
    )


def mark_dynamic(tensor: Tensor, dim: int | Sequence[int], *, min: int = 0, max: int | None = None) -> None:
    """Let `dim` (or several) of an argument be a symbol from the first recording on, from `min` to `max`.

    Without it, a size becomes one when it is another at a second call. Raises IndexError for a dimension that the
    tensor does not have, ValueError where no number fits.
    """
    from ..ops.movement import axis_of

    marks = dict(tensor.__dict__.get(MARKS, {}))
    for one in dim if isinstance(dim, list | tuple) else (dim,):
        axis = axis_of(one, tensor._array.ndim)
        marks[axis] = Limits(f"dimension{axis}", min, max)
        size = tensor._array.shape[axis]
        if size < min or (max is not None and size > max):
            raise ValueError(f"mark_dynamic: dimension {axis} is {size}, outside {min} to {max}")
    tensor.__dict__[MARKS] = marks


MARKS = "_dynamic_dims"


def marks_of(leaf: Any) -> Mapping[int, Limits]:
    return leaf.__dict__.get(MARKS, {}) if isinstance(leaf, Tensor) else {}


def limits(name: str, mark: Limits | None) -> list[ShapeGuard]:
    """A marked dimension's range, as guards."""
    if mark is None:
        return []
    low, high = mark.range
    made = []
    for limit, relation in ((low or None, ">="), (high, "<=")):
        if limit is not None:
            difference = shapes.sub(shapes.symbol(name), limit)
            assert not isinstance(difference, int)
            made.append(ShapeGuard(difference, relation, UNKNOWN, True))
    return made


class SizeChecks:
    """Values of the symbols for a recording's arguments, and whether its guards hold for them. Answers are remembered
    by the arguments' sizes, so that a call asks for sizes that were there before only once."""

    __slots__ = ("_known", "_places", "guards", "pattern")

    def __init__(self, pattern: Pattern, guards: Sequence[ShapeGuard]) -> None:
        self.pattern = pattern
        self.guards = tuple(guards)
        self._places = [n for n, s in enumerate(pattern.leaves) if s is not None and not shapes.is_static(s)]
        self._known: dict[Any, dict[str, int] | None] = {}

    def values(self, leaves: Sequence[Any]) -> dict[str, int] | None:
        """The symbols' values; None where the sizes do not fit or a guard does not hold."""
        key = tuple([x._array.shape if isinstance(x := leaves[n], Tensor) else x for n in self._places])
        try:
            return self._known[key]
        except KeyError:
            pass
        values = self.pattern.bind(leaves)
        if values is not None and not all(guard.holds(values) for guard in self.guards):
            values = None
        if len(self._known) >= _MOST_SIZES:
            self._known.clear()
        self._known[key] = values
        return values


_MOST_SIZES = 256
"""Sizes remembered per recording before forgetting them all."""


def _name(number: int) -> str:
    return _NAMES[number] if number < len(_NAMES) else f"N{number}"
