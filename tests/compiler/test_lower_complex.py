"""Complex graphs taken apart: what becomes a kernel, what lies in memory, what calls out."""

import numpy as np
import pytest

from jitcore.compiler import compile_graph
from jitcore.compiler.loops.ops import STORE, call_out
from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir import Graph, TensorType, ops
from jitcore_ir.builder import Builder
from jitcore_ir.dtypes import complex64, complex128, float32, int64
from jitcore_ir.shapes import symbol
from jitcore_runtime.executor import Executor
from jitcore_runtime.interpreter import interpret


def graph_of(types, make):
    graph = Graph("complex")
    values = [graph.block.add_argument(TensorType(*t)) for t in types]
    build = Builder(graph.block)
    results = make(build, *values)
    build.create(ops.RETURN, results if isinstance(results, list) else [results])
    return graph


def specs(module):
    return [o.spec for call in module.kernels for o in call.kernel.walk()]


def stores(module):
    return specs(module).count(STORE)


def test_a_real_factor_is_not_multiplied_by_four():
    def make(b, x, y):
        return b.value(ops.MUL, x, b.value(ops.CAST, y, dtype=complex64))

    module = lower_graph(graph_of([(complex64, (8,)), (float32, (8,))], make))
    floats = [
        o for c in module.kernels for o in c.kernel.walk() if o.spec is ops.MUL and o.result.type.dtype is float32
    ]
    assert len(floats) == 2 and len(module.kernels) == 1 and stores(module) == 2


def test_a_rotary_embedding_is_one_kernel_without_temporaries():
    def make(b, x, turn):
        z = b.value(ops.VIEW_AS_COMPLEX, b.value(ops.RESHAPE, x, shape=(3, 4, 2)))
        return b.value(ops.RESHAPE, b.value(ops.VIEW_AS_REAL, b.value(ops.MUL, z, turn)), shape=(3, 8))

    module = lower_graph(graph_of([(float32, (3, 8)), (complex64, (4,))], make))
    assert len(module.kernels) == 1 and stores(module) == 2
    assert [b.kind.name for b in module.buffers] == ["INPUT", "INPUT", "OUTPUT"]


def test_buffers_keep_the_types_of_the_graph():
    module = lower_graph(graph_of([(complex64, (3,))], lambda b, x: b.value(ops.EXP, x)))
    assert [(b.dtype, b.shape) for b in module.buffers] == [(complex64, (3,)), (complex64, (3,))]
    assert all(v.type.dtype is float32 for c in module.kernels for v in c.kernel.inputs)


def test_an_unread_part_is_not_computed():
    def make(b, x, y):
        return b.value(ops.REAL, b.value(ops.MUL, x, y))

    module = lower_graph(graph_of([(complex64, (8,))] * 2, make))
    assert stores(module) == 1 and specs(module).count(ops.SUB) == 1 and ops.ADD not in specs(module)


def test_functions_without_a_rule_call_out():
    def make(b, x):
        return b.value(ops.ABS, b.value(ops.ASIN, b.value(ops.NEG, x)))

    graph = graph_of([(complex64, (8,))], make)
    module = lower_graph(graph)
    (called,) = [c for c in map(call_out, (k.kernel for k in module.kernels)) if c is not None]
    assert module.call_outs[called.attributes["operation"]].spec is ops.ASIN
    x = (np.arange(8) - 3 + 1j).astype(np.complex64)
    (got,) = Executor(compile_graph(graph, cache=False), native=True).run([x])
    np.testing.assert_allclose(got, np.abs(np.arcsin(-x)), rtol=1e-5)


CASES = {
    "large": [3e30 + 4e30j, 1e38 - 1e38j, 1e-30 + 1e-30j, 0j, 1 + 0j],
    "infinite": [complex(np.inf, 1), complex(-np.inf, np.inf)],
    "axes": [-1 + 0j, complex(-1, -0.0), 1j, -1j, 0.5 + 0j],
}


FUNCTIONS = [
    (ops.ABS, "large"), (ops.ABS, "infinite"), (ops.ABS, "axes"), (ops.SQRT, "large"), (ops.SQRT, "axes"),
    (ops.LOG, "large"), (ops.LOG, "axes"), (ops.TANH, "axes"), (ops.EXP, "axes"), (ops.RSQRT, "axes"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [complex64, complex128], ids=lambda d: d.name)
@pytest.mark.parametrize("spec, name", FUNCTIONS, ids=lambda v: getattr(v, "name", v))
def test_special_numbers(spec, name, dtype):
    """Overflowing squares, the sides of branch cuts."""
    x = np.array(CASES[name], dtype.numpy)
    graph = graph_of([(dtype, x.shape)], lambda b, v: b.value(spec, v))
    (got,) = Executor(compile_graph(graph, cache=False), native=True).run([x])
    (want,) = interpret(graph, [x])
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [complex64, complex128], ids=lambda d: d.name)
def test_quotients_of_large_and_small_numbers(dtype):
    scale = 1e30 if dtype is complex64 else 1e200
    x = np.array([3 + 4j, scale * (1 + 2j), scale * (1 + 2j), 1j / scale], dtype.numpy)
    y = np.array([1 - 2j, scale * (3 - 1j), 1 + 1j, (2 + 1j) / scale], dtype.numpy)
    graph = graph_of([(dtype, x.shape)] * 2, lambda b, v, w: b.value(ops.DIV, v, w))
    (got,) = Executor(compile_graph(graph, cache=False), native=True).run([x, y])
    np.testing.assert_allclose(got, x / y, rtol=1e-6)


def test_symbolic_sizes():
    n = symbol("N")

    def make(b, x, y):
        z = b.value(ops.DOT, x, b.value(ops.CONJ, y))
        return [z, b.value(ops.SUM, z, axes=(0,), keepdims=False), b.value(ops.VIEW_AS_REAL, z)]

    graph = graph_of([(complex64, (n, 3)), (complex64, (3, 2))], make)
    executor = Executor(compile_graph(graph, cache=False), native=True)
    for size in (0, 1, 5):
        random = np.random.default_rng(size)
        x, y = ((random.normal(size=s) + 1j * random.normal(size=s)).astype(np.complex64) for s in ((size, 3), (3, 2)))
        for got, want in zip(executor.run([x, y]), interpret(graph, [x, y]), strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_products_at_positions_call_out():
    def make(b, x, positions, updates):
        return b.value(ops.SCATTER_REDUCE, x, positions, updates, axis=0, mode="mul")

    graph = graph_of([(complex64, (3,)), (int64, (4,)), (complex64, (4,))], make)
    x, updates = np.array([1j, 2, 3 - 1j], np.complex64), np.array([1 + 1j, 2j, 3, 4], np.complex64)
    given = [x, np.array([0, 0, 2, 1]), updates]
    (got,) = Executor(compile_graph(graph, cache=False), native=True).run(given)
    np.testing.assert_allclose(got, interpret(graph, given)[0], rtol=1e-6)
