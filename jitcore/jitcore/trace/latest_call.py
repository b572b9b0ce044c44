"""`LatestCall`: the call that the next one is compared with first, and the shortest way from arguments to a result.

Where one program does the whole of a call, all that happens before it runs is written out as one function for the call
as it was: nothing is looped over, and an input is one comparison of its memory's layout and one address. The long way
(a key, the tree, the executor's own checks) takes three times as long, and finds out what is different.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from jitcore_runtime.arena import address_of
from jitcore_runtime.errors import DivisionError, GuardFailed, InputError, OperationFailed, PositionError

from ..random import Generator
from ..storage import Storage, layout_of
from ..tensor import Size, Tensor
from .containers import LEAF, Apart, Flattening, count_containers, count_leaves, has_shared
from .keys import modes
from .sources import Argument
from .tree import MISSED, Node
from .variant import CannotReplay, Variant

Find = Callable[[tuple, dict], tuple[Sequence[Any], list[Tensor], list[Any], list[Storage]] | None]

_BY_VALUE = (int, str, bool)


@dataclass(frozen=True, slots=True)
class LatestCall:
    """The latest replayed call for which one program did it all.

    `find(arguments, keywords)` gives the leaves of a call with the same key for which the recording holds, the
    program's inputs, what `run` takes for them, and their memory, which is to be held while it runs (another thread may
    give a tensor other data); None for another call.
    """

    variant: Variant
    find: Find
    run: Callable[[list[Any]], list[Any]]

    def replay(self, arguments: tuple, keywords: dict) -> Any:
        """Replay the program, or return MISSED with nothing changed: then the long way finds out what to do."""
        variant = self.variant
        try:
            found = self.find(arguments, keywords)
            if found is None:
                return MISSED
            leaves, inputs, given, _memories = found
            variant.check_memory(inputs)
            call = variant.begin(inputs, arguments, keywords)
            return variant.results(leaves, inputs, self.run(given), call, (arguments, keywords))
        except (GuardFailed, CannotReplay, OperationFailed, PositionError, DivisionError):
            return MISSED

    @classmethod
    def of(
        cls, node: Node, leaves: Sequence[Any], structure: Any, containers: frozenset[int], apart: Apart
    ) -> LatestCall | None:
        """None where comparing with this call takes more than is written out here. `containers` are those of the
        function's, of which none is an argument; `apart` says which objects are taken apart."""
        tensors = [a for a in leaves if isinstance(a, Tensor)]
        if node.variant is None or len({id(a._storage) for a in tensors}) < len(tensors):
            return None
        if has_shared(structure):
            return None
        if any(type(a) is not Tensor or a.__dict__ for a in tensors) or any(type(a) is Generator for a in leaves):
            return None
        try:
            inputs = [find(leaves) for find in node.variant.finders]
            if any(x is None for x in inputs):  # gradients that are gone, now that the call is over
                return None
            bound = node.code.executor.bind([x._array for x in inputs])
        except (CannotReplay, InputError):  # the call itself has changed a shape
            return None
        find = _Finder(node.variant, bound is not None, containers, apart).compile(leaves, structure, inputs)
        return cls(node.variant, find, node.code.executor.run if bound is None else bound)


class _Finder:
    """Writes `LatestCall.find`. Tensors have names in it: `a3` is leaf number 3, `r5` input number 5 where that is no
    argument; `m_a3` is the memory of a tensor and `x_a3` its array."""

    def __init__(self, variant: Variant, by_address: bool, containers: frozenset[int], apart: Apart) -> None:
        self._variant = variant
        self._by_address = by_address
        self._reached = containers
        self._lines: list[str] = []
        self._names: dict[str, Any] = {
            "Tensor": Tensor,
            "Size": Size,
            "address_of": address_of,
            "Flattening": Flattening,
        }
        self._apart = apart
        self._addresses: dict[str, str] = {}
        self._containers: list[str] = []  # expressions for their ids
        self._count = 0

    def compile(self, leaves: Sequence[Any], structure: Any, inputs: Sequence[Tensor]) -> Find:
        self._unless([f"{self._bind(modes)}() == {self._bind(modes())}"])
        _, (positional, named) = structure
        self._unpack(positional, "arguments", 0)
        self._unpack(named, "keywords", count_leaves(positional))
        conditions = [self._same_leaf(f"a{n}", leaf) for n, leaf in enumerate(leaves)]
        memories = [f"m_a{n}" for n, leaf in enumerate(leaves) if type(leaf) is Tensor]
        if len(memories) > 1:
            conditions.append(f"len({{{', '.join(memories)}}}) == {len(memories)}")
        self._tells_apart(conditions)
        self._unless(conditions)
        self._lines.append(f"leaves = ({_row(0, len(leaves))})")
        self._unless([f"{self._bind(self._variant.holds_for)}(leaves)"])
        names, conditions = [], []
        for number, (root, tensor) in enumerate(zip(self._variant.recording.roots, inputs, strict=True)):
            if isinstance(root.source, Argument):
                names.append(f"a{root.source.index}")
                continue
            name = f"r{number}"
            names.append(name)
            self._lines.append(f"{name} = {self._bind(self._variant.finders[number])}(leaves)")
            conditions += [f"{name} is not None", self._same_layout(name, tensor)]
        self._unless(conditions)
        given = [self._addresses[name] if self._by_address else f"{name}._array" for name in names]
        lists = (f"[{', '.join(row)}]" for row in (names, given, [f"m_{name}" for name in names]))
        self._lines.append(f"return leaves, {', '.join(lists)}")
        exec("\n    ".join(["def find(arguments, keywords):", *self._lines]), self._names)
        find: Find = self._names["find"]
        return find

    def _unpack(self, structure: Any, name: str, first: int) -> None:
        """Name the leaves of the tree `name`, from number `first` on, where it has this structure."""
        kind, parts = structure[0], structure[-1]
        is_table = kind is dict and len(structure) == 3  # with strings as keys
        if not is_table and kind not in (tuple, list, Size):
            found = f"f{len(self._lines)}"
            self._lines.append(f"{found} = Flattening(apart={self._bind(self._apart)})")
            self._unless([f"{found}.of({name}) == {self._bind(structure)}"])
            self._lines.append(f"({_row(first, count_leaves(structure))}) = {found}.leaves")
            self._containers.append(f"*map(id, {found}.containers)")
            self._count += count_containers(structure)
            return
        if kind not in (tuple, Size) and name != "keywords":
            self._containers.append(f"id({name})")
            self._count += 1
        if is_table:
            self._unless([f"type({name}) is dict", f"tuple({name}) == {self._bind(structure[1])}"])
        else:
            self._unless([f"type({name}) is {kind.__name__}", f"len({name}) == {len(parts)}"])
        row = ""
        nested: list[tuple[Any, str, int]] = []
        for part in parts:
            if part == LEAF:
                row += _row(first, 1)
            else:
                nested.append((part, f"p{len(self._lines)}_{len(nested)}", first))
                row += f"{nested[-1][1]}, "
            first += count_leaves(part)
        if row:
            self._lines.append(f"{row}= {name}.values()" if is_table else f"{row}= {name}")
        for within in nested:
            self._unpack(*within)

    def _tells_apart(self, conditions: list[str]) -> None:
        """Add that no list, dict or object is there twice, or is one that the function reaches otherwise too."""
        ids = ", ".join(self._containers)
        if self._count > 1:
            conditions.append(f"len({{{ids}}}) == {self._count}")
        if ids and self._reached:
            conditions.append(f"{self._bind(self._reached)}.isdisjoint(({ids},))")

    def _same_leaf(self, name: str, leaf: Any) -> str:
        if type(leaf) is Tensor:
            flag = f"({name}._requires_grad if {name}._base is None else {name}.requires_grad)"
            layout = self._same_layout(name, leaf)
            return f"type({name}) is Tensor and {layout} and {flag} is {leaf.requires_grad} and not {name}.__dict__"
        if type(leaf) is float:
            return f"type({name}) is float"
        expected, kind = self._bind(leaf), self._bind(type(leaf))
        equal = f" or (type({name}) is {kind} and {name} == {expected})" if type(leaf) in _BY_VALUE else ""
        return f"({name} is {expected}{equal})"

    def _same_layout(self, name: str, tensor: Tensor) -> str:
        """That a tensor has the shape, strides and dtype of this one; notes where its address is."""
        memory, array = f"m_{name}", f"x_{name}"
        if tensor._storage.array is tensor._array:  # no view: what is known of the memory will do
            self._addresses[name] = f"{memory}._address"
            tensor._storage.locate()
            layout = self._bind(tensor._storage.layout)
            known = f"({memory}.layout is {layout} if {memory}._address else {memory}.is_laid_out({layout}))"
            return f"({memory} := {name}._storage).array is {name}._array and {known}"
        self._addresses[name] = f"address_of({array})"
        shape, strides, dtype, flags = map(self._bind, layout_of(tensor._array))
        return (
            f"({memory} := {name}._storage) and type({array} := {name}._array) is {self._bind(ndarray)} "
            f"and {array}.shape == {shape} and {array}.strides == {strides} and {array}.dtype == {dtype} "
            f"and {array}.flags.num == {flags}"
        )

    def _unless(self, conditions: Sequence[str]) -> None:
        """A line that gives up where one of these does not hold."""
        if conditions:
            self._lines.append(f"if not ({' and '.join(conditions)}): return None")

    def _bind(self, thing: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = thing
        return name


def _row(first: int, count: int) -> str:
    return "".join(f"a{n}, " for n in range(first, first + count))
