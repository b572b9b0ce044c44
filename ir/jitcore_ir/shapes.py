"""Dimensions: integers, or expressions over symbols such as `N` or `2*N + 1`.

A `Dim` is either a Python `int` or an `Expr`. Use the functions here (`add`, `mul`, ...) on dims: they give an
`int` whenever the result is one, so that a static shape never meets an expression. Expressions are kept in one
normal form (a sum of integer multiples of products of atoms), so equal expressions compare and print equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import ShapeError

Dim = "int | Expr"
Shape = tuple  # of Dim
_Term = tuple  # sorted tuple of atoms, a product


@dataclass(frozen=True, slots=True)
class Symbol:
    """A dimension known only when a program is called. Always >= 0; 0 and 1 are not special."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Quotient:
    """`numerator // denominator` or `numerator % denominator` (operator "//" or "%"), Python's rounding."""

    operator: str
    numerator: int | Expr
    denominator: int | Expr

    def __str__(self) -> str:
        return f"(({self.numerator}) {self.operator} ({self.denominator}))"


@dataclass(frozen=True, slots=True)
class Extreme:
    """The larger ("max") or smaller ("min") of two dims."""

    operator: str
    left: int | Expr
    right: int | Expr

    def __str__(self) -> str:
        return f"{self.operator}({self.left}, {self.right})"


@dataclass(frozen=True, slots=True)
class Expr:
    """A polynomial: terms `(coefficient, atoms)` sorted by their text; never a plain integer."""

    terms: tuple[tuple[int, _Term], ...]

    def __str__(self) -> str:
        text = ""
        for coefficient, atoms in self.terms:
            factors = [str(a) for a in atoms]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = " - " if coefficient < 0 else " + "
            text += (sign if text else sign.strip(" +")) + "*".join(factors)
        return text

    __repr__ = __str__


def symbol(name: str) -> Expr:
    """The dim that is the symbol `name`."""
    if not name.isidentifier() or name in ("max", "min"):
        raise ValueError(f"symbol name {name!r} is not a plain identifier")
    return Expr(((1, (Symbol(name),)),))


def add(a: int | Expr, b: int | Expr) -> int | Expr:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return _normal([*_terms(a), *_terms(b)])


def sub(a: int | Expr, b: int | Expr) -> int | Expr:
    return add(a, mul(b, -1))


def mul(a: int | Expr, b: int | Expr) -> int | Expr:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return _normal([(c * d, p + q) for c, p in _terms(a) for d, q in _terms(b)])


def floordiv(a: int | Expr, b: int | Expr) -> int | Expr:
    """`a // b`; exact where every coefficient divides."""
    if isinstance(b, int):
        if b == 0:
            raise ShapeError("a dimension is divided by zero")
        if isinstance(a, int):
            return a // b
        if all(c % b == 0 for c, _ in a.terms):
            return _normal([(c // b, p) for c, p in a.terms])
    elif a == b:
        return 1
    elif isinstance(exact := _divide_by_monomial(a, b), int | Expr):
        return exact
    return Expr(((1, (Quotient("//", a, b),)),))


def mod(a: int | Expr, b: int | Expr) -> int | Expr:
    if isinstance(b, int):
        if b == 0:
            raise ShapeError("a dimension is taken modulo zero")
        if isinstance(a, int):
            return a % b
        if all(c % b == 0 for c, _ in a.terms):
            return 0
    elif a == b or isinstance(_divide_by_monomial(a, b), int | Expr):
        return 0
    return Expr(((1, (Quotient("%", a, b),)),))


def maximum(a: int | Expr, b: int | Expr) -> int | Expr:
    return _extreme("max", a, b)


def minimum(a: int | Expr, b: int | Expr) -> int | Expr:
    return _extreme("min", a, b)


def product(dims: Iterable[int | Expr]) -> int | Expr:
    """The number of elements in a shape."""
    total: int | Expr = 1
    for d in dims:
        total = mul(total, d)
    return total


def symbols_of(dim: int | Expr) -> list[str]:
    """Names of the symbols in `dim`, in order of first appearance."""
    found: dict[str, None] = {}

    def walk(part: object) -> None:
        if isinstance(part, Symbol):
            found[part.name] = None
        elif isinstance(part, Quotient):
            walk(part.numerator), walk(part.denominator)
        elif isinstance(part, Extreme):
            walk(part.left), walk(part.right)
        elif isinstance(part, Expr):
            for _, atoms in part.terms:
                for atom in atoms:
                    walk(atom)

    walk(dim)
    return list(found)


def evaluate(dim: int | Expr, values: Mapping[str, int]) -> int:
    """The integer that `dim` is for these symbol values. Raises ShapeError for a missing symbol."""
    if isinstance(dim, int):
        return dim
    total = 0
    for coefficient, atoms in dim.terms:
        for atom in atoms:
            coefficient *= _evaluate_atom(atom, values)
        total += coefficient
    return total


def substitute(dim: int | Expr, values: Mapping[str, int | Expr]) -> int | Expr:
    """`dim` with some symbols replaced by dims."""
    if isinstance(dim, int):
        return dim
    total: int | Expr = 0
    for coefficient, atoms in dim.terms:
        part: int | Expr = coefficient
        for atom in atoms:
            part = mul(part, _substitute_atom(atom, values))
        total = add(total, part)
    return total


def is_static(shape: Iterable[int | Expr]) -> bool:
    return all(isinstance(d, int) for d in shape)


def _terms(dim: int | Expr) -> list[tuple[int, _Term]]:
    return [(dim, ())] if isinstance(dim, int) else list(dim.terms)


def _normal(terms: list[tuple[int, _Term]]) -> int | Expr:
    merged: dict[_Term, int] = {}
    for coefficient, atoms in terms:
        key = tuple(sorted(atoms, key=str))
        merged[key] = merged.get(key, 0) + coefficient
    kept = sorted(((c, p) for p, c in merged.items() if c), key=lambda t: (not t[1], [str(a) for a in t[1]]))
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][1]:
        return kept[0][0]
    return Expr(tuple(kept))


def _divide_by_monomial(a: int | Expr, b: Expr) -> int | Expr | None:
    """`a / b` where b is one term that divides every term of a; otherwise None."""
    if len(b.terms) != 1 or a == 0:
        return None
    divisor, atoms = b.terms[0]
    result = []
    for coefficient, factors in _terms(a):
        rest = list(factors)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % divisor:
            return None
        result.append((coefficient // divisor, tuple(rest)))
    return _normal(result)


def _extreme(operator: str, a: int | Expr, b: int | Expr) -> int | Expr:
    if a == b:
        return a
    difference = sub(a, b)
    if isinstance(difference, int):
        return a if (difference > 0) == (operator == "max") else b
    left, right = sorted((a, b), key=str)
    return Expr(((1, (Extreme(operator, left, right),)),))


def _evaluate_atom(atom: Symbol | Quotient | Extreme, values: Mapping[str, int]) -> int:
    if isinstance(atom, Symbol):
        if atom.name not in values:
            raise ShapeError(f"symbol {atom.name} has no value; known are {sorted(values) or 'none'}")
        return values[atom.name]
    if isinstance(atom, Extreme):
        pair = evaluate(atom.left, values), evaluate(atom.right, values)
        return max(pair) if atom.operator == "max" else min(pair)
    numerator, denominator = evaluate(atom.numerator, values), evaluate(atom.denominator, values)
    if denominator == 0:
        raise ShapeError(f"{atom} divides by zero for {dict(values)}")
    return numerator // denominator if atom.operator == "//" else numerator % denominator


def _substitute_atom(atom: Symbol | Quotient | Extreme, values: Mapping[str, int | Expr]) -> int | Expr:
    if isinstance(atom, Symbol):
        return values.get(atom.name, Expr(((1, (atom,)),)))
    if isinstance(atom, Extreme):
        return _extreme(atom.operator, substitute(atom.left, values), substitute(atom.right, values))
    divide = floordiv if atom.operator == "//" else mod
    return divide(substitute(atom.numerator, values), substitute(atom.denominator, values))
