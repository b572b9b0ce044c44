"""The two doors of eager execution: `apply` runs an operation, `write` changes memory. Nothing else does either.

Measured on one core: a tiny `x + y` costs about 1.5 us, of which NumPy's own add is 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jitcore_ir import IRError, OpSpec, TensorType, Trait, ops
from jitcore_ir.errors import DTypeError, ShapeError
from jitcore_ir.spec import OPS
from jitcore_runtime.custom import CustomOpError
from jitcore_runtime.errors import PositionError
from jitcore_runtime.kernels import KERNELS

from .autograd import tape
from .source import user_frame
from .state import Recorder, state
from .storage import Storage
from .symbolic import concrete
from .tensor import Tensor, dtype_of, wrap

VIEW_SPECS = frozenset(spec for spec in OPS.values() if spec.has(Trait.VIEW))

_KEEP_LAYOUT = frozenset(spec for spec in OPS.values() if spec.has(Trait.ELEMENTWISE))
"""Operations whose results lie in memory as their operands do; those of others lie row by row, as in PyTorch, so that
code which knows that may call view()."""

NONE: Mapping[str, Any] = {}
"""The attributes of an operation that has none."""

_new = object.__new__


def apply(spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any] = NONE) -> Tensor:
    """Run one primitive: NumPy kernel, view tracking, recorder, tape. Operands share what dtype the spec asks for.

    Raises RuntimeError for shapes and dtypes the operation does not take, IndexError for positions out of range.
    """
    recorder = state.recorder
    try:
        if recorder is not None:
            if state.batching is not None:
                array = state.batching.kernel(spec, operands, attributes)
            else:
                array = KERNELS[spec](*[t._array for t in operands], **{k: concrete(v) for k, v in attributes.items()})
        elif len(operands) == 2:  # a comprehension costs 0.2 us
            x, y = operands
            array = KERNELS[spec](x._array, y._array, **attributes)
        else:
            array = KERNELS[spec](*[t._array for t in operands], **attributes)
    except Exception as error:
        if recorder is None or not recorder.made_up or not _is_of_the_values(spec, error, recorder):
            raise explain(spec, operands, attributes, error) from error
        array = _zeros(spec, operands, attributes)

    result = _new(Tensor)
    result._array = array
    result._node = result._grad = result._hooks = None
    result._requires_grad = False
    if spec in VIEW_SPECS and shares_memory(array, x := operands[0]):
        result._storage = storage = x._storage
        result._view = (*x._view, (spec, attributes))
        result._base = x if x._base is None else x._base
        result._seen = storage.rebased if state.grad_enabled and x._seen >= 0 else tape.NO_GRAD_VIEW
    else:
        if spec not in _KEEP_LAYOUT and not array.flags.c_contiguous and type(array) is np.ndarray:
            result._array = array = np.ascontiguousarray(array)
        result._storage = storage = _new(Storage)
        storage.array = array
        storage.version = storage.rebased = storage._address = 0
        storage.shared = False
        storage.written_at = None
        result._view = ()
        result._base = None
        result._seen = 0

    if recorder is not None:
        recorder.operation(spec, operands, attributes, result)
    for t in operands:
        if t._requires_grad or t._storage.rebased:
            if state.grad_enabled:
                tape.record(spec, operands, attributes, result)
            break
    return result


def _is_of_the_values(spec: OpSpec, error: Exception, recorder: Recorder) -> bool:
    """Whether an operation failed for what its operands hold, which means nothing where that is made up."""
    if spec is ops.CUSTOM_CALL:
        return not isinstance(error, CustomOpError)
    return isinstance(error, recorder.forgiven)


def _zeros(spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any]) -> np.ndarray:
    """Zeros of an operation's result's type."""
    types = tuple(TensorType(dtype_of(t._array.dtype), t._array.shape) for t in operands)
    (type,) = spec.infer(types, {k: concrete(v) for k, v in attributes.items()})
    assert isinstance(type, TensorType)
    return np.zeros([int(d) for d in type.shape], type.dtype.numpy)  # type: ignore[arg-type]


def shares_memory(array: np.ndarray, x: Tensor) -> bool:
    """Whether a view operation's result looks at x's memory (a reshape of strided memory copies)."""
    source = x._array
    base = array.base
    if base is None:
        return array is source
    return base is source or base is source.base or np.may_share_memory(array, source)


def write(target: Tensor, value: Tensor) -> None:
    """Make `target`'s memory hold `value`, broadcast and cast to fit; the only place where a tensor's memory changes.

    Keeps gradient history: afterwards `target`, its base and every other view of it derive from `value`.
    Raises RuntimeError where the shapes do not fit, where target is a leaf that requires grad (or a view of one)
    in grad mode, and where target's memory is read-only or holds one element at several places.
    """
    value = fit(target, value)
    array = target._array
    check_writable(target)
    needs_history = state.grad_enabled and tape.check_write(target, value)
    if state.undo is not None:
        state.undo.write(target)
    if state.recorder is None or not state.recorder.write(target, value):
        np.copyto(array, value._array)
    storage = target._storage
    storage.version += 1
    frame = user_frame()
    storage.written_at = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
    if needs_history:
        tape.rebase(target, value)


def fit(target: Tensor, value: Tensor) -> Tensor:
    """`value` cast and broadcast to target's dtype and shape. Raises RuntimeError where it does not stretch."""
    dtype = target._array.dtype
    if value._array.dtype != dtype:
        value = apply(ops.CAST, (value,), {"dtype": dtype_of(dtype)})
    shape = target._array.shape
    if value._array.shape != shape:
        extra = value._array.ndim - len(shape)
        if extra > 0 and value._array.shape[:extra] == (1,) * extra:
            value = apply(ops.RESHAPE, (value,), {"shape": value.shape[extra:]})
        if value._array.shape != shape:
            value = apply(ops.BROADCAST_TO, (value,), {"shape": tuple(target.shape)})
    return value


def check_writable(target: Tensor) -> None:
    array = target._array
    if array.size and 0 in array.strides and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape)):
        raise RuntimeError(
            f"unsupported operation: more than one element of the written-to tensor (shape {list(array.shape)}) refers "
            f"to a single memory location; call clone() before writing{_called_at()}"
        )
    if not array.flags.writeable:
        raise RuntimeError(f"the tensor's memory is read-only; call clone() before writing{_called_at()}")


def constant(array: np.ndarray) -> Tensor:
    """A tensor of data from outside, in memory of its own: a constant of the trace where one is recorded."""
    result = wrap(array)
    if state.recorder is not None:
        state.recorder.create(result)
    return result


def explain(spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any], error: Exception) -> Exception:
    """The error a user should see for a kernel that failed: the spec's own complaint where it has one."""
    if isinstance(error, MemoryError | NotImplementedError | ZeroDivisionError):
        return error
    if spec is ops.CUSTOM_CALL:  # what the user's function raised is the user's own
        return CustomOpError(f"{error}{_called_at()}") if isinstance(error, CustomOpError) else error
    types = tuple(TensorType(dtype_of(t._array.dtype), t._array.shape) for t in operands)
    try:
        spec.infer(types, {k: concrete(v) for k, v in attributes.items()})
    except IRError as complaint:
        of_complex = isinstance(complaint, DTypeError) and any(t.dtype.is_complex for t in operands)
        return (NotImplementedError if of_complex else RuntimeError)(f"{complaint}{_called_at()}")
    if isinstance(error, IndexError):
        return PositionError(f"{error}{_called_at()}")
    if isinstance(error, ShapeError | ValueError | TypeError):
        return RuntimeError(f"{spec.name}: {error}{_called_at()}")
    return error


def _called_at() -> str:
    frame = user_frame()
    return "" if frame is None else f"; called at {frame.f_code.co_filename}:{frame.f_lineno}"
