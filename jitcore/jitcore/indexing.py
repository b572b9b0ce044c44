"""`x[...]` and `x[...] = value`, every form of it.

An index is read in two steps. Integers, slices, None and Ellipsis give a *view* (slice and reshape). What is left, if
anything, is one index tensor per remaining dimension or none (a bool mask stands for its nonzero positions): those
are taken as one `take` along the indexed dimensions joined into one. A write is the reverse: `put` into the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitcore_ir import dtypes as D
from jitcore_ir import ops

from .dispatch import apply, write
from .ops.creation import arange, tensor
from .ops.inplace import with_inplace
from .ops.movement import broadcast_tensors, position_on
from .ops.order import nonzero
from .ops.select import from_the_end
from .promotion import NUMBERS, as_operand
from .state import state
from .symbolic import SymInt
from .tensor import Tensor, memory, method, shape_of


def getitem(self: Tensor, index: Any) -> Tensor:
    """Elements that `index` names: a view for integers, slices, None and Ellipsis, else a copy."""
    if type(index) is int:
        return self.select(0, index) if self._array.ndim else _too_many(1, 0)
    view, tensors = _basic(self, index)
    return view if tensors is None else _advanced(view, tensors)


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """Write `value`, broadcast and cast, to the elements that `index` names."""
    view, tensors = _basic(self, index, state.recorder is not None)
    if not isinstance(value, Tensor):
        if not isinstance(value, NUMBERS):
            value = tensor(value)
        value = as_operand(value, self.dtype)
    if value._array.dtype != self._array.dtype:
        value = apply(ops.CAST, (value,), {"dtype": self.dtype})
    if tensors is None:
        write(view, _without_leading_ones(value, view._array.ndim))
        return
    mask = _only_mask(tensors)
    if mask is not None and value._array.size == 1:  # no positions needed: shapes do not depend on the mask's values
        value = value.reshape(())
        lead = mask.reshape((*shape_of(mask), *(1,) * (view._array.ndim - mask._array.ndim)))
        write(view, apply(ops.WHERE, (lead, value, view)))
        return
    write(view, _put(view, tensors, value))


# Integers, slices, None, Ellipsis


@dataclass(slots=True)
class _Parts:
    """What the items of an index say so far: the slice of x to take, the shape to give it, and the index tensors."""

    starts: list[Any] = field(default_factory=list)
    sizes: list[Any] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    shape: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)  # one per dimension of `shape`: an index tensor, _COVERED or None
    sliced: bool = False

    def add_range(self, start: Any, size: Any, step: int, keep: bool) -> None:
        """One dimension of x, cut to a range; it disappears unless `keep`."""
        self.starts.append(start)
        self.sizes.append(size)
        self.steps.append(step)
        if keep:
            self.shape.append(size)
            self.tensors.append(None)

    def add_tensor(self, tensor: Tensor, dims: Sequence[Any]) -> None:
        """The dimensions that an index tensor takes whole: one, or as many as a mask has."""
        self.starts += [0] * len(dims)
        self.sizes += dims
        self.steps += [1] * len(dims)
        self.shape += dims
        self.tensors += [tensor] + [_COVERED] * (len(dims) - 1)


def _basic(x: Tensor, index: Any, recorded: bool = False) -> tuple[Tensor, list[Any] | None]:
    """The view that the simple parts of an index give, and an index tensor or None for each of its dimensions
    (None altogether where there is no index tensor). `recorded`: single positions given by tensors stay index tensors,
    so that a recorded write does not depend on where it goes."""
    shape = shape_of(x)
    parts = _Parts()
    items = index if isinstance(index, tuple) else _as_tuple(index)
    for item in _expanded(x, items, recorded and not any(map(_is_advanced, items))):
        axis = len(parts.starts)
        if item is None:
            parts.shape.append(1)
            parts.tensors.append(None)
        elif isinstance(item, Tensor) and item._array.dtype.kind == "b" and not item._array.ndim:
            parts.shape.append(1)  # a mask of no dimensions is one of a new dimension of size 1
            parts.tensors.append(item.reshape(1))
        elif isinstance(item, Tensor):
            covered = item._array.ndim if item._array.dtype.kind == "b" else 1
            _check_mask(item, x, axis)
            parts.add_tensor(item, shape[axis : axis + covered])
        else:
            start, size, step, keep = _range(item, shape[axis], axis)
            parts.sliced = parts.sliced or not keep or size is not shape[axis]
            parts.add_range(start, size, step, keep)
    view = x
    indexed = any(isinstance(t, Tensor) for t in parts.tensors)
    if parts.sliced or not indexed:
        attributes = {"starts": tuple(parts.starts), "sizes": tuple(parts.sizes), "steps": tuple(parts.steps)}
        view = apply(ops.SLICE, (x,), attributes)
    if len(parts.shape) != len(parts.sizes) or any(a is not b for a, b in zip(parts.shape, parts.sizes)):
        view = apply(ops.RESHAPE, (view,), {"shape": tuple(parts.shape)})
    return view, parts.tensors if indexed else None


def _check_mask(item: Tensor, x: Tensor, axis: int) -> None:
    """Raise IndexError where a mask does not have the sizes of the dimensions it stands for."""
    if item._array.dtype.kind != "b":
        return
    for place, size in enumerate(item._array.shape):
        if size != x._array.shape[axis + place]:
            raise IndexError(
                f"The shape of the mask {list(item._array.shape)} at index {place} does not match the shape of the "
                f"indexed tensor {list(x._array.shape)} at index {axis + place}"
            )


def _as_tuple(index: Any) -> tuple:
    return (_index_tensor(index),) if isinstance(index, list) else (index,)


def _is_advanced(item: Any) -> bool:
    """Whether an item of an index is or becomes an index tensor, and no single position."""
    if isinstance(item, Tensor):
        return item._array.ndim > 0 or item._array.dtype.kind == "b"
    return isinstance(item, list | tuple | np.ndarray | range | bool | np.bool_)


def _expanded(x: Tensor, index: Sequence[Any], keep_positions: bool = False) -> list[Any]:
    """The index with one item per dimension of x (None items come on top), index tensors made of lists and arrays."""
    items: list[Any] = []
    used = 0
    for item in index:
        if isinstance(item, list | tuple | np.ndarray | range):
            item = _index_tensor(item)
        if isinstance(item, bool | np.bool_):
            item = tensor(bool(item))
        if isinstance(item, Tensor) and item._array.dtype.kind in "iu" and not item._array.ndim and not keep_positions:
            item = int(item)  # a view, as in PyTorch
        if isinstance(item, Tensor):
            if item._array.dtype.kind not in "biu":
                raise IndexError(
                    f"tensors used as indices must be long, int, byte or bool tensors, not {item.dtype.name}"
                )
            used += item._array.ndim if item._array.dtype.kind == "b" else 1
        elif item is not None and item is not Ellipsis:
            used += 1
        items.append(item)
    rank = x._array.ndim
    if used > rank:
        return _too_many(used, rank)
    places = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    missing = [slice(None)] * (rank - used)
    return [*items[: places[0]], *missing, *items[places[0] + 1 :]] if places else [*items, *missing]


def _too_many(used: int, rank: int) -> Any:
    if not rank:
        raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a Python number")
    raise IndexError(f"too many indices for tensor of dimension {rank} ({used} given)")


def _index_tensor(data: Any) -> Tensor:
    if not isinstance(data, np.ndarray) and not len(data):
        return tensor([], dtype=D.int64)
    return tensor(data)


def _range(item: Any, size: Any, axis: int) -> tuple[Any, Any, int, bool]:
    """Start, count and step of an integer or slice, and whether its dimension stays."""
    if isinstance(item, slice):
        step = 1 if item.step is None else item.step.__index__()
        if step < 1:
            raise ValueError("step must be greater than zero")
        if item.start is None and item.stop is None and step == 1:
            return 0, size, 1, True
        start = _bound(item.start, 0, size)
        stop = _bound(item.stop, size, size)
        if item.start is None and step == 1:
            return 0, stop, 1, True
        count = stop - start
        if count < 0:
            return start, 0, step, True
        return start, count if step == 1 else (count + step - 1) // step, step, True
    try:
        position = item if type(item) is SymInt else item.__index__()
    except (AttributeError, TypeError):
        raise IndexError(
            f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(item).__name__})"
        ) from None
    return position_on(position, size, axis), 1, 1, False


def _bound(given: Any, default: Any, size: Any) -> Any:
    """A slice's end, counted from the front and clamped to the axis."""
    if given is None:
        return default
    position = given if type(given) is SymInt else int(given) if isinstance(given, Tensor) else given.__index__()
    if position < 0:
        position = position + size
    return 0 if position < 0 else size if position > size else position


# Index tensors


_COVERED: Any = object()
"""Stands for a dimension that the bool mask to its left covers."""


def _only_mask(tensors: Sequence[Any]) -> Tensor | None:
    """The mask, where a mask on the leading dimensions is all there is."""
    if not isinstance(tensors[0], Tensor) or tensors[0]._array.dtype.kind != "b":
        return None
    rest = tensors[tensors[0]._array.ndim :]
    return tensors[0] if all(t is None for t in rest) else None


def _joined(view: Tensor, tensors: Sequence[Any]) -> tuple[Tensor, Tensor, int, tuple[int, ...] | None]:
    """One index for all indexed dimensions.

    Gives the view with its indexed dimensions side by side and joined into one, the positions along that one, its
    axis, and the permutation that brought the indexed dimensions to the front (None where they were adjacent).
    """
    indexed: list[int] = []
    indices: list[Tensor] = []
    for axis, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            continue
        found = nonzero(t, as_tuple=True) if t._array.dtype.kind == "b" else (t,)
        for offset, one in enumerate(found):
            indexed.append(axis + offset)
            indices.append(one if one.dtype is D.int64 else apply(ops.CAST, (one,), {"dtype": D.int64}))
    try:
        indices = list(broadcast_tensors(*indices))
    except RuntimeError:
        shapes = ", ".join(str(list(i._array.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    permutation = None
    axis = indexed[0]
    if indexed != list(range(axis, axis + len(indexed))):
        permutation = tuple(indexed + [a for a in range(view._array.ndim) if a not in indexed])
        view = apply(ops.PERMUTE, (view,), {"permutation": permutation})
        axis = 0
    shape = shape_of(view)
    dims = shape[axis : axis + len(indices)]
    _check_range(indices, view._array.shape[axis : axis + len(indices)], indexed)
    places = [from_the_end(one, size) for one, size in zip(indices, dims)]
    if state.recorder is not None and len(places) > 1:  # a replay checks each position by looking it up
        places = [apply(ops.TAKE, (arange(size), one), {"axis": 0}) for one, size in zip(places, dims)]
    flat = places[0]
    for one, size in zip(places[1:], dims[1:]):
        flat = flat * size + one
    if len(indices) > 1:
        total = dims[0]
        for n in dims[1:]:
            total = total * n
        view = apply(ops.RESHAPE, (view,), {"shape": (*shape[:axis], total, *shape[axis + len(indices) :])})
    return view, flat, axis, permutation


def _check_range(indices: Sequence[Tensor], sizes: Sequence[int], axes: Sequence[int]) -> None:
    """Raise IndexError for positions outside their own dimension; joined positions would hide that."""
    for index, size, axis in zip(indices, sizes, axes):
        array = memory(index)
        if array.size:
            low, high = array.min(), array.max()
            if low < -size or high >= size:
                raise IndexError(
                    f"index {low if low < -size else high} is out of bounds for dimension {axis} with size {size}"
                )


def _advanced(view: Tensor, tensors: Sequence[Any]) -> Tensor:
    flat_view, index, axis, _ = _joined(view, tensors)
    return apply(ops.TAKE, (flat_view, index), {"axis": axis})


def _put(view: Tensor, tensors: Sequence[Any], value: Tensor, mode: str = "set") -> Tensor:
    """`view` with `value` at the indexed elements: a new tensor."""
    flat_view, index, axis, permutation = _joined(view, tensors)
    shape = shape_of(flat_view)
    wanted = (*shape[:axis], *shape_of(index), *shape[axis + 1 :])
    value = _without_leading_ones(value, len(wanted))
    if value._array.shape != wanted:
        try:
            value = apply(ops.BROADCAST_TO, (value,), {"shape": wanted})
        except RuntimeError:
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(value._array.shape)} cannot be "
                f"broadcast to indexing result "
                f"of shape {[int(n) for n in wanted]}"
            ) from None
    result = apply(ops.PUT, (flat_view, index, value), {"axis": axis, "mode": mode})
    if permutation is not None:
        before = shape_of(view)
        result = apply(ops.RESHAPE, (result,), {"shape": tuple(before[a] for a in permutation)})
        inverse = np.argsort(permutation).tolist()
        return apply(ops.PERMUTE, (result,), {"permutation": tuple(inverse)})
    if result._array.ndim != view._array.ndim:
        result = apply(ops.RESHAPE, (result,), {"shape": shape_of(view)})
    return result


def _without_leading_ones(value: Tensor, rank: int) -> Tensor:
    """value without leading dimensions of size 1 beyond `rank`, which a write ignores."""
    extra = value._array.ndim - rank
    if extra > 0 and value._array.shape[:extra] == (1,) * extra:
        return value.reshape(shape_of(value)[extra:])
    return value


@with_inplace
@method
def index_put(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """input with values at input[indices] set, or added to where `accumulate`."""
    view, tensors = _basic(input, tuple(slice(None) if i is None else i for i in indices))
    if tensors is None:
        raise IndexError("index_put: at least one index tensor is needed")
    return _put(view, tensors, as_operand(values, input.dtype), "add" if accumulate else "set")
