"""How samples become a batch: tensors are stacked, numbers become tensors, containers keep their form."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from jitcore_ir.dtypes import float64

from ...ops import as_tensor, stack, tensor
from ...tensor import Tensor


def default_collate(batch: Any) -> Any:
    """A batch of samples as tensors with one more dimension, in the containers of the first sample.

    Raises TypeError for elements that are neither tensors, arrays, numbers, strings nor containers of them,
    RuntimeError for sequences of unequal lengths.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch), 0)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "USO":
            raise TypeError(_refusal(first.dtype))
        return stack([as_tensor(b) for b in batch], 0)
    if isinstance(first, np.generic) and not isinstance(first, np.str_ | np.bytes_):
        return as_tensor(np.array(batch))
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(part) for part in zip(*batch)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [default_collate(part) for part in zip(*batch)]
        # As in PyTorch, tuples become lists.
        return parts if isinstance(first, tuple) else _like(first, parts)
    raise TypeError(_refusal(type(first)))


def default_convert(data: Any) -> Any:
    """Arrays inside `data` as tensors, the rest as it is: what a loader without batches does to each sample."""
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in "USO" else as_tensor(data)
    return map_leaves(default_convert, data)


def map_leaves(function: Callable[[Any], Any], data: Any) -> Any:
    """`function` of every item of a container, in a container of the same type; what is no container as it is."""
    if isinstance(data, Mapping):
        return _like(data, {key: function(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(function(d) for d in data))
    if isinstance(data, tuple):
        return [function(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _like(data, [function(d) for d in data])
    return data


def _like(container: Any, content: Any) -> Any:
    """`content`, a dict or list, as a container of the same type where that can be made."""
    if type(container) in (dict, list):
        return content
    try:
        if isinstance(container, MutableMapping):
            mapping = copy.copy(container)
            mapping.update(content)
            return mapping
        if isinstance(container, MutableSequence):
            sequence = copy.copy(container)
            for i, item in enumerate(content):
                sequence[i] = item
            return sequence
        return type(container)(content)
    except TypeError:
        return content


def _refusal(kind: Any) -> str:
    return f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}"
