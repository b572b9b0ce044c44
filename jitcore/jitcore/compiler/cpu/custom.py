"""The call of a custom operation's native function; `jitcore_runtime.custom` says what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from llvmlite import ir

from jitcore_ir import Operation
from jitcore_ir.custom_call import read_arguments, read_results, tensors_of
from jitcore_ir.dtypes import ALL as DTYPES
from jitcore_ir.shapes import Expr, add, mul, product
from jitcore_runtime.call_out import FAILED
from jitcore_runtime.custom import numbers

from .dims import emit_dim
from .scalars import F64, I8, I32, I64, PTR, declare

NATIVE = ir.FunctionType(I64, [PTR] * 7).as_pointer()
"""A native function."""


class Frame(Protocol):
    """What `program._Frame` offers."""

    b: ir.IRBuilder
    error: ir.Value
    symbols: Any

    def context(self, pointers: Sequence[ir.Value]) -> ir.Value: ...
    def sizes(self, dims: Sequence[int | Expr]) -> ir.Value: ...
    def stored(self, kind: ir.Type, values: Sequence[ir.Value]) -> ir.Value: ...


def emit_native_call(
    frame: Frame, function: ir.Value, operation: Operation, buffers: Sequence[ir.Value], number: ir.Value
) -> None:
    """Call `function` for a `custom_call`: `buffers` are its operands and then its result, in which several results of
    one dtype lie side by side. Where it fails, the result is zeros and the error fields say which call it was."""
    b, given = frame.b, operation.attributes
    results = read_results(given["dtypes"], given["ranks"], given["dims"])
    arguments = read_arguments(given["arguments"])
    operands: list[Any] = [v.type for v in operation.operands]
    types: list[Any] = [*tensors_of(arguments, operands), *results]
    data, base = tensors_of(arguments, buffers[:-1]), buffers[-1]
    size: int | Expr = 0
    for type in results:
        data.append(b.gep(base, [emit_dim(b, size, frame.symbols)], source_etype=I8))
        size = add(size, mul(product(type.shape), type.dtype.itemsize))
    shapes = [frame.sizes(type.shape) for type in types]
    integers, reals = numbers(
        arguments,
        lambda k: b.load(buffers[k], typ=I64 if operands[k].dtype.is_integer else F64),
        lambda k: operands[k].dtype.is_integer,
    )
    module = b.module
    counts = [len(types) - len(results), len(results), len(integers), len(reals)]
    passed = [
        _constants(module, I64, counts),
        frame.context(data),
        _constants(module, I64, [DTYPES.index(type.dtype) for type in types]),
        _constants(module, I64, [type.rank for type in types]),
        frame.context(shapes),
        _numbers(frame, I64, integers),
        _numbers(frame, F64, reals),
    ]
    status = b.call(function, passed)
    with b.if_then(b.icmp_signed("!=", status, I64(0)), likely=False):
        clear = declare(module, "memset", PTR, [PTR, I32, I64])
        b.call(clear, [base, I32(0), emit_dim(b, size, frame.symbols)])
        first = b.icmp_signed("==", b.load(frame.error, typ=I64), I64(-1))
        with b.if_then(first):
            for place, value in enumerate((I64(FAILED), number, status)):
                b.store(value, b.gep(frame.error, [I64(place)], source_etype=I64))


def _numbers(frame: Frame, kind: ir.Type, values: Sequence[Any]) -> ir.Value:
    """An array of numbers, of which some are known when the program runs only."""
    if not any(isinstance(v, ir.Value) for v in values):
        return _constants(frame.b.module, kind, values)
    return frame.stored(kind, [v if isinstance(v, ir.Value) else ir.Constant(kind, v) for v in values])


def _constants(module: ir.Module, kind: ir.Type, values: Sequence[Any]) -> ir.Value:
    """An array in the read-only part of the image."""
    if not values:
        return PTR(None)
    made = ir.ArrayType(kind, len(values))
    variable = ir.GlobalVariable(module, made, module.get_unique_name("numbers"))
    variable.global_constant, variable.linkage = True, "internal"
    variable.initializer = ir.Constant(made, [ir.Constant(kind, v) for v in values])
    return variable
