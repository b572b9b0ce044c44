"""The symbolic sizes of one recording: their values in it, and what the recording relies on about them.

Two kinds of facts come in, from Python (`if n > 4`, `int(n)`) and from the shape rules of operations. An equation is
solved for a symbol, which is replaced everywhere from then on: `int(n)` makes n a number, adding a vector of N to one
of M makes them one symbol, `n % 8 == 0` makes n a multiple of a new one. What cannot be solved becomes a `ShapeGuard`.
A shape fits the recording where the inputs' dims can be bound to its shapes and every guard holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from jitcore_ir import Location, shapes
from jitcore_ir.assumptions import Assumptions
from jitcore_ir.equations import OPPOSITE, Interval, decided, factors, holds, linear_in, solve, tighten
from jitcore_ir.shapes import Dim, Expr, Shape


@dataclass(frozen=True, slots=True)
class ShapeGuard:
    """`difference relation 0` (relation: != < <= > >= ==), noted at `location`.

    `needed`: an operation cannot run otherwise, as opposed to Python having decided by it.
    """

    difference: Expr
    relation: str
    location: Location
    needed: bool

    def holds(self, values: Mapping[str, int]) -> bool:
        return holds(self.difference, self.relation, values)

    def __str__(self) -> str:
        left, right = sides(self.difference)
        return f"{left} {self.relation} {right}"


@dataclass(frozen=True, slots=True)
class Specialization:
    """The symbolic size `expr` must be `value`, a number or another expression."""

    expr: Expr
    value: Dim
    location: Location
    needed: bool

    def __str__(self) -> str:
        return f"{self.expr} == {self.value}"


@dataclass(slots=True)
class Sizes:
    """`values`: each symbol's number in this recording. `ranges`: the numbers it may be; by default 0 or more.

    `listeners` are told of every symbol that is replaced, so that graphs follow.
    """

    values: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, Interval] = field(default_factory=dict)
    guards: list[ShapeGuard] = field(default_factory=list)
    specializations: list[Specialization] = field(default_factory=list)
    listeners: list[Callable[[], None]] = field(default_factory=list)
    _known: dict[str, Dim] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self._known)

    def current(self, dim: Dim) -> Dim:
        """`dim` after all replacements."""
        return shapes.substitute(dim, self._known) if self._known and not isinstance(dim, int) else dim

    def current_shape(self, shape: Shape) -> Shape:
        return tuple(map(self.current, shape)) if self._known else shape

    def number(self, dim: Dim) -> int:
        """The number that `dim` is in this recording."""
        return shapes.evaluate(self.current(dim), self.values)

    def rely_on(self, difference: Dim, relation: str, location: Location, needed: bool = False) -> bool:
        """Whether `difference relation 0` in this recording; what the answer depends on is kept."""
        difference = self.current(difference)
        if isinstance(difference, int):
            return holds(difference, relation, {})
        if not holds(difference, relation, self.values):
            relation = OPPOSITE[relation]
            self._keep(difference, relation, location, needed)
            return False
        self._keep(difference, relation, location, needed)
        return True

    def assumptions(self, location: Location) -> FromRun:
        """Answers for shape rules: what holds in this recording is relied on."""
        return FromRun(self, location)

    def pin(self, dims: Iterable[Dim], location: Location) -> bool:
        """Make numbers of these dims. False where they are numbers already."""
        open = [symbol for dim in dims for symbol in shapes.symbols_of(dim)]
        for name in open:
            if name in self.values:
                self._replace(name, self.values[name], location, True)
        return bool(open)

    def _keep(self, difference: Expr, relation: str, location: Location, needed: bool) -> None:
        if decided(difference, relation, self.ranges):
            return
        if relation == "==":
            self._solve(difference, location, needed)
            return
        parts = factors(difference, relation)
        if parts is not None:
            for part in parts:
                self.rely_on(shapes.sub(part, 1), ">=", location, needed)
            return
        if not any(g.difference == difference and g.relation == relation for g in self.guards):
            self.guards.append(ShapeGuard(difference, relation, location, needed))
        limited = tighten(difference, relation, self.ranges)
        if limited is not None:
            self.ranges[limited[0]] = limited[1]

    def _solve(self, difference: Dim, location: Location, needed: bool) -> None:
        while not isinstance(difference, int):
            found = solve(difference, self.values)
            for name, dim in found.items():
                self._replace(name, dim, location, needed)
            difference = self.current(difference)

    def _replace(self, name: str, dim: Dim, location: Location, needed: bool) -> None:
        self.specializations.append(Specialization(shapes.symbol(name), dim, location, needed))
        for new in shapes.symbols_of(dim):
            if new not in self.values:  # name = step * new + remainder
                step, remainder = cast(tuple[int, int], linear_in(dim, new))
                self.values[new] = (self.values[name] - remainder) // step
                low, high = self.ranges.get(name, (0, None))
                self.ranges[new] = (
                    None if low is None else max(0, -((remainder - low) // step)),
                    None if high is None else (high - remainder) // step,
                )
        low, high = self.ranges.pop(name, (0, None))
        change = {name: dim}
        self._known = {n: shapes.substitute(d, change) for n, d in self._known.items()} | change
        del self.values[name]
        self.guards = [
            replace(guard, difference=difference)
            for guard in self.guards
            if not isinstance(difference := shapes.substitute(guard.difference, change), int)
        ]
        for limit, relation in ((low, ">="), (high, "<=")):
            if limit is not None:
                self.rely_on(shapes.sub(dim, limit), relation, location, needed)
        for listener in self.listeners:
            listener()


@dataclass(slots=True)
class FromRun(Assumptions):
    """See `Sizes.assumptions`. `solved`: symbols have been replaced meanwhile."""

    sizes: Sizes
    location: Location
    solved: bool = False

    def equal(self, left: Dim, right: Dim) -> bool:
        difference = self.sizes.current(shapes.sub(left, right))
        if isinstance(difference, int):
            return difference == 0
        if self.sizes.number(difference):
            return False
        before = len(self.sizes.specializations)
        holds_here = self.sizes.rely_on(difference, "==", self.location, needed=True)
        self.solved |= len(self.sizes.specializations) > before  # not where the ranges of sizes leave nothing else
        return holds_here

    def at_least(self, left: Dim, right: Dim) -> bool:
        difference = self.sizes.current(shapes.sub(left, right))
        if self.sizes.number(difference) < 0:
            return False
        return self.sizes.rely_on(difference, ">=", self.location, needed=True)


def sides(difference: Dim) -> tuple[Dim, Dim]:
    """`(left, right)` with left - right == difference and nothing negative: terms are moved to the other side."""
    if isinstance(difference, int):
        return difference, 0
    left: Any = 0
    right: Any = 0
    for coefficient, atoms in difference.terms:
        term = Expr(((abs(coefficient), atoms),)) if atoms else abs(coefficient)
        if coefficient > 0:
            left = shapes.add(left, term)
        else:
            right = shapes.add(right, term)
    return left, right
