"""Known traps of tracing, one test each: values that Python sees.

Every call gives the right answer or a clear error.
"""

import decimal
import json
import re
import statistics
import warnings

import numpy as np
import pytest
from trap_checks import agree, jit, vector

import jitcore
from jitcore import nn


def test_branch_on_data():
    def f(x):
        return x * 2 if x.sum() > 0 else x - 1

    agree(jit(f), f, *[(vector(v, v),) for v in (1, -1, 2, -2, 3)])


def test_branch_inside_a_branch_and_after_it():
    def f(x):
        y = x + 1
        if x.sum() > 0:
            y = y * 2
            if y.max() > 5:
                y = y - 5
        else:
            y = -y
        return y.abs() if y.min() < 0 else y.sqrt()

    agree(jit(f), f, *[(vector(a, b),) for a in (-3, 0, 1, 7) for b in (-2, 0.5, 4)])


def test_loop_on_data():
    def f(x, n):
        for _ in range(int(n)):
            x = x * 2
        while x.sum() > 100:
            x = x / 2
        return x

    agree(jit(f), f, *[(vector(1, 2), jitcore.tensor(n)) for n in (1, 3, 1, 7, 6, 3, 0)])


def test_assert_on_data():
    def f(x):
        assert (x > 0).all(), "all must be positive"
        return x.log()

    jitted = jit(f)
    for _ in range(2):
        agree(jitted, f, (vector(1, 2),))
        with pytest.raises(AssertionError, match="must be positive"):
            jitted(vector(1, -2))


def test_early_return_on_data():
    def f(x):
        for step in range(4):
            if x.sum() > 10:
                return x, step
            x = x * 2
        return x, -1

    agree(jit(f), f, *[((vector(v, v)),) for v in (1, 6, 2, 0, 3, 1)])


def test_walrus_and_chained_comparison_on_data():
    def f(x):
        if (total := x.sum().item()) > 1 and 0 < x[0] < 5:
            return x * total
        return x - 1

    agree(jit(f), f, *[(vector(*v),) for v in ((1, 2), (2, 2), (6, 2), (0, 0), (3, 4))])


def test_number_read_and_used_in_arithmetic_is_never_stale():
    def f(x):
        scale = x.max().item()
        return x / scale, scale * 2

    agree(jit(f), f, *[(vector(v, 1, 2),) for v in (4, 5, 4, 9, 3)])


def test_printing_a_loss_prints_the_value_of_each_call(capsys):
    weight = nn.Parameter(vector(1, 2))

    def step(x):
        loss = (weight * x).sum()
        loss.backward()
        print(loss.item())
        print(f"loss {loss.item():.2f}")
        return loss.detach()

    jitted = jit(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in range(1, 6):
            jitted(vector(n, n))
            assert capsys.readouterr().out.split() == [str(3.0 * n), "loss", f"{3 * n:.2f}"]
    np.testing.assert_allclose(weight.grad.numpy(), [15, 15])


def test_logging_into_a_list_keeps_every_value():
    history = []

    def step(x):
        loss = x.square().sum()
        history.append(loss.item())
        return loss

    jitted = jit(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in range(6):
            jitted(vector(n))
    assert history == [0, 1, 4, 9, 16, 25]


def test_numpy_inside_sees_each_call():
    def f(x):
        return x + float(np.median(x.numpy()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        agree(jit(f), f, *[(vector(*v),) for v in ((1, 2, 3), (1, 2, 4), (5, 6, 7), (1, 2, 3))])


def test_tolist_and_iteration_over_a_tensor():
    def f(x):
        total = 0.0
        for row in x:
            total = total + row.sum()
        return total * len(x), max(x.reshape(-1).tolist())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        agree(jit(f), f, *[(jitcore.tensor(v),) for v in ([[1.0, 2], [3, 4]], [[5.0, 1], [0, 0]], [[1.0, 2]])])


def test_boolean_indexing_has_the_shape_of_each_call():
    def f(x):
        return x[x > 1], (x > 1).nonzero()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        agree(jit(f), f, *[(vector(*v),) for v in ((1, 2, 3), (0, 0, 0), (3, 0, 5), (2, 2, 2))])


def test_same_branch_through_other_reads_does_not_mix():
    def f(x, y):
        a = x * 2 if x.sum() > 0 else x * 3
        b = y * 5 if y.sum() > 0 else y * 7
        return a + b

    agree(jit(f), f, *[(vector(a), vector(b)) for a in (1, -1) for b in (1, -1)] * 2)


def test_type_of_a_number_is_what_it_is_eagerly():
    kinds = {float: 2.0, int: 3.0}

    def f(x, by):
        total = x.sum().item()
        return x * kinds[type(by)] if type(total) is float and type(x.shape[0]) == int else x * 100  # noqa: E721

    for dynamic in (None, True):
        jitted = jit(f, dynamic=dynamic)
        agree(jitted, f, (vector(1), 2.0), (vector(1, 2), 3.0), (vector(1, 2, 3), 4), (vector(1), 5))
    assert "type" not in globals()


def test_classes_made_and_asked_for_while_recording():
    def f(x):
        class Meta(type):
            pass

        made = type("Made", (), {"by": 2.0})
        wanted = [isinstance(made, type), issubclass(Meta, type), type(made) is type, isinstance(x, type)]
        return x * made.by, wanted, Meta("Other", (), {}).__name__, type[int].__name__

    agree(jit(f), f, (vector(1),), (vector(1),))


def test_guards_on_nan_hold():
    def f(x):
        return x * float(x.sum()), round(x.sum().item(), 2) if x.sum().item() == x.sum().item() else "nan"

    jitted = jit(f)
    nan, one = (vector(float("nan")),), (vector(1),)
    agree(jitted, f, nan, nan, nan, one, nan, one, *[nan] * 20, one)
    assert "recorded again 1 times" in jitted.explain()
    native = jitcore.jit(f)
    agree(native, f, nan, nan, one, nan)
    assert "recorded again 1 times" in native.explain()


def test_numbers_as_keys_and_in_sets_are_plain_afterwards():
    def f(x):
        total = x.sum().item()
        return {total: 1}, {total}.pop(), x

    for key in (*jit(f)(vector(1))[0], jit(f)(vector(1))[1]):
        assert type(key) is float


def test_integers_that_no_tensor_has_as_a_size():
    def f(x, n):
        return x * n, n + 1, 0.5**n, pow(n, 3, 5) if n >= 0 else n, (1 + 2j) * x.sum().item()

    jitted = jit(f)
    agree(jitted, f, *[(vector(1, 2), n) for n in (3, 4, 5, -1, -2, 1 << 50, (1 << 50) + 1, 6)])


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: (x * (n * n * n), n**3, x + n * n),
        lambda x, n: x.long() * (n * n),
        lambda x, n: x * (n * n / 3.0) + 1.5 * (n**5),
        lambda x, n: x * (n * 5_000_000_000),
        lambda x, n: x.where(x > 2, n**4),
    ],
)
def test_products_of_integers_that_take_more_than_64_bits(function, native):
    """A program computes with 64 bits where Python has as many as it takes."""
    jitted = jitcore.jit(function, native=native)
    x = jitcore.arange(4.0)
    for n in (3, 4, 5, 1 << 20, 1 << 31, -(1 << 31), 1 << 39, 7, 8):
        try:
            expected = function(x, n)
        except RuntimeError as error:
            with pytest.raises(RuntimeError, match=re.escape(str(error))):
                jitted(x, n)
        else:
            assert str(jitted(x, n)) == str(expected)


def test_powers_of_sizes_that_take_more_than_64_bits():
    def function(x):
        return x.sum() * x.shape[0] ** 8

    jitted = jitcore.jit(function, dynamic=True)
    for size in (3, 4, 300, 5):
        x = jitcore.ones(size, dtype=jitcore.float64)
        assert jitted(x).item() == function(x).item()


def test_contiguity_of_sizes_that_become_one():
    def f(x):
        return x.t().is_contiguous(), x.is_contiguous()

    for dynamic in (None, True):
        agree(
            jit(f, dynamic=dynamic), f, *[(jitcore.ones(*s),) for s in ((3, 4), (4, 4), (1, 4), (5, 1), (0, 3), (2, 3))]
        )


@pytest.mark.filterwarnings("ignore::jitcore.JitWarning")
@pytest.mark.parametrize("use", [json.dumps, lambda v: str(decimal.Decimal(v)), lambda v: statistics.mean([v, v])])
def test_numbers_given_to_code_that_takes_plain_ones(use):
    counts = []

    def f(x, by):
        counts.append(1)
        return use(x.sum().item()), use(by), x

    def fails(x, by):
        counts.append(1)
        return by + None

    for function in (f, fails):
        jitted = jit(function)
        for n in (1.0, 2.0, 3.0):
            outcomes = []
            for run in (jitted, function):
                counts.clear()
                try:
                    outcomes.append(run(vector(n), n)[:2])
                except TypeError as error:
                    outcomes.append(str(error))
            assert outcomes[0] == outcomes[1]
            assert len(counts) == 1


@pytest.mark.filterwarnings("ignore::jitcore.JitWarning")
def test_complex_of_a_number_that_python_was_given():
    def f(x, n):
        return x * (complex(n) * 2).real + complex(x.sum().item()).real

    agree(jit(f), f, *[(vector(n, 1), n + 0.5) for n in (1, 2, 1)])
