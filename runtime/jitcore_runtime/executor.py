"""`Executor`: runs a `Program`, natively or by interpreting its graph, with the same meaning.

Either way a run has three ends: results, with updates committed to the inputs' memory; `GuardFailed`; or IndexError,
ZeroDivisionError or OperationFailed. In the last two nothing has been changed. A guard that does not hold comes before
an error: what the recording did not see is not the caller's mistake. Several threads may run one executor at once: each
call checks out a `Frame` of its own.
"""

from __future__ import annotations

import ctypes
import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import empty, ndarray

from jitcore_ir import ops
from jitcore_ir.shapes import evaluate, is_static

from .arena import Frame, Layout, address_of, empty_aligned
from .call_out import CALL_OUT_ERROR, CallOuts, register
from .errors import DivisionError, GuardFailed, InputError, NativeError, OperationFailed, PositionError
from .interpreter import Interpreter
from .kernels.floating import fix_order
from .plan import BufferKind, Plan
from .program import Program
from .signature import Signature
from .timers import Timings, new_timers

_SMALL = 1 << 16
"""A program that touches fewer bytes than this runs with the GIL held: giving it up and taking it back costs 0.1 us
alone, and a thread switch where other threads are running."""
_PLAIN, _WRITEABLE = 0x101, 0x400
"""Bits of `ndarray.flags.num` (numpy/ndarraytypes.h): row-major and aligned; may be written to."""
_LARGE = 1 << 14
"""Results below this many bytes are plain `np.empty` (0.2 us, aligned to 16); larger ones pay 0.7 us to be aligned."""
_LAYOUTS = 64
"""Shapes remembered per program before forgetting them all."""


_Output = tuple[int, tuple[int, ...], np.dtype, bool]  # position in the pointer table, shape, dtype, is it large
_LaidOut = tuple[Layout, list[_Output]]


class Executor:
    """Runs `program`; `native` says whether by its machine code. Raises NativeError where that cannot be run here.

    `release_gil`: whether other Python threads may run meanwhile; by default where the program is not tiny.
    """

    def __init__(self, program: Program, native: bool = True, release_gil: bool | None = None) -> None:
        self.program = program
        if program.exact:
            fix_order()
        self.signature = Signature.of(program.graph)
        self._run: _Interpreted | _Native
        self._run = _Native(program, self.signature, release_gil) if native else _Interpreted(program)
        self._static = not self.signature.symbols
        self._written = tuple(dict.fromkeys(input for _, input in program.updates))
        self._expected = [
            (
                tuple(spec.shape) if is_static(spec.shape) else None,
                spec.dtype.numpy,
                _PLAIN | _WRITEABLE if n in self._written else _PLAIN,
            )
            for n, spec in enumerate(self.signature.inputs)
        ]
        self.is_native = native
        self._is_plain = native and not (program.plan and program.plan.prepared_from)
        self._bound: dict[tuple[tuple[int, ...], ...], _LaidOut] = {}

    def run(self, arrays: Sequence[ndarray]) -> list[ndarray]:
        """The results (graph outputs that are neither updates nor guards), in fresh memory.

        Raises InputError for arrays that do not fit the signature or may not be written to, GuardFailed, IndexError
        and ZeroDivisionError.
        """
        shapes: list[tuple[int, ...]] = []  # of the inputs whose shape is open
        if self._is_plain and len(arrays) == len(self._expected):
            addresses = []
            for array, (shape, dtype, flags) in zip(arrays, self._expected):  # 0.4 us an input
                if type(array) is not ndarray or array.dtype != dtype or array.flags.num & flags != flags:
                    break
                if shape is None:
                    shapes.append(array.shape)
                elif array.shape != shape:
                    break
                addresses.append(address_of(array))
            else:
                if self._static:
                    return self._run.call(addresses)  # type: ignore[union-attr]
                laid_out = self._bound.get(tuple(shapes)) or self._laid_out(arrays, shapes)
                return self._run.call(addresses, laid_out)  # type: ignore[union-attr]
        symbols = self.signature.bind(arrays)
        for number in self._written:
            if not arrays[number].flags.writeable:
                raise InputError(
                    f"input {self.signature.inputs[number].name!r} is updated by {self.program.name} but its memory is "
                    "read-only; pass a copy"
                )
        return self._run.run(arrays, symbols)

    def _laid_out(self, arrays: Sequence[ndarray], shapes: list[tuple[int, ...]]) -> _LaidOut:
        """Sizes of the memory for inputs of these shapes, remembered."""
        found = self._run._laid_out(self.signature.bind(arrays))  # type: ignore[union-attr]
        if len(self._bound) >= _LAYOUTS:
            self._bound.clear()
        self._bound[tuple(shapes)] = found
        return found

    def bind(self, arrays: Sequence[ndarray]) -> Callable[[list[int]], list[ndarray]] | None:
        """`run` for inputs with the shapes, dtypes, strides and flags of `arrays`, unchecked: takes their addresses.
        The caller keeps the memory alive and vouches for it. None where more is needed than addresses: the program is
        interpreted, prepares some inputs, or copies these. Raises InputError for arrays that do not fit."""
        symbols = self.signature.bind(arrays)
        if not (self._is_plain and isinstance(self._run, _Native)):
            return None
        if any(type(a) is not ndarray or a.flags.num & e[-1] != e[-1] for a, e in zip(arrays, self._expected)):
            return None
        return functools.partial(self._run.call, laid_out=self._run._laid_out(symbols))

    def invalidate_prepared(self) -> None:
        """Say that the constant inputs changed: what was prepared from them (packed weights) is computed anew."""
        if isinstance(self._run, _Native):
            self._run.invalidate_prepared()

    def timings(self) -> Timings | None:
        """What calls of native code with timers measured so far; None where nothing is measured."""
        return self._run.timings() if isinstance(self._run, _Native) and self.program.kernels else None


class _Interpreted:
    """A program run by the NumPy kernels."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._interpreter = Interpreter(program.graph)

    def run(self, arrays: Sequence[ndarray], symbols: dict[str, int]) -> list[ndarray]:
        program = self._program
        try:
            outputs = self._interpreter.run(arrays, symbols)
        except (IndexError, ZeroDivisionError, OperationFailed):
            self._check_guards_alone(arrays, symbols)
            raise
        for number, (output, expected) in enumerate(program.guards):
            _check_guard(number, expected, outputs[output])
        for output, input in program.updates:  # outputs share no memory with inputs, so their order does not matter
            np.copyto(arrays[input], outputs[output])
        return [outputs[n] for n in program.results]

    def _check_guards_alone(self, arrays: Sequence[ndarray], symbols: dict[str, int]) -> None:
        """Raise GuardFailed where a guard that can be computed does not hold."""
        graph = self._program.graph
        for number, (output, expected) in enumerate(self._program.guards):
            try:
                (value,) = Interpreter(graph, [graph.outputs[output]]).run(arrays, symbols)
            except (IndexError, ZeroDivisionError, OperationFailed):
                return
            _check_guard(number, expected, value)


def _check_guard(number: int, expected: Any, value: ndarray) -> None:
    observed = value.item()
    if observed != expected:
        raise GuardFailed(number, observed)


class _Native:
    """A program run by its machine code: one foreign call a run."""

    def __init__(self, program: Program, signature: Signature, release_gil: bool | None) -> None:
        if program.plan is None or program.image is None:
            raise NativeError(f"{program.name} has no native code; run it interpreted")
        from .native import load_image

        self._program = program
        self._plan = plan = program.plan
        self._loaded = load_image(program.image)  # held: the code is unmapped when this goes
        self._results = _result_places(program, plan)
        self._inputs = [(n, b.index) for n, b in enumerate(plan.buffers) if b.kind is BufferKind.INPUT]
        count = len(signature.inputs)
        # The compiler lays the table out as inputs first, in order; then they are stored all at once.
        self._head = count if self._inputs[:count] == [(n, n) for n in range(count)] else 0
        self._tail = self._inputs[self._head :]
        self._written = frozenset(input for _, input in program.updates)
        self._guards = _guard_places(program, plan)
        self._fixed: dict[int, int] = {}
        self._keep: list[ndarray] = []
        self._call_outs = CallOuts(plan, program.graph) if plan.call_outs else None
        self._place_constants()
        self._place_functions()
        self._free: list[Frame] = []
        self._timers: list[Any] = []  # of all frames
        self._layouts: dict[tuple[int, ...], _LaidOut] = {}
        self._is_static = not signature.symbols
        if self._is_static:
            self._fixed_layout = self._laid_out({})
            shapes = self._fixed_layout[0].shapes
            held = sum(math.prod(shape) * b.dtype.itemsize for shape, b in zip(shapes, plan.buffers))
            loops = any(o.spec in (ops.WHILE, ops.SCAN) for o in program.graph.walk())
            keep_gil = held < _SMALL and not loops  # who knows how many turns
        else:
            keep_gil = False
        keep_gil = keep_gil if release_gil is None else not release_gil
        self._function = self._foreign("jc_run", ctypes.c_int64, keep_gil)
        self._prepare = self._foreign("jc_prepare", None, False)
        self._lock = threading.Lock()
        self._prepared: _Prepared | None = None

    def run(self, arrays: Sequence[ndarray], symbols: dict[str, int]) -> list[ndarray]:
        """Arrays of any memory layout: the code reads row-major, aligned memory, so others are copied, and copied back
        where they are updated."""
        addresses = []
        copies: dict[int, ndarray] = {}
        for number, array in enumerate(arrays):
            flags = array.flags
            if not (flags.c_contiguous and flags.aligned):
                array = copies[number] = np.array(array, order="C")
            addresses.append(address_of(array))
        sources = [copies.get(n, arrays[n]) for n in self._plan.prepared_from]
        results = self.call(addresses, self._laid_out(symbols), sources)
        for number in copies.keys() & self._written:
            np.copyto(arrays[number], copies[number])
        return results

    # Of a call with 2 inputs and 1 small result, 1.2 us on a quiet core: checking the frame out and in 0.1, the inputs'
    # addresses 0.1, the result's memory and address 0.5, the foreign call 0.25; the rest is Python's own.
    def call(
        self, addresses: Sequence[int], laid_out: _LaidOut | None = None, sources: Sequence[ndarray] = ()
    ) -> list[ndarray]:
        """Run on row-major inputs at these addresses; `laid_out` where the program has symbols, `sources` the inputs
        named by Plan.prepared_from, for `_Prepared` to hold."""
        layout, outputs = laid_out or self._fixed_layout
        try:
            frame = self._free.pop()  # one operation under the GIL, so no lock is needed
        except IndexError:
            frame = self._new_frame(layout)
        if frame.layout is not layout:
            frame.use(layout)
        table = frame.table
        table[: self._head] = addresses if self._head else ()  # type: ignore[call-overload]
        for position, index in self._tail:
            table[position] = addresses[index]
        results = []
        for position, shape, dtype, is_large in outputs:
            result = empty_aligned(shape, dtype) if is_large else empty(shape, dtype)
            table[position] = address_of(result)
            results.append(result)
        if self._prepare is not None:
            prepared = self._prepared_for(frame, addresses, sources)
            if frame.prepared is not prepared:
                prepared.enter(frame)
        status = self._function(frame.pointer)  # type: ignore[misc]
        if status:
            self._fail(status, frame)
        self._free.append(frame)
        return results

    def _new_frame(self, layout: Layout) -> Frame:
        timers = new_timers(len(self._program.kernels)) if self._program.kernels else None
        frame = Frame(self._plan, layout, self._fixed, self._guards, timers)
        if timers is not None:
            self._timers.append(timers)
        if self._call_outs is not None:
            register(frame, self._call_outs)
        return frame

    def timings(self) -> Timings:
        return Timings.of(self._timers, len(self._program.kernels))

    def invalidate_prepared(self) -> None:
        self._prepared = None

    def _laid_out(self, symbols: dict[str, int]) -> _LaidOut:
        key = tuple(symbols.values())
        found = self._layouts.get(key)
        if found is None:
            layout = Layout.of(self._plan, symbols)
            outputs = []
            for position in self._results:
                shape, dtype = layout.shapes[position], self._plan.buffers[position].dtype
                outputs.append((position, shape, dtype.numpy, math.prod(shape) * dtype.itemsize >= _LARGE))
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            found = self._layouts[key] = (layout, outputs)
        return found

    def _place_constants(self) -> None:
        for position, buffer in enumerate(self._plan.buffers):
            if buffer.kind is BufferKind.CONSTANT:
                assert buffer.data is not None
                data = buffer.data
                if not (data.flags.c_contiguous and data.flags.aligned):
                    data = np.array(data, order="C")
                self._keep.append(data)
                self._fixed[position] = address_of(data)

    def _place_functions(self) -> None:
        if self._call_outs is not None:
            self._cells = self._call_outs.cells(self._plan)
            self._fixed.update((position, ctypes.addressof(cell)) for position, cell in self._cells.items())

    def _foreign(self, name: str, result: Any, keep_gil: bool) -> Callable[[int], int] | None:
        address = self._loaded.address(name)
        if not address:
            if name == "jc_run":
                raise NativeError(f"the code of {self._program.name} does not export jc_run")
            return None
        kind = ctypes.PYFUNCTYPE if keep_gil else ctypes.CFUNCTYPE
        return kind(result, ctypes.c_void_p)(address)

    def _prepared_for(self, frame: Frame, addresses: Sequence[int], sources: Sequence[ndarray]) -> _Prepared:
        """What was prepared from the inputs at these addresses, computed by jc_prepare where there is no such thing.

        Each computation gets memory of its own: another thread may be running on what was prepared before.
        """
        origin = tuple([addresses[n] for n in self._plan.prepared_from])
        found = self._prepared
        if found is not None and found.origin == origin:
            return found
        with self._lock:
            found = self._prepared
            if found is None or found.origin != origin:
                found = _Prepared(self._plan, origin, sources)
                found.enter(frame)
                self._prepare(frame.pointer)  # type: ignore[misc]
                self._prepared = found
        return found

    def _fail(self, status: int, frame: Frame) -> None:
        """Raise what the code's status says, after giving the frame back."""
        observed = [value.item() for value in frame.guards]
        number, position, size, axis = frame.error
        failure, frame.failure = frame.failure, None
        self._free.append(frame)
        if failure is not None and not isinstance(failure.__cause__, Exception):
            raise failure.__cause__  # type: ignore[misc]  # KeyboardInterrupt: not the operation's failure
        if status > 0:
            raise GuardFailed(status - 1, observed[status - 1])
        if failure is not None:
            raise failure
        if status == CALL_OUT_ERROR and self._call_outs is not None:
            raise self._call_outs.failure(position, size)
        if status == -2:
            raise DivisionError(f"{self._program.name}: an integer is divided by zero")
        if status != -1:
            raise NativeError(f"the code of {self._program.name} returned {status}, which means nothing here")
        names, operations = self._program.operations, list(self._program.graph.walk())
        name = names[number] if 0 <= number < len(names) else f"operation {number}"
        text = f"{name}: position {position} is out of range for axis {axis} of size {size}"
        if 0 <= number < len(operations) and operations[number].spec.name == name and operations[number].location.line:
            text += f"; at {operations[number].location}"
        raise PositionError(text)


class _Prepared:
    """Memory of the PREPARED buffers, and where the inputs lie that it was computed from. `sources` are these inputs,
    where the caller gave arrays: held, so that no other array comes to lie there."""

    def __init__(self, plan: Plan, origin: tuple[int, ...], sources: Sequence[ndarray]) -> None:
        self.origin = origin
        self._sources = sources
        self._arrays = [
            (position, empty_aligned(tuple(evaluate(d, {}) for d in buffer.shape), buffer.dtype.numpy))
            for position, buffer in enumerate(plan.buffers)
            if buffer.kind is BufferKind.PREPARED
        ]

    def enter(self, frame: Frame) -> None:
        """Point the frame's table here; the frame keeps the memory alive."""
        frame.prepared = self
        for position, array in self._arrays:
            frame.table[position] = address_of(array)


def _output_places(plan: Plan) -> dict[int, int]:
    """Graph output -> position of its buffer in the pointer table."""
    return {b.index: n for n, b in enumerate(plan.buffers) if b.kind is BufferKind.OUTPUT}


def _result_places(program: Program, plan: Plan) -> list[int]:
    places = _output_places(plan)
    missing = [n for n in program.results if n not in places]
    if missing:
        raise NativeError(f"the plan of {program.name} has no buffer for outputs {missing}")
    return [places[n] for n in program.results]


def _guard_places(program: Program, plan: Plan) -> list[tuple[int, np.dtype]]:
    places = _output_places(plan)
    return [(places[output], plan.buffers[places[output]].dtype.numpy) for output, _ in program.guards]
