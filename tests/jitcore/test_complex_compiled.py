"""Complex tensors under jit: views of arguments, writes through parts, state, double backward. Each equals eager."""

import warnings

import numpy as np
import pytest

import jitcore


def same(run, calls=3):
    """`run(wrap)` gives equal results on every call whether `wrap` is the identity or jit."""
    compiled = run(jitcore.jit)
    eager = run(lambda f: f)
    for _ in range(calls):
        for a, b in zip(eager(), compiled(), strict=True):
            assert a.dtype is b.dtype and a.shape == b.shape
            np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-5, atol=1e-6)


def z(requires_grad=False):
    return jitcore.tensor([1 + 2j, 3 - 4j, 0.5j], requires_grad=requires_grad)


def of_a_part(wrap):
    step = wrap(lambda part: part.add_(1) * 2)

    def call():
        x = z()
        return step(x.imag), x

    return call


def of_the_whole(wrap):
    def step(x):
        x.imag.mul_(3)
        jitcore.view_as_real(x)[0] = jitcore.tensor([7.0, 8.0])
        return x.real + 1

    step = wrap(step)

    def call():
        x = z()
        return step(x), x

    return call


def of_pairs(wrap):
    step = wrap(lambda pairs: jitcore.view_as_complex(pairs).mul_(1j).abs())

    def call():
        x = jitcore.tensor([[1.0, 2], [3, 4]])
        return step(x), x

    return call


def gradients_of_views(wrap):
    def step(x):
        y = x * 2
        y.imag = y.real * 3
        return y.mT if y.ndim > 1 else y, jitcore.view_as_real(y)[0]

    step = wrap(step)

    def call():
        x = z(True)
        a, b = step(x)
        ((a.abs() ** 2).sum() + (b * 3).sum()).backward()
        return a, b, x.grad

    return call


def second_gradients(wrap):
    step = wrap(lambda x: (x**3).abs().sum())

    def call():
        x = z(True)
        (first,) = jitcore.autograd.grad(step(x), x, create_graph=True)
        return first, *jitcore.autograd.grad(first.abs().sum(), x)

    return call


def branches(wrap):
    step = wrap(lambda x: x * 2 if x.abs().sum() > 1 else x.conj())
    return lambda: (step(z()), step(z() * 0.01))


@pytest.mark.parametrize(
    "run", [of_a_part, of_the_whole, of_pairs, gradients_of_views, second_gradients, branches], ids=lambda f: f.__name__
)
def test_as_eager(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error", jitcore.JitWarning)
        same(run)


def test_a_complex_buffer_that_is_replaced_is_seen():
    class Turn(jitcore.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("by", jitcore.polar(jitcore.ones(3), jitcore.arange(3).float()))

        def forward(self, x):
            return jitcore.view_as_real(jitcore.complex(x, x) * self.by)

    module = Turn()
    compiled, x = jitcore.jit(module), jitcore.ones(3)
    compiled(x)
    np.testing.assert_allclose(compiled(x).numpy(), module(x).numpy(), rtol=1e-6)
    module.by = module.by * 2
    np.testing.assert_allclose(compiled(x).numpy(), module(x).numpy(), rtol=1e-6)


def test_an_argument_and_its_part_are_told_apart():
    def step(whole, part):
        part.mul_(2)
        return whole * 1

    compiled = jitcore.jit(step)
    for _ in range(3):
        x, y = z(), z()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jitcore.JitWarning)
            np.testing.assert_array_equal(compiled(x, x.real).numpy(), step(y, y.real).numpy())


def test_two_views_of_one_result_share_its_gradient():
    """Also without complex numbers: results that are views of one memory."""

    @jitcore.jit
    def step(x):
        y = x * jitcore.tensor([1.0, 2, 3])
        return y.t(), y[0]

    for _ in range(3):
        x = jitcore.ones(2, 3, requires_grad=True)
        a, b = step(x)
        ((a * jitcore.tensor([[1.0, 2], [3, 4], [5, 6]])).sum() + (b * 10).sum()).backward()
        np.testing.assert_array_equal(x.grad.numpy(), [[11, 26, 45], [2, 8, 18]])
