"""Process-wide settings and questions with PyTorch's names. Those that jitcore has no use for are kept and told."""

from __future__ import annotations

from typing import Any

from jitcore_ir.dtypes import DType, float32, float64
from jitcore_runtime.kernels.floating import fix_order
from jitcore_runtime.threads import get_num_threads, set_num_threads

from .device import CPU, Device, check_device, set_default_dtype
from .jit_function import jit
from .tensor import Tensor


class _Kept:
    """Settings that change nothing."""

    deterministic = False
    warn_only = False
    matmul_precision = "highest"
    interop_threads = 1
    warn_always = False


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict | None = None,
    disable: bool = False,
) -> Any:
    """`jitcore.jit(model)`, with the arguments of torch.compile. Only `disable` has a meaning here."""
    if model is None:
        return lambda function: compile(function, disable=disable)
    return model if disable else jit(model)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Kept: results never depend on the number of threads. From the first True on they do not depend on how operands
    lie in memory either (see `exact` of `jit`)."""
    if mode:
        fix_order()
    _Kept.deterministic, _Kept.warn_only = bool(mode), warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms set."""
    return _Kept.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What use_deterministic_algorithms set."""
    return _Kept.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """Kept as use_deterministic_algorithms."""
    use_deterministic_algorithms(debug_mode not in (0, "default"), warn_only=debug_mode in (1, "warn"))


def get_deterministic_debug_mode() -> int:
    """0, or 1 (warn) or 2 (error), as set."""
    return (1 if _Kept.warn_only else 2) if _Kept.deterministic else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Kept: float32 products are always in float32. Raises ValueError for an unknown precision."""
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"precision is one of 'highest', 'high', 'medium', not {precision!r}")
    _Kept.matmul_precision = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision set."""
    return _Kept.matmul_precision


def set_num_interop_threads(threads: int) -> None:
    """Kept."""
    _Kept.interop_threads = threads


def get_num_interop_threads() -> int:
    """What set_num_interop_threads set."""
    return _Kept.interop_threads


def set_default_device(device: Any) -> None:
    """Accepts the CPU. Raises RuntimeError for another device."""
    check_device(device)


def get_default_device() -> Device:
    """The CPU."""
    return CPU


def set_default_tensor_type(t: Any) -> None:
    """Make the dtype of a legacy tensor type, given by class or name, the default dtype."""
    name = t if isinstance(t, str) else t.__name__
    chosen: dict[str, DType] = {"FloatTensor": float32, "DoubleTensor": float64}
    short = name.rsplit(".", 1)[-1]
    if "cuda" in name or short not in chosen:
        raise TypeError(f"set_default_tensor_type: {name} is not available; use set_default_dtype")
    set_default_dtype(chosen[short])


def set_warn_always(b: bool) -> None:
    """Kept."""
    _Kept.warn_always = b


def is_warn_always_enabled() -> bool:
    """What set_warn_always set."""
    return _Kept.warn_always


def set_flush_denormal(mode: bool) -> bool:
    """False: not supported."""
    return False


def typename(obj: Any) -> str:
    """The name of obj's type, in PyTorch's form for tensors: "jitcore.FloatTensor"."""
    if isinstance(obj, Tensor):
        return obj.type()
    return f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")


def is_storage(obj: Any) -> bool:
    """Whether obj is the memory of a tensor."""
    from .storage import Storage

    return isinstance(obj, Storage)


def compiled_with_cxx11_abi() -> bool:
    """True."""
    return True


__all__ = [
    "are_deterministic_algorithms_enabled", "compile", "compiled_with_cxx11_abi", "get_default_device",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads",
    "is_deterministic_algorithms_warn_only_enabled", "is_storage", "is_warn_always_enabled", "set_default_device",
    "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal",
    "set_num_interop_threads", "set_num_threads", "set_warn_always", "typename", "use_deterministic_algorithms",
]  # fmt: skip
