"""`autograd.Function` inside vmap."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..autograd.tape import Node, edge_of
from ..ops.join import stack
from ..state import state
from ..tensor import Tensor
from .batching import Batching, carries


def _histories(edges: list[Any], batching: Batching) -> tuple[bool, bool]:
    """Whether history leads to what is differentiated inside the vmap, and whether it leads further out."""
    inside = outside = False
    seen: set[Any] = set()
    while edges:
        edge = edges.pop()
        if edge is None or edge in seen:
            continue
        seen.add(edge)
        if not isinstance(edge, Node) or edge.sequence < batching.began:
            outside = True
        elif not edge.edges or edge.name() == "InputBackward":  # see derivatives._mark
            inside = True
        else:
            edges += edge.edges
    return inside, outside


class Info(NamedTuple):
    """What a Function's vmap staticmethod gets first."""

    batch_size: Any
    randomness: str


def mapped_function(function: Any, args: tuple, batching: Batching) -> tuple[Any] | None:
    """`function.apply(*args)` for all examples, in a tuple of one; None where forward can run on examples as they are.

    That is so where no argument is mapped, or gradients are asked for inside the vmap alone: the call's own backward
    then serves every example. Gradients from outside go through the Function's `vmap`, or one example after another.
    """
    batches = [batching.batch_of(x) if isinstance(x, Tensor) else None for x in args]
    if all(b is None for b in batches):
        return None
    own = getattr(function, "vmap", None)
    if own is None and not function.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {function.__name__}, but it does not have vmap support. Please override and "
            f"implement the vmap staticmethod or set generate_vmap_rule=True."
        )
    if own is not None and function.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {function.__name__}, but it has both generate_vmap_rule=True and an overridden "
            f"vmap staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod."
        )
    inside = outside = False
    if state.grad_enabled:
        inside, outside = _histories([edge_of(x) for x in args if isinstance(x, Tensor)], batching)
        outside = outside or any(b is not None and carries(b) for b in batches)
    if inside and (outside or own is not None):
        raise NotImplementedError(
            f"{function.__name__}: gradients inside vmap together with gradients outside it (or with a vmap "
            f"staticmethod) are not offered for an autograd.Function; write it with tensor operations"
        )
    if own is None and not outside:
        return None
    with batching.outside():
        if own is not None:
            dims = tuple(None if b is None else 0 for b in batches)
            outputs, out_dims = own(
                Info(batching.size, batching.randomness), dims,
                *[x if b is None else b for x, b in zip(args, batches)],
            )  # fmt: skip
        else:
            rows = [
                function.apply(*[x if b is None else b[k] for x, b in zip(args, batches)])
                for k in range(int(batching.size))
            ]
            several = isinstance(rows[0], tuple)
            outputs = tuple(stack(list(column)) for column in zip(*rows)) if several else stack(rows)
            out_dims = 0
        single = not isinstance(outputs, tuple)
        flat = [outputs] if single else list(outputs)
        places = list(out_dims) if isinstance(out_dims, tuple) else [out_dims] * len(flat)
        moved = [y if d is None else y.movedim(d, 0) for y, d in zip(flat, places)]
    wrapped = [y if d is None else batching.wrap(y) for y, d in zip(moved, places)]
    return (wrapped[0] if single else tuple(wrapped),)
