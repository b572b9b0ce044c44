"""Values that Python sees while a run is recorded: they become guards, or numbers that know where they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jitcore_ir import Graph, Location, OpSpec, Value, ops
from jitcore_ir.dtypes import float64, int64
from jitcore_ir.shapes import Expr

from ..source import user_location
from ..tensor import wrap
from .numbers import RecordedNumber, plain
from .roots import Read
from .sources import Number

MOST_READ = 256
"""Elements up to which `tolist()` gives numbers that know where they are from."""


class Reads:
    """The part of a `Recorder` that values seen by Python go through."""

    if TYPE_CHECKING:  # what the recorder has besides
        graph: Graph
        reads: list[Read]
        pins: dict[int, tuple[float, Location]]
        open: bool
        numbers: list[Any]
        texts: list[Any]

        def _value(self, tensor: Any, location: Location) -> Value: ...
        def _append(self, spec: OpSpec, values: Any, attributes: Any, location: Location) -> Value: ...
        def _make(self, tensor: Any, value: Value) -> None: ...
        def add_root(self, tensor: Any, name: str, source: Any) -> Any: ...
        def refuse(self, what: str, location: Location) -> None: ...

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
