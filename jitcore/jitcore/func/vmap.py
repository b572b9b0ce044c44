"""`vmap`: a function of one example becomes a function of a batch of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..state import state
from ..tensor import Tensor, shape_of
from ..trace.containers import flatten, unflatten
from .batching import Batching

RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """`func` over a dimension of its inputs, all examples at once.

    in_dims: the mapped dimension of each positional argument, an int or None (not mapped) or a tree of them like the
    arguments; keyword arguments are mapped over dimension 0. out_dims: where the batch goes in each result. randomness:
    what random operations do: "error", "same" numbers for all examples or "different" ones. chunk_size: at most so
    many examples at a time. Inside, tensors have the shape of one example, and their values cannot be read.
    """
    if randomness not in RANDOMNESS:
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = getattr(func, "__name__", repr(func))
        leaves, structure, dims = _inputs(name, in_dims, args, kwargs)
        size = _batch_size(leaves, dims)
        first = [x if d is None else x.movedim(d, 0) for x, d in zip(leaves, dims)]
        if chunk_size is None or chunk_size >= int(size):
            return _run(func, name, first, dims, structure, size, out_dims, randomness)
        parts = []
        for start in range(0, int(size), chunk_size):
            count = min(chunk_size, int(size) - start)
            some = [x if d is None else x.narrow(0, start, count) for x, d in zip(first, dims)]
            parts.append(_run(func, name, some, dims, structure, count, out_dims, randomness))
        return _joined(parts, out_dims, name)

    return wrapped


def _run(
    func: Callable, name: str, leaves: Sequence[Any], dims: Sequence[Any], structure: Any, size: Any, out_dims: Any,
    randomness: str,
) -> Any:  # fmt: skip
    batching = Batching(size, randomness)
    with batching:
        examples = [x if d is None else batching.wrap(x) for x, d in zip(leaves, dims)]
        args, kwargs = unflatten(structure, examples)
        results, result_structure = flatten(func(*args, **kwargs))
        for x in results:
            if not isinstance(x, Tensor):
                raise ValueError(
                    f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set "
                    f"the `out_dims=` to None for output?"
                )
        places = _broadcast(out_dims, result_structure, lambda: _out_dims_problem(name, out_dims))
        batches = [batching.batch_of(x) for x in results]
    return unflatten(result_structure, [_out(x, b, d, size, name) for x, b, d in zip(results, batches, places)])


def _out(x: Tensor, batch: Tensor | None, place: Any, size: Any, name: str) -> Tensor:
    if place is None:
        if batch is not None:
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return x
    if not isinstance(place, int) or isinstance(place, bool):
        raise ValueError(f"vmap({name}, ..., out_dims={place}): `out_dims` must be an int or None, got {type(place)}")
    if batch is None:
        batch = x.expand((size, *shape_of(x)))
    return batch.movedim(0, place) if place else batch


def _joined(parts: Sequence[Any], out_dims: Any, name: str) -> Any:
    from ..ops.join import cat

    flat = [flatten(part) for part in parts]
    structure = flat[0][1]
    places = _broadcast(out_dims, structure, lambda: _out_dims_problem(name, out_dims))
    columns = zip(*[leaves for leaves, _ in flat])
    return unflatten(structure, [c[0] if d is None else cat(list(c), d) for c, d in zip(columns, places)])


def _inputs(name: str, in_dims: Any, args: tuple, kwargs: dict) -> tuple[list[Any], Any, list[Any]]:
    """The leaves of (args, kwargs), their structure, and each leaf's mapped dimension."""
    called = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if not (in_dims is None or isinstance(in_dims, int | tuple | list)) or isinstance(in_dims, bool):
        raise ValueError(
            f"{called}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}."
        )
    if not args and not kwargs:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            f"function with no inputs. The latter is unsupported."
        )
    leaves, structure = flatten((args, kwargs))
    own, positional = flatten(args)

    def problem() -> Exception:
        return ValueError(
            f"{called}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{flatten(in_dims)[1]} but inputs has structure {positional}."
        )

    dims = _broadcast(tuple(in_dims) if isinstance(in_dims, list) else in_dims, positional, problem)
    dims += [0] * (len(leaves) - len(own))
    for position, (x, d) in enumerate(zip(leaves, dims)):
        if d is None:
            continue
        if not isinstance(d, int) or isinstance(d, bool):
            raise ValueError(
                f"{called}: Got in_dim={d} for an input but in_dim must be either an integer dimension or None."
            )
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{called}: Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over "
                f"non-Tensor arguments, please use None as the respective in_dim"
            )
        rank = x._array.ndim
        if not -rank <= d < rank:
            raise ValueError(
                f"{called}: Got in_dim={d} for some input, but that input is a Tensor of dimensionality {rank} so "
                f"expected in_dim to satisfy -{rank} <= in_dim < {rank}."
            )
        dims[position] = d % rank
    if all(d is None for d in dims):
        raise ValueError(f"{called}: in_dims is None for every input; at least one must be mapped.")
    return leaves, structure, dims


def _batch_size(leaves: Sequence[Any], dims: Sequence[Any]) -> Any:
    sizes = [shape_of(x)[d] for x, d in zip(leaves, dims) if d is not None]
    if any(int(n) != int(sizes[0]) for n in sizes[1:]) if state.recorder is None else any(n != sizes[0] for n in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            f"mapped dimension"
        )
    return sizes[0]


def _broadcast(dims: Any, structure: Any, problem: Callable[[], Exception]) -> list[Any]:
    """One dim for each leaf of `structure`: `dims` is a tree like it, or a prefix of one."""
    if dims is None or not isinstance(dims, tuple | list | dict):
        return [dims] * _count(structure)
    if structure == "leaf":
        if isinstance(dims, tuple | list) and len(dims) == 1:  # out_dims=(0,) of a single result
            return [dims[0]]
        raise problem()
    kind, parts = structure[0], structure[-1]
    if isinstance(dims, dict):
        if len(structure) < 3 or set(dims) != set(structure[1]):
            raise problem()
        own = [dims[name] for name in structure[1]]
    else:
        if len(dims) != len(parts) or kind is dict:
            raise problem()
        own = list(dims)
    return [d for given, part in zip(own, parts) for d in _broadcast(given, part, problem)]


def _count(structure: Any) -> int:
    return 1 if structure == "leaf" else sum(_count(part) for part in structure[-1])


def _out_dims_problem(name: str, out_dims: Any) -> Exception:
    return ValueError(
        f"vmap({name}, ..., out_dims={out_dims}): out_dims is not compatible with the structure of `outputs`."
    )
