"""Dimensions: integers, or expressions over symbols such as `N` or `2*N + 1`.

A `Dim` is either a Python `int` or an `Expr`. Use the functions here (`add`, `mul`, ...) on dims: they give an
`int` whenever the result is one, so that a static shape never meets an expression. Expressions are kept in one
normal form (a sum of integer multiples of products of atoms), so equal expressions compare and print equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import ShapeError

_NAME = re.compile(r"[^\W\d]\w*")
_WORD = re.compile(r"\w+")


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
        numerator, denominator = str(self.numerator), str(self.denominator)
        if isinstance(self.numerator, Expr) and len(self.numerator.terms) > 1:
            numerator = f"({numerator})"
        if not _WORD.fullmatch(denominator):
            denominator = f"({denominator})"
        return f"({numerator} {self.operator} {denominator})"


@dataclass(frozen=True, slots=True)
class Extreme:
    """The larger ("max") or smaller ("min") of two dims."""

    operator: str
    left: int | Expr
    right: int | Expr

    def __str__(self) -> str:
        return f"{self.operator}({self.left}, {self.right})"


Atom = Symbol | Quotient | Extreme
_Product = tuple[Atom, ...]  # sorted by text; () is 1


class Expr:
    """A polynomial: terms `(coefficient, atoms)` sorted by their text; never a plain integer.

    Immutable. Text and hash are kept, since shapes are compared and looked up all the time.
    """

    __slots__ = ("_hash", "_text", "terms")

    def __init__(self, terms: tuple[tuple[int, _Product], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._text = ""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Expr) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if not self._text:
            self._text = _text(self.terms)
        return self._text

    __repr__ = __str__

    def __reduce__(self) -> tuple:
        return (Expr, (self.terms,))


Dim = int | Expr
Shape = tuple[Dim, ...]


def symbol(name: str) -> Expr:
    """The dim that is the symbol `name`."""
    if not _NAME.fullmatch(name) or name in ("max", "min"):
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
    """`a // b`. Whole multiples of an integer b leave the quotient: (4*N + 5) // 4 is N + 1."""
    if isinstance(b, int):
        if b == 0:
            raise ShapeError("a dimension is divided by zero")
        whole, rest = _split(a, b)
        if isinstance(rest, int):
            return add(whole, rest // b)
        return add(whole, _nested_quotient(rest, b))
    if a == b:
        return 1
    exact = _divide_by_monomial(a, b)
    return exact if exact is not None else Expr(((1, (Quotient("//", a, b),)),))


def mod(a: int | Expr, b: int | Expr) -> int | Expr:
    """`a % b`. Whole multiples of an integer b vanish: (4*N + 5) % 4 is 1."""
    if isinstance(b, int):
        if b == 0:
            raise ShapeError("a dimension is taken modulo zero")
        _, rest = _split(a, b)
        if isinstance(rest, int):
            return rest % b
        return Expr(((1, (Quotient("%", rest, b),)),))
    if a == b or _divide_by_monomial(a, b) is not None:
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
            walk(part.numerator)
            walk(part.denominator)
        elif isinstance(part, Extreme):
            walk(part.left)
            walk(part.right)
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


def is_nonnegative(dim: int | Expr) -> bool:
    """True only where `dim >= 0` is known for all values of the symbols."""
    if isinstance(dim, int):
        return dim >= 0
    return all(c >= 0 and all(map(_atom_is_nonnegative, atoms)) for c, atoms in dim.terms)


def _atom_is_nonnegative(atom: Atom) -> bool:
    if isinstance(atom, Symbol):
        return True
    if isinstance(atom, Extreme):
        either = any if atom.operator == "max" else all
        return either(map(is_nonnegative, (atom.left, atom.right)))
    if atom.operator == "%":
        return is_nonnegative(atom.denominator)
    return is_nonnegative(atom.numerator) and is_nonnegative(atom.denominator)


def _terms(dim: int | Expr) -> list[tuple[int, _Product]]:
    return [(dim, ())] if isinstance(dim, int) else list(dim.terms)


def _text(terms: tuple[tuple[int, _Product], ...]) -> str:
    text = ""
    for coefficient, atoms in terms:
        factors = [str(a) for a in atoms]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, str(abs(coefficient)))
        sign = " - " if coefficient < 0 else " + "
        text += (sign if text else sign.strip(" +")) + "*".join(factors)
    return text


def _normal(terms: list[tuple[int, _Product]]) -> int | Expr:
    merged: dict[_Product, int] = {}
    for coefficient, atoms in terms:
        key = atoms if len(atoms) < 2 else tuple(sorted(atoms, key=str))
        merged[key] = merged.get(key, 0) + coefficient
    kept = [(c, p) for p, c in merged.items() if c]
    if not kept:
        return 0
    if len(kept) == 1:
        return Expr((kept[0],)) if kept[0][1] else kept[0][0]
    return Expr(tuple(sorted(kept, key=lambda t: (not t[1], [str(a) for a in t[1]]))))


def _split(a: int | Expr, b: int) -> tuple[int | Expr, int | Expr]:
    """`(whole, rest)` with a == whole * b + rest, every term that b divides in `whole`, and the constant reduced."""
    whole = _normal([(c // b, p) for c, p in _terms(a) if c % b == 0 or not p])
    return whole, sub(a, mul(whole, b))


def _nested_quotient(a: Expr, b: int) -> Expr:
    """`a // b`; (x // c) // b is x // (c*b)."""
    if b > 0 and len(a.terms) == 1:
        coefficient, atoms = a.terms[0]
        inner = atoms[0]
        if coefficient == 1 and len(atoms) == 1 and isinstance(inner, Quotient) and inner.operator == "//":
            divisor = inner.denominator
            if isinstance(divisor, int) and divisor > 0:
                return Expr(((1, (Quotient("//", inner.numerator, divisor * b),)),))
    return Expr(((1, (Quotient("//", a, b),)),))


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
    for larger, smaller in ((a, b), (b, a)):
        if is_nonnegative(sub(larger, smaller)):
            return larger if operator == "max" else smaller
    left, right = sorted((a, b), key=str)
    return Expr(((1, (Extreme(operator, left, right),)),))


def _evaluate_atom(atom: Atom, values: Mapping[str, int]) -> int:
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


def _substitute_atom(atom: Atom, values: Mapping[str, int | Expr]) -> int | Expr:
    if isinstance(atom, Symbol):
        return values.get(atom.name, Expr(((1, (atom,)),)))
    if isinstance(atom, Extreme):
        return _extreme(atom.operator, substitute(atom.left, values), substitute(atom.right, values))
    divide = floordiv if atom.operator == "//" else mod
    return divide(substitute(atom.numerator, values), substitute(atom.denominator, values))
