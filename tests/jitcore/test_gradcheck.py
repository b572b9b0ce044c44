"""gradcheck and gradgradcheck notice what is wrong, in both modes, as PyTorch's do."""

import numpy as np
import pytest
import torch

import jitcore
from jitcore.autograd import gradcheck, gradgradcheck
from jitcore.autograd.gradcheck import GradcheckError

X = np.random.default_rng(0).standard_normal((2, 3))


def _double(L, factor=2.0, noise=False):
    class Double(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return g * (factor + (L.rand(g.shape, dtype=g.dtype) * 1e-7 if noise else 0.0))

    return Double.apply


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("L", [jitcore, torch], ids=["jitcore", "torch"])
def test_wrong_gradients_are_found(L, fast_mode):
    x = L.tensor(X, requires_grad=True)
    check = L.autograd.gradcheck if L is torch else gradcheck
    assert check(lambda a: a.sin() * a, x, fast_mode=fast_mode)
    assert not check(_double(L, 3.0), x, fast_mode=fast_mode, raise_exception=False)
    with pytest.raises(RuntimeError):
        check(_double(L, 3.0), x, fast_mode=fast_mode)
    with pytest.raises(RuntimeError, match="not reentrant"):
        check(_double(L, noise=True), x, fast_mode=fast_mode, check_undefined_grad=False)
    assert check(_double(L, noise=True), x, fast_mode=fast_mode, nondet_tol=1e-5, check_undefined_grad=False)


def test_gradients_of_zeros_are_zeros():
    class Shifted(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return g * 2.0 + 1e-6

    x = jitcore.tensor(X, requires_grad=True)
    with pytest.raises(GradcheckError, match="zeros"):
        gradcheck(Shifted.apply, x)
    assert gradcheck(Shifted.apply, x, check_undefined_grad=False)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_second_gradients_and_batches(fast_mode):
    x = jitcore.tensor(X, requires_grad=True)
    assert gradgradcheck(lambda a: (a.exp() * a).sum(0), x, fast_mode=fast_mode, check_batched_grad=True)
    assert gradgradcheck(lambda a: a.sum(0) ** 3, x, jitcore.ones(3, dtype=jitcore.float64, requires_grad=True))


def test_forward_mode_is_refused():
    with pytest.raises(NotImplementedError):
        gradcheck(lambda a: a, jitcore.tensor(X, requires_grad=True), check_forward_ad=True)
