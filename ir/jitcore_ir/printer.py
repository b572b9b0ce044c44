"""Graphs as text that `parser` reads back exactly: names, types, attributes, locations.

```
graph @main(%x: f32[N,3], %w: f32[3,4]) {
  %y = dot(%x, %w) : f32[N,4] @ "model.py":12
  %0 = sum(%y) {axes = [1], keepdims = false} : f32[N] @ "model.py":13
  return(%0)
}
```

A value without a name is numbered in order of appearance; the second value called `x` is `%x#1`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from .dense import format_dense, format_float
from .dtypes import from_numpy
from .graph import Block, Graph, Operation, Value
from .location import Location
from .spec import Kind
from .types import TensorType

PLAIN_NAME = re.compile(r"[^\W\d][\w.]*")


class Names:
    """The names that values are printed under: handed out as values appear, then kept.

    One object used for several printings names a value the same in each, so that their differences are real ones.
    """

    def __init__(self) -> None:
        self.given: dict[Value, str] = {}
        self.seen: dict[str, int] = {}
        self.unnamed = 0

    def __getitem__(self, value: Value) -> str:
        found = self.given.get(value)
        if found is None:
            found = self.given[value] = self.new(value.name)
        return found

    def new(self, name: str) -> str:
        if not name:
            self.unnamed += 1
            return f"%{self.unnamed - 1}"
        count = self.seen[name] = self.seen.get(name, -1) + 1
        return f"%{quote_name(name)}" + (f"#{count}" if count else "")


def print_graph(graph: Graph, *, locations: bool = True, elide: int | None = None, names: Names | None = None) -> str:
    """The text of `graph`. `elide` leaves out arrays of more than so many bytes; such text is for reading only."""
    printer = _Printer(names or Names(), locations, elide)
    lines = [f"graph @{quote_name(graph.name)}({printer.arguments(graph.block)}) {{"]
    printer.block(graph.block, "  ", lines)
    return "\n".join([*lines, "}", ""])


def print_operation(operation: Operation, *, elide: int | None = 256) -> str:
    """One operation on one line, its regions left out: for error messages and dumps."""
    printer = _Printer(Names(), True, elide)
    for value in operation.operands:
        printer.names[value]
    return printer.head(operation) + (" { ... }" if operation.regions else "")


def quote_name(name: str) -> str:
    """A name as it is written after `%` or `@`: in quotes where it is not plain."""
    return name if PLAIN_NAME.fullmatch(name) else json.dumps(name)


def format_attribute(kind: Kind, value: Any, elide: int | None = None) -> str:
    """An attribute's value as text."""
    return format_dense(value, elide) if kind is Kind.DENSE else _FORMATS[kind](value)


class _Printer:
    def __init__(self, names: Names, locations: bool, elide: int | None) -> None:
        self.names = names
        self.locations = locations
        self.elide = elide

    def arguments(self, block: Block) -> str:
        return ", ".join(f"{self.names[a]}: {a.type}" for a in block.arguments)

    def block(self, block: Block, indent: str, lines: list[str]) -> None:
        for operation in block.operations:
            text = indent + self.head(operation)
            for region in operation.regions:
                lines.append(f"{text} {{ ^({self.arguments(region.block)}):")
                self.block(region.block, indent + "  ", lines)
                text = indent + "}"
            lines.append(text)

    def head(self, operation: Operation) -> str:
        operands = ", ".join(self.names[v] for v in operation.operands)
        text = f"{operation.spec.name}({operands})"
        if operation.attributes:
            text += f" {{{', '.join(self.attributes(operation))}}}"
        if operation.results:
            names = ", ".join(self.names[v] for v in operation.results)
            text = f"{names} = {text} : {', '.join(str(v.type) for v in operation.results)}"
        if self.locations and operation.location.line:
            text += f" @ {_location(operation.location)}"
        return text

    def attributes(self, operation: Operation) -> Iterable[str]:
        kinds = operation.spec.attributes
        for name in [n for n in kinds if n in operation.attributes]:
            yield f"{name} = {self.attribute(operation, kinds[name], operation.attributes[name])}"
        for name in [n for n in operation.attributes if n not in kinds]:
            yield f"{name} = <not an attribute: {operation.attributes[name]!r}>"

    def attribute(self, operation: Operation, kind: Kind, value: Any) -> str:
        try:
            text = format_attribute(kind, value, self.elide)
            if kind is Kind.DENSE and not _is_result_type(operation, dense := dense_type(value)):
                text = f"{dense} {text}"
        except (AttributeError, TypeError, ValueError):  # an invalid graph must still print, for its error message
            text = f"<not {kind.value}: {value!r}>"
        return text


def dense_type(array: Any) -> TensorType:
    """The type of a DENSE attribute."""
    return TensorType(from_numpy(array.dtype), array.shape)


def _is_result_type(operation: Operation, type: TensorType) -> bool:
    """An array of the operation's own type is written without one."""
    return len(operation.results) == 1 and operation.results[0].type == type


def _location(location: Location) -> str:
    return f"{json.dumps(location.file)}:{location.line}"


def _sequence(values: Iterable[Any]) -> str:
    return f"[{', '.join(str(v) for v in values)}]"


_FORMATS: dict[Kind, Callable[[Any], str]] = {
    Kind.INT: str,
    Kind.FLOAT: format_float,
    Kind.BOOL: lambda value: "true" if value else "false",
    Kind.STRING: json.dumps,
    Kind.DTYPE: lambda value: value.short,
    Kind.DIM: str,
    Kind.INTS: _sequence,
    Kind.DIMS: _sequence,
    Kind.PAIRS: lambda value: _sequence(f"({low}, {high})" for low, high in value),
}
