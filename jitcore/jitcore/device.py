"""Devices and the default dtype. Eager tensors live in host memory, so the one device is "cpu"."""

from __future__ import annotations

from typing import Any

from jitcore_ir.dtypes import DType, float32

KNOWN = ("cpu", "cuda", "ipu", "xpu", "mkldnn", "mps", "hpu", "meta", "mtia", "privateuseone", "vulkan", "xla")
"""The device types that can be named. Tensors are made on "cpu" alone."""


class Device:
    """The name of a device: `Device("cpu")`, `Device("cuda:0")`, `Device("cuda", 0)`."""

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if isinstance(type, Device):
            type, index = str(type), None
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        if not isinstance(type, str):
            raise TypeError(f"device() takes a string such as 'cpu', not {type!r}")
        name, _, number = type.partition(":")
        if number:
            if index is not None:
                raise RuntimeError(f"device string {type!r} has an index already, but index {index} was given too")
            if not number.isdigit():
                raise RuntimeError(f"invalid device string {type!r}; write it as 'cpu' or 'cpu:0'")
            index = int(number)
        if name not in KNOWN:
            raise RuntimeError(f"Expected one of {', '.join(KNOWN)} device type at start of device string: {type}")
        self.type = name
        self.index = index

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Device) or self.type != other.type:
            return False
        return self.type == "cpu" or self.index == other.index  # an index of the CPU means the same place

    def __hash__(self) -> int:
        return hash(self.type)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __enter__(self) -> Device:
        check_device(self)
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __reduce__(self) -> tuple:
        return (Device, (str(self),))


CPU = Device("cpu")


def check_device(device: Any) -> None:
    """Raise RuntimeError or TypeError unless `device` is None or names the CPU."""
    if device is not None and device is not CPU and Device(device).type != "cpu":
        raise RuntimeError(f"device {str(device)!r} is not available: eager tensors live on 'cpu'")


class _Defaults:
    dtype: DType = float32


_defaults = _Defaults()


def get_default_dtype() -> DType:
    """The dtype of tensors made from Python floats; float32 unless changed."""
    return _defaults.dtype


def set_default_dtype(dtype: DType) -> None:
    """Make `dtype`, a floating one, the dtype of tensors made from Python floats. Raises TypeError for others."""
    if not isinstance(dtype, DType) or not dtype.is_floating_point:
        raise TypeError(f"set_default_dtype takes a floating dtype such as jitcore.float64, not {dtype!r}")
    _defaults.dtype = dtype
