"""Arrays as text: the DENSE attributes of the text form, exact to the bit.

```
2.5                         one element                 (1.0, -0.0)       a complex one
[[1, 2], [3, 4]]            a few elements              splat 0.0         many equal elements
base64 "AACAPwAAAEA="       many, row-major, little-endian
0x7fc00001                  a float by its bits: NaNs other than `nan`, and what decimal digits would not give back
```

The text of an array does not say its dtype and shape; those come from the type beside it.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass

import numpy as np

from .dtypes import DType, from_numpy, uint8
from .types import TensorType

READABLE_ELEMENTS = 64
_WORDS: dict[int, np.dtype] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_FLOAT_OF_COMPLEX: dict[int, np.dtype] = {64: np.dtype(np.float32), 128: np.dtype(np.float64)}


def format_dense(array: np.ndarray, elide: int | None = None) -> str:
    """`array` as text. With `elide`, one of more bytes than that which would be base64 is named, not shown."""
    dtype = from_numpy(array.dtype)
    if array.size > 1 and _all_same(array):
        return f"splat {_element(array.reshape(-1)[:1], dtype)}"
    if array.size <= READABLE_ELEMENTS:
        return _nested(array, dtype)
    if elide is not None and array.nbytes > elide:
        return f"elided {array.nbytes}"
    return f'base64 "{base64.b64encode(_little_endian(array).tobytes()).decode()}"'


def format_float(value: float) -> str:
    """A Python float as text that `parse_float` gives back exactly."""
    return _float_text(np.array(value, np.float64))


@dataclass(frozen=True, slots=True)
class DenseText:
    """An array as it was written, before its type is known.

    `form` is "splat", "base64", "elided" or "nested"; `content` an element, the base64 text, a number of bytes, or
    elements in nested lists. An element is its text, or a pair of texts for a complex one.
    """

    form: str
    content: object


def build_dense(text: DenseText, type: TensorType) -> np.ndarray:
    """The array of that type. Raises ValueError where the text does not fit it; the array is not writable."""
    shape = tuple(d for d in type.shape if isinstance(d, int))
    if len(shape) != type.rank or min(shape, default=0) < 0:
        raise ValueError(f"an array cannot have the shape of {type}")
    array = np.array(_content(text, type.dtype, shape), order="C").reshape(shape)
    array.flags.writeable = False
    return array


def parse_float(text: str) -> float:
    """The Python float written as `text`. Raises ValueError."""
    return float(_parse_real(text, np.dtype(np.float64)))


def _content(text: DenseText, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    if text.form == "elided":
        raise ValueError(f"the {text.content} bytes of this array were left out when it was printed; print it whole")
    if text.form == "base64":
        try:
            data = base64.b64decode(str(text.content), validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from None
        if len(data) != size * dtype.itemsize:
            raise ValueError(
                f"{len(data)} bytes given, but {size} elements of {dtype.name} take {size * dtype.itemsize}"
            )
        return np.frombuffer(data, _stored(dtype.numpy)).astype(dtype.numpy)
    if text.form == "splat":
        return np.full(shape, _parse_element(text.content, dtype), dtype.numpy)
    leaves: list[object] = []
    _flatten(text.content, shape, leaves)
    array = np.empty(size, dtype.numpy)
    for position, leaf in enumerate(leaves):
        array[position] = _parse_element(leaf, dtype)
    return array


def _flatten(content: object, shape: tuple, leaves: list[object]) -> None:
    if not shape:
        if isinstance(content, list):
            raise ValueError("more nesting than the shape has dimensions")
        leaves.append(content)
        return
    if 0 in shape:
        if content != []:
            raise ValueError("an array without elements is written []")
        return
    if not isinstance(content, list) or len(content) != shape[0]:
        given = f"{len(content)} entries" if isinstance(content, list) else "one element"
        raise ValueError(f"{given} where the shape has {shape[0]}")
    for part in content:
        _flatten(part, shape[1:], leaves)


def _all_same(array: np.ndarray) -> bool:
    """Whether every element has the bits of the first."""
    rows = np.array(array, order="C").reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)
    return bool((rows == rows[0]).all())


def _nested(array: np.ndarray, dtype: DType) -> str:
    if array.ndim == 0:
        return _element(array.reshape(1), dtype)
    if array.size == 0:
        return "[]"
    return f"[{', '.join(_nested(array[i : i + 1].reshape(array.shape[1:]), dtype) for i in range(array.shape[0]))}]"


def _element(one: np.ndarray, dtype: DType) -> str:
    """The text of the only element. An array of one keeps the bits of a NaN, which a scalar may lose."""
    if dtype.kind == "bool":
        return "true" if one[0] else "false"
    if dtype.is_integer:
        return str(int(one[0]))
    if dtype.is_complex:
        real, imaginary = np.array(one, order="C").view(_FLOAT_OF_COMPLEX[dtype.bits])
        return f"({_float_text(np.array(real))}, {_float_text(np.array(imaginary))})"
    return _float_text(one)


def _float_text(value: np.ndarray) -> str:
    word = _WORDS[value.dtype.itemsize]
    bits = np.array(value, order="C").reshape(1).view(word)
    text = str(value.reshape(1)[0])
    if text.lstrip("-").isdigit():
        text += ".0"
    again = _parse_real(text, value.dtype).reshape(1).view(word)
    return text if again == bits else f"0x{int(bits[0]):0{2 * value.dtype.itemsize}x}"


def _parse_element(text: object, dtype: DType) -> np.ndarray:
    if isinstance(text, tuple) != dtype.is_complex:
        raise ValueError(f"{dtype.name} elements are written {'(real, imaginary)' if dtype.is_complex else 'plainly'}")
    if isinstance(text, tuple):
        part = _FLOAT_OF_COMPLEX[dtype.bits]
        pair = np.array([_parse_real(text[0], part), _parse_real(text[1], part)], part)
        return pair.view(dtype.numpy)[0]
    if dtype.kind == "bool":
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is not true or false")
        return np.array(text == "true")
    if dtype.is_integer:
        return _parse_integer(str(text), dtype)
    return _parse_real(str(text), dtype.numpy)


def _parse_integer(text: str, dtype: DType) -> np.ndarray:
    value, limits = int(text, 0), np.iinfo(dtype.numpy)
    if not limits.min <= value <= limits.max:
        raise ValueError(f"{value} is outside {dtype.name}'s {limits.min} to {limits.max}")
    return np.array(value, dtype.numpy)


def _parse_real(text: str, dtype: np.dtype) -> np.ndarray:
    if text.startswith("0x"):
        word = _WORDS[dtype.itemsize]
        if int(text, 16) >= 1 << (8 * dtype.itemsize):
            raise ValueError(f"{text} has more bits than the element type")
        return np.array([int(text, 16)], word).view(_stored(dtype)).astype(dtype).reshape(())
    with np.errstate(over="ignore"):
        return np.array(float(text), np.float64).astype(dtype)


def _stored(dtype: np.dtype) -> np.dtype:
    """`dtype` as base64 and bits hold it: little-endian."""
    return dtype if dtype.itemsize == uint8.itemsize or dtype.kind == "V" else dtype.newbyteorder("<")


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.array(array, dtype=_stored(array.dtype), order="C")
