"""Names that PyTorch has and jitcore does not: an attribute error that says so and what comes nearest.

The error is a NotImplementedError, as for every function that is left out, and an AttributeError, so that `hasattr`
and `getattr` with a default answer as they should.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

from .not_offered import NOT_OFFERED


class MissingError(NotImplementedError, AttributeError):
    """A name of PyTorch's that jitcore does not offer."""


NEAREST = {
    "as_strided_scatter": "index_put",
    "onnx": "export (a .jca archive)",
    "fx": "jit, whose fn.explain() says what was recorded",
    "quantize_per_channel": None,
    "quantization": None,
    "sparse": "dense tensors",
    "nested": "nn.utils.rnn.pad_sequence with a mask",
    "hspmm": "dense tensors",
    "sparse_mask": "where",
    "storage": "numpy()",
    "untyped_storage": "numpy()",
    "to_sparse": "dense tensors",
    "as_strided_": "as_strided",
    "lobpcg": "linalg.eigh",
    "quantize_per_tensor": None,
    "rnn_tanh": "nn layers",
    "sparse_coo_tensor": "dense tensors",
}


def missing(owner: str, name: str) -> AttributeError:
    """The error for `owner.name`."""
    if name not in NEAREST and name not in NOT_OFFERED:
        return AttributeError(f"{owner} has no attribute {name!r}")
    nearest = NEAREST.get(name)
    return MissingError(f"{name} is not offered by jitcore" + (f"; the nearest is {nearest}" if nearest else ""))


def say_what_is_missing(module: ModuleType) -> None:
    """Let `module`, where it does not answer for itself, refuse names that it does not have in these words."""

    def refuse(name: str) -> NoReturn:
        raise missing(f"module {module.__name__!r}", name)

    if "__getattr__" not in module.__dict__:
        given: Any = module
        given.__getattr__ = refuse


class NotOffered:
    """An attribute that a class does not offer: getting it from the class or an object raises MissingError."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise missing(owner.__name__, self.name)


def say_what_class_lacks(cls: type) -> None:
    """Let objects of `cls` refuse names of PyTorch that it does not have. Unlike `__getattr__`, this costs nothing when
    other names are asked for: Python's specialized lookup stays as it is."""
    for name in {*NEAREST, *NOT_OFFERED}:
        if not hasattr(cls, name):
            setattr(cls, name, NotOffered(name))
