"""Backward: gradients flow from outputs to leaves along the tape.

One loop over a heap ordered by falling sequence number. A node's consumers have higher numbers, so by the time a
node is taken its gradient is complete; no recursion, so depth is bounded by memory alone.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from jitcore_ir import ops

from ..dispatch import apply, write
from ..ops.creation import ones_like, zeros_like
from ..ops.movement import product
from ..state import state
from ..storage import Storage
from ..symbolic import current, hint
from ..tensor import Tensor, alias, dtype_of, shape_of
from .tape import Node, edge_of


class Bundle:
    """Gradients of several outputs of one node, by output number; adds like a gradient."""

    __slots__ = ("parts",)

    def __init__(self, parts: dict[int, Tensor]) -> None:
        self.parts = parts

    def __add__(self, other: Bundle) -> Bundle:
        parts = dict(self.parts)
        for index, g in other.parts.items():
            parts[index] = parts[index] + g if index in parts else g
        return Bundle(parts)


def run(
    roots: Sequence[tuple[Any, Tensor]],
    retain_graph: bool,
    create_graph: bool,
    captured: Sequence[Any] | None = None,
    accumulate: bool = True,
    ends: bool = False,
) -> list[Any]:
    """Send the root gradients down the tape.

    roots: (edge, gradient) pairs. captured: edges whose gradients are wanted, which limits the run to the nodes that
    lead to them; they come back in a list, None for an edge nothing reached. accumulate: add what reaches leaves to
    their `.grad` (to the captured leaves only, where `captured` is given). ends: the run is a part of another one,
    which its results are given to: it ends at captured edges, leaves their hooks alone, and keeps no `.grad`.
    """
    pending: dict[Any, Any] = {}
    heap: list[tuple[int, Node]] = []
    leaves: dict[Tensor, None] = {}  # in the order in which gradients first reach them
    targets = None if captured is None else set(captured)
    wanted = None if targets is None else _leading_to([edge for edge, _ in roots], targets, ends)
    taken: set[Storage] = set()  # memory that others may see, so that no leaf's `.grad` takes it over
    results: dict[Any, Any] = {}

    def deliver(edge: Any, g: Any) -> None:
        if wanted is not None and edge not in wanted:
            return
        if type(g) is not Bundle:
            g = settle(g, edge)
        if edge in pending:
            pending[edge] = pending[edge] + g
            return
        pending[edge] = g
        if isinstance(edge, Node):
            heapq.heappush(heap, (-edge.sequence, edge))
        else:
            leaves[edge] = None

    before, undo = (state.grad_enabled, state.captures, state.wanted), state.undo
    state.grad_enabled, state.wanted = create_graph, wanted
    state.captures = state.captures if ends else captured is not None
    try:
        for edge, g in roots:
            taken.add(g._storage)
            deliver(edge, g)
        while heap:
            node = heapq.heappop(heap)[1]
            g = pending.pop(node)
            if ends and targets is not None and node in targets:
                results[node] = g
                continue
            if node.hooks:
                g = _run_hooks(node.hooks.values(), g, node, taken)
            if node.retains is not None and not ends:
                _retain(node, g, create_graph, taken)
            if targets is not None and node in targets:
                results[node] = g
            if wanted is not None and not any(edge in wanted for edge in node.edges):
                continue
            if state.recorder is not None and not ends:
                state.recorder.backward(node)
            gradients = node.vjp(g) if node.extra is None else node.extra.run(node, g, settle)
            if node.exposes:
                taken.update(x._storage for x in gradients if isinstance(x, Tensor))
            for edge, x in zip(node.edges, gradients):
                if edge is not None and x is not None:
                    deliver(edge, x)
            if not retain_graph:
                if undo is not None:
                    undo.release(node)
                node.release()
        for leaf in leaves:
            g = pending.pop(leaf)
            hooks = leaf._hooks
            if state.recorder is not None and not ends:
                state.recorder.run_hooks(leaf)
            if hooks is not None and hooks.before and not ends:
                g = _run_hooks(hooks.before.values(), g, leaf, taken)
            results[leaf] = g
            if accumulate:
                _accumulate(leaf, g, create_graph, taken)
                if hooks is not None:
                    for hook in list(hooks.after.values()):
                        hook(leaf)
    finally:
        state.grad_enabled, state.captures, state.wanted = before
    return [] if captured is None else [results.get(edge) for edge in captured]


def settle(g: Tensor, edge: Any) -> Tensor:
    """g in the shape and dtype of the tensor that `edge` stands for: summed where broadcasting widened it, cast."""
    if isinstance(edge, Node):
        shape, dtype = edge.shape, edge.dtype
    else:
        shape, dtype = edge._array.shape if state.recorder is None else shape_of(edge), edge._array.dtype
    if state.recorder is not None or g._array.shape != shape:
        g = sum_to(g, shape)
    if g._array.dtype != dtype:
        g = apply(ops.CAST, (g,), {"dtype": dtype_of(dtype)})
    return g


def sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """g summed over the axes along which a tensor of `shape` was stretched to g's shape. A symbolic size was not
    stretched: an operation that stretches it makes it the number 1."""
    wide, numbers = shape_of(g), g._array.shape
    extra = len(wide) - len(shape)
    ones = [a for a, n in enumerate(map(current, shape)) if _is_one(n)]
    stretched = tuple(a + extra for a in ones if not _is_one(wide[a + extra])) if extra >= 0 else ()
    if extra < 0 or any(numbers[a + extra] != hint(n) and a not in ones for a, n in enumerate(shape)):
        raise RuntimeError(f"a gradient of shape {list(numbers)} does not fit a tensor of shape {list(shape)}")
    if stretched:
        g = apply(ops.SUM, (g,), {"axes": stretched, "keepdims": True})
    if extra:
        g = apply(ops.SUM, (g,), {"axes": tuple(range(extra)), "keepdims": False})
    return g


def _is_one(size: Any) -> bool:
    return type(size) is int and size == 1


def _accumulate(leaf: Tensor, g: Tensor, create_graph: bool, taken: set[Storage]) -> None:
    """Add g to leaf.grad. Without create_graph an existing .grad is updated in place, as references to it expect."""
    grad = leaf.grad
    if grad is None:
        if create_graph or g._base is not None or g._view or g._storage in taken or not g._array.flags.c_contiguous:
            g = apply(ops.COPY, (g,))
        elif g._node is not None:
            g = alias(g)
        taken.add(g._storage)
        leaf.grad = g
    elif create_graph:
        leaf.grad = grad + g
    else:
        write(grad, grad + g)


def _run_hooks(hooks: Iterable[Any], g: Any, owner: Any, taken: set[Storage]) -> Any:
    for hook in list(hooks):
        taken.add(g._storage)
        replacement = hook(g)
        if replacement is not None:
            if not isinstance(replacement, Tensor):
                raise TypeError(f"a gradient hook returns a Tensor or None, not {type(replacement).__name__}")
            if replacement._array.shape != g._array.shape:
                raise RuntimeError(
                    f"hook {getattr(hook, '__name__', hook)!r} has changed the size of value: it got "
                    f"a gradient of shape "
                    f"{list(g._array.shape)} and returned {list(replacement._array.shape)}"
                )
            g = settle(replacement, owner)
            taken.add(g._storage)
    return g


def _retain(node: Node, g: Tensor, create_graph: bool, taken: set[Storage]) -> None:
    tensor = node.retains() if node.retains is not None else None
    if tensor is not None:
        old = tensor._grad
        if state.undo is not None:
            state.undo.change(tensor)
        new = g if create_graph else alias(g)
        tensor._grad = new if old is None else old + new
        taken.add(tensor._grad._storage)


def _leading_to(roots: Sequence[Any], targets: set[Any], ends: bool) -> set[Any]:
    """Edges from which some target can be reached, targets included; with `ends`, not by way of another target."""
    nodes: dict[Any, None] = {}
    stack = list(roots)
    while stack:
        edge = stack.pop()
        if edge is None or edge in nodes:
            continue
        nodes[edge] = None
        if isinstance(edge, Node) and not (ends and edge in targets):
            stack.extend(edge.edges)
    wanted = {edge for edge in nodes if edge in targets}
    for node in sorted((e for e in nodes if isinstance(e, Node)), key=lambda n: n.sequence):
        if any(edge in wanted for edge in node.edges):
            wanted.add(node)
    return wanted


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Accumulate gradients of `tensors` into the `.grad` of the leaves they depend on (or of `inputs` alone).

    grad_tensors: a gradient for each tensor; may be None for scalars. Raises RuntimeError for a tensor without
    history, a missing gradient of a non-scalar, or a graph freed by an earlier backward.
    """
    if state.batching is not None:
        raise RuntimeError(
            "backward() called inside vmap: gradients of one example cannot be accumulated into .grad. Use "
            "jitcore.func.grad or autograd.grad instead"
        )
    outputs = _sequence_of(tensors)
    roots = _roots(outputs, _sequence_of(grad_tensors, len(outputs)))
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run(roots, keep, create_graph)
        return
    leaves = _sequence_of(inputs)
    if not leaves:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    run(roots, keep, create_graph, [_input_edge(x, i) for i, x in enumerate(leaves)])


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`, which may be leaves or not; touches no `.grad`.

    Raises RuntimeError for an input that the outputs do not depend on, unless allow_unused (None in its place) or
    materialize_grads (zeros in its place). is_grads_batched: grad_outputs have a leading dimension of examples, and so
    have the results; all are computed at once, by vmap. `only_inputs` is PyTorch's old argument, of no effect.
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use backward().",
            FutureWarning,
            stacklevel=2,
        )
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    if allow_unused is None:
        allow_unused = materialize_grads
    if materialize_grads and not allow_unused:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True")
    sources = _sequence_of(outputs)
    wanted = _sequence_of(inputs)
    roots = _roots(sources, _sequence_of(grad_outputs, len(sources)))
    edges = [_input_edge(x, i) for i, x in enumerate(wanted)]
    keep = create_graph if retain_graph is None else retain_graph
    found = run(roots, keep, create_graph, edges, accumulate=False)
    for position, g in enumerate(found):
        if g is None and not allow_unused:
            raise RuntimeError(
                f"One of the differentiated Tensors (input {position}) appears to not have been used in the graph. "
                f"Set allow_unused=True if this is the desired behavior."
            )
        if g is None and materialize_grads:
            found[position] = zeros_like(wanted[position])
        elif g is not None and not g._array.flags.c_contiguous:
            found[position] = apply(ops.COPY, (g,))  # row by row, so that code may call view() as on .grad
    return tuple(found)


def _batched(
    outputs: Any, inputs: Any, grad_outputs: Any, retain_graph: bool | None, create_graph: bool,
    allow_unused: bool | None, materialize_grads: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """`grad` for each example of grad_outputs."""
    from ..func.vmap import vmap

    given = _sequence_of(grad_outputs, 0)
    if not any(isinstance(g, Tensor) for g in given):
        raise RuntimeError("grad(is_grads_batched=True) needs grad_outputs, with a leading dimension of examples")
    there: list[bool] = []

    def one(*examples: Tensor) -> tuple[Tensor, ...]:
        own = iter(examples)
        rows = [next(own) if isinstance(g, Tensor) else g for g in given]
        found = grad(outputs, inputs, rows, retain_graph, create_graph, True, allow_unused, False, materialize_grads)
        there[:] = [g is not None for g in found]
        return tuple(g for g in found if g is not None)

    found = iter(vmap(one)(*[g for g in given if isinstance(g, Tensor)]))
    return tuple(next(found) if reached else None for reached in there)


def _sequence_of(given: Any, count: int | None = None) -> list[Any]:
    if given is None:
        return [None] * (count or 0)
    return [given] if isinstance(given, Tensor) else list(given)


def _input_edge(x: Any, position: int) -> Any:
    if not isinstance(x, Tensor):
        raise TypeError(f"input {position} is a {type(x).__name__}, not a Tensor")
    edge = edge_of(x)
    if edge is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return edge


def _roots(outputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[tuple[Any, Tensor]]:
    if len(outputs) != len(gradients):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(gradients)} gradients")
    roots = []
    for position, (output, g) in enumerate(zip(outputs, gradients)):
        edge = edge_of(output)
        if edge is None:
            raise RuntimeError(f"element {position} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if product(shape_of(output)) != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if output._array.dtype.kind == "c":
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {output.dtype.name}"
                )
            g = ones_like(output)
        elif not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g._array.shape != output._array.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{position}] has a shape of {list(g._array.shape)} and "
                f"output[{position}] has a shape of {list(output._array.shape)}."
            )
        elif (g._array.dtype.kind == "c") != (output._array.dtype.kind == "c"):
            raise RuntimeError(
                f"For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in "
                f"dtype: grad_output[{position}] has a dtype of {g.dtype.name} and output[{position}] has a dtype of "
                f"{output.dtype.name}."
            )
        roots.append((edge, g))
    return roots
