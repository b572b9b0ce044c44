"""`export`: a function or Module as one .jca file that runs without jitcore.

The function is run once, in no-grad mode, on example inputs whose symbolic sizes have made-up values, and recorded. A
recording that holds for those values only is refused with the line that made it so.
"""

from __future__ import annotations

import inspect
import os
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir import shapes
from jitcore_ir.dtypes import DType, dtype_named
from jitcore_ir.equations import decided
from jitcore_ir.shapes import Expr
from jitcore_runtime.kernels.floating import fix_order
from jitcore_runtime.load import RANDOM_STATE

from .autograd import no_grad
from .dims import Dim
from .errors import ExportError
from .nn.module import Module
from .random import default_generator
from .source import is_own_file
from .tensor import Tensor, wrap
from .trace.capture import Recording, record
from .trace.pieces import Again, FromOutput, FromRoot, Static
from .trace.recorder import Recorder
from .trace.retrace import advice
from .trace.sizes import ShapeGuard, Sizes, Specialization
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
    dynamic: Mapping[str, Mapping[int, str | Dim]] | None = None,
    entry: str = "main",
    targets: Sequence[str] | None = None,
    exact: bool = False,
) -> None:
    """Write `function` (a Module, function or jitted one) to the archive `path`, replacing it as a whole.

    inputs: for each argument by name, `"float32[N,784]"` (a name is a size that each call may choose), or an example
        tensor (its dtype and shape).
    dynamic: sizes that each call may choose, by input and dimension: `{"x": {0: "batch", 1: Dim("seq", max=512)}}`. The
        same name is the same size. A `Dim` says which numbers it may be, which the runtime checks; a name alone says
        any. Where operations need more (a window that must fit), the range in the file is narrower.
    targets: CPUs to compile for ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"); none is fine: the runtime then
        interprets the graph. Default: the three x86-64 levels. "ptx-8.0" (a GPU's compute capability) stores CUDA
        kernels as well, for programs of elementwise operations and reductions; it needs `jitcore[cuda]`.
    exact: the archive's answers, native and interpreted, have the bits that the function gives eagerly (on x86-64 with
        the same NumPy). What native code would round otherwise is then run by NumPy from within it.

    A function that draws random numbers (dropout in training mode, say) takes the state of its generator along: the
    loaded model draws what eager execution would have drawn next, and goes on from there; `manual_seed` starts it anew.

    Raises ExportError where the recorded run would not hold for every input, naming the user's line, and OSError where
    the file cannot be written. The old file stays as it was then.
    """
    from .compiler.archive import write_program
    from .jit_function import JitFunction

    if exact:
        fix_order()
    if isinstance(function, JitFunction):
        function = function._function
    specs = {name: _spec(name, given) for name, given in inputs.items()}
    _check_names(function, specs)
    dims = _make_dynamic(specs, dynamic or {})
    recording, names = _record(function, specs, inputs, dims)
    weights = {number: names[id(root.tensor)] for number, root in enumerate(recording.roots) if root.source is None}
    chosen = tuple(DEFAULT_TARGETS if targets is None else targets)
    write_program(path, recording, entry, weights, chosen, exact=exact)


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


def _make_dynamic(specs: dict[str, InputSpec], dynamic: Mapping[str, Mapping[int, str | Dim]]) -> dict[str, Dim]:
    """Put the dimensions that `dynamic` names into the specs. Gives them all by symbol, those of the texts too."""
    named: dict[str, Dim] = {}
    for name, chosen in dynamic.items():
        if name not in specs:
            raise ExportError(f"dynamic names the input {name!r}; the inputs are {', '.join(specs) or '(none)'}")
        dims = list(specs[name].shape)
        for axis, given in chosen.items():
            dim = _dim(name, given)
            if not isinstance(axis, int) or not -len(dims) <= axis < len(dims):
                raise ExportError(f"dynamic dimension {axis} of input {name!r}, which has {len(dims)} dimensions")
            if named.setdefault(dim.name, dim) != dim:
                raise ExportError(f"dimension {dim.name} is given as {dim} and as {named[dim.name]}")
            low, high = dim.range
            dims[axis] = dim.expr if low != high else dim.min
        specs[name] = InputSpec(specs[name].dtype, tuple(dims))
    for spec in specs.values():
        for size in spec.shape:
            for symbol in shapes.symbols_of(size):
                if all(dim.symbol != symbol for dim in named.values()):
                    named[symbol] = Dim(symbol)
    return {dim.symbol: dim for dim in named.values()}


def _dim(name: str, given: Any) -> Dim:
    if isinstance(given, Dim):
        return given
    if not isinstance(given, str):
        raise ExportError(f"a dynamic dimension of input {name!r} is a {type(given).__name__}; give a name or a Dim")
    try:
        return Dim(given)
    except ValueError as error:
        raise ExportError(f"input {name!r}: {error}") from None


def _record(
    function: Callable, specs: Mapping[str, InputSpec], inputs: Mapping[str, Any], dims: Mapping[str, Dim]
) -> tuple[Recording, dict[int, str]]:
    """Record a run; refuse what would not hold elsewhere. Also gives a name for every captured tensor, by id."""
    recorder = Recorder("main", made_up=True)
    recorder.sizes.values.update(_example_sizes(dims))
    recorder.sizes.ranges.update({symbol: dim.range for symbol, dim in dims.items()})
    arguments: dict[str, Tensor] = {}
    for position, (name, spec) in enumerate(specs.items()):
        sizes = tuple(map(recorder.sizes.number, spec.shape))
        given = inputs[name]
        example = _resized(given._array, sizes) if isinstance(given, Tensor) else placeholder(sizes, spec.dtype)
        arguments[name] = wrap(example)
        recorder.add_root(arguments[name], name, Argument(position), spec.shape)
    try:
        with no_grad():
            _, recording = record(recorder, function, (), arguments, list(arguments.values()))
    except Exception as error:
        _refuse_sizes(recorder.sizes, dims, error)  # a size used as a number is why the shapes stop fitting
        if dims and isinstance(error, RuntimeError | ValueError | IndexError):
            raise ExportError(_failed(dims, recorder.sizes.values, error)) from error
        raise
    _refuse(recording)
    _refuse_sizes(recorder.sizes, dims)
    names = {id(tensor): name for name, tensor in _named_tensors(function)}
    for number in recording.generators:
        state = recording.roots[number].tensor
        names[id(state)] = RANDOM_STATE if state is default_generator._state else f"{RANDOM_STATE} {number}"
    for number, root in enumerate(recording.roots):
        if root.source is None:
            names.setdefault(id(root.tensor), f"constant{number}")
    return recording, names


def placeholder(sizes: tuple[int, ...], dtype: DType) -> np.ndarray:
    """What a function is recorded with where no example is given: zeros, which are positions in anything, or unit
    matrices, which have an inverse and factors."""
    array = np.zeros(sizes, dtype.numpy)
    if len(sizes) > 1 and sizes[-1] == sizes[-2] and not dtype.is_integer:
        array[..., range(sizes[-1]), range(sizes[-1])] = 1
    return array


def _resized(example: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """The example at the made-up sizes: repeated, or cut."""
    for axis, size in enumerate(sizes):
        have = example.shape[axis]
        if size != have:
            example = np.take(example, np.arange(size) % have, axis) if have else np.zeros(sizes, example.dtype)
    return np.array(example)


def _example_sizes(dims: Mapping[str, Dim]) -> dict[str, int]:
    """A number for each symbol, in its range and, where there is room, of no other symbol."""
    sizes: dict[str, int] = {}
    candidate = _FIRST_SIZE
    for symbol, dim in dims.items():
        low, high = dim.range
        sizes[symbol] = max(candidate, low or 0)
        if high is not None and sizes[symbol] > high:
            free = [n for n in range(high, max((low or 0) - 1, high - 64), -1) if n not in sizes.values()]
            sizes[symbol] = free[0] if free else high
        candidate = next(n for n in range(candidate + 1, 10**6) if all(n % k for k in range(2, n)))
    return sizes


def _refuse_sizes(sizes: Sizes, dims: Mapping[str, Dim], cause: Exception | None = None) -> None:
    """Raise ExportError where the recording does not hold for all sizes asked for."""
    for found in sizes.specializations:
        raise ExportError(_fixed(found, dims)) from cause
    for guard in sizes.guards:
        if not guard.needed or not decided(guard.difference, guard.relation, sizes.ranges):
            raise ExportError(_limited(guard, dims)) from cause


def _fixed(found: Specialization, dims: Mapping[str, Dim]) -> str:
    symbol = str(found.expr)
    name = _name(symbol, dims)
    if isinstance(found.value, int):
        return (
            f"{name} was used as the number {found.value} at {found.location}, so the graph would hold for that "
            f"size only; compute with the size itself (x.shape[0], x.reshape(-1, ...)), or give it as a number"
        )
    others = shapes.symbols_of(found.value)
    if all(other.startswith(symbol) for other in others):
        step = next(iter(found.value.terms))[0]
        return (
            f"{name} is taken to be {found.value} at {found.location}, so the graph would not hold for all sizes; say "
            f"which it is for, such as jitcore.Dim({name!r}, multiple_of={step}) in dynamic="
        )
    return (
        f"{name} must be {found.value} at {found.location}, so they cannot be chosen apart; give both dimensions the "
        f"same name, or give sizes as numbers"
    )


def _limited(guard: ShapeGuard, dims: Mapping[str, Dim]) -> str:
    names = [_name(symbol, dims) for symbol in shapes.symbols_of(guard.difference)]
    does = "an operation needs" if guard.needed else "Python decided by"
    return (
        f"{does} {guard} at {guard.location}, so the graph would not hold for all sizes; give a range in which that is "
        f"settled, such as jitcore.Dim({names[0]!r}, min=..., max=...) in dynamic="
    )


def _failed(dims: Mapping[str, Dim], values: Mapping[str, int], error: Exception) -> str:
    sizes = ", ".join(f"{dim.name} = {values.get(symbol, 0) * dim.multiple_of}" for symbol, dim in dims.items())
    lines = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not is_own_file(frame.f_code.co_filename)
    ]
    return (
        f"the function fails with {sizes}, as an archive's caller may choose, at {lines[-1] if lines else 'its call'}: "
        f"{error}. Give sizes that must be equal one name, and say what a size may be: "
        "dynamic={...: jitcore.Dim(name, min=, max=, multiple_of=)}"
    )


def _name(symbol: str, dims: Mapping[str, Dim]) -> str:
    """What the user calls a symbol."""
    dim = dims.get(symbol)
    return symbol if dim is None else dim.name if dim.multiple_of == 1 else f"{dim.name} // {dim.multiple_of}"


def _refuse(recording: Recording) -> None:
    """Raise ExportError where the recording holds only for the example, or changes something outside itself."""
    for read in recording.reads:
        raise ExportError(
            f"{read.kind}() of a tensor at {read.location} lets Python decide by a value that is known only when the "
            f"archive runs; compute with the tensor (where(condition, a, b)), or make the choice before exporting"
        )
    for number in set(recording.written) - set(recording.generators):
        root = recording.roots[number]
        raise ExportError(
            f"the function writes to a tensor outside itself at {root.location}, which an archive cannot keep; "
            f"call model.eval() before exporting, or return the new value instead"
        )
    if recording.problem is not None:
        raise ExportError(f"cannot be exported: {recording.problem}{advice(recording.problem)}")
    for piece in recording.pieces:
        if not isinstance(piece, FromOutput | FromRoot | Again) and piece != Static(None):
            what = repr(piece.value) if isinstance(piece, Static) else "a number that item() gave"
            raise ExportError(f"the function returns {what}, which no tensor of this run is; return tensors or None")
    if all(isinstance(piece, Static) for piece in recording.pieces):
        raise ExportError("the function returns no tensor; return what it computes")


def _named_tensors(function: Callable) -> list[tuple[str, Tensor]]:
    owner = function if isinstance(function, Module) else getattr(function, "__self__", None)
    if not isinstance(owner, Module):
        return []
    return [*owner.named_parameters(), *owner.named_buffers()]


__all__ = ["DEFAULT_TARGETS", "InputSpec", "export", "parse_input"]
