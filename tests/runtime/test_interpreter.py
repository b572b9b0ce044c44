"""The interpreter: values, symbols, memory of the outputs, liveness, and errors that name the user's line."""

import weakref

import numpy as np
import pytest

from jitcore_ir import Graph, Location, ShapeError, TensorType, ops
from jitcore_ir.dtypes import float32, int64
from jitcore_ir.shapes import add, floordiv, mul, symbol
from jitcore_runtime import InputError
from jitcore_runtime.interpreter import Interpreter, interpret
from jitcore_runtime.signature import Signature, bind_symbols

N, M = symbol("N"), symbol("M")


def graph_of(*inputs):
    """A graph with these (name, dtype, shape) inputs, and their values."""
    graph = Graph("test")
    return graph, [graph.block.add_argument(TensorType(dtype, shape), name) for name, dtype, shape in inputs]


def test_runs_operations_in_order():
    graph, (x, y) = graph_of(("x", float32, (3,)), ("y", float32, (3,)))
    total = graph.block.append(ops.ADD, [x, y]).result
    square = graph.block.append(ops.MUL, [total, total]).result
    graph.block.append(ops.RETURN, [square, total])
    a, b = np.arange(3, dtype=np.float32), np.ones(3, np.float32)
    results = interpret(graph, [a, b])
    np.testing.assert_array_equal(results[0], (a + b) ** 2)
    np.testing.assert_array_equal(results[1], a + b)


def test_symbols_are_put_into_dims():
    graph, (x,) = graph_of(("x", float32, (N, 4)))
    flat = graph.block.append(ops.RESHAPE, [x], {"shape": (mul(N, 4),)}).result
    count = graph.block.append(ops.SIZE, [], {"dim": mul(N, 4)}).result
    first = graph.block.append(ops.SLICE, [flat], {"starts": (0,), "sizes": (floordiv(N, 2),), "steps": (1,)}).result
    graph.block.append(ops.RETURN, [flat, count, first])
    for n in (0, 1, 5):
        flat_value, count_value, half = interpret(graph, [np.ones((n, 4), np.float32)])
        assert flat_value.shape == (4 * n,) and count_value == 4 * n and half.shape == (n // 2,)


def test_dims_without_a_value_are_checked_once_they_have_one():
    graph, (x,) = graph_of(("x", float32, (N,)))
    place = Location("model.py", 12)
    tail = graph.block.append(ops.SLICE, [x], {"starts": (add(N, -4),), "sizes": (4,), "steps": (1,)}, place).result
    graph.block.append(ops.RETURN, [tail])
    assert interpret(graph, [np.ones(6, np.float32)])[0].shape == (4,)
    with pytest.raises(ValueError, match=r"slice.*at model.py:12"):
        interpret(graph, [np.ones(3, np.float32)])


def test_outputs_own_their_memory():
    graph, (x,) = graph_of(("x", float32, (2, 3)))
    constant = graph.block.append(ops.CONSTANT, [], {"value": np.ones(2, np.float32)}).result
    view = graph.block.append(ops.PERMUTE, [x], {"permutation": (1, 0)}).result
    fresh = graph.block.append(ops.NEG, [x]).result
    turned = graph.block.append(ops.PERMUTE, [fresh], {"permutation": (1, 0)}).result
    graph.block.append(ops.RETURN, [x, x, constant, view, fresh, fresh, turned])
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    results = interpret(graph, [a])
    everything = [a, *results]
    for k, one in enumerate(everything):
        assert one.flags.c_contiguous and one.flags.writeable
        assert not any(np.shares_memory(one, other) for other in everything[k + 1 :])
    results[2][...] = 5
    np.testing.assert_array_equal(interpret(graph, [a])[2], [1, 1])


def test_values_are_freed_after_their_last_use():
    graph, (x,) = graph_of(("x", float32, (1000,)))
    alive, most = [], []
    value = x
    for _ in range(20):
        value = graph.block.append(ops.NEG, [value]).result
    graph.block.append(ops.RETURN, [value])
    runner = Interpreter(graph)
    for step in runner._steps:
        kernel = step.kernel

        def counted(a, kernel=kernel):
            made = kernel(a)
            alive.append(weakref.ref(made))
            most.append(sum(r() is not None for r in alive))
            return made

        step.kernel = counted
    runner.run([np.ones(1000, np.float32)], {})
    assert max(most) <= 2


def test_only_what_is_wanted_is_computed():
    graph, (x, i) = graph_of(("x", float32, (3,)), ("i", int64, (1,)))
    bad = graph.block.append(ops.TAKE, [x, i], {"axis": 0}).result
    good = graph.block.append(ops.NEG, [x]).result
    graph.block.append(ops.RETURN, [bad, good])
    arrays = [np.ones(3, np.float32), np.array([7])]
    (value,) = Interpreter(graph, [good]).run(arrays, {})
    np.testing.assert_array_equal(value, -arrays[0])
    with pytest.raises(IndexError):
        Interpreter(graph).run(arrays, {})


def test_errors_name_the_users_line():
    graph, (x, i) = graph_of(("x", float32, (3,)), ("i", int64, (2,)))
    taken = graph.block.append(ops.TAKE, [x, i], {"axis": 0}, Location("train.py", 41)).result
    graph.block.append(ops.RETURN, [taken])
    with pytest.raises(IndexError, match=r"take: position 3 is out of range for axis 0 of size 3; at train.py:41"):
        interpret(graph, [np.ones(3, np.float32), np.array([0, 3])])
    graph, (a, b) = graph_of(("a", int64, (1,)), ("b", int64, (1,)))
    graph.block.append(ops.RETURN, [graph.block.append(ops.REMAINDER, [a, b], {}, Location("train.py", 5)).result])
    with pytest.raises(ZeroDivisionError, match=r"remainder.*train.py:5"):
        interpret(graph, [np.array([1]), np.array([0])])


def signature(*inputs):
    return Signature.of(graph_of(*inputs)[0])


def test_symbols_are_solved_from_plain_and_linear_dims():
    spec = signature(("x", float32, (mul(add(N, 1), 2),)), ("y", float32, (M, N)))
    assert spec.bind([np.ones(8, np.float32), np.ones((2, 3), np.float32)]) == {"M": 2, "N": 3}
    alone = signature(("x", float32, (add(mul(N, 2), 1),)))
    assert alone.bind([np.ones(7, np.float32)]) == {"N": 3}
    assert alone.symbols == ("N",)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ([np.ones((2, 3), "f4")], "1 inputs were given, expected 2"),
        ([np.ones((2, 3), "f8"), np.ones(4, "f4")], "input 'x' has dtype float64, expected float32"),
        ([np.ones((2, 3, 1), "f4"), np.ones(4, "f4")], "input 'x' has shape .* of 3 dimensions, expected 2"),
        ([np.ones((2, 4), "f4"), np.ones(4, "f4")], "input 'x': dimension 1 is 4, expected 3"),
        (
            [np.ones((2, 3), "f4"), np.ones(5, "f4")],
            r"input 'y': dimension 0 is 5, expected 2\*N = 4 \(N = 2 from dimension 0 of input 'x'\)",
        ),
        ([[1, 2], np.ones(4, "f4")], "input 'x' is a list, expected a NumPy array"),
    ],
)
def test_inputs_that_do_not_fit_are_named(arrays, message):
    graph, _ = graph_of(("x", float32, (N, 3)), ("y", float32, (mul(N, 2),)))
    with pytest.raises(InputError, match=message):
        bind_symbols(graph, arrays)


def test_a_symbol_that_two_inputs_disagree_on():
    spec = signature(("x", float32, (N,)), ("y", float32, (N,)))
    with pytest.raises(InputError, match="input 'y': dimension 0 is 3, expected N = 2"):
        spec.bind([np.ones(2, np.float32), np.ones(3, np.float32)])


def test_a_size_that_no_symbol_gives():
    spec = signature(("x", float32, (mul(N, 2),)))
    with pytest.raises(InputError, match=r"dimension 0 is 3, expected a multiple of 2"):
        spec.bind([np.ones(3, np.float32)])


def test_a_dim_that_divides_by_a_symbol_of_zero():
    spec = signature(("x", float32, (floordiv(M, N),)), ("y", float32, (N,)), ("z", float32, (M,)))
    assert spec.bind([np.ones(2, np.float32), np.ones(3, np.float32), np.ones(7, np.float32)]) == {"N": 3, "M": 7}
    with pytest.raises(InputError, match=r"input 'x': dimension 0 cannot be .*divides by zero"):
        spec.bind([np.ones(2, np.float32), np.ones(0, np.float32), np.ones(7, np.float32)])


def test_windows_that_do_not_fit_the_size_given():
    graph, (x,) = graph_of(("x", float32, (N,)))
    place = Location("net.py", 3)
    window = graph.block.append(ops.WINDOWS, [x], {"window": (3,), "stride": (1,), "dilation": (1,)}, place).result
    graph.block.append(ops.RETURN, [window])
    assert interpret(graph, [np.ones(3, np.float32)])[0].shape == (1, 3)
    with pytest.raises(ShapeError, match=r"a window spanning 3 does not fit in 1; at net.py:3"):
        interpret(graph, [np.ones(1, np.float32)])
