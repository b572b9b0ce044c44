"""`Recorder`: one eager run, written down operation by operation as a Graph.

`dispatch` calls a recorder while it is installed in `state.recorder`. Memory is made functional here: each storage
has a current Value, a write makes a new one, a read of a view applies the view's chain to it. Storages the run did
not make itself are *roots* of the recording: arguments, captured tensors, gradients, run-time scalars. Writes to
them are committed after a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import UNKNOWN, Graph, Location, OpSpec, TensorType, Value, ops, shapes
from jitcore_ir.assumptions import assuming
from jitcore_ir.dtypes import float64, from_numpy, int64
from jitcore_ir.errors import IRError, ShapeError
from jitcore_ir.shapes import Dim, Expr
from jitcore_runtime.errors import LinAlgError

from ..errors import TraceError
from ..source import user_location
from ..symbolic import symbolic
from ..tensor import wrap
from .numbers import RecordedNumber, plain
from .sizes import Sizes
from .sources import Argument, GradientOf, Integer, Number, Source
from .views import Chain, graph_attributes, read_through, starts_with, whole_memory, write_through

MOST_READ = 256
"""Elements up to which `tolist()` gives numbers that know where they are from."""


@dataclass(eq=False, slots=True)
class Root:
    """Memory from outside the recording, entering at one view of one storage.

    `tensor` is the tensor it was first seen as, `value` the graph input, `current` what the memory holds now.
    `source` says how a replay finds the tensor again (see `sources`); None means the same tensor each time.
    """

    tensor: Any
    chain: Chain
    value: Value
    current: Value
    source: Source | None = None
    written: bool = False
    location: Location = UNKNOWN
    memory: int = 0
    """The id of its storage while the function was recorded."""


@dataclass(frozen=True, slots=True)
class Read:
    """A value that decided what Python did. Replays must see the same `outcome`; `value` is the 0-d graph value it came
    from, which is among the first `position` operations."""

    value: Value
    outcome: bool | int | float
    kind: str
    location: Location
    position: int


@dataclass(eq=False, slots=True)
class GradientSlot:
    """What happened to `.grad` of one leaf: the gradient before, whether that was looked at, and the last one set."""

    leaf: Any
    before: Any
    observed: bool = False
    assigned: bool = False
    after: Any = None


@dataclass(frozen=True, slots=True)
class _Before:
    """Outside memory before a write to it: elements (only for the first), and the history of the tensors on it."""

    tensor: Any
    elements: np.ndarray | None
    histories: list[tuple[Any, Any, bool, int]]
    rebased: int

    @classmethod
    def of(cls, tensor: Any, target: Any, is_first: bool) -> _Before:
        touched = [t for t in (tensor, target, target._base) if t is not None]
        histories = [(t, t._node, t._requires_grad, t._seen) for t in touched]
        return cls(tensor, tensor._array.copy() if is_first else None, histories, tensor._storage.rebased)

    def put_back(self) -> None:
        storage = self.tensor._storage
        if self.elements is not None:
            np.copyto(self.tensor._array, self.elements)
            storage.version += 1
        storage.rebased = self.rebased
        for tensor, node, requires_grad, seen in self.histories:
            tensor._node, tensor._requires_grad, tensor._seen = node, requires_grad, seen


@dataclass(eq=False)
class Recorder:
    """Implements what `dispatch` calls while recording. `problem` is set where the run cannot be replayed."""

    name: str = "main"
    graph: Graph = field(init=False)
    roots: list[Root] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    gradients: dict[int, GradientSlot] = field(default_factory=dict)
    hooked: dict[int, Any] = field(default_factory=dict)
    """Leaves whose gradients came in, by id."""
    pins: dict[int, tuple[float, Location]] = field(default_factory=dict)
    """Argument leaves on whose very number the run depends."""
    problem: str | None = None
    aliases: dict[int, int] = field(default_factory=dict)
    """Argument leaves, by the tensor's id, in memory that another graph input stands for."""
    effects: list[Any] = field(default_factory=list)
    """What the function printed and put off (see `effects`)."""
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
    disagrees: bool = False
    """A shape of the graph is not what the run gave: to be recorded without symbols."""
    made_up: bool = False
    """The inputs hold made-up values: an operation that does not take them (a singular matrix) gives zeros."""
    forgiven: tuple[type[Exception], ...] = (LinAlgError,)

    def __post_init__(self) -> None:
        self.graph = Graph(self.name)
        self._inside: dict[int, Value] = {}  # storage id -> current value, for storages this run made
        self._roots_of: dict[int, list[Root]] = {}  # storage id -> roots on it
        self._written: list[tuple[Root, np.ndarray]] = []
        self._alive: list[Any] = []  # keeps storages, and so their ids, from being reused
        self._views: dict[tuple[int, int], tuple[Any, Value]] = {}
        self._undo: list[_Before] = []
        self._kept: list[_Before] = []
        self._saved: set[int] = set()  # ids of the roots whose elements are in there
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
        except IRError as error:  # the NumPy kernel takes what the graph does not
            if self.sizes:
                raise
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
                return
            root = self.outside_root(target)
            self._undo.append(_Before.of(root.tensor, target, id(root) not in self._saved))
            self._saved.add(id(root))
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

    def read(self, tensor: Any, kind: str, outcome: Any) -> Any:
        """What Python shall see for `outcome`: itself, which a replay must see too, or numbers that know where they are
        from."""
        location = user_location()
        if kind == "tolist" and tensor._array.ndim:
            return self._read_list(tensor, outcome, location)
        if kind == "numpy" and tensor._array.ndim:
            self.refuse(f"{kind}() of a tensor of {tensor._array.size} elements", location)
            return outcome
        if isinstance(outcome, np.ndarray):
            outcome = outcome.item()
        value = self._value(tensor, location)
        if value.operation is not None and value.operation.spec is ops.CONSTANT:
            return outcome
        if not isinstance(outcome, bool | int | float):
            self.refuse(f"{kind}() of a {value.type.dtype.name} tensor", location)
            return outcome
        if kind in ("item", "tolist") and type(outcome) in (float, int):
            return RecordedNumber(self, outcome, lambda: self._number(value, outcome, location))
        if kind == "bool":
            zero = self._append(ops.CONSTANT, [], {"value": np.zeros((), value.type.dtype.numpy)}, location)
            value = self._append(ops.NE, [self._scalar(value, location), zero], {}, location)
        elif kind in ("int", "float"):
            value = self._number(value, outcome, location)
        self._guard(self._scalar(value, location), outcome, kind, location)
        return outcome

    def _read_list(self, tensor: Any, outcome: list, location: Location) -> list:
        if tensor._array.size > MOST_READ or tensor._array.dtype.kind not in "iuf":
            self.refuse(f"tolist() of a {tensor.dtype} tensor of {tensor._array.size} elements", location)
            return outcome
        whole = self._value(tensor, location)
        flat: list[Value] = []

        def element(number: int, item: float) -> Value:
            if not flat:
                flat.append(self._append(ops.RESHAPE, [whole], {"shape": (tensor._array.size,)}, location))
            cut = {"starts": (number,), "sizes": (1,), "steps": (1,)}
            return self._number(self._append(ops.SLICE, flat, cut, location), item, location)

        count = iter(range(tensor._array.size))

        def numbers(item: Any) -> Any:
            if isinstance(item, list):
                return [numbers(part) for part in item]
            number = next(count)
            return RecordedNumber(self, item, lambda: element(number, item))

        return numbers(outcome)

    def get_grad(self, tensor: Any) -> None:
        slot = self._gradient_slot(tensor)
        if slot.assigned or slot.observed:
            return
        slot.observed = True
        if slot.before is not None:
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

    def run_hooks(self, tensor: Any) -> None:
        self.hooked[id(tensor)] = tensor

    def size_relation(self, difference: Expr, relation: str, needed: bool) -> None:
        """Python has learned whether `difference relation 0`; `needed`: for an operation, rather than for the user's
        code."""
        self.sizes.rely_on(difference, relation, user_location(), needed)

    # What numbers call (see `numbers`)

    def number(self, leaf: int, value: float) -> RecordedNumber:
        """A float argument, which becomes a graph input when it is used."""

        def enter() -> Value:
            return self.add_root(wrap(np.array(value, np.float64)), f"arg{leaf}", Number(leaf)).value

        return RecordedNumber(self, value, enter, leaf)

    def size_number(self, dim: Expr, value: int) -> RecordedNumber:
        """A size as a number."""
        return RecordedNumber(self, value, lambda: self._append(ops.SIZE, [], {"dim": dim}, user_location()))

    def divided(self, left: Any, right: Any) -> RecordedNumber:
        """`left / right` of numbers, recorded or plain, of which left is a float and right not 0."""
        return RecordedNumber(self, plain(left) / plain(right), lambda: self.combine(ops.DIV, left, right))

    def combine(self, spec: OpSpec, *numbers: Any) -> Value:
        """An operation on numbers, recorded or plain: in float64, or int64 where all are integers."""
        location = user_location()
        integers = all(type(getattr(n, "plain", n)) is not float for n in numbers)
        dtype = int64 if integers else float64
        values = []
        for number in numbers:
            if isinstance(number, bool | int | float) and type(number) is not RecordedNumber:
                made = self._append(ops.CONSTANT, [], {"value": np.array(number, dtype.numpy)}, location)
            else:
                made = number.graph_value()
                if made.type.dtype is not dtype:
                    made = self._append(ops.CAST, [made], {"dtype": dtype}, location)
            values.append(made)
        return self._append(spec, values, {}, location)

    def decide(self, make: Any, outcome: bool) -> None:
        """Python is about to go the way of `outcome`, which the graph value that `make` gives must be again."""
        self._guard(make(), outcome, "comparison", user_location())

    def pin(self, number: RecordedNumber) -> None:
        """The run depends on the very number."""
        location = user_location()
        if number.leaf is not None:
            self.pins.setdefault(number.leaf, (number.plain, location))
        else:
            self._guard(number.graph_value(), number.plain, "number", location)

    def holds(self, tensor: Any, value: Value) -> None:
        """`tensor`, new, has the elements of a graph value."""
        self._make(tensor, value)

    def _number(self, value: Value, outcome: float, location: Location) -> Value:
        dtype = float64 if type(outcome) is float else int64
        if value.type.dtype is not dtype:
            value = self._append(ops.CAST, [value], {"dtype": dtype}, location)
        return self._scalar(value, location)

    def _scalar(self, value: Value, location: Location) -> Value:
        return value if not value.type.rank else self._append(ops.RESHAPE, [value], {"shape": ()}, location)

    def _guard(self, value: Value, outcome: bool | int | float, kind: str, location: Location) -> None:
        """Note that the run holds where `value` is `outcome`; once for each value."""
        if any(read.value is value for read in self.reads):
            return
        self.reads.append(Read(value, outcome, kind, location, len(self.graph.operations)))
        if type(outcome) is float and outcome == 0:  # -0.0 equals 0.0 but does not compute alike
            one = self._append(ops.CONSTANT, [], {"value": np.ones((), value.type.dtype.numpy)}, location)
            inverse = self._append(ops.DIV, [one, value], {}, location)
            zero = self._append(ops.CONSTANT, [], {"value": np.zeros((), value.type.dtype.numpy)}, location)
            positive = self._append(ops.GT, [inverse, zero], {}, location)
            outcome = not np.signbit(outcome)
            self.reads.append(Read(positive, outcome, kind, location, len(self.graph.operations)))

    # What the tracer calls

    def integer(self, leaf: int, dim: Dim, value: int) -> Any:
        """An integer argument that is a symbol. It enters as the size of an empty tensor."""
        self.add_root(wrap(np.empty((value, 0))), f"arg{leaf}", Integer(leaf), (dim, 0))
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

    def storage_value(self, tensor: Any) -> Value:
        """The value of the whole storage of a tensor made by this run."""
        return self._inside[id(tensor._storage)]

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

    def roll_back(self) -> None:
        """Undo the run, which failed: elements of outside memory and gradients are as they were before it."""
        self.undo_writes()
        for slot in self.gradients.values():
            if slot.assigned:
                slot.leaf._grad = slot.before

    def keep_writes(self) -> None:
        """What was written so far stays, unless `undo` is called."""
        self._kept += self._undo
        self._undo.clear()
        self._saved.clear()

    def undo(self) -> None:
        """Leave tensors as they were before the run, which has ended well."""
        self._undo[:0] = self._kept
        self._kept.clear()
        self.roll_back()

    def undo_writes(self) -> None:
        """Give outside memory the elements back that it had before the first write."""
        for before in reversed(self._undo):
            before.put_back()
        self._undo.clear()
        self._saved.clear()

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
