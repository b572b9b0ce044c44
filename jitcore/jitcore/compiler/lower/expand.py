"""The graph that lowering works on: a copy without dead operations, with a few operations written in simpler ones.

    %p = argmax(%x) {axis = 1, keepdims = false} : i64[N]

becomes the smallest position whose element equals the largest (or is NaN): two loops that vectorize, where one that
carries value and position together does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitcore_ir import Graph, Location, Operation, OpSpec, Value, ops
from jitcore_ir.dtypes import bool_, int32, int64

from . import exact as exactly
from .parts import CALL_OUT_PARTS, holds_complex, split_complex

Numbers = dict[Operation, int]
Make = Callable[..., Value]
Rewrite = Callable[[Make, Operation, list[Value]], Value | None]


def expand(graph: Graph, exact: bool = False) -> tuple[Graph, Numbers]:
    """A new graph that computes the same, and the number in `graph` of the operation each of its operations is from.

    `exact`: to the bit; what native code would round otherwise than its NumPy kernel becomes a `call_out_parts`.
    """
    origin: Numbers | None = None
    if holds_complex(graph):
        graph, origin = split_complex(graph, exact)
    copy, numbers = Graph(graph.name), Numbers()
    values = {v: copy.block.add_argument(v.type, v.name) for v in graph.inputs}
    live = _live(graph)
    for number, operation in enumerate(graph.operations):
        if operation not in live:
            continue
        operands = [values[v] for v in operation.operands]
        make = _maker(copy, numbers, number, operation.location)
        if exact and not exactly.keeps_bits(operation):
            type = operation.result.type
            values[operation.result] = make(CALL_OUT_PARTS, *operands, dtype=type.dtype, shape=type.shape)
            continue
        rewrite = (exactly.REWRITES if exact else {}).get(operation.spec) or REWRITES.get(operation.spec)
        found = rewrite(make, operation, operands) if rewrite is not None else None
        if found is not None:
            values[operation.result] = found
            continue
        made = copy.block.append(operation.spec, operands, operation.attributes, operation.location)
        numbers[made] = number
        values.update(zip(operation.results, made.results, strict=True))
    for operation in reversed(copy.operations):
        if operation.results and not any(v.uses for v in operation.results):
            operation.erase()  # what a rewrite made needless
    if origin is not None:
        split = graph.operations
        numbers = {operation: origin[split[number]] for operation, number in numbers.items()}
    return copy, numbers


def _maker(copy: Graph, numbers: Numbers, number: int, location: Location) -> Make:
    def make(spec: OpSpec, *operands: Value, **attributes: Any) -> Value:
        made = copy.block.append(spec, operands, attributes, location)
        numbers[made] = number
        return made.result

    return make


def _live(graph: Graph) -> set[Operation]:
    live = {graph.block.terminator}
    for operation in reversed(graph.operations):
        if operation in live:
            live.update(v.operation for v in operation.operands if v.operation is not None)
    return live


def _extreme_position(largest: OpSpec) -> Rewrite:
    def rewrite(make: Make, operation: Operation, operands: list[Value]) -> Value:
        (x,), axis = operands, operation.attributes["axis"]
        size = x.type.shape[axis]
        dtype = int32 if isinstance(size, int) and size < 2**31 else int64
        best = make(largest, x, axes=(axis,), keepdims=True)
        hit = make(ops.EQ, x, best)
        if x.type.dtype.is_floating_point:
            hit = make(ops.BITWISE_OR, hit, make(ops.ISNAN, x))
        position = make(ops.IOTA, shape=x.type.shape, axis=axis, dtype=dtype)
        beyond = make(ops.CONSTANT, value=np.array(np.iinfo(dtype.numpy).max, dtype.numpy))
        places = make(ops.WHERE, hit, position, beyond)
        first = make(ops.AMIN, places, axes=(axis,), keepdims=operation.attributes["keepdims"])
        return first if dtype is int64 else make(ops.CAST, first, dtype=int64)

    return rewrite


def _plain_dot(make: Make, operation: Operation, operands: list[Value]) -> Value | None:
    """Integer and bool products as a multiply and a sum; floats have a generator of their own."""
    x, y = operands
    dtype = x.type.dtype
    if dtype.is_floating_point:
        return None
    *batch, rows, inner = x.type.shape
    columns = y.type.shape[-1]
    rank = len(batch)
    swapped = make(ops.PERMUTE, y, permutation=(*range(rank), rank + 1, rank))
    left = make(ops.RESHAPE, x, shape=(*batch, rows, 1, inner))
    right = make(ops.RESHAPE, swapped, shape=(*batch, 1, columns, inner))
    total = ops.AMAX if dtype is bool_ else ops.SUM
    if dtype is bool_ and inner == 0:
        return make(ops.BROADCAST_TO, make(ops.CONSTANT, value=np.array(False)), shape=(*batch, rows, columns))
    return make(total, make(ops.MUL, left, right), axes=(rank + 2,), keepdims=False)


def _transposed_dot(make: Make, operation: Operation, operands: list[Value]) -> Value | None:
    """permute(dot(x, y)) that swaps rows and columns is dot of y and x, both swapped: a product reads its operands in
    any order at no cost, and what follows it then runs along memory."""
    (x,), permutation = operands, operation.attributes["permutation"]
    product, rank = x.operation, x.type.rank
    swap = (*range(rank - 2), rank - 1, rank - 2)
    if product is None or product.spec is not ops.DOT or permutation != swap or len(operation.operands[0].uses) > 1:
        return None
    left, right = (make(ops.PERMUTE, v, permutation=swap) for v in reversed(product.operands))
    return make(ops.DOT, left, right)


def _small_power(make: Make, operation: Operation, operands: list[Value]) -> Value | None:
    """x**3, x**4 and 1 / x without a logarithm; other exponents differ from these forms for special values."""
    x, exponent = operands[0], operation.operands[1].operation
    if exponent is None or exponent.spec is not ops.CONSTANT or exponent.result.type.shape != ():
        return None
    power = exponent.attributes["value"].item()
    if power not in (3, 4, -1) or (power == -1 and not x.type.dtype.is_floating_point):
        return None
    if power == -1:
        return make(ops.DIV, make(ops.CONSTANT, value=np.ones((), x.type.dtype.numpy)), x)
    square = make(ops.MUL, x, x)
    return make(ops.MUL, square, x if power == 3 else square)


REWRITES: dict[OpSpec, Rewrite] = {
    ops.POW: _small_power,
    ops.ARGMAX: _extreme_position(ops.AMAX),
    ops.ARGMIN: _extreme_position(ops.AMIN),
    ops.DOT: _plain_dot,
    ops.PERMUTE: _transposed_dot,
}
