"""The table of derivatives: `VJPS[spec]` says how a primitive's gradient reaches each operand.

A row names one small function per operand:

    vjp(ops.MUL, x=lambda g, y: g * y, y=lambda g, x: g * x)
    vjp(ops.EXP, x=lambda g, result: g * result)
    vjp(ops.SUM, x=lambda g, x_shape, axes, keepdims: ...)

and the functions' parameter names say what they need: `g` is the gradient of the result; an operand's name or
`result` saves that tensor for backward; `x_shape` is the shape of operand x; `position` is the operand's number
(for variadic operations, whose `*xs` row serves every operand; `shapes` then lists all shapes); any other name is an
attribute. Only what the operands that require grad need is saved. Rules are written with tensor operations, so they
can be differentiated again. The engine sums a gradient that is wider than its operand (broadcasting) and casts it
to the operand's dtype.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jitcore_ir import OpSpec

VJPS: dict[OpSpec, Rule] = {}

NOT_DIFFERENTIABLE: set[OpSpec] = set()
"""Primitives whose results carry no gradient: comparisons, positions, bits, things made from nothing."""


class Partial:
    """The gradient with respect to one operand."""

    __slots__ = ("arguments", "function", "needs_result", "needs_shapes", "saves")

    def __init__(self, spec: OpSpec, function: Callable) -> None:
        self.function = function
        self.saves: list[tuple[str, int]] = []
        self.needs_result = self.needs_shapes = False
        self.arguments: list[Callable[[Any, int], Any]] = []
        for name in list(inspect.signature(function).parameters)[1:]:
            self.arguments.append(self._fetcher(spec, name))

    def _fetcher(self, spec: OpSpec, name: str) -> Callable[[Any, int], Any]:
        """How to get the argument called `name` from a node."""
        if name in spec.operands or name == "result":
            if name == "result":
                self.needs_result = True
            else:
                self.saves.append((name, spec.operands.index(name)))
            return lambda node, position: node.saved[name].unpack(node)
        if name == "shapes" or name.removesuffix("_shape") in spec.operands:
            self.needs_shapes = True
            if name == "shapes":
                return lambda node, position: node.shapes
            index = spec.operands.index(name.removesuffix("_shape"))
            return lambda node, position: node.shapes[index]
        if name == "position":
            return lambda node, position: position
        if name in spec.attributes:
            return lambda node, position: node.attributes[name]
        raise TypeError(f"the vjp of {spec.name} asks for {name!r}, which {spec.name} does not have")

    def gradient(self, node: Any, position: int, g: Any) -> Any:
        return self.function(g, *[fetch(node, position) for fetch in self.arguments])


class Rule:
    """The partials of one primitive, by operand position."""

    __slots__ = ("partials", "rest")

    def __init__(self, partials: list[Partial | None], rest: Partial | None) -> None:
        self.partials = partials
        self.rest = rest

    def partial(self, position: int) -> Partial | None:
        """None for an operand without gradient (indices, conditions)."""
        return self.partials[position] if position < len(self.partials) else self.rest


def vjp(spec: OpSpec, **functions: Callable) -> None:
    """Add a row to `VJPS`. Keywords are operand names; the `*xs` operand of a variadic primitive is named `xs`."""
    if spec in VJPS:
        raise ValueError(f"the vjp of {spec.name} is defined twice")
    names = [name.removeprefix("*") for name in spec.operands]
    unknown = set(functions) - set(names)
    if unknown:
        raise TypeError(f"the vjp of {spec.name} names operands it does not have: {sorted(unknown)}")
    partials = [Partial(spec, functions[n]) if n in functions else None for n in names]
    if spec.is_variadic:
        VJPS[spec] = Rule(partials[:-1], partials[-1])
    else:
        VJPS[spec] = Rule(partials, None)


def not_differentiable(*specs: OpSpec) -> None:
    """Declare primitives whose results never carry a gradient."""
    NOT_DIFFERENTIABLE.update(specs)
