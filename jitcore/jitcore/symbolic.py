"""`SymInt`: a size that stands for many, seen by Python while a program with symbolic dimensions is recorded.

It computes like an int and stays symbolic. Python may only learn its number by asking (`int(n)`, `range(n)`,
`n == 3`, `if n`), and each such question is reported to the recorder with the line that asked: the recording then
holds for that answer only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from jitcore_ir import shapes
from jitcore_ir.shapes import Expr


class SymInt:
    """An integer expression over symbols with the value it has in this recording.

    Deliberately not a subclass of int: C code would read such a number without asking.
    """

    __slots__ = ("expr", "value")

    def __init__(self, expr: Expr, value: int) -> None:
        self.expr = expr
        self.value = value

    def __add__(self, other: Any) -> SymInt | int:
        return _combine(shapes.add, self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> SymInt | int:
        return _combine(shapes.sub, self, other)

    def __rsub__(self, other: Any) -> SymInt | int:
        return _combine(shapes.sub, other, self)

    def __mul__(self, other: Any) -> SymInt | int:
        return _combine(shapes.mul, self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> SymInt | int:
        return _combine(shapes.floordiv, self, other)

    def __rfloordiv__(self, other: Any) -> SymInt | int:
        return _combine(shapes.floordiv, other, self)

    def __mod__(self, other: Any) -> SymInt | int:
        return _combine(shapes.mod, self, other)

    def __rmod__(self, other: Any) -> SymInt | int:
        return _combine(shapes.mod, other, self)

    def __neg__(self) -> SymInt | int:
        return _combine(shapes.sub, 0, self)

    def __pos__(self) -> SymInt:
        return self

    def __truediv__(self, other: Any) -> float:
        return int(self) / _number(other)

    def __rtruediv__(self, other: Any) -> float:
        return _number(other) / int(self)

    def __pow__(self, other: Any) -> SymInt | int | float:
        if isinstance(other, int) and 0 <= other <= 8:
            total: SymInt | int = 1
            for _ in range(other):
                total = self * total
            return total
        return int(self) ** other

    def __eq__(self, other: object) -> bool:
        return _compare(self, other, lambda a, b: a == b, NotImplemented)

    def __ne__(self, other: object) -> bool:
        return _compare(self, other, lambda a, b: a != b, NotImplemented)

    def __lt__(self, other: Any) -> bool:
        return _compare(self, other, lambda a, b: a < b, NotImplemented)

    def __le__(self, other: Any) -> bool:
        return _compare(self, other, lambda a, b: a <= b, NotImplemented)

    def __gt__(self, other: Any) -> bool:
        return _compare(self, other, lambda a, b: a > b, NotImplemented)

    def __ge__(self, other: Any) -> bool:
        return _compare(self, other, lambda a, b: a >= b, NotImplemented)

    def __hash__(self) -> int:
        return hash(int(self))

    def __bool__(self) -> bool:
        return int(self) != 0

    def __index__(self) -> int:
        _specialize(self.expr, self.value)
        return self.value

    __int__ = __index__

    def __float__(self) -> float:
        return float(int(self))

    def __repr__(self) -> str:
        return str(self.expr)


def expression(dim: Any) -> int | Expr:
    """The dim for the IR: an int, or the expression of a SymInt."""
    return dim.expr if isinstance(dim, SymInt) else int(dim)


def hint(dim: Any) -> int:
    """The number a dim has in this recording, without asking: only for choosing what to run eagerly."""
    return dim.value if isinstance(dim, SymInt) else dim


def symbolic(dim: int | Expr, value: int) -> SymInt | int:
    """A dim as Python sees it during the recording."""
    return dim if isinstance(dim, int) else SymInt(dim, value)


def concrete(value: Any) -> Any:
    """Attributes for a kernel: every SymInt in `value` (also inside tuples and lists) replaced by its number."""
    if isinstance(value, SymInt):
        return value.value
    if isinstance(value, tuple | list):
        return type(value)(concrete(v) for v in value)
    return value


def _combine(operation: Callable, left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return _ON_FLOATS[operation](_number(left), _number(right))
    if not isinstance(left, SymInt | int) or not isinstance(right, SymInt | int):
        return NotImplemented
    return symbolic(operation(_expr(left), _expr(right)), operation(hint(left), hint(right)))


_ON_FLOATS = {
    shapes.add: operator.add,
    shapes.sub: operator.sub,
    shapes.mul: operator.mul,
    shapes.floordiv: operator.floordiv,
    shapes.mod: operator.mod,
}


def _number(value: Any) -> Any:
    """A size beside a float is a number: Python learns it."""
    return int(value) if isinstance(value, SymInt) else value


def _compare(left: SymInt, right: Any, relation: Callable[[int, int], bool], other: Any) -> Any:
    if isinstance(right, float):
        return relation(int(left), right)  # type: ignore[arg-type]
    if not isinstance(right, SymInt | int):
        return other
    difference = shapes.sub(left.expr, _expr(right))
    if isinstance(difference, int):
        return relation(difference, 0)
    _specialize(difference, shapes_value := left.value - hint(right))
    return relation(shapes_value, 0)


def _expr(dim: SymInt | int) -> int | Expr:
    return dim.expr if isinstance(dim, SymInt) else dim


def _specialize(expr: Expr, value: int) -> None:
    """Tell the recorder that Python has used the number `value` of `expr`."""
    from .state import state

    if state.recorder is not None:
        state.recorder.specialize(expr, value)
