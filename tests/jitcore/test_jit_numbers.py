"""Python numbers in jitted functions: floats are values of the program, what decides is a guard, others are pinned."""

import json
import math
import warnings

import numpy as np
import pytest
from recorded import recordings, vector

import jitcore


def test_a_float_argument_is_a_value_of_the_program():
    def f(x, rate, shift=0.5):
        decayed = rate * 0.9 - 1.0 / (2.0 + rate)
        return x * decayed + shift * -rate + abs(rate)

    jitted = jitcore.jit(f)
    for rate in (0.1, -3.0, 3.5, 0.0, 7.0):
        for shift in (0.5, 1.5):
            np.testing.assert_allclose(jitted(vector(1, 2), rate, shift).numpy(), f(vector(1, 2), rate, shift).numpy())
            given = jitted(vector(1, 2), rate, shift=shift)
            np.testing.assert_allclose(given.numpy(), f(vector(1, 2), rate, shift).numpy())
    assert recordings(jitted) == 2  # by position and by keyword


def test_a_float_that_decides_a_branch_is_guarded_by_the_outcome():
    def f(x, limit):
        return x * 2 if limit > 1.0 else x - limit

    jitted = jitcore.jit(f)
    for limit in (0.5, 2.0, 0.25, 3.0, -1.0, 4.0, math.nan):
        np.testing.assert_allclose(jitted(vector(1, 2), limit).numpy(), f(vector(1, 2), limit).numpy())
    assert recordings(jitted) == 2


@pytest.mark.parametrize(
    "use",
    [lambda r: math.sqrt(r), lambda r: int(r * 4), lambda r: len(f"{r:.3f}"), lambda r: round(r, 1), lambda r: r**2],
)
def test_what_python_computes_from_a_number_pins_it(use):
    def f(x, rate):
        return x * use(rate)

    jitted = jitcore.jit(f)
    for rate in (0.25, 0.5, 0.25, 100.0):
        np.testing.assert_allclose(jitted(vector(1, 2), rate).numpy(), f(vector(1, 2), rate).numpy(), rtol=1e-6)
    assert recordings(jitted) == 3


def test_signs_of_zero_are_told_apart():
    def f(x, rate):
        return x * math.copysign(1.0, rate)

    jitted = jitcore.jit(f)
    assert [jitted(vector(1), rate).item() for rate in (0.0, -0.0, 0.0, -0.0)] == [1, -1, 1, -1]
    read = jitcore.jit(lambda x: x.abs() + math.copysign(1.0, float(x[0])))
    assert [read(vector(rate)).item() for rate in (0.0, -0.0, 0.0, -0.0)] == [1, -1, 1, -1]


def test_an_item_that_is_returned_is_a_result_and_no_guard():
    def f(x):
        loss = (x * x).sum()
        return loss.item(), {"half": loss.item() / 2, "count": (x > 0).sum().item()}

    jitted = jitcore.jit(f)
    for v in range(1, 8):
        loss, rest = jitted(vector(v, 1))
        assert type(loss) is float and type(rest["half"]) is float and type(rest["count"]) is int
        assert loss == v * v + 1 and rest == {"half": loss / 2, "count": 2}
    assert recordings(jitted) == 1


def test_early_stopping_by_an_item():
    best = 10.0

    def f(x, best):
        loss = x.sum().item()
        return (loss, True) if loss < best else (best, False)

    jitted = jitcore.jit(f)
    for v in (9.0, 8.0, 11.0, 7.5, 20.0):
        expected = f(vector(v), best)
        best, improved = jitted(vector(v), best)
        assert (best, improved) == expected
    assert recordings(jitted) == 2


def test_a_list_of_numbers_read_by_tolist():
    def f(x):
        a, b = x.tolist()
        return x * a if a > b else x * b

    jitted = jitcore.jit(f)
    for a, b in ((1, 2), (5, 3), (4, 9), (8, 7)):
        np.testing.assert_allclose(jitted(vector(a, b)).numpy(), np.float32([a, b]) * max(a, b))
    assert recordings(jitted) == 2


def test_numbers_that_live_on_are_plain():
    history = []

    class Holder:
        last = None

    holder = Holder()

    def f(x):
        history.append(x.sum().item())
        holder.last = x.sum().item()
        return x * 2

    jitted = jitcore.jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for v in (1, 2, 3, 4, 5):
            jitted(vector(v))
    assert json.dumps(history) == "[1.0, 2.0, 3.0, 4.0, 5.0]" and type(history[0]) is float
    assert type(holder.last) is float and holder.last == 5


@pytest.mark.parametrize(
    "use",
    [
        lambda x, r: jitcore.tensor(r) * x + jitcore.tensor([r, 1.0])[0],
        lambda x, r: r**x + jitcore.full((2,), r) + x.masked_fill(x > 1, r).clamp(-r, r),
        lambda x, r: jitcore.nn.functional.leaky_relu(-x, r) + jitcore.where(x > 1, x, r).add(x, alpha=r),
        lambda x, r: jitcore.lerp(x, x * 2, r) + (x.double() * r).float() + (x.half() * r).float(),
    ],
)
def test_operations_take_a_float_argument_as_a_value(use):
    jitted = jitcore.jit(use)
    for rate in (0.5, 1.5, 0.25, 3.0):
        np.testing.assert_allclose(jitted(vector(1, 2), rate).numpy(), use(vector(1, 2), rate).numpy(), rtol=1e-5)
    assert recordings(jitted) == 1
