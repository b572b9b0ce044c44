"""Tensors on memory that others own: DLPack, Python's buffers, `asarray`, which finds the way itself.

NumPy reads and writes DLPack's capsules. It has no bfloat16 there, so such tensors do not travel; and it takes memory
from capsules of DLPack's first version for read-only, which jitcore, as PyTorch, does not. Host memory only.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from jitcore_ir.dtypes import DType

from ..device import check_device, get_default_dtype
from ..dispatch import constant
from ..tensor import Tensor
from .creation import as_tensor, from_numpy, tensor

_HOST = {1: "CPU", 3: "CUDAHost", 11: "ROCMHost", 13: "CUDAManaged"}
"""DLPack's device types whose memory the CPU can read."""


def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """A tensor of `obj`: of its memory where it is a tensor, an array, speaks DLPack or is a buffer, else of a copy.

    copy: True for memory of its own in any case, False to raise ValueError where a copy is needed.
    dtype: of the result; for a buffer, of its bytes (the default dtype unless given).
    requires_grad: False detaches a tensor; True marks a leaf; by default a tensor keeps its history.
    """
    check_device(device)
    if isinstance(obj, Tensor):
        made = obj
    elif isinstance(obj, np.ndarray):
        made = from_numpy(obj)
    elif _is_capsule(obj) or (hasattr(obj, "__dlpack__") and not isinstance(obj, np.generic)):
        made = from_dlpack(obj)
    elif _is_buffer(obj) and not isinstance(obj, np.generic):
        made = frombuffer(obj, dtype=dtype or get_default_dtype())
    elif copy is False:
        raise ValueError("can't alias arbitrary sequence into a tensor.")
    else:
        return tensor(obj, dtype=dtype, requires_grad=bool(requires_grad))
    if dtype is not None and made.dtype is not dtype:
        if copy is False:
            raise ValueError(f"can't alias tensor with dtype '{made.dtype.name}' into dtype '{dtype.name}'.")
        made = as_tensor(made, dtype)
    elif copy:
        made = made.clone()
    if requires_grad is False and made.requires_grad:
        return made.detach()
    return made.requires_grad_() if requires_grad and not made.requires_grad else made


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor on the bytes of a buffer (bytearray, memoryview, array.array, mmap) from byte `offset` on.

    count: how many elements; all if negative. Raises ValueError where the bytes do not suffice or do not divide.
    """
    try:
        data = np.frombuffer(buffer, np.uint8)
    except (TypeError, AttributeError):
        raise ValueError("object does not implement Python buffer protocol.") from None
    length, size = data.size, dtype.itemsize
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} bytes) minus 1"
        )
    if count < 0:
        count, rest = divmod(length - offset, size)
        if rest:
            raise ValueError(
                f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple of element "
                f"size ({size})"
            )
    if count * size > length - offset:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than "
            f"actual buffer length ({length} bytes)"
        )
    made = from_numpy(data[offset : offset + count * size].view(dtype.numpy))
    return made.requires_grad_() if requires_grad else made


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of an array of another library, or of a DLPack capsule: writes to either are seen by both.

    A capsule can be taken once. `copy=True` gives memory of its own. Memory marked read-only stays so. Raises
    BufferError for memory outside the host, tensors that require grad, and what the array's owner refuses;
    RuntimeError for what is no capsule; TypeError for dtypes that jitcore has not.
    """
    check_device(device)
    if isinstance(ext_tensor, Tensor):
        _check_exportable(ext_tensor)
        return ext_tensor.clone() if copy else ext_tensor.detach()
    if hasattr(ext_tensor, "__dlpack__"):
        if (place := int(ext_tensor.__dlpack_device__()[0])) not in _HOST:
            raise BufferError(f"from_dlpack takes memory of the host, not of DLPack's device type {place}")
        array = _imported(_capsule_of(ext_tensor, copy))
    elif not _is_capsule(ext_tensor):
        raise RuntimeError(
            f"from_dlpack received an invalid capsule: {type(ext_tensor).__name__}, or one that was taken already"
        )
    elif copy is not None or device is not None:
        raise AssertionError("device and copy kwargs not supported when ext_tensor is already a DLPack capsule.")
    else:
        array = _imported(ext_tensor)
    return constant(array.copy()) if copy else from_numpy(array)


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of the tensor's memory, to be taken once."""
    return tensor.__dlpack__()


def exported(x: Tensor, stream: Any = -1, **options: Any) -> Any:
    """`x.__dlpack__()`: a capsule. BufferError for a tensor that requires grad, AssertionError for a stream."""
    _check_exportable(x)
    if stream is not None and type(stream) is not int:
        raise TypeError("stream must be ``int`` or ``none``")
    if stream not in (None, -1):
        raise AssertionError("stream should be None on cpu.")
    return x.numpy().__dlpack__(**options)


def _check_exportable(x: Tensor) -> None:
    if x.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")


def _capsule_of(owner: Any, copy: bool | None) -> Any:
    """The owner's capsule, in the newest version it knows; older owners take no options."""
    wanted = {} if copy is None else {"copy": copy}
    for options in ({"max_version": (1, 0), **wanted}, wanted):
        try:
            return owner.__dlpack__(**options)
        except TypeError:
            continue
    return owner.__dlpack__()


class _Carrier:
    """Hands a capsule to NumPy, which asks for an object."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class _Writable:
    """An array's memory without its read-only mark."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


def _imported(capsule: Any) -> np.ndarray:
    unmarked = _is_capsule(capsule, b"dltensor")
    array = np.from_dlpack(_Carrier(capsule))
    return np.asarray(_Writable(array)) if unmarked else array


def _is_capsule(x: Any, *names: bytes) -> bool:
    """Whether x is a DLPack capsule that nobody has taken."""
    valid = ctypes.pythonapi.PyCapsule_IsValid
    return any(valid(ctypes.py_object(x), name) for name in names or (b"dltensor", b"dltensor_versioned"))


def _is_buffer(x: Any) -> bool:
    try:
        memoryview(x)
    except TypeError:
        return False
    return True
