"""16-bit floats in functions of several steps: computed in float32, rounded once at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from jitcore_ir import ops
from jitcore_ir.dtypes import DType, float32

from ..dispatch import apply
from ..promotion import result_type
from ..tensor import Tensor
from .compare import refuse_complex

F = TypeVar("F", bound=Callable[..., Any])


def in_float32(function: F) -> F:
    """Decorator: where the first argument is a float16 or bfloat16 tensor, run the function on float32 copies of all
    such arguments and round what it gives to the first one's dtype. A `dtype` among the arguments is left to the
    function. For everything else the cost is one test, 0.1 us."""
    return _widening(function, first_only=False, real=False)


def reals_in_float32(function: F) -> F:
    """`in_float32` for functions that have no meaning for complex numbers: NotImplementedError where the first
    argument is complex."""
    return _widening(function, first_only=False, real=True)


def first_in_float32(function: F) -> F:
    """`reals_in_float32` for functions that write to other arguments: only the first one is widened, the rest
    promote."""
    return _widening(function, first_only=True, real=True)


def both_in_float32(function: F) -> F:
    """Decorator for elementwise functions of two operands: where one is a float16 or bfloat16 tensor, both are computed
    in float32 and the result is rounded to the dtype that they promote to."""

    @functools.wraps(function)
    def wrapper(input: Any, other: Any, *rest: Any, **named: Any) -> Any:
        if not is_half(input) and not is_half(other):
            return function(input, other, *rest, **named)
        return _rounded(function(_wide(input), _wide(other), *rest, **named), result_type(input, other))

    return wrapper  # type: ignore[return-value]


def is_half(x: Any) -> bool:
    """Whether x is a float16 or bfloat16 tensor."""
    return isinstance(x, Tensor) and (dtype := x._array.dtype).itemsize == 2 and dtype.kind not in "iu"


def _widening(function: Any, first_only: bool, real: bool) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        x: Any = args[0] if args else next(iter(kwargs.values()), None)
        if real:
            refuse_complex(function.__name__, x)
        if not is_half(x) or any(isinstance(a, DType) for a in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        if first_only:
            args, kwargs = ((_wide(args[0]), *args[1:]), kwargs) if args else ((), _first_wide(kwargs))
        else:
            args, kwargs = tuple(map(_wide, args)), {name: _wide(value) for name, value in kwargs.items()}
        return _rounded(function(*args, **kwargs), x.dtype)

    return wrapper


def _wide(x: Any) -> Any:
    return apply(ops.CAST, (x,), {"dtype": float32}) if is_half(x) else x


def _first_wide(kwargs: dict[str, Any]) -> dict[str, Any]:
    name = next(iter(kwargs))
    return {**kwargs, name: _wide(kwargs[name])}


def _rounded(result: Any, dtype: DType) -> Any:
    if isinstance(result, Tensor):
        return apply(ops.CAST, (result,), {"dtype": dtype}) if result.dtype is float32 else result
    if isinstance(result, tuple):
        parts = [_rounded(part, dtype) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return result
