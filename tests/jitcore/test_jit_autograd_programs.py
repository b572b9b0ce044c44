"""Gradients across jitted parts of models, several ways through one function, and sizes that change."""

import warnings

import numpy as np
import pytest
from jit_autograd_checks import each_way, numbers

import jitcore
import jitcore.nn.functional as F
from jitcore import nn

grad = jitcore.autograd.grad


# Parts of models


def test_jitted_parts_inside_eager_models_and_eager_parts_inside_jitted_ones():
    class Model(nn.Module):
        def __init__(self, mark):
            super().__init__()
            jitcore.manual_seed(2)
            self.encoder, self.decoder = nn.Linear(3, 5), nn.Linear(5, 2)
            self.encode = jitcore.jit(self.encoder) if "encoder" in mark else self.encoder
            self.loss = jitcore.jit(F.mse_loss) if "loss" in mark else F.mse_loss

        def forward(self, x, y):
            return self.loss(self.decoder(self.encode(x).relu()), y)

    runs = []
    for mark in ("", "encoder", "loss", "encoder loss", "whole", "whole encoder loss"):
        model = Model(mark)
        function = jitcore.jit(model) if "whole" in mark else model
        for n in range(3):
            function(numbers(4, 3, seed=n), numbers(4, 2, seed=n)).backward()
        runs.append(np.concatenate([p.grad.numpy().ravel() for p in model.parameters()]))
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], rtol=1e-4, atol=1e-6)


def test_requires_grad_toggled_between_calls():
    layers = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    jitted = jitcore.jit(layers)
    seen = []
    for function in (layers, jitted):
        here = []
        for frozen in (False, True, True, False, False):
            layers.zero_grad()
            layers[0].requires_grad_(not frozen)
            function(jitcore.ones(1, 2)).sum().backward()
            here.append([None if p.grad is None else p.grad.numpy().round(4).tolist() for p in layers.parameters()])
        seen.append(here)
    assert seen[0] == seen[1]


def test_no_grad_and_detach_inside():
    def f(x, w):
        with jitcore.no_grad():
            scale = (x * w).sum()
        return (x * w * scale + (x * w).detach() * w).sum()

    def check(f):
        x, w = numbers(3).requires_grad_(), numbers(3, seed=1).requires_grad_()
        f(x, w).backward()
        return x.grad.numpy().round(4).tolist(), w.grad.numpy().round(4).tolist()

    each_way(f)(check)


def test_captured_views_with_history_get_their_gradients():
    base = jitcore.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    row = base[0]

    def check(f):
        base.grad = None
        f(jitcore.ones(2)).backward(retain_graph=True)
        return base.grad.tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        each_way(lambda x: (x * row).sum())(check)


def test_gradients_of_two_tensors_on_one_memory_run_eagerly():
    weight = jitcore.tensor([1.0, 2.0], requires_grad=True)
    twin = weight.detach().requires_grad_()

    def check(f):
        weight.grad = twin.grad = None
        f(jitcore.ones(2)).backward()
        return weight.grad.tolist(), twin.grad.tolist()

    with pytest.warns(jitcore.JitWarning, match="shares its memory with another input"):
        each_way(lambda x: (x * weight * twin * twin).sum())(check)


# Several ways through one function


def test_each_way_through_a_branch_has_its_backward_pass():
    jitcore.manual_seed(0)
    layer = nn.Linear(3, 3, bias=False)

    def f(x):
        y = layer(x).tanh()
        return (y * y).sum() if y.sum() > 0 else (y.exp() * 3).sum()

    def check(f):
        seen = []
        for sign in (1, -1, 1, -1):
            layer.zero_grad()
            x = (layer.weight.detach() * sign).requires_grad_()
            f(x).backward()
            seen.append([x.grad.numpy().round(4).tolist(), layer.weight.grad.numpy().round(4).tolist()])
        return seen

    jitted = each_way(f, calls=2)(check)
    assert jitted.explain().count("for its backward pass") == 2


def test_result_written_later_is_not_what_backward_kept():
    def f(x):
        y = x @ x
        z = (y + 1) * (y + 2)
        return (y, z) if z.sum() > -1e9 else (z, y)

    def check(f):
        x = numbers(3, 3).requires_grad_()
        y, z = f(x)
        with jitcore.no_grad():
            y.mul_(0)
        z.sum().backward()
        return x.grad.numpy().round(3).tolist()

    each_way(f)(check)


class Powered(jitcore.autograd.Function):
    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = power
        return x**2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x * ctx.power, None


def test_float_argument_that_only_the_backward_pass_uses():
    def check(f):
        seen = []
        for power in (1.0, 2.0, 0.5):
            x = jitcore.tensor([1.0, 3.0], requires_grad=True)
            f(x, power).backward()
            seen.append(x.grad.tolist())
        return seen

    each_way(lambda x, power: Powered.apply(x, power).sum())(check)


def test_prints_of_forward_and_backward_come_once(capsys):
    class Loud(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            print("back")
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    def f(x):
        print("there")
        return Loud.apply(x).sum()

    def check(f):
        x = jitcore.ones(2).requires_grad_()
        (first,) = grad(f(x), [x], create_graph=True)
        (second,) = grad(first.sum(), [x])
        return second.tolist(), capsys.readouterr().out

    each_way(f)(check)


def test_backward_that_writes_or_draws_does_so_once_in_each_backward():
    count = jitcore.zeros(1)

    class Counted(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            count.add_(1)
            return g * jitcore.rand(2)

    def check(f):
        jitcore.manual_seed(1)
        count.zero_()
        x = jitcore.ones(2).requires_grad_()
        f(x).backward()
        return x.grad.tolist(), count.item(), jitcore.rand(1).item()

    jitted = each_way(lambda x: Counted.apply(x).sum())(check)
    assert "runs the function again, eagerly: it writes a tensor" in jitted.explain()


# Sizes that change


LINEAR, NOISE = nn.Linear(4, 4), jitcore.Generator()

RESIZED = {
    "dropout": lambda x: F.dropout(LINEAR(x), 0.4).relu(),
    "batch norm": lambda x: F.batch_norm(LINEAR(x), None, None, training=True).tanh(),
    "noise": lambda x: x * jitcore.rand(x.shape[0], 4, generator=NOISE) + jitcore.randn_like(x),
    "order": lambda x: x[jitcore.randperm(x.shape[0])] * x,
    "checkpoint": lambda x: jitcore.utils.checkpoint.checkpoint(
        lambda v: F.dropout(LINEAR(v), 0.4).sin(), x, use_reentrant=False
    ),
    "no size in the gradient": lambda x: x.sum()[None],
}


@pytest.mark.parametrize("name", RESIZED)
def test_batches_of_other_sizes_share_a_backward_pass(name):
    runs = []
    for wrap in (lambda f: f, lambda f: jitcore.jit(f, native=False)):
        function = wrap(RESIZED[name])
        jitcore.manual_seed(3)
        NOISE.manual_seed(4)
        seen = []
        for n, rows in enumerate((3, 5, 8, 3, 2, 6)):
            LINEAR.zero_grad()
            x = numbers(rows, 4, seed=n).requires_grad_()
            result = function(x)
            (first,) = grad((result * result).sum(), [x], create_graph=True)
            (first * first).sum().backward()
            seen += [result.detach(), first.detach(), x.grad]
        runs.append([*seen, jitcore.get_rng_state()])
    for given, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
    assert len(function._recordings.variants()) == 2


def test_schedule_steps_once_though_the_function_runs_again():
    weight = nn.Parameter(jitcore.ones(2))
    optimizer = jitcore.optim.SGD([weight], lr=1.0)
    schedule = jitcore.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()

    def f(x):
        schedule.step()
        return (x**3 * weight).sum()

    jitted = jitcore.jit(f)
    for n in range(4):
        x = jitcore.ones(2).requires_grad_()
        (first,) = grad(jitted(x), [x], create_graph=True)
        np.testing.assert_allclose(grad(first.sum(), [x])[0].numpy(), [6, 6])
        assert optimizer.param_groups[0]["lr"] == 0.5 ** (n + 1)
