"""Branches while a program is recorded: their bodies become regions of one operation. (Loops are in `loops`.)

Its derivative is another such operation, whose bodies are the derivatives of the bodies: that of a branch is a branch,
that of a scan a scan the other way round, which computes each turn again from what was carried into it (stacked by
the first). So derivatives can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import TensorType, Value, ops
from jitcore_ir.dtypes import bool_

from ..autograd import tape
from ..autograd.function import Function
from ..dispatch import write
from ..random import is_generator_state
from ..state import state
from ..tensor import Tensor
from .regions import Body, run_control, snapshot, type_in
from .roots import Root

_FLOATING = "fcV"


def is_differentiable(tensor: Tensor) -> bool:
    return state.grad_enabled and tape.edge_of(tensor) is not None


def is_floating(tensor: Tensor) -> bool:
    return tensor._array.dtype.kind in _FLOATING


def standing_for(edge: Any) -> Tensor:
    """A tensor whose gradient goes to `edge`: it is never read."""
    if isinstance(edge, Tensor):
        return edge
    made = object.__new__(Tensor)
    made._array = np.broadcast_to(np.zeros((), edge.dtype), edge.shape)
    made._storage, made._view = None, ()  # type: ignore[assignment]
    made._base = made._grad = made._hooks = None
    made._seen, made._node, made._requires_grad = 0, edge, True
    return made


@dataclass(slots=True)
class Outside:
    """What the bodies of one operation read besides their arguments: the tensors that roots of their recorders were
    when the operation ran, and the versions of their memory."""

    tensors: dict[Root, tuple[Tensor, int]] = field(default_factory=dict)

    def of(self, roots: Sequence[Root]) -> list[Tensor]:
        """Raises RuntimeError where a tensor has been written since."""
        found = []
        for root in roots:
            if root not in self.tensors:
                tensor = root.tensor
                if is_generator_state(tensor._storage):
                    tensor = snapshot(tensor)
                self.tensors[root] = tensor, tensor._storage.version
            tensor, version = self.tensors[root]
            if tensor._storage.version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"[{tensor.dtype} {list(tensor._array.shape)}], read by the body of a cond or scan"
                )
            found.append(tensor)
        return found


# Branches


@dataclass(slots=True)
class Branches:
    """One `cond`: its two bodies, each with the tensors it gives and the arguments it takes, in the order of the
    operands."""

    bodies: tuple[Body, Body]
    gives: tuple[Sequence[Tensor], Sequence[Tensor]]
    takes: tuple[Sequence[Tensor], Sequence[Tensor]]
    outside: Outside
    drawn: Sequence[Root] = ()
    """Roots of the generators that a branch draws from, whose next states follow the results."""

    def run(self, predicate: Tensor, operands: Sequence[Tensor]) -> list[Tensor]:
        values = [[b.value(t) for t in given] for b, given in zip(self.bodies, self.gives, strict=True)]
        takes = [[b.value(t) for t in taken] for b, taken in zip(self.bodies, self.takes, strict=True)]
        states = {root.tensor._storage: root for root in self.drawn}
        for body, given in zip(self.bodies, values, strict=True):
            for storage in states:
                own = next((r for r in body.recorder.roots if r.tensor._storage is storage), None)
                if own is None:  # this branch leaves that generator alone
                    own = body.recorder.add_root(states[storage].tensor, "", None)
                given.append(own.current)
        roots = [b.needs(v, t) for b, v, t in zip(self.bodies, values, takes, strict=True)]
        read = [*self.outside.of(roots[0]), *self.outside.of(roots[1])]
        regions = []
        for number, (body, given, taken) in enumerate(zip(self.bodies, values, takes, strict=True)):
            mine: list[Value | TensorType] = [*taken]
            for other, these in enumerate(roots):
                mine += [root.value if other == number else root.value.type for root in these]  # type: ignore[misc]
            regions.append(body.region(given, mine))
        types: list[Any] = [TensorType(bool_), *(a.type for a in regions[0].block.arguments)]
        return run_control(ops.COND, [predicate, *operands, *read], types, {}, regions, self.bodies)


def record_cond(
    predicate: Tensor, functions: tuple[Callable, Callable], names: tuple[str, str], operands: Sequence[Tensor],
    check: Callable[[Body, Body], None],
) -> list[Tensor]:  # fmt: skip
    """The results of the branch taken. `functions` take tensors and give a flat list of them; `check` raises where the
    two bodies do not give alike."""
    flags = [is_differentiable(x) for x in operands]
    arrays = [x._array for x in operands]
    first, second = (  # the types anew: the first body may tell what symbols are
        Body(n, f, arrays, [type_in(x) for x in operands], flags) for n, f in zip(names, functions, strict=True)
    )
    check(first, second)
    bodies = first, second
    drawn = list({root.tensor._storage: root for body in bodies for root in body.drawn}.values())
    branches = Branches(
        bodies, (first.outputs, second.outputs), (first.arguments, second.arguments), Outside(), drawn
    )  # fmt: skip
    return _branch(branches, predicate, operands)


def _branch(branches: Branches, predicate: Tensor, operands: Sequence[Tensor]) -> list[Tensor]:
    bodies = branches.bodies
    edges: list[Any] = []
    if state.grad_enabled:
        edges = list(dict.fromkeys(e for b, g in zip(bodies, branches.gives, strict=True) for e in b.frontier(g)))
    results = CondFunction.apply(branches, predicate, *operands, *map(standing_for, edges))
    count = len(results) - len(branches.drawn)
    for root, advanced in zip(branches.drawn, results[count:], strict=True):
        write(root.tensor, advanced)
    return list(results[:count])


class CondFunction(Function):
    """`cond` on the tape."""

    generate_vmap_rule = True

    @staticmethod
    def forward(ctx: Any, branches: Branches, predicate: Tensor, *given: Tensor) -> Any:
        operands = given[: len(branches.takes[0])]
        results = branches.run(predicate, operands)
        ctx.branches, ctx.edges = branches, [tape.edge_of(t) for t in given[len(operands) :]]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*_constant_results(results, branches.bodies, branches.gives))
        ctx.save_for_backward(predicate, *operands)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        branches: Branches = ctx.branches
        predicate, *operands = ctx.saved_tensors
        given = [(n, g) for n, g in enumerate(gradients) if g is not None]
        wanted = [n for n, needed in enumerate(ctx.needs_input_grad[2 : 2 + len(operands)]) if needed]
        found, takes = [], []
        for body, gives, taken in zip(branches.bodies, branches.gives, branches.takes, strict=True):
            types: list[Any] = [body.value(gives[n]).type for n, _ in given]
            seeds = [body.argument(g._array, t, state.grad_enabled) for (_, g), t in zip(given, types, strict=True)]
            edges = [*(tape.edge_of(taken[n]) for n in wanted), *ctx.edges]
            found.append(body.gradients([gives[n] for n, _ in given], seeds, edges))
            takes.append([*taken, *seeds])
        kept = [n for n, pair in enumerate(zip(*found, strict=True)) if any(g is not None for g in pair)]
        if not kept:
            return (None,) * (2 + len(operands) + len(ctx.edges))
        filled = [_filled(branches.bodies, found, side, kept) for side in (0, 1)]
        following = Branches(branches.bodies, (filled[0], filled[1]), (takes[0], takes[1]), branches.outside)
        results = dict(zip(kept, _branch(following, predicate, [*operands, *(g for _, g in given)]), strict=True))
        of_operands = dict(zip(wanted, range(len(wanted)), strict=True))
        return (
            None, None,
            *(results.get(of_operands[n]) if n in of_operands else None for n in range(len(operands))),
            *(results.get(len(wanted) + n) for n in range(len(ctx.edges))),
        )  # fmt: skip


def _filled(bodies: tuple[Body, Body], found: Sequence[Sequence[Any]], side: int, kept: Sequence[int]) -> list[Tensor]:
    """The gradients of one branch, zeros where only the other one has any."""
    made = []
    for n in kept:
        mine, other = found[side][n], found[1 - side][n]
        if mine is None:
            mine = bodies[side].zeros(bodies[1 - side].value(other).type)  # type: ignore[arg-type]
        made.append(mine)
    return made


def _constant_results(
    results: Sequence[Tensor], bodies: Sequence[Body], gives: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """The results that no body gives a history."""
    found = []
    for n, result in enumerate(results):
        history = any(n < len(given) and tape.edge_of(given[n]) is not None for given in gives)
        if not history or not is_floating(result):
            found.append(result)
    return found
