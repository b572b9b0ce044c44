"""Runs a graph with the NumPy kernels: what happens where there is no native code, and what it must agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir import Graph, IRError, Location, Operation, TensorType, Trait, Value, ops
from jitcore_ir.custom_call import called_name
from jitcore_ir.dtypes import from_numpy
from jitcore_ir.shapes import Expr, evaluate, is_static
from jitcore_ir.spec import OpSpec

from .control import CONTROL, Run
from .errors import OperationFailed
from .kernels import KERNELS
from .signature import Signature


def interpret(graph: Graph, arrays: Sequence[np.ndarray], symbols: Mapping[str, int] | None = None) -> list[np.ndarray]:
    """The graph's outputs for these inputs, as row-major arrays that share no memory with anything.

    `symbols` are found from the inputs' shapes where they are not given. Raises InputError for inputs that do not fit,
    what a kernel raises (IndexError, ZeroDivisionError, ShapeError) with the user's file and line added, and
    OperationFailed for other errors of a kernel.
    """
    if symbols is None:
        symbols = Signature.of(graph).bind(arrays)
    return Interpreter(graph).run(arrays, symbols)


@dataclass(slots=True)
class _Step:
    """One operation: which slots it reads, writes, and which hold nothing needed after it. `symbolic` names attributes
    with symbols in them; `unchecked`: the rule could not check every dim, for want of a value; `control` runs an
    operation with regions."""

    spec: OpSpec
    kernel: Callable[..., np.ndarray] | None
    control: Run | None
    operands: tuple[int, ...]
    results: tuple[int, ...]
    attributes: dict[str, Any]
    symbolic: tuple[str, ...]
    unchecked: bool
    dead: tuple[int, ...]
    location: Location


class Interpreter:
    """A graph made ready to be run many times. `outputs` limits what is computed; default: the graph's outputs."""

    def __init__(self, graph: Graph, outputs: Sequence[Value] | None = None) -> None:
        wanted = list(graph.outputs if outputs is None else outputs)
        operations = _needed(graph, wanted)
        slots = {id(v): n for n, v in enumerate(graph.inputs)}
        for operation in operations:
            for value in operation.results:
                slots[id(value)] = len(slots)
        self._inputs = len(graph.inputs)
        self._slots = len(slots)
        self._steps = [_step(o, slots, dead) for o, dead in zip(operations, _last_uses(operations, wanted, slots))]
        self._outputs = [(slots[id(v)], copied) for v, copied in zip(wanted, _must_copy(wanted))]

    def run(self, arrays: Sequence[np.ndarray], symbols: Mapping[str, int]) -> list[np.ndarray]:
        """The outputs, each row-major and in memory of its own. Inputs are only read."""
        values: list[Any] = [None] * self._slots
        values[: self._inputs] = arrays
        for step in self._steps:
            operands = [values[slot] for slot in step.operands]
            attributes = step.attributes
            if step.control is not None:  # errors inside know their own place
                for slot, array in zip(step.results, step.control(operands, symbols), strict=True):
                    values[slot] = array
                for slot in step.dead:
                    values[slot] = None
                continue
            try:
                if step.unchecked:
                    attributes = _bound(step, operands, symbols)
                values[step.results[0]] = step.kernel(*operands, **attributes)  # type: ignore[misc]
            except Exception as error:
                if step.spec is ops.CUSTOM_CALL or not isinstance(error, (IndexError, ZeroDivisionError, IRError)):
                    name = called_name(step.spec.name, attributes)
                    raise OperationFailed(name, str(step.location or ""), error) from error
                if not step.location.line:
                    raise
                raise type(error)(f"{error}; at {step.location}") from error
            for slot in step.dead:
                values[slot] = None
        return [_owned(values[slot], copied) for slot, copied in self._outputs]


def _step(operation: Operation, slots: Mapping[int, int], dead: tuple[int, ...]) -> _Step:
    spec = operation.spec
    operands = tuple(slots[id(v)] for v in operation.operands)
    results = tuple(slots[id(v)] for v in operation.results)
    if spec in CONTROL:
        control = CONTROL[spec](operation, lambda block: Interpreter(Graph(spec.name, block)).run)
        return _Step(spec, None, control, operands, results, {}, (), False, dead, operation.location)
    if spec not in KERNELS:
        raise NotImplementedError(f"{spec.name} has no NumPy kernel; it is used at {operation.location}")
    symbolic = tuple(name for name, value in operation.attributes.items() if _has_symbols(value))
    dynamic = any(isinstance(v.type, TensorType) and not is_static(v.type.shape) for v in operation.operands)
    # Elementwise shapes hold for every value of the symbols, or NumPy refuses to broadcast them.
    unchecked = bool(symbolic) or (dynamic and not spec.has(Trait.ELEMENTWISE))
    kernel, attributes = KERNELS[spec], operation.attributes
    return _Step(spec, kernel, None, operands, results, attributes, symbolic, unchecked, dead, operation.location)


def _needed(graph: Graph, wanted: Sequence[Value]) -> list[Operation]:
    """The operations that the wanted values depend on, in order."""
    needed: set[int] = set()
    waiting = [v.operation for v in wanted]
    while waiting:
        operation = waiting.pop()
        if operation is not None and id(operation) not in needed:
            needed.add(id(operation))
            waiting.extend(v.operation for v in operation.operands)
    # An operation with an effect would have to run even where nothing uses it; graphs have none but their terminator.
    return [o for o in graph.operations if id(o) in needed]


def _last_uses(
    operations: Sequence[Operation], wanted: Sequence[Value], slots: Mapping[int, int]
) -> list[tuple[int, ...]]:
    """For each operation, the slots whose values nothing needs after it."""
    alive = {slots[id(v)] for v in wanted}
    result = []
    for operation in reversed(operations):
        touched = {slots[id(v)] for v in (*operation.operands, *operation.results)}
        result.append(tuple(sorted(touched - alive)))
        alive |= touched
    return result[::-1]


def _must_copy(wanted: Sequence[Value]) -> list[bool]:
    """Which outputs are, or may be views of, an input, a constant or an output before them."""
    taken: set[int] = set()
    result = []
    for value in wanted:
        root = value
        while root.operation is not None and root.operation.spec.has(Trait.VIEW):
            root = root.operation.operands[0]
        borrowed = root.operation is None or root.operation.spec is ops.CONSTANT
        result.append(borrowed or id(root) in taken)
        taken.add(id(root))
    return result


def _owned(array: np.ndarray, copied: bool) -> np.ndarray:
    if copied or array.base is not None or not array.flags.c_contiguous:
        return array.copy()
    return array


def _has_symbols(value: Any) -> bool:
    return isinstance(value, Expr) or (isinstance(value, tuple) and any(isinstance(v, Expr) for v in value))


def _bound(step: _Step, operands: Sequence[np.ndarray], symbols: Mapping[str, int]) -> dict[str, Any]:
    """The attributes with symbols replaced, after asking the rule again about dims that had no value before."""
    attributes = dict(step.attributes)
    for name in step.symbolic:
        value = attributes[name]
        is_tuple = isinstance(value, tuple)
        attributes[name] = tuple(evaluate(v, symbols) for v in value) if is_tuple else evaluate(value, symbols)
    types = tuple(TensorType(from_numpy(a.dtype), a.shape) for a in operands)
    step.spec.infer(types, attributes)
    return attributes
