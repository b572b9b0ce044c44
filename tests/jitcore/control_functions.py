"""Functions with branches and loops, for the tests of control flow, and the default dtype that these want."""

import pytest

import jitcore
from jitcore import nn


@pytest.fixture(autouse=True)
def in_float64():
    before = jitcore.get_default_dtype()
    jitcore.set_default_dtype(jitcore.float64)
    yield
    jitcore.set_default_dtype(before)


X, W = [0.3, -0.2, 0.7], [1.1, 0.4, -0.6]


def branch(x, w):
    """Closes over w; one branch does not use it."""
    return jitcore.cond(x.sum() > 0, lambda a: (a * w).sin() ** 2, lambda a: a.exp() * a, (x,)).sum()


def recurrence(x, w):
    def step(carry, element):
        following = (carry * w + element).tanh()
        return following, following * element

    carry, ys = jitcore.scan(step, w * 2, x.reshape(3, 1) * w)
    return carry.sum() + (ys * ys).sum()


def backwards(x, w):
    def step(carry, element):
        total = {"a": carry["a"] + element[0], "b": carry["b"] * element[1]}
        return total, (carry["a"] * w.sum(), [total["b"]])

    carry, (ys, (zs,)) = jitcore.scan(step, {"a": w, "b": w.sum()}, [x.reshape(3, 1) * w, x], reverse=True)
    return (carry["a"] * carry["b"]).sum() + (ys * zs.reshape(3, 1)).sin().sum()


def nested(x, w):
    def step(carry, element):
        chosen = jitcore.cond(element > 0, lambda c: c * element, lambda c: (c * w).sin().sum(), (carry,))
        inner, _ = jitcore.scan(lambda a, b: (a * b + chosen, a), chosen, w)
        return inner.tanh(), chosen

    carry, ys = jitcore.scan(step, x.sum(), x)
    return carry + (ys * ys).sum()


def mapped(x, w):
    return jitcore.map(lambda element, v: (element * v).sin().sum(), x, w).prod()


def drawing(x, w):
    def step(carry, element):
        following = carry * jitcore.rand(3) + element
        return following * w, nn.functional.dropout(following, 0.5)

    carry, ys = jitcore.scan(step, w, x)
    return carry.sum() + ys.sum()


def drawing_branch(x, w):
    drawn = jitcore.cond(x.sum() > 0, lambda: (x * jitcore.rand(3) * w).sum(), lambda: x.sum() * w.sum())
    return drawn + (jitcore.rand(3) * w).sum()


class Straight(jitcore.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a.round()

    @staticmethod
    def backward(ctx, g):
        return g * 2


def cut_off(x, w):
    """A body that detaches and has a derivative of its own kind."""

    def step(carry, element):
        return carry.detach() * element + carry * w.sum(), Straight.apply(carry * element)

    carry, ys = jitcore.scan(step, w.sum(), x)
    return carry + ys.sum()


FUNCTIONS = [branch, recurrence, backwards, nested, mapped, drawing, drawing_branch, cut_off]


def leaves(sign=1.0):
    x = (jitcore.tensor(X) * sign).requires_grad_()
    return x, jitcore.tensor(W, requires_grad=True)
