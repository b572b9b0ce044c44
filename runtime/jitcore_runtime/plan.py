"""`Plan`: where every buffer of a compiled program lives, and `Image`: its machine code.

Both are plain data: the compiler makes them, the archive stores them, the executor follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from jitcore_ir.dtypes import DType
from jitcore_ir.shapes import Expr

ABI_VERSION = 1
"""The layout of `jc_call` and of images. An image with another number is not run."""

ALIGNMENT = 64
"""Every buffer that jitcore allocates, and every arena slot, starts at a multiple of this many bytes."""


class BufferKind(IntEnum):
    """Who provides a buffer's memory."""

    INPUT = 0  # the caller: graph input number `index`
    OUTPUT = 1  # fresh memory for each call: graph output number `index`
    TEMPORARY = 2  # arena slot number `index`, contents do not outlive the call
    CONSTANT = 3  # `data`, read-only, for as long as the program lives
    PREPARED = 4  # filled once by `jc_prepare` (packed weights), read by `jc_run`
    FUNCTION = 5  # the runtime: the address of the native function of call-out number `index`, or 0 (`custom`)


@dataclass(frozen=True, slots=True)
class Buffer:
    """One entry of the pointer table that native code receives. `shape` may hold expressions over `Plan.symbols`."""

    kind: BufferKind
    dtype: DType
    shape: tuple[int | Expr, ...]
    index: int = 0
    data: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class CallOut:
    """An operation without native code: number `operation` of the program's graph, run by its NumPy kernel on the
    buffers at these positions of the pointer table. Native code refers to it by its place in `Plan.call_outs`."""

    operation: int
    operands: tuple[int, ...]
    result: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory of one program.

    `buffers` is in the order of the pointer table; each graph input and each fresh output has one.
    `slots` are the arena slots' sizes in
    bytes (dims; each is rounded up to ALIGNMENT), laid one after another. `aliases` maps a graph output that is not
    a fresh buffer to the graph input whose memory holds it: the program updates that input in place, after every
    guard has held. `prepared_from` lists the graph inputs that PREPARED buffers were computed from.
    """

    buffers: tuple[Buffer, ...]
    symbols: tuple[str, ...] = ()
    slots: tuple[int | Expr, ...] = ()
    aliases: tuple[tuple[int, int], ...] = ()
    prepared_from: tuple[int, ...] = ()
    call_outs: tuple[CallOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """Linked, position-independent machine code: `code` is text then read-only data then writable data, each part
    starting on a page (4096 bytes; sizes `text_size`, `rodata_size`, `data_size` are multiples of it and sum to
    len(code)). `exports` are (name, offset); `imports` are (name, offset of an 8-byte slot in the writable part that
    the loader fills with the function's address). `target` is e.g. "x86-64-v3"; `features` what the code needs."""

    target: str
    code: bytes
    text_size: int
    rodata_size: int
    data_size: int
    exports: tuple[tuple[str, int], ...]
    imports: tuple[tuple[str, int], ...] = ()
    features: tuple[str, ...] = ()
    abi: int = ABI_VERSION
