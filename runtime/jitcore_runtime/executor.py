"""`Executor`: runs a program, natively or interpreted, with the same meaning.

The native path prepares a frame (the pointer table, the symbols' values and the arena) once and reuses it: a call sets
the pointers of inputs and outputs and makes one foreign call. Frames are checked out, so that several Python threads may
run one program at once. Measured for one input and one output of 8 elements: about 1.5 us.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from jitcore_ir.shapes import evaluate, is_static

from .errors import GuardFailed, InputError
from .interpreter import interpret
from .native import LoadedImage, load_image
from .plan import ALIGNMENT, Buffer, BufferKind, Plan
from .program import Program
from .signature import bind_symbols

_INDEX_ERROR, _DIVISION_ERROR = -1, -2
_word_at = ctypes.c_size_t.from_address


def _data_offset() -> int:
    """Where an array object holds the address of its elements, which `ndarray.ctypes.data` takes a microsecond to say."""
    sample = np.zeros(3)
    for offset in (16, 24, 32):
        if _word_at(id(sample) + offset).value == sample.ctypes.data:
            return offset
    raise RuntimeError("this Python lays NumPy arrays out in a way that jitcore does not know")


_DATA = _data_offset()


def address_of(array: np.ndarray) -> int:
    """The address of an array's first element."""
    return _word_at(id(array) + _DATA).value


class Executor:
    """Runs `program`. `native=False`, or a program without code, interprets its graph.

    Raises NativeError where the code cannot be loaded.
    """

    def __init__(self, program: Program, native: bool = True) -> None:
        self.program = program
        self.native = _Native(program) if native and program.image is not None else None

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results for these inputs. Updated inputs are written in place, after every guard has held.

        Raises InputError for inputs that do not fit, GuardFailed, IndexError and ZeroDivisionError; then nothing has
        been written.
        """
        if self.native is not None:
            return self.native.run(arrays)
        program = self.program
        outputs = interpret(program.graph, arrays)
        for number, (output, expected) in enumerate(program.guards):
            observed = outputs[output].item()
            if observed != expected:
                raise GuardFailed(number, observed)
        results = [_own(outputs[n], arrays) for n in program.results]
        values = [np.array(outputs[output]) for output, _ in program.updates]
        for (_, number), value in zip(program.updates, values, strict=True):
            np.copyto(arrays[number], value)
        return results


def _own(array: np.ndarray, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """A result in memory of its own: not a view of an input, nor read-only."""
    return array if array.flags.owndata and not any(array is x for x in inputs) else np.array(array)


class _Frame(ctypes.Structure):
    """`struct jc_call`."""

    _fields_ = (("buffers", ctypes.c_void_p), ("dims", ctypes.c_void_p), ("error", ctypes.c_int64 * 4))


class _Checkout:
    """A frame with the memory that its pointers lead to, for one set of symbol values."""

    __slots__ = ("address", "arena", "dims", "frame", "outputs", "symbols", "table")

    def __init__(self, plan: Plan, symbols: dict[str, int], fixed: dict[int, int]) -> None:
        self.symbols = symbols
        self.table = (ctypes.c_void_p * len(plan.buffers))()
        self.dims = (ctypes.c_int64 * max(len(plan.symbols), 1))(*(symbols[name] for name in plan.symbols))
        starts = [0]
        for size in plan.slots:
            rounded = -(-evaluate(size, symbols) // ALIGNMENT) * ALIGNMENT
            starts.append(starts[-1] + rounded)
        self.arena = aligned_bytes(starts[-1])
        base = address_of(self.arena)
        for number, buffer in enumerate(plan.buffers):
            if buffer.kind is BufferKind.TEMPORARY:
                self.table[number] = base + starts[buffer.index]
            elif number in fixed:
                self.table[number] = fixed[number]
        self.outputs = [
            (number, tuple(evaluate(d, symbols) for d in buffer.shape), buffer.dtype.numpy)
            for number, buffer in sorted(_outputs(plan), key=lambda pair: pair[1].index)
        ]
        self.frame = _Frame(ctypes.addressof(self.table), ctypes.addressof(self.dims))
        self.address = ctypes.addressof(self.frame)


class _Native:
    """The native half of an executor."""

    def __init__(self, program: Program) -> None:
        assert program.image is not None and program.plan is not None
        self.program, self.plan = program, program.plan
        self.image: LoadedImage = load_image(program.image)
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.image.address("jc_run"))
        prepare = self.image.address("jc_prepare")
        self._prepare = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(prepare) if prepare else None
        self._prepared_for: list[int] | None = None
        self._inputs = [(n, b.index) for n, b in enumerate(self.plan.buffers) if b.kind is BufferKind.INPUT]
        self._fixed, self._keep = _fixed_memory(self.plan)
        self._results = set(program.results)
        self._order = [b.index for _, b in sorted(_outputs(self.plan), key=lambda pair: pair[1].index)]
        self._all_results = self._order == program.results
        self._shapes = [(v.type.dtype.numpy, v.type.shape) for v in program.graph.inputs]
        self._static = all(is_static(shape) for _, shape in self._shapes)
        self._free: list[_Checkout] = []

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        copied = None
        shapes = self._shapes
        if self._static and len(arrays) == len(shapes):
            for array, (dtype, shape) in zip(arrays, shapes):
                if array.shape != shape or array.dtype != dtype:
                    bind_symbols(self.program.graph, arrays)
                    raise InputError("inputs do not fit")  # bind_symbols says which
            symbols: dict[str, int] = {}
        else:
            symbols = bind_symbols(self.program.graph, arrays)
        for array in arrays:
            if not array.flags.c_contiguous or not array.flags.aligned:
                copied = list(arrays)
                arrays = [np.ascontiguousarray(a) if a.flags.aligned else np.array(a, order="C") for a in arrays]
                break
        addresses = [address_of(a) for a in arrays]
        outputs = self.call(addresses, symbols)
        if copied is not None:
            for _, number in self.program.updates:
                if copied[number] is not arrays[number]:
                    np.copyto(copied[number], arrays[number])
        return outputs

    def call(self, addresses: Sequence[int], symbols: dict[str, int]) -> list[np.ndarray]:
        """Run on contiguous inputs at these addresses, whose dtypes and shapes have been checked."""
        checkout = self._check_out(symbols)
        table = checkout.table
        for number, index in self._inputs:
            table[number] = addresses[index]
        outputs = []
        for number, shape, dtype in checkout.outputs:
            made = np.empty(shape, dtype)
            table[number] = _word_at(id(made) + _DATA).value
            outputs.append(made)
        if self._prepare is not None:
            self._refresh_prepared(checkout, addresses)
        code = self._run(checkout.address)
        if code:
            self._fail(code, checkout, outputs)
        self._free.append(checkout)
        if self._all_results:
            return outputs
        return [made for made, index in zip(outputs, self._order, strict=True) if index in self._results]

    def _check_out(self, symbols: dict[str, int]) -> _Checkout:
        try:
            found = self._free.pop()
            if found.symbols == symbols:
                return found
        except IndexError:
            pass
        return _Checkout(self.plan, symbols, self._fixed)

    def _refresh_prepared(self, checkout: _Checkout, addresses: Sequence[int]) -> None:
        """Prepare anew where the inputs that were packed are other memory than last time."""
        sources = [addresses[i] for i in self.plan.prepared_from]
        if sources != self._prepared_for:
            assert self._prepare is not None
            self._prepare(checkout.address)
            self._prepared_for = sources

    def invalidate_prepared(self) -> None:
        """Say that the inputs that PREPARED buffers came from have changed."""
        self._prepared_for = None

    def _fail(self, code: int, checkout: _Checkout, outputs: list[np.ndarray]) -> None:
        self._free.append(checkout)
        if code > 0:
            output = self.program.guards[code - 1][0]
            raise GuardFailed(code - 1, outputs[self._order.index(output)].item())
        if code == _DIVISION_ERROR:
            raise ZeroDivisionError("an integer is divided by zero")
        number, position, size, axis = checkout.frame.error
        names = self.program.operations
        name = names[number] if 0 <= number < len(names) else "an operation"
        raise IndexError(f"{name}: index {position} is out of bounds for axis {axis} with size {size}")


def _outputs(plan: Plan) -> list[tuple[int, Buffer]]:
    return [(n, b) for n, b in enumerate(plan.buffers) if b.kind is BufferKind.OUTPUT]


def _fixed_memory(plan: Plan) -> tuple[dict[int, int], list[Any]]:
    """Addresses of constants and of memory for prepared buffers, and what must stay alive for them."""
    addresses: dict[int, int] = {}
    keep: list[Any] = []
    for number, buffer in enumerate(plan.buffers):
        if buffer.kind is BufferKind.CONSTANT:
            assert buffer.data is not None
            memory = aligned_bytes(buffer.data.nbytes)
            memory[: buffer.data.nbytes] = np.frombuffer(np.ascontiguousarray(buffer.data).tobytes(), np.uint8)
        elif buffer.kind is BufferKind.PREPARED:
            memory = aligned_bytes(int(evaluate(buffer.shape[0], {})) * buffer.dtype.itemsize)
        else:
            continue
        addresses[number] = address_of(memory)
        keep.append(memory)
    return addresses, keep


def aligned_bytes(size: int) -> np.ndarray:
    """Uninitialized bytes that start at a multiple of ALIGNMENT."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return raw[start : start + size]
