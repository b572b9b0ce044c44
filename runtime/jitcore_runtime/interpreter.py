"""Running a graph with the NumPy kernels, one operation after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jitcore_ir.graph import Graph, Operation, Value
from jitcore_ir.shapes import Expr, evaluate
from jitcore_ir.spec import Kind

from .kernels import KERNELS
from .signature import bind_symbols

_SYMBOLIC = (Kind.DIM, Kind.DIMS)


def interpret(graph: Graph, arrays: Sequence[np.ndarray], symbols: Mapping[str, int] | None = None) -> list[np.ndarray]:
    """The graph's outputs for these inputs. A value is dropped after its last use.

    `symbols` gives the values of symbols; without it they are found in the inputs' shapes. Raises InputError for inputs
    that do not fit, IndexError and ZeroDivisionError as the operations do, with the user's line.
    """
    if symbols is None:
        symbols = bind_symbols(graph, arrays)
    values: dict[Value, np.ndarray] = dict(zip(graph.inputs, arrays, strict=True))
    for operation, dead in _schedule(graph):
        operands = [values[v] for v in operation.operands]
        attributes = concrete_attributes(operation, symbols)
        try:
            values[operation.results[0]] = KERNELS[operation.spec](*operands, **attributes)
        except (IndexError, ZeroDivisionError, ValueError) as error:
            where = f"; at {operation.location}" if operation.location.line else ""
            raise type(error)(f"{error}{where}") from error
        for value in dead:
            del values[value]
    return [values[v] for v in graph.outputs]


def concrete_attributes(operation: Operation, symbols: Mapping[str, int]) -> dict[str, Any]:
    """The operation's attributes with every dim as an int."""
    kinds = operation.spec.attributes
    return {
        name: _concrete(value, symbols) if kinds[name] in _SYMBOLIC else value
        for name, value in operation.attributes.items()
    }


def _concrete(value: Any, symbols: Mapping[str, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(evaluate(d, symbols) if isinstance(d, Expr) else d for d in value)
    return evaluate(value, symbols) if isinstance(value, Expr) else value


def _schedule(graph: Graph) -> list[tuple[Operation, list[Value]]]:
    """The operations in order, each with the values that nothing needs after it."""
    last: dict[Value, Operation] = {}
    operations = [o for o in graph.operations if o is not graph.block.terminator]
    for operation in operations:
        for value in (*operation.operands, *operation.results):
            last[value] = operation
    kept = set(graph.outputs)
    dead: dict[Operation, list[Value]] = {}
    for value, operation in last.items():
        if value not in kept:
            dead.setdefault(operation, []).append(value)
    return [(operation, dead.get(operation, [])) for operation in operations]
