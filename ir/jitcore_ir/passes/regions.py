"""Operations with regions take only what they need, and give only what is used.

```
%w = permute(%v) {permutation = [1, 0]} : f32[2,3]       %y = scan(%c, %v) {...} { ^(%d: f32[4], %v: f32[3,2]):
%y, %zs = scan(%c, %w) {...} { ^(%d: f32[4], %u: ...):     %u = permute(%v) {permutation = [1, 0]} : f32[2,3]
  ...                                             ->       ...
  yield(%e, %z)                                            yield(%e)
}                                                        }
```

- constants, permutations and the like are computed inside, so that their users there see them
- operands that no region reads go, and one given twice is given once
- results that nobody uses go, where others do not depend on them: those of a `cond`, and stacked ones
- a carried value that stays as it is becomes an ordinary operand
- a `cond` whose predicate is a constant is what that branch does
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..clone import clone_operation
from ..graph import Block, Graph, Operation, Value
from ..spec import Trait
from .match import constant_of

_SOURCES = (ops.CONSTANT, ops.IOTA, ops.SIZE)
_MOVES = (ops.PERMUTE, ops.RESHAPE, ops.BROADCAST_TO)


def regions(graph: Graph) -> bool:
    """Simplify every operation with closed regions, inner ones first."""
    return _walk(graph.block)


regions.name = "regions"  # type: ignore[attr-defined]


def _walk(block: Block) -> bool:
    changed = False
    for operation in list(block.operations):
        if not operation.regions:
            continue
        for region in operation.regions:
            changed |= _walk(region.block)
        if operation.spec.has(Trait.CLOSED):
            steps = (_take_branch, _move_in, _keep_invariant, _merge_operands, _drop_operands, _drop_results)
            while operation.block is not None and any(step(operation) for step in steps):
                changed = True
    return changed


# Where operands are arguments


def _offset(operation: Operation) -> int:
    """The operand that is the first argument of each region."""
    return 1 if operation.spec is ops.COND else 0


def _constant_from(operation: Operation) -> int:
    """The first operand that is the same in every turn."""
    attributes = operation.attributes
    return _offset(operation) + attributes.get("carried", 0) + attributes.get("scanned", 0)


def _arguments(operation: Operation, position: int) -> list[Value]:
    """What an operand is in each region."""
    return [region.block.arguments[position - _offset(operation)] for region in operation.regions]


def _set_operands(operation: Operation, operands: Sequence[Value]) -> None:
    operands = list(operands)
    operation.drop_operands()
    operation.operands = operands
    for position, value in enumerate(operands):
        value.uses.append((operation, position))


def _remove_operand(operation: Operation, position: int) -> None:
    """Remove an operand whose arguments nothing uses."""
    for region in operation.regions:
        arguments = region.block.arguments
        del arguments[position - _offset(operation)]
        for index, argument in enumerate(arguments):
            argument.index = index
    _set_operands(operation, operation.operands[:position] + operation.operands[position + 1 :])


def _remove_result(operation: Operation, number: int) -> None:
    """Remove a result that nothing uses, and what gives it."""
    for region in operation.regions:
        end = region.block.terminator
        _set_operands(end, end.operands[:number] + end.operands[number + 1 :])
    del operation.results[number]
    for index, value in enumerate(operation.results):
        value.index = index


# The steps: each does one thing and says whether it did


def _take_branch(operation: Operation) -> bool:
    """A branch on a constant: its operations stand where the `cond` stood."""
    predicate = constant_of(operation.operands[0]) if operation.spec is ops.COND else None
    if predicate is None or operation.block is None:
        return False
    taken = operation.regions[0 if predicate else 1].block
    copies: dict[Value, Value] = dict(zip(taken.arguments, operation.operands[1:], strict=True))
    block = operation.block
    for inner in taken.operations[:-1]:
        block.insert_before(operation, clone_operation(inner, copies))
    for result, given in zip(operation.results, taken.terminator.operands, strict=True):
        result.replace_all_uses_with(copies[given])
    operation.erase()
    return True


def _move_in(operation: Operation) -> bool:
    """A constant, or a view of memory, that is made again in each region costs nothing there."""
    for position in range(_constant_from(operation), len(operation.operands)):
        source = operation.operands[position].operation
        if source is None or not _is_free(source):
            continue
        for region, argument in zip(operation.regions, _arguments(operation, position), strict=True):
            copies = {v: region.block.add_argument(v.type, v.name) for v in source.operands}
            copy = clone_operation(source, copies)
            copy.block = region.block
            region.block.operations.insert(0, copy)
            argument.replace_all_uses_with(copy.result)
        _set_operands(operation, [*operation.operands, *source.operands])
        _remove_operand(operation, position)
        return True
    return False


def _is_free(operation: Operation) -> bool:
    if operation.spec is not ops.RESHAPE:
        return operation.spec in (*_SOURCES, *_MOVES)
    source = operation.operands[0].operation  # of elements in another order it would be a copy in each turn
    return source is None or source.spec not in (ops.PERMUTE, ops.BROADCAST_TO)


def _keep_invariant(operation: Operation) -> bool:
    """A carried value that the body gives back as it is."""
    body = operation.regions[-1].block
    for number in range(operation.attributes.get("carried", 0)):
        if body.terminator.operands[number] is not body.arguments[number]:
            continue
        operation.results[number].replace_all_uses_with(operation.operands[number])
        for region in operation.regions:
            arguments = region.block.arguments
            added = region.block.add_argument(arguments[number].type, arguments[number].name)
            arguments[number].replace_all_uses_with(added)
        end = body.terminator
        _set_operands(end, end.operands[:number] + end.operands[number + 1 :])
        del operation.results[number]
        for index, value in enumerate(operation.results):
            value.index = index
        _set_operands(operation, [*operation.operands, operation.operands[number]])
        _remove_operand(operation, number)
        operation.attributes["carried"] -= 1
        return True
    return False


def _merge_operands(operation: Operation) -> bool:
    first: dict[Value, int] = {}
    for position in range(_constant_from(operation), len(operation.operands)):
        value = operation.operands[position]
        if value in first:
            kept = _arguments(operation, first[value])
            for argument, other in zip(_arguments(operation, position), kept, strict=True):
                argument.replace_all_uses_with(other)
            _remove_operand(operation, position)
            return True
        first[value] = position
    return False


def _drop_operands(operation: Operation) -> bool:
    carried = operation.attributes.get("carried", 0)
    for position in range(_offset(operation) + carried, len(operation.operands)):
        if any(argument.uses for argument in _arguments(operation, position)):
            continue
        if position < _constant_from(operation):
            operation.attributes["scanned"] -= 1
        _remove_operand(operation, position)
        return True
    return False


def _drop_results(operation: Operation) -> bool:
    if operation.spec is ops.WHILE:
        return False
    for number in range(operation.attributes.get("carried", 0), len(operation.results)):
        if not operation.results[number].uses:
            _remove_result(operation, number)
            return True
    return False
