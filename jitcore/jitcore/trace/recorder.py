"""`Recorder`: one eager run, written down operation by operation as a Graph.

`dispatch` calls a recorder while it is installed in `state.recorder`. Memory is made functional here: each storage
has a current Value, a write makes a new one, a read of a view applies the view's chain to it. Storages the run did
not make itself are *roots* of the recording: arguments, captured tensors, gradients, run-time scalars. Writes to
them are committed after a replay.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from jitcore_ir import UNKNOWN, Graph, Location, OpSpec, TensorType, Value, ops, shapes
from jitcore_ir.assumptions import assuming
from jitcore_ir.dtypes import from_numpy
from jitcore_ir.errors import IRError, ShapeError
from jitcore_ir.shapes import Dim, Expr
from jitcore_runtime.errors import LinAlgError

from ..autograd.tape import sequence_mark
from ..errors import TraceError
from ..source import user_location
from ..symbolic import symbolic
from ..tensor import wrap
from .containers import Path
from .reads import Reads
from .roots import GradientSlot, Read, Root
from .sizes import Sizes
from .sources import Argument, GradientOf, Integer, Source
from .views import Chain, graph_attributes, read_through, starts_with, whole_memory, write_through


@dataclass(eq=False)
class Recorder(Reads):
    """Implements what `dispatch` calls while recording. `problem` is set where the run cannot be replayed."""

    name: str = "main"
    graph: Graph = field(init=False)
    roots: list[Root] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    gradients: dict[int, GradientSlot] = field(default_factory=dict)
    looked_at: dict[int, tuple[Any, bool]] = field(default_factory=dict)
    """Outside tensors of which Python asked whether they are leaves, by id, with the answer."""
    hooked: dict[int, Any] = field(default_factory=dict)
    """Leaves whose gradients came in, by id."""
    hooks_put: dict[int, tuple[Any, tuple[int, bool]]] = field(default_factory=dict)
    """Tensors on which the run puts hooks, by id, with what `hooks_on` said before."""
    layouts: list[tuple[Any, Any, list[Expr], Location]] = field(default_factory=list)
    """Memory from which other memory was copied, or was not, by what sizes are 1: with both, and those sizes."""
    pins: dict[int, tuple[float, Location]] = field(default_factory=dict)
    """Argument leaves on whose very number the run depends."""
    problem: str | None = None
    aliases: dict[int, int] = field(default_factory=dict)
    """Argument leaves, by the tensor's id, in memory that another graph input stands for."""
    effects: list[Any] = field(default_factory=list)
    """What the function printed and put off (see `effects`)."""
    repeats_warnings: ClassVar[bool] = True
    """Whether replays give warnings that the function gave."""
    put_off: bool = False
    """Whether hyperparameters have changed by a call that replays make when the program has run."""
    texts: list[Any] = field(default_factory=list)
    """Texts made of numbers, of which nobody knows yet what becomes of them."""
    numbers: list[Any] = field(default_factory=list)
    """Weak references to the numbers Python was given."""
    open: bool = True
    """Whether the run is still going on."""
    exact: bool = False
    """Replays must have the bits of eager runs."""
    sizes: Sizes = field(default_factory=Sizes)
    integers: set[str] = field(default_factory=set)
    """Symbols that are integers from outside rather than sizes of tensors."""
    disagrees: bool = False
    """A shape of the graph is not what the run gave: to be recorded without symbols."""
    containers: dict[int, Path] | None = None
    """Lists and dicts among the arguments, by id, with their places; None where results are made of new ones always."""
    on_hooks: Callable[[Any], None] = lambda tensor: None
    """Told of leaves whose hooks are about to be run."""
    made_up: bool = False
    """The inputs hold made-up values: an operation that does not take them (a singular matrix) gives zeros."""
    forgiven: tuple[type[Exception], ...] = (LinAlgError,)
    streams: tuple[Any, ...] = field(default_factory=lambda: (sys.stdout, sys.stderr))
    """Where print() printed when the run began."""
    mark: int = field(default_factory=sequence_mark)
    """Nodes of the tape with lower numbers were there before the run."""

    def __post_init__(self) -> None:
        self.graph = Graph(self.name)
        self._inside: dict[int, Value] = {}  # storage id -> current value, for storages this run made
        self._roots_of: dict[int, list[Root]] = {}  # storage id -> roots on it
        self._written: set[int] = set()  # ids of storages that this run made and then wrote
        self._alive: list[Any] = []  # keeps storages, and so their ids, from being reused
        self._views: dict[tuple[int, int], tuple[Any, Value]] = {}
        self._owners: dict[Value, int] = {}  # value of a result -> id of the storage that it is of
        self.sizes.listeners.append(self._replace_symbols)

    # What dispatch calls

    def operation(self, spec: OpSpec, operands: Sequence[Any], attributes: Mapping[str, Any], result: Any) -> None:
        location = user_location()
        if result._view and any(result._storage is x._storage for x in operands[:1]):
            # A view: derived from its storage whenever it is read. Memory from outside enters as the operand, not as
            # the view, so that a later use of the operand itself finds the same root.
            self._value(operands[0], location)
            self._agrees(spec, self._value(result, location), result, location)
            return
        values = [self._value(x, location) for x in operands]
        try:
            produced = self._append(spec, values, graph_attributes(attributes), location)
        except IRError as error:  # the NumPy kernel takes what the graph does not, or not with symbols
            self.disagrees = bool(self.sizes)
            self.refuse(f"{error}, which jitcore cannot record", location)
            produced = self._append(ops.CONSTANT, [], {"value": np.array(result._array)}, location)
        self._agrees(spec, produced, result, location)
        self._make(result, produced)

    def write(self, target: Any, value: Any) -> None:
        location = user_location()
        update = self._fit(self._value(value, location), target, location)
        storage = id(target._storage)
        try:
            if storage in self._inside:
                chain, current = target._view, self._inside[storage]
                self._inside[storage] = write_through(self._emitter(location), current, chain, update)
                self._written.add(storage)
                return
            root = self.outside_root(target)
            chain = target._view[len(root.chain) :]
            root.current = write_through(self._emitter(location), root.current, chain, update)
            root.written = True
            root.location = location
        except TraceError as error:
            self.refuse(str(error), location)

    def replace(self, tensor: Any) -> None:
        if not self.is_inside(tensor):
            what = "a tensor from outside gets other memory or another shape (data =, resize_, set_, squeeze_, out=)"
            self.refuse(what, user_location())

    def create(self, tensor: Any) -> None:
        if tensor._storage.shared:
            self.refuse("a tensor that shares memory with a NumPy array made inside the function", user_location())
        self._make(tensor, self._append(ops.CONSTANT, [], {"value": np.array(tensor._array)}, user_location()))

    def get_grad(self, tensor: Any) -> None:
        slot = self._gradient_slot(tensor)
        if slot.assigned or slot.observed:
            return
        slot.observed = True
        if slot.before is not None and not self.is_inside(slot.before):  # else one that the run retained
            dims = self._value(tensor, UNKNOWN).type.shape if self.sizes else None
            self.add_root(slot.before, f"gradient{len(self.roots)}", GradientOf(tensor), dims)

    def set_grad(self, tensor: Any, grad: Any) -> None:
        slot = self._gradient_slot(tensor)
        slot.assigned = True
        slot.after = grad

    def shape(self, tensor: Any) -> tuple | None:
        if not self.sizes:
            return None
        dims = self._value(tensor, UNKNOWN).type.shape
        return tuple(symbolic(d, n, self.top) for d, n in zip(dims, tensor._array.shape, strict=True))

    def look(self, tensor: Any, what: str) -> None:
        if what == "is_leaf":
            if not self.is_inside(tensor):
                self.looked_at[id(tensor)] = (tensor, tensor._node is None)
        elif what == "data_ptr()" or not self.is_inside(tensor):
            self.refuse(f"{what} of a tensor, which is another one in each call", user_location())

    def backward(self, node: Any) -> None:
        if node.sequence < self.mark:
            self.refuse("gradients flow into the history of a tensor from outside", user_location())

    def run_hooks(self, tensor: Any) -> None:
        if id(tensor) not in self.hooked:
            self.hooked[id(tensor)] = tensor
            self.on_hooks(tensor)

    def size_relation(self, difference: Expr, relation: str, needed: bool) -> None:
        """Python has learned whether `difference relation 0`; `needed`: for an operation, rather than for the user's
        code."""
        self.sizes.rely_on(difference, relation, user_location(), needed)

    # What the tracer calls

    def hook_is_put(self, tensor: Any) -> None:
        """A hook is about to be put on a tensor."""
        self.hooks_put.setdefault(id(tensor), (tensor, hooks_on(tensor)))

    def layout_is_used(self, source: Any, result: Any, sizes: list[Expr]) -> None:
        """Whether two storages are one was decided by which sizes are 1. (Nobody writes to what an export returns.)"""
        if not self.made_up:
            self.layouts.append((source, result, sizes, user_location()))

    def settle_layouts(self, returned: set[int]) -> None:
        """Rely on these decisions where it can be seen that two storages are one: one of them is written, or both get
        out. `returned`: ids of storages of results."""
        written = self._written | {id(root.tensor._storage) for root in self.roots if root.written}
        for source, result, sizes, location in self.layouts:
            gets_out = id(result) in returned and (id(source) in returned or id(source) not in self._inside)
            if gets_out or id(source) in written or id(result) in written:
                for size in sizes:
                    self.sizes.rely_on(shapes.sub(size, 1), ">", location, True)

    def integer(self, leaf: int, dim: Dim, value: int) -> Any:
        """An integer argument that is a symbol. It enters as the size of an empty tensor."""
        self.add_root(wrap(np.empty((value, 0))), f"arg{leaf}", Integer(leaf), (dim, 0))
        self.integers.update(shapes.symbols_of(dim))
        return symbolic(dim, value, self)

    def add_root(
        self, tensor: Any, name: str, source: Source | None, dims: tuple[int | Expr, ...] | None = None
    ) -> Root:
        """Declare outside memory; `dims` gives its shape where some sizes are symbolic."""
        type = TensorType(from_numpy(tensor._array.dtype), dims or tensor._array.shape)
        value = self.graph.block.add_argument(type, name)
        root = Root(tensor, tensor._view, value, value, source, memory=id(tensor._storage))
        self.roots.append(root)
        self._roots_of.setdefault(id(tensor._storage), []).append(root)
        self._alive.append(tensor._storage)
        return root

    def scalar(self, number: float, name: str, source: Source, make: Any) -> Any:
        """A Python number that each replay reads anew, as a 0-d float64 tensor made by `make`."""
        if self.put_off:
            self.refuse(
                f"{name} is read after a schedule's step, which waits for the end of each call", user_location()
            )
        for root in self.roots:
            if root.source == source:
                return root.tensor
        return self.add_root(make(number), name, source).tensor

    def returned(self, tensor: Any) -> int:
        """The number of a graph input that exists only because the run returns this very argument."""
        position = self.aliases[id(tensor)]
        type = TensorType(from_numpy(tensor._array.dtype), self.shape(tensor) or tensor._array.shape)
        value = self.graph.block.add_argument(type, f"arg{position}")
        self.roots.append(Root(tensor, tensor._view, value, value, Argument(position), memory=id(tensor._storage)))
        return len(self.roots) - 1

    def value_of(self, tensor: Any) -> Value:
        """The graph value that `tensor` holds now."""
        return self._value(tensor, user_location())

    @property
    def top(self) -> Recorder:
        """The recorder of the whole run, where this one records a part of it."""
        return self

    def viewed(self, value: Value, chain: Chain) -> Value:
        """`value` after the steps of `chain`, once the run is over."""
        self.open = True
        value = read_through(self._emitter(UNKNOWN), value, chain)
        self.open = False
        return value

    def is_inside(self, tensor: Any) -> bool:
        """Whether the tensor's memory was made by this run."""
        return id(tensor._storage) in self._inside

    def own_value(self, tensor: Any) -> Value:
        """The value of the whole storage of a tensor made by this run, which no other storage's is: a copy of it where
        one has been asked for (`a.copy_(b)`)."""
        storage = id(tensor._storage)
        value = self._inside[storage]
        if self._owners.setdefault(value, storage) != storage:
            value = self._inside[storage] = self._append(ops.COPY, [value], {}, UNKNOWN)
            self._owners[value] = storage
        return value

    def root_of(self, tensor: Any) -> Root | None:
        """The root whose memory the tensor is in, if it is in one."""
        for root in self._roots_of.get(id(tensor._storage), ()):
            if starts_with(tensor._view, root.chain):
                return root
        return None

    def outside_root(self, tensor: Any) -> Root:
        """The root a captured tensor lies in: the whole of its storage, so that all views of it meet there; but a view
        that gradients flow to is a root itself."""
        known = self.root_of(tensor)
        if known is not None:
            return known
        if tensor._view and id(tensor._storage) not in self._roots_of and not tensor.requires_grad:
            tensor = whole_memory(tensor)
        return self.add_root(tensor, f"captured{len(self.roots)}", None)

    def refuse(self, what: str, location: Location) -> None:
        """Note why this run cannot be replayed; the first reason is kept."""
        if self.problem is None:
            self.problem = f"{what} at {location}"

    def aliasing_problem(self) -> str | None:
        """Why writes cannot be committed: a storage that is written and entered at more than one view."""
        for roots in self._roots_of.values():
            written = [r for r in roots if r.written]
            if written and len(roots) > 1:
                return f"a tensor that is written shares its memory with another one at {written[0].location}"
        return None

    # Values

    def _value(self, tensor: Any, location: Location) -> Value:
        storage = id(tensor._storage)
        whole = self._inside.get(storage)
        chain = tensor._view
        if whole is None:
            root = self.outside_root(tensor)
            whole, chain = root.current, chain[len(root.chain) :]
        if not chain:
            return whole
        key = (id(whole), id(tensor._view))
        known = self._views.get(key)
        if known is None:
            known = (tensor._view, read_through(self._emitter(location), whole, chain))
            self._views[key] = known  # holds the chain so that its id is not reused
        return known[1]

    def _make(self, tensor: Any, value: Value) -> None:
        self._inside[id(tensor._storage)] = value
        self._alive.append(tensor._storage)

    def _fit(self, value: Value, target: Any, location: Location) -> Value:
        """`value` in the dtype and shape of the memory it is written to."""
        dtype = from_numpy(target._array.dtype)
        if value.type.dtype is not dtype:
            value = self._append(ops.CAST, [value], {"dtype": dtype}, location)
        shape = self._value(target, location).type.shape
        if value.type.shape != shape:
            value = self._append(ops.BROADCAST_TO, [value], {"shape": shape}, location)
        return value

    def _gradient_slot(self, tensor: Any) -> GradientSlot:
        slot = self.gradients.get(id(tensor))
        if slot is None:
            slot = self.gradients[id(tensor)] = GradientSlot(tensor, tensor._grad, after=tensor._grad)
        return slot

    def _append(
        self, spec: OpSpec, values: Sequence[Value], attributes: Mapping[str, Any], location: Location
    ) -> Value:
        if not self.sizes:
            return self.graph.block.append(spec, values, attributes, location).result
        while True:  # again where the shape rule has found that sizes must be equal: some symbols are replaced then
            answers = self.sizes.assumptions(location)
            current = {name: self._current(value) for name, value in attributes.items()}
            try:
                with assuming(answers):
                    operation = self.graph.block.append(spec, values, current, location)
            except ShapeError:  # a rule that does not take symbols, as the run itself went well
                if answers.solved or self.sizes.pin([d for v in values for d in v.type.shape], location):
                    continue
                raise
            if not answers.solved:
                return operation.result
            self.graph.block.erase([operation])

    def _current(self, attribute: Any) -> Any:
        """An attribute after all replacements of symbols."""
        if isinstance(attribute, tuple):
            return tuple(map(self._current, attribute))
        return self.sizes.current(attribute) if isinstance(attribute, Expr) else attribute

    def _replace_symbols(self) -> None:
        """Put what some symbols have turned out to be into the graph so far."""
        values = list(self.graph.inputs)
        for operation in self.graph.walk():
            values += operation.results
            values += [v for region in operation.regions for v in region.block.arguments]
            for name, attribute in operation.attributes.items():
                operation.attributes[name] = self._current(attribute)
        for value in values:
            if not shapes.is_static(value.type.shape):
                value.type = TensorType(value.type.dtype, self.sizes.current_shape(value.type.shape))

    def _agrees(self, spec: OpSpec, value: Value, result: Any, location: Location) -> None:
        """Refuse the recording where the graph's idea of a result's shape is not what the run gave."""
        if self.sizes and tuple(map(self.sizes.number, value.type.shape)) != result._array.shape:
            self.disagrees = True
            self.refuse(
                f"{spec.name} gave the shape {list(result._array.shape)} where the program has {value.type}", location
            )

    def _emitter(self, location: Location) -> Any:
        return lambda spec, values, attributes: self._append(spec, values, attributes, location)


def hooks_on(tensor: Any) -> tuple[int, bool]:
    """How many hooks a tensor's gradient has, and whether it is to be kept."""
    if tensor._node is not None:
        return len(tensor._node.hooks or ()), tensor._node.retains is not None
    return 0 if tensor._hooks is None else len(tensor._hooks.before) + len(tensor._hooks.after), False
