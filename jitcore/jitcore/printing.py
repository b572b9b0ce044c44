"""Tensors as text, laid out as PyTorch does: `tensor([[1., 2.], [3., 4.]])`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir.dtypes import bool_, int64

from .device import get_default_dtype
from .promotion import complex_of
from .tensor import Tensor, peek


@dataclass
class PrintOptions:
    """How tensors are printed; see `set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change digits after the point, the size from which only edges are shown, line width, scientific notation.

    profile: "default", "short" (2 digits) or "full" (no summary).
    """
    global options
    if profile is not None:
        profiles = {
            "default": PrintOptions(),
            "short": PrintOptions(2, edgeitems=2),
            "full": PrintOptions(threshold=math.inf),
        }
        if profile not in profiles:
            raise ValueError(f"unknown print profile {profile!r}; known are {', '.join(profiles)}")
        options = profiles[profile]
    for name, value in (
        ("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems), ("linewidth", linewidth),
    ):  # fmt: skip
        if value is not None:
            setattr(options, name, value)
    options.sci_mode = sci_mode


def tensor_text(x: Tensor) -> str:
    """The repr of a tensor; inside a recorded function a read of its values, inside `vmap` that of all examples."""
    from .nn.parameter import Buffer, Parameter

    if (examples := getattr(x._array, "value", None)) is not None:
        return f"BatchedTensor(value={examples!r})"
    array = peek(x)
    prefix = "tensor(" if type(x) in (Tensor, Parameter, Buffer) else f"{type(x).__name__}("
    suffixes = []
    if (array.size and not options.edgeitems) or (not array.size and array.ndim != 1):
        suffixes.append(f"size={tuple(array.shape)}")
    default = get_default_dtype()
    if x.dtype not in ((default, complex_of(default), int64, bool_) if array.size else (default,)):
        suffixes.append(f"dtype={x.dtype!r}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    body = _body(array, len(prefix)) if array.size else "[]"
    return _with_suffixes(prefix + body, suffixes, len(prefix))


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Suffixes go on the last line as far as they fit."""
    length = len(text) - text.rfind("\n") + 1
    parts = [text]
    for suffix in suffixes:
        if length + len(suffix) + 2 > options.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            length = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            length += len(suffix) + 2
    return "".join(parts) + ")"


def _body(array: np.ndarray, indent: int) -> str:
    if array.dtype.kind == "V" or array.dtype == np.float16:
        array = array.astype(np.float32)
    summarize = array.size > options.threshold
    shown = _edges(array) if summarize else array
    return _nested(array, indent, summarize, _Format(shown))


class _Format:
    """How every element of one tensor is written, so that columns line up."""

    def __init__(self, array: np.ndarray) -> None:
        self.kind = array.dtype.kind
        self.width = 1
        self.integral = self.scientific = False
        if self.kind == "c":
            self.real, self.imag = _Format(array.real), _Format(array.imag)
            return
        flat = array.reshape(-1)
        if self.kind != "f":
            self.width = max((len(str(v)) for v in flat.tolist()), default=1)
            return
        sizes = np.abs(flat[np.isfinite(flat) & (flat != 0)].astype(np.float64))
        if not sizes.size:
            self.integral = True
            return
        largest, smallest = float(sizes.max()), float(sizes.min())
        self.integral = bool((sizes == np.ceil(sizes)).all())
        if self.integral:
            self.scientific = largest / smallest > 1000.0 or largest > 1.0e8
        else:
            self.scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
        if options.sci_mode is not None:
            self.scientific = options.sci_mode
        # As in PyTorch, only finite nonzero elements set the width: "nan" may stick out.
        self.width = max(len(self(v)) for v in flat[np.isfinite(flat) & (flat != 0)].tolist())

    def __call__(self, value: Any) -> str:
        if self.kind == "c":
            imag = self.imag(value.imag).lstrip()
            return f"{self.real(value.real)}{'' if imag.startswith('-') else '+'}{imag}j"
        if self.kind != "f":
            text = str(value)
        elif self.scientific:
            text = f"{value:.{options.precision}e}"
        elif self.integral:
            text = f"{value:.0f}" + ("." if math.isfinite(value) else "")
        else:
            text = f"{value:.{options.precision}f}"
        return text.rjust(self.width)


def _nested(array: np.ndarray, indent: int, summarize: bool, form: _Format) -> str:
    if array.ndim == 0:
        return form(array.item())
    count = options.edgeitems
    cut = summarize and array.shape[0] > 2 * count
    if array.ndim == 1:
        values = array.tolist()
        words = [form(v) for v in (values[:count] + values[array.size - count :] if cut else values)]
        if cut:
            words.insert(count, " ..." if count else "...")
        width = form.width if form.kind != "c" else form.real.width + form.imag.width + 1
        per_line = max(1, int((options.linewidth - indent) / max(1, width + 2)))
        lines = [words[i : i + per_line] for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"
    rows = [*array[:count], None, *array[array.shape[0] - count :]] if cut else list(array)
    parts = ["..." if row is None else _nested(row, indent + 1, summarize, form) for row in rows]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _edges(array: np.ndarray) -> np.ndarray:
    """What a summary shows."""
    for axis in range(array.ndim):
        if array.shape[axis] > 2 * options.edgeitems:
            index = [slice(None)] * array.ndim
            index[axis] = np.r_[0 : options.edgeitems, array.shape[axis] - options.edgeitems : array.shape[axis]]
            array = array[tuple(index)]
    return array
