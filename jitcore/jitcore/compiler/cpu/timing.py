"""Reading the clock after kernels, in the calls that are timed; `jitcore_runtime.timers` says where the times go.

What this costs other calls is a test and a branch for each kernel, 0.5 ns (measured: 15 ns of the 4240 that a program
of 30 small kernels takes). A second driver for timed calls would make that nothing, but LLVM inlines a kernel of any
size only where it is called from one place.
"""

from __future__ import annotations

from llvmlite import ir

from jitcore_runtime.timers import CALLS, COUNTDOWN, DENSE, FIRST_PAIR, INTERVAL, LATEST, READING

from .scalars import I32, I64, PTR, declare

_MONOTONIC = 1
"""CLOCK_MONOTONIC of Linux."""


def begin_call(b: ir.IRBuilder, timers: ir.Value) -> ir.Value:
    """Count a call; gives `timers`, or null where the call is not timed, as where `timers` itself is null."""
    before = b.block
    given, due, after = (b.append_basic_block(name) for name in ("timers", "timed", "begin"))
    b.cbranch(b.icmp_unsigned("==", timers, PTR(None)), after, given)
    b.position_at_end(given)
    left = b.load(_place(b, timers, COUNTDOWN), typ=I64)
    b.store(b.sub(left, I64(1)), _place(b, timers, COUNTDOWN))
    b.cbranch(b.icmp_signed(">", left, I64(0)), after, due).set_weights([INTERVAL, 1])
    b.position_at_end(due)
    b.call(_start(b.module), [timers])
    b.branch(after)
    b.position_at_end(after)
    timed = b.phi(PTR)
    for value, source in ((PTR(None), before), (PTR(None), given), (timers, due)):
        timed.add_incoming(value, source)
    return timed


def charge(b: ir.IRBuilder, timed: ir.Value, pair: int) -> None:
    """Add the time since the last reading to `pair`, where the call is timed."""
    with b.if_then(b.icmp_unsigned("!=", timed, PTR(None)), likely=False):
        b.call(_charge(b.module), [timed, I64(pair)])


def _start(module: ir.Module) -> ir.Function:
    """`void timers.start(ptr timers)`: a timed call begins."""
    function, b = _cold(module, "timers.start", [PTR])
    timers = function.args[0]
    calls = b.add(b.load(_place(b, timers, CALLS), typ=I64), I64(1))
    b.store(calls, _place(b, timers, CALLS))
    wait = b.select(b.icmp_signed("<", calls, I64(DENSE)), I64(0), I64(INTERVAL - 1))
    b.store(wait, _place(b, timers, COUNTDOWN))
    first, second = _now(b), _now(b)
    least, taken = b.load(_place(b, timers, READING), typ=I64), b.sub(second, first)
    b.store(b.select(b.icmp_signed("<", taken, least), taken, least), _place(b, timers, READING))
    b.store(second, _place(b, timers, LATEST))
    b.ret_void()
    return function


def _charge(module: ir.Module) -> ir.Function:
    """`void timers.charge(ptr timers, i64 pair)`"""
    name = "timers.charge"
    if name in module.globals:
        return module.globals[name]
    function, b = _cold(module, name, [PTR, I64])
    timers, pair = function.args
    now = _now(b)
    taken = b.sub(now, b.load(_place(b, timers, LATEST), typ=I64))
    b.store(now, _place(b, timers, LATEST))
    spent = b.gep(_place(b, timers, FIRST_PAIR), [b.mul(pair, I64(2))], source_etype=I64)
    for place, more in ((spent, taken), (_place(b, spent, 1), I64(1))):
        b.store(b.add(b.load(place, typ=I64), more), place)
    b.ret_void()
    return function


def _cold(module: ir.Module, name: str, arguments: list[ir.Type]) -> tuple[ir.Function, ir.IRBuilder]:
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("cold")
    function.attributes.add("noinline")
    function.attributes.add("optnone")  # which takes half of the 8 ms of LLVM's that the two functions cost
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _place(b: ir.IRBuilder, base: ir.Value, number: int) -> ir.Value:
    return b.gep(base, [I64(number)], source_etype=I64)


def _now(b: ir.IRBuilder) -> ir.Value:
    """Nanoseconds of the monotonic clock. On every machine that images are made for, a timespec is two int64."""
    with b.goto_entry_block():
        time = b.alloca(I64, size=I64(2))
    b.call(declare(b.module, "clock_gettime", I32, [I32, PTR]), [I32(_MONOTONIC), time])
    return b.add(b.mul(b.load(time, typ=I64), I64(1_000_000_000)), b.load(_place(b, time, 1), typ=I64))
