"""The operators of Tensor, from Python's data model to functions of `jitcore.ops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitcore_ir import ops

from .indexing import getitem, setitem
from .ops import arithmetic as a
from .ops import compare as c
from .ops.elementwise import abs, neg
from .ops.matrix import matmul
from .promotion import NUMBERS, binary
from .tensor import Tensor

_OPERANDS = (Tensor, *NUMBERS)


def _both(function: Callable, name: str) -> None:
    """`x op y` and `y op x`; an operand of a foreign type gets its own turn (NotImplemented)."""

    def forward(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    def backward(self: Tensor, other: Any) -> Any:
        return function(other, self) if isinstance(other, _OPERANDS) else NotImplemented

    setattr(Tensor, f"__{name}__", forward)
    setattr(Tensor, f"__r{name}__", backward)
    twin = getattr(Tensor, f"{function.__name__}_", None)
    if twin is not None:
        setattr(Tensor, f"__i{name}__", lambda self, other: twin(self, other))


for _name, _function in {
    "sub": a.sub, "truediv": a.div, "floordiv": a.floor_divide, "mod": a.remainder, "pow": a.pow, "and": a.bitwise_and,
    "or": a.bitwise_or, "xor": a.bitwise_xor, "lshift": a.bitwise_left_shift, "rshift": a.bitwise_right_shift,
    "add": a.add, "mul": a.mul,
}.items():  # fmt: skip
    _both(_function, _name)


def _matmul(self: Tensor, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


def _compare(function: Callable) -> Callable:
    def comparison(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    return comparison


def _add(self: Tensor, other: Any) -> Any:
    # The two most frequent operators skip a layer.
    return binary(ops.ADD, self, other) if isinstance(other, _OPERANDS) else NotImplemented


def _mul(self: Tensor, other: Any) -> Any:
    return binary(ops.MUL, self, other) if isinstance(other, _OPERANDS) else NotImplemented


def _contains(self: Tensor, element: Any) -> bool:
    if not isinstance(element, _OPERANDS):
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")
    return bool((self == element).any())


_METHODS: dict[str, Callable] = {
    "__add__": _add, "__radd__": lambda self, other: _add(self, other), "__mul__": _mul,
    "__rmul__": lambda self, other: _mul(self, other), "__matmul__": _matmul,
    "__neg__": neg, "__pos__": lambda self: self, "__abs__": abs, "__invert__": c.bitwise_not,
    "__contains__": _contains,
    "__eq__": _compare(c.eq), "__ne__": _compare(c.ne), "__lt__": _compare(c.lt), "__le__": _compare(c.le),
    "__gt__": _compare(c.gt), "__ge__": _compare(c.ge), "__getitem__": getitem, "__setitem__": setitem,
}  # fmt: skip
for _name, _function in _METHODS.items():
    setattr(Tensor, _name, _function)
# By identity, although tensors compare by value.
Tensor.__hash__ = object.__hash__  # type: ignore
