"""Views as copies (`permute_copy`), views in place (`squeeze_`), and writes into copies (`select_scatter`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dispatch import constant
from ..state import state
from ..symbolic import concrete
from ..tensor import Tensor, alias, memory, method, shape_of
from . import join, movement, select
from .complex_numbers import view_as_complex, view_as_real
from .creation import empty
from .inplace import with_inplace
from .movement import axis_of, offset_of
from .select import index_put_flat


def _copying(function: Callable, name: str) -> Callable:
    """`function` whose results are copies."""

    def run(input: Tensor, *arguments: Any, **keywords: Any) -> Any:
        result = function(input, *arguments, **keywords)
        return tuple(t.clone() for t in result) if isinstance(result, tuple) else result.clone()

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{name.removesuffix('_copy')} of input, in memory of its own."
    return run


def alias_view(input: Tensor) -> Tensor:
    """Another tensor on input's memory."""
    return movement.view(input, shape_of(input))


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of the given sizes along dim, as views."""
    return join.split(input, list(split_sizes), dim)


method(split_with_sizes)
(
    alias_copy, expand_copy, permute_copy, squeeze_copy, t_copy, transpose_copy, unbind_copy, unfold_copy,
    unsqueeze_copy, view_copy, diagonal_copy, narrow_copy, split_copy, split_with_sizes_copy, detach_copy,
    view_as_real_copy, view_as_complex_copy,
) = (
    _copying(function, f"{name}_copy")
    for name, function in {
        "alias": alias_view, "expand": movement.expand, "permute": movement.permute, "squeeze": movement.squeeze,
        "t": movement.t, "transpose": movement.transpose, "unbind": join.unbind, "unfold": movement.unfold,
        "unsqueeze": movement.unsqueeze, "view": movement.view, "diagonal": select.diagonal, "narrow": movement.narrow,
        "split": join.split, "split_with_sizes": split_with_sizes, "detach": lambda x: x.detach(),
        "view_as_real": view_as_real, "view_as_complex": view_as_complex,
    }.items()
)  # fmt: skip
method(narrow_copy)
unsafe_chunk, unsafe_split, unsafe_split_with_sizes = (
    join.chunk, join.split, split_with_sizes,
)  # fmt: skip
for _name, _function in (("unsafe_chunk", join.chunk), ("unsafe_split", join.split)):
    setattr(Tensor, _name, _function)


def _become(target: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
    """Make `target` a view of what it was, in place. Raises RuntimeError for a leaf that requires grad."""
    if state.grad_enabled and target.requires_grad and target.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    before = alias(target)
    before._node, before._requires_grad, before._base, before._seen = (
        target._node, target._requires_grad, target._base, target._seen,
    )  # fmt: skip
    made = view(before)
    if state.recorder is not None:
        state.recorder.replace(target)
    if state.undo is not None:
        state.undo.change(target)
    for slot in ("_array", "_storage", "_view", "_base", "_node", "_requires_grad", "_seen"):
        setattr(target, slot, getattr(made, slot))
    return target


def _in_place(function: Callable, name: str) -> None:
    def run(self: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        return _become(self, lambda x: function(x, *arguments, **keywords))

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{name.removesuffix('_')}, changing this tensor's own shape."
    method(run)


for _name, _function in {
    "squeeze_": movement.squeeze, "unsqueeze_": movement.unsqueeze, "transpose_": movement.transpose, "t_": movement.t,
    "swapaxes_": movement.transpose, "swapdims_": movement.transpose,
}.items():  # fmt: skip
    _in_place(_function, _name)


@method
def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Change the shape in place, keeping elements in order; new ones are not initialized.

    Raises RuntimeError for a tensor that requires grad.
    """
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    count = int(np.prod([int(n) for n in shape], dtype=np.int64))
    flat = self.reshape(-1)
    if count > flat.numel():
        flat = join.cat([flat, empty(count - flat.numel(), dtype=self.dtype)])
    elif count < flat.numel():
        flat = flat[:count]
    return _become(self, lambda x: flat.view(*shape) if shape else flat.reshape(()))


@method
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """resize_ to the template's shape."""
    return resize_(self, *the_template.shape)


@method
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of input with src on a diagonal."""
    result = input.clone()
    place = select.diagonal(result, offset, dim1, dim2)
    if shape_of(place) != shape_of(src):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(place.shape)}"
        )
    place.copy_(src)
    return result


@method
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input with src at one index of dim."""
    result = input.clone()
    place = movement.select(result, dim, index)
    if shape_of(place) != shape_of(src):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(place.shape)}"
        )
    place.copy_(src)
    return result


@method
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of input with src at start:end:step of dim."""
    result = input.clone()
    axis = axis_of(dim, input._array.ndim)
    place = result[(slice(None),) * axis + (slice(start, end, step),)]
    if shape_of(place) != shape_of(src):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(place.shape)}"
        )
    place.copy_(src)
    return result


def _strided_places(size: Sequence[int], stride: Sequence[int], offset: int) -> Tensor:
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides and shape: {list(size)} and {list(stride)}")
    index = np.full([1] * len(size), int(offset), np.int64)
    for axis, (n, s) in enumerate(zip(size, stride)):
        index = index + (np.arange(int(n)) * int(s)).reshape([-1 if a == axis else 1 for a in range(len(size))])
    return constant(np.ascontiguousarray(index))


@method
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """The elements of input at offset + index * stride in its memory: a copy here, not a view as in PyTorch.

    Raises NotImplementedError for an input that is not contiguous, RuntimeError for places outside of it.
    """
    return input.reshape(-1)[_places_in(input, size, stride, storage_offset)]


def _places_in(input: Tensor, size: Any, stride: Any, storage_offset: int | None) -> Tensor:
    """Flat positions in input that sizes, strides and an offset in its memory name."""
    if not input.is_contiguous():
        raise NotImplementedError(
            "as_strided of a tensor that is not contiguous is not offered; use contiguous() first"
        )
    offset = 0 if storage_offset is None else storage_offset - offset_of(input)
    places = _strided_places(concrete(tuple(size)), concrete(tuple(stride)), offset)
    found = memory(places)
    if found.size and not 0 <= found.min() <= found.max() < input._array.size:
        raise RuntimeError(
            f"as_strided: sizes {list(size)}, strides {list(stride)} and offset {storage_offset} reach outside of a "
            f"tensor of {input._array.size} elements"
        )
    return places


def select_copy(input: Tensor, dim: int, index: int) -> Tensor:
    """A copy of one index of dim."""
    return movement.select(input, dim, index).clone()


def slice_copy(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:  # fmt: skip
    """A copy of start:end:step of dim."""
    return input[(slice(None),) * axis_of(dim, input._array.ndim) + (slice(start, end, step),)].clone()


as_strided_copy = as_strided


@with_inplace
@method
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with source at positions of the flattened input."""
    return index_put_flat(input, index, source, accumulate)


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """empty; strides are not kept."""
    return empty(*size, **{k: v for k, v in options.items() if k in ("dtype", "device", "requires_grad")})


@method
def new_empty_strided(self: Tensor, size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """new_empty; strides are not kept."""
    return empty_strided(size, stride, **{"dtype": self.dtype, **options})


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """empty; the order of axes in memory is not kept."""
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(
            f"Number of dimensions in size does not match the length of the physical_layout: {physical_layout}"
        )
    return empty_strided(size, (), **options)


@method
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Summed over the dimensions that broadcasting from `size` would stretch."""
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], list | tuple) else size
    extra = self._array.ndim - len(shape)
    have = shape_of(self)
    if extra < 0 or any(m not in (1, n) for n, m in zip(have[extra:], shape)):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(have)}}}.")
    axes = [*range(extra), *(extra + i for i, (n, m) in enumerate(zip(have[extra:], shape)) if m == 1 and n != 1)]
    result = self.sum(axes, keepdim=True) if axes else self
    return result.reshape(shape) if extra else result
