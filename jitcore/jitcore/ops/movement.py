"""Shapes: reshape, permute, broadcast, slice, flip, windows, repetition. Results are views where PyTorch's are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops

from ..dispatch import NONE, apply
from ..state import state
from ..symbolic import SymInt, hint
from ..tensor import Size, Tensor, method, shape_of
from .creation import size_arguments


def axis_of(dim: Any, rank: int) -> int:
    """A dimension counted from either end as one counted from the front. Raises IndexError outside the tensor."""
    if type(dim) is not int:
        dim = dim.__index__()
    limit = rank or 1
    if not -limit <= dim < limit:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})")
    return dim + limit if dim < 0 else dim


def axes_of(dims: Any, rank: int) -> tuple[int, ...]:
    """One dimension or several, all different."""
    if isinstance(dims, int):
        return (axis_of(dims, rank),)
    axes = tuple([axis_of(d, rank) for d in dims])
    if len(set(axes)) != len(axes):
        raise RuntimeError(
            f"dim {next(a for a in axes if axes.count(a) > 1)} appears multiple times in the list of dims"
        )
    return axes


def product(sizes: Sequence[Any]) -> Any:
    """Product of sizes, symbolic ones included."""
    total: Any = 1
    for n in sizes:
        total = total * n
    return total


@method
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. A view wherever strides allow."""
    shape = resolve_shape(input, size_arguments(shape))
    result = apply(ops.RESHAPE, (input,), {"shape": shape})
    if state.recorder is not None:
        _layout_is_used(input, result, shape)
    return result


def _layout_is_used(input: Tensor, result: Tensor, shape: tuple = ()) -> None:
    """Whether a result shares memory hangs on which sizes are 1 (steps along them do not matter), and on those that are
    equal where a shape stays what it is."""
    note = getattr(state.recorder, "layout_is_used", None)
    sizes = shape_of(input)
    symbols = [n for n in sizes if type(n) is not int]
    if note is None or not symbols:
        return
    is_shared = result._storage is input._storage
    if not is_shared or any(n.value <= 1 for n in symbols):
        note(input._storage, result._storage, [n.expr for n in symbols])
    if is_shared and not input._array.flags.c_contiguous and len(shape) == len(sizes):
        all(a == b for a, b in zip(shape, sizes, strict=True))


def resolve_shape(input: Tensor, shape: tuple) -> tuple:
    """`shape` with its -1 replaced. Raises RuntimeError where the number of elements differs."""
    unknown = [a for a, n in enumerate(shape) if type(n) is int and n == -1]
    if len(unknown) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if not unknown:
        return shape
    known = product([n for n in shape if not (type(n) is int and n == -1)])
    total = product(shape_of(input))
    if known == 0 or (type(total) is int and type(known) is int and total % known):
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of {total} elements into shape {list(shape)} because the unspecified dimension "
                f"size -1 can be any value and is ambiguous"
            )
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {total}")
    return (*shape[: unknown[0]], total // known, *shape[unknown[0] + 1 :])


@method
def view(input: Tensor, *shape: Any) -> Tensor:
    """reshape that never copies: RuntimeError where the strides would make it. A dtype of equal size reinterprets."""
    from jitcore_ir.dtypes import DType

    if len(shape) == 1 and isinstance(shape[0], DType):
        return _view_dtype(input, shape[0])
    result = reshape(input, *shape)
    if result._storage is not input._storage and input._array.size:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return result


def _view_dtype(input: Tensor, dtype: Any) -> Tensor:
    if dtype is input.dtype:
        return input
    if input.dtype.is_complex and dtype is input.dtype.to_real() and input._array.ndim:
        return view(apply(ops.VIEW_AS_REAL, (input,)), (*shape_of(input)[:-1], -1))
    if dtype.is_complex and input.dtype is dtype.to_real() and input._array.ndim:
        if shape_of(input)[-1] % 2:
            raise RuntimeError("self.size(-1) must be divisible by 2 to view a real tensor as a complex one")
        return apply(ops.VIEW_AS_COMPLEX, (view(input, (*shape_of(input)[:-1], -1, 2)),))
    raise NotImplementedError("view(dtype) is not offered; .to(dtype) converts values, .numpy().view(...) reinterprets")


@method
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """view with other's shape."""
    return view(input, shape_of(other))


@method
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """reshape to other's shape."""
    return reshape(input, shape_of(other))


@method
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim joined into one."""
    shape = shape_of(input)
    if not shape:
        return reshape(input, (1,))
    first, last = axis_of(start_dim, len(shape)), axis_of(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if first == last:
        return input
    return reshape(input, (*shape[:first], product(shape[first : last + 1]), *shape[last + 1 :]))


@method
def ravel(input: Tensor) -> Tensor:
    """One dimension."""
    return reshape(input, (-1,)) if input._array.ndim != 1 else input


@method
def unflatten(input: Tensor, dim: int, sizes: Sequence[Any]) -> Tensor:
    """Dimension `dim` split into `sizes`, one of which may be -1."""
    shape = shape_of(input)
    axis = axis_of(dim, len(shape))
    sizes = tuple(sizes)
    if -1 in sizes:
        known = product([n for n in sizes if n != -1])
        sizes = tuple(shape[axis] // known if type(n) is int and n == -1 else n for n in sizes)
    return reshape(input, (*shape[:axis], *sizes, *shape[axis + 1 :]))


@method
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Dimensions in another order; a view."""
    order = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims
    rank = input._array.ndim
    if len(order) != rank:
        raise RuntimeError(
            f"permute: number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {rank} is not equal to len(dims) = {len(order)}"
        )
    axes = tuple([axis_of(d, rank) for d in order])
    if len(set(axes)) != rank:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return apply(ops.PERMUTE, (input,), {"permutation": axes})


@method
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped; a view."""
    rank = input._array.ndim
    a, b = axis_of(dim0, rank), axis_of(dim1, rank)
    order = list(range(rank))
    if rank:
        order[a], order[b] = b, a
    return apply(ops.PERMUTE, (input,), {"permutation": tuple(order)})


swapaxes = swapdims = transpose
method(transpose, name="swapaxes")
method(transpose, name="swapdims")


@method
def t(input: Tensor) -> Tensor:
    """Transpose of a matrix; vectors and scalars as they are."""
    if input._array.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input._array.ndim}D")
    return transpose(input, 0, 1) if input._array.ndim == 2 else input


def _reversed(input: Tensor) -> Tensor:
    """All dimensions in reverse order."""
    return permute(input, tuple(range(input._array.ndim))[::-1])


def _matrix_transpose(input: Tensor) -> Tensor:
    """The last two dimensions swapped."""
    if input._array.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {input._array.ndim}-D tensor."
        )
    return transpose(input, -2, -1)


Tensor.T = property(_reversed)  # type: ignore[attr-defined]
Tensor.mT = property(_matrix_transpose)  # type: ignore[attr-defined]


@method
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places, the rest staying in order; a view."""
    rank = input._array.ndim
    old, new = axes_of(source, rank), axes_of(destination, rank)
    if len(old) != len(new):
        raise RuntimeError(f"movedim: {len(old)} source dims and {len(new)} destination dims")
    if not rank:
        return input
    order = [a for a in range(rank) if a not in old]
    for to, from_ in sorted(zip(new, old)):
        order.insert(to, from_)
    return apply(ops.PERMUTE, (input,), {"permutation": tuple(order)})


moveaxis = movedim
method(movedim, name="moveaxis")


@method
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A dimension of size 1 inserted at `dim`; a view."""
    shape = shape_of(input)
    axis = axis_of(dim, len(shape) + 1)
    return apply(ops.RESHAPE, (input,), {"shape": (*shape[:axis], 1, *shape[axis:])})


@method
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Dimensions of size 1 removed: all of them, or those among `dim`; a view."""
    shape = shape_of(input)
    axes = range(len(shape)) if dim is None else axes_of(dim, len(shape)) if shape else ()
    kept = tuple(n for a, n in enumerate(shape) if a not in axes or n != 1)
    return apply(ops.RESHAPE, (input,), {"shape": kept})


@method
def expand(input: Tensor, *sizes: Any) -> Tensor:
    """input stretched without copying; -1 keeps a size."""
    wanted = size_arguments(sizes)
    shape = shape_of(input)
    extra = len(wanted) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(wanted)}) must be greater or equal to the "
            f"number of dimensions "
            f"in the tensor ({len(shape)})"
        )
    full = []
    for axis, n in enumerate(wanted):
        if type(n) is int and n == -1:
            if axis < extra:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {axis}"
                )
            n = shape[axis - extra]
        full.append(n)
    return apply(ops.BROADCAST_TO, (input,), {"shape": tuple(full)})


@method
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """expand to other's shape."""
    return expand(input, shape_of(other))


@method
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """expand."""
    return expand(input, size)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors stretched to the shape they broadcast to."""
    shape = broadcast_shapes(*[shape_of(t) for t in tensors])
    return tuple(expand(t, shape) for t in tensors)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that several shapes broadcast to. Raises RuntimeError where they do not."""
    sizes = [tuple(s) if isinstance(s, list | tuple) else (s,) for s in shapes]
    rank = max((len(s) for s in sizes), default=0)
    result: list[Any] = []
    for axis in range(-rank, 0):
        dim: Any = 1
        for shape in sizes:
            n = shape[axis] if len(shape) >= -axis else 1
            if (type(n) is int and n == 1) or n is dim:
                continue
            if type(dim) is int and dim == 1:
                dim = n
            elif n != dim:
                raise RuntimeError(
                    f"Shape mismatch: objects cannot be broadcast to a single shape: {[list(s) for s in sizes]}"
                )
        result.append(dim)
    return Size(result)


@method
def narrow(input: Tensor, dim: int, start: Any, length: Any) -> Tensor:
    """`length` elements from `start` along dim; a view."""
    shape = shape_of(input)
    axis = axis_of(dim, len(shape))
    if isinstance(start, Tensor):
        start = int(start)
    if type(start) is int and start < 0:
        start = start + shape[axis]
    size = input._array.shape[axis]
    if type(start) is int and type(length) is int and not (0 <= start <= size and 0 <= length <= size - start):
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return slice_axis(input, axis, start, length)


def slice_axis(input: Tensor, axis: int, start: Any, size: Any, step: int = 1) -> Tensor:
    """A view of `size` elements along one axis, from `start` on, `step` apart."""
    shape = shape_of(input)
    rank = len(shape)
    return apply(
        ops.SLICE,
        (input,),
        {
            "starts": (0,) * axis + (start,) + (0,) * (rank - axis - 1),
            "sizes": (*shape[:axis], size, *shape[axis + 1 :]),
            "steps": (1,) * axis + (step,) + (1,) * (rank - axis - 1),
        },
    )


def position_on(position: Any, size: Any, axis: int) -> Any:
    """An integer index counted from the front; both may be symbolic. Raises IndexError outside the dimension."""
    if position < 0:
        counted = position + size
        if counted >= 0:
            return counted
    elif position < size:
        return position
    raise IndexError(f"index {hint(position)} is out of bounds for dimension {axis} with size {hint(size)}")


@method
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The slice at `index` of dimension `dim`, which disappears; a view."""
    shape = shape_of(input)
    axis = axis_of(dim, len(shape))
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    index = index.__index__() if type(index) is not SymInt else index
    cut = slice_axis(input, axis, position_on(index, shape[axis], axis), 1)
    return apply(ops.RESHAPE, (cut,), {"shape": (*shape[:axis], *shape[axis + 1 :])})


@method
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements, `step` apart, along a dimension; the window becomes the last dimension."""
    if not input._array.ndim:
        return unfold(input.reshape(1), 0, size, step)[0]
    axis = axis_of(dimension, input._array.ndim)
    moved = movedim(input, axis, -1)
    if size > moved._array.shape[-1]:
        raise RuntimeError(
            f"maximum size for tensor at dimension {axis} is {moved._array.shape[-1]} but size is {size}"
        )
    cut = apply(ops.WINDOWS, (moved,), {"window": (size,), "stride": (step,), "dilation": (1,)})
    return movedim(cut, -2, axis)


@method
def contiguous(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """input itself where its memory is row-major, else a row-major copy."""
    result = input if input._array.flags.c_contiguous else apply(ops.COPY, (input,), NONE)
    if state.recorder is not None:
        _layout_is_used(input, result)
    return result


@method
def is_contiguous(input: Tensor, *, memory_format: Any = None) -> bool:
    """Whether memory is row-major without gaps."""
    for n in shape_of(input):
        if not n > 1:
            int(n)  # it may be otherwise for larger sizes
    return input._array.flags.c_contiguous


@method
def stride(input: Tensor, dim: int | None = None) -> Any:
    """Steps in memory, in elements, per dimension."""
    for n in shape_of(input):
        int(n)  # the steps are those of these very sizes
    steps = tuple(s // input._array.itemsize for s in input._array.strides)
    return steps if dim is None else steps[axis_of(dim, len(steps))]


@method
def storage_offset(input: Tensor) -> int:
    """Distance, in elements, from the start of the storage to the first element."""
    if state.recorder is not None:
        state.recorder.look(input, "storage_offset()")
    return offset_of(input)


def offset_of(input: Tensor) -> int:
    """The same, for what the recorder sees anyway."""
    return (input._array.ctypes.data - input._storage.address) // input._array.itemsize


@method
def size(input: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    shape = shape_of(input)
    return Size(shape) if dim is None else shape[axis_of(dim, len(shape))]


@method
def numel(input: Tensor) -> Any:
    """Number of elements."""
    return product(shape_of(input))


method(numel, name="nelement")


@method
def dim(input: Tensor) -> int:
    """Number of dimensions."""
    return input._array.ndim


method(dim, name="ndimension")


@method
def element_size(input: Tensor) -> int:
    """Bytes in one element."""
    return input._array.itemsize


def _one_list(tensors: tuple) -> tuple:
    """Tensors given one by one or as one sequence."""
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors


def atleast_1d(*tensors: Tensor) -> Any:
    """At least one dimension each."""
    tensors = _one_list(tensors)
    made = tuple(t if t._array.ndim else reshape(t, (1,)) for t in tensors)
    return made[0] if len(made) == 1 else made


def atleast_2d(*tensors: Tensor) -> Any:
    """At least two dimensions each."""
    tensors = _one_list(tensors)
    made = tuple(t if t._array.ndim >= 2 else unsqueeze(atleast_1d(t), 0) for t in tensors)
    return made[0] if len(made) == 1 else made
