"""Calls that are made up to compile ahead: what they are made of, and what must be as before when they are over.

What a run did to tensors (parameters, buffers, gradients, the state of random numbers) is undone by whoever runs it
(see `undo`); optimizers' state that the run has made, and their groups, are put back here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..exporting import placeholder
from ..optim.optimizer import live_optimizers
from ..specs import TensorSpec
from ..tensor import Tensor, wrap


def made_up_call(spec: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments for one entry of `warmup`: a tuple or list of arguments, a dict of named ones, or
    one argument alone. In place of each TensorSpec stands a tensor of zeros, in place of each tensor a copy of it."""
    made: dict[int, Tensor] = {}
    if isinstance(spec, Mapping):
        return (), {name: _argument(value, made) for name, value in spec.items()}
    arguments = spec if isinstance(spec, tuple | list) else (spec,)
    return tuple(_argument(value, made) for value in arguments), {}


def _argument(value: Any, made: dict[int, Tensor]) -> Any:
    if isinstance(value, TensorSpec):
        sizes = tuple(int(d) for d in value.shape)
        return wrap(placeholder(sizes, value.dtype)).requires_grad_(value.requires_grad)
    if isinstance(value, Tensor):
        if id(value) not in made:  # the same tensor twice stays the same tensor
            made[id(value)] = value.detach().clone().requires_grad_(value.requires_grad)
        return made[id(value)]
    if type(value) in (tuple, list):
        return type(value)(_argument(v, made) for v in value)
    if type(value) is dict:
        return {key: _argument(v, made) for key, v in value.items()}
    return value


@contextmanager
def unchanged_optimizers() -> Iterator[None]:
    """Put state and groups of all optimizers back to what they were; tensors themselves are `undo`'s business."""
    before = [
        (optimizer, {p: copy.copy(entries) for p, entries in optimizer.state.items()}, _groups(optimizer))
        for optimizer in live_optimizers()
    ]
    try:
        yield
    finally:
        for optimizer, state, groups in before:
            for parameter in [p for p in optimizer.state if p not in state]:
                del optimizer.state[parameter]
            for parameter, entries in state.items():
                _put_back(optimizer.state[parameter], entries)
            for group, values in zip(optimizer.param_groups, groups):
                _put_back(group, values)


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    return [dict(group) for group in optimizer.param_groups]


def _put_back(table: dict[str, Any], before: dict[str, Any]) -> None:
    if table.keys() != before.keys() or any(table[name] is not value for name, value in before.items()):
        table.clear()
        table.update(before)
