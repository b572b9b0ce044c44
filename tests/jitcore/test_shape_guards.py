"""What a recording relies on about symbolic sizes: guards, equations, and how `SymInt` stands for an int."""

import math

import numpy as np
import pytest
from symbolic_runs import SymbolicRun

import jitcore
from jitcore.symbolic import SymInt


def run(function, size=6, second=None, ranges=()):
    arguments, dims = [jitcore.rand(size, 3)], [("N", 3)]
    if second is not None:
        arguments.append(jitcore.rand(second, 3))
        dims.append(("M", 3))
    return SymbolicRun(function, arguments, dims, ranges)


@pytest.mark.parametrize(
    ("decide", "guard", "holds"),
    [
        (lambda n: n > 4, "N > 4", {5, 6, 9}),
        (lambda n: n >= 7, "N < 7", {0, 6}),
        (lambda n: n != 3, "N != 3", {0, 4, 9}),
        (lambda n: 2 * n < 20, "2*N < 20", {0, 9}),
        (lambda n: n // 2 > 2, "(N // 2) > 2", {6, 7}),
        (lambda n: n, "N != 0", {1, 9}),
        (lambda n: min(n, 4) == 4, "N > 4", {5, 9}),
    ],
)
def test_a_comparison_holds_for_all_sizes_that_compare_alike(decide, guard, holds):
    found = run(lambda x: x * 2 if decide(x.shape[0]) else x * 3)
    assert guard in found.guards and not found.replaced
    for size in range(12):
        x = jitcore.rand(size, 3)
        same = bool(decide(size)) == bool(decide(6))
        given = found.run(x)
        assert (given is not None) == same or (min(size, 4) == size == 4)
        if given is not None:
            np.testing.assert_array_equal(given[0], (x * 2 if decide(6) else x * 3).numpy())
    assert all(found.run(jitcore.rand(size, 3)) is not None for size in holds)


def test_a_comparison_that_ranges_settle_leaves_no_guard():
    found = run(lambda x: x * 2 if x.shape[0] >= 0 else x, ranges={"N": (0, None)})
    assert not found.guards
    found = run(lambda x: x * 2 if x.shape[0] < 10 else x, ranges={"N": (2, 9)})
    assert not found.guards


def test_multiples_become_a_new_symbol():
    found = run(lambda x: x.reshape(-1, 2, 3).sum(1) if x.shape[0] % 2 == 0 else x)
    assert found.replaced == ["N == 2*N_by_2"]
    assert found.run(jitcore.rand(8, 3))[0].shape == (4, 3)
    assert found.run(jitcore.rand(5, 3)) is None
    assert found.run(jitcore.rand(0, 3))[0].shape == (0, 3)


@pytest.mark.parametrize(
    "use",
    [
        int, float, range, str, hash, np.sqrt, math.sqrt, "{}".format, "{:03d}".format, lambda n: n & 3,
        lambda n: [0] * n, lambda n: {n: 1}, lambda n: n == 6,
        lambda n: n**0.5, lambda n: np.zeros(n), lambda n: n.bit_length(), lambda n: 1 << n, lambda n: round(n, 1),
    ],
)  # fmt: skip
def test_where_python_needs_the_number_the_size_is_that_number(use):
    found = run(lambda x: [use(x.shape[0]), x * 2][1])
    assert found.replaced == ["N == 6"]
    assert found.run(jitcore.rand(6, 3)) is not None and found.run(jitcore.rand(7, 3)) is None


def test_arithmetic_needs_no_number():
    def arithmetic(x):
        n = x.shape[0]
        assert isinstance(n, int) and type(n) is SymInt
        quotient, remainder = divmod(n + 8, 4)
        total = n + 1 - 2 * n + n**2 + (n << 1) + (n >> 1) + abs(n) + +n + 3 - n
        return x * total + quotient * 4 + remainder

    found = run(arithmetic)
    assert not found.guards and not found.replaced
    for size in (1, 4, 7, 0):
        x = jitcore.rand(size, 3)
        np.testing.assert_allclose(found.run(x)[0], arithmetic_of(x, size), rtol=1e-6)


def arithmetic_of(x, n):
    return x.numpy() * (n + 1 - 2 * n + n**2 + 2 * n + n // 2 + n + n + 3 - n) + (n + 8)


def test_a_size_beside_floats_is_a_number_of_the_graph():
    found = run(lambda x: x * (0.5 * x.shape[0]) + x.shape[0] / 4 - 1 / x.shape[0])
    assert not found.replaced and not [r for r in found.recorder.reads if r.kind == "number"]
    for size in (1, 3, 9):
        x = jitcore.rand(size, 3)
        np.testing.assert_allclose(found.run(x)[0], (x * (0.5 * size) + size / 4 - 1 / size).numpy(), rtol=1e-6)


def test_sizes_that_broadcast_together_become_one():
    found = run(lambda x, y: x + y, 6, 6)
    assert found.replaced == ["M == N"]
    assert found.run(jitcore.rand(4, 3), jitcore.rand(4, 3)) is not None
    assert found.run(jitcore.rand(4, 3), jitcore.rand(1, 3)) is None


def test_a_size_of_1_that_stretches_is_1():
    found = run(lambda x, y: x + y, 1, 6)
    assert found.replaced == ["N == 1"]
    assert found.run(jitcore.rand(1, 3), jitcore.rand(4, 3)) is not None
    assert found.run(jitcore.rand(4, 3), jitcore.rand(4, 3)) is None


def test_a_symbol_beside_the_number_1_may_be_anything():
    def function(x):
        x = x.detach().requires_grad_()
        weight = jitcore.ones(1, 3, requires_grad=True)
        (x * weight * 2).sum().backward()
        return [x.grad, weight.grad]

    for size in (1, 6):
        found = run(function, size)
        assert not found.guards and not found.replaced
        for other in (1, 4, 0):
            x = jitcore.rand(other, 3)
            given = found.run(x)
            np.testing.assert_allclose(given[1], 2 * x.numpy().sum(0, keepdims=True), rtol=1e-6)


def test_a_size_that_is_fixed_by_an_operation_is_a_number():
    found = run(lambda x: x + jitcore.ones(6, 3))
    assert found.replaced == ["N == 6"]


def test_equations_of_sums_are_solved():
    found = run(lambda x, y: jitcore.cat([x, x[:1]]) + y, 5, 6)
    assert found.replaced == ["M == N + 1"]
    assert found.run(jitcore.rand(2, 3), jitcore.rand(3, 3)) is not None
    assert found.run(jitcore.rand(2, 3), jitcore.rand(4, 3)) is None


def test_a_guard_survives_replacements():
    found = run(lambda x, y: (x * 2 if x.shape[0] > 3 else x) + y if y.shape[0] < 9 else x, 6, 6)
    assert found.replaced == ["M == N"] and {"N < 9", "N > 3"} <= set(found.guards)


def test_what_operations_need_is_a_guard():
    found = run(lambda x: x[:4].sum(0) + x.amax(0))
    assert "N >= 4" in found.guards or "N > 4" in found.guards or "4 <= N" in found.guards, found.guards
    assert found.run(jitcore.rand(3, 3)) is None
