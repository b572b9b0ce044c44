"""Custom functions under jit, and derivatives of derivatives: what is run again where the tape itself is needed."""

import warnings

import numpy as np
import pytest
from jit_autograd_checks import numbers

import jitcore
from jitcore import nn

grad = jitcore.autograd.grad


# Custom functions


class Scaled(jitcore.autograd.Function):
    """Backward multiplies by a global, or by what depends on the gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x * SCALE if g.sum() > 0 else g * NUMBER


SCALE = jitcore.tensor(5.0)
NUMBER = 3.0


def test_custom_function_reads_state_and_values_of_its_backward():
    def run(f):
        global SCALE, NUMBER
        seen = []
        for sign, scale, number in ((1, 5.0, 3.0), (-1, 5.0, 3.0), (1, 7.0, 3.0), (-1, 7.0, 4.0), (1, 7.0, 4.0)):
            SCALE, NUMBER = jitcore.tensor(scale), number
            for _ in range(2):
                x = jitcore.tensor([1.0, 2.0], requires_grad=True)
                (f(x) * sign).backward()
                seen.append(x.grad.tolist())
        return seen

    def f(x):
        return Scaled.apply(x).sum()

    assert run(jitcore.jit(f)) == run(f)


# Derivatives of derivatives


def second_order(f, x, *others):
    (first,) = grad(f(x, *others).sum(), [x], create_graph=True)
    return [first.detach(), *grad((first * first).sum(), [x, *others], allow_unused=True)]


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.norm = nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.drop(self.layer(x).tanh())) ** 3


def test_double_backward_uses_the_same_random_numbers_and_commits_nothing_twice():
    jitcore.manual_seed(0)
    module = Noisy()
    jitted = jitcore.jit(module)
    weight = module.layer.weight
    start = {name: value.clone() for name, value in module.state_dict().items()}
    runs = []
    for f in (module, jitted):
        module.load_state_dict(start)
        jitcore.manual_seed(11)
        seen = []
        for n in range(3):
            x = numbers(6, 4, seed=n).requires_grad_()
            (first,) = grad(f(x).sum(), [x], create_graph=True)
            jitcore.rand(3)  # the generator goes on between forward and backward
            f(x)
            seen += [first.detach(), *grad((first * first).sum(), [x, weight]), jitcore.rand(2)]
            seen += [b.clone() for b in module.buffers()]
        runs.append(seen)
    for given, expected in zip(*runs, strict=True):
        scale = max(float(expected.abs().max()), 1.0)  # small elements are differences of large ones
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=2e-4, atol=1e-5 * scale)


def test_double_backward_reads_a_tensor_that_the_function_writes_as_it_was_then():
    total = jitcore.zeros(2)

    def f(x):
        total.add_(1)
        return (x**3 * total).sum()

    def check(f):
        with jitcore.no_grad():
            total.zero_()
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        f(x)
        (first,) = grad(f(x), [x], create_graph=True)
        f(x)
        return grad(first.sum(), [x])[0].tolist(), total.tolist()

    expected = check(f)
    assert expected == ([12, 24], [3, 3])
    jitted = jitcore.jit(f)
    assert [check(jitted) for _ in range(3)] == [expected] * 3


def test_third_derivative_and_gradients_of_gradients_of_gradients():
    f = lambda x: (x**4).sum()  # noqa: E731
    jitted = jitcore.jit(f)
    for function in (f, jitted, jitted, jitted):
        x = jitcore.tensor([1.0, 2.0], requires_grad=True)
        (a,) = grad(function(x), [x], create_graph=True)
        (b,) = grad(a.sum(), [x], create_graph=True)
        (c,) = grad(b.sum(), [x])
        np.testing.assert_allclose(c.numpy(), [24, 48], rtol=1e-5)


def test_gradient_penalty_trains_as_in_eager():
    runs = []
    for wrap in (lambda f: f, jitcore.jit):
        jitcore.manual_seed(0)
        critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        f = wrap(critic)
        optimizer = jitcore.optim.SGD(critic.parameters(), lr=0.1)
        losses = []
        for n in range(5):
            x = numbers(4, 3, seed=n).requires_grad_()
            out = f(x)
            (g,) = grad(out.sum(), [x], create_graph=True)
            loss = out.mean() + ((g.norm(dim=1) - 1) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        runs.append(losses)
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4)


def test_double_backward_says_what_changed_since_the_call():
    layer = nn.Linear(2, 2)
    factor = [2.0]
    jitted = jitcore.jit(lambda x: (layer(x) ** 3).sum() * factor[0])

    def first():
        x = jitcore.ones(1, 2).requires_grad_()
        return grad(jitted(x), [x], create_graph=True)[0], x

    for _ in range(2):
        first()
    g, x = first()
    factor[0] = 3.0
    with pytest.raises(RuntimeError, match="Python state has changed"):
        grad(g.sum(), [x])
    factor[0] = 2.0
    g, x = first()
    with jitcore.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match=r"has been written since, at .*test_jit_double_backward.py"):
        grad(g.sum(), [x])


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
def test_gradients_through_a_call_that_cannot_run_again_while_another_is_recorded(native):
    """The recording does not know what they are made of, and the call stays eager."""

    def make():
        w = nn.Parameter(jitcore.arange(3.0))

        def function(x):
            (x.sum() * w).square().sum().backward()
            gradient = w.grad.clone()
            w.grad = None
            return w * 3, gradient

        return function

    jitted, eager = jitcore.jit(make(), native=native), make()
    given = expected = jitcore.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for turn in range(6):
            given, expected = (given, expected) if turn % 2 else (given.detach(), expected.detach())
            (given, ours), (expected, theirs) = jitted(given), eager(expected)
            assert jitcore.allclose(given, expected) and jitcore.allclose(ours, theirs)
            assert given.requires_grad and not ours.requires_grad
    assert "runs eagerly for some arguments: gradients flow" in jitted.explain()


def test_function_transforms_of_jitted_functions():
    func = jitcore.func
    f = lambda x, y: (x**3 * y).sin()  # noqa: E731
    jitted = jitcore.jit(f)
    x, y = numbers(3), numbers(3, seed=1)
    total = lambda g: lambda x, y: g(x, y).sum()  # noqa: E731
    transforms = {
        "grad": lambda g: func.grad(total(g))(x, y),
        "hessian": lambda g: func.hessian(total(g))(x, y),
        "jacrev": lambda g: func.jacrev(g, argnums=1)(x, y),
        "jacfwd": lambda g: func.jacfwd(g)(x, y),
        "jvp": lambda g: func.jvp(g, (x, y), (y, x))[1],
        "vjp": lambda g: func.vjp(g, x, y)[1](x)[0],
        "vmap": lambda g: func.vmap(g)(x, y),
        "vmap of grad": lambda g: func.vmap(func.grad(g))(x, y),
        "batched gradients": lambda g: batched(g),
    }

    def batched(g):
        own = x.clone().requires_grad_()
        return grad(g(own, y), [own], jitcore.eye(3), is_grads_batched=True)[0]

    for name, transform in transforms.items():
        for _ in range(3):
            np.testing.assert_allclose(
                transform(jitted).detach().numpy(), transform(f).detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=name
            )
