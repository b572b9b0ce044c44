"""`Emitter`: builds the body of one kernel, each operation in the outermost scope where its operands exist.

That placement is the whole of loop-invariant code motion: a load that depends on the row index alone lands in the
row's scope, before the column loop, because the column loop is appended only once its body is complete. Equal pure
operations in enclosing scopes are emitted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import (
    UNKNOWN,
    Block,
    BufferType,
    Graph,
    Location,
    Operation,
    OpSpec,
    Region,
    Value,
    create_operation,
    ops,
)  # fmt: skip
from jitcore_ir.dtypes import DType, int64
from jitcore_ir.ops.elementwise import ACCUMULATOR
from jitcore_ir.shapes import Expr, Extreme, Quotient, Symbol, add

from ..loops.ops import ALLOC, CHECK_INDEX, FOR, IF, LOAD, STORE
from .index import Dim, Index, IndexSpace, Indices, variables_of

Source = Callable[["Emitter", Value, Indices], "Value | None"]


def carrier(dtype: DType) -> DType:
    """The dtype in which a kernel computes with elements of `dtype`: float32 for 16-bit floats."""
    return ACCUMULATOR[dtype]


@dataclass(eq=False, slots=True)
class Scope:
    """A block under construction. `barrier`: what is inside may be unsafe outside (the region of an `if`)."""

    block: Block
    parent: Scope | None = None
    barrier: bool = False
    known: dict[Any, Value] = field(default_factory=dict)
    depth: int = 0

    def enclosing(self) -> Iterator[Scope]:
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@dataclass(eq=False, slots=True)
class Loop:
    """A loop under construction: its index and carried values while inside, its results after."""

    index: Index
    carried: list[Value]
    results: list[Value] = field(default_factory=list)


class Emitter:
    """Builds one kernel. `source` supplies values that come from memory or registers; the rest is computed in place
    by the pointwise `rules`. `numbers` are those that index errors report operations by. `raw` and `tests` collect the
    index expressions used as numbers and the comparisons that decide what is read: facts for fusion."""

    def __init__(
        self, name: str, source: Source, rules: Mapping[OpSpec, Callable[..., Value]], numbers: Mapping[Operation, int]
    ) -> None:
        self.graph = Graph(name)
        self.numbers = numbers
        self.raw: list[Index] = []
        self.tests: list[tuple[OpSpec, Index, Dim]] = []
        self.space = IndexSpace()
        self.scope = Scope(self.graph.block)
        self.top = self.scope
        self.location: Location = UNKNOWN
        self._source = source
        self._rules = rules
        self._homes: dict[Value, Scope] = {}
        self._variables: dict[str, Value] = {}
        self._named: dict[Value, Index] = {}

    # --- values of the tensor graph ---

    def at(self, value: Value, indices: Indices) -> Value:
        """The element of a tensor value at `indices`, as a scalar of its carrier dtype."""
        key = (value, indices)
        for scope in self.scope.enclosing():
            if key in scope.known:
                return scope.known[key]
        found = self._source(self, value, indices)
        if found is None:
            outer, operation = self.location, value.operation
            assert operation is not None, f"{value} has neither memory nor an operation"
            self.location = operation.location
            found = self._rules[operation.spec](self, operation, indices)
            self.location = outer
        self.remember(key, found)
        return found

    def remember(self, key: Any, value: Value) -> None:
        """Let later requests for `key` find `value`, wherever it is in scope."""
        home = self._homes.get(value, self.top)
        inside = any(scope is home for scope in self.scope.enclosing())
        (home if inside and not self._barrier_between(home) else self.scope).known[key] = value

    # --- scalars ---

    def scalar(self, spec: OpSpec, *operands: Value, **attributes: Any) -> Value:
        """A pure scalar operation, placed as far out as its operands allow."""
        key = (spec, operands, *((k, _hashable(v)) for k, v in attributes.items()))
        for scope in self.scope.enclosing():
            if key in scope.known:
                return scope.known[key]
        home = self._home(operands, unsafe=spec in (LOAD, CHECK_INDEX))
        operation = home.block.append(spec, operands, attributes, self.location)
        self._homes[operation.result] = home
        home.known[key] = operation.result
        return operation.result

    def constant(self, value: Any, dtype: DType) -> Value:
        """A scalar constant of `dtype`."""
        return self.scalar(ops.CONSTANT, value=np.asarray(value).astype(dtype.numpy))

    def cast(self, value: Value, dtype: DType) -> Value:
        return value if value.type.dtype is dtype else self.scalar(ops.CAST, value, dtype=dtype)

    def index(self, index: Index) -> Value:
        """The scalar that an index expression is, for a use other than a place in memory."""
        self.raw.append(index)
        return self._index(index)

    def _index(self, index: Index) -> Value:
        if isinstance(index, int):
            return self.constant(index, int64)
        names = variables_of(index)
        if not names:
            return self.scalar(ops.SIZE, dim=index)
        if len(index.terms) == 1 and index.terms[0][0] == 1 and len(index.terms[0][1]) == 1:
            return self._index_atom(index.terms[0][1][0])
        constant: Index = 0
        total: Value | None = None
        for coefficient, atoms in index.terms:
            varying = [a for a in atoms if variables_of(Expr(((1, (a,)),)))]
            fixed = tuple(a for a in atoms if a not in varying)
            scale: Index = Expr(((coefficient, fixed),)) if fixed else coefficient
            if not varying:
                constant = add(constant, scale)
                continue
            part = self._index_atom(varying[0])
            for atom in varying[1:]:
                part = self.scalar(ops.MUL, part, self._index_atom(atom))
            part = part if scale == 1 else self.scalar(ops.MUL, part, self._index(scale))
            total = part if total is None else self.scalar(ops.ADD, total, part)
        assert total is not None
        return total if constant == 0 else self.scalar(ops.ADD, total, self._index(constant))

    def _index_atom(self, atom: Symbol | Quotient | Extreme) -> Value:
        if isinstance(atom, Symbol):
            return self._variables[atom.name] if atom.name.startswith("%") else self._index(Expr(((1, (atom,)),)))
        if isinstance(atom, Quotient):
            spec = ops.FLOOR_DIVIDE if atom.operator == "//" else ops.REMAINDER
            return self.scalar(spec, self._index(atom.numerator), self._index(atom.denominator))
        spec = ops.MAXIMUM if atom.operator == "max" else ops.MINIMUM
        return self.scalar(spec, self._index(atom.left), self._index(atom.right))

    def name_index(self, value: Value, extent: Dim) -> Index:
        """An index expression for an i64 scalar known to lie below `extent`."""
        if extent == 1:
            return 0
        if value not in self._named:
            self._named[value] = self.space.variable(extent)
            self._variables[variables_of(self._named[value])[0]] = value
        return self._named[value]

    # --- memory ---

    def argument(self, type: BufferType, name: str = "") -> Value:
        """A new buffer that the kernel takes."""
        return self.graph.block.add_argument(type, name)

    def alloc(self, dtype: DType, shape: tuple[Dim, ...]) -> Value:
        """Scratch memory, here."""
        return self._append(ALLOC, (), {"dtype": dtype, "shape": shape}).results[0]

    def load(self, buffer: Value, indices: Indices, moving: bool = True) -> Value:
        """An element of a buffer in its carrier dtype. `moving=False`: read it here and now, for what this kernel
        itself writes."""
        positions = [self._index(i) for i in indices]
        if moving:
            loaded = self.scalar(LOAD, buffer, *positions)
        else:
            loaded = self._append(LOAD, (buffer, *positions), {}).result
        return self.cast(loaded, carrier(loaded.type.dtype))

    def store(self, value: Value, buffer: Value, indices: Indices) -> None:
        positions = [self._index(i) for i in indices]
        self._append(STORE, (self.cast(value, buffer.type.dtype), buffer, *positions), {})

    # --- control ---

    @contextmanager
    def loop(self, extent: Dim, kind: str, carried: Sequence[Value] = (), limit: Index | None = None) -> Iterator[Loop]:
        """A loop; set `results` to what it yields. A loop of extent 1 leaves only its body. `limit`: the number of
        iterations where that is an expression over outer loops, never above `extent`."""
        if extent == 1 and limit is None:
            loop = Loop(0, list(carried))
            yield loop
            return
        bound = self._index(extent if limit is None else limit)
        index = self.space.variable(extent)
        with self.region() as block:
            self.declare(index)
            loop = Loop(index, [self.own(block.add_argument(c.type)) for c in carried])
            yield loop
            block.append(ops.YIELD, loop.results)
        operation = self._append(FOR, (bound, *carried), {"kind": kind}, block)
        loop.results = operation.results

    def branch(self, condition: Value, then: Callable[[], Value], otherwise: Value) -> Value:
        """`then()` where the condition holds, else `otherwise`; `then` is not evaluated elsewhere."""
        with self.region(barrier=True) as block:
            block.append(ops.YIELD, [then()])
        return self._append(IF, (condition, otherwise), {}, block).result

    def guard(self, condition: Value, then: Callable[[], None]) -> None:
        """Do something only where the condition holds."""
        with self.region(barrier=True) as block:
            then()
            block.append(ops.YIELD, [])
        self._append(IF, (condition,), {}, block)

    @contextmanager
    def region(self, barrier: bool = False) -> Iterator[Block]:
        """Build into a fresh block, within the current scope."""
        outer = self.scope
        self.scope = Scope(Block(), outer, barrier, depth=outer.depth + 1)
        try:
            yield self.scope.block
        finally:
            self.scope = outer

    @contextmanager
    def scope_of(self, indices: Indices) -> Iterator[None]:
        """Build in the outermost scope where the variables of `indices` exist: for a loop that an inner one needs."""
        outer = self.scope
        self.scope = self._home([self._variables[n] for i in indices for n in variables_of(i)])
        try:
            yield
        finally:
            self.scope = outer

    def append(
        self, spec: OpSpec, operands: Sequence[Value], attributes: Mapping[str, Any], body: Block | None = None
    ) -> None:
        """An operation without results, here; `body` is its region's block."""
        self._append(spec, operands, attributes, body)

    def bind(self, extents: Sequence[Dim]) -> Indices:
        """Index arguments of the block being built: the position that an operation hands its region."""
        return tuple(self.declare(self.space.variable(extent)) for extent in extents)

    def declare(self, index: Index) -> Index:
        """A variable (or the index 0) is an argument of the block being built."""
        value = self.own(self.scope.block.add_argument(_INDEX_TYPE))
        if index != 0:
            self._variables[variables_of(index)[0]] = value
        return index

    def own(self, value: Value) -> Value:
        """Record that a block argument belongs to the current scope."""
        self._homes[value] = self.scope
        return value

    def finish(self) -> Graph:
        self.graph.block.append(ops.RETURN)
        return self.graph

    def _append(
        self, spec: OpSpec, operands: Sequence[Value], attributes: Mapping[str, Any], body: Block | None = None
    ) -> Any:
        regions = [Region(body)] if body is not None else []
        operation = create_operation(spec, operands, attributes, self.location, regions)
        operation.block = self.scope.block
        self.scope.block.operations.append(operation)
        for result in operation.results:
            self._homes[result] = self.scope
        return operation

    def _home(self, operands: Sequence[Value], unsafe: bool = False) -> Scope:
        """The outermost scope in which the operands exist; `unsafe` operations stay inside the innermost barrier."""
        deepest = max((self._homes.get(v, self.top) for v in operands), key=lambda s: s.depth, default=self.top)
        for scope in self.scope.enclosing():
            if scope is deepest or (unsafe and scope.barrier):
                return scope
        raise AssertionError("an operand is used outside its scope")

    def _barrier_between(self, home: Scope) -> bool:
        for scope in self.scope.enclosing():
            if scope is home:
                return False
            if scope.barrier:
                return True
        return True


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    return value


_INDEX_TYPE = ops.SIZE.infer((), {"dim": 0})[0]
