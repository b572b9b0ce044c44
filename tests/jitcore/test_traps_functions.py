"""Known traps of tracing, one test each: the function as an object.

Every call gives the right answer or a clear error.
"""

import contextlib
import copy
import functools
import gc
import pickle
import threading
import warnings
import weakref

import pytest
from trap_checks import Scaler, agree, jit, same, vector

import jitcore
from jitcore import nn


def test_nested_jit():
    inner = jit(lambda x: x * 2 if x.sum() > 0 else x * 3)

    def f(x):
        return inner(x) + inner(-x)

    agree(jit(f), f, *[(vector(v),) for v in (1, -1, 2, 0)])


def test_recursion():
    @jit
    def f(x, depth):
        return x if depth == 0 else f(x * 2, depth - 1) + 1

    for _ in range(2):
        for depth in (0, 3, 1):
            value = f(vector(1), depth).item()
            assert value == 2**depth * 1 + sum(1 for _ in range(depth))


def test_recursion_on_data():
    def f(x):
        return x if x.sum() > 20 else f(x * 2) + 1

    agree(jit(f), f, *[(vector(v),) for v in (30, 9, 1, 30, 3)])


def test_generators_inside_and_as_result():
    def f(x):
        def halves():
            for n in range(x.shape[0]):
                yield x[n] / 2

        return sum(halves()), list(halves())

    agree(jit(f), f, (vector(1, 2),), (vector(3, 4),), (vector(1, 2, 3),))

    def g(x):
        for n in range(2):
            yield x * n

    jitted = jit(g)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in (1, 2, 3):
            assert [t.item() for t in jitted(vector(n))] == [0, n]


def test_threads_call_one_function_while_it_is_recorded():
    def f(x):
        return (x * 2 if x.sum() > 0 else x * 3), x.shape[0]

    jitted = jit(f)
    wrong = []

    def work(number):
        for n in range(60):
            x = jitcore.full((1 + (n + number) % 3,), float((-1) ** n * (n + 1)))
            if not same(jitted(x), f(x)):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_exception_in_the_middle_leaves_every_tensor_as_it_was():
    state = vector(1, 2)
    weight = nn.Parameter(vector(3, 4))

    def f(x):
        state.add_(x)
        x.mul_(2)
        (weight * x).sum().backward()
        if state.sum() > 50:
            raise KeyError("too much")
        return state * 1

    jitted = jit(f)
    for value in (1, 30, 2, 40, 3):
        x = vector(value, value)
        before = state.tolist(), x.tolist(), None if weight.grad is None else weight.grad.tolist()
        try:
            assert jitted(x).tolist() == [a + value for a in before[0]]
            assert x.tolist() == [2 * value, 2 * value]
        except KeyError:
            assert value >= 30
            assert before == (state.tolist(), x.tolist(), None if weight.grad is None else weight.grad.tolist())
    assert state.tolist() == [7, 8]


def test_try_and_except_inside():
    def f(x, n):
        try:
            y = x[n]
        except IndexError:
            y = x[0] * 100
        finally:
            x = x + 1
        try:
            if y > 50:
                raise ValueError("large")
        except ValueError:
            y = y / 10
        return x, y

    agree(jit(f), f, *[(vector(a, 2), n) for a in (1, 60) for n in (0, 1, 5)] * 2)


def test_context_managers_inside():
    class Scaled:
        by = 1.0

        @contextlib.contextmanager
        def scaled(self, by):
            old, self.by = self.by, by
            try:
                yield self
            finally:
                self.by = old

    holder = Scaled()

    def f(x):
        with holder.scaled(3.0), contextlib.suppress(ZeroDivisionError):
            x = x * holder.by
            1 / 0  # noqa: B018
        return x * holder.by

    agree(jit(f), f, *[(vector(n),) for n in range(3)])


def test_warnings_inside_are_seen_at_the_first_call_or_each():
    def f(x):
        warnings.warn("deprecated", UserWarning, stacklevel=1)
        return x * 2

    jitted = jit(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(3):
            assert jitted(vector(n)).item() == 2 * n
    assert any("deprecated" in str(w.message) for w in caught)


@pytest.mark.parametrize("kind", ["partial", "lambda", "bound method", "callable object", "built-in", "class method"])
def test_kinds_of_callables(kind):
    def scaled(by, x):
        return x * by

    class Static:
        @classmethod
        def run(cls, x):
            return x * 2

    made = {
        "partial": functools.partial(scaled, 2), "lambda": lambda x: x * 2, "bound method": Scaler(0).run,
        "callable object": Scaler(1), "built-in": jitcore.neg, "class method": Static.run,
    }[kind]  # fmt: skip
    agree(jit(made), made, *[(vector(n, 1),) for n in range(3)])


def test_partial_with_a_tensor_and_with_changing_values():
    def scaled(x, by, plus):
        return x * by + plus

    by = vector(2)
    jitted = jit(functools.partial(scaled, by=by, plus=1))
    for n in (2, 5, 7):
        by.fill_(n)
        assert jitted(vector(3)).item() == 3 * n + 1
    assert jitted(vector(3), plus=4).item() == 25


def test_decorated_function():
    def logged(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs) + wrapper.extra

        wrapper.extra = 1
        return wrapper

    @logged
    def f(x):
        return x * 2

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    f.extra = 5
    agree(jitted, f, (vector(1),), (vector(1),))


def test_a_function_that_is_dropped_frees_its_recordings():
    holder = nn.Linear(2, 2)
    weight = weakref.ref(holder.weight)
    jitted = jit(lambda x, layer=holder: layer(x))
    for _ in range(3):
        jitted(vector(1, 2))
    gone = weakref.ref(jitted)
    del jitted, holder
    gc.collect()
    assert gone() is None and weight() is None


def test_a_jitted_function_does_not_keep_its_arguments_alive():
    jitted = jit(lambda x: x * 2)
    x = vector(1, 2)
    kept = weakref.ref(x)
    jitted(x), jitted(x), jitted(x)
    del x
    gc.collect()
    assert kept() is None
    result = jitted(vector(1, 2))
    kept = weakref.ref(result)
    del result
    gc.collect()
    assert kept() is None


def test_deepcopy_of_a_jitted_module_is_independent():
    model = nn.Linear(2, 2)
    jitted = jit(model)
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    twin = copy.deepcopy(jitted)
    with jitcore.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    assert jitted(vector(1, 2)).tolist() == [0, 0]
    for _ in range(2):
        assert twin(vector(1, 2)).abs().sum().item() > 0


def test_pickle_of_a_jitted_module_keeps_the_weights():
    jitted = jit(nn.Linear(2, 2))
    expected = jitted(vector(1, 2)), jitted(vector(1, 2))
    loaded = pickle.loads(pickle.dumps(jitted))
    for _ in range(2):
        assert same(loaded(vector(1, 2)), expected[1])


def test_a_jitted_module_is_still_a_module_to_its_user():
    model = nn.Linear(2, 2)
    jitted = jit(model)
    jitted(vector(1, 2))
    assert list(jitted.state_dict()) == ["weight", "bias"] and len(list(jitted.parameters())) == 2
    jitted.eval()
    assert not model.training


def test_two_functions_from_one_factory_are_apart():
    def make(by):
        return jit(lambda x: x * by)

    two, three = make(2), make(3)
    for _ in range(3):
        assert two(vector(1)).item() == 2 and three(vector(1)).item() == 3
