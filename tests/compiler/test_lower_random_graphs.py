"""Random graphs, lowered and run one element at a time or as machine code, equal the NumPy kernels exactly."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_graphs import COMPLEX_STEPS, EXACT_STEPS, drawn_settings, programs

from jitcore.compiler import compile_graph
from jitcore.compiler.loops.interpret import run_kernel, run_module
from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir.shapes import evaluate
from jitcore_runtime.executor import Executor

pytestmark = pytest.mark.usefixtures("fixed_order")


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.data())
def test_random_graph_equals_numpy(program, data):
    p, expected = program
    note(f"{p.graph}{p.symbols}")
    with drawn_settings(data):
        lowered = lower_graph(p.graph)
    for got, want in zip(run_module(lowered, p.inputs, p.symbols), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    check_in_place(lowered, p.symbols)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(COMPLEX_STEPS), st.data())
def test_random_graph_of_complex_numbers_equals_numpy(program, data):
    p, expected = program
    note(f"{p.graph}{p.symbols}")
    with drawn_settings(data):
        lowered = lower_graph(p.graph)
    for got, want in zip(run_module(lowered, p.inputs, p.symbols), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    check_in_place(lowered, p.symbols)


def check_in_place(module, symbols):
    """Each pair of buffers said to be safe as one memory gives the same result when it is."""
    for call in module.kernels:
        for written, read in call.in_place:
            generator = np.random.default_rng(0)
            memory = []
            for buffer in module.buffers:
                shape = tuple(evaluate(d, symbols) for d in buffer.shape)
                memory.append(generator.integers(0, 2, math.prod(shape)).astype(buffer.dtype.numpy))
            memory[call.arguments[written]] = memory[call.arguments[read]].copy()  # a kernel may write a part only
            apart, together = [m.copy() for m in memory], [m.copy() for m in memory]
            together[call.arguments[written]] = together[call.arguments[read]]
            try:
                run_kernel(call, apart, symbols)
            except (IndexError, AssertionError):
                continue
            run_kernel(call, together, symbols)
            np.testing.assert_array_equal(together[call.arguments[written]], apart[call.arguments[written]])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.data())
def test_random_graph_as_machine_code_equals_numpy(program, data):
    p, expected = program
    note(f"{p.graph}{p.symbols}")
    with drawn_settings(data):
        executor = Executor(compile_graph(p.graph, cache=False), native=True)
    for got, want in zip(executor.run(p.inputs), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(COMPLEX_STEPS), st.data())
def test_random_graph_of_complex_numbers_as_machine_code_equals_numpy(program, data):
    p, expected = program
    note(f"{p.graph}{p.symbols}")
    with drawn_settings(data):
        executor = Executor(compile_graph(p.graph, cache=False), native=True)
    for got, want in zip(executor.run(p.inputs), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(EXACT_STEPS, exact=True), st.data())
def test_random_graph_compiled_exactly_has_the_kernels_bits(program, data):
    p, expected = program
    note(f"{p.graph}{p.symbols}")
    with drawn_settings(data):
        compiled = compile_graph(p.graph, cache=False, exact=True)
    for native in (True, False):
        for got, want in zip(Executor(compiled, native=native).run(p.inputs), expected, strict=True):
            np.testing.assert_array_equal(_bits(got), _bits(want))


def _bits(array):
    """Elements as integers, with one NaN."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind == "c":
        array = array.view(array.real.dtype)
    if array.dtype.kind != "f":
        return array
    whole = array.view(f"u{array.itemsize}").copy()
    whole[np.isnan(array)] = 0
    return whole
