"""What must be equal for a recording to fit a call: all that can be told without looking at tensor elements.

A *key* is exact; a *kind* leaves out sizes and the values of integers, which may be symbols of a recording. Both begin
with the *form* of the call's arguments: their structure, and more where that does not tell all (`Recordings.form`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import get_default_dtype
from ..random import Generator
from ..state import state
from ..tensor import Tensor
from .kinds import MARKS


def key_of(leaves: Sequence[Any], form: Any) -> Any:
    """The key of a call with these argument leaves."""
    parts: list[Any] = [form, *modes()]
    storages: dict[int, int] = {}
    tensors = 0
    parts += [position for position, leaf in enumerate(leaves) if type(leaf) is Generator]
    leaves = [leaf._state if type(leaf) is Generator else leaf for leaf in leaves]
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            array = leaf._array
            parts += (array.dtype, array.shape, array.strides, leaf.requires_grad)
            if type(leaf) is not Tensor or leaf.__dict__:
                parts += _attributes(leaf)
            storages.setdefault(id(leaf._storage), tensors)
            tensors += 1
        elif type(leaf) is float:
            parts.append(float)
        elif is_by_value(leaf):
            parts += (type(leaf), _by_value(leaf))
        else:
            parts.append(id(leaf))
    if tensors > len(storages):
        given = [x for x in leaves if isinstance(x, Tensor)]
        objects = {id(x): n for n, x in enumerate(given)}
        parts += [(storages[id(x._storage)], objects[id(x)], _place(x)) for x in given]
    return tuple(parts)


def _attributes(tensor: Tensor) -> list[Any]:
    """A subclass, and what was put on a tensor, by name and value or identity, but for marks on its dimensions."""
    found = [
        (name, type(value), _by_value(value) if isinstance(value, _BY_VALUE) else id(value))
        for name, value in tensor.__dict__.items()
        if name != MARKS
    ]
    return [type(tensor), *found] if found or type(tensor) is not Tensor else []


def is_by_value(leaf: Any) -> bool:
    """Whether a leaf is a scalar that its value tells all about, and not one of a class that can have attributes."""
    return isinstance(leaf, _BY_VALUE) and (type(leaf) in _BY_VALUE or not hasattr(leaf, "__dict__"))


def _by_value(leaf: Any) -> Any:
    """A scalar as something that equals only what computes alike: by its text where it has signed zeros and NaN."""
    return repr(leaf) if isinstance(leaf, float | complex) else leaf


def kind_of(leaves: Sequence[Any], form: Any, key: Any) -> Any:
    """The key without sizes and without the values of integers; with them where arguments share memory, and for those
    that have gaps: whether a reshape is a view depends on both."""
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if len({id(x._storage) for x in tensors}) < len(tensors):
        return key
    parts: list[Any] = [form, *modes()]
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            array = leaf._array
            parts += (array.dtype, array.ndim, leaf.requires_grad, _layout(array))
            if type(leaf) is not Tensor or leaf.__dict__:
                parts += _attributes(leaf)
        elif type(leaf) in (int, float):
            parts.append(type(leaf))
        elif is_by_value(leaf):
            parts += (type(leaf), _by_value(leaf))
        else:
            parts.append(id(leaf))
    return tuple(parts)


def of_form(key: Any, form: Any) -> Any:
    """The key, or kind, with another form."""
    return (form, *key[1:])


def _layout(array: np.ndarray) -> Any:
    """The order of axes in memory where there are no gaps, None for the usual one; else sizes and steps."""
    if array.flags.c_contiguous:
        return None
    order = tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    return order if array.transpose(order).flags.c_contiguous else (array.shape, array.strides)


def _place(tensor: Tensor) -> Any:
    """Where in its memory a tensor lies: part of the key where arguments share memory."""
    memory = tensor._storage.array
    return repr([(spec.name, sorted(attributes.items())) for spec, attributes in tensor._view]), memory.shape


_BY_VALUE = (int, float, complex, str, bytes, bool, type(None))


def modes() -> tuple[Any, ...]:
    """What eager execution depends on besides arguments."""
    return (state.grad_enabled, state.inference, state.autocast, get_default_dtype())


def named_modes() -> dict[str, Any]:
    """The same, by name, for the user."""
    return dict(zip(("grad mode", "inference mode", "autocast", "the default dtype"), modes(), strict=True))
