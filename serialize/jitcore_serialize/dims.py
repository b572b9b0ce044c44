"""Dims as the archive holds them: a size, or the number of a stack program over symbols.

An expression from a hostile file could grow without bound when polynomials are multiplied, so its size is limited at
every step; the writer keeps to the same limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from jitcore_ir import shapes
from jitcore_ir.dtypes import DType
from jitcore_ir.errors import ShapeError
from jitcore_ir.shapes import Expr, Extreme, Quotient, Symbol

from .errors import ArchiveError
from .layout import MAX_RANK

INT64_MAX = 2**63 - 1
MAX_NODES = 128
"""Symbols, coefficients and quotients in one dim."""
MAX_TERMS = 256
"""Terms in the product of a shape's dims."""
MAX_STEPS = 1 << 16
"""Of all expressions in an archive; a step may take some 30 us."""
MAX_NAME = 64
"""Letters in a symbol's name, which sorting terms compares again and again."""
_MAX_STACK = 64

INTEGER, SYMBOL, ADD, MULTIPLY, DIVIDE, REMAINDER, LARGER, SMALLER = range(8)
_COMBINE: dict[int, Callable[[int | Expr, int | Expr], int | Expr]] = {
    ADD: shapes.add,
    MULTIPLY: shapes.mul,
    DIVIDE: shapes.floordiv,
    REMAINDER: shapes.mod,
    LARGER: shapes.maximum,
    SMALLER: shapes.minimum,
}
_QUOTIENTS = {"//": DIVIDE, "%": REMAINDER}
_EXTREMES = {"max": LARGER, "min": SMALLER}


@dataclass(slots=True)
class DimWriter:
    """Numbers dims, symbols and expressions as they are met."""

    symbols: dict[str, int] = field(default_factory=dict)
    expressions: dict[tuple[int, ...], int] = field(default_factory=dict)

    def dim(self, dim: int | Expr) -> int:
        """`dim` as the number the archive holds."""
        if isinstance(dim, int) and 0 <= dim <= INT64_MAX:
            return dim
        check_dim(dim)
        code = tuple(self._code(dim))
        return -1 - self.expressions.setdefault(code, len(self.expressions))

    def dims(self, dims: Iterable[int | Expr]) -> list[int]:
        return [self.dim(d) for d in dims]

    def symbol(self, name: str) -> int:
        return self.symbols.setdefault(name, len(self.symbols))

    def _code(self, dim: int | Expr) -> list[int]:
        if isinstance(dim, int):
            return [INTEGER, dim]
        code: list[int] = []
        for number, (coefficient, atoms) in enumerate(dim.terms):
            code += [INTEGER, coefficient]
            for atom in atoms:
                code += [*self._atom(atom), MULTIPLY]
            code += [ADD] if number else []
        return code

    def _atom(self, atom: shapes.Atom) -> list[int]:
        if isinstance(atom, Symbol):
            return [SYMBOL, self.symbol(atom.name)]
        if isinstance(atom, Quotient):
            return [*self._code(atom.numerator), *self._code(atom.denominator), _QUOTIENTS[atom.operator]]
        return [*self._code(atom.left), *self._code(atom.right), _EXTREMES[atom.operator]]


class DimReader:
    """The dims of one archive. Raises ArchiveError for programs that do not work or are too large."""

    def __init__(self, symbols: Sequence[str], expressions: Iterable[Sequence[int]]) -> None:
        self.symbols = tuple(symbols)
        self._steps_left = MAX_STEPS
        if len(set(symbols)) != len(self.symbols):
            raise ArchiveError("it names a symbol twice")
        if max(map(len, symbols), default=0) > MAX_NAME:
            raise ArchiveError(f"the name of a symbol has more than {MAX_NAME} letters")
        try:
            self._symbols = [shapes.symbol(name) for name in symbols]
        except ValueError as error:
            raise ArchiveError(str(error)) from None
        self._expressions = [self._run(code) for code in expressions]

    def dim(self, number: int) -> int | Expr:
        if number >= 0:
            return number
        if -1 - number >= len(self._expressions):
            raise ArchiveError(f"it refers to expression {-1 - number} of {len(self._expressions)}")
        return self._expressions[-1 - number]

    def dims(self, numbers: Iterable[int]) -> tuple[int | Expr, ...]:
        return tuple(self.dim(n) for n in numbers)

    def symbol(self, number: int) -> str:
        if number >= len(self.symbols):
            raise ArchiveError(f"it refers to symbol {number} of {len(self.symbols)}")
        return self.symbols[number]

    def _run(self, code: Sequence[int]) -> int | Expr:
        stack: list[int | Expr] = []
        self._steps_left -= len(code)
        if len(code) > 8 * MAX_NODES or self._steps_left < 0:
            raise ArchiveError(
                f"an expression of {len(code)} steps; {8 * MAX_NODES} are allowed, and {MAX_STEPS} in all"
            )
        steps = iter(code)
        for opcode in steps:
            if opcode in (INTEGER, SYMBOL):
                argument = next(steps, None)
                if argument is None or (opcode == SYMBOL and not 0 <= argument < len(self._symbols)):
                    raise ArchiveError("an expression pushes what is not there")
                stack.append(argument if opcode == INTEGER else self._symbols[argument])
            elif opcode in _COMBINE and len(stack) >= 2:
                right, left = stack.pop(), stack.pop()
                stack.append(_combine(opcode, left, right))
            else:
                raise ArchiveError(f"an expression has the step {opcode} on a stack of {len(stack)}")
            if len(stack) > _MAX_STACK:
                raise ArchiveError(f"an expression needs a stack of more than {_MAX_STACK}")
        if len(stack) != 1:
            raise ArchiveError(f"an expression leaves {len(stack)} values")
        return stack[0]


def check_dim(dim: int | Expr) -> None:
    """Raise ArchiveError where `dim` is too large to keep: beyond int64, or of more than MAX_NODES parts."""
    if _nodes(dim, MAX_NODES) > MAX_NODES:
        raise ArchiveError(f"a dimension of more than {MAX_NODES} parts or with a number beyond int64")


def check_shape(dtype: DType, shape: Sequence[int | Expr]) -> None:
    """Raise ArchiveError unless a tensor of this type could exist: rank, no negative size, bytes within int64."""
    if len(shape) > MAX_RANK:
        raise ArchiveError(f"a shape of {len(shape)} dimensions; {MAX_RANK} are allowed")
    size, terms = dtype.itemsize, 1
    for dim in shape:
        check_dim(dim)
        if isinstance(dim, int):
            if dim < 0:
                raise ArchiveError(f"the negative dimension {dim}")
            size *= max(dim, 1)
        else:
            terms *= len(dim.terms)
    if size > INT64_MAX:
        raise ArchiveError(f"a tensor of {size} bytes")
    if terms > MAX_TERMS:
        raise ArchiveError(f"a shape whose size has more than {MAX_TERMS} terms")


def symbolic_terms(dims: Iterable[int | Expr]) -> int:
    """Terms in the product of those dims that are expressions."""
    return math.prod(len(dim.terms) for dim in dims if not isinstance(dim, int))


def symbolic_work(dims: Sequence[int | Expr]) -> int:
    """About how many microseconds it takes to multiply those dims that are expressions; 0 where none is."""
    parts = sum(_nodes(dim, MAX_NODES) for dim in dims if not isinstance(dim, int))
    return symbolic_terms(dims) * parts**2 if parts else 0


def _combine(opcode: int, left: int | Expr, right: int | Expr) -> int | Expr:
    if opcode == MULTIPLY and _terms(left) * _terms(right) > MAX_NODES:
        raise ArchiveError(f"an expression of more than {MAX_NODES} terms")
    try:
        result = _COMBINE[opcode](left, right)
    except ShapeError as error:
        raise ArchiveError(str(error)) from None
    check_dim(result)
    return result


def _terms(dim: int | Expr) -> int:
    return 1 if isinstance(dim, int) else len(dim.terms)


def _nodes(dim: int | Expr, limit: int) -> int:
    """How many parts `dim` has, or something above `limit` where that is more, or a number is beyond int64."""
    if isinstance(dim, int):
        return 1 if -INT64_MAX <= dim <= INT64_MAX else limit + 1
    total = 0
    for coefficient, atoms in dim.terms:
        total += 1 + len(atoms) if abs(coefficient) <= INT64_MAX else limit + 1
        for atom in atoms:
            if isinstance(atom, Quotient):
                total += _nodes(atom.numerator, limit) + _nodes(atom.denominator, limit)
            elif isinstance(atom, Extreme):
                total += _nodes(atom.left, limit) + _nodes(atom.right, limit)
        if total > limit:
            break
    return total
