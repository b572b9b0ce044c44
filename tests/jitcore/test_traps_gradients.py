"""Known traps of tracing, one test each: gradients.

Every call gives the right answer or a clear error.
"""

import copy
import warnings

import pytest
from trap_checks import jit, quiet, same, vector

import jitcore
from jitcore import nn


def test_gradients_accumulate_and_may_be_cleared_in_between():
    layer, twin = nn.Linear(2, 1), None
    twin = copy.deepcopy(layer)

    def step(model, x):
        loss = model(x).sum()
        loss.backward()
        return loss.detach()

    jitted = jit(step)
    for n, clear in enumerate((False, False, True, False, True, True, False)):
        if clear:
            layer.zero_grad(), twin.zero_grad()
        assert same(jitted(layer, vector(n, 1)), step(twin, vector(n, 1)))
        assert same(layer.weight.grad, twin.weight.grad)


def test_retain_graph_and_second_backward_is_an_error():
    layer = nn.Linear(2, 1)
    jitted = jit(layer)
    for _ in range(3):
        loss = jitted(vector(1, 2)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_an_input_written_between_forward_and_backward_is_an_error():
    jitted = jit(lambda x: (x * x).sum())
    for _ in range(3):
        x = vector(1, 2).requires_grad_()
        y = x * 1
        loss = jitted(y)
        y.detach().add_(1)
        with pytest.raises(RuntimeError, match="modified by an in"):
            loss.backward()


def test_hooks_on_a_leaf_run_each_time():
    seen = []
    weight = nn.Parameter(vector(1, 2))
    weight.register_hook(lambda grad: seen.append(grad.tolist()))

    def f(x):
        return (weight * x).sum()

    jitted = jit(f)
    for n in range(1, 4):
        jitted(vector(n, n)).backward()
    assert seen == [[1, 1], [2, 2], [3, 3]]


def test_learning_rate_and_momentum_changed_later():
    def build():
        weight = nn.Parameter(vector(1, 2))
        optimizer = jitcore.optim.SGD([weight], lr=0.1, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = (weight * x).square().sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step, optimizer, weight

    (ours, our_optimizer, our_weight), (theirs, optimizer, weight) = build(), build()
    jitted = jit(ours)
    for n, lr in enumerate((0.1, 0.1, 0.05, 0.2, 0.0, 0.1)):
        our_optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] = lr
        if n == 4:
            our_optimizer.param_groups[0]["momentum"] = optimizer.param_groups[0]["momentum"] = 0.5
        assert same(jitted(vector(1, n)), theirs(vector(1, n))) and same(our_weight, weight)


TWICE = {
    "sum": lambda x, y: x - y,
    "times a number": lambda x, y: x * 2.0 + y,
    "times a tensor": lambda x, y: x * y,
    "exp": lambda x, y: x.exp(),
    "view": lambda x, y: x[1:] + y.sum(),
}


@pytest.mark.parametrize("name", TWICE)
def test_backward_twice_is_an_error_where_eager_execution_saves_something(name):
    function = TWICE[name]
    jitted = jit(function)

    def seen(f):
        x = vector(1, 2).requires_grad_()
        result = f(x, vector(3, 4))
        result.sum().backward()
        try:
            result.sum().backward()
        except RuntimeError as error:
            assert "second time" in str(error)
            return x.grad, True
        return x.grad, False

    for _ in range(3):
        assert same(seen(jitted), seen(function))
    assert jitted._recordings.variants()[0].hits == 2


@pytest.mark.parametrize("make", [lambda: vector(1, 2), lambda: vector(1, 2).reshape(2, 1)[:, 0]], ids=["base", "view"])
def test_history_that_a_write_gives_to_a_tensor_from_outside(make):
    def run(wrap):
        x, total = vector(2).requires_grad_(), make()

        def f(t):
            total.add_(t.sum())
            return total * 2

        function = wrap(f)
        for t in (x, x, x, total):
            result = function(t)
        result.sum().backward()
        return result.detach(), x.grad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        assert same(run(jit), run(lambda f: f))


@pytest.mark.parametrize("make", [lambda x: x.double(), lambda x: -x, lambda x: x.view(-1).clone(), lambda x: x.sum(0)])
def test_gradients_reach_the_leaf_that_each_call_s_argument_was_made_from(make):
    def step(x):
        loss = (x**2).sum()
        loss.backward()
        return loss.detach()

    jitted = jit(step)
    earlier = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in (1, 2, 3):
            ours, theirs = (vector(n, 1).requires_grad_() for _ in range(2))
            assert same(jitted(make(ours)), step(make(theirs)))
            assert same(ours.grad, theirs.grad) and not any(x.grad is not None for x in earlier)
            ours.grad = None
            earlier.append(ours)


def test_gradients_reach_a_captured_tensor_s_history_as_it_is_now():
    leaf = vector(1, 2).requires_grad_()
    hidden = [-leaf]

    def step(x):
        loss = (hidden[0] + x).sum()
        loss.backward()
        return loss.detach()

    jitted = jit(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for sign in (-1, 1, -1):
            hidden[0] = leaf.clone() if sign == 1 else -leaf
            leaf.grad = None
            jitted(vector(1, 1))
            assert leaf.grad.tolist() == [sign, sign]


@quiet
def test_hooks_with_state_of_their_own():
    def build(wrap):
        weight = vector(1, 2).requires_grad_()
        count, table, by = [0], {"by": 2.0}, 3.0

        def hook(gradient):
            count[0] += 1
            return gradient * count[0]

        def other(gradient):
            return gradient * by * table["by"]

        def change(value):
            nonlocal by
            by = table["by"] = value

        handles = [weight.register_hook(hook), weight.register_hook(other)]

        def step(x):
            weight.grad = None
            loss = (x * weight).sum()
            loss.backward()
            return weight.grad.clone()

        return wrap(step), handles, change

    (jitted, *mine), (eager, *theirs) = build(jit), build(lambda f: f)
    for n in range(8):
        if n == 4:
            mine[0][0].remove(), theirs[0][0].remove()
        if n == 6:
            mine[1](7.0), theirs[1](7.0)
        assert same(jitted(vector(1, n)), eager(vector(1, n)))


def test_gradients_end_at_a_leaf_and_go_on_into_history():
    def seen(wrap):
        weight = nn.Parameter(vector(1, 1, 1))
        held = vector(1, 2, 3).requires_grad_()

        @wrap
        def f(a):
            (a.sum() * weight + held).sum().backward()

        a, found = vector(1), []
        f(a), f(a)
        a.requires_grad_()
        leaf = a
        for turn in range(6):
            if turn % 2:
                a = a + 1
            if turn == 3:
                with jitcore.no_grad():
                    held.requires_grad_(False)
                held.mul_(leaf.detach().clone().requires_grad_())
            try:
                f(a)
            except RuntimeError as error:
                found.append(str(error)[:30])
            found.append((leaf.grad, a.grad if a.is_leaf else None, a._grad, weight.grad.tolist(), held._grad))
        return repr(found)

    assert seen(jit) == seen(lambda f: f)


@pytest.mark.parametrize("make", [lambda: vector(1, 2, 3).reshape(3), lambda: vector(0, 1, 2, 3)[1:],
                                  lambda: vector(1, 2, 3)])  # fmt: skip
@pytest.mark.parametrize("beside", [False, True])
def test_a_parameter_that_is_a_view_of_its_memory_is_frozen_later(make, beside):
    def seen(wrap):
        weight, total = nn.Parameter(make()), vector(0, 0, 0)

        @wrap
        def f(x):
            if beside:
                total.add_(weight.detach())
            return (x * weight).square().sum()

        found = []
        for turn in range(8):
            if turn in (3, 6):
                weight.requires_grad_(not weight.requires_grad)
            result = f(vector(2))
            found.append((result.item(), result.requires_grad, total.tolist()))
            if result.requires_grad:
                result.backward()
            found.append(weight.grad.tolist())
        return found

    assert seen(jit) == seen(lambda f: f)
