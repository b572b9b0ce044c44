"""`Optimizer`: parameter groups, per-parameter state, and the loop that all optimizers share."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar

from jitcore_ir import DType
from jitcore_ir.dtypes import float32, float64

from ..autograd import enable_grad, no_grad
from ..device import get_default_dtype
from ..nn.hooks import RemovableHandle
from ..ops import full_like
from ..state import state
from ..tensor import Tensor, wrap


class Optimizer:
    """Base of all optimizers. A subclass defines `update`, which changes one parameter in place.

    Under `jit`, state tensors and parameters are written in place by the compiled program, and the entries named in
    `run_time_scalars` are read anew at each call, so that a learning-rate schedule records nothing again.
    """

    run_time_scalars: ClassVar[tuple[str, ...]] = ("lr",)

    hidden_state: ClassVar[tuple[str, ...]] = ()
    """State entries that PyTorch's optimizer of this name does not have: they are not in `state_dict`."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                f"params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._hooks: dict[str, OrderedDict[int, Callable]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; missing ones take the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but a set was given")
        params = [given] if isinstance(given, Tensor) else list(given)
        names = [p[0] for p in params if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        own: set[int] = set()
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in taken:
                raise ValueError("some parameters appear in more than one parameter group")
            if id(p) in own:
                warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=3)
            own.add(id(p))
        group = {**self.defaults, **param_group, "params": params}
        if names:
            group["param_names"] = names
        self.param_groups.append(group)

    def initial_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """The state a parameter starts with."""
        return {}

    def update(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any], group: dict[str, Any]) -> None:
        """Change `parameter` and its state entries in place."""
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss."""
        self._call_hooks("step_pre", (self, (closure,) if closure is not None else (), {}))
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
        self._call_hooks("step_post", (self, (closure,) if closure is not None else (), {}))
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
        self._call_hooks("state_dict_pre", (self,))
        numbers = {id(p): i for i, p in reversed(list(enumerate(self._parameters())))}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        held = {
            numbers[id(p)]: {k: v for k, v in entries.items() if k not in self.hidden_state}
            for p, entries in self.state.items()
            if entries
        }
        found = {"state": held, "param_groups": groups}
        return self._call_hooks("state_dict_post", (self, found)) or found

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a `state_dict()`. Raises ValueError where its groups do not match this optimizer's."""
        state_dict = self._call_hooks("load_state_dict_pre", (self, state_dict)) or state_dict
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        parameters = dict(zip((n for g in groups for n in g["params"]), self._parameters(), strict=True))
        self.state = defaultdict(dict)
        for number, entries in state_dict["state"].items():
            parameter = parameters[number]
            self.state[parameter] = {name: _taken_over(name, v, parameter) for name, v in entries.items()}
            self.restore_hidden_state(parameter, self.state[parameter])
        for group, given in zip(self.param_groups, groups, strict=True):
            group.update({k: deepcopy(v) for k, v in given.items() if k != "params"})
        self._call_hooks("load_state_dict_post", (self,))

    def restore_hidden_state(self, parameter: Tensor, entries: dict[str, Any]) -> None:
        """Make the entries of `hidden_state` anew from those of a loaded `state_dict`."""

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; what it returns, if anything, is used instead."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`; what it returns, if anything, is used."""
        return self._register("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return self._register("load_state_dict_post", hook, prepend)

    def _register(self, when: str, hook: Callable, prepend: bool = False) -> RemovableHandle:
        return RemovableHandle.add(self._hooks.setdefault(when, OrderedDict()), hook, prepend)

    def _call_hooks(self, when: str, arguments: tuple) -> Any:
        result = None
        for hook in list(self._hooks.get(when, {}).values()):
            returned = hook(*arguments)
            if returned is not None and when.endswith(("state_dict_pre", "state_dict_post")):
                result = returned
        return result

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


def each_part_like(parameter: Tensor, number: float) -> Tensor:
    """A tensor of the parameter's shape and dtype with that number in every element, in both parts of a complex one."""
    return full_like(parameter.detach(), complex(number, number) if parameter.is_complex() else number)


def as_parts(x: Any) -> Any:
    """Complex tensors, also those of a dict, as views of their real and imaginary parts: complex parameters are updated
    part by part."""
    if isinstance(x, dict):
        return {name: as_parts(entry) for name, entry in x.items()}
    return x.view_as_real() if isinstance(x, Tensor) and x.is_complex() else x


def _taken_over(name: str, value: Any, parameter: Tensor) -> Any:
    """A loaded state entry: float tensors take the parameter's dtype, except step counts."""
    if not isinstance(value, Tensor):
        return deepcopy(value)
    if name != "step" and parameter.dtype.is_floating_point and value.dtype.is_floating_point:
        return value.detach().to(parameter.dtype, copy=True)
    return value.detach().clone()


def scalar_dtype() -> DType:
    """Of step counts and the like: float32, or float64 where that is the default dtype."""
    return float64 if get_default_dtype() is float64 else float32


def check_not_negative(**values: Any) -> None:
    """Raise ValueError for a hyperparameter below zero."""
    for name, value in values.items():
        if not isinstance(value, Tensor) and not value >= 0:
            raise ValueError(f"Invalid {name.replace('_', ' ') if name == 'learning_rate' else name} value: {value}")


def check_betas(betas: tuple[float, float]) -> None:
    """Raise ValueError for a decay rate outside [0, 1)."""
    for number, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"Invalid beta parameter at index {number}: {beta}")


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
