"""Tensors through pickle and deepcopy: memory once, however many tensors look at it.

Both keep a tensor as its whole storage and the view operations that lead to it, so that views share memory on the
other side too. Files are another matter: `save` and `load` never pickle.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from jitcore_ir.spec import OPS
from jitcore_runtime.kernels import KERNELS

from .state import state
from .storage import Storage
from .symbolic import concrete
from .tensor import Tensor, alias, wrap


def reduced(x: Tensor) -> tuple:
    """What pickle keeps of a tensor: storage, view, flag, class, attributes. Gradients and history stay behind."""
    if state.recorder is not None:
        state.recorder.read(x, "numpy", x._array)
    view = tuple((spec.name, {k: concrete(v) for k, v in attributes.items()}) for spec, attributes in x._view)
    return rebuilt, (type(x), x._storage, view, x.requires_grad, dict(x.__dict__))


def rebuilt(cls: type, storage: Storage, view: tuple, requires_grad: bool, attributes: dict) -> Any:
    """The leaf that `reduced` described."""
    array = storage.array
    for name, options in view:
        array = KERNELS[OPS[name]](array, **options)
    made = _leaf(cls, storage, array, requires_grad)
    made._view = tuple((OPS[name], options) for name, options in view)
    made.__dict__.update(attributes)
    return made


def reduced_storage(storage: Storage) -> tuple:
    """What pickle keeps of memory: its bytes. Broadcast memory is kept as small as it is."""
    array = storage.array
    if array.dtype.kind == "V":  # ml_dtypes need not be importable by name where pickles are read
        return _storage_of_bits, (array.view(np.uint16), array.dtype.name)
    return Storage, (array,)


def _storage_of_bits(bits: np.ndarray, name: str) -> Storage:
    from jitcore_ir.dtypes import dtype_named

    return Storage(bits.view(dtype_named(name).numpy))


def copied(x: Tensor, memo: dict) -> Any:
    """A deep copy: views of one storage are views of one copy of it. Raises RuntimeError for a tensor with history."""
    if id(x) in memo:
        return memo[id(x)]
    if x.grad_fn is not None:
        raise RuntimeError(
            "Only leaf tensors (created by the user, not by operations) support deepcopy; call detach() first"
        )
    if state.recorder is not None:
        made = _copied_in_trace(x)
    else:
        storage = memo.get(id(x._storage))
        if storage is None:
            storage = memo[id(x._storage)] = Storage(_copy_of(x._storage.array))
        array = storage.array
        for spec, attributes in x._view:
            array = KERNELS[spec](array, **attributes)
        made = _leaf(type(x), storage, array, x._requires_grad)
        made._view = x._view
    memo[id(x)] = made
    if x._grad is not None:
        made._grad = deepcopy(x.grad, memo)
    made.__dict__.update(deepcopy(x.__dict__, memo))
    return made


def _copied_in_trace(x: Tensor) -> Any:
    clone = x.detach().clone()
    made = _leaf(type(x), clone._storage, clone._array, x._requires_grad)
    made._view = clone._view
    return made


def _copy_of(array: np.ndarray) -> np.ndarray:
    """A copy with the same memory layout."""
    return array.copy(order="K")


def _leaf(cls: type, storage: Storage, array: np.ndarray, requires_grad: bool) -> Any:
    made = alias(wrap(array), cls)
    made._storage = storage
    made._requires_grad = requires_grad
    return made
