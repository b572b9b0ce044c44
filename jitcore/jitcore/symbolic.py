"""`SymInt`: a size that stands for many, seen by Python while a program with symbolic dimensions is recorded.

It computes like an int and stays symbolic. What Python learns about it is reported to the recorder with the line that
asked: a comparison (`n > 4`, `n % 8 == 0`) holds for all sizes that compare alike, and where Python needs the number
itself (`int(n)`, `range(n)`, `n * 0.5`) the recording holds for that number only.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from jitcore_ir import shapes
from jitcore_ir.equations import RELATIONS
from jitcore_ir.shapes import Expr

from .plain_numbers import NumberOfRun, beside, compared_beside, mirrored, straight


class SymInt(NumberOfRun):
    """An integer expression over symbols with the value it has in the recording of `owner`. When that has ended it is a
    plain number in disguise.

    It says that it is an int (`isinstance(n, int)` holds) but does not derive from it: C code would read the number of
    such an object without asking. `type(n) is int` tells plain ints from these.
    """

    __slots__ = ("expr", "owner", "value")

    def __init__(self, expr: Expr, value: int, owner: Any) -> None:
        self.expr = expr
        self.value = value
        self.owner = owner

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return int

    def __add__(self, other: Any) -> Any:
        return _combine(shapes.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _combine(shapes.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _combine(shapes.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _combine(shapes.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _combine(shapes.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _combine(shapes.mul, other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _combine(shapes.floordiv, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _combine(shapes.floordiv, other, self)

    def __mod__(self, other: Any) -> Any:
        return _combine(shapes.mod, self, other)

    def __rmod__(self, other: Any) -> Any:
        return _combine(shapes.mod, other, self)

    def __divmod__(self, other: Any) -> Any:
        return beside(divmod, self, other) if _plain(other) is None else (self // other, self % other)

    def __rdivmod__(self, other: Any) -> Any:
        return beside(divmod, other, self) if _plain(other) is None else (other // self, other % self)

    def __truediv__(self, other: Any) -> Any:
        return _divided(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _divided(other, self)

    def __neg__(self) -> Any:
        return _combine(shapes.sub, 0, self)

    def __pos__(self) -> SymInt:
        return self

    __trunc__ = __floor__ = __ceil__ = __pos__

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << other) if _is_few_bits(other) else beside(operator.lshift, self, other)

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other) if _is_few_bits(other) else beside(operator.rshift, self, other)

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        if modulus is not None:
            return pow(int(self), other, modulus)
        if type(other) is int and 0 <= other <= 8:
            total: Any = 1
            for _ in range(other):
                total = self * total
            return total
        return beside(operator.pow, self, other)

    def __eq__(self, other: object) -> bool:
        return _compare(self, other, "==")

    def __ne__(self, other: object) -> bool:
        return _compare(self, other, "!=")

    def __lt__(self, other: Any) -> bool:
        return _compare(self, other, "<")

    def __le__(self, other: Any) -> bool:
        return _compare(self, other, "<=")

    def __gt__(self, other: Any) -> bool:
        return _compare(self, other, ">")

    def __ge__(self, other: Any) -> bool:
        return _compare(self, other, ">=")

    def __hash__(self) -> int:
        return hash(int(self))

    def __bool__(self) -> bool:
        return self != 0

    def __index__(self) -> int:
        _rely_on(self, shapes.sub(self.expr, self.value), "==")
        return self.value

    __int__ = in_this_run = __index__

    def __float__(self) -> float:
        return float(int(self))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(int(self), dtype)

    def __copy__(self) -> SymInt:
        return self

    def __deepcopy__(self, memo: Any) -> SymInt:
        return self

    def __str__(self) -> str:
        return str(int(self))

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(int(self), spec)

    def __invert__(self) -> int:
        return ~int(self)

    def __round__(self, digits: Any = None) -> int:
        return round(int(self), digits)

    def __getattr__(self, name: str) -> Any:
        return getattr(int(self), name)


for _python in (operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, operator.pow):
    _name = _python.__name__.strip("_")
    setattr(SymInt, f"__r{_name}__", mirrored(_python))
    if f"__{_name}__" not in vars(SymInt):
        setattr(SymInt, f"__{_name}__", straight(_python))


def expression(dim: Any) -> int | Expr:
    """The dim for the IR: an int, or the expression of a SymInt."""
    return dim.expr if type(dim) is SymInt and dim.owner.open else int(dim)


def hint(dim: Any) -> int:
    """The number a dim has in this recording, without asking: only for choosing what to run eagerly."""
    return dim.value if type(dim) is SymInt else dim


def current(dim: Any) -> Any:
    """A size that has turned out to be a number since it was asked for, as that number."""
    if type(dim) is not SymInt:
        return dim
    return symbolic(dim.owner.sizes.current(dim.expr), dim.value, dim.owner) if dim.owner.open else dim.value


def symbolic(dim: int | Expr, value: int, owner: Any) -> SymInt | int:
    """A dim as Python sees it during the recording of `owner`."""
    return dim if isinstance(dim, int) else SymInt(dim, value, owner)


def concrete(value: Any) -> Any:
    """Attributes for a kernel: every SymInt in `value` (also inside tuples and lists) replaced by its number."""
    if type(value) is SymInt:
        return value.value
    if isinstance(value, tuple | list):
        return type(value)(concrete(v) for v in value)
    return value


def larger(a: Any, b: Any) -> Any:
    """The larger of two sizes or numbers; of a symbolic size, an expression rather than a decision."""
    x, y = _plain(a), _plain(b)
    if x is None or y is None:
        return max(a, b)
    return symbolic(shapes.maximum(_expr(x), _expr(y)), max(hint(x), hint(y)), _owner(x, y))


def _combine(operation: Callable, left: Any, right: Any) -> Any:
    numbers = [_plain(left), _plain(right)]
    if any(n is None for n in numbers):
        if _is_float(left) or _is_float(right):
            return _ON_NUMBERS[operation](_number(left), _number(right))
        return beside(_ON_NUMBERS[operation], left, right)
    if operation in _DIVISIONS and not right:  # Python's own error; a size that is not 0 now is not 0 later
        return _ON_NUMBERS[operation](hint(left), 0)
    return symbolic(operation(*map(_expr, numbers)), operation(*map(hint, numbers)), _owner(*numbers))


def _divided(left: Any, right: Any) -> Any:
    """`left / right`, a float. Sizes are below 2**53, so that it does not matter that they become floats first."""
    if not all(_plain(x) is not None or _is_float(x) for x in (left, right)):
        return beside(operator.truediv, left, right)
    owner = _owner(left, right)
    if right == 0:
        raise ZeroDivisionError("division by zero")
    if not owner.open:
        return hint(left) / hint(right)
    return owner.divided(_number(left) * 1.0, _number(right))


_ON_NUMBERS = {
    shapes.add: operator.add,
    shapes.sub: operator.sub,
    shapes.mul: operator.mul,
    shapes.floordiv: operator.floordiv,
    shapes.mod: operator.mod,
}
_DIVISIONS = (shapes.floordiv, shapes.mod)


def _plain(value: Any) -> Any:
    """A SymInt, or an int of whatever class as a plain one; None for anything else."""
    if type(value) is int:
        return value
    if type(value) is SymInt:
        return value if value.owner.open else value.value
    if getattr(type(value), "is_recorded", False):
        return None
    return int(value) if isinstance(value, int) else None


def _is_float(value: Any) -> bool:
    """Python's, or a number of the graph."""
    return type(value) is float or getattr(type(value), "is_recorded", False)


def _is_few_bits(value: Any) -> bool:
    return type(value) is int and 0 <= value < 64


def _number(value: Any) -> Any:
    """A size beside a float is a number of the graph (see `trace.numbers`)."""
    if type(value) is not SymInt or not value.owner.open:
        return hint(value)
    value = within_64_bits(value)
    return value.owner.size_number(value.expr, value.value) if type(value) is SymInt else value


def within_64_bits(size: SymInt) -> Any:
    """The size, for a program to compute in integers of 64 bits, where that gives the number that Python has, in this
    run and in those that replay it: a guard sees to it. Else a plain number."""
    if not size.owner.open or not _may_be_large(size.expr, size.owner.integers):
        return size
    for limit, relation in ((1 << 63, "<"), (-(1 << 63), ">=")):
        _rely_on(size, shapes.sub(size.expr, limit), relation)
        if not RELATIONS[relation](size.value - limit):
            return int(size)
    return size


def _may_be_large(expr: Expr, integers: set[str]) -> bool:
    """Sizes are below 2**53, also products of several, which some tensor has in memory; powers of one, and products of
    integers from elsewhere, may be anything."""
    for coefficient, atoms in expr.terms:
        repeated = len(atoms) - len(set(atoms)) >= 2
        foreign = not integers.isdisjoint(shapes.symbols_of(Expr(((1, atoms),))))
        if repeated or (foreign and len(atoms) > 1) or abs(coefficient) >= 1 << 31:
            return True
    return False


def _compare(left: SymInt, right: Any, relation: str) -> Any:
    other = _plain(right)
    if other is None:
        python = _COMPARE_NUMBERS[relation]
        return python(_number(left), right) if _is_float(right) else compared_beside(python, left, right)
    _rely_on(left, shapes.sub(left.expr, _expr(other)), relation)
    return RELATIONS[relation](left.value - hint(other))


_COMPARE_NUMBERS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _expr(dim: SymInt | int) -> int | Expr:
    return dim.expr if type(dim) is SymInt else dim  # type: ignore[return-value]


def _owner(*sizes: Any) -> Any:
    return next((n.owner for n in sizes if type(n) is SymInt), None)


def _rely_on(size: SymInt, difference: int | Expr, relation: str) -> None:
    """Tell the recorder that Python has learned whether `difference relation 0`: a need of the program where our own
    code asks, as operations do, and otherwise a decision of the user's."""
    from .source import is_own_file

    if not size.owner.open or isinstance(difference, int):
        return
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    size.owner.size_relation(difference, relation, is_own_file(frame.f_code.co_filename))
