"""Loops while a program is recorded: the body becomes the region of one operation.

The derivative of a scan is a scan the other way round, which computes each turn again from what was carried into it
(stacked by the first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir import TensorType, Value, ops
from jitcore_ir.shapes import Dim

from ..autograd import tape
from ..autograd.function import Function
from ..dispatch import write
from ..ops.creation import zeros
from ..state import state
from ..symbolic import symbolic
from ..tensor import Tensor
from .branches import Outside, is_differentiable, is_floating, standing_for
from .regions import Body, run_control, type_in
from .roots import Root

_MOST_CHANGES = 64
"""Turns after which carried values have the history that they keep, but where they go round in circles."""


@dataclass(slots=True)
class Turns:
    """One `scan` over a body: `carried` arguments and the tensors that are the `following` ones, `scanned` arguments,
    and the tensors that are `stacked`."""

    body: Body
    carried: Sequence[Tensor]
    following: Sequence[Tensor]
    scanned: Sequence[Tensor]
    stacked: Sequence[Tensor]
    length: Dim
    reverse: bool
    outside: Outside
    draws: bool = False
    """Whether the states of generators that the body draws from go from turn to turn."""
    keeps: bool = False
    """Whether what is carried into each turn is stacked too, for the derivative."""

    def run(self, initial: Sequence[Tensor], over: Sequence[Tensor]) -> list[Tensor]:
        """The last carried values, the states of generators, what is stacked, and what is kept."""
        body = self.body
        drawn = body.drawn if self.draws else []
        enter = [*(body.value(t) for t in self.carried), *(root.value for root in drawn)]
        leave = [*(body.value(t) for t in self.following), *(root.current for root in drawn)]
        stacked = [body.value(t) for t in self.stacked] + (enter if self.keeps else [])
        takes = [*enter, *(body.value(t) for t in self.scanned)]
        roots = body.needs([*leave, *stacked], takes)
        read = self.outside.of(roots)
        region = body.region([*leave, *stacked], [*takes, *(root.value for root in roots)])
        operands = [*initial, *self.outside.of(drawn), *over, *read]
        types: list[Any] = [a.type for a in region.block.arguments]
        first, last = len(enter), len(takes)
        length = body.recorder.sizes.current(self.length)
        types[first:last] = [TensorType(t.dtype, (length, *t.shape)) for t in types[first:last]]
        attributes = {
            "length": length, "carried": first, "scanned": last - first, "reverse": self.reverse,
        }  # fmt: skip
        return run_control(ops.SCAN, operands, types, attributes, [region], [body])

    def history(self, initial: Sequence[bool], over: Sequence[bool]) -> list[bool]:
        """Which of the last carried values and stacked results have gradient history, as turn after turn gives it,
        where these operands have."""
        gives = [*self.following, *self.stacked]
        edges = [tape.edge_of(t) for t in (*self.carried, *self.scanned)]
        reached = [set(self.body.visited([t])) for t in gives]
        always = [bool(self.body.frontier([t])) for t in gives]
        count, flags, ever = len(self.following), list(initial), [False] * len(self.stacked)
        for _ in range(min(self.body.recorder.sizes.number(self.length), _MOST_CHANGES)):
            before, given = flags, [edge for edge, flag in zip(edges, (*flags, *over), strict=True) if flag]
            now = [a or not r.isdisjoint(given) for a, r in zip(always, reached, strict=True)]
            flags, ever = now[:count], [a or b for a, b in zip(ever, now[count:], strict=True)]
            if flags == before:
                break
        return [*flags, *ever]


def record_scan(
    name: str, function: Callable[..., Sequence[Tensor]], initial: Sequence[Tensor], over: Sequence[Tensor],
    length: Dim, reverse: bool, check: Callable[[Body], None],
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    """The last carried values and the stacked results. `function` takes carried values and elements of `over` and gives
    the next carried values and results, flat; `check` raises where a carried value changes its type."""
    types = [type_in(x) for x in initial]
    arrays = [x._array for x in initial]
    for x in over:
        type = type_in(x)
        types.append(TensorType(type.dtype, type.shape[1:]))
        whole = x._array
        arrays.append(whole[-1 if reverse else 0, ...] if len(whole) else np.zeros(whole.shape[1:], whole.dtype))
    flags = [state.grad_enabled] * len(initial) + [is_differentiable(x) for x in over]
    body = Body(name, function, arrays, types, flags)
    check(body)
    count = len(initial)
    turns = Turns(
        body, body.arguments[:count], body.outputs[:count], body.arguments[count:], body.outputs[count:], length,
        reverse, Outside(), bool(body.drawn),
    )  # fmt: skip
    return _turn(turns, initial, over)


def _turn(turns: Turns, initial: Sequence[Tensor], over: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    edges: list[Any] = []
    if state.grad_enabled:
        edges = turns.body.frontier([*turns.following, *turns.stacked])
        turns.keeps = bool(edges) or any(map(is_differentiable, (*initial, *over)))
    results = ScanFunction.apply(turns, *initial, *over, *map(standing_for, edges))
    count, drawn = len(initial), turns.body.drawn if turns.draws else []
    for root, advanced in zip(drawn, results[count : count + len(drawn)], strict=True):
        write(root.tensor, advanced)
    rest = results[count + len(drawn) :]
    return list(results[:count]), list(rest[: len(turns.stacked)])


class ScanFunction(Function):
    """`scan` on the tape."""

    generate_vmap_rule = True

    @staticmethod
    def forward(ctx: Any, turns: Turns, *given: Tensor) -> Any:
        first, last = len(turns.carried), len(turns.carried) + len(turns.scanned)
        results = turns.run(given[:first], given[first:last])
        ctx.turns, ctx.edges = turns, [tape.edge_of(t) for t in given[last:]]
        ctx.set_materialize_grads(False)
        stacked_from = first + (len(turns.body.drawn) if turns.draws else 0)
        kept_from = stacked_from + len(turns.stacked)
        needed = ctx.needs_input_grad[1:]
        flags = turns.history(needed[:first], needed[first:last])
        gives = [*results[:first], *results[stacked_from:kept_from]]
        constant = [result for result, flag in zip(gives, flags, strict=True) if not flag]
        ctx.mark_non_differentiable(*constant, *(r for r in results if not is_floating(r)))
        ctx.save_for_backward(*given[first:last], *results[kept_from:])
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        turns: Turns = ctx.turns
        saved, scans, first = list(ctx.saved_tensors), len(turns.scanned), len(turns.carried)
        made = _Backwards(turns, saved[:scans], saved[scans:], gradients, ctx.edges)
        finals, slices = _turn(made.turns(), made.initial, made.over)
        carried = dict(zip(made.carried, finals, strict=False))
        sums = dict(zip(made.reached, finals[len(made.carried) :], strict=True))
        parts = dict(zip(made.scanned, slices, strict=True))
        return (
            None, *(carried.get(n) for n in range(first)), *(parts.get(n) for n in range(scans)),
            *(sums.get(n) for n in range(len(ctx.edges))),
        )  # fmt: skip


class _Backwards:
    """The derivative of a scan as a scan the other way round.

    It carries the gradients of the carried values (`carried` are their numbers) and adds up those of outside tensors
    (`reached`: the numbers of their edges); those of the scanned operands (`scanned`) are stacked. It goes over what
    was carried into each turn (`kept`), the scanned operands (`over`) and the gradients of what was stacked.
    """

    def __init__(
        self, of: Turns, over: Sequence[Tensor], kept: Sequence[Tensor], gradients: Sequence[Any], edges: Sequence[Any]
    ) -> None:
        self.of = of
        body = of.body
        stacked = [*of.stacked, *(of.carried if of.keeps else ())]
        states = kept[len(of.carried) :]
        first_stacked = len(gradients) - len(of.stacked) - len(kept)
        given = [(t, g) for t, g in zip(stacked, gradients[first_stacked:], strict=False) if g is not None]
        self.carried = [n for n, t in enumerate(of.carried) if is_floating(t)]
        self.seeds = [self._argument(of.following[n]) for n in self.carried]
        self.stacked_seeds = [self._argument(t) for t, _ in given]
        wanted = [n for n, t in enumerate(of.scanned) if t._requires_grad]
        arguments = [*(of.carried[n] for n in self.carried), *(of.scanned[n] for n in wanted)]
        found = body.gradients(
            [*(of.following[n] for n in self.carried), *(t for t, _ in given)], [*self.seeds, *self.stacked_seeds],
            [*map(tape.edge_of, arguments), *edges],
        )  # fmt: skip
        self.initial: list[Tensor] = []
        self.following: list[Tensor] = []
        for n, g in zip(self.carried, found, strict=False):
            type: Any = body.value(of.carried[n]).type
            self.following.append(body.zeros(type) if g is None else g)
            self.initial.append(_zeros(type, body) if gradients[n] is None else gradients[n])
        self.totals: list[Tensor] = []
        self.reached = [n for n, g in enumerate(found[len(arguments) :]) if g is not None]
        for n in self.reached:
            self._add_up(found[len(arguments) + n])
        of_scanned = dict(zip(wanted, found[len(self.carried) :], strict=False))
        self.slices = [g for g in of_scanned.values() if g is not None]
        self.scanned = [n for n, g in of_scanned.items() if g is not None]
        # A turn draws the numbers that it drew: the states of generators are among what was kept.
        self.over = [*kept[: len(of.carried)], *over, *(g for _, g in given), *states]
        self.drawn = body.drawn if states else []

    def turns(self) -> Turns:
        of = self.of
        takes = [*of.carried, *of.scanned, *self.stacked_seeds, *(_state_argument(of.body, r) for r in self.drawn)]
        return Turns(
            of.body, [*self.seeds, *self.totals], self.following, takes, self.slices, of.length, not of.reverse,
            of.outside,
        )  # fmt: skip

    def _argument(self, like: Tensor) -> Tensor:
        """A further argument of the body, of the type of a tensor in it."""
        type: Any = self.of.body.value(like).type
        return self.of.body.argument(np.zeros(like._array.shape, like._array.dtype), type, state.grad_enabled)

    def _add_up(self, gradient: Any) -> None:
        """Carry the sum of what reaches an outside tensor in each turn."""
        total = self._argument(gradient)
        with self.of.body.recorder.running():
            self.following.append(total + gradient)
        self.totals.append(total)
        self.initial.append(_zeros(self.of.body.value(gradient).type, self.of.body))


def _state_argument(body: Body, root: Root) -> Tensor:
    """The tensor by which a generator's state that was drawn from is an argument of the body."""
    body.values[root.tensor] = root.value
    return root.tensor


def _zeros(type: Any, body: Body) -> Tensor:
    """Zeros of a type of the body's, outside it."""
    recorder = body.recorder
    shape = [recorder.sizes.number(d) for d in type.shape]
    if state.recorder is not None:
        shape = [symbolic(d, n, recorder.top) for d, n in zip(type.shape, shape, strict=True)]  # type: ignore[misc]
    return zeros(shape, dtype=type.dtype)


# Loops with a condition


def record_while(
    condition: Callable[..., Sequence[Tensor]], function: Callable[..., Sequence[Tensor]], initial: Sequence[Tensor],
    check: Callable[[Body, Body], None],
) -> list[Tensor]:  # fmt: skip
    """The carried values when the condition no longer holds."""
    types, arrays = [type_in(x) for x in initial], [x._array for x in initial]
    flags = [False] * len(initial)
    test, body = Body("while_loop: cond_fn", condition, arrays, types, flags), Body(
        "while_loop: body_fn", function, arrays, types, flags
    )  # fmt: skip
    check(test, body)
    if test.drawn:
        raise RuntimeError("while_loop: cond_fn draws random numbers; draw them in body_fn and carry them")
    if state.grad_enabled and (any(map(is_differentiable, initial)) or body.frontier(body.outputs)):
        raise RuntimeError(
            "while_loop: reverse-mode differentiation of a loop whose number of turns is not known is not possible in "
            "a recorded program; use scan or map, or call it inside no_grad()"
        )
    drawn, outside = body.drawn, Outside()
    enter = [*(body.value(t) for t in body.arguments), *(root.value for root in drawn)]
    leave = [*(body.value(t) for t in body.outputs), *(root.current for root in drawn)]
    asked = [test.value(t) for t in test.outputs]
    begin: list[Value | TensorType] = [test.value(t) for t in test.arguments]
    for root in drawn:
        own = next((r for r in test.recorder.roots if r.tensor._storage is root.tensor._storage), None)
        begin.append(root.value.type if own is None else own.value)  # type: ignore[arg-type]
    mine, others = body.needs(leave, enter), test.needs(asked, [v for v in begin if isinstance(v, Value)])
    regions = [
        test.region(asked, [*begin, *(r.value.type for r in mine), *(r.value for r in others)]),  # type: ignore[list-item]
        body.region(leave, [*enter, *(r.value for r in mine), *(r.value.type for r in others)]),  # type: ignore[list-item]
    ]
    operands = [*initial, *outside.of(drawn), *outside.of(mine), *outside.of(others)]
    types = [a.type for a in regions[1].block.arguments]  # type: ignore[misc]
    results = run_control(ops.WHILE, operands, types, {"carried": len(enter)}, regions, [body, test])
    for root, advanced in zip(drawn, results[len(initial) :], strict=True):
        write(root.tensor, advanced)
    return results[: len(initial)]
