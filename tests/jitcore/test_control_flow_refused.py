"""What the bodies of cond, while_loop and scan may not do, and what is said then."""

import pytest
from control_functions import (
    W,
    X,
    in_float64,  # noqa: F401
    leaves,
)

import jitcore
from jitcore.autograd import grad

pytestmark = pytest.mark.filterwarnings("error")


def refused(function, *arguments, match):
    with pytest.raises(RuntimeError, match=match) as caught:
        jitcore.jit(function)(*arguments)
    return str(caught.value)


def test_a_body_may_not_write_outside_itself():
    x, total = jitcore.tensor(X), jitcore.zeros(3)
    text = refused(
        lambda x: jitcore.cond(x.sum() > 0, lambda a: total.add_(a), lambda a: a, (x,)), x,
        match="cond: true_fn writes to a tensor from outside",
    )  # fmt: skip
    assert "test_control_flow_refused.py:" in text and total.tolist() == [0, 0, 0]
    refused(lambda x: jitcore.map(lambda e: e.mul_(2), x), x, match="map writes to its argument")
    refused(
        lambda x: jitcore.scan(lambda c, e: (c.add_(e), e), jitcore.zeros(()), x),
        x,
        match="scan writes to its argument",
    )


def test_a_body_may_not_ask_for_values():
    x = jitcore.tensor(X)
    text = refused(
        lambda x: jitcore.scan(lambda c, e: (c + 1 if e > 0 else c, e), jitcore.zeros(()), x), x,
        match=r"scan asks for the value of a tensor \(bool\(\)\).*use where",
    )  # fmt: skip
    assert "test_control_flow_refused.py:" in text


def test_a_body_may_not_print(capsys):
    refused(lambda x: jitcore.map(lambda e: (print("seen"), e)[1], x), jitcore.tensor(X), match="map prints")


def test_bodies_must_give_alike():
    x = jitcore.tensor(X)
    refused(
        lambda x: jitcore.cond(x.sum() > 0, lambda a: a, lambda a: (a, a), (x,)), x,
        match=r"cond: true_fn gives f64\[3\], but false_fn gives \(f64\[3\], f64\[3\]\)",
    )  # fmt: skip
    refused(
        lambda x: jitcore.cond(x.sum() > 0, lambda a: a, lambda a: a.sum(), (x,)), x,
        match=r"cond: true_fn gives f64\[3\], but false_fn gives f64\[\]",
    )  # fmt: skip
    for call in (lambda f, *a: f(*a), lambda f, *a: jitcore.jit(f)(*a)):
        with pytest.raises(RuntimeError, match=r"the carry is f64\[\], but combine_fn gives f64\[3\]"):
            call(lambda x: jitcore.scan(lambda c, e: (c + x, e), jitcore.zeros(()), x), x)
        with pytest.raises(RuntimeError, match=r"while_loop: carried_inputs are \(i64\[\],\), but body_fn gives"):
            call(lambda x: jitcore.while_loop(lambda i: i < 3, lambda i: i + 0.5, (jitcore.tensor(0),)), x)
        with pytest.raises(RuntimeError, match="scan: xs have the lengths 3, 2"):
            call(lambda x: jitcore.scan(lambda c, e: (c, e), x, (x, x[:2])), x)


@pytest.mark.parametrize("call", [lambda f: f, jitcore.jit], ids=["eager", "compiled"])
def test_results_are_in_memory_of_their_own(call):
    def write_to_results(x):
        branch = jitcore.cond(x.sum() > 0, lambda a: a[1:], lambda a: a[:2], (x,))
        (looped,) = jitcore.while_loop(lambda a: a.sum() > 100, lambda a: (a / 2,), (x,))
        carried, _ = jitcore.scan(lambda c, e: (c, e), x, x)
        for result in (branch, looped, carried):
            result.add_(1)
        return branch, looped, carried

    program = call(write_to_results)
    for _ in range(2):
        x = jitcore.tensor(X)
        branch, looped, carried = program(x)
        assert x.tolist() == X and branch.tolist() == [v + 1 for v in X[1:]]
        assert looped.tolist() == carried.tolist() == [v + 1 for v in X]


def test_arguments_are_checked_as_pytorch_does():
    x = jitcore.tensor(X)
    with pytest.raises(RuntimeError, match="Expected pred to be bool or tensor, but got"):
        jitcore.cond(1.5, lambda a: a, lambda a: a, (x,))
    with pytest.raises(RuntimeError, match="Expected pred to be bool or tensor, but got"):
        jitcore.cond(x > 0, lambda a: a, lambda a: a, (x,))
    with pytest.raises(RuntimeError, match="Expect operands to be a tuple or list"):
        jitcore.cond(True, lambda a: a, lambda a: a, x)
    with pytest.raises(RuntimeError, match="at least one dimension"):
        jitcore.scan(lambda c, e: (c, e), x, x.sum())


def test_a_recorded_while_loop_has_no_reverse_derivative():
    x = jitcore.tensor(X, requires_grad=True)

    def program(x):
        return jitcore.while_loop(lambda a: a.sum() < 10, lambda a: (a * 2,), (x,))[0]

    refused(program, x, match="while_loop: reverse-mode differentiation.*use scan")
    with jitcore.no_grad():
        assert jitcore.jit(program)(x).tolist() == program(x).tolist()


def test_outside_tensors_that_change_before_backward_are_noticed():
    x, _ = leaves()
    factor = jitcore.tensor(W)

    def program(x):
        y = jitcore.scan(lambda c, e: (c * factor.sum() * e, c), x.sum(), x)[0]
        factor.mul_(2)
        return grad(y, x)[0]

    refused(program, x, match="modified by an inplace operation")


def test_a_body_that_writes_to_its_own_tensors_keeps_their_history():
    def body(v):
        y = v * 2
        y[0] = v[1] * v[1]
        y[1:].mul_(v[1:])
        return y

    def f(x):
        return jitcore.cond(x.sum() > 0, body, lambda v: v * 3, (x,)).sum()

    compiled = jitcore.jit(f, native=False)
    for run in (f, compiled, compiled):
        x = jitcore.tensor([1.0, 2.0, 3.0], requires_grad=True)
        run(x).backward()
        assert x.grad.tolist() == [0.0, 12.0, 12.0]


def test_a_branch_that_tells_a_size_tells_the_other_branch():
    weight = jitcore.tensor([1.0, 2.0, 3.0])

    def f(x):
        return jitcore.cond(x.sum() > 5, lambda x: x * weight, lambda x: x + weight, (x,))

    jitted = jitcore.jit(f, dynamic=True, native=False)
    for n in (1.0, 5.0):
        assert jitcore.equal(jitted(weight * n), f(weight * n))
