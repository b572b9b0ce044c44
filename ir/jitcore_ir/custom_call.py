"""What a `custom_call` says about the user's operation: its name, its arguments as JSON, the types of its results.

The arguments are one JSON list. `{"tensor": k}` stands for operand k, `{"number": k}` for the Python number that
operand k (0-d, float64 or int64) holds, and `{"dtype": "float32"}` for a dtype; numbers, bools, strings, null and lists
stand for themselves: `[{"tensor": 0}, 0.5, [{"tensor": 1}, {"tensor": 2}], null]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from .dtypes import DType, dtype_named
from .errors import AttributeValueError
from .shapes import Dim
from .types import TensorType

T = TypeVar("T")

MAX_DEPTH = 8
"""Lists in lists among the arguments."""
MAX_LETTERS = 65536
"""Of the JSON text: arguments are a few numbers; data belongs in tensors."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}::[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class TensorAt:
    """Stands for operand `index` among the arguments."""

    index: int


@dataclass(frozen=True, slots=True)
class NumberAt:
    """Stands for the number in operand `index` among the arguments."""

    index: int


def called_name(spec_name: str, attributes: Mapping[str, Any]) -> str:
    """What to call an operation in a message: the user's own name for it, where it has one."""
    return attributes["name"] if spec_name == "custom_call" else spec_name


def check_name(name: str) -> str:
    """`name`. Raises AttributeValueError unless it is `namespace::name`."""
    if not _NAME.fullmatch(name):
        raise AttributeValueError(
            f"custom_call: {name!r} is not the name of an operation; write namespace::name, such as mylib::scale"
        )
    return name


def write_arguments(arguments: Sequence[Any]) -> str:
    """The JSON text of arguments: `TensorAt`, `NumberAt`, DType, int, float, bool, str, None, and lists of these.

    Raises TypeError for anything else.
    """
    return json.dumps([_to_json(a) for a in arguments], separators=(",", ":"))


@lru_cache(maxsize=1024)
def read_arguments(text: str) -> tuple[Any, ...]:
    """The arguments, with tuples for lists. Raises AttributeValueError for text that `write_arguments` cannot write."""
    if len(text) > MAX_LETTERS:
        raise AttributeValueError(f"custom_call: arguments of {len(text)} letters; at most {MAX_LETTERS} are allowed")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AttributeValueError(f"custom_call: its arguments are not JSON: {error}") from None
    if not isinstance(found, list):
        raise AttributeValueError(f"custom_call: its arguments are a {type(found).__name__}, not a list")
    return tuple(_from_json(part, 0) for part in found)


def fill(arguments: Any, tensor: Callable[[int], Any], number: Callable[[int], Any]) -> Any:
    """`arguments` with `tensor(k)` and `number(k)` for operand k; tuples become lists below the top."""
    return tuple(_fill(a, tensor, number) for a in arguments)


def tensors_of(arguments: Any, operands: Sequence[T]) -> list[T]:
    """Of what belongs to each operand, that of the operands which are passed as tensors."""
    return [operands[leaf.index] for leaf in leaves(arguments) if isinstance(leaf, TensorAt)]


def leaves(arguments: Any) -> Iterator[Any]:
    """The arguments without their lists, in order."""
    for argument in arguments:
        if isinstance(argument, tuple | list):
            yield from leaves(argument)
        else:
            yield argument


def read_results(dtypes: str, ranks: Sequence[int], dims: Sequence[Dim]) -> tuple[TensorType, ...]:
    """The types of the operation's results: dtypes by name with commas between, then all their dims in a row."""
    try:
        names = [dtype_named(name) for name in dtypes.split(",")]
    except ValueError as error:
        raise AttributeValueError(f"custom_call: {error}") from None
    if len(names) != len(ranks) or any(rank < 0 for rank in ranks) or sum(ranks) != len(dims):
        raise AttributeValueError(f"custom_call: dtypes {dtypes}, ranks {tuple(ranks)} and {len(dims)} dims do not fit")
    types, start = [], 0
    for dtype, rank in zip(names, ranks):
        types.append(TensorType(dtype, tuple(dims[start : start + rank])))
        start += rank
    return tuple(types)


def write_results(types: Sequence[tuple[DType, Sequence[Any]]]) -> dict[str, Any]:
    """The attributes `dtypes`, `ranks` and `dims` of results given as (dtype, shape)."""
    return {
        "dtypes": ",".join(dtype.name for dtype, _ in types),
        "ranks": tuple(len(shape) for _, shape in types),
        "dims": tuple(d for _, shape in types for d in shape),
    }


def _to_json(value: Any) -> Any:
    if isinstance(value, TensorAt):
        return {"tensor": value.index}
    if isinstance(value, NumberAt):
        return {"number": value.index}
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be an argument of a custom operation")


def _from_json(value: Any, depth: int) -> Any:
    if isinstance(value, list) and depth < MAX_DEPTH:
        return tuple(_from_json(part, depth + 1) for part in value)
    if isinstance(value, dict) and len(value) == 1:
        (kind, what), *_ = value.items()
        if kind == "tensor" and type(what) is int and what >= 0:
            return TensorAt(what)
        if kind == "number" and type(what) is int and what >= 0:
            return NumberAt(what)
        if kind == "dtype" and isinstance(what, str):
            try:
                return dtype_named(what)
            except ValueError as error:
                raise AttributeValueError(f"custom_call: {error}") from None
    elif value is None or isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    raise AttributeValueError(f"custom_call: {str(value)[:80]!r} cannot be an argument of an operation")


def _fill(value: Any, tensor: Callable[[int], Any], number: Callable[[int], Any]) -> Any:
    if isinstance(value, TensorAt):
        return tensor(value.index)
    if isinstance(value, NumberAt):
        return number(value.index)
    return [_fill(v, tensor, number) for v in value] if isinstance(value, tuple | list) else value
