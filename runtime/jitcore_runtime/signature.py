"""What a graph takes: checking inputs against it, and finding the values of its symbols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jitcore_ir.errors import ShapeError
from jitcore_ir.graph import Graph
from jitcore_ir.shapes import Expr, evaluate, symbol, symbols_of
from jitcore_ir.types import TensorType

from .errors import InputError


def bind_symbols(graph: Graph, arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """Check count, dtypes and shapes of the inputs; returns the values of the symbols in their shapes.

    Raises InputError naming the input, what was given and what is expected.
    """
    inputs = graph.inputs
    if len(arrays) != len(inputs):
        names = ", ".join(v.name or f"input {i}" for i, v in enumerate(inputs))
        raise InputError(f"{len(arrays)} inputs given, {len(inputs)} expected ({names})")
    values: dict[str, int] = {}
    for number, (value, array) in enumerate(zip(inputs, arrays, strict=True)):
        kind = value.type
        assert isinstance(kind, TensorType)
        if array.dtype != kind.dtype.numpy or array.ndim != kind.rank:
            raise _mismatch(number, value.name, kind, array)
        for dim, size in zip(kind.shape, array.shape, strict=True):
            if isinstance(dim, int):
                if dim != size:
                    raise _mismatch(number, value.name, kind, array)
            elif (name := _plain(dim)) is not None and values.setdefault(name, size) != size:
                raise _mismatch(number, value.name, kind, array, f" ({name} is {values[name]} in an input before)")
    _check_derived(graph, arrays, values)
    return values


def _check_derived(graph: Graph, arrays: Sequence[np.ndarray], values: dict[str, int]) -> None:
    """Dims that are expressions over symbols must have the value that the symbols give."""
    for number, (value, array) in enumerate(zip(graph.inputs, arrays, strict=True)):
        for dim, size in zip(value.type.shape, array.shape, strict=True):
            if isinstance(dim, Expr) and _plain(dim) is None:
                try:
                    wanted = evaluate(dim, values)
                except ShapeError as error:
                    raise InputError(f"input {value.name or number}: {error}") from error
                if wanted != size:
                    assert isinstance(value.type, TensorType)
                    raise _mismatch(number, value.name, value.type, array, f" ({dim} is {wanted})")


def _plain(dim: Expr) -> str | None:
    """The symbol's name where the dim is just a symbol."""
    names = symbols_of(dim)
    return names[0] if len(names) == 1 and dim == symbol(names[0]) else None


def _mismatch(number: int, name: str, kind: TensorType, array: np.ndarray, why: str = "") -> InputError:
    expected = f"{kind.dtype.name}[{', '.join(map(str, kind.shape))}]"
    given = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
    return InputError(f"input {number}{f' ({name})' if name else ''} is {given}, expected {expected}{why}")
