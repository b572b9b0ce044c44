"""What jitcore's own objects hold that code depends on: how a walk watches tensors, modules, optimizers and their like.

Each function below writes conditions for one class; `watcher_of_ours` says which one is for which class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .names import OURS, STORED

if TYPE_CHECKING:
    from .walk import Walker

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_full_backward_hooks", "_full_backward_pre_hooks")
"""Those that a call of a module runs."""
_OF_CLASS = frozenset(["type", "isinstance", "__class__"])
_OF_DTYPE = frozenset(["dtype", "type", "is_floating_point", "is_complex", "element_size", "itemsize", "nbytes"])
_OF_SHAPE = frozenset(
    ["shape", "size", "numel", "ndim", "dim", "nelement", "ndimension", "stride", "is_contiguous", "len"]
)
"""Names of what a tensor says of its class, its dtype, and its shape."""
_EVERY_ENTRY = frozenset(["items", "values"])
"""Methods of a dict that give what no name asks for."""


def tensor(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """Its memory and gradient count as accounted for. Of one from outside, what is put on it and what code may ask it
    besides its elements."""
    if walker.is_new(value, "tensor"):
        walker.see(value)
    is_held = is_held or id(value) in walker.held  # by what a caller names
    if is_held and value.__dict__:
        walker.names_in(value.__dict__, what, names)
    walker.lacks(value, what, names, STORED)
    found = walker.class_attributes(type(value), what, names)
    if not is_held or OURS in names:
        return
    checks = walker.checks
    if value.__dict__:
        checks.without(value.__dict__, frozenset(found), f"{what} had no")
    else:
        checks.nothing_put(value, f"nothing was put on {what}")
    if "requires_grad" in names:
        checks.same_flag(value, f"{what} had another requires_grad")
    if not names.isdisjoint(_OF_CLASS):
        checks.same_class(value, f"{what} was a {type(value).__name__}")
    array = f"{checks.bind(value)}._array"
    if not names.isdisjoint(_OF_DTYPE):
        checks.same_value(f"{array}.dtype", value._array.dtype, f"{what} was of another dtype")
    if not names.isdisjoint(_OF_SHAPE):
        checks.same_value(f"{array}.shape", value._array.shape, f"{what} had another shape")
    if "is_set_to" in names:
        checks.same_memory(value, f"the data of {what} was another memory")


def module(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """Whether it is training, its parameters, buffers and parts, the hooks that a call runs, and named attributes."""
    from ..nn import functional
    from ..nn.layers import Row

    attributes = value.__dict__
    if "training" not in attributes:
        return  # its constructor has not got that far: it is made by the run itself
    label = what if what != "self" else type(value).__name__
    bound = walker.checks.bind(attributes)
    walker.visit(f"{bound}.get('training', missing)", value.training, f"{label}.training", names)
    for table in ("_parameters", "_buffers", "_modules"):
        walker.visit("", attributes[table], f"{label}", names)
    for name in attributes:
        if name in _HOOKS and isinstance(attributes[name], dict):
            walker.visit("", attributes[name], f"{label}.{name}", names)
    row = getattr(type(value), "_row", None)
    if isinstance(row, Row):  # a layer of a table: what it calls, and what with
        names |= frozenset(attributes.get("_passed", ()))
        if walker.is_new(functional, row.function):
            walker.library(functional, "jitcore.nn.functional", frozenset([row.function]))
    walker.own_dict(attributes, label, names - {"training", "_parameters", "_buffers", "_modules"})
    walker.class_of(value, label, names)


def optimizer(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """Its groups, the table of its state, and named attributes. What is in the state is looked at after the run."""
    if not value.__dict__.keys() >= {"state", "param_groups"}:
        return  # its constructor has not got that far
    if id(value) not in walker.optimizers:
        walker.optimizers[id(value)] = value
        walker.numbers_of_optimizers |= numbers_in_state(value)
    # `load_state_dict` and `add_param_group` change these
    bound = walker.checks.bind(value.__dict__)
    for name in ("state", "param_groups"):
        walker.checks.same_object(f"{bound}.get({name!r}, missing)", getattr(value, name), f"{what}.{name}")
    groups = walker.checks.bind(value.param_groups)
    walker.checks.same_length(groups, len(value.param_groups), f"the number of groups of {what}")
    for number, group in enumerate(value.param_groups):
        walker.checks.same_object(f"{groups}[{number}]", group, f"group {number} of {what} was another")
        _hyperparameters(walker, group, type(value).__name__, value.run_time_scalars, names)
    by_user = OURS not in names
    walker.names_in(value.__dict__, what, names - {"param_groups", "state"} - (set() if by_user else {"defaults"}))
    if "state" in names and by_user:
        _state(walker, value, what, names)
    walker.class_of(value, what, names)


def numbers_in_state(value: Any) -> dict[tuple[int, Any], Any]:
    """What an optimizer's state holds besides tensors, by the id of a parameter's entries and the name."""
    return {
        (id(entries), name): item
        for entries in value.state.values()
        if isinstance(entries, dict)
        for name, item in entries.items()
        if not hasattr(item, "_storage")
    }


def _state(walker: Walker, value: Any, what: str, names: frozenset[str]) -> None:
    """What the user's code may read in it besides tensors."""
    walker.checks.same_length(walker.checks.bind(value.state), len(value.state), f"the entries of {what}.state")
    for entries in value.state.values():
        if not isinstance(entries, dict):
            continue
        walker.checks.same_keys(entries, f"{what}.state[...] had the keys {', '.join(map(str, entries))}")
        for key in sorted(names.intersection(entries)):
            if not hasattr(entries[key], "_storage"):
                fetch = f"{walker.checks.bind(entries)}.get({key!r}, missing)"
                walker.visit(fetch, entries[key], f"{what}.state[...][{key!r}]", names)


def _hyperparameters(walker: Walker, group: dict, what: str, run_time: tuple[str, ...], names: frozenset[str]) -> None:
    """Everything in an optimizer's group but the numbers that replays read anew; of those, whether they are 0."""
    bound = walker.checks.bind(group)
    walker.is_new(group, "entries")  # where it is met again, as a dict, nothing is to be added
    by_user = "param_groups" in names and OURS not in names
    if by_user:
        walker.checks.same_keys(group, f"a group of {what} had the keys {', '.join(map(str, group))}")
    for key, value in group.items():
        fetch = f"{bound}.get({key!r}, missing)"
        numbers = value if isinstance(value, tuple) else (value,)
        is_read = OURS not in names and (key in names or (by_user and not names.isdisjoint(_EVERY_ENTRY)))
        if is_read or key not in run_time or not all(isinstance(number, int | float) for number in numbers):
            walker.visit(fetch, value, f"{what} {key}", names)
        elif key != "lr":
            walker.checks.same_truth(fetch, value, f"{what} {key} was {value!r}")


def generator(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """The tensor that its state is."""
    walker.generators.add(id(value._state._storage))
    if is_held:
        walker.hold(value._state, value)
    walker.visit("", value._state, what, names)


def jitted(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """What the function inside depends on."""
    walker.visit("", value._function, what, names)


def attributes(walker: Walker, value: Any, what: str, names: frozenset[str], is_held: bool) -> None:
    """What code names."""
    walker.attributes(value, what, names)


@functools.cache
def _watched() -> dict[type, Callable]:
    from ..amp.grad_scaler import GradScaler  # these lead back to tracing when they are imported
    from ..jit_function import JitFunction
    from ..nn.module import Module
    from ..optim.lr_scheduler import LRScheduler
    from ..optim.optimizer import Optimizer
    from ..random import Generator
    from ..tensor import Tensor

    return {
        Tensor: tensor, Module: module, Optimizer: optimizer, Generator: generator, JitFunction: jitted,
        LRScheduler: attributes, GradScaler: attributes,
    }  # fmt: skip


def watcher_of_ours(value: Any) -> Callable | None:
    """What watches an object of this class of ours, or of one derived from it."""
    table = _watched()
    return next((table[cls] for cls in type(value).__mro__ if cls in table), None)
