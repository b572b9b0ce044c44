"""Layers that only hold arguments for one function of `functional`: each is a row of a table.

A row names the function, the constructor's arguments with their defaults (`...` marks one without a default), and what
`repr` shows: "name" the value alone, "name=" with its name, "name?" only where it is true. The layer stores the
arguments under the same names and passes them on. The tables are in `activations`, `pooling`, `losses`, `reshaping`.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter as Argument
from inspect import Signature
from typing import Any, NamedTuple

from ..ops.losses import modern_reduction
from ..tensor import Tensor
from . import functional as F
from .module import Module

REQUIRED: Any = ...
INPLACE = {"inplace": False}
REDUCTION = {"size_average": None, "reduce": None, "reduction": "mean"}
"""The arguments of most losses; the first two are PyTorch's older way to say the third."""


class Row(NamedTuple):
    """`function` of `functional`; `arguments` of the constructor; `shown` by repr; `fixed` further arguments."""

    function: str
    arguments: Mapping[str, Any] = {}
    shown: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = {}


class FromTable(Module):
    """A layer that passes its stored arguments to one function of `functional`."""

    _row: Row

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__()
        try:
            bound = type(self)._signature().bind(*arguments, **keywords)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        bound.apply_defaults()
        given = self.prepared(dict(bound.arguments))
        if "size_average" in given:
            given["reduction"] = modern_reduction(given.pop("size_average"), given.pop("reduce"), given["reduction"])
        for key, value in given.items():
            if isinstance(value, Tensor):
                self.register_buffer(key, value)
            else:
                setattr(self, key, value)
        self._passed = tuple(given)

    @classmethod
    def _signature(cls) -> Signature:
        return Signature(
            [
                Argument(name, Argument.POSITIONAL_OR_KEYWORD, default=Argument.empty if value is ... else value)
                for name, value in cls._row.arguments.items()
            ]
        )

    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as they are stored."""
        return arguments

    def forward(self, *inputs: Tensor, **keywords: Any) -> Any:
        given = {key: getattr(self, key) for key in self._passed}
        return getattr(F, self._row.function)(*inputs, **{**given, **self._row.fixed, **keywords})

    def extra_repr(self) -> str:
        shown = []
        for item in self._row.shown:
            name = item.rstrip("=?")
            value = getattr(self, name)
            text = repr(value) if isinstance(value, str) else str(value)
            if item.endswith("?"):
                shown += [f"{name}={text}"] if value else []
            else:
                shown.append(f"{name}={text}" if item.endswith("=") else text)
        return ", ".join(shown)


def make_layers(namespace: dict[str, Any], table: Mapping[str, Row], base: type[FromTable] = FromTable) -> list[str]:
    """Define the layers of a table in a module's namespace; gives their names."""
    for name, row in table.items():
        made = type(name, (base,), {"_row": row, "__doc__": f"`functional.{row.function}` as a layer."})
        made.__module__ = namespace["__name__"]
        made.__signature__ = made._signature()  # type: ignore[attr-defined]
        namespace[name] = made
    return list(table)
