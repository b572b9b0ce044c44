"""Fixed offsets move out of a finished kernel, so that kernels over different parts of a buffer become equal.

    load(%x, 7, %i)          of buffer<f32[20,64]>, at every use    ->  load(%x, %i) of buffer<f32[64]> from element 448
    load(%x, %i, add(%j, 64)) of buffer<f32[8,192]>, at every use   ->  load(%x, %i, %j) from element 64

Step 7 of a recurrence is then the same kernel as step 8, and the three parts of a packed projection share one too.
"""

from __future__ import annotations

from jitcore_ir import BufferType, Graph, Operation, Value, ops
from jitcore_ir.shapes import Expr, add, mul, product

from ..loops.ops import CHECK_INDEX, LOAD, STORE
from .index import Dim


def peel_offsets(graph: Graph) -> list[Dim]:
    """Rewrite a kernel in place; gives how many elements into its buffer each input now starts."""
    offsets: list[Dim] = [0] * len(graph.inputs)
    for number, buffer in enumerate(graph.inputs):
        if all(user.spec in (LOAD, STORE) and position == _place_of_buffer(user) for user, position in buffer.uses):
            offsets[number] = add(_peel_leading(buffer), _peel_added(buffer))
    _drop_unused(graph)
    return offsets


def _peel_leading(buffer: Value) -> Dim:
    """Remove leading axes at which every use has the same constant."""
    offset: Dim = 0
    while buffer.type.shape and buffer.uses:
        indices = {user.operands[_place_of_buffer(user) + 1] for user, _ in buffer.uses}
        constant = _constant(next(iter(indices)))
        if len(indices) != 1 or constant is None:
            break
        rest = buffer.type.shape[1:]
        offset = add(offset, mul(constant, product(rest)))
        for user in dict.fromkeys(user for user, _ in buffer.uses):
            _remove_operand(user, _place_of_buffer(user) + 1)
        buffer.type = BufferType(buffer.type.dtype, rest)
    return offset


def _peel_added(buffer: Value) -> Dim:
    """Take away a constant that every use adds to its index at an axis."""
    offset: Dim = 0
    users = list(dict.fromkeys(user for user, _ in buffer.uses))
    for axis in range(buffer.type.rank):
        places = [(user, _place_of_buffer(user) + 1 + axis) for user in users]
        sums = [user.operands[place].operation for user, place in places]
        constants = {o.operands[1] if o is not None and o.spec is ops.ADD else None for o in sums}
        constant = _constant(next(iter(constants))) if len(constants) == 1 else None
        if constant is None or not all(_natural(o.operands[0]) for o in sums if o is not None):
            continue
        offset = add(offset, mul(constant, product(buffer.type.shape[axis + 1 :])))
        for user, place in places:
            index = user.operands[place].operation
            assert index is not None
            user.set_operand(place, index.operands[0])
    return offset


def _place_of_buffer(user: Operation) -> int:
    return 0 if user.spec is LOAD else 1


def _constant(value: Value | None) -> Dim | None:
    """The dim that an index is, if it is never negative."""
    operation = value.operation if value is not None else None
    if operation is None or operation.spec not in (ops.CONSTANT, ops.SIZE):
        return None
    dim = operation.attributes["dim"] if operation.spec is ops.SIZE else int(operation.attributes["value"])
    terms = dim.terms if isinstance(dim, Expr) else ((dim, ()),)
    return dim if all(coefficient >= 0 for coefficient, _ in terms) else None


def _natural(value: Value) -> bool:
    """True for an index that is plainly never negative, so that it remains an index without the constant."""
    operation = value.operation
    if operation is None or operation.spec is CHECK_INDEX:
        return True
    if operation.spec in (ops.ADD, ops.MUL, ops.FLOOR_DIVIDE, ops.REMAINDER):
        return all(_natural(v) for v in operation.operands)
    return _constant(value) is not None


def _remove_operand(operation: Operation, position: int) -> None:
    operands = list(operation.operands)
    del operands[position]
    operation.drop_operands()
    operation.operands = operands
    for place, value in enumerate(operands):
        value.uses.append((operation, place))


def _drop_unused(graph: Graph) -> None:
    """Erase index arithmetic that nothing needs any more."""
    for operation in reversed(list(graph.walk())):
        unused = operation.results and not any(v.uses for v in operation.results)
        if unused and not operation.regions and operation.spec in (ops.ADD, ops.MUL, ops.CONSTANT, ops.SIZE):
            operation.erase()
