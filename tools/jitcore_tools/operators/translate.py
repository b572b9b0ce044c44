"""From PyTorch's objects to jitcore's: tensors, dtypes, nested structures, and functions that mention `torch`."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType
from typing import Any

import ml_dtypes
import numpy as np
import torch

import jitcore


def to_numpy(x: torch.Tensor) -> np.ndarray:
    """A copy of a PyTorch tensor's values in the same axis order in memory; bfloat16 as ml_dtypes' type."""
    x = x.detach().resolve_conj().resolve_neg()
    x = x.clone() if x._is_zerotensor() else x
    if x.dtype == torch.bfloat16:
        return np.array(x.view(torch.int16).numpy(), order="K").view(ml_dtypes.bfloat16)
    return np.array(x.numpy(), order="K")


def to_jitcore(structure: Any, requires_grad: bool = True) -> Any:
    """The same structure with jitcore's tensors, dtypes and functions in place of PyTorch's."""
    if isinstance(structure, torch.Tensor):
        result = jitcore.from_numpy(to_numpy(structure))
        return result.requires_grad_() if requires_grad and structure.requires_grad else result
    if isinstance(structure, torch.dtype | torch.memory_format | torch.layout):
        return getattr(jitcore, str(structure).removeprefix("torch."))
    if isinstance(structure, torch.device):
        return jitcore.device(str(structure))
    if isinstance(structure, torch.Generator):
        return jitcore.Generator().manual_seed(structure.initial_seed())
    if isinstance(structure, torch.Size):
        return tuple(structure)
    if isinstance(structure, tuple | list):
        parts = [to_jitcore(part, requires_grad) for part in structure]
        return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    if isinstance(structure, dict):
        return {name: to_jitcore(part, requires_grad) for name, part in structure.items()}
    if isinstance(structure, slice):
        return slice(*to_jitcore((structure.start, structure.stop, structure.step), requires_grad))
    if isinstance(structure, FunctionType | BuiltinFunctionType | torch.nn.Module):
        return rebound(structure)
    return structure


def rebound(function: Any) -> Any:
    """`function` with jitcore where it says `torch`: the same path in our namespace, or its code with `torch` renamed.

    Raises AttributeError (or its child, jitcore's MissingError) where we have no such name.
    """
    if isinstance(function, torch.nn.Module):
        return getattr(jitcore.nn, type(function).__name__)()
    module = getattr(function, "__module__", None) or ""
    if isinstance(function, FunctionType) and (module.startswith("torch.testing") or "<lambda>" in function.__name__):
        names = {**function.__globals__, "torch": jitcore}
        names.update({n: rebound_lazily(f) for n, f in names.items() if is_test_function(f) and f is not function})
        return FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    return resolve(f"{module.removeprefix('torch').lstrip('.')}.{function.__name__}".lstrip("."))


def draws(function: Any) -> bool:
    """Whether the database wraps this function to seed it: it draws random numbers."""
    return "wrapper_set_seed" in getattr(getattr(function, "__code__", None), "co_names", ())


def is_test_function(function: Any) -> bool:
    return isinstance(function, FunctionType) and function.__name__ == "wrapper_set_seed"


def rebound_lazily(function: FunctionType) -> Any:
    """`wrapper_set_seed(op, ...)` seeds PyTorch and calls op; here op alone is called."""
    return lambda op, *arguments, **keywords: op(*arguments, **keywords)


def resolve(path: str) -> Any:
    """jitcore's object at a dotted path. Raises AttributeError, or MissingError for what is left out on purpose."""
    found: Any = jitcore
    for name in path.split("."):
        found = getattr(found, name)
    return found


def our_function(entry: Any) -> Any:
    """What jitcore offers for an OpInfo: by its path, or PyTorch's wrapper with `torch` renamed.

    Raises AttributeError where there is no such thing.
    """
    operation = entry.op
    if isinstance(operation, FunctionType) and operation.__module__.startswith("torch.testing"):
        return rebound(operation)
    owner = getattr(operation, "__objclass__", None)
    if owner is not None:
        return getattr(jitcore.Tensor, entry.name)
    return resolve(entry.name)
