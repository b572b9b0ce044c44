"""Branches and loops around kernels.

A block is lowered in stretches between its operations with regions. What crosses from one stretch to another, or into
a region, lies in memory; constants and views are made again where they are used. A region's arguments are the buffers
of the operands (for a scan, the part of each that belongs to the turn), and what it yields is written to buffers that
are there already, so a turn takes no memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jitcore_ir import Block, Graph, Operation, OpSpec, Trait, Value, ops
from jitcore_ir.cheap import MADE_FROM_NOTHING, is_cheap
from jitcore_ir.shapes import mul, product, symbol
from jitcore_runtime.plan import BufferKind

from ..fuse.roots import base, is_leaf
from ..loops.module import LoopBuffer
from ..loops.steps import Branch, Carry, Loop, Step
from .kernel import Places


@dataclass(slots=True)
class Stretch:
    """A graph without branches or loops, where its inputs lie, where its outputs belong, and the numbers of its
    operations in the whole graph."""

    graph: Graph
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Lowering:
    """What the lowering of a graph's blocks shares. `operations` are those of the whole graph, by number; `constants`
    the buffers that hold the same in every call; `lower_stretch` appends the kernels of a stretch."""

    places: Places
    operations: list[Operation]
    constants: set[int]
    lower_stretch: Callable[[Stretch, Lowering], None]
    exact: bool = False
    numbers: dict[Operation, int] = field(init=False)
    loops: int = 0

    def __post_init__(self) -> None:
        self.numbers = {operation: number for number, operation in enumerate(self.operations)}

    def temporary(self, value: Value) -> int:
        return self.places.add(LoopBuffer(BufferKind.TEMPORARY, value.type.dtype, value.type.shape))


def lower_block(block: Block, inputs: Sequence[int], targets: Sequence[int], lowering: Lowering) -> None:
    """Append what computes the values that `block` yields into the places `targets`, from its arguments in `inputs`."""
    _Block(block, inputs, targets, lowering).lower()


class _Block:
    def __init__(self, block: Block, inputs: Sequence[int], targets: Sequence[int], lowering: Lowering) -> None:
        self.block = block
        self.lowering = lowering
        self.place: dict[Value, int] = dict(zip(block.arguments, inputs, strict=True))
        self.targets: list[tuple[Value, int]] = list(zip(block.terminator.operands, targets, strict=True))
        self.stretches: list[list[Operation]] = [[]]
        self.controls: list[Operation] = []
        self.stretch_of: dict[Operation, int] = {}
        for operation in block.operations[:-1]:
            if operation.spec.has(Trait.CLOSED):
                self.controls.append(operation)
                self.stretches.append([])
            else:
                self.stretches[-1].append(operation)
                self.stretch_of[operation] = len(self.stretches) - 1

    def lower(self) -> None:
        crossing = self._crossing()
        for number, operations in enumerate(self.stretches):
            wanted: list[tuple[Value, int]] = []
            for value in (v for operation in operations for v in operation.results):
                mine = [place for target, place in self.targets if target is value]
                if not mine and value in crossing:
                    mine = [self.lowering.temporary(value)]
                wanted += [(value, place) for place in mine]
            control = self.controls[number] if number < len(self.controls) else None
            if control is not None:
                self._place_constants(control.operands)
                ready = {value for value, _ in wanted}
                wanted += [
                    (v, self.lowering.temporary(v)) for v in dict.fromkeys(control.operands)
                    if v not in ready and base(v) not in self.place
                ]  # fmt: skip
            else:
                wanted += [(v, place) for v, place in self.targets if _from_outside(v) and self.place[v] != place]
            if wanted:
                self._stretch(operations, wanted)
            for value, place in wanted:
                self.place.setdefault(value, place)
            if control is not None:
                self._control(control)

    def _place_constants(self, values: Sequence[Value]) -> None:
        """Arrays are in memory before the program starts."""
        for value in values:
            if value.operation is not None and is_leaf(value) and value not in self.place:
                data = value.operation.attributes["value"]
                buffer = LoopBuffer(BufferKind.CONSTANT, value.type.dtype, data.shape, data=data)
                self.place[value] = self.lowering.places.add(buffer)
                self.lowering.constants.add(self.place[value])

    def _crossing(self) -> set[Value]:
        """What is computed in one stretch and needed after it."""
        found: set[Value] = set()

        def need(value: Value, stretch: int) -> None:
            source = value.operation
            if source is None or self.stretch_of.get(source, stretch) == stretch:
                return
            if is_cheap(source):
                for operand in source.operands:
                    need(operand, stretch)
            else:
                found.add(value)

        for number, operations in enumerate(self.stretches):
            for operation in operations:
                for value in operation.operands:
                    need(value, number)
            if number < len(self.controls):
                for value in self.controls[number].operands:
                    need(value, number)
        return found

    def _stretch(self, operations: Sequence[Operation], wanted: Sequence[tuple[Value, int]]) -> None:
        """Append what computes the wanted values into their places."""
        stretch = Stretch(Graph(self.lowering.places.module.name))
        block, values = stretch.graph.block, dict[Value, Value]()

        def bring(value: Value) -> Value:
            if value in values:
                return values[value]
            source = value.operation
            if value in self.place and (source is None or source.spec not in MADE_FROM_NOTHING):
                values[value] = block.add_argument(value.type, value.name)
                stretch.inputs.append(self.place[value])
            else:
                assert source is not None and is_cheap(source), f"{value} is not in memory"
                append(source)
            return values[value]

        def append(operation: Operation) -> None:
            operands = [bring(v) for v in operation.operands]
            made = block.append(operation.spec, operands, operation.attributes, operation.location)
            stretch.numbers.append(self.lowering.numbers[operation])
            for old, new in zip(operation.results, made.results, strict=True):
                new.name = old.name
                values[old] = new

        for operation in operations:
            append(operation)
        block.append(ops.RETURN, [bring(value) for value, _ in wanted])
        stretch.outputs = [place for _, place in wanted]
        stretch.numbers.append(-1)
        self.lowering.lower_stretch(stretch, self.lowering)

    # --- operations with regions ---

    def _control(self, operation: Operation) -> None:
        results = []
        for value in operation.results:
            mine = [place for target, place in self.targets if target is value]
            results.append(mine[0] if mine else self.lowering.temporary(value))
        operands = [self.place[v] if v in self.place else self.place[base(v)] for v in operation.operands]
        self.lowering.places.steps.append(
            CONTROL_LOWERINGS[operation.spec](operation, operands, results, self.lowering)
        )
        self.place.update(zip(operation.results, results, strict=True))


def _into(steps: list[Step], block: Block, inputs: Sequence[int], targets: Sequence[int], lowering: Lowering) -> None:
    """Lower a region's block into a list of steps of its own."""
    places = lowering.places
    around, places.steps = places.steps, steps
    lower_block(block, inputs, targets, lowering)
    places.steps = around


def _cond(operation: Operation, operands: Sequence[int], results: Sequence[int], lowering: Lowering) -> Step:
    predicate, *given = operands
    step = Branch(lowering.places.whole(predicate))
    for steps, region in zip((step.then, step.otherwise), operation.regions, strict=True):
        _into(steps, region.block, given, results, lowering)
    return step


def _carries(
    operation: Operation, operands: Sequence[int], results: Sequence[int], lowering: Lowering
) -> tuple[Carry, ...]:
    values = operation.results[: operation.attributes["carried"]]
    whole = lowering.places.whole
    return tuple(
        Carry(whole(operands[n]), lowering.temporary(v), lowering.temporary(v), whole(results[n]))
        for n, v in enumerate(values)
    )


def _while(operation: Operation, operands: Sequence[int], results: Sequence[int], lowering: Lowering) -> Step:
    carries = _carries(operation, operands, results, lowering)
    condition, body = (region.block for region in operation.regions)
    test = lowering.temporary(condition.terminator.operands[0])
    step = Loop(carries, test=test)
    given = [*(c.current for c in carries), *operands[len(carries) :]]
    _into(step.condition, condition, given, [test], lowering)
    _into(step.body, body, given, [c.following for c in carries], lowering)
    return step


def _scan(operation: Operation, operands: Sequence[int], results: Sequence[int], lowering: Lowering) -> Step:
    places = lowering.places
    length, reverse = operation.attributes["length"], operation.attributes["reverse"]
    index = _fresh("turn", lowering)
    carries = _carries(operation, operands, results, lowering)
    first, last = len(carries), len(carries) + operation.attributes["scanned"]

    def turn(value: Value, place: int) -> int:
        """The part of a stacked value that belongs to the turn."""
        shape = value.type.shape[1:]
        return places.part(place, value.type.dtype, shape, mul(symbol(index), product(shape)))

    given = [
        *(c.current for c in carries),
        *(turn(v, place) for v, place in zip(operation.operands[first:last], operands[first:last], strict=True)),
        *operands[last:],
    ]
    targets = [
        *(c.following for c in carries),
        *(turn(v, place) for v, place in zip(operation.results[first:], results[first:], strict=True)),
    ]
    step = Loop(carries, length=length, index=index, reverse=reverse)
    _into(step.body, operation.regions[0].block, given, targets, lowering)
    return step


CONTROL_LOWERINGS: Mapping[OpSpec, Callable[..., Step]] = {ops.COND: _cond, ops.WHILE: _while, ops.SCAN: _scan}


def _fresh(name: str, lowering: Lowering) -> str:
    """A symbol that the graph does not have."""
    symbols = lowering.places.module.symbols
    while True:
        lowering.loops += 1
        found = f"{name}{lowering.loops}"
        if found not in symbols:
            return found


def _from_outside(value: Value) -> bool:
    """Whether no stretch computes the value: it is an argument of the block, or the result of a branch or loop."""
    return value.operation is None or value.operation.spec.has(Trait.CLOSED)
