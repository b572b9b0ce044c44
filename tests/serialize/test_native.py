"""Machine code in archives: chosen for this processor, run only when asked for, equal to the interpreter."""

import subprocess
import sys

import numpy as np
import pytest

from jitcore.compiler.compile import compile_graph
from jitcore.compiler.cpu.pool import build_pool_image
from jitcore_ir import Graph, TensorType, ops, shapes
from jitcore_ir.dtypes import float32
from jitcore_runtime import load
from jitcore_runtime.cpu_features import host_targets
from jitcore_serialize.archive import Archive, Entry, NativeCode
from jitcore_serialize.writer import write_archive

N = shapes.symbol("N")
# Sums of 32 products of magnitude 20 in another order differ by a few 1e-6, which exp turns into relative errors.
TOLERANCE = {"rtol": 2e-5, "atol": 1e-7}
pytestmark = pytest.mark.skipif(not host_targets(), reason="no known target for this processor")


def two_entries():
    """A product with a softmax behind it, and a step that scales the weight: both on one weight."""
    weight = np.random.default_rng(1).standard_normal((32, 48)).astype(np.float32)
    forward = Graph("forward")
    x = forward.block.add_argument(TensorType(float32, (N, 32)), "x")
    w = forward.block.add_argument(TensorType(float32, (32, 48)), "w")
    append = forward.block.append
    product = append(ops.DOT, [x, w]).result
    highest = append(ops.AMAX, [product], {"axes": (1,), "keepdims": True}).result
    scaled = append(ops.EXP, [append(ops.SUB, [product, highest]).result]).result
    total = append(ops.SUM, [scaled], {"axes": (1,), "keepdims": True}).result
    append(ops.RETURN, [append(ops.DIV, [scaled, total]).result])
    step = Graph("step")
    w = step.block.add_argument(TensorType(float32, (32, 48)), "w")
    factor = step.block.add_argument(TensorType(float32), "factor")
    scaled = step.block.append(ops.MUL, [w, factor]).result
    largest = step.block.append(ops.AMAX, [scaled], {"axes": (0, 1), "keepdims": False}).result
    step.block.append(ops.RETURN, [largest, scaled])
    entries = (Entry("forward", forward, {1: "w"}), Entry("step", step, {0: "w"}, updates=((1, 0),)))
    pools = {}
    for entry in entries:
        for target in host_targets():
            constant = tuple(entry.weights) if not entry.updates else ()
            program = compile_graph(entry.graph, entry.updates, constant_inputs=constant, target=target)
            entry.code[target] = NativeCode(program.plan, program.image, program.operations)
            pools[target] = build_pool_image(target)
    return Archive.of(*entries, weights={"w": weight}, pools=pools)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "two.jca"
    write_archive(two_entries(), path)
    return path


@pytest.mark.parametrize("rows", [0, 1, 5, 300])
def test_native_and_interpreted_agree(path, rows):
    x = np.random.default_rng(rows).standard_normal((rows, 32)).astype(np.float32)
    native, interpreted = load(path, native=True), load(path)
    assert native.is_native and not interpreted.is_native
    np.testing.assert_allclose(native(x), interpreted(x), **TOLERANCE)


def test_a_weight_that_one_entry_updates_is_seen_by_the_code_of_the_other(path):
    """The forward code keeps a packed form of the weight, which an update makes stale."""
    x = np.random.default_rng(3).standard_normal((4, 32)).astype(np.float32)
    native, interpreted = load(path, native=True), load(path)
    native(x)
    for factor in (0.5, 3.0):
        results = [model.run("step", np.float32(factor)) for model in (native, interpreted)]
        np.testing.assert_array_equal(*results)
        np.testing.assert_allclose(native(x), interpreted(x), **TOLERANCE)


def test_two_models_of_one_file_do_not_share_updates(path):
    first, second = load(path, native=True), load(path, native=True)
    first.run("step", np.float32(2))
    assert second.run("step", np.float32(1)) * 2 == first.run("step", np.float32(1))


def test_a_fresh_process_without_a_compiler_runs_the_code(path):
    code = f"""
import sys
for name in ("flatbuffers", "llvmlite", "jitcore", "numba"):
    sys.modules[name] = None
import numpy, jitcore_runtime
model = jitcore_runtime.load({str(path)!r}, native=True)
print(model.is_native, float(model(numpy.ones((3, 32), "float32")).sum()))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("True 3.0") or done.stdout.startswith("True 2.99"), done.stdout + done.stderr


def test_interpreting_reads_no_code(path, monkeypatch):
    import jitcore_runtime.native as native

    def refuse(*arguments, **options):
        raise AssertionError("machine code was loaded")

    monkeypatch.setattr(native, "load_image", refuse)
    load(path)(np.ones((1, 32), np.float32))
