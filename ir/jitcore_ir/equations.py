"""What equations and inequalities between dims say about their symbols."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .shapes import (
    Atom,
    Dim,
    Expr,
    Extreme,
    Quotient,
    Symbol,
    add,
    evaluate,
    is_nonnegative,
    mul,
    sub,
    symbol,
    symbols_of,
)

Interval = tuple[int | None, int | None]
"""Lowest and highest value; None where there is no limit."""


def linear_in(dim: Dim, name: str) -> tuple[int, Dim] | None:
    """`(a, rest)` where `dim` is a * symbol + rest, a is not 0 and rest has nothing to do with the symbol."""
    if isinstance(dim, int):
        return None
    coefficient = next((c for c, atoms in dim.terms if atoms == (Symbol(name),)), 0)
    rest = sub(dim, mul(coefficient, symbol(name)))
    return (coefficient, rest) if coefficient and name not in symbols_of(rest) else None


def solve(difference: Expr, values: Mapping[str, int]) -> dict[str, Dim]:
    """A symbol, with what it must be where `difference` is 0: exactly the solutions, or some of them.

    `values` are one solution, and the answer holds for it. The result may have a new symbol (`N = 8*N_by_8 + 3`); where
    nothing general is known, the symbol is a number. Later symbols are solved for first.
    """
    names = sorted(symbols_of(difference), key=list(values).index, reverse=True)
    found: list[tuple[str, Dim]] = []
    for name in names:
        parts = linear_in(difference, name)
        if parts is not None and abs(parts[0]) == 1:
            found.append((name, mul(parts[1], -parts[0])))
    for name, dim in found:
        if is_nonnegative(dim):
            return {name: dim}
    if found:
        return dict(found[:1])
    if len(names) > 1 or linear_in(difference, names[0]) is None:
        multiples = _multiples(difference, values)
        if multiples:
            return multiples
    return {names[0]: values[names[0]]}


def _multiples(difference: Expr, values: Mapping[str, int]) -> dict[str, Dim] | None:
    """The first symbol that is divided by a number, as a multiple of a new symbol plus the remainder it has."""
    for _, atoms in difference.terms:
        for atom in atoms:
            if not isinstance(atom, Quotient) or not isinstance(atom.denominator, int) or atom.denominator < 2:
                continue
            for name in symbols_of(atom.numerator):
                parts = linear_in(atom.numerator, name)
                if parts is not None and isinstance(parts[1], int):
                    step = atom.denominator // math.gcd(atom.denominator, parts[0])
                    if step > 1:
                        return {name: add(mul(step, symbol(f"{name}_by_{step}")), values[name] % step)}
    return None


def sizes_of(pairs: Sequence[tuple[Dim, int]]) -> dict[str, int] | None:
    """The values of the symbols for which each dim is the number beside it; None where there are none."""
    values: dict[str, int] = {}
    rest: list[tuple[Dim, int]] = []
    for dim, size in pairs:
        if isinstance(dim, int):
            if dim != size:
                return None
        elif linear_in(dim, name := symbols_of(dim)[0]) == (1, 0):
            if values.setdefault(name, size) != size:
                return None
        else:
            rest.append((dim, size))
    for dim, size in rest:
        for name in symbols_of(dim):
            parts = linear_in(dim, name) if name not in values else None
            if parts is not None and all(s in values for s in symbols_of(parts[1])):
                value, left = divmod(size - evaluate(parts[1], values), parts[0])
                if left or value < 0:
                    return None
                values[name] = value
    known = values.keys()
    fits = all(known >= set(symbols_of(dim)) and evaluate(dim, values) == size for dim, size in rest)
    return values if fits else None


def bounds(dim: Dim, ranges: Mapping[str, Interval]) -> Interval:
    """Limits of `dim` where each symbol keeps to its range (by default 0 or more). Not always the tightest."""
    if isinstance(dim, int):
        return dim, dim
    low: int | None = 0
    high: int | None = 0
    for coefficient, atoms in dim.terms:
        part: Interval = (coefficient, coefficient)
        for atom in atoms:
            part = _times(part, _atom_bounds(atom, ranges))
        low = None if low is None or part[0] is None else low + part[0]
        high = None if high is None or part[1] is None else high + part[1]
    return low, high


def _atom_bounds(atom: Atom, ranges: Mapping[str, Interval]) -> Interval:
    if isinstance(atom, Symbol):
        return ranges.get(atom.name, (0, None))
    if isinstance(atom, Extreme):
        (a, b), (c, d) = bounds(atom.left, ranges), bounds(atom.right, ranges)
        if atom.operator == "max":
            return _larger(a, c), None if b is None or d is None else max(b, d)
        return None if a is None or c is None else min(a, c), _smaller(b, d)
    if not isinstance(atom.denominator, int) or atom.denominator < 1:
        return (0, None) if is_nonnegative(Expr(((1, (atom,)),))) else (None, None)
    if atom.operator == "%":
        return 0, atom.denominator - 1
    low, high = bounds(atom.numerator, ranges)
    divisor = atom.denominator
    return None if low is None else low // divisor, None if high is None else high // divisor


def _larger(a: int | None, b: int | None) -> int | None:
    known = [n for n in (a, b) if n is not None]
    return max(known) if known else None


def _smaller(a: int | None, b: int | None) -> int | None:
    known = [n for n in (a, b) if n is not None]
    return min(known) if known else None


def _times(x: Interval, y: Interval) -> Interval:
    """The interval of all products; None is infinite."""
    ends = [_product(a, b) for a in _ends(x) for b in _ends(y)]
    low, high = min(ends), max(ends)
    return None if low == -math.inf else int(low), None if high == math.inf else int(high)


def _ends(x: Interval) -> tuple[float, float]:
    return -math.inf if x[0] is None else x[0], math.inf if x[1] is None else x[1]


def _product(a: float, b: float) -> float:
    return 0 if a == 0 or b == 0 else a * b


def tighten(difference: Dim, relation: str, ranges: Mapping[str, Interval]) -> tuple[str, Interval] | None:
    """A symbol's new range where `difference relation 0` limits it alone; None elsewhere."""
    names = symbols_of(difference)
    if len(names) != 1:
        return None
    parts = linear_in(difference, names[0])
    if parts is None or not isinstance(parts[1], int):
        return None
    if relation == "!=":  # of the lowest or highest number
        low, high = bounds(difference, ranges)
        relation = ">" if low == 0 else "<" if high == 0 else relation
    if relation not in _SIGNS:
        return None
    sign, strict = _SIGNS[relation]
    slope, rest = parts[0] * sign, parts[1] * sign - strict  # slope * symbol + rest >= 0
    low, high = ranges.get(names[0], (0, None))
    if slope > 0:
        return names[0], (_larger(low, -(rest // slope)), high)
    return names[0], (low, _smaller(high, rest // -slope))


_SIGNS = {">=": (1, 0), ">": (1, 1), "<=": (-1, 0), "<": (-1, 1)}


def holds(difference: Dim, relation: str, values: Mapping[str, int]) -> bool:
    """Whether `difference relation 0` for these values."""
    return RELATIONS[relation](evaluate(difference, values))


RELATIONS = {
    "==": lambda n: n == 0,
    "!=": lambda n: n != 0,
    "<": lambda n: n < 0,
    "<=": lambda n: n <= 0,
    ">": lambda n: n > 0,
    ">=": lambda n: n >= 0,
}

OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def decided(difference: Dim, relation: str, ranges: Mapping[str, Interval]) -> bool:
    """Whether `difference relation 0` holds for all values in the ranges."""
    low, high = bounds(difference, ranges)
    if relation == "!=" and _never_zero(difference):
        return True
    above, below = (low is not None and low >= 0), (high is not None and high <= 0)
    positive, negative = (low is not None and low > 0), (high is not None and high < 0)
    return {
        "==": low == 0 and high == 0,
        "!=": positive or negative,
        "<": negative,
        "<=": below,
        ">": positive,
        ">=": above,
    }[relation]


def _never_zero(difference: Dim) -> bool:
    """Whether all terms but the constant have a divisor that it does not have."""
    if isinstance(difference, int):
        return difference != 0
    constant = sum(c for c, atoms in difference.terms if not atoms)
    return constant % math.gcd(*(c for c, atoms in difference.terms if atoms)) != 0


def factors(difference: Dim, relation: str) -> list[Expr] | None:
    """The sizes that must each be 1 or more where a product of sizes must not be 0: `3*N*M > 0`, `N*M >= 1`."""
    if isinstance(difference, int) or len(difference.terms) > 2 or relation not in (">=", ">", "!="):
        return None
    constant = sum(c for c, atoms in difference.terms if not atoms)
    products = [(c, atoms) for c, atoms in difference.terms if atoms]
    if len(products) != 1 or len(products[0][1]) < 2:
        return None
    coefficient, atoms = products[0]
    positive = 0 < -constant <= coefficient if relation == ">=" else constant == 0
    if coefficient < 1 or not positive or not all(is_nonnegative(Expr(((1, (a,)),))) for a in atoms):
        return None
    return [Expr(((1, (atom,)),)) for atom in atoms]


__all__ = [
    "OPPOSITE", "RELATIONS", "bounds", "decided", "factors", "holds", "linear_in", "sizes_of", "solve", "tighten",
]  # fmt: skip
