"""Finding the operation that goes wrong: `jitcore.debug.bisect(fn, *args)`.

The function runs eagerly and is recorded; then every value of the recording is computed in three more ways, which
should all agree: the recorded graph interpreted, the same graph after the passes, and machine code. The first value
that differs is named with its operation and the user's line.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from jitcore_ir import Graph, Location, OpSpec, TensorType, Value, ops
from jitcore_ir.clone import clone_graph
from jitcore_ir.printer import Names
from jitcore_runtime.executor import Executor
from jitcore_runtime.interpreter import Interpreter
from jitcore_runtime.program import Program
from jitcore_runtime.signature import Signature

from .compiler import compile_graph
from .compiler.passes import optimize
from .trace.capture import capture
from .trace.containers import flatten
from .trace.numbers import settled
from .trace.recorder import Recorder
from .undo import undone_on_error

_MOST_SINGLE = 64
"""Values that are compiled one by one where a difference goes away once all values are results."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first value that differs. `way` computed `given` where `expected` is what `reference` has; the operation's
    operands agree. `allowed` is the absolute difference that still counts as equal."""

    way: str
    reference: str
    operation: OpSpec
    text: str
    location: Location
    expected: np.ndarray
    given: np.ndarray
    allowed: float

    @property
    def worst(self) -> tuple[int, ...]:
        """Where the difference is largest."""
        if self.expected.shape != self.given.shape or not self.expected.size:
            return ()
        return tuple(int(n) for n in np.unravel_index(np.argmax(_error(self.expected, self.given)), self.given.shape))

    def __str__(self) -> str:
        line = linecache.getline(self.location.file, self.location.line).strip()
        at, worst = f"{self.location}", self.worst
        lines = [f"{self.operation.name} at {at}{': ' + line if line else ''}", f"  {self.text}"]
        if self.expected.shape != self.given.shape:
            return "\n".join([*lines, f"  has the shape {self.given.shape}, should have {self.expected.shape}"])
        width = max(len(self.way), len(self.reference))
        error = _error(self.expected, self.given)[worst]
        place = f" at {list(worst)}" if worst else ""
        return "\n".join(
            [
                *lines,
                f"  {self.reference:{width}}  {self.expected[worst]!r}{place}",
                f"  {self.way:{width}}  {self.given[worst]!r}, off by {error:.3g} (allowed {self.allowed:.3g})",
            ]
        )


@dataclass(slots=True)
class Bisection:
    """What `bisect` found; true where there is a difference. `notes` say what limits the comparison."""

    name: str
    compared: int
    ways: tuple[str, ...]
    difference: Difference | None = None
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.difference is not None

    def __str__(self) -> str:
        ways = ", ".join(self.ways)
        if self.difference is None:
            head = f"{self.name}: {self.compared} values agree (eager, {ways})"
        else:
            head = f"{self.name}: the first of {self.compared} values to differ is that of {self.difference}"
        return "\n".join([head, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__


def bisect(function: Callable, *arguments: Any, tolerance: float | None = None, **keywords: Any) -> Bisection:
    """Run `function(*arguments, **keywords)` eagerly, interpreted and natively, and name the first value that differs.

    function: jitted or not. What it does to tensors (arguments, parameters, gradients, random state) is undone; what it
        does besides (lists, files) is not.
    tolerance: largest difference relative to a value's largest element; by default 256 units in the last place of the
        coarsest dtype that it was computed with (8 for float16 and bfloat16); integers and truth values must be equal.

    Raises what the function raises. Where it cannot be recorded the `notes` say why, and what was recorded is compared.
    """
    function = getattr(function, "_function", function)
    name = getattr(function, "__qualname__", type(function).__name__)
    leaves, _ = flatten((arguments, keywords), once=True)
    recorder = _Keeping("bisected")
    with undone_on_error() as undo:
        result, recording = capture(function, arguments, keywords, leaves, "bisected", recorder=recorder)
        settled(result, recorder)
        undo.put_back()
    arrays = [np.array(root.tensor._array) for root in recorder.roots]
    graph = recording.graph
    values = [v for operation in graph.operations for v in operation.results if isinstance(v.type, TensorType)]
    values = [v for v in values if v.operation is not None and v.operation.spec is not ops.CONSTANT]
    found = Bisection(name, len(values), ("interpreted", "after the passes", "native"))
    if recording.problem is not None:
        found.notes.append(f"jit runs it eagerly: {recording.problem}")
    if not values:
        return found
    outputs = {*recording.values, *(recorder.roots[number].current for number in recording.written)}
    compare = _Comparison(graph, values, outputs, arrays, tolerance)
    found.difference = compare.first(recorder.eager)
    if compare.only_together:
        found.notes.append("the difference is there only where values are computed together, as parts of one kernel")
    return found


class _Keeping(Recorder):
    """A recorder that keeps what each operation gave eagerly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.eager: dict[Value, np.ndarray] = {}

    def _make(self, tensor: Any, value: Value) -> None:
        super()._make(tensor, value)
        self.eager.setdefault(value, np.array(tensor._array))


class _Comparison:
    """Computes all `values` of a graph in several ways."""

    def __init__(
        self,
        graph: Graph,
        values: list[Value],
        outputs: set[Value],
        arrays: list[np.ndarray],
        tolerance: float | None,
    ) -> None:
        self.graph, self.values, self.outputs = graph, values, outputs
        self.arrays, self.tolerance = arrays, tolerance
        self.names = Names()
        self.only_together = False
        self.precision: dict[Value, float] = {}
        for value in [*graph.inputs, *(v for operation in graph.operations for v in operation.results)]:
            own = _precision(value)
            above = [self.precision[v] for v in value.operation.operands] if value.operation and own else []
            self.precision[value] = max([own, *above])
        for value in [*graph.inputs, *values]:
            _ = self.names[value]  # numbers them in order

    def first(self, eager: Mapping[Value, np.ndarray]) -> Difference | None:
        """The first value that differs, in the first way that has one."""
        interpreted = self._interpreted(self.graph, self.values)
        known = [eager.get(value) for value in self.values]
        found = self._compare("interpreted", "eager", known, interpreted)
        exposed = self._exposing(self.values)
        found = found or self._compare(
            "after the passes", "interpreted", interpreted, self._run(self._program(exposed, False), False)
        )
        if found is not None:
            return found
        native = self._run(self._program(exposed, True), True)
        found = self._compare("native", "interpreted", interpreted, native)
        return found or self._alone(interpreted)

    def _alone(self, interpreted: Sequence[np.ndarray]) -> Difference | None:
        """As results of one program all values agree; computed inside larger kernels, as jit does, one may not."""
        places = [n for n, value in enumerate(self.values) if value in self.outputs]
        if places and self._computed(places, interpreted) is None:
            return None
        step = max(1, len(self.values) // _MOST_SINGLE)
        for position in range(0, len(self.values), step):
            found = self._computed([position], interpreted)
            if found is not None:
                self.only_together = True
                return found
        return None

    def _computed(self, places: Sequence[int], interpreted: Sequence[np.ndarray]) -> Difference | None:
        """Compare the values at `places`, computed as a program's only results."""
        program = self._program(self._exposing([self.values[place] for place in places]), True)
        given = dict(zip(places, self._run(program, True), strict=True))
        return self._compare("native", "interpreted", interpreted, [given.get(n) for n in range(len(self.values))])

    def _exposing(self, values: Sequence[Value]) -> Graph:
        """A copy of the graph that returns `values`."""
        mapping: dict[Value, Value] = {}
        copy = clone_graph(self.graph, mapping)
        if copy.operations and copy.operations[-1].spec is ops.RETURN:
            copy.operations[-1].erase()
        copy.block.append(ops.RETURN, [mapping[value] for value in values])
        return copy

    def _program(self, graph: Graph, native: bool) -> Program:
        return compile_graph(graph, cache=False) if native else Program(graph.name, optimize(graph))

    def _run(self, program: Program, native: bool) -> list[np.ndarray]:
        return Executor(program, native).run([array.copy() for array in self.arrays])

    def _interpreted(self, graph: Graph, values: Sequence[Value]) -> list[np.ndarray]:
        return Interpreter(graph, values).run(self.arrays, Signature.of(self._exposing(values)).bind(self.arrays))

    def _shown(self, value: Value) -> str:
        operation = value.operation
        if operation is not None and operation.spec is ops.CONSTANT and operation.attributes["value"].size == 1:
            return str(operation.attributes["value"].item())
        return self.names[value]

    def _allowed(self, value: Value, expected: np.ndarray) -> float:
        relative = self.precision[value]
        if relative and self.tolerance is not None:
            relative = self.tolerance
        magnitude = np.abs(expected.astype(np.complex128 if expected.dtype.kind == "c" else np.float64))
        return relative * float(np.max(magnitude[np.isfinite(magnitude)], initial=0.0))

    def _compare(
        self, way: str, reference: str, expected: Sequence[np.ndarray | None], given: Sequence[Any]
    ) -> Difference | None:
        for value, want, got in zip(self.values, expected, given, strict=True):
            if want is None or got is None:
                continue
            allowed = self._allowed(value, want)
            if want.shape == got.shape and not np.any(_error(want, got) > allowed):
                continue
            operation = value.operation
            assert operation is not None
            text = f"{self.names[value]} = {operation.spec.name}({', '.join(map(self._shown, operation.operands))})"
            return Difference(
                way, reference, operation.spec, f"{text} : {value.type}", operation.location, want, got, allowed
            )
        return None


def _precision(value: Value) -> float:
    """The difference that counts as rounding, relative to the largest element; 0 for integers and truth values."""
    if not isinstance(value.type, TensorType) or value.type.dtype.numpy.kind in "iub":
        return 0.0
    dtype = value.type.dtype.numpy
    if dtype.itemsize == 2:
        return 8 * float(ml_dtypes.finfo(dtype).eps)
    return 256 * float(np.finfo(dtype).eps)


def _error(expected: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Absolute differences; 0 where both are NaN or the same infinity, infinite where one of them is."""
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    if expected.dtype.kind in "iub":
        return np.where(expected == given, 0.0, np.maximum(np.abs(expected.astype(wide) - given.astype(wide)), 1.0))
    x, y = expected.astype(wide), given.astype(wide)
    with np.errstate(invalid="ignore"):
        error = np.abs(x - y)
    return np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.where(np.isnan(error), np.inf, error))
