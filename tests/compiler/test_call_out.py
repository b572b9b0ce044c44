"""Operations without native code run by their NumPy kernels from within a native program.

`cumsum` stands in for them here: it is declared to have no native code for the length of a test.
"""

import threading

import numpy as np
import pytest

import jitcore
import jitcore_runtime
from jitcore.compiler import compile_graph
from jitcore.compiler.fuse import roots
from jitcore.compiler.loops.interpret import run_module
from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir import ops
from jitcore_ir.parser import parse_graph
from jitcore_runtime.errors import GuardFailed, OperationFailed
from jitcore_runtime.executor import Executor
from jitcore_runtime.kernels import KERNELS
from jitcore_serialize.reader import read_archive
from jitcore_tools.inspect_command import inspect_archive

R = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def without_native_cumsum(monkeypatch):
    monkeypatch.setattr(roots, "CALL_OUT", {*roots.CALL_OUT, ops.CUMSUM})


def program(x, y):
    """Reads an input, a view and a computed operand; the result goes on into a fused kernel and out."""
    a = jitcore.cumsum(x * 2 + 1, 1)
    b = jitcore.cumsum(y.T, 0)
    return (a @ b).relu(), jitcore.cumsum(x, 0), a


def arrays(n=5):
    return R.normal(size=(n, 4)).astype(np.float32), R.normal(size=(3, 4)).astype(np.float32)


def test_compiled_equals_eager():
    compiled = jitcore.jit(program)
    for _ in range(3):
        x, y = map(jitcore.tensor, arrays())
        for ours, eager in zip(compiled(x, y), program(x, y)):
            np.testing.assert_allclose(ours.numpy(), eager.numpy(), rtol=1e-5, atol=1e-5)
    text = compiled.explain()
    assert "replayed 2 times" in text and "Run by NumPy from within the compiled program: cumsum at" in text


def test_an_archive_calls_out_at_every_size(tmp_path):
    path = tmp_path / "m.jca"
    jitcore.export(program, path, {"x": "float32[N,4]", "y": "float32[3,4]"})
    assert "runs cumsum (3 times) with NumPy" in inspect_archive(path, False)
    for native in (True, False):
        model = jitcore_runtime.load(path, native=native)
        for n in (1, 0, 7, 300):
            x, y = arrays(n)
            for ours, eager in zip(model(x=x, y=y), program(jitcore.tensor(x), jitcore.tensor(y))):
                np.testing.assert_allclose(ours, eager.numpy(), rtol=1e-4, atol=1e-4)


def test_the_archive_keeps_what_is_called(tmp_path):
    path = tmp_path / "m.jca"
    jitcore.export(program, path, {"x": "float32[N,4]", "y": "float32[3,4]"}, targets=["x86-64-v2"])
    (entry,) = read_archive(path).entries.values()
    calls = entry.code["x86-64-v2"].plan.call_outs
    assert [entry.graph.operations[call.operation].spec for call in calls] == [ops.CUMSUM] * 3


def test_loops_mean_the_same():
    graph = parse_graph(
        """graph @g(%x: f32[2,3]) {
             %y = cumsum(%x) {axis = 1} : f32[2,3]
             %z = add(%y, %x) : f32[2,3]
             return(%z)
           }"""
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    module = lower_graph(graph)
    assert "call_out" in str(module)
    np.testing.assert_array_equal(run_module(module, [x], {})[0], np.cumsum(x, 1) + x)


GUARDED = """graph @g(%x: f32[4], %n: i64[]) {
    %y = cumsum(%x) {axis = 0} : f32[4]
    return(%y, %y, %n)
}"""


def failing(x, **attributes):
    raise np.linalg.LinAlgError("singular")


@pytest.mark.parametrize("native", [True, False])
def test_a_kernel_that_raises_changes_nothing_and_names_its_operation(native, monkeypatch):
    made = compile_graph(parse_graph(GUARDED), updates=[(1, 0)], guards=[(2, 1)])
    monkeypatch.setitem(KERNELS, ops.CUMSUM, failing)
    x = np.ones(4, np.float32)
    executor = Executor(made, native)
    with pytest.raises(OperationFailed, match="cumsum: singular") as caught:
        executor.run([x, np.array(1)])
    assert isinstance(caught.value.__cause__, np.linalg.LinAlgError)
    with pytest.raises(GuardFailed):  # what the recording did not see comes before the error
        executor.run([x, np.array(2)])
    np.testing.assert_array_equal(x, 1)
    monkeypatch.undo()
    if native:
        np.testing.assert_array_equal(executor.run([x, np.array(1)])[0], [1, 2, 3, 4])


def test_a_replay_that_fails_raises_eagers_error(monkeypatch):
    compiled = jitcore.jit(lambda x: jitcore.cumsum(x, 0) + 1)
    x = jitcore.ones(3)
    compiled(x)
    monkeypatch.setitem(KERNELS, ops.CUMSUM, failing)
    with pytest.raises(RuntimeError, match=r"cumsum: singular; called at .*test_call_out\.py"):
        compiled(x)


def test_threads_call_out_at_once():
    made = compile_graph(parse_graph(GUARDED), guards=[(2, 1)])
    executor = Executor(made)
    wrong = []

    def work(k):
        for i in range(200):
            x = np.full(4, k + i, np.float32)
            if not np.array_equal(executor.run([x, np.array(1)])[0], np.cumsum(x)):
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
