"""A jitted function that another one calls: its closure, defaults, code and state are watched as if it were no jitted
one, however the other gets hold of it."""

import functools

import pytest
from trap_checks import jit, quiet, seen_alike, vector

from jitcore import nn


def by_closure(inner, wrap):
    return wrap(lambda x: inner(x) + 1)


def by_argument(inner, wrap):
    outer = wrap(lambda x, f: f(x) + 1)
    return lambda x: outer(x, inner)


def by_attribute(inner, wrap):
    class Holder:
        pass

    holder = Holder()
    holder.f = inner
    return wrap(lambda x: holder.f(x) + 1)


def in_a_list(inner, wrap):
    functions = [inner]
    return wrap(lambda x: functions[0](x) + 1)


def by_partial(inner, wrap):
    f = functools.partial(inner)
    return wrap(lambda x: f(x) + 1)


def through_a_third(inner, wrap):
    middle = wrap(lambda x: inner(x) * 2)
    return wrap(lambda x: middle(x) + 1)


WAYS = [by_closure, by_argument, by_attribute, in_a_list, by_partial, through_a_third]


def closure(wrap):
    state = [0]
    return wrap(lambda x: x * state[0]), lambda n: state.__setitem__(0, n)


def variable(wrap):
    n = 0

    def change(value):
        nonlocal n
        n = value

    return wrap(lambda x: x * n), change


def default(wrap):
    def f(x, k=0):
        return x * k

    return wrap(f), lambda n: setattr(f, "__defaults__", (n,))


def captured_tensor(wrap):
    state = [vector(0)]
    return wrap(lambda x: x * state[0]), lambda n: state.__setitem__(0, vector(n))


def layer(wrap):
    class Scale(nn.Module):
        by = 0

        def forward(self, x):
            return x * self.by

    module = Scale()
    return wrap(module), lambda n: setattr(module, "by", n)


STATES = [closure, variable, default, captured_tensor, layer]


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("state", STATES, ids=lambda f: f.__name__)
@quiet
def test_what_an_inner_jitted_function_depends_on(state, way):
    def program(wrap):
        inner, change = state(wrap)
        outer = way(inner, wrap)
        for n in (1, 1, 2, 3, 3):
            change(n)
            yield outer(vector(1, 2)), inner(vector(1))

    assert seen_alike(program)


@quiet
def test_what_an_inner_jitted_function_changes():
    def program(wrap):
        seen = []
        inner = wrap(lambda x: (seen.append(1), x * len(seen))[1])
        outer = wrap(lambda x: inner(x) + 1)
        for _ in range(4):
            yield outer(vector(1, 2)), len(seen)

    assert seen_alike(program)


def test_calls_with_nothing_changed_are_replayed(ran):
    state = [2]
    inner = jit(lambda x: x * state[0])
    outer = jit(lambda x: inner(x) + 1)
    assert [outer(vector(n)).tolist() for n in range(4)] == [[2.0 * n + 1] for n in range(4)]
    assert len(ran) == 3
