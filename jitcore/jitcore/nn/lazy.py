"""Layers that learn their input's size from the first input."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from .. import ops
from ..tensor import Tensor
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .parameter import UninitializedParameter


class LazyModule(Module):
    """Becomes a layer of class `made` at its first call, or when weights are loaded into it."""

    made: ClassVar[type[Module]]
    size_name: ClassVar[str]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__()
        bound = type(self).__signature__.bind(*arguments, **keywords)  # type: ignore[attr-defined]
        bound.apply_defaults()
        self._options = bound.arguments
        smallest = 0 if self.size_name == "num_features" else int(bound.arguments.get("groups", 1))
        _adopt(self, self.made(**{self.size_name: smallest}, **bound.arguments))
        for name, parameter in self._parameters.items():
            if parameter is not None:
                self._parameters[name] = UninitializedParameter(ops.empty(0, dtype=parameter.dtype))
        setattr(self, self.size_name, 0)
        self.register_forward_pre_hook(_learn_size, with_kwargs=True)
        self.register_load_state_dict_pre_hook(_size_of_loaded)

    def has_uninitialized_params(self) -> bool:
        """Whether the size is still unknown."""
        return isinstance(self, LazyModule)

    def initialize_parameters(self, size: int) -> None:
        """Become the layer for this input size."""
        made = self.made(**{self.size_name: size}, **self._options)
        made.train(self.training)
        self.__class__ = self.made  # type: ignore[assignment]
        self.__dict__.pop("_options")
        hooks = {name: table for name, table in self.__dict__.items() if name.endswith("_hooks")}
        _adopt(self, made)
        self.__dict__.update(hooks)
        for table in hooks.values():
            for number, hook in list(table.items()):
                if _LAZY_HOOKS.intersection(hook if isinstance(hook, tuple) else (hook,)):
                    del table[number]


def _adopt(module: Module, layer: Module) -> None:
    """Give `module` the attributes of `layer`, but for hooks."""
    for name, value in layer.__dict__.items():
        if not name.endswith("_hooks"):
            module.__dict__[name] = value


def _learn_size(module: Any, arguments: tuple, keywords: dict) -> None:
    x = arguments[0] if arguments else next(iter(keywords.values()))
    module.initialize_parameters(int(x.shape[module.channel_axis(x)]))


def _size_of_loaded(module: Any, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    weight = state_dict.get(prefix + "weight")
    if isinstance(module, LazyModule) and weight is not None and weight.numel():
        module.initialize_parameters(module.size_from_weight(weight))


_LAZY_HOOKS = {_learn_size, _size_of_loaded}


class _LazyLinear(LazyModule):
    size_name = "in_features"

    def channel_axis(self, x: Tensor) -> int:
        return -1

    def size_from_weight(self, weight: Tensor) -> int:
        return int(weight.shape[1])


class _LazyConv(LazyModule):
    size_name = "in_channels"

    def channel_axis(self, x: Tensor) -> int:
        return x.ndim - self.rank - 1

    def size_from_weight(self, weight: Tensor) -> int:
        return int(weight.shape[0]) if self.transposed else int(weight.shape[1]) * self.groups


class _LazyNorm(LazyModule):
    size_name = "num_features"

    def channel_axis(self, x: Tensor) -> int:
        return 1 if x.ndim in self.ranks else 0

    def size_from_weight(self, weight: Tensor) -> int:
        return int(weight.shape[0])


def _make(base: type[LazyModule], made: type[Module], **defaults: Any) -> type:
    parameters = list(inspect.signature(made.__init__).parameters.values())[1:]
    kept = [p.replace(default=defaults.get(p.name, p.default)) for p in parameters if p.name != base.size_name]
    name = f"Lazy{made.__name__}"
    doc = f"{made.__name__} that takes `{base.size_name}` from its first input."
    cls = type(name, (base,), {"made": made, "__doc__": doc, "__module__": __name__})
    for attribute in ("rank", "transposed", "ranks"):
        if hasattr(made, attribute):
            setattr(cls, attribute, getattr(made, attribute))
    cls.extra_repr = made.extra_repr  # type: ignore[attr-defined]
    cls.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    globals()[name] = cls
    return cls


_TRACKED = {"affine": True, "track_running_stats": True}
__all__ = [
    _make(_LazyLinear, Linear).__name__,
    *(
        _make(_LazyConv, made).__name__
        for made in (Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
    ),
    *(_make(_LazyNorm, made).__name__ for made in (BatchNorm1d, BatchNorm2d, BatchNorm3d)),
    *(_make(_LazyNorm, made, **_TRACKED).__name__ for made in (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)),
]
