"""Runs a `LoopModule` in Python, one element at a time: what a lowered graph means, for tests and for debugging.

It is strict where machine code is not: every index is checked against the buffer's shape, memory that nobody wrote is
poisoned, scratch is fresh in every row, and parallel loops run backwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jitcore_ir import Block, Graph, Operation, Value, ops
from jitcore_ir.dtypes import DType
from jitcore_ir.ops import ACCUMULATOR, PART
from jitcore_ir.shapes import evaluate
from jitcore_runtime.call_out import concrete
from jitcore_runtime.kernels import KERNELS
from jitcore_runtime.plan import BufferKind

from .module import KernelCall, LoopModule
from .ops import ALLOC, CALL_OUT, CHECK_INDEX, CONVOLUTION, FOR, GEMM, IF, LOAD, STORE
from .steps import Branch, Loop, Place, Run, Step

Symbols = Mapping[str, int]
_SPECS = {"forward": ops.CONV, "input": ops.CONV_TRANSPOSE, "weight": ops.CONV_WEIGHT_GRADIENT}


def run_module(module: LoopModule, arrays: Sequence[np.ndarray], symbols: Symbols) -> list[np.ndarray]:
    """The outputs of a module for these inputs. Raises IndexError for a position out of range in the user's data and
    AssertionError for an access that the lowering must not make."""
    memory: list[np.ndarray] = []  # of complex numbers, their parts
    for buffer in module.buffers:
        shape = tuple(evaluate(d, symbols) for d in buffer.shape)
        if buffer.kind is BufferKind.INPUT:
            array = np.array(arrays[buffer.index]).reshape(-1)
            memory.append(array.view(_part(buffer.dtype)) if array.dtype.kind == "c" else array)
        elif buffer.data is not None:
            memory.append(np.array(buffer.data).reshape(-1))
        elif buffer.preparation is not None:
            memory.append(memory[buffer.preparation.source])
        else:
            memory.append(poison(buffer.dtype, int(np.prod(shape))).view(_part(buffer.dtype)))
    _run_steps(module.steps, module, memory, dict(symbols))
    outputs = [(b, m) for b, m in zip(module.buffers, memory, strict=True) if b.kind is BufferKind.OUTPUT]
    return [m.view(b.dtype.numpy).reshape(tuple(evaluate(d, symbols) for d in b.shape)) for b, m in outputs]


def _run_steps(steps: Sequence[Step], module: LoopModule, memory: list[np.ndarray], symbols: dict[str, int]) -> None:
    for step in steps:
        if isinstance(step, Run):
            call = module.kernels[step.kernel]
            run_kernel(call, memory, symbols, module.operations, module.call_outs)
        elif isinstance(step, Branch):
            taken = step.then if _at(step.predicate, module, memory, symbols)[0] else step.otherwise
            _run_steps(taken, module, memory, symbols)
        else:
            _run_loop(step, module, memory, symbols)


def _run_loop(loop: Loop, module: LoopModule, memory: list[np.ndarray], symbols: dict[str, int]) -> None:
    """Carried values move to fresh memory at each turn, poisoned until it is written."""
    for carry in loop.carries:
        memory[carry.current][...] = _at(carry.initial, module, memory, symbols)[: memory[carry.current].size]
    count = evaluate(loop.length, symbols)
    turn = 0
    while True:
        if loop.test is None:
            if turn == count:
                break
            symbols[loop.index] = count - 1 - turn if loop.reverse else turn
        else:
            _run_steps(loop.condition, module, memory, symbols)
            if not memory[loop.test][0]:
                break
        _run_steps(loop.body, module, memory, symbols)
        for carry in loop.carries:
            memory[carry.current] = memory[carry.following]
            buffer = module.buffers[carry.following]
            fresh = poison(buffer.dtype, int(np.prod([evaluate(d, symbols) for d in buffer.shape])))
            memory[carry.following] = fresh.view(_part(buffer.dtype))
        turn += 1
    for carry in loop.carries:
        _at(carry.result, module, memory, symbols)[: memory[carry.current].size] = memory[carry.current]


def _at(place: Place, module: LoopModule, memory: Sequence[np.ndarray], symbols: Symbols) -> np.ndarray:
    """Flat memory from a place on."""
    buffer, offset = place
    parts = 2 if module.buffers[buffer].dtype.is_complex else 1
    return memory[buffer][parts * evaluate(offset, symbols) :]


def _part(dtype: DType) -> np.dtype:
    """How kernels see the memory of a buffer."""
    return PART.get(dtype, dtype).numpy


def run_kernel(
    call: KernelCall,
    memory: Sequence[np.ndarray],
    symbols: Symbols,
    operations: Sequence[str] = (),
    call_outs: Mapping[int, Operation] = {},
) -> None:
    """Run one call over flat `memory`, one array per buffer of the module."""
    inputs = []
    for value, buffer, offset in zip(call.kernel.inputs, call.arguments, call.offsets, strict=True):
        shape = tuple(evaluate(d, symbols) for d in value.type.shape)
        inputs.append(_View(memory[buffer][evaluate(offset, symbols) :], shape))
    _Run(symbols, operations, call_outs).kernel(call.kernel, inputs)


def poison(dtype: DType, count: int) -> np.ndarray:
    """Memory that nobody has written: wrong in every element."""
    fill = {"bool": True, "float": np.nan, "complex": np.nan}.get(dtype.kind, 113)
    return np.full(count, fill, dtype.numpy)


class _View:
    """Flat memory seen in a shape, with every access checked."""

    def __init__(self, flat: np.ndarray, shape: tuple[int, ...]) -> None:
        self.flat = flat
        self.shape = shape

    def offset(self, indices: Sequence[int]) -> int:
        place = 0
        for index, dim in zip(indices, self.shape, strict=True):
            assert 0 <= index < dim, f"index {tuple(indices)} outside {self.shape}"
            place = place * dim + int(index)
        assert place < self.flat.size, f"index {tuple(indices)} of {self.shape} outside {self.flat.size} elements"
        return place

    def array(self) -> np.ndarray:
        return self.flat[: int(np.prod(self.shape))].reshape(self.shape)


class _Run:
    def __init__(self, symbols: Symbols, operations: Sequence[str], call_outs: Mapping[int, Operation]) -> None:
        self.symbols = symbols
        self.operations = operations
        self.call_outs = call_outs
        self.values: dict[Value, Any] = {}

    def kernel(self, graph: Graph, inputs: Sequence[_View]) -> None:
        self.block(graph.block, inputs)

    def block(self, block: Block, arguments: Sequence[Any]) -> list[Any]:
        self.values.update(zip(block.arguments, arguments, strict=True))
        for operation in block.operations:
            operands = [self.values[v] for v in operation.operands]
            if operation.spec in (ops.RETURN, ops.YIELD):
                return operands
            results = self.operation(operation, operands)
            self.values.update(zip(operation.results, results, strict=True))
        return []

    def operation(self, operation: Operation, operands: list[Any]) -> Sequence[Any]:
        special = _SPECIAL.get(operation.spec)
        if special is not None:
            return special(self, operation, operands) or ()
        if operation.spec is ops.SIZE:
            return [np.asarray(evaluate(operation.attributes["dim"], self.symbols), np.int64)]
        with np.errstate(all="ignore"):
            return [KERNELS[operation.spec](*operands, **operation.attributes)]

    def loop(self, operation: Operation, operands: list[Any]) -> list[Any]:
        count, *carried = operands
        indices = range(int(count))
        parallel = operation.attributes["kind"] == "parallel"
        for index in reversed(indices) if parallel else indices:
            carried = self.block(operation.regions[0].block, [np.asarray(index, np.int64), *carried])
        return carried

    def branch(self, operation: Operation, operands: list[Any]) -> list[Any]:
        condition, *otherwise = operands
        return self.block(operation.regions[0].block, []) if condition else otherwise

    def load(self, operation: Operation, operands: list[Any]) -> list[Any]:
        view, *indices = operands
        return [np.asarray(view.flat[view.offset(indices)])]

    def store(self, operation: Operation, operands: list[Any]) -> None:
        value, view, *indices = operands
        view.flat[view.offset(indices)] = value

    def alloc(self, operation: Operation, operands: list[Any]) -> list[Any]:
        shape = tuple(evaluate(d, self.symbols) for d in operation.attributes["shape"])
        return [_View(poison(operation.attributes["dtype"], int(np.prod(shape))), shape)]

    def check(self, operation: Operation, operands: list[Any]) -> list[Any]:
        index, size = (int(o) for o in operands)
        if not 0 <= index < size:
            number = operation.attributes["operation"]
            name = self.operations[number] if number < len(self.operations) else str(number)
            raise IndexError(f"{name}: position {index} is outside axis {operation.attributes['axis']} of size {size}")
        return [np.asarray(index, np.int64)]

    def gemm(self, operation: Operation, operands: list[Any]) -> None:
        x, y = operands
        left = x.array().transpose(operation.attributes["x_permutation"])
        right = y.array().transpose(operation.attributes["y_permutation"])
        wide = ACCUMULATOR[operation.operands[0].type.dtype].numpy
        self.epilogue(operation, np.matmul(left.astype(wide), right.astype(wide)))

    def convolution(self, operation: Operation, operands: list[Any]) -> None:
        x, y = (o.array() for o in operands)
        given = {k: operation.attributes[k] for k in ("stride", "padding", "dilation", "groups")}
        spatial = tuple(evaluate(d, self.symbols) for d in operation.attributes["spatial"])
        direction = operation.attributes["direction"]
        if direction != "forward":
            given["spatial" if direction == "input" else "kernel"] = spatial
        wide = ACCUMULATOR[operation.operands[0].type.dtype].numpy
        self.epilogue(operation, KERNELS[_SPECS[direction]](x.astype(wide), y.astype(wide), **given))

    def call_out(self, operation: Operation, operands: list[Any]) -> None:
        called = self.call_outs[operation.attributes["operation"]]
        attributes = {k: concrete(v, self.symbols) for k, v in called.attributes.items()}
        *given, result = operands
        shapes = [tuple(evaluate(d, self.symbols) for d in v.type.shape) for v in called.operands]
        dtypes = [v.type.dtype.numpy for v in called.operands]
        arrays = [
            view.array().reshape(-1).view(dtype).reshape(shape)
            for view, dtype, shape in zip(given, dtypes, shapes, strict=True)
        ]
        made = np.ascontiguousarray(KERNELS[called.spec](*arrays, **attributes))
        result.array().reshape(-1)[...] = made.reshape(-1).view(result.flat.dtype)

    def epilogue(self, operation: Operation, result: np.ndarray) -> None:
        for place in itertools.product(*map(range, result.shape)):
            self.block(operation.regions[0].block, [result[place], *(np.asarray(i, np.int64) for i in place)])


_SPECIAL = {
    FOR: _Run.loop,
    IF: _Run.branch,
    LOAD: _Run.load,
    STORE: _Run.store,
    ALLOC: _Run.alloc,
    CHECK_INDEX: _Run.check,
    GEMM: _Run.gemm,
    CONVOLUTION: _Run.convolution,
    CALL_OUT: _Run.call_out,
}
