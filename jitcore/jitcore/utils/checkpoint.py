"""Checkpointing: what a part of a model saves for backward is thrown away, and computed again in backward."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ..autograd.engine import backward
from ..autograd.function import Function
from ..autograd.graph import saved_tensors_hooks
from ..autograd.modes import enable_grad
from ..random import default_generator, get_rng_state, set_rng_state
from ..state import state
from ..tensor import Tensor
from ..trace.containers import flatten

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function saved other tensors than the first."""


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing: for the first run and for the second."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, whose intermediate tensors are not kept but computed again in backward.

    use_reentrant=True runs it without a tape and a second time, with one, in backward(); the function's results then
    need an argument that requires grad. use_reentrant=False keeps the tape but not the tensors on it; it takes keyword
    arguments, grad() and double backward. preserve_rng_state=False lets the second run draw other random numbers.
    Raises CheckpointError in backward where the second run differs.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if not use_reentrant:
        return _without_reentry(function, args, kwargs, preserve, context_fn, determinism_check)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if context_fn is not noop_context_fn or debug:
        raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
    return _Checkpoint.apply(function, preserve, *args)


class _Checkpoint(Function):
    """use_reentrant=True."""

    beside = "a backward pass of its own (use_reentrant=True), which adds to gradients"

    @staticmethod
    def forward(ctx: Any, function: Callable, preserve: bool, *args: Any) -> Any:
        if not any(isinstance(x, Tensor) and x.requires_grad for x in args) and state.grad_enabled:
            warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=4)
        ctx.function = function
        ctx.random = get_rng_state() if preserve else None
        ctx.autocast = state.autocast
        ctx.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.others = [None if isinstance(x, Tensor) else x for x in args]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        if state.captures:
            raise RuntimeError(
                "When use_reentrant=True, checkpoint is incompatible with .grad() or passing an `inputs` parameter to "
                ".backward(). To resolve this error, you can either set use_reentrant=False, or call .backward() "
                "without passing the `inputs` argument."
            )
        args = list(ctx.others)
        for place, x in zip(ctx.places, ctx.saved_tensors):
            args[place] = x.detach().requires_grad_(x.requires_grad)
        with _as_then(ctx.random, ctx.autocast), enable_grad():
            results = ctx.function(*args)
        outputs = results if isinstance(results, tuple) else (results,)
        used = [(y, g) for y, g in zip(outputs, gradients) if isinstance(y, Tensor) and y.requires_grad]
        if not used:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        backward([y for y, _ in used], [g for _, g in used])
        return (None, None, *[x.grad if isinstance(x, Tensor) else None for x in args])


class _Place:
    """Stands for a tensor that was not kept."""

    __slots__ = ("__weakref__", "kind")

    def __init__(self, x: Tensor) -> None:
        self.kind = (tuple(x._array.shape), x.dtype)


def _without_reentry(
    function: Callable, args: tuple, kwargs: dict, preserve: bool, context_fn: Callable, determinism_check: str
) -> Any:
    first, second = context_fn()
    random, autocast = get_rng_state() if preserve else None, state.autocast
    versions = [(x, x._storage, x._storage.version) for x in flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    places: list[weakref.ref[_Place]] = []
    again: weakref.WeakKeyDictionary[_Place, tuple[Tensor, int]] = weakref.WeakKeyDictionary()

    def pack(x: Tensor) -> _Place:
        place = _Place(x)
        places.append(weakref.ref(place))
        return place

    def unpack(place: _Place) -> Tensor:
        if place not in again:
            run_again()
        x, version = again[place]
        if x._storage.version != version:
            raise RuntimeError(
                "checkpoint: a tensor needed for backward is written in place later in the checkpointed function; "
                "write to a clone() instead"
            )
        return x

    def run_again() -> None:
        for _, storage, version in versions:
            if storage.version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    "an argument of a checkpointed function was written before backward ran the function again"
                )
        count = 0

        def keep(x: Tensor) -> None:
            nonlocal count
            place = places[count]() if count < len(places) else None
            if place is not None:
                kind = (tuple(x._array.shape), x.dtype)
                if kind != place.kind and determinism_check == "default":
                    raise CheckpointError(
                        f"checkpoint: Recomputed values for the following tensors have different metadata than during "
                        f"the forward pass. tensor at position {count}: saved {place.kind}, recomputed {kind}"
                    )
                again[place] = (x.detach(), x._storage.version)
            count += 1

        with _as_then(random, autocast), enable_grad(), second, saved_tensors_hooks(keep, _never):
            function(*args, **kwargs)
        if count != len(places):
            raise CheckpointError(
                f"checkpoint: A different number of tensors was saved during the original forward and recomputation. "
                f"Number of tensors saved during forward: {len(places)}. Number of tensors saved during recomputation: "
                f"{count}."
            )

    with saved_tensors_hooks(pack, unpack), first:
        return function(*args, **kwargs)


def _never(packed: Any) -> Tensor:
    raise CheckpointError("checkpoint: You are calling backward on a tensor that is never exposed.")


@contextlib.contextmanager
def _as_then(random: Tensor | None, autocast: Any) -> Iterator[None]:
    """Autocast and (unless None) the default generator as they were in the first run, and back."""
    now, state.autocast = state.autocast, autocast
    drawn = None if random is None else default_generator.get_state()
    if random is not None:
        set_rng_state(random)
    try:
        yield
    finally:
        state.autocast = now
        if drawn is not None:
            set_rng_state(drawn)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """A Sequential, or functions in order, in `segments` parts, of which all but the last are checkpointed."""
    if use_reentrant is None:
        warnings.warn(
            "checkpoint_sequential: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def part(start: int, end: int) -> Callable:
        def run(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x

        return run

    size = len(steps) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(part(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return part(end, len(steps))(input)
