"""Compiled functions in the traps of tracing that need machine code, processes or threads; the others are in
`test_traps_*.py`."""

import os
import threading
import warnings

import numpy as np
import pytest

import jitcore
from jitcore import nn

SETTINGS = {"scale": 2.0}


def check(function, *calls):
    """Jitted and eager agree on each call (a tuple of arguments), in value and in what happened to the arguments."""
    jitted = jitcore.jit(function)
    for arguments in calls:
        ours = [a.clone() if isinstance(a, jitcore.Tensor) else a for a in arguments]
        theirs = [a.clone() if isinstance(a, jitcore.Tensor) else a for a in arguments]
        given, expected = jitted(*ours), function(*theirs)
        np.testing.assert_allclose(numbers(given), numbers(expected), rtol=1e-6, atol=1e-6)
        for a, b in zip(ours, theirs, strict=True):
            if isinstance(a, jitcore.Tensor):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)
    return jitted


def numbers(tree):
    leaves = tree if isinstance(tree, tuple | list) else tree.values() if isinstance(tree, dict) else [tree]
    return np.concatenate([np.ravel(x.detach().numpy() if isinstance(x, jitcore.Tensor) else x) for x in leaves])


def vector(*values):
    return jitcore.tensor([float(v) for v in values])


def test_branch_on_data_takes_the_branch_of_each_call():
    def f(x):
        return x * 2 if x.sum() > 0 else x - 1

    jitted = check(f, *[(vector(v, v),) for v in (1, -1, 2, -2, 3)])
    assert jitted.explain().count("bool() gave") == 2


def test_more_outcomes_than_the_budget_run_eagerly():
    def f(x):
        return x * float(x[0])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(f, *[(vector(v, 1),) for v in range(40)])
    said = [str(w.message) for w in caught if issubclass(w.category, jitcore.JitWarning)]
    assert len(said) == len(set(said)) and "was recorded 3 times more" in said[0]


def test_argument_that_the_function_reaches_by_itself_too():
    held = vector(1, 2)

    def reads(x):
        return x + held * 10

    def writes(x):
        held.add_(x)
        return x * 2

    for f in (reads, writes):
        jitted = jitcore.jit(f)
        for first in (True, False):
            for other in (True, False, True, False):
                results = []
                for function in (jitted, f):
                    held.copy_(vector(1, 2))
                    results.append(function(held if other is first else vector(5, 6)).tolist() + held.tolist())
                assert results[0] == results[1]
    layer = nn.Linear(2, 2)
    jitted = jitcore.jit(lambda x: layer.weight * x.sum())
    for x in (layer.weight, jitcore.ones(2, 2, requires_grad=True), layer.weight):
        np.testing.assert_allclose(jitted(x).detach().numpy(), (layer.weight * x.sum()).detach().numpy(), rtol=1e-6)


def test_tensors_in_lists_may_be_others_in_each_call():
    jitted = check(lambda xs: sum(xs), ([vector(1), vector(2)],))
    for n in range(4):
        assert jitted([vector(n), vector(2)]).item() == n + 2
    assert len(jitted._recordings.variants()) == 1


def test_results_made_through_local_lists_are_each_calls_own():
    def f(x):
        parts = [x, x * 2, x.T]
        return tuple(parts[n] for n in (1, 2))

    jitted = jitcore.jit(f)
    for n in range(4):
        x = jitcore.full((2, 2), float(n))
        assert [part.sum().item() for part in jitted(x)] == [8 * n, 4 * n]


UNRELATED = 0


def test_global_with_the_name_of_an_attribute_is_not_watched():
    global UNRELATED
    layer = nn.Linear(1, 1)
    layer.UNRELATED = 2.0
    jitted = jitcore.jit(lambda x: layer(x) * layer.UNRELATED)
    for number in range(3):
        UNRELATED = number
        jitted(vector(1).reshape(1, 1))
    assert len(jitted._recordings.variants()) == 1


def test_replaced_parameter_is_used():
    layer = nn.Linear(2, 2)
    jitted = jitcore.jit(layer)
    x = jitcore.ones(1, 2)
    for _ in range(3):
        jitted(x)
    layer.weight = nn.Parameter(jitcore.zeros(2, 2))
    layer.bias = None
    assert jitted(x).abs().sum().item() == 0


def test_overlapping_numpy_memory_with_a_write():
    memory = np.arange(6, dtype=np.float32)

    def f(x, y):
        x.mul_(2)
        return y + 0

    jitted = jitcore.jit(f)
    for _ in range(3):
        x, y = jitcore.from_numpy(memory[:4]), jitcore.from_numpy(memory[2:])
        expected = memory.copy()
        expected[:4] *= 2
        np.testing.assert_allclose(jitted(x, y).numpy(), expected[2:])
        np.testing.assert_allclose(memory, expected)


def test_writes_to_arguments_captured_tensors_and_their_views():
    state = jitcore.zeros(3)
    view = state[1:]

    def f(x):
        x.mul_(2)
        state[0] = x.sum()
        view.add_(x[:2])
        return state.clone()

    jitted = jitcore.jit(f)
    expected = np.zeros(3, np.float32)
    for n in range(4):
        x = np.array([n, 1, 2], np.float32)
        argument = jitcore.tensor(x)
        expected[0] = 2 * x.sum()
        expected[1:] += 2 * x[:2]
        np.testing.assert_allclose(jitted(argument).numpy(), expected)
        np.testing.assert_allclose(argument.numpy(), 2 * x)
        np.testing.assert_allclose(view.numpy(), expected[1:])


def test_results_that_are_inputs_views_or_share_memory():
    def f(x):
        y = x * 2
        return x, x[1:], y, y[0]

    jitted = jitcore.jit(f)
    for _ in range(3):
        x = vector(1, 2, 3)
        same, tail, made, head = jitted(x)
        assert same is x
        tail.fill_(7)
        assert x.tolist() == [1, 7, 7]
        made.fill_(5)
        assert head.item() == 5


@pytest.mark.parametrize("sizes", [(1, 8, 1, 0, 8)])
def test_shapes_and_dtypes_change(sizes):
    def f(x):
        return (x + 1).sum(0) / max(x.shape[0], 1)

    check(f, *[(jitcore.ones(n, 3),) for n in sizes], (jitcore.ones(2, 3, dtype=jitcore.float64),))


def test_double_backward_through_a_jitted_function():
    jitted = jitcore.jit(lambda x: (x**3).sum())
    for _ in range(3):
        x = vector(2, 3).requires_grad_()
        (first,) = jitcore.autograd.grad(jitted(x), [x], create_graph=True)
        (second,) = jitcore.autograd.grad(first.sum(), [x])
        np.testing.assert_allclose(second.numpy(), [12, 18], rtol=1e-5)


def test_gradients_accumulate_without_zero_grad():
    layer = nn.Linear(2, 1, bias=False)

    def step(x):
        layer(x).sum().backward()

    jitted = jitcore.jit(step)
    for n in range(1, 5):
        jitted(jitcore.ones(1, 2))
        np.testing.assert_allclose(layer.weight.grad.numpy(), [[n, n]])


def test_index_error_at_replay_leaves_inputs_untouched():
    def f(x, index):
        x.add_(1)
        return x[index]

    jitted = jitcore.jit(f)
    x = vector(1, 2, 3)
    for _ in range(2):
        jitted(x, jitcore.tensor([0, 2]))
    before = x.tolist()
    with pytest.raises(IndexError):
        jitted(x, jitcore.tensor([0, 9]))
    assert x.tolist() == before
    np.testing.assert_allclose(jitted(x, jitcore.tensor([1, 2])).numpy(), np.array(before)[1:] + 1)


def test_nested_jit_recursion_methods_and_interpreted():
    inner = jitcore.jit(lambda x: x * 2)

    class Scaler:
        def __init__(self, by):
            self.by = by

        @jitcore.jit
        def run(self, x):
            return inner(x) * self.by

    two, three = Scaler(2), Scaler(3)
    for _ in range(3):
        assert two.run(vector(1)).item() == 4 and three.run(vector(1)).item() == 6
    interpreted = jitcore.jit(lambda x: (x * 3).sum(), native=False)
    for n in range(3):
        assert interpreted(vector(n, 1)).item() == 3 * (n + 1)


def test_two_threads_call_one_function():
    jitted = jitcore.jit(lambda x: (x @ x).tanh().sum(0))
    x = [jitcore.tensor(np.random.default_rng(n).standard_normal((40, 40)).astype(np.float32)) for n in range(2)]
    jitted(x[0])
    expected = [jitted(v).numpy() for v in x]
    wrong = []

    def work(n):
        for _ in range(200):
            if not np.array_equal(jitted(x[n]).numpy(), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_forked_child_calls_a_compiled_function():
    jitted = jitcore.jit(lambda x: (x * 2).sum(1))
    x = jitcore.ones(2000, 500)
    for _ in range(2):
        jitted(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if float(jitted(x)[7]) == 1000 else 1)
    assert os.waitpid(child, 0)[1] == 0
