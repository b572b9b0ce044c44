"""`state_dict` and `load_state_dict`: a Module's tensors by name, out and in.

Each module saves and loads what is its own in `_save_to_state_dict` and `_load_from_state_dict`, which subclasses may
override as in PyTorch. While `load_state_dict` runs, what these write is kept back until nothing speaks against it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any, NamedTuple

from ..autograd import no_grad
from ..tensor import Tensor


class _IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` did not find or did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


_writes: ContextVar[list[Callable[[], None]] | None] = ContextVar("writes", default=None)
"""Writes that wait for the end of `load_state_dict`."""


def save_own(module: Any, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Put the parameters, persistent buffers and extra state of the module itself into `destination`."""
    for name, value in own_tensors(module).items():
        destination[prefix + name] = value if keep_vars else value.detach()
    if has_extra_state(module):
        destination[f"{prefix}_extra_state"] = module.get_extra_state()


def has_extra_state(module: Any) -> bool:
    """Whether the module's class defines what to save besides tensors."""
    from .module import Module

    return type(module).get_extra_state is not Module.get_extra_state


def own_tensors(module: Any) -> dict[str, Tensor]:
    """The tensors that the module itself holds and saves."""
    own = {name: value for name, value in module._parameters.items() if value is not None}
    own |= {n: v for n, v in module._buffers.items() if v is not None and n not in module._non_persistent}
    return own


def load_own(
    module: Any,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Load what is the module's own from `state_dict`, and say in the lists what does not fit."""
    for hook in module._load_state_dict_pre_hooks.values():
        hook(module, state_dict, prefix, local_metadata, True, missing, unexpected, errors)
    own = own_tensors(module)
    assign = bool(local_metadata.get("assign_to_params_buffers", False))
    for name, target in own.items():
        key = prefix + name
        if key not in state_dict:
            missing.append(key)
            continue
        value = state_dict[key]
        if not isinstance(value, Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected jitcore.Tensor or '
                f"Tensor-like object from checkpoint but received {type(value)}"
            )
            continue
        if not target.ndim and tuple(value.shape) == (1,):
            value = value[0]
        if tuple(value.shape) != tuple(target.shape):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, the shape in "
                f"current model is {target.shape}."
            )
            continue
        _write(lambda name=name, target=target, value=value: _load_one(module, name, target, value, assign))  # type: ignore[misc]
    extra = f"{prefix}_extra_state"
    if has_extra_state(module):
        if extra in state_dict:
            _write(lambda: module.set_extra_state(state_dict[extra]))
        else:
            missing.append(extra)
    elif extra in state_dict:
        unexpected.append(extra)
    for key in state_dict:
        if key.startswith(prefix) and key != extra:
            first, _, deeper = key[len(prefix) :].partition(".")
            if first not in (module._modules if deeper else own):
                unexpected.append(key)


def load_all(module: Any, given: Mapping[str, Any], strict: bool, assign: bool) -> _IncompatibleKeys:
    """Load here and below. Raises RuntimeError saying all that does not fit, with nothing changed; where hooks after
    loading have a say in what is missing, these see the module loaded."""
    if not isinstance(given, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(given)}.")
    metadata = getattr(given, "_metadata", None) or {}
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []

    def load(part: Any, state: dict[str, Any], prefix: str) -> None:
        local = dict(metadata.get(prefix[:-1], {}))
        if assign:
            local["assign_to_params_buffers"] = True
        part._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
        for name, child in part._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                load(child, {k: v for k, v in state.items() if k.startswith(below)}, below)

    def refuse(strict: bool) -> None:
        said = [
            f"{what} key(s) in state_dict: {', '.join(f'{chr(34)}{k}{chr(34)}' for k in keys)}. "
            for what, keys in (("Missing", missing), ("Unexpected", unexpected))
            if strict and keys
        ] + errors
        if said:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(said))

    with _kept_back() as writes:
        load(module, OrderedDict(given), "")
    after = list(chain.from_iterable(m._load_state_dict_post_hooks.values() for m in module.modules()))
    refuse(strict and not after)
    for write in writes:
        write()
    result = _IncompatibleKeys(missing, unexpected)
    if after:
        _run_hooks(module, result)
        refuse(strict)
    return result


def _run_hooks(module: Any, result: _IncompatibleKeys) -> None:
    for child in module.children():
        _run_hooks(child, result)
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, result) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, "
                "if incompatible_keys need to be modified, it should be done inplace."
            )


@contextmanager
def _kept_back() -> Iterator[list[Callable[[], None]]]:
    waiting: list[Callable[[], None]] = []
    token = _writes.set(waiting)
    try:
        yield waiting
    finally:
        _writes.reset(token)


def _write(write: Callable[[], None]) -> None:
    waiting = _writes.get()
    if waiting is None:
        write()
    else:
        waiting.append(write)


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
