"""Numbers of a recording beside what knows none of them: NumPy, and other types written in C.

A `SymInt` or a `RecordedNumber` computes with Python's ints and floats and with tensors. Beside anything else it is the
plain number that it has in this run, on which the recording then depends, so that values, types and dtypes are those
that Python's own numbers give: `np.float32(3) * n` is an np.float32.
"""

from __future__ import annotations

import dis
import numbers
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np


class NumberOfRun:
    """The base of both. NumPy asks it to compute; see NEP 13 and NEP 18 for the two methods."""

    __slots__ = ()

    def in_this_run(self) -> Any:
        """The plain number, on which everything recorded then depends."""
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        given = plainly(inputs)
        if method == "__call__" and not keywords and ufunc in _OPERATORS and _are_scalars(inputs):
            return _OPERATORS[ufunc](*given)  # NumPy's scalars have arithmetic of their own
        if ufunc is np.power and method == "__call__" and len(given) == 2:
            return _power(given[0], given[1], keywords, sys._getframe(1))
        return getattr(ufunc, method)(*given, **plainly(keywords))

    def __array_function__(self, function: Callable, kinds: Any, arguments: Any, keywords: Any) -> Any:
        return function(*plainly(arguments), **plainly(keywords))

    def __reduce_ex__(self, protocol: Any) -> Any:
        from .state import state

        if state.recorder is not None:
            raise PlainNumbersNeeded(
                "a number of the recording is pickled, which is written otherwise than a plain one"
            )
        number = self.in_this_run()
        return type(number), (number,)


class PlainNumbersNeeded(TypeError):
    """Only a run without numbers of a recording gives what a call gives eagerly."""


_OPERATORS: dict[np.ufunc, Callable] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.true_divide: operator.truediv,
    np.floor_divide: operator.floordiv, np.remainder: operator.mod, np.power: operator.pow, np.divmod: divmod,
    np.bitwise_and: operator.and_, np.bitwise_or: operator.or_, np.bitwise_xor: operator.xor,
    np.left_shift: operator.lshift, np.right_shift: operator.rshift, np.equal: operator.eq, np.not_equal: operator.ne,
    np.less: operator.lt, np.less_equal: operator.le, np.greater: operator.gt, np.greater_equal: operator.ge,
}  # fmt: skip


def plainly(x: Any) -> Any:
    """x with plain numbers in the places of a recording's, also inside tuples, lists and dicts."""
    if isinstance(x, dict):
        return {key: plainly(item) for key, item in x.items()}
    if type(x) in (tuple, list):
        return type(x)(map(plainly, x))
    return x.in_this_run() if issubclass(type(x), NumberOfRun) else x


def beside(python: Callable, left: Any, right: Any) -> Any:
    """Python's binary operator on two things of which one is a number of a recording: on the plain number beside a type
    written in C. NotImplemented where the other's operators are Python code, which may take the number as it is, and
    where Python has not yet tried to change the other in place (`items *= n`)."""
    reflected = not issubclass(type(left), NumberOfRun)
    kind = type(left if reflected else right)
    if issubclass(kind, NumberOfRun):
        return python(plainly(left), plainly(right))
    if not _is_of_c(kind) or (reflected and hasattr(kind, f"__i{python.__name__.strip('_')}__")):
        return NotImplemented
    return python(plainly(left), plainly(right))


def compared_beside(python: Callable, left: Any, right: Any) -> Any:
    """The same for a comparison, the recording's number on the left. What is not a number is equal to none: whoever
    asks (`n == "all"`, `n != None`) learns nothing of it."""
    if python in (operator.eq, operator.ne) and not isinstance(right, np.ndarray | np.generic | numbers.Number):
        return NotImplemented
    return beside(python, left, right)


def straight(python: Callable) -> Callable[[Any, Any], Any]:
    """A method for an operator that is always computed beside."""
    return lambda self, other: beside(python, self, other)


def mirrored(python: Callable) -> Callable[[Any, Any], Any]:
    """The same for the number on the right."""
    return lambda self, other: beside(python, other, self)


def _is_of_c(kind: type) -> bool:
    """Whether all operators of a type are written in C."""
    if issubclass(kind, np.ndarray | np.generic):
        return True
    methods = (table[name] for table in map(vars, kind.__mro__) for name in _METHODS & table.keys())
    return all(isinstance(method, types.WrapperDescriptorType) for method in methods)


_BINARY = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul", "and", "or", "xor", "lshift",
    "rshift",
)  # fmt: skip
_METHODS = {f"__{start}{name}__" for name in _BINARY for start in ("", "r", "i")}
_METHODS |= {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")}


def _are_scalars(inputs: tuple) -> bool:
    """Whether there is a NumPy scalar, and nothing but scalars. (`np.add(2.0, n)` is a call, no operator.)"""
    scalars = all(isinstance(x, np.generic | NumberOfRun | int | float | complex) for x in inputs)
    return scalars and any(isinstance(x, np.generic) for x in inputs)


def _power(base: Any, exponent: Any, keywords: dict[str, Any], caller: types.FrameType) -> Any:
    """`array ** 0.5` is `np.sqrt(array)` to NumPy, which may differ from `np.power(array, 0.5)` in the last bit. Which
    of them was asked for is seen where the caller is at an operator; at a call it may be `operator.pow`."""
    if caller.f_code.co_code[caller.f_lasti] == _BINARY_OP:
        return operator.ipow(base, exponent) if "out" in keywords else base**exponent
    result = np.power(base, exponent, **plainly(keywords))
    if isinstance(base, np.ndarray) and not keywords:
        with np.errstate(all="ignore"):
            other = np.asarray(base**exponent)
        if other.dtype != result.dtype or other.tobytes() != np.asarray(result).tobytes():
            raise PlainNumbersNeeded("the power of an array and a number of the recording")
    return result


_BINARY_OP = dis.opmap["BINARY_OP"]
