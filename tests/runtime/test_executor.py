"""A program means the same natively and interpreted: results, updates, guards, errors, symbols, threads."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from jitcore_ir import Graph, Location, TensorType, ops
from jitcore_ir.dtypes import bool_, float32, int64
from jitcore_ir.shapes import mul, symbol
from jitcore_runtime import GuardFailed, InputError, NativeError
from jitcore_runtime.arena import address_of, empty_aligned
from jitcore_runtime.executor import Executor
from jitcore_runtime.plan import ALIGNMENT
from jitcore_runtime.program import Program

N = symbol("N")


@pytest.fixture(scope="session")
def compiled():
    """Gives `compiled(graph, updates, guards) -> Program` with native code for this machine."""
    from jitcore.compiler.compile import compile_graph
    from jitcore.compiler.cpu.pool import build_pool_image
    from jitcore.compiler.cpu.target import host_target
    from jitcore_runtime import threads

    if not threads.pool_installed():
        threads.install_pool(build_pool_image(host_target()))

    def build(graph, updates=(), guards=(), **options):
        return compile_graph(graph, updates=updates, guards=guards, cache=False, **options)

    return build


@pytest.fixture(params=["native", "interpreted"])
def make(request, compiled):
    """Gives `make(graph, updates, guards) -> Executor`, once for each way of running."""

    def build(graph, updates=(), guards=()):
        native = request.param == "native"
        program = compiled(graph, updates, guards) if native else Program("test", graph, None, None, updates, guards)
        return Executor(program, native)

    return build


def graph_of(*inputs):
    graph = Graph("test")
    return graph, [graph.block.add_argument(TensorType(dtype, shape), name) for name, dtype, shape in inputs]


def constant(graph, value, dtype=np.float32):
    return graph.block.append(ops.CONSTANT, [], {"value": np.array(value, dtype)}).result


def step_graph():
    """x is increased by y unless the guard (no element of y is below zero) fails; gives 2 * x as it was."""
    graph, (x, y) = graph_of(("x", float32, (3,)), ("y", float32, (3,)))
    doubled = graph.block.append(ops.ADD, [x, x]).result
    increased = graph.block.append(ops.ADD, [x, y]).result
    negative = graph.block.append(ops.LT, [y, constant(graph, 0)]).result
    failed = graph.block.append(ops.AMAX, [negative], {"axes": (0,), "keepdims": False}).result
    graph.block.append(ops.RETURN, [doubled, increased, failed])
    return graph, ((1, 0),), ((2, False),)


def test_results_are_fresh_and_updates_are_committed(make):
    executor = make(*step_graph())
    x, y = np.array([1, 2, 3], np.float32), np.array([1, 1, 1], np.float32)
    (first,) = executor.run([x, y])
    np.testing.assert_array_equal(first, [2, 4, 6])
    np.testing.assert_array_equal(x, [2, 3, 4])
    (second,) = executor.run([x, y])
    np.testing.assert_array_equal(second, [4, 6, 8])
    np.testing.assert_array_equal(first, [2, 4, 6])
    assert not np.shares_memory(first, second)


def test_a_failed_guard_changes_nothing_and_says_what_it_saw(make):
    executor = make(*step_graph())
    x, y = np.array([1, 2, 3], np.float32), np.array([1, -1, 1], np.float32)
    for _ in range(3):
        with pytest.raises(GuardFailed) as failure:
            executor.run([x, y])
        assert failure.value.index == 0 and failure.value.observed is True
        np.testing.assert_array_equal(x, [1, 2, 3])
    executor.run([x, np.ones(3, np.float32)])
    np.testing.assert_array_equal(x, [2, 3, 4])


def test_the_first_failing_guard_is_reported(make):
    graph, (x, y) = graph_of(("x", int64, ()), ("y", float32, ()))
    graph.block.append(
        ops.RETURN, [graph.block.append(op, [v]).result for op, v in ((ops.NEG, x), (ops.COPY, x), (ops.COPY, y))]
    )
    executor = make(graph, (), ((1, 4), (2, 0.5)))
    assert executor.run([np.array(4), np.array(0.5, np.float32)])[0] == -4
    with pytest.raises(GuardFailed) as failure:
        executor.run([np.array(4), np.array(1.5, np.float32)])
    assert (failure.value.index, failure.value.observed) == (1, 1.5)
    with pytest.raises(GuardFailed) as failure:
        executor.run([np.array(5), np.array(1.5, np.float32)])
    assert (failure.value.index, failure.value.observed) == (0, 5)


def index_graph(guarded):
    """x[i], with x increased by one; where `guarded`, only for a positive sum of i."""
    graph, (x, i) = graph_of(("x", float32, (4,)), ("i", int64, (2,)))
    taken = graph.block.append(ops.TAKE, [x, i], {"axis": 0}, Location("train.py", 41)).result
    more = graph.block.append(ops.ADD, [x, constant(graph, 1)]).result
    outputs = [taken, more]
    if guarded:
        total = graph.block.append(ops.SUM, [i], {"axes": (0,), "keepdims": False}).result
        outputs.append(graph.block.append(ops.GT, [total, constant(graph, 0, np.int64)]).result)
    graph.block.append(ops.RETURN, outputs)
    return graph, ((1, 0),), ((2, True),) if guarded else ()


def test_an_index_out_of_range_changes_nothing_and_is_named(make):
    executor = make(*index_graph(guarded=False))
    x = np.arange(4, dtype=np.float32)
    with pytest.raises(IndexError, match=r"take: position 9 is out of range for axis 0 of size 4; at train.py:41"):
        executor.run([x, np.array([1, 9])])
    np.testing.assert_array_equal(x, np.arange(4))
    np.testing.assert_array_equal(executor.run([x, np.array([1, 3])])[0], [1, 3])
    np.testing.assert_array_equal(x, np.arange(4) + 1)


def test_a_failed_guard_comes_before_an_error(make):
    executor = make(*index_graph(guarded=True))
    x = np.arange(4, dtype=np.float32)
    with pytest.raises(GuardFailed):
        executor.run([x, np.array([-5, 0])])
    with pytest.raises(IndexError):
        executor.run([x, np.array([5, 0])])
    np.testing.assert_array_equal(x, np.arange(4))


def test_integer_division_by_zero(make):
    graph, (x, y) = graph_of(("x", int64, (2,)), ("y", int64, (2,)))
    graph.block.append(ops.RETURN, [graph.block.append(ops.FLOOR_DIVIDE, [x, y]).result])
    executor = make(graph)
    with pytest.raises(ZeroDivisionError):
        executor.run([np.array([1, 2]), np.array([1, 0])])
    np.testing.assert_array_equal(executor.run([np.array([-7, 7]), np.array([2, 2])])[0], [-4, 3])


def test_symbols_take_their_values_from_each_call(make):
    graph, (x, y) = graph_of(("x", float32, (N, 3)), ("y", float32, (mul(N, 2),)))
    total = graph.block.append(ops.SUM, [x], {"axes": (1,), "keepdims": False}).result
    square = graph.block.append(ops.MUL, [y, y]).result
    graph.block.append(ops.RETURN, [total, square])
    executor = make(graph)
    for n in (4, 1, 0, 1000, 4):
        a, b = np.random.default_rng(n).random((n, 3), np.float32), np.arange(2 * n, dtype=np.float32)
        first, second = executor.run([a, b])
        np.testing.assert_allclose(first, a.sum(1), rtol=1e-6)
        np.testing.assert_array_equal(second, b * b)
    with pytest.raises(InputError, match=r"input 'y': dimension 0 is 3, expected 2\*N = 4"):
        executor.run([np.ones((2, 3), np.float32), np.ones(3, np.float32)])


@pytest.mark.parametrize("layout", ["strided", "reversed", "unaligned", "read-only"])
def test_inputs_of_any_memory_layout(make, layout):
    def laid_out(values):
        if layout == "strided":
            array = np.zeros(6, np.float32)[::2]
        elif layout == "reversed":
            array = np.zeros(3, np.float32)[::-1]
        elif layout == "unaligned":
            array = np.zeros(13, np.uint8)[1:].view(np.float32)
        else:
            array = np.zeros(3, np.float32)
        array[...] = values
        return array

    executor = make(*step_graph())
    x, y = laid_out([1, 2, 3]), laid_out([1, 1, 1])
    if layout == "read-only":
        y.flags.writeable = False
        executor.run([x.copy(), y])
        x.flags.writeable = False
        with pytest.raises(InputError, match="input 'x' is updated by test but its memory is read-only"):
            executor.run([x, y])
        return
    np.testing.assert_array_equal(executor.run([x, y])[0], [2, 4, 6])
    np.testing.assert_array_equal(x, [2, 3, 4])


@pytest.mark.parametrize(
    "arrays, message",
    [
        ([np.ones(3, "f4")], "1 inputs were given, expected 2"),
        ([np.ones(3, "f8"), np.ones(3, "f4")], "input 'x' has dtype float64, expected float32"),
        ([np.ones(4, "f4"), np.ones(3, "f4")], "input 'x': dimension 0 is 4, expected 3"),
        ([[1.0], np.ones(3, "f4")], "input 'x' is a list"),
    ],
)
def test_inputs_that_do_not_fit_never_reach_the_code(make, arrays, message):
    with pytest.raises(InputError, match=message):
        make(*step_graph()).run(arrays)


def test_an_input_or_a_constant_as_a_result_is_a_copy(make):
    graph, (x,) = graph_of(("x", float32, (3,)))
    graph.block.append(ops.RETURN, [x, x, constant(graph, [1, 2, 3])])
    executor = make(graph)
    x = np.ones(3, np.float32)
    results = executor.run([x])
    everything = [x, *results]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(everything) for b in everything[k + 1 :])
    results[2][...] = 9
    np.testing.assert_array_equal(executor.run([x])[2], [1, 2, 3])


def test_many_threads_run_one_program_at_once(make):
    graph, (x,) = graph_of(("x", float32, (N,)))
    value = x
    for _ in range(4):
        value = graph.block.append(ops.ADD, [value, graph.block.append(ops.MUL, [value, value]).result]).result
    total = graph.block.append(ops.SUM, [value], {"axes": (0,), "keepdims": True}).result
    graph.block.append(ops.RETURN, [value, graph.block.append(ops.SUB, [value, total]).result])
    executor = make(graph)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            a = (rng.random(int(rng.integers(1, 5000))) * 0.01).astype(np.float32)
            expected = a
            for _ in range(4):
                expected = expected + expected * expected
            first, second = executor.run([a])
            if not np.allclose(first, expected, rtol=1e-5) or not np.allclose(
                second, expected - expected.sum(), rtol=1e-3
            ):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def weights_graph():
    graph, (x, w) = graph_of(("x", float32, (4, 64)), ("w", float32, (64, 96)))
    graph.block.append(ops.RETURN, [graph.block.append(ops.DOT, [x, w]).result])
    return graph


def test_prepared_weights_follow_the_memory_they_came_from(compiled):
    executor = Executor(compiled(weights_graph(), constant_inputs=(1,)), native=True)
    rng = np.random.default_rng(0)
    x, w = rng.random((4, 64), np.float32), rng.random((64, 96), np.float32)
    np.testing.assert_allclose(executor.run([x, w])[0], x @ w, rtol=1e-5)
    other = rng.random((64, 96), np.float32)
    np.testing.assert_allclose(executor.run([x, other])[0], x @ other, rtol=1e-5)
    other *= 2
    executor.invalidate_prepared()
    np.testing.assert_allclose(executor.run([x, other])[0], x @ other, rtol=1e-5)


def test_prepared_weights_of_another_memory_layout(compiled):
    executor = Executor(compiled(weights_graph(), constant_inputs=(1,)), native=True)
    rng = np.random.default_rng(0)
    x = rng.random((4, 64), np.float32)
    for _ in range(3):
        w = rng.random((96, 64), np.float32).T
        np.testing.assert_allclose(executor.run([x, w])[0], x @ w, rtol=1e-5)


def test_constants_are_prepared_once(compiled):
    graph, (x,) = graph_of(("x", float32, (4, 64)))
    w = np.random.default_rng(0).random((64, 96), np.float32)
    graph.block.append(ops.RETURN, [graph.block.append(ops.DOT, [x, constant(graph, w)]).result])
    executor = Executor(compiled(graph), native=True)
    seen = set()
    for k in range(3):
        x = np.full((4, 64), k, np.float32)
        np.testing.assert_allclose(executor.run([x])[0], x @ w, rtol=1e-5)
        seen.add(id(executor._run._prepared))
    assert len(seen) == 1 and executor.program.plan.prepared_from == ()


def test_threads_with_weights_of_their_own(compiled):
    executor = Executor(compiled(weights_graph(), constant_inputs=(1,)), native=True, release_gil=True)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        x, w = rng.random((4, 64), np.float32), rng.random((64, 96), np.float32)
        for _ in range(50):
            if not np.allclose(executor.run([x, w])[0], x @ w, rtol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_bound_program_takes_addresses(compiled):
    executor = Executor(compiled(*step_graph()), native=True)
    x, y = np.array([1, 2, 3], np.float32), np.ones(3, np.float32)
    run = executor.bind([x, y])
    np.testing.assert_array_equal(run([address_of(x), address_of(y)])[0], [2, 4, 6])
    np.testing.assert_array_equal(x, [2, 3, 4])
    with pytest.raises(InputError, match="dimension 0 is 4"):
        executor.bind([x, np.ones(4, np.float32)])
    read_only = np.ones(3, np.float32)
    read_only.flags.writeable = False
    for arrays in ([np.ones((3, 2), np.float32)[:, 0], y], [x, np.ones(6, np.float32)[::2]], [read_only, y]):
        assert executor.bind(arrays) is None  # these are copied, or refused
    assert Executor(Program("test", step_graph()[0]), native=False).bind([x, y]) is None


@pytest.mark.parametrize("release_gil", [True, False])
def test_with_and_without_the_interpreter_lock(compiled, release_gil):
    executor = Executor(compiled(*step_graph()), native=True, release_gil=release_gil)
    x = np.zeros(3, np.float32)
    for _ in range(10):
        executor.run([x, np.ones(3, np.float32)])
    np.testing.assert_array_equal(x, [10, 10, 10])


def test_large_results_are_aligned(compiled):
    graph, (x,) = graph_of(("x", float32, (5000,)))
    graph.block.append(ops.RETURN, [graph.block.append(ops.NEG, [x]).result])
    executor = Executor(compiled(graph), native=True)
    kept = [executor.run([np.ones(5000, np.float32)])[0] for _ in range(5)]
    assert all(address_of(result) % ALIGNMENT == 0 for result in kept)


def test_frames_are_used_again(compiled):
    executor = Executor(compiled(*step_graph()), native=True)
    x, y = np.zeros(3, np.float32), np.ones(3, np.float32)
    for _ in range(5):
        executor.run([x, y])
        with pytest.raises(GuardFailed):
            executor.run([x, -y])
    assert len(executor._run._free) == 1


def test_native_code_that_is_absent_is_refused():
    with pytest.raises(NativeError, match="no native code"):
        Executor(Program("test", step_graph()[0]), native=True)


def test_address_is_that_of_the_first_element():
    base = np.arange(10.0)
    for array in (base, base[3:], base[::-1], np.array(1.0), empty_aligned((3, 4), np.dtype(np.float32))):
        assert address_of(array) == array.__array_interface__["data"][0]
    assert address_of(empty_aligned((), np.dtype(np.float64))) % ALIGNMENT == 0
    assert empty_aligned((0, 3), np.dtype(np.int64)).shape == (0, 3)


def test_bool_and_empty_values_pass_through(make):
    graph, (x, e) = graph_of(("x", bool_, (2,)), ("e", float32, (0, 4)))
    flipped = graph.block.append(ops.LOGICAL_NOT, [x]).result
    none = graph.block.append(ops.EXP, [e]).result
    total = graph.block.append(ops.SUM, [e], {"axes": (0, 1), "keepdims": False}).result
    graph.block.append(ops.RETURN, [flipped, none, total])
    flipped, none, total = make(graph).run([np.array([True, False]), np.empty((0, 4), np.float32)])
    np.testing.assert_array_equal(flipped, [False, True])
    assert none.shape == (0, 4) and total.shape == () and total == 0 and type(total) is np.ndarray


def test_importing_the_runtime_loads_no_compiler():
    code = (
        "import sys, jitcore_runtime, jitcore_runtime.executor; "
        "heavy = {'jitcore', 'jitcore_ir.passes', 'llvmlite', 'numba', 'scipy', 'torch', 'ml_dtypes'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
