"""Branches and loops as the interpreter runs them: `CONTROL[spec](operation, prepare)` gives what runs one.

`prepare(block)` makes a block ready to be run: a function of its arguments and the symbols' values that gives what it
yields, in memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jitcore_ir import Block, Operation, OpSpec, ops
from jitcore_ir.shapes import evaluate

Arrays = Sequence[np.ndarray]
Symbols = Mapping[str, int]
Run = Callable[[Arrays, Symbols], list[np.ndarray]]
Prepare = Callable[[Block], Run]


def _cond(operation: Operation, prepare: Prepare) -> Run:
    then, otherwise = (prepare(region.block) for region in operation.regions)

    def run(operands: Arrays, symbols: Symbols) -> list[np.ndarray]:
        predicate, *given = operands
        return (then if predicate else otherwise)(given, symbols)

    return run


def _while(operation: Operation, prepare: Prepare) -> Run:
    condition, body = (prepare(region.block) for region in operation.regions)
    count = operation.attributes["carried"]

    def run(operands: Arrays, symbols: Symbols) -> list[np.ndarray]:
        carried, constant = list(operands[:count]), list(operands[count:])
        turns = 0
        while condition([*carried, *constant], symbols)[0]:
            carried = body([*carried, *constant], symbols)
            turns += 1
        return carried if turns else [array.copy() for array in carried]

    return run


def _scan(operation: Operation, prepare: Prepare) -> Run:
    body = prepare(operation.regions[0].block)
    length, reverse = operation.attributes["length"], operation.attributes["reverse"]
    first = operation.attributes["carried"]
    last = first + operation.attributes["scanned"]
    stacked = [value.type for value in operation.results[first:]]

    def run(operands: Arrays, symbols: Symbols) -> list[np.ndarray]:
        carried, scanned, constant = list(operands[:first]), operands[first:last], operands[last:]
        count = evaluate(length, symbols)
        collected = [np.empty([evaluate(d, symbols) for d in t.shape], t.dtype.numpy) for t in stacked]
        for turn in range(count):
            t = count - 1 - turn if reverse else turn
            given = body([*carried, *(array[t, ...] for array in scanned), *constant], symbols)
            carried = given[:first]
            for array, element in zip(collected, given[first:], strict=True):
                array[t] = element
        return [*(carried if count else [array.copy() for array in carried]), *collected]

    return run


CONTROL: dict[OpSpec, Callable[[Operation, Prepare], Run]] = {ops.COND: _cond, ops.WHILE: _while, ops.SCAN: _scan}
