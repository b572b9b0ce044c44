"""Call-outs: operations that a program's native code has no code for are run by their NumPy kernels.

Native code calls `jc_call_out(call, number)` in the middle of `jc_run`. There is one such function a process; it finds
the `Frame` that the `jc_call` belongs to, sees the plan's buffers as arrays, runs the kernel and copies its result to
where native code reads it. A kernel that raises leaves zeros there and an error code: the program goes on to its
guards, and ends with the error where they hold.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from jitcore_ir import Graph, Operation, TensorType
from jitcore_ir.custom_call import called_name, read_arguments, read_results, tensors_of
from jitcore_ir.shapes import evaluate

from .arena import Frame
from .custom import failed, native_cell
from .errors import NativeError, OperationFailed
from .kernels import KERNELS
from .plan import BufferKind, Plan

FAILED = -3
"""What the first of the error fields of a `jc_call` holds after a kernel raised. After a native function of a custom
operation failed, the second holds the call-out's number and the third what the function returned."""

CALL_OUT_ERROR = -3
"""What `jc_run` returns then."""

_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)


@dataclass(frozen=True, slots=True)
class _Step:
    """One call-out: the operation, and the table positions and types of its operands and result."""

    operation: Operation
    operands: tuple[tuple[int, TensorType], ...]
    result: tuple[int, TensorType]


class CallOuts:
    """The call-outs of one program."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self._symbols = plan.symbols
        operations = list(graph.walk())
        self._steps = []
        for call in plan.call_outs:
            operation = operations[call.operation]
            if operation.spec not in KERNELS:
                raise NativeError(f"{operation.spec.name} at {operation.location} has no NumPy kernel to call out to")
            types: list[Any] = [v.type for v in operation.operands]
            operands = tuple(zip(call.operands, types, strict=True))
            result: Any = (call.result, operation.result.type)
            self._steps.append(_Step(operation, operands, result))

    def cells(self, plan: Plan) -> dict[int, Any]:
        """Table position -> the memory that holds the address of a custom operation's native function, or 0."""
        found = {}
        for position, buffer in enumerate(plan.buffers):
            if buffer.kind is BufferKind.FUNCTION:
                operation = self._steps[buffer.index].operation
                given = operation.attributes
                operands: list[Any] = tensors_of(
                    read_arguments(given["arguments"]), [v.type for v in operation.operands]
                )
                results = read_results(given["dtypes"], given["ranks"], given["dims"])
                found[position] = native_cell(given["name"], given["version"], operands, results)
        return found

    def failure(self, number: int, status: int) -> OperationFailed:
        """The error for a native function that call-out `number` stands for and that returned `status`."""
        operation = self._steps[number].operation
        name = operation.attributes["name"]
        return OperationFailed(name, str(operation.location), failed(name, status))

    def run(self, frame: Frame, number: int) -> None:
        """Run call-out `number` on the frame's memory. Never raises: the frame holds the error."""
        step = self._steps[number]
        layout = frame.layout
        assert layout is not None
        symbols = dict(zip(self._symbols, layout.dims))
        position, type = step.result
        result = _array(frame.table[position], type, symbols)
        try:
            operands = [_array(frame.table[p], t, symbols, read_only=True) for p, t in step.operands]
            attributes = {k: concrete(v, symbols) for k, v in step.operation.attributes.items()}
            with np.errstate(all="ignore"):
                value = KERNELS[step.operation.spec](*operands, **attributes)
            if value.shape != result.shape or value.dtype != result.dtype:
                raise RuntimeError(f"gave {value.dtype}{list(value.shape)}, not {result.dtype}{list(result.shape)}")
            np.copyto(result, value)
        except BaseException as error:
            result[...] = np.zeros((), result.dtype)
            if frame.error[0] == -1:
                frame.error[0] = FAILED
                name = called_name(step.operation.spec.name, step.operation.attributes)
                frame.failure = OperationFailed(name, str(step.operation.location), error)


def native_calls(plan: Plan, graph: Graph) -> set[int]:
    """The call-outs, by number, that go straight to a native function at present."""
    cells = CallOuts(plan, graph).cells(plan)
    return {plan.buffers[position].index for position, cell in cells.items() if cell.value}


def concrete(attribute: Any, symbols: Mapping[str, int]) -> Any:
    """An attribute with its dims worked out."""
    if isinstance(attribute, tuple):
        return tuple(evaluate(d, symbols) if hasattr(d, "terms") else d for d in attribute)
    return evaluate(attribute, symbols) if hasattr(attribute, "terms") else attribute


def _array(address: int | None, type: TensorType, symbols: Mapping[str, int], read_only: bool = False) -> np.ndarray:
    shape = tuple(evaluate(d, symbols) for d in type.shape)
    dtype = type.dtype.numpy
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(address or 0)
    array = np.ndarray(shape, dtype, memory)
    if read_only:
        array.flags.writeable = False
    return array


_frames: weakref.WeakValueDictionary[int, Frame] = weakref.WeakValueDictionary()


def register(frame: Frame, call_outs: CallOuts) -> None:
    """Let native code that is given this frame's `jc_call` call out."""
    frame.call_outs = call_outs
    _frames[frame.pointer] = frame


def _call_out(call: int, number: int) -> None:
    frame = _frames[call]
    frame.call_outs.run(frame, number)


@cache
def _function() -> Any:
    return _FUNCTION(_call_out)


def call_out_address() -> int:
    """The address of `void jc_call_out(jc_call *call, int64_t number)`."""
    return ctypes.cast(_function(), ctypes.c_void_p).value or 0
