"""Known traps of tracing: results that lie in one memory. A write that brings gradients to one of them afterwards
reaches those that autograd knows as views of the same tensor, as eagerly, and no others."""

import itertools

import pytest

import jitcore


def detached_argument(b):
    t = b.detach()
    return t, t[0], b[0], b


def new_and_detached(b):
    t = b * 2
    d = t.detach()
    return t, d, d[0], t[0], t[1].detach()


def argument_without_gradients(b):
    with jitcore.no_grad():
        n = b[0]
    return n, b[1]


def new_without_gradients(b):
    t = b * 3
    with jitcore.no_grad():
        n = t[0]
    return n, t


def detached_part(b):
    t = b[1:].detach()
    return t, t[0], b[1:].detach()[0]


WRITES = {
    "the argument": lambda b, results, a: b[0].copy_(a),
    "all of the first": lambda b, results, a: results[0][...].copy_(a),
    "part of the first": lambda b, results, a: results[0][-1].copy_(a[-1]),
    "all of the second": lambda b, results, a: results[1][...].copy_(a),
    "the last": lambda b, results, a: results[-1].mul_(a),
}


def seen(function, write):
    """After each call and a write: which results require gradients, which are views, and what they hold."""
    found = []
    for _ in range(3):
        b, a = jitcore.ones(2, 3), jitcore.full((3,), 2.0).requires_grad_()
        results = function(b)
        try:
            write(b, results, a)
        except RuntimeError as error:
            found.append(str(error)[:40])
        found += [(t.requires_grad, t._base is None, t.tolist()) for t in (b, *results)]
    return found


FUNCTIONS = (
    detached_argument, new_and_detached, argument_without_gradients, new_without_gradients, detached_part,
)  # fmt: skip


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize("function, write", list(itertools.product(FUNCTIONS, WRITES)))
def test_writes_with_gradients_reach_the_same_results_as_eagerly(function, write, native):
    jitted = jitcore.jit(function, native=native)
    assert seen(jitted, WRITES[write]) == seen(function, WRITES[write])
    (variant,) = jitted._recordings.variants()
    assert variant.hits == 2


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
def test_results_lie_in_memory_as_eagerly(native):
    """Whether `reshape` of a result is a view depends on it."""

    def f(a, w):
        doubled = a * 2
        return doubled, doubled.t(), doubled[1:], a.sum(0), (a.t() + w).exp()

    def run(function):
        strides, values = [], []
        for _ in range(3):
            w = jitcore.ones(4, 3).requires_grad_()
            results = function(jitcore.arange(12.0).reshape(4, 3).t(), w)
            strides.append([t.stride() for t in results])
            results[-1].sum().backward()
            results[0].reshape(-1).zero_()
            values += [*(t.detach() for t in results), w.grad]
        return strides, values

    jitted = jitcore.jit(f, native=native)
    (ours, given), (theirs, expected) = run(jitted), run(f)
    assert ours == theirs and ours[0][0] == (1, 3)
    for one, other in zip(given, expected, strict=True):
        assert jitcore.allclose(one, other, rtol=1e-5)
    (variant,) = jitted._recordings.variants()
    assert variant.hits == 2
