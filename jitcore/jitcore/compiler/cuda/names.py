"""What the names in generated source mean: `device_names()` to numba.cuda, `host_names()` where a kernel runs on NumPy
scalars (the simulator). Both give the same names, so that the same text runs on either."""

from __future__ import annotations

from typing import Any

import numpy as np

TYPES = ("uint8", "uint16", "int8", "int16", "int32", "int64", "float32", "float64")
_SAME = ("floor", "ceil", "trunc", "rint", "fabs", "sqrt", "fmod", "sin", "cos", "tan", "asin", "acos", "atan", "atan2")
FUNCTIONS = (*_SAME, "log2", "pow")
"""Functions of floats, each with an "f" behind its name for float32."""

_NUMPY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "pow": "power"}
_BITCASTS = {
    "float_as_int": (np.float32, np.int32),
    "int_as_float": (np.int32, np.float32),
    "double_as_longlong": (np.float64, np.int64),
    "longlong_as_double": (np.int64, np.float64),
}


def host_names(cuda: Any) -> dict[str, Any]:
    """The names over NumPy scalars; `cuda` is the simulator's module."""
    names: dict[str, Any] = {"cuda": cuda, "inf": np.inf, "nan": np.nan, "claim": _claim}
    names |= {name: getattr(np, name) for name in TYPES}
    for name in FUNCTIONS:
        function = getattr(np, _NUMPY.get(name, name))
        names[name], names[name + "f"] = _typed(function, np.float64), _typed(function, np.float32)
    for name, (source, target) in _BITCASTS.items():
        names[name] = _bitcast(source, target)
    return names


def device_names() -> dict[str, Any]:
    """The names in numba.cuda. Raises ImportError where numba-cuda is not installed."""
    from numba import cuda
    from numba.cuda import libdevice
    from numba.cuda import types as numba_types

    names: dict[str, Any] = {"cuda": cuda, "inf": np.inf, "nan": np.nan, "claim": _device_claim()}
    names |= {name: getattr(numba_types, name) for name in TYPES}
    for name in FUNCTIONS:
        names[name], names[name + "f"] = getattr(libdevice, name), getattr(libdevice, name + "f")
    return names | {name: getattr(libdevice, name) for name in _BITCASTS}


def _typed(function: Any, kind: Any) -> Any:
    return lambda *xs: kind(function(*(kind(x) for x in xs)))


def _bitcast(source: Any, target: Any) -> Any:
    return lambda x: source(x).view(target)


def _claim(error: Any, code: int) -> bool:
    """Put `code` into error[0] unless another thread has put one there; whether it did. Atomic on a device."""
    if error[0] != -1:
        return False
    error[0] = code
    return True


def _device_claim() -> Any:
    """`_claim` as one compare-and-swap: numba's own atomics take arrays, not the pointers that kernels get."""
    from llvmlite import ir
    from numba.cuda import types as numba_types
    from numba.cuda.extending import intrinsic

    @intrinsic
    def claim(typing_context, error, code):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            pointer, value = arguments
            empty = ir.Constant(ir.IntType(64), -1)
            pair = builder.cmpxchg(pointer, empty, value, "monotonic", "monotonic")
            return builder.extract_value(pair, 1)

        return numba_types.boolean(error, numba_types.int64), generate

    return claim
