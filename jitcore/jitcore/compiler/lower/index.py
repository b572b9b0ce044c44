"""Index arithmetic: where an element lives, as an expression over loop variables.

An index is a dim (`int` or `shapes.Expr`) in which loop variables are atoms whose names begin with "%". Keeping it a
polynomial until it is needed is what makes movement free: reshape, permute, slice, windows and broadcasting only
rewrite it, and `i*768 + j` divided by 768 gives back `i` because `j` is known to lie below 768.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from jitcore_ir import shapes
from jitcore_ir.shapes import Expr, Extreme, Quotient, Symbol, add, mul, sub

Dim = int | Expr
Index = int | Expr
Indices = tuple[Index, ...]
_Atom = Symbol | Quotient | Extreme


class IndexSpace:
    """The loop variables of a kernel: each runs from 0 below its extent, which inside the loop is at least 1."""

    def __init__(self) -> None:
        self._extents: dict[str, Dim] = {}
        self._positive: dict[str, Dim] = {}

    def variable(self, extent: Dim) -> Index:
        """A fresh variable; 0 where the extent is 1, so that such an axis leaves no trace in the arithmetic."""
        if extent == 1:
            return 0
        name = f"%{len(self._extents)}"
        self._extents[name] = extent
        for symbol in shapes.symbols_of(extent):
            if isinstance(extent, Expr) and all(any(a == Symbol(symbol) for a in t) for _, t in extent.terms):
                self._positive[symbol] = add(shapes.symbol(symbol), 1)
        return Expr(((1, (Symbol(name),)),))

    def extent(self, variable: Index) -> Dim:
        """The extent of a variable (1 for the index 0)."""
        return 1 if variable == 0 else self._extents[variable_name(variable)]

    def upper(self, index: Index) -> Dim:
        """A dim that `index` never exceeds."""
        return self._bound(index, top=True)

    def lower(self, index: Index) -> Dim:
        """A dim that `index` never falls below."""
        return self._bound(index, top=False)

    def known_below(self, index: Index, bound: Dim) -> bool:
        """True where `index < bound` in every iteration."""
        return self._known_natural(sub(sub(bound, 1), self.upper(index)))

    def known_natural(self, index: Index) -> bool:
        """True where `index >= 0` in every iteration."""
        return self._known_natural(self.lower(index))

    def split(self, index: Index, divisor: Dim) -> tuple[Index, Index]:
        """Quotient and remainder of a division, free of `//` and `%` where the variables' ranges allow it."""
        if divisor == 1:
            return index, 0
        if divisor == 0:
            return 0, 0  # nothing is there, so nothing asks
        quotient: Index = 0
        rest: Index = 0
        for coefficient, atoms in _terms(index):
            exact = _divide((coefficient, atoms), divisor)
            if exact is None:
                rest = add(rest, _term(coefficient, atoms))
            else:
                quotient = add(quotient, exact)
        if self.known_natural(rest) and self.known_below(rest, divisor):
            return quotient, rest
        finer = self._split_by_common_factor(rest, divisor)
        if finer is not None:
            return add(quotient, finer[0]), finer[1]
        return add(quotient, _quotient("//", rest, divisor)), _quotient("%", rest, divisor)

    def _split_by_common_factor(self, index: Index, divisor: Dim) -> tuple[Index, Index] | None:
        """(g*a + b) divided by g*t where 0 <= b < g: the quotient is a // t, the remainder g*(a % t) + b."""
        for coefficient, atoms in _terms(index):
            factor = _term(abs(coefficient), tuple(a for a in atoms if not _has_variable(a)))
            reduced = _divide_dims(divisor, factor)
            if factor == 1 or reduced is None:
                continue
            high: Index = 0
            low: Index = 0
            for term in _terms(index):
                exact = _divide(term, factor)
                if exact is None:
                    low = add(low, _term(*term))
                else:
                    high = add(high, exact)
            if self.known_natural(low) and self.known_below(low, factor):
                quotient, remainder = self.split(high, reduced)
                return quotient, add(mul(remainder, factor), low)
        return None

    def unflatten(self, position: Index, shape: Sequence[Dim]) -> Indices:
        """The indices of the element at a row-major position."""
        found: list[Index] = []
        for dim in reversed(shape[1:]):
            position, remainder = self.split(position, dim)
            found.append(remainder)
        return tuple(reversed([*found, position])) if shape else ()

    def merge(self, indices: Indices, shape: Sequence[Dim]) -> tuple[Indices, tuple[Dim, ...]]:
        """The same place in memory with adjacent axes merged wherever that removes divisions."""
        merged, dims = list(indices), list(shape)
        position = 0
        while position + 1 < len(merged):
            left, right = merged[position], merged[position + 1]
            parts = _count_quotients(left) + _count_quotients(right)
            joined = recombine(add(mul(left, dims[position + 1]), right)) if parts else 0
            if parts and _count_quotients(joined) < parts:
                merged[position : position + 2] = [joined]
                dims[position : position + 2] = [mul(dims[position], dims[position + 1])]
                position = max(position - 1, 0)
            else:
                position += 1
        return tuple(merged), tuple(dims)

    def _known_natural(self, dim: Dim) -> bool:
        """True where a dim is plainly not negative: what it counts is, and the sizes of running loops are positive."""
        if isinstance(dim, Expr) and self._positive:
            dim = shapes.substitute(dim, self._positive)
        return all(coefficient >= 0 for coefficient, _ in _terms(dim))

    def _bound(self, index: Index, top: bool) -> Dim:
        total: Dim = 0
        for coefficient, atoms in _terms(index):
            varying = [a for a in atoms if _has_variable(a)]
            part = _term(coefficient, tuple(a for a in atoms if a not in varying))
            for atom in varying:
                part = mul(part, self._atom_bound(atom, (coefficient > 0) == top))
            total = add(total, part)
        return total

    def _atom_bound(self, atom: _Atom, top: bool) -> Dim:
        if isinstance(atom, Symbol):
            return sub(self._extents[atom.name], 1) if top else 0
        if isinstance(atom, Quotient):
            if atom.operator == "%":
                return sub(atom.denominator, 1) if top else 0
            return shapes.floordiv(self._bound(atom.numerator, top), atom.denominator)
        bounds = self._bound(atom.left, top), self._bound(atom.right, top)
        return shapes.maximum(*bounds) if atom.operator == "max" else shapes.minimum(*bounds)


def flatten(indices: Sequence[Index], shape: Sequence[Dim]) -> Index:
    """The row-major position of the element at `indices`."""
    position: Index = 0
    for index, dim in zip(indices, shape, strict=True):
        position = add(mul(position, dim), index)
    return recombine(position)


def recombine(index: Index) -> Index:
    """`(a // d)*d + a % d` put together again as `a`, wherever it occurs."""
    for coefficient, atoms in _terms(index):
        for place, atom in enumerate(atoms):
            if not isinstance(atom, Quotient) or atom.operator != "%" or not _has_variable(atom):
                continue
            others = _term(coefficient, atoms[:place] + atoms[place + 1 :])
            # The quotient as `split` writes it, and in normal form, as it is after a substitution.
            for divide in (partial(_quotient, "//"), shapes.floordiv):
                high = mul(mul(others, atom.denominator), divide(atom.numerator, atom.denominator))
                if all(term in _terms(index) for term in _terms(high)):
                    whole = sub(sub(index, high), _term(coefficient, atoms))
                    return recombine(add(whole, mul(others, atom.numerator)))
    return index


def variables_of(index: Index) -> list[str]:
    """Names of the loop variables in an index."""
    return [name for name in shapes.symbols_of(index) if name.startswith("%")]


def variable_name(index: Index) -> str:
    """The name of the variable that `index` is. Raises ValueError where it is anything else."""
    if not is_variable(index):
        raise ValueError(f"{index} is not a loop variable")
    return variables_of(index)[0]


def is_variable(index: Index) -> bool:
    """True for a lone loop variable."""
    if isinstance(index, int) or len(index.terms) != 1:
        return False
    coefficient, atoms = index.terms[0]
    return coefficient == 1 and len(atoms) == 1 and isinstance(atoms[0], Symbol) and atoms[0].name.startswith("%")


def quotients(indices: Iterable[Index]) -> int:
    """How many divisions of something that varies these indices hold."""
    return sum(_count_quotients(index) for index in indices)


def coefficients(index: Index) -> tuple[dict[str, Dim], Dim] | None:
    """(stride of each variable, constant part) of an affine index; None for anything else."""
    strides: dict[str, Dim] = {}
    constant: Dim = 0
    for coefficient, atoms in _terms(index):
        varying = [a for a in atoms if _has_variable(a)]
        if not varying:
            constant = add(constant, _term(coefficient, atoms))
            continue
        if len(varying) > 1 or not isinstance(varying[0], Symbol):
            return None
        stride = _term(coefficient, tuple(a for a in atoms if a is not varying[0]))
        strides[varying[0].name] = add(strides.get(varying[0].name, 0), stride)
    return strides, constant


def _has_variable(atom: _Atom) -> bool:
    if isinstance(atom, Symbol):
        return atom.name.startswith("%")
    parts = (atom.numerator, atom.denominator) if isinstance(atom, Quotient) else (atom.left, atom.right)
    return any(variables_of(part) for part in parts)


def _count_quotients(index: Index) -> int:
    return sum(isinstance(a, Quotient) and _has_variable(a) for _, atoms in _terms(index) for a in atoms)


def _terms(index: Index) -> list[tuple[int, tuple]]:
    if isinstance(index, int):
        return [(index, ())] if index else []
    return list(index.terms)


def _term(coefficient: int, atoms: tuple) -> Index:
    return Expr(((coefficient, atoms),)) if atoms else coefficient


def _quotient(operator: str, numerator: Index, denominator: Dim) -> Index:
    if isinstance(numerator, int) and isinstance(denominator, int):
        return numerator // denominator if operator == "//" else numerator % denominator
    return Expr(((1, (Quotient(operator, numerator, denominator),)),))


def _divide(term: tuple[int, tuple], divisor: Dim) -> Index | None:
    """A term divided by a dim of one term; None where it does not divide exactly."""
    return _divide_dims(_term(*term), divisor)


def _divide_dims(a: Index, divisor: Dim) -> Index | None:
    divisors = _terms(divisor)
    if len(divisors) != 1:
        return 1 if a == divisor else None
    scale, atoms = divisors[0]
    total: Index = 0
    for coefficient, factors in _terms(a):
        rest = list(factors)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % scale:
            return None
        total = add(total, _term(coefficient // scale, tuple(rest)))
    return total
