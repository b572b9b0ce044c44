"""`Body`: a function recorded once, to be the region of a branch or loop.

It runs on example values under a recorder of its own, a `RegionRecorder`: its arguments are the region's arguments, and
outside tensors that it reads become further ones. With grad mode on it runs on the tape as well, so that its derivative
can be recorded in turn, as a longer body: `gradients`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from jitcore_ir import Graph, Location, Operation, OpSpec, Region, TensorType, Value, ops
from jitcore_ir.clone import clone_operation
from jitcore_ir.shapes import evaluate
from jitcore_runtime.control import CONTROL
from jitcore_runtime.errors import LinAlgError, OperationFailed
from jitcore_runtime.interpreter import Interpreter

from ..autograd import engine, tape
from ..autograd.modes import no_grad
from ..random import is_generator_state
from ..source import user_location
from ..state import state
from ..tensor import Tensor, wrap
from ..undo import undone_on_error
from .recorder import Recorder
from .replay import replay
from .roots import Root

_FAILURES = (IndexError, ZeroDivisionError, LinAlgError, OperationFailed)


class RegionRecorder(Recorder):
    """Records a body. Whatever has an effect outside it is refused at once, except drawing random numbers: the state of
    a generator is a root that is written."""

    repeats_warnings = False

    def __init__(self, what: str, outer: Recorder | None) -> None:
        super().__init__(what, made_up=True, forgiven=_FAILURES)
        self.what = what
        self.outer = outer
        self.declared: set[Value] = set()
        if outer is not None:  # its sizes, and what they turn out to be, are those of the whole recording
            self.mark = outer.mark
            self.sizes = outer.sizes
            self.sizes.listeners.append(self._replace_symbols)

    def argument(self, tensor: Tensor, type: TensorType) -> Value:
        value = self.add_root(tensor, "", None, type.shape).value
        self.declared.add(value)
        return value

    def add_root(self, tensor: Any, name: str, source: Any, dims: Any = None) -> Root:
        if dims is None and self.outer is not None and self.sizes:
            dims = self.outer.value_of(tensor).type.shape
        return super().add_root(tensor, name, source, dims)

    def write(self, target: Any, value: Any) -> None:
        if not self.is_inside(target) and not is_generator_state(target._storage):
            root = self.root_of(target)
            whose = "its argument" if root is not None and root.value in self.declared else "a tensor from outside"
            self.forbid(f"writes to {whose}, which would show elsewhere; compute a new tensor and return it")
        super().write(target, value)

    def read(self, tensor: Any, kind: str, outcome: Any) -> Any:
        root = None if self.is_inside(tensor) else self.root_of(tensor)
        if not self.is_inside(tensor) and (root is None or root.value not in self.declared):
            return outcome if self.outer is None else self.outer.read(tensor, kind, outcome)
        value = self.value_of(tensor)
        if value.operation is not None and value.operation.spec is ops.CONSTANT:
            return outcome
        self.forbid(
            f"asks for the value of a tensor ({kind}()), which is known only when it runs; use where(...), cond or "
            "while_loop on the tensor instead"
        )

    def get_grad(self, tensor: Any) -> None:
        self.forbid("reads .grad of a tensor; pass the gradient in as an operand")

    def set_grad(self, tensor: Any, grad: Any) -> None:
        self.forbid("sets .grad of a tensor (does it call backward()?); return gradients instead")

    @property
    def top(self) -> Recorder:
        return self if self.outer is None else self.outer.top

    def scalar(self, number: float, name: str, source: Any, make: Any) -> Any:
        return make(number) if self.outer is None else self.outer.scalar(number, name, source, make)

    def refuse(self, what: str, location: Location) -> None:
        if self.outer is not None:
            self.outer.refuse(what, location)

    def forbid(self, problem: str) -> NoReturn:
        raise RuntimeError(f"{self.what} {problem}; at {user_location()}")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        before, state.recorder = state.recorder, self
        try:
            yield
        finally:
            state.recorder = before


class Body:
    """`outputs`: the tensors that the function gave. `arguments`: those that stood for its arguments, on the tape where
    `differentiable` says so. `values`: what tensors of the body are in the recorder's graph."""

    def __init__(
        self,
        what: str,
        function: Callable[..., Sequence[Tensor]],
        examples: Sequence[np.ndarray],
        types: Sequence[TensorType],
        differentiable: Sequence[bool],
    ) -> None:
        outer = state.recorder
        self.recorder = RegionRecorder(what, outer if isinstance(outer, Recorder) else None)
        self.mark = tape.sequence_mark()
        self.values: dict[Tensor, Value] = {}
        self.arguments = [self.argument(*each) for each in zip(examples, types, differentiable, strict=True)]
        with undone_on_error(self.recorder.is_inside) as undo, self.recorder.running():
            self.outputs = list(function(*self.arguments))
            if self.recorder.effects:
                self.recorder.forbid("prints or steps a schedule, which only its recording would do")
            self.values.update({t: self.recorder.value_of(t) for t in self.outputs if t not in self.values})
            undo.put_back()

    def argument(self, example: np.ndarray, type: TensorType, differentiable: bool) -> Tensor:
        """A further argument."""
        tensor = wrap(np.array(example))
        if differentiable and example.dtype.kind in "fcV":
            tensor._node = tape.CallNode("Argument", (), tensor._array, lambda g: ())
            tensor._requires_grad = True
        self.values[tensor] = self.recorder.argument(tensor, type)
        return tensor

    def value(self, tensor: Tensor) -> Value:
        """An argument's value, or what the body computes for a tensor."""
        found = self.values.get(tensor)
        if found is None:
            with self.recorder.running():
                found = self.values[tensor] = self.recorder.value_of(tensor)
        return found

    @property
    def drawn(self) -> list[Root]:
        """The generators' states that the body advances."""
        return [root for root in self.recorder.roots if root.written]

    # Derivatives

    def frontier(self, outputs: Sequence[Tensor]) -> list[Any]:
        """Where gradients of the outputs leave the body for the history of outside tensors: edges of the tape."""
        return [
            edge for edge in self.visited(outputs)
            if not (isinstance(edge, tape.Node) and edge.sequence > self.mark)
            and not (isinstance(edge, Tensor) and self.recorder.is_inside(edge))
        ]  # fmt: skip

    def reached(self, outputs: Sequence[Tensor]) -> list[bool]:
        """Whether gradients of the outputs reach each argument."""
        seen = set(self.visited(outputs))
        return [tape.edge_of(t) in seen for t in self.arguments]

    def visited(self, outputs: Sequence[Tensor]) -> list[Any]:
        """The edges inside the body, and the first ones outside it, from the outputs on."""
        seen: dict[Any, None] = {}
        waiting = [tape.edge_of(t) for t in outputs]
        while waiting:
            edge = waiting.pop()
            if edge is None or edge in seen:
                continue
            seen[edge] = None
            if isinstance(edge, tape.Node) and edge.sequence > self.mark:
                waiting.extend(edge.edges)
        return list(seen)

    def gradients(
        self, outputs: Sequence[Tensor], seeds: Sequence[Tensor], edges: Sequence[Any]
    ) -> list[Tensor | None]:
        """The gradients that reach `edges` (arguments, or of the frontier) where `outputs` have the gradients `seeds`,
        which are arguments; None where none does."""
        roots = [(edge, g) for edge, g in zip(map(tape.edge_of, outputs), seeds, strict=True) if edge is not None]
        with self.recorder.running():
            return engine.run(roots, True, state.grad_enabled, edges, accumulate=False, ends=True)

    def zeros(self, type: TensorType) -> Tensor:
        """A tensor of zeros, inside the body."""
        block = self.recorder.graph.block
        zero = block.append(ops.CONSTANT, [], {"value": np.zeros((), type.dtype.numpy)}).result
        tensor = wrap(np.zeros([self.recorder.sizes.number(d) for d in type.shape], type.dtype.numpy))
        wide = block.append(ops.BROADCAST_TO, [zero], {"shape": type.shape}).result if type.shape else zero
        self.recorder.holds(tensor, wide)
        self.values[tensor] = wide
        return tensor

    # The region

    def needs(self, gives: Sequence[Value], takes: Sequence[Value]) -> list[Root]:
        """The roots that computing `gives` reads besides `takes`."""
        taken = set(takes)
        _, leaves = self._reach(gives)
        return [root for root in self.recorder.roots if root.value in leaves and root.value not in taken]

    def region(self, gives: Sequence[Value], takes: Sequence[Value | TensorType]) -> Region:
        """A region whose arguments are `takes` (a type for one that the body does not have) and that yields `gives`."""
        region, copies = Region(), dict[Value, Value]()
        for value in takes:
            made = region.block.add_argument(value.type if isinstance(value, Value) else value)
            if isinstance(value, Value):
                copies.setdefault(value, made)
        operations, _ = self._reach(gives)
        for operation in operations:
            copy = clone_operation(operation, copies)
            copy.block = region.block
            region.block.operations.append(copy)
        region.block.append(ops.YIELD, [copies[v] for v in gives])
        return region

    def _reach(self, gives: Sequence[Value]) -> tuple[list[Operation], set[Value]]:
        needed, kept = set(gives), []
        for operation in reversed(self.recorder.graph.operations):
            if any(v in needed for v in operation.results):
                kept.append(operation)
                needed.update(operation.operands)
        return kept[::-1], needed


def type_in(tensor: Tensor) -> TensorType:
    """A tensor's type in the present recording, symbolic sizes included."""
    recorder = state.recorder
    if isinstance(recorder, Recorder):
        return recorder.value_of(tensor).type  # type: ignore[return-value]
    return TensorType(tensor.dtype, tensor._array.shape)


def run_control(
    spec: OpSpec, operands: Sequence[Tensor], types: Sequence[TensorType], attributes: dict[str, Any],
    regions: Sequence[Region], bodies: Sequence[Body],
) -> list[Tensor]:  # fmt: skip
    """The results of an operation with regions, which joins the present recording, if there is one. No history.

    Raises what an operation in a region raises.
    """
    recorder = state.recorder if isinstance(state.recorder, Recorder) else None
    sizes = bodies[0].recorder.sizes
    if state.batching is not None:
        return replay(spec, operands, attributes, regions, sizes)
    made_up = recorder is not None and recorder.made_up
    if recorder is not None and sizes and sizes is not recorder.sizes:
        recorder.refuse(f"the derivative of a {spec.name} whose sizes are another recording's is used", user_location())
        recorder = None
    if recorder is None:
        block = Graph().block
        values = [block.add_argument(type) for type in types]
    else:
        block = recorder.graph.block
        values = [recorder.value_of(t) for t in operands]
    operation = block.append(spec, values, attributes, user_location(), regions)
    arrays = _evaluate(operation, [t._array for t in operands], sizes.values, made_up)
    results = [wrap(array) for array in arrays]
    if recorder is not None:
        for tensor, value in zip(results, operation.results, strict=True):
            recorder.holds(tensor, value)
    return results


def _evaluate(operation: Operation, arrays: Sequence[np.ndarray], symbols: Any, made_up: bool) -> list[np.ndarray]:
    """The operation run by the interpreter. Made-up values may raise, or keep a loop going for ever: then zeros."""
    if made_up and any(inner.spec is ops.WHILE for inner in _walk(operation)):
        return _zeros(operation, symbols)
    try:
        with np.errstate(all="ignore"):
            return CONTROL[operation.spec](operation, lambda block: Interpreter(Graph("body", block)).run)(
                arrays, symbols
            )
    except _FAILURES:
        if not made_up:
            raise
        return _zeros(operation, symbols)


def _walk(operation: Operation) -> Iterator[Operation]:
    yield operation
    for region in operation.regions:
        for inner in region.block.operations:
            yield from _walk(inner)


def _zeros(operation: Operation, symbols: Any) -> list[np.ndarray]:
    types: list[Any] = [v.type for v in operation.results]
    return [np.zeros([evaluate(d, symbols) for d in t.shape], t.dtype.numpy) for t in types]


def snapshot(tensor: Tensor) -> Tensor:
    """A copy that later writes do not change."""
    from ..dispatch import apply

    with no_grad():
        return apply(ops.COPY, (tensor,))


__all__ = ["Body", "RegionRecorder", "run_control", "snapshot", "type_in"]
