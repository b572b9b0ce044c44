"""Compiled programs: the same bits for any number of threads, in forked children, for several callers at once."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from jitcore.compiler import compile_graph
from jitcore_ir import Graph, TensorType, ops
from jitcore_ir.builder import Builder
from jitcore_ir.dtypes import float32
from jitcore_runtime import threads
from jitcore_runtime.cpu_features import host_targets
from jitcore_runtime.executor import Executor

pytestmark = pytest.mark.skipif(not host_targets(), reason="jitcore has no native code for this machine")


def build(name, shapes, body):
    graph = Graph(name)
    inputs = [graph.block.add_argument(TensorType(float32, shape), f"x{n}") for n, shape in enumerate(shapes)]
    builder = Builder(graph.block)
    builder.create(ops.RETURN, body(builder, *inputs))
    return compile_graph(graph, cache=False)


def everything_summed(b, x, y):
    product = b.value(ops.MUL, x, y)
    return [
        b.value(ops.SUM, product, axes=(0, 1), keepdims=False),
        b.value(ops.SUM, product, axes=(0,), keepdims=False),
    ]


def softmax(b, x):
    top = b.value(ops.AMAX, x, axes=(1,), keepdims=True)
    powers = b.value(ops.EXP, b.value(ops.SUB, x, top))
    return [b.value(ops.DIV, powers, b.value(ops.SUM, powers, axes=(1,), keepdims=True))]


def layers(b, x, w, v):
    hidden = b.value(ops.TANH, b.value(ops.DOT, x, w))
    return [b.value(ops.EXP, b.value(ops.DOT, hidden, v)), b.value(ops.SUM, hidden, axes=(1,), keepdims=False)]


def convolution(b, x, w):
    settings = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    return [b.value(ops.TANH, b.value(ops.CONV, x, w, **settings))]


PROGRAMS = {
    "sums": (((700, 900), (700, 900)), everything_summed),
    "softmax": (((500, 300),), softmax),
    "layers": (((130, 300), (300, 200), (200, 70)), layers),
    "convolution": (((4, 8, 21, 23), (24, 8, 3, 3)), convolution),
}


@pytest.fixture(autouse=True)
def _number_of_threads_is_restored():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request):
    shapes, body = PROGRAMS[request.param]
    random = np.random.default_rng(5)
    arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
    return Executor(build(request.param, shapes, body), native=True), arrays


def test_bits_do_not_depend_on_the_number_of_threads(program):
    executor, arrays = program
    threads.set_num_threads(1)
    expected = [result.tobytes() for result in executor.run(arrays)]
    for number in (2, 3, 4, 1, 4):
        threads.set_num_threads(number)
        for _ in range(5):
            assert [result.tobytes() for result in executor.run(arrays)] == expected, f"{number} threads"


def test_several_python_threads_call_one_program(program):
    executor, arrays = program
    threads.set_num_threads(4)
    expected = [result.tobytes() for result in executor.run(arrays)]
    wrong = []

    def call():
        for _ in range(20):
            if [result.tobytes() for result in executor.run(arrays)] != expected:
                wrong.append(threading.get_ident())

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_programs_dropped_while_others_run(program):
    executor, arrays = program
    threads.set_num_threads(3)
    expected = [result.tobytes() for result in executor.run(arrays)]
    stop = threading.Event()

    def load_and_drop():
        while not stop.is_set():
            Executor(executor.program, native=True).run(arrays)
            gc.collect()

    other = threading.Thread(target=load_and_drop)
    other.start()
    try:
        for _ in range(20):
            assert [result.tobytes() for result in executor.run(arrays)] == expected
    finally:
        stop.set()
        other.join()


def test_a_forked_child_calls_compiled_programs_and_both_exit():
    script = f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from test_program_threads import PROGRAMS, build, Executor, threads
        threads.set_num_threads(4)
        shapes, body = PROGRAMS["layers"]
        executor = Executor(build("layers", shapes, body), native=True)
        arrays = [np.full(shape, 0.01, np.float32) for shape in shapes]
        before = [r.tobytes() for r in executor.run(arrays)]
        for _ in range(3):
            child = os.fork()
            if child == 0:
                same = all([r.tobytes() for r in executor.run(arrays)] == before for _ in range(20))
                os._exit(0 if same else 1)
            assert [r.tobytes() for r in executor.run(arrays)] == before
            assert os.waitpid(child, 0)[1] == 0
        child = os.fork()
        executor.run(arrays)
        if child == 0:
            sys.exit(0)  # the whole way out of the interpreter
        assert os.waitpid(child, 0)[1] == 0
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"JITCORE_NUM_THREADS": "4"},
    )
    assert done.stdout.strip() == "done" and done.returncode == 0, done.stdout + done.stderr
