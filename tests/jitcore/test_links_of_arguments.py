"""Arguments that are, or share memory with, what the function reaches otherwise: another part of that memory, or
another object on it, is another call.

Each case makes a world of its own: a function, and calls that say what it is given.
"""

import pytest
from trap_checks import quiet, same

import jitcore


def parts_of_captured():
    held = jitcore.arange(6.0)

    def f(b):
        part = held[1:3]
        return part, part * 2, b * 1

    return f, lambda: [held[1:3], held[1:3], held[:2], held[1:3], held[3:5], jitcore.ones(2), held[1:3]]


def parts_of_captured_written():
    held = jitcore.arange(6.0)

    def f(b):
        held[1:3].add_(1)
        b.mul_(2)
        return b * 1, held.sum()

    return f, lambda: [held[1:3], held[1:3], held[:2], held[3:5], jitcore.ones(2), held[1:3], held[2:4]]


def captured_itself():
    held = jitcore.arange(4.0)

    def f(a):
        return (a * 2 if a is held else a * 3), held * 1

    return f, lambda: [held, held, held[:], held.detach(), held, jitcore.ones(4), held.detach()]


def captured_itself_later():
    f, calls = captured_itself()
    return f, lambda: calls()[::-1]


def parts_of_a_gradient():
    weight = jitcore.ones(4, requires_grad=True)
    (weight * jitcore.arange(4.0)).sum().backward()

    def f(b):
        return weight.grad[1:3] * 2, b * 1

    grad = weight.grad
    return f, lambda: [grad[1:3], grad[1:3], grad[:2], grad[2:], jitcore.ones(2), grad[1:3]]


def replaced_gradient():
    """A new gradient in each call, which the argument lies in or does not."""
    weight = jitcore.ones(4, requires_grad=True)

    def f(b):
        return weight.grad[1:3] * 2, b * 1

    def calls():
        for number in range(6):
            weight.grad = None
            (weight * jitcore.arange(4.0) * (number + 1)).sum().backward()
            yield weight.grad[1:3] if number % 3 < 2 else jitcore.ones(2)

    return f, calls


def gradient_itself():
    def parameter():
        made = jitcore.ones(4, requires_grad=True)
        (made * jitcore.arange(4.0)).sum().backward()
        return made

    p, q, r = parameter(), parameter(), parameter()

    def f(x, g):
        return x.grad * 2, g * 1, int(x.grad is g)

    return f, lambda: [
        (p, p.grad), (q, q.grad), (p, p.grad), (p, q.grad), (p, p.grad[:]), (p, p.grad.detach()), (r, r.grad),
    ]  # fmt: skip


def gradient_itself_later():
    f, calls = gradient_itself()
    return f, lambda: calls()[::-1]


CASES = [
    parts_of_captured, parts_of_captured_written, captured_itself, captured_itself_later, parts_of_a_gradient,
    replaced_gradient, gradient_itself, gradient_itself_later,
]  # fmt: skip


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@quiet
def test_other_parts_and_other_objects_are_other_calls(case, native):
    given = []
    for wrap in (lambda f: f, lambda f: jitcore.jit(f, native=native)):
        f, calls = case()
        f = wrap(f)
        given.append([f(*(c if isinstance(c, tuple) else (c,))) for c in calls()])
    assert same(given[1], given[0])


def test_a_custom_update_of_parameters_and_their_gradients_is_recorded_once():
    """That an argument is a gradient which the function reads is how it is in every call."""
    parameters = [jitcore.ones(3, requires_grad=True) for _ in range(5)]

    @jitcore.jit(native=False)
    def step(x, g):
        return x.grad * 2 + g

    for number, x in enumerate(parameters):
        (x * number).sum().backward()
        assert step(x, x.grad).tolist() == [3.0 * number] * 3
    [entry] = step._recordings.entries.values()
    assert [v.hits for v in entry.variants] == [4]


def hidden_base():
    held = jitcore.zeros(6).reshape(2, 3)
    return (lambda b: (held[::2], held.detach()[0], held)), [jitcore.ones(1)] * 3, held


def base_of_arguments():
    whole = jitcore.zeros(6)

    def f(pair):
        a, b = pair
        a.mul_(2)
        return a[::2], b.view(-1), a.detach()

    return f, [(whole[:3], whole[1:5])] * 3, whole


def base_of_arguments_that_was_detached():
    whole = jitcore.zeros(8)[2:].detach()

    def f(pair):
        a, b = pair
        a.mul_(2)
        return a[::2], b.view(-1), a.detach()

    return f, [(whole[:3], whole[1:5])] * 3, whole


@pytest.mark.parametrize("case", [hidden_base, base_of_arguments, base_of_arguments_that_was_detached])
@quiet
def test_a_result_is_a_view_of_the_tensor_that_it_is_a_view_of_eagerly(case):
    """Which is seen when that gets a history later."""
    seen = []
    for wrap in (lambda f: f, lambda f: jitcore.jit(f, native=False)):
        f, calls, held = case()
        f = wrap(f)
        results = [f(given) for given in calls]
        held.add_(jitcore.ones((), requires_grad=True) * 2)
        base = held if held._base is None else held._base
        seen.append([[(t.requires_grad, t._base is base, t.tolist()) for t in result] for result in results])
    assert seen[1] == seen[0]
    assert any(flag for flag, _, _ in seen[0][1])


def test_a_view_of_a_captured_tensor_that_is_an_argument_too_is_a_new_object():
    held = jitcore.arange(4.0).reshape(2, 2)
    f = jitcore.jit(lambda b: held[1:], native=False)
    for _ in range(3):
        given = held[1:]
        result = f(given)
        assert result is not given and result._base is given._base and result.tolist() == [[2.0, 3.0]]


def test_data_exchanged_between_calls_is_followed():
    held = jitcore.arange(6.0).reshape(2, 3)
    f = jitcore.jit(lambda b: (held[0] * b, held[1:]), native=False)
    for number in range(3):
        assert same(f(jitcore.ones(())), (held[0] * 1, held[1:]))
        held.data = jitcore.full((2, 3), float(number))
        assert same(f(jitcore.ones(())), (held[0] * 1, held[1:]))
