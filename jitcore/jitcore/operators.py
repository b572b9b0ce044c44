"""The operators of Tensor, from Python's data model to functions of `jitcore.ops`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitcore_ir import ops

from .indexing import getitem, setitem
from .numpy_protocol import with_array
from .ops import arithmetic as a
from .ops import compare as c
from .ops.elementwise import abs, neg
from .ops.matrix import matmul
from .promotion import NUMBERS, binary
from .tensor import Tensor

_OPERANDS = (Tensor, *NUMBERS)


def _foreign(name: str, self: Tensor, other: Any, reflected: bool = False) -> Any:
    """`self op other` for what is neither tensor nor number: NumPy computes with arrays, others get their own turn."""
    if not isinstance(other, np.ndarray):
        return NotImplemented
    function = getattr(operator, f"__{name}__")
    return with_array(function, other, self) if reflected else with_array(function, self, other)


def _both(function: Callable, name: str) -> None:
    """`x op y`, `y op x` and `x op= y`, which for an array is `x = x op y`, as its dtype may be wider."""

    def forward(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else _foreign(name, self, other)

    def backward(self: Tensor, other: Any) -> Any:
        return function(other, self) if isinstance(other, _OPERANDS) else _foreign(name, self, other, reflected=True)

    setattr(Tensor, f"__{name}__", forward)
    setattr(Tensor, f"__r{name}__", backward)
    twin = getattr(Tensor, f"{function.__name__}_", None)
    if twin is not None:
        setattr(
            Tensor,
            f"__i{name}__",
            lambda self, other: twin(self, other) if isinstance(other, _OPERANDS) else NotImplemented,
        )


for _name, _function in {
    "sub": a.sub, "truediv": a.div, "floordiv": a.floor_divide, "mod": a.remainder, "pow": a.pow, "and": a.bitwise_and,
    "or": a.bitwise_or, "xor": a.bitwise_xor, "lshift": a.bitwise_left_shift, "rshift": a.bitwise_right_shift,
    "add": a.add, "mul": a.mul,
}.items():  # fmt: skip
    _both(_function, _name)


def _matmul(self: Tensor, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, Tensor) else _foreign("matmul", self, other)


def _rmatmul(self: Tensor, other: Any) -> Any:
    return _foreign("matmul", self, other, reflected=True)


def _compare(function: Callable) -> Callable:
    def comparison(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else _foreign(function.__name__, self, other)

    return comparison


def _add(self: Tensor, other: Any) -> Any:
    # The two most frequent operators skip a layer.
    return binary(ops.ADD, self, other) if isinstance(other, _OPERANDS) else _foreign("add", self, other)


def _radd(self: Tensor, other: Any) -> Any:
    return _add(self, other) if isinstance(other, _OPERANDS) else _foreign("add", self, other, reflected=True)


def _mul(self: Tensor, other: Any) -> Any:
    return binary(ops.MUL, self, other) if isinstance(other, _OPERANDS) else _foreign("mul", self, other)


def _rmul(self: Tensor, other: Any) -> Any:
    return _mul(self, other) if isinstance(other, _OPERANDS) else _foreign("mul", self, other, reflected=True)


def _contains(self: Tensor, element: Any) -> bool:
    if not isinstance(element, _OPERANDS):
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")
    return bool((self == element).any())


_METHODS: dict[str, Callable] = {
    "__add__": _add, "__radd__": _radd, "__mul__": _mul, "__rmul__": _rmul, "__matmul__": _matmul,
    "__rmatmul__": _rmatmul,
    "__neg__": neg, "__pos__": lambda self: self, "__abs__": abs, "__invert__": c.bitwise_not,
    "__contains__": _contains,
    "__eq__": _compare(c.eq), "__ne__": _compare(c.ne), "__lt__": _compare(c.lt), "__le__": _compare(c.le),
    "__gt__": _compare(c.gt), "__ge__": _compare(c.ge), "__getitem__": getitem, "__setitem__": setitem,
}  # fmt: skip
for _name, _function in _METHODS.items():
    setattr(Tensor, _name, _function)
# By identity, although tensors compare by value.
Tensor.__hash__ = object.__hash__  # type: ignore
