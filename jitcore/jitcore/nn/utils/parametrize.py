"""Parametrizations: a parameter that is a function of others.

`register_parametrization(layer, "weight", Symmetric())` keeps what is learned under
`layer.parametrizations.weight.original` and makes `layer.weight` a property that computes `Symmetric()(original)`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ...autograd import no_grad
from ...tensor import Tensor
from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

_depth = 0
_computed: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """While it lasts, each parametrized tensor is computed once."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _computed.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first to last, and what they compute it from: `original`, or `original0`,
    `original1`, ... where the first takes several tensors."""

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        dtype, shape = original.dtype, original.shape
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        new = module.right_inverse(new)
        if not isinstance(new, Tensor | Sequence):
            raise ValueError(
                f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                f"{type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            if new.dtype is not dtype:
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it may not change the dtype: {dtype} to {new.dtype}"
                )
            with no_grad():
                original.data = new.detach()
            _register(self, "original", original)
        else:
            for number, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(f"'right_inverse' must return Tensors. Got element {number}: {type(part)}")
                made = part.detach().clone()
                if isinstance(original, Parameter):
                    made = Parameter(made, original.requires_grad)
                _register(self, f"original{number}", made.requires_grad_(original.requires_grad))
        if not unsafe:
            _check_same(self(), dtype, shape, "Registering a parametrization")

    def originals(self) -> list[Tensor]:
        """The tensors that are learned."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{number}") for number in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Change the originals so that the parametrized tensor is `value`, as far as the parametrizations can."""
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse, so that its tensor "
                        f"cannot be assigned to"
                    )
                new = module.right_inverse(new)
            parts = [new] if self.is_tensor else list(new)
            if len(parts) != self.ntensors:
                raise ValueError(f"'right_inverse' must return {self.ntensors} tensors; got {len(parts)}")
            for old, part in zip(self.originals(), parts, strict=True):
                if not isinstance(part, Tensor):
                    raise ValueError(f"`right_inverse` should return tensors; got {type(part).__name__}")
                if part.dtype is not old.dtype:
                    raise ValueError(f"`right_inverse` may not change the dtype: {old.dtype} to {part.dtype}")
                old.data = part.detach().clone()

    def forward(self) -> Tensor:  # type: ignore[override]
        """The parametrized tensor."""
        first, *rest = self
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make `module.<tensor_name>` what `parametrization` computes. `unsafe` skips the check of shape and dtype.

    Where `parametrization` has `right_inverse`, the originals start at its value, and the tensor can be assigned to.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        tensors: Any = module.parametrizations[tensor_name]
        if not unsafe:
            before = getattr(module, tensor_name)
            after = parametrization(before)
            _check_same(after, before.dtype, before.shape, "Registering a parametrization")
            if hasattr(parametrization, "right_inverse"):
                back = parametrization.right_inverse(after)
                _check_same(back, before.dtype, before.shape, "The right_inverse of a parametrization")
        tensors.append(parametrization)
        tensors.unsafe |= unsafe
        return module
    original = module._parameters.get(tensor_name, module._buffers.get(tensor_name))
    if original is None:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
                         f"with name '{tensor_name}'")  # fmt: skip
    made = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _specialize(module)
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = made
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether any tensor of the module, or the named one, is parametrized."""
    tables = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(tables, ModuleDict):
        return False
    return len(tables) > 0 if tensor_name is None else tensor_name in tables


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the tensor a plain one again: with its present value, or (leave_parametrized=False) with the original."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    tensors: Any = module.parametrizations[tensor_name]
    if not tensors.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    value = getattr(module, tensor_name)
    if tensors.is_tensor:
        original = tensors.original
        if leave_parametrized:
            with no_grad():
                original.data = value.detach()
    else:
        original = Parameter(value.detach()) if value.requires_grad else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class, or the one it had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give to_module the parametrizations of from_module, with their parameters."""
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        source: Any = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, copy.deepcopy(getattr(from_module, name)))
        for parametrization in source:
            register_parametrization(to_module, name, copy.deepcopy(parametrization), unsafe=True)
        target: Any = to_module.parametrizations[name]
        for old, new in zip(source.originals(), target.originals(), strict=True):
            new.data = old.detach().clone()
    return to_module


def _specialize(module: Module) -> None:
    """Give the module a class of its own, which can hold properties."""
    cls = type(module)
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), {"__deepcopy__": _deepcopy, "__module__": __name__})


def _deepcopy(module: Any, memo: dict) -> Any:
    """A copy has its own class, too: removing its parametrization must not touch this one's."""
    cls = type(module)
    own = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    made: Any = object.__new__(type(cls.__name__, cls.__bases__, own))
    memo[id(module)] = made
    for name, value in module.__dict__.items():
        object.__setattr__(made, name, copy.deepcopy(value, memo))
    return made


def _property(name: str) -> property:
    def get(self: Any) -> Tensor:
        if not _depth:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _computed:
            _computed[key] = self.parametrizations[name]()
        return _computed[key]

    def set(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, set)


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_same(value: Any, dtype: Any, shape: Any, what: str) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must give a tensor. Got {type(value).__name__}")
    if value.dtype is not dtype:
        raise ValueError(f"{what} may not change the dtype of the tensor, unless `unsafe`: {dtype} to {value.dtype}")
    if tuple(value.shape) != tuple(shape):
        raise ValueError(
            f"{what} may not change the shape of the tensor, unless `unsafe`: {list(shape)} to {list(value.shape)}"
        )


__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "transfer_parametrizations_and_params", "type_before_parametrizations",
]  # fmt: skip
