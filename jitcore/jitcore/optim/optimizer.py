"""`Optimizer`: parameter groups, per-parameter state, and the loop that all optimizers share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar

from ..autograd import enable_grad, no_grad
from ..state import state
from ..tensor import Tensor, wrap


class Optimizer:
    """Base of all optimizers. A subclass defines `update`, which changes one parameter in place.

    Under `jit`, state tensors and parameters are written in place by the compiled program, and the entries named in
    `run_time_scalars` are read anew at each call, so that a learning-rate schedule records nothing again.
    """

    run_time_scalars: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params must be an iterable of tensors or dicts, not one Tensor")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; missing ones take the defaults."""
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        params = [p[1] if isinstance(p, tuple) else p for p in params]  # (name, parameter) pairs are welcome
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{type(self).__name__}: can optimize tensors, not {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{type(self).__name__}: can't optimize a non-leaf Tensor")
            if id(p) in taken:
                raise ValueError(f"{type(self).__name__}: a parameter appears in more than one group")
            taken.add(id(p))
        self.param_groups.append({**self.defaults, **param_group, "params": params})

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """The state a parameter starts with."""
        return {}

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        """Change `parameter` and its state entries in place."""
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is None:
                        continue
                    entries = self._entries(parameter, group)
                    if parameter.is_complex():
                        parameter, gradient, entries = as_parts(parameter), as_parts(gradient), as_parts(entries)
                    self.update(parameter, gradient, entries, group)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget, or zero, every parameter's gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.detach_().zero_()

    def state_dict(self) -> dict[str, Any]:
        """State and hyperparameters, with parameters numbered in order, as PyTorch lays it out."""
        numbers = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": {numbers[id(p)]: dict(entries) for p, entries in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a `state_dict()`. Raises ValueError where its groups do not match this optimizer's."""
        groups = state_dict["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(
                "loaded state dict has another number of parameter groups or parameters than the optimizer"
            )
        parameters = dict(zip((n for g in groups for n in g["params"]), self._parameters(), strict=True))
        self.state = defaultdict(dict)
        for number, entries in state_dict["state"].items():
            self.state[parameters[number]] = {
                k: v.clone() if isinstance(v, Tensor) else deepcopy(v) for k, v in entries.items()
            }
        for group, given in zip(self.param_groups, groups, strict=True):
            group.update({k: deepcopy(v) for k, v in given.items() if k != "params"})

    def __repr__(self) -> str:
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {value}" for key, value in sorted(group.items()) if key != "params"]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def _entries(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if parameter not in self.state:
            with _unrecorded():
                self.state[parameter] = self.initial_state(parameter, group)
        return self.state[parameter]


def as_parts(x: Any) -> Any:
    """Complex tensors, also those of a dict, as views of their real and imaginary parts: complex parameters are updated
    part by part."""
    if isinstance(x, dict):
        return {name: as_parts(entry) for name, entry in x.items()}
    return x.view_as_real() if isinstance(x, Tensor) and x.is_complex() else x


def hyperparameter(group: dict[str, Any], name: str) -> Any:
    """`group[name]`: a Python number, or while a program is recorded a 0-d tensor that stands for it."""
    value = group[name]
    recorder = state.recorder
    if recorder is None or not isinstance(value, int | float):
        return value
    import numpy as np

    from ..trace.sources import Entry

    return recorder.scalar(float(value), name, Entry(group, name), lambda number: wrap(np.array(number, np.float64)))


@contextmanager
def _unrecorded() -> Iterator[None]:
    """Make tensors as if before the recorded program: state is part of what a replay finds, not of what it makes."""
    recorder, state.recorder = state.recorder, None
    try:
        yield
    finally:
        state.recorder = recorder
