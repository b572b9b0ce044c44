"""`verify`: the rules that every graph keeps, checked one operation at a time.

Structure: blocks, regions and operations name each other; a block ends with its one terminator (`return` at the top,
`yield` in a region). SSA: an operand is defined before its use, in the same block or one around it, and every value's
`uses` is exactly who uses it. Specs: number of operands, attributes and their kinds, number of regions, result types as
the spec's rule gives them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .dtypes import DType, from_numpy
from .errors import IRError, VerificationError
from .graph import Block, Graph, Operation, Value
from .ops import RETURN, YIELD
from .printer import print_operation
from .shapes import Expr
from .spec import Kind, OpSpec, Trait
from .types import BufferType


def verify(graph: Graph) -> None:
    """Raises VerificationError naming the first operation that breaks a rule, and the user's file and line."""
    if graph.block.region is not None:
        raise VerificationError(f"graph @{graph.name}: its block belongs to a region")
    checker = _Checker()
    checker.block(graph.block, RETURN, f"graph @{graph.name}")
    checker.uses()


class _Checker:
    def __init__(self) -> None:
        self.visible: set[Value] = set()
        self.values: list[Value] = []
        self.operations: set[Operation] = set()

    def block(self, block: Block, terminator: OpSpec, where: str) -> None:
        """Check a block and what it nests. Its values are visible from their definition to its end."""
        mine: list[Value] = []
        for index, argument in enumerate(block.arguments):
            if argument.owner is not block or argument.index != index:
                raise VerificationError(
                    f"{where}: argument {argument} does not belong to position {index} of its block"
                )
            self.define(argument, mine)
        if not block.operations or block.operations[-1].spec is not terminator:
            last = print_operation(block.operations[-1]) if block.operations else "nothing"
            raise VerificationError(f"{where}: its block must end with {terminator.name}, but ends with {last}")
        for operation in block.operations:
            self.operation(operation, block)
            for result in operation.results:
                self.define(result, mine)
        self.visible.difference_update(mine)

    def define(self, value: Value, mine: list[Value]) -> None:
        self.visible.add(value)
        self.values.append(value)
        mine.append(value)

    def operation(self, operation: Operation, block: Block) -> None:
        spec = operation.spec
        if operation in self.operations or operation.block is not block:
            fail(operation, "stands in a block that it does not belong to")
        self.operations.add(operation)
        if spec.has(Trait.TERMINATOR) and block.operations[-1] is not operation:
            fail(operation, f"{spec.name} ends a block, but operations follow it")
        self.operands(operation)
        check_attributes(operation)
        self.regions(operation)
        check_results(operation)
        if spec.check is not None:
            attempt(operation, lambda: spec.check(operation))  # type: ignore[misc]

    def operands(self, operation: Operation) -> None:
        spec = operation.spec
        if not spec.takes(len(operation.operands)):
            fail(
                operation, f"{spec.name} takes ({', '.join(spec.operands)}), but has {len(operation.operands)} operands"
            )
        for position, value in enumerate(operation.operands):
            if value not in self.visible:
                fail(
                    operation, f"operand {position} ({value}) is not defined before this operation, or not visible here"
                )
            if isinstance(value.type, BufferType) and not spec.has(Trait.LOOP):
                fail(operation, f"operand {position} is a buffer, but {spec.name} works on tensors")

    def regions(self, operation: Operation) -> None:
        if len(operation.regions) != operation.spec.regions:
            fail(operation, f"{operation.spec.name} has {operation.spec.regions} regions, not {len(operation.regions)}")
        around = self.visible
        if operation.spec.has(Trait.CLOSED):
            self.visible = set()
        for region in operation.regions:
            if region.parent is not operation or region.block.region is not region:
                fail(operation, "one of its regions belongs to another operation")
            self.block(region.block, YIELD, f"a region of {operation.spec.name} at {operation.location}")
        self.visible = around

    def uses(self) -> None:
        """Every value's list of uses is what the operands say, and stays inside the graph."""
        for value in self.values:
            for user, position in value.uses:
                if user not in self.operations:
                    raise VerificationError(f"{value} is used by {user.spec.name}, which is not in the graph")
                if position >= len(user.operands) or user.operands[position] is not value:
                    fail(user, f"{value} lists a use as operand {position}, which is another value")
        found = Counter((value, *use) for value in self.values for use in value.uses)
        for operation in self.operations:
            for position, value in enumerate(operation.operands):
                if found[value, operation, position] != 1:
                    fail(
                        operation,
                        f"operand {position} ({value}) lists this use {found[value, operation, position]} times",
                    )


def check_attributes(operation: Operation) -> None:
    """The attributes are the spec's, each of its kind."""
    spec = operation.spec
    for name in spec.attributes:
        if name not in operation.attributes:
            fail(operation, f"attribute {name} is missing")
    for name, value in operation.attributes.items():
        if name not in spec.attributes:
            fail(operation, f"attribute {name} is not one of {spec.name}'s ({', '.join(spec.attributes) or 'none'})")
        if not fits_kind(spec.attributes[name], value):
            fail(operation, f"attribute {name} must be of kind {spec.attributes[name].value}, not {value!r}")


def fits_kind(kind: Kind, value: Any) -> bool:
    """Whether `value` is what an attribute of `kind` holds: plain Python values, tuples rather than lists."""
    return _FITS[kind](value)


def check_results(operation: Operation) -> None:
    """The results belong to the operation and have the types its rule gives."""
    types = attempt(
        operation,
        lambda: operation.spec.result_types(
            tuple(v.type for v in operation.operands), operation.attributes, operation.regions
        ),
    )
    if tuple(v.type for v in operation.results) != tuple(types):
        given, inferred = (", ".join(map(str, t)) or "none" for t in ([v.type for v in operation.results], types))
        fail(operation, f"results have type {given}, but {operation.spec.name} of these operands gives {inferred}")
    for index, value in enumerate(operation.results):
        if value.owner is not operation or value.index != index:
            fail(operation, f"result {index} belongs to another operation or position")


def attempt(operation: Operation, rule: Callable[[], Any]) -> Any:
    """`rule()`, whose complaint becomes a VerificationError about the operation."""
    try:
        return rule()
    except (IRError, ValueError, TypeError, AttributeError, IndexError) as error:
        fail(operation, str(error))


def fail(operation: Operation, message: str) -> NoReturn:
    raise VerificationError(f"{message}\n  in {print_operation(operation)}\n  from {operation.location}")


def _is_int(value: Any) -> bool:
    return type(value) is int


def _is_dim(value: Any) -> bool:
    return type(value) is int or isinstance(value, Expr)


def _tuple_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is tuple and all(map(check, value))


def _is_pair(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and all(map(_is_int, value))


def _is_dense(value: Any) -> bool:
    try:
        return isinstance(value, np.ndarray) and value.dtype.isnative and from_numpy(value.dtype) is not None
    except TypeError:
        return False


_FITS: dict[Kind, Callable[[Any], bool]] = {
    Kind.INT: _is_int,
    Kind.FLOAT: lambda value: type(value) is float,
    Kind.BOOL: lambda value: type(value) is bool,
    Kind.STRING: lambda value: type(value) is str,
    Kind.DTYPE: lambda value: isinstance(value, DType),
    Kind.DIM: _is_dim,
    Kind.INTS: _tuple_of(_is_int),
    Kind.DIMS: _tuple_of(_is_dim),
    Kind.PAIRS: _tuple_of(_is_pair),
    Kind.DENSE: _is_dense,
}
