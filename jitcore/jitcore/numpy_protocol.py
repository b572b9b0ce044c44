"""Tensors among NumPy arrays: what `array + tensor`, `np.sin(tensor)` and `np.asarray(tensor)` give.

NumPy computes these, in its own dtypes, and the result is a Tensor without history. So a tensor that requires grad is
refused (`Tensor.numpy` raises), as its gradient would be lost silently. NumPy's scalars are numbers, not arrays, and
do not come this way: `np.float64(2) * tensor` is an operation like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tensor import Tensor


def with_array(function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """`function`, a Python operator, of an array and a tensor in either order. RuntimeError if the tensor has grad."""
    arrays = [x.numpy() if isinstance(x, Tensor) else x for x in (left, right)]
    return wrapped(function(*arrays))


def wrapped(array: Any) -> Tensor:
    """What NumPy computed as a tensor; its scalars become 0-d ones. TypeError for a dtype that jitcore has not."""
    from .ops.creation import from_numpy

    return from_numpy(np.asarray(array))


def as_array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """`np.asarray(x)`: x's memory, or a copy where `copy` or another `dtype` asks for one.

    Raises RuntimeError for a tensor that requires grad, ValueError where a copy is needed and `copy` is False.
    """
    array = x.numpy()
    if copy:
        return np.array(array, dtype=dtype)
    if dtype is None or array.dtype == dtype:
        return array
    if copy is False:
        raise ValueError(f"unable to avoid a copy: the tensor's dtype is {array.dtype}, asked for is {np.dtype(dtype)}")
    return array.astype(dtype)
