"""Branches and loops, whose bodies are regions.

```
%y = cond(%p, %x) : f32[N] { ^(%a: f32[N]):          %c, %ys = scan(%c0, %xs, %w) {length = T, carried = 1, ...}
  %s = sin(%a) : f32[N]                                  : f32[4], f32[T,4] { ^(%c: f32[4], %x: f32[4], %w: f32[4]):
  yield(%s)                                            ...
} { ^(%b: f32[N]):                                     yield(%next, %y)
  yield(%b)                                          }
}
```

Regions are closed (`Trait.CLOSED`): whatever a body reads is one of its arguments, so that an operation with regions
depends on its operands alone, like any other. The types of the results follow from the regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..assumptions import at_least, equal
from ..dtypes import bool_
from ..errors import ShapeError, VerificationError
from ..shapes import Dim
from ..spec import Kind, OpSpec, Trait, register
from ..types import TensorType, Type

if TYPE_CHECKING:
    from ..graph import Block, Operation, Region

__all__ = ["COND", "SCAN", "WHILE"]

_PREDICATE = TensorType(bool_)
Types = tuple[Any, ...]


def _of_regions(types: Types, attributes: Mapping[str, Any]) -> Types:
    raise ShapeError("the results of an operation with regions follow from its regions")


def _cond_results(types: Types, attributes: Mapping[str, Any], regions: Sequence[Region]) -> Types:
    if types[0] != _PREDICATE:
        raise ShapeError(f"cond: the predicate is {types[0]}, not {_PREDICATE}")
    return tuple(v.type for v in regions[0].block.terminator.operands)


def _check_cond(operation: Operation) -> None:
    takes = [v.type for v in operation.operands[1:]]
    gives = [v.type for v in operation.results]
    for number, region in enumerate(operation.regions):
        _check_block(operation, number, region.block, takes, gives)


COND = register(
    OpSpec(
        "cond",
        ("predicate", "*operands"),
        _of_regions,
        {},
        """Where the predicate holds, what the first region gives for the operands, else what the second gives. Only
        that region runs.""",
        Trait.CLOSED,
        regions=2,
        check=_check_cond,
        infer_regions=_cond_results,
    )
)


def _carried(name: str, types: Types, carried: int, scanned: int = 0) -> None:
    if min(carried, scanned) < 0 or carried + scanned > len(types):
        raise ShapeError(f"{name}: {carried} carried and {scanned} scanned operands, of {len(types)}")


def _while_results(types: Types, attributes: Mapping[str, Any], regions: Sequence[Region]) -> Types:
    carried = attributes["carried"]
    _carried("while", types, carried)
    return types[:carried]


def _check_while(operation: Operation) -> None:
    takes = [v.type for v in operation.operands]
    condition, body = (region.block for region in operation.regions)
    _check_block(operation, 0, condition, takes, [_PREDICATE])
    _check_block(operation, 1, body, takes, [v.type for v in operation.results])


WHILE = register(
    OpSpec(
        "while",
        ("*operands",),
        _of_regions,
        {"carried": Kind.INT},
        """While the first region gives true, the second gives the next values of the first `carried` operands; the
        results are the last ones. The other operands are the same in each turn.""",
        Trait.CLOSED,
        regions=2,
        check=_check_while,
        infer_regions=_while_results,
    )
)


def _scan_results(types: Types, attributes: Mapping[str, Any], regions: Sequence[Region]) -> Types:
    length, carried, scanned = (attributes[name] for name in ("length", "carried", "scanned"))
    _carried("scan", types, carried, scanned)
    if not at_least(length, 0):
        raise ShapeError(f"scan: over {length} steps")
    for type in types[carried : carried + scanned]:
        if not type.shape or not equal(type.shape[0], length):
            raise ShapeError(f"scan: over {length} steps, but an operand is {type}")
    gives: Sequence[Type] = [v.type for v in regions[0].block.terminator.operands]
    return (*types[:carried], *(_stacked(type, length) for type in gives[carried:]))


def _check_scan(operation: Operation) -> None:
    carried, scanned = operation.attributes["carried"], operation.attributes["scanned"]
    takes: list[Any] = [v.type for v in operation.operands]
    slices = [TensorType(t.dtype, t.shape[1:]) for t in takes[carried : carried + scanned]]
    block = operation.regions[0].block
    gives = [v.type for v in block.terminator.operands]
    if gives[:carried] != takes[:carried]:
        raise VerificationError(f"scan: its region carries {_text(takes[:carried])}, but gives {_text(gives)}")
    _check_block(operation, 0, block, [*takes[:carried], *slices, *takes[carried + scanned :]], gives)


def _stacked(type: Any, length: Dim) -> TensorType:
    return TensorType(type.dtype, (length, *type.shape))


SCAN = register(
    OpSpec(
        "scan",
        ("*operands",),
        _of_regions,
        {"length": Kind.DIM, "carried": Kind.INT, "scanned": Kind.INT, "reverse": Kind.BOOL},
        """`length` turns of the region. It takes the `carried` values, element t of each of the `scanned` operands
        along their first axis, and the other operands as they are; it gives the next carried values and what is
        stacked along the first axis of the further results, at t. `reverse`: t falls. The first results are the last
        carried values.""",
        Trait.CLOSED,
        regions=1,
        check=_check_scan,
        infer_regions=_scan_results,
    )
)


def _check_block(operation: Operation, number: int, block: Block, takes: Sequence[Type], gives: Sequence[Type]) -> None:
    """Raise VerificationError unless region `number` takes and yields values of these types."""
    for what, given, wanted in (
        ("takes", [v.type for v in block.arguments], takes),
        ("yields", [v.type for v in block.terminator.operands], gives),
    ):
        if list(given) != list(wanted):
            name = f"{operation.spec.name}: its region {number}"
            raise VerificationError(f"{name} {what} ({_text(given)}), not ({_text(wanted)})")


def _text(types: Sequence[Type]) -> str:
    return ", ".join(map(str, types))
