"""`cond`, `while_loop`, `scan` and `map`: branches and loops as operations, under PyTorch's and JAX's names.

Eagerly they are Python's `if` and loops on ordinary operations. While a program is recorded (`jit`, `export`), they
become one operation each, whose bodies are recorded once (`trace.branches`, `trace.loops`), whatever the branch taken
or the number of turns. Operands, carried values and results are trees (tuples, lists, dicts) of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitcore_ir import ops

from .autograd.modes import no_grad
from .autograd.tape import CallNode, edge_of
from .dispatch import apply
from .ops.creation import tensor, zeros
from .ops.elementwise import where
from .ops.join import stack
from .source import user_location
from .state import state
from .symbolic import expression
from .tensor import Tensor, dtype_of
from .trace.branches import record_cond
from .trace.containers import flatten, unflatten
from .trace.loops import record_scan, record_while
from .trace.recorder import Recorder
from .trace.regions import Body, type_in

__all__ = ["cond", "map", "scan", "while_loop"]


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: Any = ()) -> Any:
    """`true_fn(*operands)` where pred holds, else `false_fn(*operands)`.

    pred: a bool, or a tensor of one element. Recorded, both functions are, and must give results of the same structure,
    dtypes and shapes; neither may write tensors from outside. Raises RuntimeError where that is not so.
    """
    if not isinstance(pred, bool | Tensor) or (isinstance(pred, Tensor) and pred.numel() != 1):
        raise RuntimeError(f"Expected pred to be bool or tensor, but got {_named(pred)}.")
    if not callable(true_fn) or not callable(false_fn):
        raise RuntimeError("Expect both branches to be callable.")
    if not isinstance(operands, tuple | list):
        raise RuntimeError(
            f"Expect operands to be a tuple or list of tensors, or of trees of tensors, but got {_named(operands)}."
        )
    if state.batching is not None and isinstance(pred, Tensor) and state.batching.batch_of(pred) is not None:
        return _both(pred, true_fn(*operands), false_fn(*operands))
    if isinstance(pred, bool) or not recorded_whole():
        taken, other = (true_fn, false_fn) if pred else (false_fn, true_fn)
        result = taken(*operands)
        if isinstance(pred, bool):
            return result
        found, tree = flatten(result)
        result = unflatten(tree, _own(found))
        return _reaching(result, other, operands) if state.grad_enabled and state.batching is None else result
    leaves, structure = flatten(list(operands))
    given = [x for x in leaves if isinstance(x, Tensor)]
    trees: list[Any] = [None, None]

    def branch(side: int, function: Callable) -> Callable[..., Sequence[Tensor]]:
        def run(*tensors: Tensor) -> Sequence[Tensor]:
            own = iter(tensors)
            arguments = unflatten(structure, [next(own) if isinstance(x, Tensor) else x for x in leaves])
            found, trees[side] = flatten(function(*arguments))
            return _tensors(found, f"cond: {('true_fn', 'false_fn')[side]}")

        return run

    def check(first: Body, second: Body) -> None:
        _check_alike("cond: true_fn gives", trees[0], _types(first), "false_fn", trees[1], _types(second))

    results = record_cond(
        (pred.reshape(()) if pred.ndim else pred).bool(), (branch(0, true_fn), branch(1, false_fn)),
        ("cond: true_fn", "cond: false_fn"), given, check,
    )  # fmt: skip
    return unflatten(trees[0], results)


def _reaching(result: Any, other: Callable, operands: Any) -> Any:
    """The result of the branch taken, whose gradients reach what those of the `other` branch would, as zeros: so it is
    where both are recorded, and in PyTorch. For this the other branch is run aside; one that cannot be recorded has no
    gradients."""
    leaves, structure = flatten(list(operands))
    given = [x for x in leaves if isinstance(x, Tensor)]
    results, tree = flatten(result)

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        own = iter(tensors)
        found, other_tree = flatten(
            other(*unflatten(structure, [next(own) if isinstance(x, Tensor) else x for x in leaves]))
        )
        _check_alike("cond:", tree, (), "the other", other_tree, ())
        return _tensors(found, "cond")

    if not all(isinstance(y, Tensor) for y in results):
        return result
    try:
        body = Body(
            "cond", run, [x._array for x in given], [type_in(x) for x in given],
            [edge_of(x) is not None for x in given],
        )  # fmt: skip
    except Exception:
        return result
    return unflatten(
        tree, [_with_zeros(y, body, inside, given) for y, inside in zip(results, body.outputs, strict=True)]
    )


def _with_zeros(result: Tensor, body: Body, inside: Tensor, operands: Sequence[Tensor]) -> Tensor:
    if result._array.dtype.kind not in "fcV":
        return result
    edges = body.frontier([inside])
    edges += [edge_of(x) for x, used in zip(operands, body.reached([inside]), strict=True) if used]
    if not edges:
        return result
    result._node = CallNode(
        "CondBackward0", (edge_of(result), *edges), result._array, lambda g: (g, *(_zeros_for(edge) for edge in edges))
    )  # fmt: skip
    result._requires_grad = True
    return result


def _zeros_for(edge: Any) -> Tensor:
    shape, dtype = (edge._array.shape, edge.dtype) if isinstance(edge, Tensor) else (edge.shape, dtype_of(edge.dtype))
    return zeros(list(shape), dtype=dtype)


def _both(pred: Tensor, of_true: Any, of_false: Any) -> Any:
    """Inside vmap, where the predicate differs between the examples: each example's results of what both give."""
    (ones, tree), (others, other_tree) = flatten(of_true), flatten(of_false)
    ones, others = _tensors(ones, "cond: true_fn"), _tensors(others, "cond: false_fn")
    _check_alike(
        "cond: true_fn gives", tree, [_type(x) for x in ones], "false_fn", other_tree, [_type(x) for x in others]
    )
    chosen = pred.reshape(()) if pred.ndim else pred
    return unflatten(tree, [where(chosen.bool(), x, y) for x, y in zip(ones, others, strict=True)])


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: Any) -> tuple:
    """Carried values: while `cond_fn(*carried)` holds, they become `body_fn(*carried)`; the last ones are returned.

    They keep their structure, dtypes and shapes. Python numbers among them become tensors. Raises RuntimeError where
    they do not, and where a recorded loop would have to be differentiated, whose number of turns is not known.
    """
    if not callable(cond_fn) or not callable(body_fn):
        raise RuntimeError("Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, tuple | list):
        raise RuntimeError(f"Expect carried_inputs to be a tuple or list, but got {_named(carried_inputs)}.")
    leaves, structure = flatten(tuple(carried_inputs))
    leaves = [_as_tensor(x, "while_loop: carried_inputs") for x in leaves]

    def test(*tensors: Tensor) -> Sequence[Tensor]:
        found = cond_fn(*unflatten(structure, tensors))
        if not isinstance(found, bool | Tensor) or (isinstance(found, Tensor) and found.numel() != 1):
            raise RuntimeError(
                f"while_loop: cond_fn must return a bool or a tensor of one element, not {_named(found)}"
            )
        asked = _as_tensor(found, "while_loop: cond_fn")
        return [(asked.reshape(()) if asked.ndim else asked).bool()]

    def turn(*tensors: Tensor) -> Sequence[Tensor]:
        found, after = flatten(body_fn(*unflatten(structure, tensors)))
        found = [_as_tensor(x, "while_loop: body_fn") for x in found]
        if after != structure:
            after, found = _as_carried(after, structure, found)
        before = [_type(x) for x in tensors]
        _check_alike("while_loop: carried_inputs are", structure, before, "body_fn", after, [_type(x) for x in found])
        return found

    if isinstance(state.recorder, Recorder):
        return unflatten(structure, record_while(test, turn, leaves, lambda *_: None))
    while bool(test(*leaves)[0]):
        leaves = list(turn(*leaves))
    return unflatten(structure, _own(leaves))


def scan(combine_fn: Callable, init: Any, xs: Any, *, dim: int = 0, reverse: bool = False) -> tuple[Any, Any]:
    """(carry, ys): for each element x of xs along `dim`, `carry, y = combine_fn(carry, x)`, beginning with `init`.

    The ys are stacked along their first dimension, each at the place of its x; `reverse` goes through xs from the end.
    The carry keeps its structure, dtypes and shapes; a length of 0 gives `init` and empty ys. Raises RuntimeError for
    xs of different lengths or a carry that changes.
    """
    if not callable(combine_fn):
        raise RuntimeError(f"Combine_fn must be a callable, but got {_named(combine_fn)}")
    if not isinstance(dim, int) or isinstance(dim, bool):
        raise RuntimeError(f"Dim must be an int, but got {_named(dim)}")
    if not isinstance(reverse, bool):
        raise RuntimeError(f"Reverse must be a bool, but got {_named(reverse)}")
    carry, structure = flatten(init)
    carry = [_as_tensor(x, "scan: init") for x in carry]
    over, elements = flatten(xs)
    over = [x.movedim(dim, 0) if dim else x for x in _tensors(over, "scan: xs")]
    trees: list[Any] = [None]

    def step(*tensors: Tensor) -> Sequence[Tensor]:
        given = tensors[: len(carry)], tensors[len(carry) :]
        result = combine_fn(unflatten(structure, given[0]), unflatten(elements, given[1]))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise RuntimeError(f"scan: combine_fn must return (carry, y), not {_named(result)}")
        following, after = flatten(result[0])
        following = [_as_tensor(x, "scan: combine_fn") for x in following]
        before = [_type(x) for x in given[0]]
        _check_alike("scan: the carry is", structure, before, "combine_fn", after, [_type(x) for x in following])
        ys, trees[0] = flatten(result[1])
        return [*following, *(_as_tensor(y, "scan: combine_fn") for y in ys)]

    finals, stacked = _scanned("scan", step, carry, over, reverse)
    return unflatten(structure, finals), unflatten(trees[0], stacked)


def map(f: Callable, xs: Any, *args: Any) -> Any:
    """`f(x, *args)` for each element x of xs along the first dimension, the results stacked along theirs."""
    over, elements = flatten(xs)
    over = _tensors(over, "map: xs")
    trees: list[Any] = [None]

    def step(*tensors: Tensor) -> Sequence[Tensor]:
        ys, trees[0] = flatten(f(unflatten(elements, tensors), *args))
        return _tensors(ys, "map: f")

    _, stacked = _scanned("map", step, [], over, False)
    return unflatten(trees[0], stacked)


def _scanned(
    name: str, step: Callable[..., Sequence[Tensor]], carry: list[Tensor], over: list[Tensor], reverse: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """The last carry, and the ys stacked, of a flat step over the elements of `over`."""
    if not over or any(not x.ndim for x in over):
        raise RuntimeError(f"{name}: xs must be tensors of at least one dimension, which gives the number of turns")
    lengths = [x.shape[0] for x in over]
    if any(n != lengths[0] for n in lengths[1:]):
        raise RuntimeError(f"{name}: xs have the lengths {', '.join(str(n) for n in lengths)}; they must be the same")
    if recorded_whole():
        return record_scan(name, step, carry, over, expression(lengths[0]), reverse, lambda body: None)
    count = int(lengths[0])
    if not count:
        return _own(carry), _empty(name, step, carry, over)
    columns: list[Any] = [None] * count
    for turn in range(count):
        t = count - 1 - turn if reverse else turn
        found = step(*carry, *(x[t] for x in over))
        carry, columns[t] = list(found[: len(carry)]), found[len(carry) :]
    return _own(carry), [stack(list(column)) for column in zip(*columns, strict=True)]


def recorded_whole() -> bool:
    """Whether a branch or loop becomes an operation of the graph. Not in an exact recording of a run with gradients,
    which add up in another order through regions than through what an eager run does."""
    recorder = state.recorder
    return isinstance(recorder, Recorder) and not (recorder.exact and state.grad_enabled)


def _empty(name: str, step: Callable, carry: list[Tensor], over: list[Tensor]) -> list[Tensor]:
    """The ys of no turns: what a turn on zeros would give says their shapes."""
    types = [*(type_in(x) for x in carry), *(type_in(x) for x in over)]
    types[len(carry) :] = [type.__class__(type.dtype, type.shape[1:]) for type in types[len(carry) :]]
    arrays = [zeros([int(d) for d in t.shape], dtype=t.dtype)._array for t in types]  # type: ignore[arg-type]
    with no_grad():
        body = Body(name, step, arrays, types, [False] * len(types))
    return [zeros([0, *y._array.shape], dtype=y.dtype) for y in body.outputs[len(carry) :]]


def _own(leaves: Sequence[Any]) -> list[Any]:
    """Results in memory of their own, as where they are recorded: a write to one is no write to an operand."""
    return [apply(ops.COPY, (x,)) if isinstance(x, Tensor) else x for x in leaves]


# Trees and types


def _tensors(leaves: Sequence[Any], what: str) -> list[Tensor]:
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"{what} must be tensors, or trees of tensors, but there is {_named(leaf)}")
    return list(leaves)


def _as_tensor(leaf: Any, what: str) -> Tensor:
    """A leaf as a tensor; Python numbers become 0-d ones."""
    if isinstance(leaf, Tensor):
        return leaf
    if isinstance(leaf, bool | int | float):
        return tensor(leaf)
    raise RuntimeError(f"{what} must be tensors or numbers, or trees of them, but there is {_named(leaf)}")


def _as_carried(after: Any, structure: Any, found: list[Tensor]) -> tuple[Any, list[Tensor]]:
    """A list, or a single tensor, that stands for the tuple of carried values."""
    if len(structure[1]) == 1 and after == structure[1][0]:
        return structure, found
    if isinstance(after, tuple) and after[0] is list and after[1] == structure[1]:
        return structure, found
    return after, found


def _type(x: Tensor) -> Any:
    return type_in(x)


def _types(body: Body) -> list[Any]:
    return [body.value(t).type for t in body.outputs]


def _check_alike(
    given: str, tree: Any, types: Sequence[Any], other: str, other_tree: Any, others: Sequence[Any]
) -> None:
    """Raise RuntimeError unless both have one structure and the same types."""
    if tree != other_tree or list(types) != list(others):
        raise RuntimeError(
            f"{given} {_described(tree, types)}, but {other} gives {_described(other_tree, others)}; they must have "
            f"the same structure, dtypes and shapes; at {user_location()}"
        )


def _described(tree: Any, types: Sequence[Any]) -> str:
    return repr(unflatten(tree, [_Text(str(t)) for t in types]))


class _Text(str):
    def __repr__(self) -> str:
        return str(self)


def _named(x: Any) -> str:
    return f"a tensor of shape {list(x._array.shape)}" if isinstance(x, Tensor) else f"{type(x).__name__} {x!r}"
