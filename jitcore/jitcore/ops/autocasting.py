"""What `autocast` does to operations: products and convolutions run in 16 bits, losses and the like in float32.

The lists are those of PyTorch's autocast on the CPU. Inside such an operation autocast is off, so that what it is
composed of is not cast again. Outside of autocast the cost is one attribute, under 0.1 us.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from jitcore_ir import ops
from jitcore_ir.dtypes import DType, float32, float64

from ..dispatch import apply
from ..state import state
from ..tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def in_low_precision(function: F) -> F:
    """Decorator: under autocast, run on arguments cast to autocast's dtype (float64 ones stay)."""
    return _casting(function, lambda: state.autocast)


def in_full_precision(function: F) -> F:
    """Decorator: under autocast, run on arguments cast to float32."""
    return _casting(function, lambda: float32)


def _casting(function: Any, wanted: Callable[[], Any]) -> Any:
    @functools.wraps(function)
    def cast(*arguments: Any, **keywords: Any) -> Any:
        if state.autocast is None:
            return function(*arguments, **keywords)
        dtype, outer = wanted(), state.autocast
        arguments = tuple([cast_to(a, dtype) for a in arguments])
        keywords = {name: cast_to(a, dtype) for name, a in keywords.items()}
        state.autocast = None
        try:
            return function(*arguments, **keywords)
        finally:
            state.autocast = outer

    return cast


def cast_to(x: Any, dtype: DType) -> Any:
    """Floating tensors in x, a list or tuple at most, cast to dtype; float64 stays."""
    if isinstance(x, Tensor):
        given = x.dtype
        if given is dtype or given is float64 or not given.is_floating_point:
            return x
        return apply(ops.CAST, (x,), {"dtype": dtype})
    if type(x) in (list, tuple) and any(isinstance(item, Tensor) for item in x):
        return type(x)(cast_to(item, dtype) for item in x)
    return x
