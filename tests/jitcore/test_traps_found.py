"""Known traps of tracing, one test each: what random programs and a closer look have found.

Every call gives the right answer or a clear error.
"""

import types

import numpy as np
import pytest
from trap_checks import agree, jit, quiet, same, vector

import jitcore
from jitcore import nn


@quiet
def test_a_list_or_dict_argument_that_the_function_changes():
    def f(batch, items):
        batch["y"] = batch["x"] * 2
        items.append(batch["y"] + 1)
        return items[-1]

    jitted = jit(f)
    for n in range(4):
        batch, items = {"x": vector(n)}, []
        assert jitted(batch, items).item() == 2 * n + 1
        assert batch["y"].item() == 2 * n and len(items) == 1


@quiet
def test_iterators_are_used_up_by_every_call():
    counter = iter(range(100))
    jitted = jit(lambda x: x + next(counter))
    assert [jitted(vector(0)).item() for _ in range(4)] == [0, 1, 2, 3]
    taking = jit(lambda x, source: x + next(source))
    assert [taking(vector(0), counter).item() for _ in range(3)] == [4, 5, 6]


@quiet
def test_a_result_that_is_an_object_of_its_own_is_made_anew():
    jitted = jit(lambda x: types.SimpleNamespace(doubled=x * 2))
    assert [jitted(vector(n)).doubled.item() for n in range(3)] == [0, 2, 4]


def test_attributes_of_what_another_function_returns():
    class Config:
        scale = 1.0

    config, several = Config(), [Config(), Config()]

    def get():
        return config

    def total():
        return sum(item.scale for item in several)

    def f(x):
        return x * get().scale + total() * len(several)

    jitted = jit(f)
    for scale in (1.0, 2.0, 2.0, 3.0):
        config.scale = scale
        agree(jitted, f, (vector(1),), (vector(2),))
        several[1].scale = scale
        agree(jitted, f, (vector(1),), (vector(2),))


def test_attribute_of_a_child_read_by_its_parent():
    class Child(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = 1.0

        def forward(self, x):
            return x

    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = Child()

        def forward(self, x):
            return self.child(x) * self.child.gain

    model = nn.Sequential(Parent())
    jitted = jit(model)
    for gain in (1.0, 2.0, 2.0):
        model[0].child.gain = gain
        agree(jitted, model, (vector(1),), (vector(1),))


def test_attributes_and_items_of_objects_that_are_arguments():
    class Options:
        scale = 1.0

    options, chosen = Options(), {1}

    def f(x, options, chosen):
        return x * options.scale + len(chosen)

    jitted = jit(f)
    for n in (1, 2, 2, 3):
        options.scale = float(n)
        chosen.add(n)
        assert same(jitted(vector(1), options, chosen), f(vector(1), options, chosen))


def test_gradient_of_an_argument_is_set_on_the_argument_of_the_call():
    def f(x):
        (x * x).sum().backward()
        return x.grad

    jitted = jit(f)
    for n in range(4):
        x = vector(n).requires_grad_()
        result = jitted(x)
        assert result is x.grad and x.grad.item() == 2 * n
        jitted(x)
        assert x.grad.item() == 4 * n


def test_a_captured_tensor_passed_as_an_argument():
    state = vector(0, 0)

    def f(x):
        state.add_(1)
        return x + state

    jitted = jit(f)
    runs = []
    for function in (f, jitted):
        state.zero_()
        runs.append([function(x).tolist() for x in (state, vector(1, 1), state, vector(1, 1), vector(0, 0))])
    assert runs[0] == runs[1]


@quiet
def test_numpy_generators_draw_each_call():
    source = np.random.default_rng(0)
    jitted = jit(lambda x: x + source.random())
    assert len({jitted(jitcore.zeros(1, dtype=jitcore.float64)).item() for _ in range(5)}) == 5


@quiet
def test_sizes_and_integers_that_decide_stay_right_once_they_are_symbols():
    def f(x, n):
        y = x[:n]
        if x.shape[0] > 3:
            y = y * 2
        try:
            y = y + x[3]
        except IndexError:
            y = y - 1
        rows = x.reshape(x.shape[0] // 2, 2) if x.shape[0] % 2 == 0 else x[None]
        return y.sum() / (x.shape[0] + 1), rows, len(x), n // 2, str(tuple(x.shape)), jitcore.zeros(x.shape)

    agree(
        jit(f), f, *[(jitcore.ones(a), b) for a, b in ((2, 1), (3, 2), (5, 4), (1, 1), (0, 0), (8, 3), (4, 9), (6, 0))]
    )


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
def test_results_with_the_same_elements_do_not_share_memory(native):
    def f(x):
        one, two = x + 1, x * 2
        two.copy_(one)
        three = jitcore.empty_like(two).copy_(two)
        return one, two, three, two[:1]

    jitted = jitcore.jit(f, native=native)
    for _ in range(3):
        one, two, three, part = jitted(vector(1, 2))
        part.zero_()
        for result, expected in ((one, [2, 3]), (two, [0, 3]), (three, [2, 3])):
            assert result.tolist() == expected


def test_numbers_reversed_along_the_dimension_they_do_not_have():
    def f(x):
        return x.amax(0).flip(0) + x.sum().flip(-1)

    jitted = jit(f)
    agree(jitted, f, *[(vector(*range(n)),) for n in (2, 2, 5, 7, 1)])
    assert len(jitted._recordings.variants()) == 2 and not jitted._eager_calls
    with pytest.raises(IndexError, match="Dimension out of range"):
        f(vector(1).sum()).flip(1)
