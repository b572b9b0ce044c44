"""PyTorch's module paths beside ours: `from jitcore.nn.modules.batchnorm import _BatchNorm` finds what it names.

PyTorch cuts its packages into files in another way than we do, and code imports from those files. Each path below is a
module of its own that looks a name up in the modules of ours given for it, when it is asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

ROOT = __name__.rpartition(".")[0]

_LAYERS = (
    "activation", "container", "channelshuffle", "distance", "dropout", "flatten", "fold", "instancenorm", "lazy",
    "linear", "loss", "normalization", "padding", "pixelshuffle", "pooling", "rnn", "sparse", "transformer",
    "upsampling",
)  # fmt: skip
_OPTIMIZERS = (
    "adadelta", "adafactor", "adagrad", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sparse_adam",
)  # fmt: skip
_DISTRIBUTIONS = (
    "bernoulli", "beta", "binomial", "categorical", "cauchy", "chi2", "constraint_registry", "continuous_bernoulli",
    "dirichlet", "exp_family", "exponential", "fishersnedecor", "generalized_pareto", "geometric", "gumbel",
    "half_cauchy", "half_normal", "independent", "inverse_gamma", "kumaraswamy", "laplace", "lkj_cholesky",
    "log_normal", "logistic_normal", "lowrank_multivariate_normal", "mixture_same_family", "multinomial",
    "multivariate_normal", "negative_binomial", "normal", "one_hot_categorical", "pareto", "poisson",
    "relaxed_bernoulli", "relaxed_categorical", "studentT", "transformed_distribution", "uniform", "von_mises",
    "weibull", "wishart",
)  # fmt: skip

PATHS: dict[str, tuple[str, ...]] = {
    "_inductor": ("_dynamo",),
    "_tensor": ("tensor",),
    "mps": ("accelerator",),
    "xpu": ("accelerator",),
    "functional": ("",),
    "autograd.anomaly_mode": ("autograd.graph",),
    "autograd.grad_mode": ("autograd.modes",),
    "autograd.profiler": ("profiler",),
    "autograd.variable": ("autograd",),
    "cuda.nvtx": ("cuda.events",),
    "nn.modules": ("nn",),
    **{f"nn.modules.{name}": ("nn",) for name in _LAYERS},
    "nn.modules.adaptive": ("nn.adaptive_softmax",),
    "nn.modules.activation": ("nn", "nn.transformer"),
    "nn.modules.batchnorm": ("nn.norm", "nn"),
    "nn.modules.conv": ("nn.conv", "nn"),
    "nn.modules.dropout": ("nn.activations",),
    "nn.modules.instancenorm": ("nn.norm", "nn"),
    "nn.modules.lazy": ("nn.lazy", "nn.parameter"),
    "nn.modules.linear": ("nn", "nn.transformer"),
    "nn.modules.loss": ("nn.losses", "nn"),
    "nn.modules.module": ("nn.module",),
    "nn.modules.pooling": ("nn.pooling",),
    "nn.modules.transformer": ("nn.transformer",),
    "nn.modules.utils": ("nn.tuples",),
    "nn.parallel.data_parallel": ("nn.parallel",),
    "nn.parallel.distributed": ("nn.parallel",),
    "nn.utils.clip_grad": ("nn.utils.clip",),
    "nn.utils.convert_parameters": ("nn.utils.clip",),
    "nn.utils.spectral_norm": ("nn.utils.reparametrize",),
    "nn.utils.weight_norm": ("nn.utils.reparametrize",),
    **{f"optim.{name}": ("optim",) for name in _OPTIMIZERS},
    "utils.data._utils": ("utils.data",),
    "utils.data._utils.collate": ("utils.data.collate",),
    "utils.data._utils.worker": ("utils.data.workers",),
    "utils.data.dataloader": ("utils.data.loader", "utils.data"),
    "utils.data.distributed": ("utils.data.sampler",),
    "utils.hooks": ("nn.hooks",),
    "utils.model_zoo": ("hub",),
    "distributions.utils": ("distributions.distribution",),
    **{f"distributions.{name}": ("distributions",) for name in _DISTRIBUTIONS},
    "distributions.multivariate_normal": ("distributions.combined",),
    "profiler.profiler": ("profiler",),
}
"""Paths of PyTorch's, and where we have what is found there."""


class _Path(ModuleType):
    """A module that has the names of others."""

    def __init__(self, path: str, homes: tuple[str, ...]) -> None:
        super().__init__(f"{ROOT}.{path}", f"PyTorch's path to {', '.join(f'{ROOT}.{h}'.rstrip('.') for h in homes)}.")
        self._homes = homes
        self.__path__ = []  # a package: more may lie below

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for home in self._homes:
            found = getattr(import_module(f"{ROOT}.{home}".rstrip(".")), name, self)
            if found is not self:
                return found
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({n for home in self._homes for n in dir(import_module(f"{ROOT}.{home}".rstrip(".")))})


def add_paths(package: str) -> None:
    """Make PyTorch's paths below one of our packages importable, and attributes of it where it has no such name."""
    below = package.removeprefix(ROOT).lstrip(".")
    start = f"{below}." if below else ""
    for path, homes in PATHS.items():
        if path.startswith(start) and "." not in path.removeprefix(start):
            _add(path, homes, sys.modules[package])


def _add(path: str, homes: tuple[str, ...], parent: ModuleType) -> None:
    made = sys.modules[f"{ROOT}.{path}"] = _Path(path, homes)
    if path.rpartition(".")[2] not in vars(parent):
        setattr(parent, path.rpartition(".")[2], made)
    for inner, inner_homes in PATHS.items():
        if inner.rpartition(".")[0] == path:
            _add(inner, inner_homes, made)
