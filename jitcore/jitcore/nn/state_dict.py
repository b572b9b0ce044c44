"""`state_dict` and `load_state_dict`: a Module's tensors by name, out and in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ..autograd import no_grad
from ..tensor import Tensor


def state_dict(module: Any, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
    """Parameters and persistent buffers of `module` and below, by dotted name."""
    found: OrderedDict[str, Tensor] = OrderedDict()
    _collect(module, found, prefix, keep_vars)
    return found


def _collect(module: Any, found: OrderedDict[str, Tensor], prefix: str, keep_vars: bool) -> None:
    for name, value in _own(module).items():
        found[prefix + name] = value if keep_vars else value.detach()
    if has_extra_state(module):
        found[f"{prefix}_extra_state"] = module.get_extra_state()
    for name, child in module._modules.items():
        if child is not None:
            _collect(child, found, f"{prefix}{name}.", keep_vars)
    for hook in module._state_dict_hooks.values():
        hook(module, found, prefix, {})


def has_extra_state(module: Any) -> bool:
    """Whether the module's class defines what to save besides tensors."""
    from .module import Module

    return type(module).get_extra_state is not Module.get_extra_state


def _own(module: Any) -> dict[str, Tensor]:
    """The tensors that the module itself holds and saves."""
    own = {name: value for name, value in module._parameters.items() if value is not None}
    own |= {n: v for n, v in module._buffers.items() if v is not None and n not in module._non_persistent}
    return own


def load_state_dict(module: Any, given: Mapping[str, Any], strict: bool, assign: bool) -> tuple[list[str], list[str]]:
    """Load, all or nothing; returns (missing, unexpected) keys."""
    if not isinstance(given, Mapping):
        raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(given).__name__}")
    given = OrderedDict(given)
    for prefix, part in module.named_modules(remove_duplicate=False):
        for hook in part._load_state_dict_pre_hooks.values():
            hook(part, given, f"{prefix}." if prefix else "")
    extras = {
        f"{prefix}._extra_state" if prefix else "_extra_state": part
        for prefix, part in module.named_modules(remove_duplicate=False)
        if has_extra_state(part)
    }
    targets: dict[str, tuple[Any, str, Tensor]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for name, value in _own(part).items():
            targets[f"{prefix}.{name}" if prefix else name] = (part, name, value)
    missing = [key for key in (*targets, *extras) if key not in given]
    unexpected = [key for key in given if key not in targets and key not in extras]
    problems = [
        f"{key}: not a tensor but {type(given[key]).__name__}"
        for key in targets
        if key in given and not isinstance(given[key], Tensor)
    ]
    for key, (_, _, target) in targets.items():
        found = given.get(key)
        if isinstance(found, Tensor) and tuple(found.shape) != tuple(target.shape):
            problems.append(f"{key}: shape {list(found.shape)} given, {list(target.shape)} expected")
    if strict:
        problems += [f"missing key: {key}" for key in missing] + [f"unexpected key: {key}" for key in unexpected]
    if problems:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(problems))
    for key, (part, name, target) in targets.items():
        if key in given:
            _load_one(part, name, target, given[key], assign)
    for key, part in extras.items():
        if key in given:
            part.set_extra_state(given[key])
    return missing, unexpected


def _load_one(module: Any, name: str, target: Tensor, value: Tensor, assign: bool) -> None:
    from .parameter import Parameter

    if not assign:
        with no_grad():
            target.copy_(value)
    elif name in module._parameters:
        made = value if isinstance(value, Parameter) else Parameter(value, target.requires_grad)
        module._parameters[name] = made
    else:
        module._buffers[name] = value
