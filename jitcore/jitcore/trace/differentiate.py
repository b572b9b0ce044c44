"""The backward pass of a recorded function whose result carries gradient history, as a program of its own.

Right after the forward run, the vector-Jacobian products of the result are recorded too, then cut off: what they need
of the forward values becomes extra forward outputs, except constants and views, which are cheap to make again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import Graph, Operation, Trait, Value, ops
from jitcore_runtime.executor import Executor

from ..autograd import Function, enable_grad, grad
from ..state import state
from ..tensor import Tensor, wrap
from .capture import Recording, whole_of
from .containers import flatten
from .sources import Entry, Number

_REMADE = (ops.CONSTANT, ops.IOTA, ops.SIZE)


@dataclass(frozen=True, slots=True)
class Seed:
    """A backward input: the gradient of differentiable output `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class FromForward:
    """A backward input: forward graph input (`is_input`) or output number `number`."""

    is_input: bool
    number: int


@dataclass(slots=True)
class Backward:
    """`outputs` are the forward outputs that carry gradients, `roots` the forward inputs that receive them."""

    outputs: list[int]
    roots: list[int]
    graph: Graph
    inputs: list[Seed | FromForward] = field(default_factory=list)
    has_gradient: list[bool] = field(default_factory=list)
    function: Callable | None = None
    executor: Executor | None = None

    def compile(self, function: Callable, compile_graph: Callable, native: bool) -> Backward:
        """Compile the backward graph; `function` is run again where the backward pass itself is differentiated."""
        self.function = function
        self.executor = Executor(compile_graph(self.graph), native)
        return self


def differentiate(recording: Recording) -> Backward | None:
    """Record the backward pass; None where the history is spent already (the function called backward itself).

    Extends `recording.values` by what the backward pass needs; `recording.graph` then holds the forward part alone.
    """
    recorder = recording.recorder
    assert recorder is not None
    count = len(recorder.roots)
    outputs = {number: tensor for tensor, number in recording.differentiable}
    receiving = [
        i for i, root in enumerate(recorder.roots)
        if not isinstance(root.source, Entry | Number) and root.tensor.requires_grad
    ]  # fmt: skip
    mark = len(recorder.graph.operations)
    seeds = [wrap(np.ones(t._array.shape, t._array.dtype)) for t in outputs.values()]
    for number, seed in enumerate(seeds):
        recorder.add_root(seed, f"gradient{number}", None)
    state.recorder = recorder
    try:
        inputs = [recorder.roots[i].tensor for i in receiving]
        found = grad(list(outputs.values()), inputs, seeds, retain_graph=True, allow_unused=True)
        values = [None if g is None else recorder.value_of(g) for g in found]
    except RuntimeError:
        values = None
    finally:
        state.recorder = None
    backward = None if values is None else _split(recording, mark, count, list(outputs), receiving, values)
    _cut(recorder.graph, mark, count)
    del recorder.roots[count:]
    return backward


def _split(
    recording: Recording,
    mark: int,
    count: int,
    outputs: list[int],
    receiving: list[int],
    values: Sequence[Value | None],
) -> Backward:
    joint = recording.graph
    graph = Graph(f"{joint.name}_backward")
    made = Backward(outputs, receiving, graph, has_gradient=[v is not None for v in values])
    arguments = {v: i for i, v in enumerate(joint.inputs)}
    order = {operation: i for i, operation in enumerate(joint.operations)}
    copies: dict[Value, Value] = {}

    def bring(value: Value) -> Value:
        """The backward graph's copy of a joint value; its operands have been brought before."""
        if value in copies:
            return copies[value]
        operation = value.operation
        if operation is not None and (order[operation] >= mark or _is_remade(operation)):
            operands = [bring(v) for v in operation.operands]
            copies[value] = graph.block.append(
                operation.spec, operands, operation.attributes, operation.location
            ).result
            return copies[value]
        if value in arguments:
            number = arguments[value]
            source: Seed | FromForward = Seed(number - count) if number >= count else FromForward(True, number)
        else:
            if value not in recording.values:
                recording.values.append(value)
            source = FromForward(False, recording.values.index(value))
        made.inputs.append(source)
        copies[value] = graph.block.add_argument(value.type, value.name)
        return copies[value]

    for operation in _needed(joint, mark, [v for v in values if v is not None]):
        bring(operation.result)
    graph.block.append(ops.RETURN, [bring(v) for v in values if v is not None])
    return made


def _needed(graph: Graph, mark: int, values: Sequence[Value]) -> list[Operation]:
    """The backward operations that `values` depend on, in order."""
    live = set(values)
    kept = []
    for operation in reversed(graph.operations[mark:]):
        if any(result in live for result in operation.results):
            live.update(operation.operands)
            kept.append(operation)
    return kept[::-1]


def _is_remade(operation: Operation) -> bool:
    return operation.spec in _REMADE or operation.spec.has(Trait.VIEW)


def _cut(graph: Graph, mark: int, count: int) -> None:
    for operation in reversed(graph.operations[mark:]):
        operation.erase_unchecked()
    del graph.block.arguments[count:]


@dataclass(slots=True)
class Call:
    """One forward call, for its backward."""

    backward: Backward
    arguments: tuple
    keywords: dict
    inputs: Sequence[Tensor]
    arrays: Sequence[np.ndarray]
    can_run_again: bool


class CompiledFunction(Function):
    """Attaches the outputs of a compiled call to the tape."""

    @staticmethod
    def forward(ctx: Any, call: Call, *receiving: Tensor) -> Any:
        ctx.call = call
        used = [call.inputs[s.number] for s in call.backward.inputs if isinstance(s, FromForward) and s.is_input]
        ctx.save_for_backward(*(used or receiving))
        return tuple(wrap(call.arrays[number]) for number in call.backward.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        call: Call = ctx.call
        ctx.saved_tensors  # noqa: B018  raises where an input was written since, or the history is spent
        if state.grad_enabled:
            return (None, *_run_again(call, gradients))
        assert call.backward.executor is not None
        arrays = []
        for source in call.backward.inputs:
            if isinstance(source, Seed):
                arrays.append(gradients[source.number]._array)
            else:
                arrays.append(call.inputs[source.number]._array if source.is_input else call.arrays[source.number])
        results = iter(call.backward.executor.run(arrays))
        return (None, *(wrap(next(results)) if there else None for there in call.backward.has_gradient))


def _run_again(call: Call, gradients: Sequence[Tensor]) -> Sequence[Any]:
    """Gradients that can be differentiated once more: by running the user's function eagerly."""
    if not call.can_run_again:
        raise RuntimeError(
            "double backward through a jitted function that writes tensors or draws random numbers: the function would "
            "have to run again; call it without jitcore.jit here"
        )
    assert call.backward.function is not None
    with enable_grad():
        result = call.backward.function(*call.arguments, **call.keywords)
        leaves = [whole_of(t) for t in flatten(result)[0] if isinstance(t, Tensor) and t.requires_grad]
        inputs = [call.inputs[i] for i in call.backward.roots]
        return grad(list(dict.fromkeys(leaves)), inputs, list(gradients), create_graph=True, allow_unused=True)
