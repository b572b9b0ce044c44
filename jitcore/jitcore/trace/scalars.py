"""Scalars: values that are compared by value."""

from __future__ import annotations

import enum
import types
from typing import Any

import numpy as np

from jitcore_ir import DType, OpSpec

from ..device import Device
from ..symbolic import SymInt
from ..tensor import Size
from .libraries import is_library_class
from .numbers import RecordedNumber

SCALARS = (int, float, complex, str, bytes, bool, type(None), range, slice, enum.Enum, np.generic, DType, OpSpec)
_EXACT = (int, float, complex, str, bytes)
_OF_ENUMS = frozenset(["_name_", "_value_", "__objclass__", "_sort_order_"])


def is_scalar_with_state(value: Any) -> bool:
    """Whether it is a scalar of a class of the user's that may have attributes, or a member of an enumeration that
    holds more than a scalar."""
    if type(value) in _EXACT:
        return False
    if not isinstance(value, enum.Enum):
        return isinstance(value, _EXACT) and not is_library_class(type(value))
    held = {name: part for name, part in value.__dict__.items() if name not in _OF_ENUMS}
    return bool(held) or not (isinstance(value._value_, SCALARS) or is_plain(value._value_))


def is_plain(value: Any) -> bool:
    """Whether a tuple or frozen set holds nothing but scalars: another one with the same ones will do."""
    if not isinstance(value, tuple | frozenset) or hasattr(value, "__dict__"):
        return False
    return all((isinstance(item, SCALARS) and type(item) not in _RECORDED) or is_plain(item) for item in value)


def in_words(value: Any) -> str:
    """A text for the user that no code of a class of the user's has a part in."""
    kind = type(value)
    if kind in _TOLD or issubclass(kind, np.generic):
        return repr(value)
    if kind is tuple:
        return f"({', '.join(map(in_words, value))})"
    if issubclass(kind, enum.Enum):
        return f"{kind.__name__}.{value._name_}"
    return f"<{kind.__name__} at {id(value):#x}>"


_TOLD = frozenset(
    [*_EXACT, bool, type(None), range, DType, Size, Device, types.FunctionType, types.BuiltinFunctionType]
)  # fmt: skip
_RECORDED = (RecordedNumber, SymInt)
"""They say that they are numbers, which they are in one run only."""
