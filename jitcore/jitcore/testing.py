"""`jitcore.testing`: `assert_close` with PyTorch's tolerances and messages, `make_tensor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jitcore_ir.dtypes import DType

from .ops import as_tensor, rand, randint
from .promotion import promote_types
from .tensor import Tensor

_TOLERANCES = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere, in nested containers too.

    Tolerances depend on the dtypes (the wider one counts). Raises ValueError where only one of them is given.
    """
    if (rtol is None) != (atol is None):
        absent = "rtol" if rtol is None else "atol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {absent}.")

    def fail(text: str, where: str) -> None:
        text += f"\n\nThe failure occurred for item {where}" if where else ""
        raise AssertionError(text if msg is None else msg(text) if callable(msg) else msg)

    def compare(a: Any, b: Any, where: str) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if set(a) != set(b):
                fail(f"The keys of the mappings do not match: {sorted(map(str, a))} != {sorted(map(str, b))}", where)
            for key in b:
                compare(a[key], b[key], f"{where}[{key!r}]")
        elif _is_sequence(a) and _is_sequence(b):
            if len(a) != len(b):
                fail(f"The length of the sequences mismatch: {len(a)} != {len(b)}", where)
            for i, (x, y) in enumerate(zip(a, b)):
                compare(x, y, f"{where}[{i}]")
        elif a is None or b is None:
            if a is not b:
                fail(f"None mismatch: {a} is not {b}", where)
        else:
            numbers = not isinstance(a, Tensor | np.ndarray) and not isinstance(b, Tensor | np.ndarray)
            x, y = as_tensor(a).detach(), as_tensor(b).detach()
            if x.shape != y.shape:
                fail(f"The values for attribute 'shape' do not match: {x.shape} != {y.shape}.", where)
            if check_dtype and not numbers and x.dtype is not y.dtype:
                fail(f"The values for attribute 'dtype' do not match: {x.dtype!r} != {y.dtype!r}.", where)
            if check_stride and x.stride() != y.stride():
                fail(f"The values for attribute 'stride()' do not match: {x.stride()} != {y.stride()}.", where)
            found = _tolerances(x, y) if rtol is None or atol is None else (rtol, atol)
            problem = _difference(x, y, *found, equal_nan)
            if problem:
                fail(problem, where)

    compare(actual, expected, "")


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str | bytes)


def _tolerances(x: Tensor, y: Tensor) -> tuple[float, float]:
    pairs = [_TOLERANCES.get(t.dtype.name, (0.0, 0.0)) for t in (x, y)]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


def _difference(x: Tensor, y: Tensor, rtol: float, atol: float, equal_nan: bool) -> str | None:
    """What to say of values that are not close; None where all are."""
    dtype = promote_types(x.dtype, y.dtype)
    wide = np.complex128 if dtype.is_complex else np.float64 if dtype.is_floating_point else np.int64
    a, b = x.numpy().astype(wide), y.numpy().astype(wide)
    with np.errstate(all="ignore"):
        off = np.abs(a - b)
        close = (a == b) | (np.isfinite(off) & (off <= atol + rtol * np.abs(b)))
        if equal_nan:
            close |= (a != a) & (b != b)
        if close.all():
            return None
        relative = np.where(close, 0, off / np.abs(b))
    kind = "equal" if rtol == atol == 0 else "close"
    if a.ndim == 0:
        return (
            f"Scalars are not {kind}!\n\nExpected {y.item()} but got {x.item()}.\n"
            f"Absolute difference: {off.item()} (up to {atol} allowed)\n"
            f"Relative difference: {float(relative)} (up to {rtol} allowed)"
        )
    off = np.where(close, 0, off)
    bad = int((~close).sum())

    def index(values: np.ndarray) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))

    return (
        f"Tensor-likes are not {kind}!\n\n"
        f"Mismatched elements: {bad} / {a.size} ({100 * bad / a.size:.1f}%)\n"
        f"Greatest absolute difference: {off.max()} at index {index(off)} (up to {atol} allowed)\n"
        f"Greatest relative difference: {relative.max()} at index {index(relative)} (up to {rtol} allowed)"
    )


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform random values: in [-9, 9] for floats and signed integers, [0, 9] for uint8, both values for bool."""
    size = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if noncontiguous and size:
        size = (*size[:-1], 2 * size[-1])
    least, most = (0, 2) if dtype.name == "bool" else (0 if dtype.name == "uint8" else -9, 10)
    low, high = least if low is None else low, most if high is None else high
    if dtype.is_floating_point or dtype.is_complex:
        made = (rand(size) * (min(high, 9) - low) + low).to(dtype)
    else:
        made = randint(int(low), int(high), size).to(dtype)
    if exclude_zero:
        made = made.masked_fill(made == 0, 1)
    if noncontiguous and size:
        made = made[..., ::2]
    return made.requires_grad_() if requires_grad else made


__all__ = ["assert_close", "make_tensor"]
