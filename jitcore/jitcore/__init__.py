"""jitcore: PyTorch-style tensors and autograd, in the names and with the defaults of PyTorch.

import jitcore

x = jitcore.tensor([1.0, 2.0], requires_grad=True)
(x * x).sum().backward()
x.grad                       # tensor([2., 4.])
"""

from importlib import import_module as _import_module
from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from jitcore_ir.dtypes import (
    DType,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)  # fmt: skip
from jitcore_ir.version import __version__

from . import autograd, cuda, legacy, ops, settings
from .device import Device, get_default_dtype, set_default_dtype
from .promotion import can_cast, promote_types, result_type
from .tensor import Size, Tensor
from .typeinfo import finfo, iinfo

from . import fft, func, linalg, nn, operators, optim, random, signal, special  # isort: skip
from . import amp, backends, cpu, library, utils, version  # isort: skip
from .amp import (
    autocast,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_available,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
)
from .autograd import vjps
from .autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)  # fmt: skip
from .control_flow import cond, scan, while_loop
from .control_flow import map as map  # not in __all__: a star import keeps Python's
from .dims import Dim
from .errors import ExportError, OutOfMemoryError, TraceError
from .exporting import export
from .func.vmap import vmap
from .jit_function import JitWarning, explain
from .library import custom_op
from .missing import say_what_class_lacks, say_what_is_missing
from .paths import add_paths
from .printing import set_printoptions
from .random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)  # fmt: skip
from .serialization import SerializationError, load, save
from .specs import TensorSpec
from .trace.kinds import mark_dynamic

if TYPE_CHECKING:  # a function for mypy; in truth a module that can be called as one
    from .jit_function import jit
else:
    from . import jit

from .settings import *  # noqa: F403  # isort: skip

# Last of the imports: functions win over submodules of the same name (log, trace).
from .ops import *  # noqa: F403  # isort: skip

# PyTorch's names of dtypes and settings. `bool`, `float` and `int` hide the builtins in this file alone.
bool = bool_
float = float32
double = float64
half = float16
long = int64
int = int32
short = int16
cfloat = complex64
cdouble = complex128
dtype = DType
device = Device
strided = "strided"
contiguous_format = preserve_format = channels_last = "contiguous"
newaxis = None
channels_last_3d = "contiguous"
layout = memory_format = str

globals().update(legacy.TYPES)

_LAZY = (
    "_dynamo", "accelerator", "compiler", "debug", "distributed", "distributions", "hub", "multiprocessing",
    "overrides", "profiler", "testing", "types",
)  # fmt: skip
"""Submodules that are there without an import of their own."""


_ELSEWHERE = {
    "nn.functional": (
        "adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "avg_pool1d", "bilinear",
        "binary_cross_entropy_with_logits", "celu_", "channel_shuffle", "cosine_embedding_loss", "cosine_similarity",
        "feature_alpha_dropout", "hardshrink", "hinge_embedding_loss", "margin_ranking_loss",
        "max_pool1d_with_indices", "max_pool3d", "pairwise_distance", "pdist", "rrelu", "rrelu_", "selu_", "threshold_",
        "triplet_margin_loss",
    ),
    "ops.aten": (
        "batch_norm", "convolution", "ctc_loss", "instance_norm", "kl_div", "norm_except_dim", "poisson_nll_loss",
    ),
    "Tensor": ("ger", "get_device", "is_inference", "is_same_size", "is_signed"),
    "amp": ("GradScaler",),
    "legacy": ("range",),
}  # fmt: skip
"""Names that PyTorch has at the top too, and where they are."""

_HOMES = {name: home for home, names in _ELSEWHERE.items() for name in names}


def _assert(condition: object, message: str) -> None:
    """Raise AssertionError with the message where the condition does not hold; model code has it in place of assert."""
    assert condition, message


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return _import_module(f"{__name__}.{name}")
    from .missing import missing

    if name in _HOMES:
        home = Tensor if _HOMES[name] == "Tensor" else _import_module(f"{__name__}.{_HOMES[name]}")
        return getattr(home, name)
    if name.endswith("_") and not name.startswith("_") and hasattr(Tensor, name):  # torch.zero_(x) is x.zero_()
        return getattr(Tensor, name)
    if name.startswith("_foreach_"):
        from .ops.foreach import FOREACH

        if name in FOREACH:
            return FOREACH[name]
    raise missing("module 'jitcore'", name)


add_paths(__name__)
for _module in (
    nn,
    nn.functional,
    nn.utils,
    optim,
    autograd,
    autograd.graph,
    func,
    random,
    utils,
    linalg,
    fft,
    special,
):
    say_what_is_missing(_module)
say_what_class_lacks(Tensor)

__all__ = [
    "__version__", "autograd", "bfloat16", "bool", "bool_", "can_cast", "cdouble", "cfloat", "channels_last",
    "complex128", "complex64", "contiguous_format", "cuda", "default_generator", "Device", "device", "double",
    "Dim", "DType", "dtype", "e", "enable_grad", "explain", "export", "ExportError", "fft", "finfo", "float", "float16",
    "float32",
    "float64", "func", "Generator", "get_default_dtype", "get_rng_state", "half", "iinfo", "inf", "inference_mode",
    "initial_seed", "int", "int16", "int32", "int64", "int8", "is_grad_enabled", "is_inference_mode_enabled", "jit",
    "JitWarning", "linalg", "load", "long", "manual_seed", "mark_dynamic", "nan", "newaxis", "nn", "no_grad",
    "operators", "optim",
    "pi", "preserve_format", "promote_types", "random", "result_type", "save", "seed", "SerializationError",
    "set_default_dtype", "set_grad_enabled", "set_printoptions", "set_rng_state", "short", "Size", "strided",
    "signal", "special", "cond", "scan", "while_loop",
    "OutOfMemoryError", "Tensor", "TraceError", "uint8", "utils", "vjps", "vmap",
    "amp", "autocast", "backends", "channels_last_3d", "cpu", "get_autocast_cpu_dtype", "get_autocast_dtype",
    "get_autocast_gpu_dtype", "is_autocast_available", "is_autocast_cpu_enabled", "is_autocast_enabled", "layout",
    "memory_format", "version", "custom_op", "library", "TensorSpec", *legacy.TYPES, *settings.__all__, *ops.__all__,
]  # fmt: skip
