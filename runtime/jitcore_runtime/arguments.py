"""From what a caller passes to the arrays a program takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InputError
from .signature import InputSpec


def bind_arguments(
    name: str, specs: Sequence[InputSpec], arguments: Sequence[Any], named: Mapping[str, Any]
) -> list[np.ndarray]:
    """One array per input, from positional and named arguments. Raises InputError naming what does not fit."""
    takes = f"{name} takes ({', '.join(map(str, specs))})"
    if len(arguments) > len(specs):
        raise InputError(f"{len(arguments)} inputs were given, but {takes}")
    found = dict(zip((spec.name for spec in specs), arguments))
    for key, value in named.items():
        if key in found:
            raise InputError(f"input {key!r} is given twice, by position and by name")
        found[key] = value
    for what, names in (
        ("there is no input", found.keys() - {s.name for s in specs}),
        ("missing input", {s.name for s in specs} - found.keys()),
    ):
        if names:
            raise InputError(f"{what} {', '.join(map(repr, sorted(names)))}; {takes}")
    return [as_array(found[spec.name], spec) for spec in specs]


def as_array(value: Any, spec: InputSpec) -> np.ndarray:
    """`value` as an array, its memory shared where that can be: NumPy arrays, whatever has `__array__` or `__dlpack__`
    (tensors of other libraries), and Python numbers for 0-d inputs. Dtypes are never changed."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic):
        return _scalar(value, spec)
    try:
        if hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        if isinstance(value, list | tuple):
            return np.array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InputError(
            f"input {spec.name!r}: the {type(value).__name__} cannot be read as an array: {error}"
        ) from None
    raise InputError(f"input {spec.name!r} is a {type(value).__name__}, expected an array for {spec}")


_RANKS = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}
_RANK_OF = {bool: 0, int: 1, float: 2, complex: 3}


def _scalar(value: Any, spec: InputSpec) -> np.ndarray:
    if spec.shape:
        raise InputError(f"input {spec.name!r} is the number {value!r}, expected an array for {spec}")
    if _RANK_OF[type(value)] > _RANKS[spec.dtype.kind] or (isinstance(value, bool) and spec.dtype.kind != "bool"):
        raise InputError(f"input {spec.name!r} is {value!r}, a {type(value).__name__}, expected {spec.dtype.name}")
    try:
        return np.array(value, spec.dtype.numpy)
    except OverflowError:
        raise InputError(f"input {spec.name!r} is {value!r}, which {spec.dtype.name} does not hold") from None
