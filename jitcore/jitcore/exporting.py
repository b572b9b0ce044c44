"""`export`: a function or Module as one .jca file that runs without jitcore.

The function is run once, in no-grad mode, on example inputs whose symbolic sizes have made-up values, and recorded. A
recording that holds for those values only is refused with the line that made it so.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir import shapes
from jitcore_ir.dtypes import DType, dtype_named
from jitcore_ir.shapes import Expr

from .autograd import no_grad
from .errors import ExportError
from .nn.module import Module
from .tensor import Tensor, wrap
from .trace.capture import FromOutput, FromRoot, Recording, Static, record
from .trace.recorder import Recorder
from .trace.sources import Argument

DEFAULT_TARGETS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
_FIRST_SIZE = 7
"""The made-up size of the first symbol; later ones take the following primes, so that none equal by chance."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input's dtype and shape, whose dims are numbers or symbols."""

    dtype: DType
    shape: tuple[int | Expr, ...]


def parse_input(text: str) -> InputSpec:
    """`"float32[N,1,8,8]"` as an InputSpec. Raises ExportError for anything else."""
    match = re.fullmatch(r"\s*(\w+)\s*\[(.*)\]\s*", text)
    if match is None:
        raise ExportError(f"input {text!r} is not DTYPE[DIMS], such as float32[N,784] or int64[]")
    try:
        dtype = dtype_named(match[1])
    except ValueError as error:
        raise ExportError(str(error)) from None
    dims: list[int | Expr] = []
    for part in filter(None, (p.strip() for p in match[2].split(","))):
        if part.isdigit():
            dims.append(int(part))
        elif part.isidentifier() and part not in ("max", "min"):
            dims.append(shapes.symbol(part))
        else:
            raise ExportError(f"dimension {part!r} of input {text!r} is neither a number nor a name")
    return InputSpec(dtype, tuple(dims))


def export(
    function: Callable,
    path: str | os.PathLike,
    inputs: Mapping[str, Any],
    *,
    entry: str = "main",
    targets: Sequence[str] | None = None,
) -> None:
    """Write `function` (a Module, function or jitted one) to the archive `path`, replacing it as a whole.

    inputs: for each argument by name, `"float32[N,784]"` (a name is a size that each call may choose), or an example
        tensor (its dtype and shape).
    targets: CPUs to compile for ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"); none is fine: the runtime then
        interprets the graph. Default: the three x86-64 levels. "ptx-8.0" (a GPU's compute capability) stores CUDA
        kernels as well, for programs of elementwise operations and reductions; it needs `jitcore[cuda]`.

    Raises ExportError where the recorded run would not hold for every input, naming the user's line, and OSError where
    the file cannot be written. The old file stays as it was then.
    """
    from .compiler.archive import write_program
    from .jit_function import JitFunction

    if isinstance(function, JitFunction):
        function = function._function
    specs = {name: _spec(name, given) for name, given in inputs.items()}
    _check_names(function, specs)
    recording, names = _record(function, specs, inputs)
    weights = {number: names[id(root.tensor)] for number, root in enumerate(recording.roots) if root.source is None}
    write_program(path, recording, entry, weights, tuple(DEFAULT_TARGETS if targets is None else targets))


def _spec(name: str, given: Any) -> InputSpec:
    if isinstance(given, str):
        return parse_input(given)
    if isinstance(given, Tensor):
        return InputSpec(given.dtype, tuple(given._array.shape))
    raise ExportError(f"input {name!r} is a {type(given).__name__}; give a string such as 'float32[N,784]' or a Tensor")


def _check_names(function: Callable, specs: Mapping[str, InputSpec]) -> None:
    target = function.forward if isinstance(function, Module) else function
    signature = inspect.signature(target)
    try:
        signature.bind(**dict.fromkeys(specs))
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "no arguments"
        raise ExportError(
            f"inputs {', '.join(specs) or '(none)'} do not fit the function, which takes {takes}: {error}"
        ) from None


def _record(
    function: Callable, specs: Mapping[str, InputSpec], inputs: Mapping[str, Any]
) -> tuple[Recording, dict[int, str]]:
    """Record a run; refuse what would not hold elsewhere. Also gives a name for every captured tensor, by id."""
    recorder = Recorder("main", made_up=True)
    recorder.symbols = _example_sizes(specs)
    arguments: dict[str, Tensor] = {}
    for position, (name, spec) in enumerate(specs.items()):
        sizes = tuple(shapes.evaluate(d, recorder.symbols) for d in spec.shape)
        given = inputs[name]
        example = np.array(given._array) if isinstance(given, Tensor) else _placeholder(sizes, spec.dtype)
        arguments[name] = wrap(example)
        recorder.add_root(arguments[name], name, Argument(position), spec.shape)
    try:
        with no_grad():
            _, recording = record(recorder, function, (), arguments, list(arguments.values()))
    except Exception as error:
        _refuse_specializations(recorder, error)  # a size used as a number is why the shapes stop fitting
        raise
    _refuse_specializations(recorder)
    _refuse(recording)
    names = {id(tensor): name for name, tensor in _named_tensors(function)}
    for number, root in enumerate(recording.roots):
        if root.source is None:
            names.setdefault(id(root.tensor), f"constant{number}")
    return recording, names


def _placeholder(sizes: tuple[int, ...], dtype: DType) -> np.ndarray:
    """What a function is recorded with where no example is given: zeros, which are positions in anything, or unit
    matrices, which have an inverse and factors."""
    array = np.zeros(sizes, dtype.numpy)
    if len(sizes) > 1 and sizes[-1] == sizes[-2] and not dtype.is_integer:
        array[..., range(sizes[-1]), range(sizes[-1])] = 1
    return array


def _example_sizes(specs: Mapping[str, InputSpec]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    candidate = _FIRST_SIZE
    for spec in specs.values():
        for dim in spec.shape:
            for symbol in shapes.symbols_of(dim):
                if symbol not in sizes:
                    sizes[symbol] = candidate
                    candidate = next(n for n in range(candidate + 1, 10**6) if all(n % k for k in range(2, n)))
    return sizes


def _refuse_specializations(recorder: Recorder, cause: Exception | None = None) -> None:
    """Raise ExportError where Python used the number of a symbolic size."""
    for used in recorder.specializations:
        raise ExportError(
            f"{used.expr} was used as the number {used.value} at {used.location}, so the graph would hold for that "
            f"size only; compute with the size itself (x.shape[0], x.reshape(-1, ...)), or give it as a number"
        ) from cause


def _refuse(recording: Recording) -> None:
    """Raise ExportError where the recording holds only for the example, or changes something outside itself."""
    for read in recording.reads:
        raise ExportError(
            f"{read.kind}() of a tensor at {read.location} lets Python decide by a value that is known only when the "
            f"archive runs; compute with the tensor (where(condition, a, b)), or make the choice before exporting"
        )
    for number in recording.written:
        root = recording.roots[number]
        raise ExportError(
            f"the function writes to a tensor outside itself at {root.location}, which an archive cannot keep; "
            f"call model.eval() before exporting, or return the new value instead"
        )
    if recording.problem is not None:
        raise ExportError(f"cannot be exported: {recording.problem}")
    for piece in recording.pieces:
        if not isinstance(piece, FromOutput | FromRoot):
            what = repr(piece.value) if isinstance(piece, Static) else "a number that item() gave"
            raise ExportError(f"the function returns {what}, which no tensor of this run is; return tensors only")


def _named_tensors(function: Callable) -> list[tuple[str, Tensor]]:
    owner = function if isinstance(function, Module) else getattr(function, "__self__", None)
    if not isinstance(owner, Module):
        return []
    return [*owner.named_parameters(), *owner.named_buffers()]


__all__ = ["DEFAULT_TARGETS", "InputSpec", "export", "parse_input"]
