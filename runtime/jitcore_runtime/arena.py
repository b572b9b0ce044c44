"""Memory of calls: aligned arrays, and `Frame`, what one call of native code needs besides its inputs and outputs."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir.shapes import evaluate

from .plan import ALIGNMENT, BufferKind, Plan


class _ArrayHead(ctypes.Structure):
    """The start of NumPy's PyArrayObject, the same since NumPy 1.0: the object header, then the data pointer."""

    _fields_ = (("header", ctypes.c_char * object.__basicsize__), ("data", ctypes.c_void_p))


def _address_from_interface(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _address_from_head(array: np.ndarray, _at=_ArrayHead.from_address, _id=id) -> int:
    return _at(_id(array)).data or 0


_probe = np.empty(3, np.uint8)
address_of = (
    _address_from_head
    if np.ndarray.__basicsize__ >= object.__basicsize__ + 8
    and _address_from_head(_probe) == _address_from_interface(_probe)
    else _address_from_interface
)
"""The address of an array's first element: 0.2 us, a fifth of `array.ctypes.data`."""


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialized row-major array that starts at a multiple of ALIGNMENT bytes."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, -address_of(memory) % ALIGNMENT)


class JcCall(ctypes.Structure):
    """`struct jc_call`, the one argument of native code."""

    _fields_ = (
        ("buffers", ctypes.c_void_p),
        ("dims", ctypes.c_void_p),
        ("error", ctypes.c_int64 * 4),
        ("timers", ctypes.c_void_p),  # read by code that was compiled with timers alone
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """A plan with its symbols' values filled in: `dims` in Plan.symbols order, byte offsets of the arena's slots, the
    arena's size, and the shape of every buffer of the pointer table."""

    dims: tuple[int, ...]
    offsets: tuple[int, ...]
    size: int
    shapes: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(plan: Plan, symbols: Mapping[str, int]) -> Layout:
        offsets, total = [], 0
        for slot in plan.slots:
            offsets.append(total)
            total += -(-evaluate(slot, symbols) // ALIGNMENT) * ALIGNMENT
        shapes = tuple(tuple(evaluate(d, symbols) for d in buffer.shape) for buffer in plan.buffers)
        return Layout(tuple(symbols[s] for s in plan.symbols), tuple(offsets), total, shapes)


class Frame:
    """Pointer table, dims, error fields and arena of one call at a time. Kept and used again by later calls.

    `table` is prefilled with everything but inputs, results and prepared buffers: arena slots, constants and guard
    values (`guards[k]` is the 0-d array of guard k's value). `pointer` is the address of the `jc_call`.
    """

    __slots__ = (
        "__weakref__", "_arena", "_call", "_dims", "_slots", "call_outs", "error", "failure", "guards", "layout",
        "pointer", "prepared", "table", "timers",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        layout: Layout,
        fixed: Mapping[int, int],
        guards: Sequence[tuple[int, np.dtype]],
        timers: Any = None,
    ) -> None:
        """`fixed` maps table positions to addresses that never change; `guards` are (table position, dtype); `timers`
        is an array of `new_timers`, None for code without."""
        self.table = (ctypes.c_void_p * max(len(plan.buffers), 1))()
        self._dims = (ctypes.c_int64 * max(len(plan.symbols), 1))()
        self._call = JcCall(ctypes.addressof(self.table), ctypes.addressof(self._dims))
        self.pointer = ctypes.addressof(self._call)
        self.error = self._call.error
        self.timers = timers
        self._call.timers = None if timers is None else ctypes.addressof(timers)
        self.guards = [np.zeros((), dtype) for _, dtype in guards]
        for position, address in fixed.items():
            self.table[position] = address
        for (position, _), value in zip(guards, self.guards):
            self.table[position] = address_of(value)
        self._slots = [(n, b.index) for n, b in enumerate(plan.buffers) if b.kind is BufferKind.TEMPORARY]
        self._arena = np.empty(0, np.uint8)
        self.layout: Layout | None = None
        self.prepared: object = None
        self.call_outs: Any = None
        self.failure: Exception | None = None
        self.use(layout)

    def use(self, layout: Layout) -> None:
        """Point dims and arena slots to where `layout` has them. The arena only ever grows."""
        if layout.size > self._arena.nbytes or self.layout is None:
            self._arena = empty_aligned((layout.size,), np.dtype(np.uint8))
        base = address_of(self._arena)
        for position, slot in self._slots:
            self.table[position] = base + layout.offsets[slot]
        self._dims[: len(layout.dims)] = list(layout.dims)
        self.layout = layout
