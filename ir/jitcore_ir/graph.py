"""Static single assignment: Value, Operation, Block, Region, Graph.

A `Graph` owns one `Block`. The block's arguments are the graph's inputs; its last operation is the terminator,
whose operands are the outputs. An operation may own regions (for control flow and loops), each with one block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import VerificationError
from .location import UNKNOWN, Location
from .spec import OpSpec, Trait
from .types import Type


@dataclass(eq=False, slots=True)
class Value:
    """One SSA value: a block argument or a result of an operation. Defined once, used any number of times."""

    type: Type
    owner: Operation | Block
    index: int
    name: str = ""
    uses: list[tuple[Operation, int]] = field(default_factory=list)

    @property
    def operation(self) -> Operation | None:
        """The operation that defines this value; None for a block argument."""
        return self.owner if isinstance(self.owner, Operation) else None

    @property
    def location(self) -> Location:
        return self.owner.location if isinstance(self.owner, Operation) else UNKNOWN

    def replace_all_uses_with(self, other: Value) -> None:
        """Make every user of this value use `other` instead."""
        if other is self:
            return
        for user, position in self.uses:
            user.operands[position] = other
        other.uses += self.uses
        self.uses = []

    def drop_use(self, user: Operation, position: int) -> None:
        """Forget one use. Sought from both ends, since operations are erased first to last or last to first."""
        uses = self.uses
        last = len(uses) - 1
        for i in range(len(uses)):
            for found in (i, last - i):
                if uses[found][0] is user and uses[found][1] == position:
                    del uses[found]
                    return
        raise VerificationError(f"{self} does not know of its use as operand {position} of {user.spec.name}")

    def __repr__(self) -> str:
        return f"%{self.name or self.index}: {self.type}"


@dataclass(eq=False, slots=True)
class Operation:
    """One operation in a block. Make one with `Block.append` or `Builder.create`, which infer the result types."""

    spec: OpSpec
    operands: list[Value]
    attributes: dict[str, Any]
    results: list[Value] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    location: Location = UNKNOWN
    block: Block | None = None

    @property
    def result(self) -> Value:
        """The only result. Raises VerificationError where there are none or several."""
        if len(self.results) != 1:
            raise VerificationError(f"{self.spec.name} has {len(self.results)} results, not one")
        return self.results[0]

    def set_operand(self, position: int, value: Value) -> None:
        self.operands[position].drop_use(self, position)
        self.operands[position] = value
        value.uses.append((self, position))

    def drop_operands(self) -> None:
        """Give up every operand (before the operation is erased)."""
        for position, value in enumerate(self.operands):
            value.drop_use(self, position)
        self.operands = []

    def erase(self) -> None:
        """Remove the operation from its block. Raises VerificationError while a result is still used.

        Takes time in proportion to the block; to erase many, use `Block.erase`.
        """
        self.check_unused()
        block = self.block
        self.erase_unchecked()
        if block is not None:
            block.operations.remove(self)

    def erase_unchecked(self) -> None:
        """Let go of operands, regions and block; who calls this takes the operation out of its block's list."""
        for region in self.regions:
            for inner in reversed(region.block.operations):
                inner.erase_unchecked()
            region.block.operations = []
        self.drop_operands()
        self.block = None

    def check_unused(self) -> None:
        for value in self.results:
            if value.uses:
                raise VerificationError(f"{self.spec.name} is erased while its result {value} is used")

    def __repr__(self) -> str:
        """One line of the text form; regions are left out."""
        from .printer import print_operation

        return print_operation(self)


def create_operation(
    spec: OpSpec,
    operands: Sequence[Value],
    attributes: Mapping[str, Any] | None = None,
    location: Location = UNKNOWN,
    regions: Sequence[Region] = (),
) -> Operation:
    """A free-standing operation whose result types come from the spec's rule.

    Raises VerificationError for a wrong number of operands or wrong attribute names, and what the rule raises.
    """
    attributes = dict(attributes or {})
    if not spec.takes(len(operands)):
        raise VerificationError(
            f"{spec.name} takes ({', '.join(spec.operands)}), but {len(operands)} operands are given"
        )
    if attributes.keys() != spec.attributes.keys():
        raise VerificationError(
            f"{spec.name} has the attributes ({', '.join(spec.attributes)}), but ({', '.join(attributes)}) are given"
        )
    operation = Operation(spec, list(operands), attributes, [], list(regions), location)
    if len(regions) != spec.regions:
        raise VerificationError(f"{spec.name} has {spec.regions} regions, not {len(regions)}")
    types = spec.result_types(tuple(v.type for v in operands), attributes, regions)
    for position, value in enumerate(operation.operands):
        value.uses.append((operation, position))
    operation.results = [Value(t, operation, i) for i, t in enumerate(types)]
    for region in operation.regions:
        region.parent = operation
    return operation


@dataclass(eq=False, repr=False, slots=True)
class Block:
    """A list of operations run in order; the last is the terminator once the block is complete."""

    arguments: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    region: Region | None = None

    def add_argument(self, type: Type, name: str = "") -> Value:
        value = Value(type, self, len(self.arguments), name)
        self.arguments.append(value)
        return value

    def append(
        self,
        spec: OpSpec,
        operands: Sequence[Value] = (),
        attributes: Mapping[str, Any] | None = None,
        location: Location = UNKNOWN,
        regions: Sequence[Region] = (),
    ) -> Operation:
        """Create an operation at the end of the block."""
        operation = create_operation(spec, operands, attributes, location, regions)
        operation.block = self
        self.operations.append(operation)
        return operation

    def insert_before(self, anchor: Operation, operation: Operation) -> Operation:
        operation.block = self
        self.operations.insert(self.operations.index(anchor), operation)
        return operation

    def erase(self, operations: Collection[Operation]) -> None:
        """Remove many operations in one sweep. Raises VerificationError while one that stays uses a result."""
        doomed = set(operations)
        for operation in reversed(self.operations):
            if operation in doomed:
                operation.check_unused()
                operation.erase_unchecked()
        self.operations = [o for o in self.operations if o not in doomed]

    @property
    def terminator(self) -> Operation:
        if not self.operations or not self.operations[-1].spec.has(Trait.TERMINATOR):
            raise VerificationError("block has no terminator")
        return self.operations[-1]


@dataclass(eq=False, repr=False, slots=True)
class Region:
    """A nested scope owned by an operation: one block, which may use values defined outside it."""

    block: Block = field(default_factory=Block)
    parent: Operation | None = None

    def __post_init__(self) -> None:
        self.block.region = self


@dataclass(eq=False, repr=False, slots=True)
class Graph:
    """A named program in SSA form."""

    name: str = "main"
    block: Block = field(default_factory=Block)

    @property
    def inputs(self) -> list[Value]:
        return self.block.arguments

    @property
    def outputs(self) -> list[Value]:
        return self.block.terminator.operands

    @property
    def operations(self) -> list[Operation]:
        """Top-level operations, the terminator included."""
        return self.block.operations

    def walk(self) -> Iterator[Operation]:
        """Every operation, those inside regions after the one that owns them."""
        return _walk(self.block)

    def __repr__(self) -> str:
        return f"<Graph @{self.name}: {len(self.block.operations)} operations>"

    def __str__(self) -> str:
        """The text form, large arrays left out; `print_graph` gives the whole."""
        from .printer import print_graph

        return print_graph(self, elide=4096)


def _walk(block: Block) -> Iterator[Operation]:
    for operation in list(block.operations):
        yield operation
        for region in operation.regions:
            yield from _walk(region.block)
