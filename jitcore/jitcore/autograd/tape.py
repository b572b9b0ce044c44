"""The tape: nodes that remember how a tensor was made, saved tensors, and history after in-place writes.

A tensor's *edge* is where its gradient goes: the node that made it, or the tensor itself for a leaf that requires
grad, or None. A node's edges lead to its operands. Nodes carry rising sequence numbers, so a consumer's number is
always above its producers': that is the topological order the engine uses.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jitcore_ir import OpSpec, ops

from ..state import state
from ..storage import Storage
from ..tensor import Tensor, shape_of
from .rules import VJPS

NO_GRAD_VIEW = -1
"""`Tensor._seen` of a view made with grad mode off: its history never follows its base's."""

_sequence = itertools.count(1)

rebasings = itertools.count(1)
"""For `Storage.rebased`. No number comes twice, so that an earlier one may be put back (see `undo`)."""


def sequence_mark() -> int:
    """A number that is above those of all nodes so far, and below those of all later ones."""
    return next(_sequence)


class Saved:
    """A tensor kept for backward, with the version of its memory and where its gradient goes.

    What a node saves of its own results must not lead back to the node, or neither would be freed without the garbage
    collector: then `tensor` is None and `edge` is an `OwnResult`.
    """

    __slots__ = ("array", "edge", "role", "storage", "tensor", "version", "view")

    def __init__(self, tensor: Tensor, edge: Any, role: str) -> None:
        self.tensor = None if isinstance(edge, OwnResult) else tensor
        self.array = tensor._array
        self.storage: Storage = tensor._storage
        self.version = self.storage.version
        self.view = tensor._view
        self.edge = edge
        self.role = role

    def unpack(self, node: Node) -> Tensor:
        """The tensor as it was saved. Raises RuntimeError where its memory has been written since."""
        if self.storage.version != self.version:
            raise RuntimeError(changed(self, node))
        t = self.tensor
        if t is not None and t._array is self.array and edge_of(t) is self.edge:
            return t
        return with_history(self, node)

    def keep_copy(self) -> None:
        """Go on with a copy, as the memory is about to be written by the very operation that saved it."""
        from ..dispatch import apply

        before = state.grad_enabled
        state.grad_enabled = False
        try:
            copy = apply(ops.COPY, (self.tensor,))  # type: ignore[arg-type]
        finally:
            state.grad_enabled = before
        self.array, self.storage, self.view, self.version, self.tensor = copy._array, copy._storage, (), 0, None


class OwnResult:
    """Stands for the edge of a node's own result number `position`."""

    __slots__ = ("position",)

    def __init__(self, position: int = 0) -> None:
        self.position = position


_RESULT = OwnResult()


class Node:
    """One step of the tape. Subclasses give `vjp`; `shape` and `dtype` are those of the tensor it made."""

    __slots__ = ("__weakref__", "dtype", "edges", "extra", "hooks", "retains", "sequence", "shape")

    exposes = False
    """Whether `vjp` runs user code, which may keep or already hold the gradients it returns."""

    edges: Sequence[Any]
    shape: tuple[Any, ...]
    dtype: np.dtype
    hooks: dict[int, Callable] | None
    retains: weakref.ref | None
    extra: Any
    """`graph.Extra`: the user's hooks and metadata, and the forward line in anomaly mode; None for most nodes."""

    def _start(self, edges: Sequence[Any], array: np.ndarray) -> None:
        self.edges = edges
        self.shape = array.shape
        self.dtype = array.dtype
        self.hooks = self.retains = self.extra = None
        self.sequence = next(_sequence)
        if state.anomaly is not None:
            self._extra().remember_line()

    def name(self) -> str:
        """What PyTorch calls such a step, such as MulBackward0."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """(node, result number) pairs that gradients flow to next; an `AccumulateGrad` stands for a leaf."""
        from .graph import AccumulateGrad

        return tuple(
            (None, 0) if e is None else (e, 0) if isinstance(e, Node) else (AccumulateGrad(e), 0) for e in self.edges
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """For the user's notes; anomaly mode keeps the forward line here."""
        return self._extra().metadata

    def register_hook(self, fn: Callable) -> Any:
        """Call `fn(grad_inputs, grad_outputs)` after this step; a tuple it returns replaces grad_inputs."""
        return self._extra().register(self._extra().after, fn)

    def register_prehook(self, fn: Callable) -> Any:
        """Call `fn(grad_outputs)` before this step; a tuple it returns replaces grad_outputs."""
        return self._extra().register(self._extra().before, fn)

    def _extra(self) -> Any:
        if self.extra is None:
            from .graph import Extra

            self.extra = Extra()
        return self.extra

    def vjp(self, g: Any) -> Sequence[Any]:
        """Gradients for each edge, None where there is none, given the gradient of what the node made."""
        raise NotImplementedError

    def result_edge(self, position: int, array: np.ndarray) -> Node:
        """The edge of result number `position`."""
        return self

    def release(self) -> None:
        """Give up saved tensors after a backward that does not retain the graph."""

    def held(self) -> tuple[Any, ...] | None:
        """An object and the names of its attributes that `release` changes. What the first one holds is None once that
        has been done. None where there is nothing to release."""
        return None

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class OpNode(Node):
    """A primitive that ran; its gradients come from the `VJPS` table."""

    __slots__ = ("attributes", "saved", "shapes", "spec")

    spec: OpSpec
    attributes: Mapping[str, Any]
    saved: dict[str, Saved] | None
    shapes: Sequence[tuple] | None

    def name(self) -> str:
        return self.spec.name.title().replace("_", "") + "Backward0"

    def vjp(self, g: Tensor) -> list[Any]:
        if self.saved is None:
            raise RuntimeError(
                f"Trying to backward through the graph a second time: the tensors that "
                f"{self.spec.name} saved have been "
                f"freed. Pass retain_graph=True to the first backward() or grad() call."
            )
        rule = VJPS[self.spec]
        gradients: list[Any] = []
        for position, edge in enumerate(self.edges):
            partial = None if edge is None else rule.partial(position)
            gradients.append(None if partial is None else partial.gradient(self, position, g))
        return gradients

    def release(self) -> None:
        if self.saved:
            self.saved = None

    def held(self) -> tuple[Any, ...] | None:
        return None if self.saved == {} else (self, "saved")


class CallNode(Node):
    """A step whose gradients a closure computes."""

    __slots__ = ("function", "label")

    def __init__(
        self, label: str, edges: Sequence[Any], array: np.ndarray, function: Callable[[Any], Sequence[Any]]
    ) -> None:
        self.label = label
        self.function = function
        self._start(edges, array)

    def name(self) -> str:
        return self.label

    def vjp(self, g: Tensor) -> Sequence[Any]:
        return self.function(g)


def record(spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any], result: Tensor) -> None:
    """Give `result` its history, if an operand requires grad and the operation has a derivative.

    Costs about 2 us; every operation on a tensor that requires grad pays it.
    """
    rule = VJPS.get(spec)
    array = result._array
    if rule is None or array.dtype.kind not in "fcV":
        return
    edges: list[Any] = []
    saved: dict[str, Saved] = {}
    shapes: Sequence[tuple] | None = None
    keeps_result = needed = False
    for position, t in enumerate(operands):
        edge: Any = (t._node or (t if t._requires_grad else None)) if t._base is None else edge_of(t)
        partial = None if edge is None else rule.partial(position)
        if partial is None:
            edges.append(None)
            continue
        edges.append(edge)
        needed = True
        keeps_result |= partial.needs_result
        if partial.needs_shapes and shapes is None:
            shapes = [shape_of(t) for t in operands]
        for name, index in partial.saves:
            if name not in saved:
                saved[name] = Saved(operands[index], edge_of(operands[index]), name)
    if not needed:
        return
    node = OpNode.__new__(OpNode)
    node.spec = spec
    node.attributes = attributes
    node.shapes = shapes
    node.saved = saved
    node._start(edges, array)
    if state.recorder is not None:
        node.shape = shape_of(result)
    result._node = node
    result._requires_grad = True
    if keeps_result:
        saved["result"] = Saved(result, _RESULT, "result")
    if state.saved_hooks is not None:
        from .graph import pack

        node.saved = {name: pack(s, result) for name, s in saved.items()}


def sized(node: Node, tensor: Tensor) -> Node:
    """`node` with the sizes of the tensor it made, symbolic ones where a program is recorded."""
    node.shape = shape_of(tensor)
    return node


def edge_of(t: Tensor) -> Any:
    """Where t's gradient goes: a Node, the leaf tensor itself, or None."""
    if t._base is not None and t._seen != t._storage.rebased:
        refresh(t)
    if t._node is not None:
        return t._node
    return t if t._requires_grad else None


def with_history(saved: Saved, node: Node) -> Tensor:
    """A tensor on the memory that `node` saved, whose gradient goes to the saved edge."""
    array = saved.array
    edge = node.result_edge(saved.edge.position, array) if isinstance(saved.edge, OwnResult) else saved.edge
    result = object.__new__(Tensor)
    result._array, result._storage, result._view = array, saved.storage, saved.view
    result._base = result._grad = result._hooks = None
    result._seen = saved.storage.rebased
    if edge is None or isinstance(edge, Node):
        result._node = edge
    else:  # a leaf whose memory has been exchanged (`.data = ...`) or copied
        result._node = sized(CallNode("AliasBackward", (edge,), array, lambda g: (g,)), edge)
    result._requires_grad = edge is not None
    return result


# Writes


def check_write(target: Tensor, value: Tensor) -> bool:
    """Whether a write must change gradient history. Raises RuntimeError where autograd forbids the write."""
    if target._seen == NO_GRAD_VIEW:
        if edge_of(value) is None:
            return False
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Its base would "
            "not get the gradient: make the view with grad mode on, or write inside no_grad."
        )
    root = target if target._base is None else target._base
    if root._requires_grad and root._node is None:
        what = "a leaf Variable" if target._base is None else "a view of a leaf Variable"
        raise RuntimeError(f"{what} that requires grad is being used in an in-place operation.")
    return root._requires_grad or edge_of(value) is not None


def rebase(target: Tensor, value: Tensor) -> None:
    """Give the memory that `target` looks at the history of a write of `value` to it."""
    storage, base = target._storage, target._base
    if state.undo is not None:
        state.undo.change(target if base is None else base)
    if base is None:
        edge = edge_of(value)
        if edge is None or edge is value:
            before = edge_of(target)
            edge = CallNode(
                "CopyBackward", (before, edge), target._array, lambda g: (None if before is None else zeros_like(g), g)
            )
            sized(edge, target)
        target._node = edge
        target._requires_grad = True
        storage.rebased = target._seen = next(rebasings)
        return
    chain = target._view[len(base._view) :]
    edges = edge_of(base), edge_of(value)
    of_base, of_value = (edge is not None for edge in edges)

    def vjp(g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inner = read_chain(g, chain)
        return write_chain(g, chain, zeros_like(inner)) if of_base else None, inner if of_value else None

    node = sized(CallNode("ViewWriteBackward", edges, base._array, vjp), base)
    base._node = node
    base._requires_grad = True
    storage.rebased = next(rebasings)


def refresh(view: Tensor) -> None:
    """Derive a view's history anew from its base, whose memory has been rebased."""
    if view._seen == NO_GRAD_VIEW:
        return
    base = view._base
    assert base is not None
    if state.undo is not None:
        state.undo.change(view)
    view._seen = view._storage.rebased
    before = state.grad_enabled
    state.grad_enabled = True
    try:
        derived = read_chain(base, view._view[len(base._view) :])
    finally:
        state.grad_enabled = before
    view._node = derived._node
    view._requires_grad = derived._requires_grad


def read_chain(x: Tensor, chain: Sequence[tuple[OpSpec, Mapping[str, Any]]]) -> Tensor:
    """The view of x that a chain of view operations leads to."""
    from ..dispatch import apply

    for spec, attributes in chain:
        x = apply(spec, (x,), attributes)
    return x


def write_chain(x: Tensor, chain: Sequence[tuple[OpSpec, Mapping[str, Any]]], value: Tensor) -> Tensor:
    """x with the part that `chain` leads to replaced by `value`, without changing x's memory."""
    from ..dispatch import apply

    if not chain:
        return value
    (spec, attributes), rest = chain[0], chain[1:]
    if rest:
        value = write_chain(apply(spec, (x,), attributes), rest, value)
    if spec is ops.SLICE:
        where = {"starts": attributes["starts"], "steps": attributes["steps"]}
        return apply(ops.SLICE_UPDATE, (x, value), where)
    if spec is ops.PERMUTE:
        inverse = np.argsort(attributes["permutation"]).tolist()
        return apply(ops.PERMUTE, (value,), {"permutation": tuple(inverse)})
    if spec in (ops.RESHAPE, ops.BROADCAST_TO):  # nothing is stretched: check_writable has seen to that
        return apply(ops.RESHAPE, (value,), {"shape": shape_of(x)})
    if spec is ops.REAL:
        return apply(ops.MAKE_COMPLEX, (value, apply(ops.IMAG, (x,))))
    if spec is ops.IMAG:
        return apply(ops.MAKE_COMPLEX, (apply(ops.REAL, (x,)), value))
    if spec in (ops.VIEW_AS_REAL, ops.VIEW_AS_COMPLEX):
        return apply(ops.VIEW_AS_COMPLEX if spec is ops.VIEW_AS_REAL else ops.VIEW_AS_REAL, (value,))
    raise RuntimeError(f"a write through a {spec.name} view has no gradient; call clone() on the view first")


def zeros_like(g: Tensor) -> Tensor:
    """Zeros of g's shape and dtype, as an operation on g's sizes."""
    from ..ops.creation import zeros_like as make

    return make(g)


def changed(saved: Saved, node: Node) -> str:
    """What to say of a saved tensor whose memory has been written since."""
    where = saved.storage.written_at
    dtype, shape = saved.array.dtype, list(saved.array.shape)
    return (
        f"one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{dtype} {shape}], saved as {saved.role} of {node.name()}, is at version {saved.storage.version}; "
        f"expected version {saved.version} instead."
        + (f" It was last written at {where[0]}:{where[1]}." if where else "")
        + " Write to a clone() instead."
    )
