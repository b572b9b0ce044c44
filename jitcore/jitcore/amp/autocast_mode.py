"""`autocast`: a region whose products and convolutions run in bfloat16 or float16 (`ops.autocasting` has the lists)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from jitcore_ir.dtypes import DType, bfloat16, float16

from ..state import state


class autocast:
    """Context manager and decorator. On device types other than "cpu" it warns and changes nothing."""

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device = device_type
        self.fast_dtype = dtype or bfloat16
        if enabled and device_type != "cpu":
            warnings.warn(
                f"User provided device_type of '{device_type}', but it is not available. Disabling", stacklevel=2
            )
            enabled = False
        if enabled and self.fast_dtype not in (bfloat16, float16):
            warnings.warn(
                f"In CPU autocast, but the target dtype {self.fast_dtype!r} is not supported. Disabling autocast. CPU "
                "Autocast only supports dtype of bfloat16, float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._outer: list[DType | None] = []

    def __enter__(self) -> autocast:
        self._outer.append(state.autocast)
        if self.device == "cpu":
            state.autocast = self.fast_dtype if self._enabled else None
        return self

    def __exit__(self, *exception: object) -> None:
        state.autocast = self._outer.pop()

    def __call__(self, function: Callable) -> Callable:
        return autocast_decorator(self, function)


def autocast_decorator(instance: autocast, function: Callable) -> Callable:
    """`function`, run inside `instance`."""

    @functools.wraps(function)
    def decorated(*arguments: Any, **keywords: Any) -> Any:
        with instance:
            return function(*arguments, **keywords)

    return decorated


class cpu_autocast(autocast):
    """`jitcore.cpu.amp.autocast`: autocast for the CPU without naming it."""

    def __init__(self, enabled: bool = True, dtype: DType | None = None, cache_enabled: bool = True) -> None:
        super().__init__("cpu", dtype, enabled, cache_enabled)


class cuda_autocast(autocast):
    """`jitcore.cuda.amp.autocast`: changes nothing, as there is no CUDA device for eager tensors."""

    def __init__(self, enabled: bool = True, dtype: DType | None = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype or float16, enabled, cache_enabled)


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether operations are cast; without a device type PyTorch means CUDA, so False."""
    return device_type == "cpu" and state.autocast is not None


def is_autocast_cpu_enabled() -> bool:
    """Whether operations on the CPU are cast."""
    return state.autocast is not None


def is_autocast_available(device_type: str) -> bool:
    """True for "cpu"."""
    return device_type == "cpu"


def get_autocast_dtype(device_type: str) -> DType:
    """The dtype that autocast casts to."""
    return (state.autocast or bfloat16) if device_type == "cpu" else float16


def get_autocast_cpu_dtype() -> DType:
    """The dtype that autocast casts to on the CPU."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> DType:
    """float16, PyTorch's default."""
    return float16


def custom_fwd(fwd: Callable | None = None, *, device_type: str = "cpu", cast_inputs: DType | None = None) -> Any:
    """Decorator for `Function.forward`: runs it on inputs of dtype `cast_inputs` without autocast, where given."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*arguments: Any, **keywords: Any) -> Any:
        if cast_inputs is None or state.autocast is None:
            return fwd(*arguments, **keywords)
        from ..ops.autocasting import cast_to

        with autocast("cpu", enabled=False):
            return fwd(*cast_to(arguments, cast_inputs), **{k: cast_to(v, cast_inputs) for k, v in keywords.items()})

    return decorated


def custom_bwd(bwd: Callable | None = None, *, device_type: str = "cpu") -> Any:
    """Decorator for `Function.backward`; nothing needs to be done."""
    return functools.partial(custom_bwd, device_type=device_type) if bwd is None else bwd
