"""Local rewrites: a table of functions by the spec of the operation they look at, and the driver that applies it.

```python
algebra = Patterns("algebra")

@algebra.on(ops.NEG)
def neg_of_neg(op, build):
    inner = defined_by(op.operands[0], ops.NEG)
    return inner.operands[0] if inner else None
```

A rewrite gets an operation with one result and a Builder that inserts before it, and returns the value that takes the
result's place, or None where it does not apply. It changes nothing itself. The value's dtype must be the result's;
where its shape only broadcasts to the result's, the driver adds the `broadcast_to`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

from ..builder import Builder
from ..errors import IRError
from ..graph import Block, Graph, Operation, Value
from ..ops import BROADCAST_TO
from ..spec import OpSpec
from ..types import TensorType
from .dce import is_removable

Rewrite = Callable[[Operation, Builder], Value | None]


class Patterns:
    """A named table of rewrites; calling it applies it to a graph, so it is a pass."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rewrites: dict[OpSpec, list[Rewrite]] = {}

    def on(self, *specs: OpSpec) -> Callable[[Rewrite], Rewrite]:
        """Decorator: try the function on operations of these specs, after those registered before it."""

        def register(rewrite: Rewrite) -> Rewrite:
            for spec in specs:
                self.rewrites.setdefault(spec, []).append(rewrite)
            return rewrite

        return register

    def __call__(self, graph: Graph) -> bool:
        return apply_patterns(graph, self)


def apply_patterns(graph: Graph, patterns: Patterns) -> bool:
    """Rewrite until nothing applies; operations that end up unused go. Returns whether the graph changed.

    Operations are tried in graph order, then again whenever an operand or a user of theirs changes. Raises IRError
    where rewrites undo each other without end.
    """
    return _Driver(graph, patterns).run()


class _Driver:
    """Lists of operations are rebuilt once at the end, so that a rewrite costs nothing in proportion to the graph."""

    def __init__(self, graph: Graph, patterns: Patterns) -> None:
        self.patterns = patterns
        self.queue: deque[Operation] = deque()
        self.queued: set[Operation] = set()
        self.blocks: list[Block] = [graph.block]
        self.inserted: dict[Operation, list[Operation]] = {}  # before which operation
        self.erased: set[Operation] = set()
        self.applied: Counter[str] = Counter()
        for operation in graph.walk():
            self.push(operation)
            self.blocks += [region.block for region in operation.regions]
        self.limit = 1000 + 100 * len(self.queue)

    def run(self) -> bool:
        while self.queue:
            operation = self.queue.popleft()
            self.queued.discard(operation)
            if operation in self.erased:
                continue
            if not any(v.uses for v in operation.results) and is_removable(operation):
                self.erase(operation)
            elif len(operation.results) == 1:
                self.rewrite(operation)
        if not self.inserted and not self.erased:
            return False
        for block in self.blocks:
            block.operations = list(self.rebuilt(block.operations))
        return True

    def rewrite(self, operation: Operation) -> None:
        for rewrite in self.patterns.rewrites.get(operation.spec, ()):
            build = _Inserter(operation)
            value = rewrite(operation, build)
            if value is None:
                for new in reversed(build.created):
                    new.erase_unchecked()
                continue
            self.count(rewrite, operation)
            self.replace(operation, _fit(value, operation, build), build)
            return

    def replace(self, operation: Operation, value: Value, build: _Inserter) -> None:
        if build.created:
            self.inserted.setdefault(operation, []).extend(build.created)
        for new in build.created:
            self.push(new)
        result = operation.result
        if not value.name and value.operation is not None:
            value.name = result.name
        for user, _ in result.uses:
            self.push(user)
        result.replace_all_uses_with(value)
        if value.operation is not None:
            self.push(value.operation)  # it may match more, now that it has other users
        if is_removable(operation):
            self.erase(operation)

    def erase(self, operation: Operation) -> None:
        operands = operation.operands
        operation.erase_unchecked()
        self.erased.add(operation)
        for value in operands:
            if value.operation is not None:
                self.push(value.operation)
            if len(value.uses) == 1:
                self.push(value.uses[0][0])  # it may have waited to be the only user

    def push(self, operation: Operation) -> None:
        if operation not in self.queued and operation not in self.erased:
            self.queued.add(operation)
            self.queue.append(operation)

    def count(self, rewrite: Rewrite, operation: Operation) -> None:
        self.applied[getattr(rewrite, "__name__", str(rewrite))] += 1
        self.limit -= 1
        if self.limit < 0:
            busiest = ", ".join(name for name, _ in self.applied.most_common(3))
            raise IRError(f"{self.patterns.name} does not end at {operation.location}: {busiest} undo each other")

    def rebuilt(self, operations: Iterable[Operation]) -> Iterable[Operation]:
        """The operations that are left, the inserted ones in place (which may have others inserted before them)."""
        for operation in operations:
            stack = [operation]
            while stack:
                if before := self.inserted.pop(stack[-1], None):
                    stack += reversed(before)
                elif (last := stack.pop()) not in self.erased:
                    yield last


class _Inserter(Builder):
    """Keeps what it creates aside, to be put before `anchor` later or dropped."""

    def __init__(self, anchor: Operation) -> None:
        assert anchor.block is not None
        super().__init__(anchor.block, anchor, anchor.location)
        self.created: list[Operation] = []

    def place(self, operation: Operation) -> Operation:
        operation.block = self.block
        self.created.append(operation)
        return operation


def _fit(value: Value, operation: Operation, build: Builder) -> Value:
    """`value` in the shape of the result it replaces."""
    wanted = operation.result.type
    if value is operation.result:
        raise IRError(
            f"a rewrite of {operation.spec.name} gives the result it should replace; None says it does not apply"
        )
    if value.type == wanted:
        return value
    if isinstance(wanted, TensorType) and isinstance(value.type, TensorType) and value.type.dtype is wanted.dtype:
        return build.value(BROADCAST_TO, value, shape=wanted.shape)
    raise IRError(f"a rewrite gives {value} for {operation.spec.name}'s {wanted}; it must keep the type")
