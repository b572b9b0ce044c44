"""Calls of custom operations: eager, recorded, mapped by vmap, differentiated."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import TensorType, ops
from jitcore_ir.custom_call import NumberAt, TensorAt, fill, write_arguments, write_results
from jitcore_ir.dtypes import DType, float64, int64
from jitcore_runtime.custom import registered

from ..autograd.function import Function
from ..autograd.modes import no_grad
from ..autograd.tape import edge_of
from ..autograd.vjps.custom import no_formula
from ..dispatch import apply
from ..errors import ExportError
from ..ops.creation import tensor
from ..source import restore_profile, user_location
from ..specs import TensorSpec
from ..state import state
from ..symbolic import SymInt
from ..tensor import Tensor, dtype_of, shape_of, wrap
from ..trace.numbers import RecordedNumber
from .numba_functions import annotation_of

Result = tuple[DType, tuple[Any, ...]]
"""Dtype and shape of a result; sizes may be symbolic."""


@dataclass(eq=False, slots=True)
class Definition:
    """What is known of an operation: its rules. The runtime's registry has what computes it."""

    name: str
    version: int
    signature: inspect.Signature
    rule: Callable[..., Any] | None = None
    backward: Callable[..., Any] | None = None
    setup_context: Callable[..., Any] | None = None
    vmap: Callable[..., Any] | None = None
    is_native: bool = False
    is_numba: bool = False
    kinds: dict[str, str] = field(init=False)
    """Parameters that are numbers, by their annotations."""

    def __post_init__(self) -> None:
        parameters = self.signature.parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"custom_op {self.name}: parameters such as {parameter} are not offered; name each one")
        self.kinds = {p.name: annotation_of(p) for p in parameters if annotation_of(p) in ("float", "int", "bool")}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `arguments` are all of them in order, with `TensorAt` for tensors and tuples for lists. `numbers` are
    those that the recording does not know, by the operands that hold them."""

    definition: Definition
    arguments: tuple[Any, ...]
    numbers: Mapping[int, Any]

    def filled(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments as the user gave them."""
        return fill(self.arguments, tensors.__getitem__, self.numbers.__getitem__)


def call(definition: Definition, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Call the operation. Raises TypeError for arguments that do not fit its signature or cannot be stored."""
    try:
        bound = definition.signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise TypeError(f"{definition.name}{definition.signature}: {error}") from None
    bound.apply_defaults()
    tensors: list[Tensor] = []
    numbers: dict[int, Any] = {}
    values = [
        _argument(definition, _of_kind(definition, definition.kinds.get(name), name, value), tensors, numbers)
        for name, value in bound.arguments.items()
    ]
    made = Call(definition, tuple(values), numbers)
    if state.batching is None and not (state.grad_enabled and any(edge_of(x) is not None for x in tensors)):
        return execute(made, tensors)
    return _function_class(definition).apply(made, *tensors)


def execute(made: Call, tensors: Sequence[Tensor]) -> Any:
    """Run a call below autograd; under a recorder each result comes from a `custom_call` operation."""
    definition = made.definition
    if state.recorder is None:
        results = None
        if definition.is_native and definition.rule is not None:
            results = [_type(r) for r in result_types(made, tensors)]
        op = registered(definition.name, definition.version)
        arrays = op.run([x._array for x in tensors], made.arguments, results)
        return _one_or_all([wrap(a) for a in arrays])
    types = result_types(made, tensors)
    attributes = {
        "name": definition.name,
        "version": definition.version,
        "arguments": write_arguments(made.arguments),
        **write_results(types),
    }
    packed: dict[DType, Tensor] = {}
    for dtype in dict.fromkeys(dtype for dtype, _ in types):
        with unwatched():
            packed[dtype] = apply(ops.CUSTOM_CALL, tensors, {**attributes, "dtype": dtype})
    if len(types) == 1:
        return next(iter(packed.values()))
    starts: dict[DType, Any] = dict.fromkeys(packed, 0)
    taken = []
    for dtype, shape in types:
        size: Any = 1
        for n in shape:
            size = size * n
        part = {"starts": (starts[dtype],), "sizes": (size,), "steps": (1,)}
        taken.append(apply(ops.RESHAPE, (apply(ops.SLICE, (packed[dtype],), part),), {"shape": tuple(shape)}))
        starts[dtype] = starts[dtype] + size
    return tuple(taken)


def result_types(made: Call, tensors: Sequence[Tensor]) -> list[Result]:
    """Dtypes and shapes of the results: by the shape rule, or as one run of the function gives them."""
    definition = made.definition
    if definition.rule is not None:
        with no_grad():
            given = definition.rule(*made.filled(tensors))
        parts = given if isinstance(given, tuple | list) else (given,)
        return [_described(definition, part) for part in parts]
    if state.batching is not None:
        batching = state.batching
        rows = [x if batching.batch_of(x) is None else batching.batch_of(x) for x in tensors]
        with batching.outside():
            return result_types(made, [row if row is x else row[0] for x, row in zip(tensors, rows)])  # type: ignore[index]
    for x in tensors:
        if any(isinstance(n, SymInt) for n in shape_of(x)):
            _refuse_symbols(definition, x)
    with unwatched():
        arrays = registered(definition.name, definition.version).run([x._array for x in tensors], made.arguments, None)
    return [(dtype_of(a.dtype), a.shape) for a in arrays]


@contextlib.contextmanager
def outside_everything() -> Iterator[None]:
    """Run user code that recordings, vmap and autograd are not to see."""
    kept = state.recorder, state.batching, state.grad_enabled, state.autocast, state.saved_hooks
    state.recorder = state.batching = state.autocast = state.saved_hooks = None
    state.grad_enabled = False
    try:
        yield
    finally:
        state.recorder, state.batching, state.grad_enabled, state.autocast, state.saved_hooks = kept


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Run the operation without the hook that looks for Python state: what it does is its own business."""
    profile = sys.getprofile()
    sys.setprofile(None)
    try:
        yield
    finally:
        restore_profile(profile)


class CustomOpFunction(Function):
    """The tape step and the vmap rule of a custom operation: `apply(call, *tensors)`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(made: Call, *tensors: Tensor) -> Any:
        return execute(made, tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        made, *tensors = inputs
        ctx._call = made
        if made.definition.setup_context is not None:
            made.definition.setup_context(ctx, made.filled(tensors), output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        made: Call = ctx._call
        definition = made.definition
        if definition.backward is None:
            no_formula(definition.name)
        needs = ctx.needs_input_grad
        ctx.needs_input_grad = _per_argument(made.arguments, needs[1:])
        try:
            found = definition.backward(ctx, *grads)
        finally:
            ctx.needs_input_grad = needs
        return None, *_flat_gradients(made, found)


def _function_class(definition: Definition) -> type[CustomOpFunction]:
    members: dict[str, Any] = {}
    if definition.vmap is not None:
        members = {"generate_vmap_rule": False, "vmap": staticmethod(_mapped)}
    return type(definition.name.replace("::", "_"), (CustomOpFunction,), members)


def _mapped(info: Any, in_dims: tuple, made: Call, *tensors: Any) -> Any:
    assert made.definition.vmap is not None
    return made.definition.vmap(info, _per_argument(made.arguments, in_dims[1:], None), *made.filled(tensors))


def _per_argument(arguments: Any, values: Sequence[Any], other: Any = False) -> tuple[Any, ...]:
    """The values of tensors in the structure of the arguments, `other` for what is no tensor."""
    return tuple(
        values[a.index]
        if isinstance(a, TensorAt)
        else list(_per_argument(a, values, other))
        if isinstance(a, tuple)
        else other
        for a in arguments
    )


def _flat_gradients(made: Call, found: Any) -> list[Any]:
    """Gradients of the tensors, out of those of the arguments."""
    name, arguments = made.definition.name, made.arguments
    gradients = tuple(found) if isinstance(found, tuple | list) and len(arguments) != 1 else found
    if len(arguments) == 1 and not (isinstance(found, tuple) and len(found) == 1):
        gradients = (found,)
    if not isinstance(gradients, tuple) or len(gradients) != len(arguments):
        count = len(gradients) if isinstance(gradients, tuple) else 1
        raise RuntimeError(
            f"the backward of {name} returned {count} gradients, expected {len(arguments)}, one an argument"
        )
    flat: list[Any] = []

    def take(argument: Any, gradient: Any) -> None:
        if isinstance(argument, TensorAt):
            flat.append(gradient)
        elif isinstance(argument, NumberAt) and gradient is None:
            flat.append(None)
        elif isinstance(argument, tuple):
            parts = [None] * len(argument) if gradient is None else gradient
            if not isinstance(parts, tuple | list) or len(parts) != len(argument):
                raise RuntimeError(f"the backward of {name} must return a list of {len(argument)} for that argument")
            for inner, part in zip(argument, parts):
                take(inner, part)
        elif gradient is not None:
            raise RuntimeError(f"the backward of {name} returned a gradient for {argument!r}, which is no tensor")

    for argument, gradient in zip(arguments, gradients):
        take(argument, gradient)
    return flat


def _of_kind(definition: Definition, kind: str | None, name: str, value: Any) -> Any:
    """A number as its parameter's annotation says."""
    if type(value) is RecordedNumber and state.recorder is None:
        value = float(value) if isinstance(value, float) else int(value)
    if kind == "float" and isinstance(value, int | SymInt) and not isinstance(value, bool):
        return float(int(value))
    if kind in ("int", "bool") and isinstance(value, float):
        raise TypeError(f"{definition.name}: {name} is {value!r}, but its annotation says {kind}")
    return value


def _argument(definition: Definition, value: Any, tensors: list[Tensor], numbers: dict[int, Any]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return TensorAt(len(tensors) - 1)
    if isinstance(value, list | tuple):
        if definition.is_numba:
            raise TypeError(f"{definition.name}: a function that numba compiled takes tensors and numbers, not lists")
        return tuple(_argument(definition, v, tensors, numbers) for v in value)
    if type(value) is SymInt or type(value) is RecordedNumber:
        numbers[len(tensors)] = value
        tensors.append(tensor(value, dtype=float64 if isinstance(value, float) else int64))
        return NumberAt(len(tensors) - 1)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str | DType):
        return value
    raise TypeError(
        f"{definition.name}: an argument is a {type(value).__name__}; a custom operation takes tensors, numbers, "
        "bools, strings, dtypes, None, and lists of these"
    )


def _described(definition: Definition, part: Any) -> Result:
    if isinstance(part, Tensor):
        return part.dtype, tuple(shape_of(part))
    if isinstance(part, TensorSpec):
        return part.dtype, part.shape
    raise TypeError(
        f"the shape rule of {definition.name} gave a {type(part).__name__}; return a tensor or TensorSpec for each "
        "result"
    )


def _type(result: Result) -> TensorType:
    dtype, shape = result
    return TensorType(dtype, tuple(int(d) for d in shape))


def _refuse_symbols(definition: Definition, x: Tensor) -> None:
    """Without a rule a recording holds for the very sizes it has seen."""
    assert state.recorder is not None
    if state.recorder.made_up:
        shape = ", ".join(str(n.expr if isinstance(n, SymInt) else n) for n in shape_of(x))
        raise ExportError(
            f"{definition.name} has no shape rule, so the size of its result cannot follow that of an input of shape "
            f"[{shape}], at {user_location()}; give it one with register_fake"
        )
    for n in shape_of(x):
        int(n)


def _one_or_all(made: list[Tensor]) -> Any:
    return made[0] if len(made) == 1 else tuple(made)
