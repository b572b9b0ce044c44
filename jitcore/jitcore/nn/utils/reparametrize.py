"""The older `weight_norm` and `spectral_norm`: a hook computes the weight before each forward.

Under `jit` the hook's assignment to the module keeps a function eager; `parametrizations` replays.
"""

from __future__ import annotations

import warnings
from typing import Any

from ... import ops
from ...autograd import no_grad
from ...tensor import Tensor
from .. import functional as F
from ..module import Module
from ..parameter import Parameter
from .parametrizations import as_matrix, norm_except_dim


class _BeforeForward:
    """Sets `module.<name>` before each forward."""

    name: str

    def compute(self, module: Module, training: bool) -> Tensor:
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module, module.training))


def hooks_of(module: Module, kind: type, name: str) -> list[tuple[Any, Any]]:
    """(key, hook) of the forward pre hooks of one class that compute `name`."""
    entries = [(k, e[0] if isinstance(e, tuple) else e) for k, e in module._forward_pre_hooks.items()]
    return [(key, hook) for key, hook in entries if isinstance(hook, kind) and getattr(hook, "name", None) == name]


class WeightNorm(_BeforeForward):
    """weight = weight_g * weight_v / |weight_v|."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute(self, module: Module, training: bool) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except_dim(v, self.dim))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length (`weight_g`) and direction (`weight_v`) of the weight apart."""
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    if hooks_of(module, WeightNorm, name):
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(norm_except_dim(weight.detach(), hook.dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    hook(module, ())
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again."""
    for key, hook in hooks_of(module, WeightNorm, name):
        weight = hook.compute(module, False)
        _forget(module, name, "_g", "_v")
        setattr(module, name, Parameter(weight.detach()))
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")


class SpectralNorm(_BeforeForward):
    """weight = weight_orig / its largest singular value, by power iteration in training."""

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def compute(self, module: Module, training: bool) -> Tensor:
        weight, u, v = (getattr(module, self.name + suffix) for suffix in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        if training:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(matrix.t().mv(u), dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix.mv(v), dim=0, eps=self.eps))
            u, v = u.clone(), v.clone()
        return weight / ops.dot(u, matrix.mv(v))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide the weight by its largest singular value; `weight_orig` is learned."""
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    if hooks_of(module, SpectralNorm, name):
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    starts = [
        F.normalize(ops.empty(size, dtype=weight.dtype).normal_(), dim=0, eps=eps)
        for size in as_matrix(weight.detach(), dim).shape
    ]
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(f"{name}_u", starts[0])
    module.register_buffer(f"{name}_v", starts[1])
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again."""
    for key, hook in hooks_of(module, SpectralNorm, name):
        with no_grad():
            weight = hook.compute(module, False)
        _forget(module, name, "_u", "_v", "_orig")
        module.register_parameter(name, Parameter(weight.detach()))
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")


def _forget(module: Module, name: str, *suffixes: str) -> None:
    for suffix in ("", *suffixes):
        delattr(module, name + suffix)
