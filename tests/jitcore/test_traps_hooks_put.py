"""Hooks that a function puts on tensors that outlive its call are put on in every call."""

import pytest
from trap_checks import quiet, seen_alike

import jitcore
from jitcore import ones


def leaf():
    return ones(1, requires_grad=True)


def on_an_argument(wrap):
    f = wrap(lambda x: (x.register_hook(lambda g: g * 5), x * 2)[1])
    for _ in range(3):
        x = leaf()
        f(x).sum().backward()
        yield x.grad


def on_a_captured_leaf(wrap):
    w = leaf()
    f = wrap(lambda x: (w.register_hook(lambda g: g * 5), x * w)[1])
    for _ in range(3):
        f(ones(1)).sum().backward()
        yield w.grad * 1


def after_accumulation(wrap):
    f = wrap(lambda x: (x.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(7)), x * 2)[1])
    for _ in range(3):
        x = leaf()
        f(x).sum().backward()
        yield x.grad


def on_a_result(wrap):
    w = leaf()

    def f(x):
        y = x * w
        y.register_hook(lambda g: g * 5)
        return y

    f = wrap(f)
    for _ in range(3):
        w.grad = None
        (f(ones(1)) * 2).sum().backward()
        yield w.grad


def on_a_new_leaf(wrap):
    def f(x):
        y = (x * 2).requires_grad_()
        y.register_hook(lambda g: g * 5)
        return y

    f = wrap(f)
    for _ in range(3):
        result = f(ones(1))
        (result * 1).sum().backward()
        yield result.grad


def kept_of_an_argument(wrap):
    f = wrap(lambda x: (x.retain_grad(), x * 2)[1])
    for _ in range(3):
        x = leaf() * 2
        f(x).sum().backward()
        yield x.grad


def kept_of_a_result(wrap):
    w = leaf()

    def f(x):
        y = x * w
        y.retain_grad()
        return y

    f = wrap(f)
    for _ in range(3):
        result = f(ones(1))
        (result * 2).sum().backward()
        yield result.grad


CASES = [
    on_an_argument, on_a_captured_leaf, after_accumulation, on_a_result, on_a_new_leaf, kept_of_an_argument,
    kept_of_a_result,
]  # fmt: skip


@pytest.mark.parametrize("program", CASES, ids=lambda f: f.__name__)
@quiet
def test_hooks(program):
    assert seen_alike(program)


def test_hooks_that_are_taken_away_again_or_stay_inside_keep_a_function_compiled(ran):
    w = leaf()

    def f(x):
        y = x * w
        y.register_hook(lambda g: g * 5)
        with w.register_hook(lambda g: g * 2):
            return jitcore.autograd.grad((y * 3).sum(), [w])[0]

    f = jitcore.jit(f, native=False)
    found = [f(ones(1) * n).tolist() for n in range(4)]
    assert found == [[30.0 * n] for n in range(4)] and len(ran) == 3


def retained(x, w):
    h = x * w
    h.retain_grad()
    (h * h).sum().backward()
    return h


RETAINED = {
    "itself": lambda x, w: retained(x, w).grad,
    "in a dict, and a view": lambda x, w: {"g": (h := retained(x, w)).grad, "v": h.grad.view(1, -1)},
    "written": lambda x, w: retained(x, w).grad.mul_(2),
    "taken away": lambda x, w: ((h := retained(x, w)).grad, setattr(h, "grad", None), h.grad),
    "of several": lambda x, w: [retained(x, w).grad, retained(x * 2, w).grad],
    "another": lambda x, w: (setattr(h := retained(x, w), "grad", x * 5), h.grad),
}


@pytest.mark.parametrize("read", RETAINED.values(), ids=RETAINED)
def test_gradients_that_a_run_retains_are_those_of_each_call(read, ran):
    def program(wrap):
        w = jitcore.tensor([1.0, 2.0], requires_grad=True)
        f = wrap(lambda x: read(x, w))
        for turn in range(5):
            w.grad = None
            yield f(ones(2) * turn)
            yield w.grad

    assert seen_alike(program)
    assert len(ran) >= 3
