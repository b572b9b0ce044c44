"""`Optimizer`: parameter groups, per-parameter state, hooks, and the loop that all optimizers share."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache, wraps
from typing import Any, ClassVar

import numpy as np

from jitcore_ir import DType
from jitcore_ir.dtypes import float32, float64
from jitcore_ir.ops import POW
from jitcore_runtime.kernels import KERNELS

from .. import ops
from ..autograd import enable_grad, set_grad_enabled
from ..device import get_default_dtype
from ..nn.hooks import RemovableHandle
from ..state import state
from ..tensor import Tensor, wrap

required = object()
"""A default that every parameter group has to give itself."""

_every_pre_hook: OrderedDict[int, Callable] = OrderedDict()
_every_post_hook: OrderedDict[int, Callable] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """`hook(optimizer, args, kwargs)` before every step of every optimizer."""
    return RemovableHandle.add(_every_pre_hook, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """`hook(optimizer, args, kwargs)` after every step of every optimizer."""
    return RemovableHandle.add(_every_post_hook, hook)


def _with_hooks(step: Callable) -> Callable:
    """`step` between the hooks that wait for it."""

    @wraps(step)
    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True  # lr_scheduler warns where it is stepped first
        for hook in (*_every_pre_hook.values(), *self._step_pre_hooks.values()):
            given = hook(self, args, kwargs)
            if given is not None:
                if not isinstance(given, tuple) or len(given) != 2:
                    raise RuntimeError(f"a step pre hook must return None or (new_args, new_kwargs), not {given}")
                args, kwargs = given
        result = step(self, *args, **kwargs)
        for hook in (*self._step_post_hooks.values(), *_every_post_hook.values()):
            hook(self, args, kwargs)
        return result

    return run


_live: weakref.WeakSet[Optimizer] = weakref.WeakSet()


def live_optimizers() -> list[Optimizer]:
    """Every optimizer that is ready to be used."""
    return [optimizer for optimizer in _live if "param_groups" in optimizer.__dict__]


class Optimizer:
    """Base of all optimizers. A subclass defines `update`, which changes one parameter in place, or `step` itself.

    Under `jit`, state tensors and parameters are written in place by the compiled program, and the entries named in
    `run_time_scalars` are read anew at each call, so that a learning-rate schedule records nothing again. State entries
    in `number_state` are numbers in 0-d tensors, whatever the parameter's shape. Entries of `hidden_state` are left out
    of `state_dict()`, which has PyTorch's keys.
    """

    run_time_scalars: ClassVar[tuple[str, ...]] = ("lr",)
    number_state: ClassVar[tuple[str, ...]] = ("step",)
    hidden_state: ClassVar[tuple[str, ...]] = ()
    _opt_called: bool
    _step_pre_hooks: OrderedDict[int, Callable]
    _step_post_hooks: OrderedDict[int, Callable]
    _state_dict_pre_hooks: OrderedDict[int, Callable]
    _state_dict_post_hooks: OrderedDict[int, Callable]
    _load_state_dict_pre_hooks: OrderedDict[int, Callable]
    _load_state_dict_post_hooks: OrderedDict[int, Callable]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Optimizer:
        made = super().__new__(cls)
        made._make_hook_tables()  # also for a subclass around another optimizer, which may not call __init__
        _live.add(made)
        return made

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params must be an iterable of tensors or dicts, not one Tensor")
        self.defaults = defaults
        if defaults.get("fused"):
            for name in ("differentiable", "foreach"):
                if defaults.get(name):
                    raise RuntimeError(f"{type(self).__name__}: `fused` and `{name}` cannot be True together")
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls) -> None:
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; missing ones take the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError("optimizer parameters need an ordered collection; a set's order changes between runs")
        given = [given] if isinstance(given, Tensor) else list(given)
        names = [p[0] for p in given if isinstance(p, tuple)]
        if names and len(names) != len(given):
            raise ValueError("all optimizer params should be with/without names; some names are missing")
        params = [p[1] if isinstance(p, tuple) else p for p in given]
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not (self.defaults.get("differentiable") or p.is_leaf or getattr(p, "retains_grad", False)):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
        if len({id(p) for p in params}) != len(params):
            warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=3)
        if any(("param_names" in group) != bool(names) for group in self.param_groups):
            raise ValueError("all optimizer param groups should be with/without names")
        if {id(p) for p in self._parameters()} & {id(p) for p in params}:
            raise ValueError("some parameters appear in more than one parameter group")
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)

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
        with set_grad_enabled(bool(self.defaults.get("differentiable"))):
            for group in self.param_groups:
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is None:
                        continue
                    entries = self._entries(parameter, group)
                    if group.get("maximize"):
                        gradient = -gradient
                    if parameter.is_complex():
                        parameter, gradient, entries = as_parts(parameter), as_parts(gradient), as_parts(entries)
                    elif state.recorder is not None and not parameter.ndim:
                        parameter, gradient, entries = self._as_vectors(parameter, gradient, entries)
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

    # State

    def state_dict(self) -> dict[str, Any]:
        """State and hyperparameters, with parameters numbered in order, as PyTorch lays it out."""
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        numbers = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        entries = {
            numbers.get(id(p), p): {k: v for k, v in found.items() if k not in self.hidden_state}
            for p, found in self.state.items()
        }
        result: dict[str, Any] = {"state": entries, "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():
            given = hook(self, result)
            result = result if given is None else given
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a `state_dict()`, or one of PyTorch's with its tensors converted.

        Raises ValueError where its groups do not match this optimizer's.
        """
        given = dict(state_dict)
        for hook in self._load_state_dict_pre_hooks.values():
            replaced = hook(self, given)
            given = given if replaced is None else replaced
        groups = deepcopy(given["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        parameters = dict(zip((n for g in groups for n in g["params"]), self._parameters(), strict=True))
        self.state = defaultdict(dict)
        for number, entries in given["state"].items():
            if number in parameters:
                self.state[parameters[number]] = _cast(entries, parameters[number], None)
            else:
                self.state[number] = entries
        for i, (group, new) in enumerate(zip(self.param_groups, groups, strict=True)):
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
            self.param_groups[i] = {**self.defaults, **new}
        for hook in self._load_state_dict_post_hooks.values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, given: dict[str, Any]) -> None:
        self.__dict__.update(given)
        self._make_hook_tables()

    # Hooks

    def _make_hook_tables(self) -> None:
        for name in ("step", "state_dict", "load_state_dict"):
            for when in ("pre", "post"):
                self.__dict__.setdefault(f"_{name}_{when}_hooks", OrderedDict())

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(optimizer, args, kwargs)` before each step; may return (args, kwargs) to use instead."""
        return RemovableHandle.add(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """`hook(optimizer, args, kwargs)` after each step."""
        return RemovableHandle.add(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer)` before `state_dict()`."""
        return RemovableHandle.add(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer, state_dict)` after `state_dict()`; may return another one."""
        return RemovableHandle.add(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer, state_dict)` before `load_state_dict()`; may return another one."""
        return RemovableHandle.add(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """`hook(optimizer)` after `load_state_dict()`."""
        return RemovableHandle.add(self._load_state_dict_post_hooks, hook, prepend)

    def __repr__(self) -> str:
        text = ""
        for number, group in enumerate(self.param_groups):
            entries = "".join(f"    {key}: {value}\n" for key, value in sorted(group.items()) if key != "params")
            text += f"\nParameter Group {number}\n{entries}"
        return f"{type(self).__name__} ({text})"

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def _as_vectors(self, parameter: Tensor, gradient: Tensor, entries: dict[str, Any]) -> tuple:
        """A 0-d parameter, its gradient and state as views of shape [1]: while a program is recorded numbers are 0-d
        float64 tensors, which must not widen it."""
        kept = {k: v if k in self.number_state or v is None else v.reshape(1) for k, v in entries.items()}
        return parameter.reshape(1), gradient.reshape(1), kept

    def _entries(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        entries = self.state.get(parameter)
        if not entries:
            with unrecorded():
                entries = self.initial_state(parameter, group)
            if entries:
                self.state[parameter] = entries
        return entries


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]


def check_hyperparameters(lr: Any, betas: tuple = (), **others: Any) -> None:
    """Raises ValueError for a learning rate or another number below 0 and for betas outside [0, 1)."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0:
        raise ValueError(f"Invalid learning rate: {lr}")
    for name, value in others.items():
        if not value >= 0:
            raise ValueError(f"Invalid {'epsilon' if name == 'eps' else name} value: {value}")
    for number, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"Invalid beta parameter at index {number}: {beta}")


def as_parts(x: Any) -> Any:
    """Complex tensors, also those of a dict, as views of their real and imaginary parts: complex parameters are updated
    part by part."""
    if isinstance(x, dict):
        return {name: as_parts(entry) for name, entry in x.items()}
    return x.view_as_real() if isinstance(x, Tensor) and x.is_complex() else x


def hyperparameter(group: dict[str, Any], name: str, index: int | None = None) -> Any:
    """`group[name]`, or `group[name][index]`: a Python number, or while a program is recorded a 0-d tensor for it."""
    value = group[name] if index is None else group[name][index]
    recorder = state.recorder
    if recorder is None or not isinstance(value, int | float):
        return value
    from ..trace.sources import Entry

    source = Entry(group, name, index)
    return recorder.scalar(float(value), name, source, lambda number: wrap(np.array(number, np.float64)))


def as_number(x: Tensor) -> Any:
    """A 0-d state tensor (a step count) as a Python float, or while a program is recorded as a float64 tensor."""
    return x.item() if state.recorder is None else x.double()


def rounded(x: Any, dtype: DType) -> Any:
    """A number as a 0-d tensor of `dtype` takes it: while a program is recorded it is float64, which would widen it."""
    return x.to(dtype) if isinstance(x, Tensor) else x


def power(x: Any, y: Any) -> Any:
    """x**y, of numbers with the bits that a recorded program gives."""
    return x**y if isinstance(x, Tensor) or isinstance(y, Tensor) else _number_power(x, y)


@lru_cache(maxsize=64)
def _number_power(x: float, y: float) -> float:
    return KERNELS[POW](np.array(x, np.float64), np.array(y, np.float64)).item()


def scalar_dtype() -> DType:
    """Of step counts and the like: float32, or float64 where that is the default dtype."""
    return float64 if get_default_dtype() is float64 else float32


def at_least(x: Any, low: float) -> Any:
    """max(x, low) of a number or a tensor."""
    return x.clamp(min=low) if isinstance(x, Tensor) else max(x, low)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Make tensors as if before the recorded program: state is part of what a replay finds, not of what it makes."""
    recorder, state.recorder = state.recorder, None
    try:
        yield
    finally:
        state.recorder = recorder


def _cast(value: Any, parameter: Tensor, key: Any) -> Any:
    """A loaded state entry as this parameter's: copied, tensors (but counts) in its dtype where it is floating."""
    if isinstance(value, dict):
        return {k: _cast(v, parameter, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_cast(v, parameter, None) for v in value)
    if not isinstance(value, Tensor):
        return ops.tensor(np.asarray(value)) if hasattr(value, "__array__") else deepcopy(value)
    floating = parameter.is_floating_point() and key != "step"
    return value.detach().clone().to(parameter.dtype) if floating else value.detach().clone()
