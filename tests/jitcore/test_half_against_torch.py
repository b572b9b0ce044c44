"""float16 and bfloat16: functions of several steps compute in float32 and round once, as PyTorch's kernels do.

What comes out is compared with the function in float32 on the same numbers, rounded: at most one unit in the last place
away, whatever the number of steps inside.
"""

import numpy as np
import pytest
import torch

import jitcore

ULP = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def numbers(*shape, seed=0, scale=3.0):
    return np.random.default_rng(seed).normal(size=shape) * scale


def halves(lib, arrays, dtype):
    return [lib.tensor(a.astype("float32")).to(getattr(lib, dtype)) if isinstance(a, np.ndarray) else a for a in arrays]


X, Y, Z = numbers(4, 6), numbers(4, 6, seed=1), numbers(4, 6, seed=2)
IMAGE = numbers(2, 4, 6, 6)
P = 1 / (1 + np.exp(-X))
CASES = {
    "softmax": (lambda F, x: F.softmax(x, -1), X),
    "log_softmax": (lambda F, x: F.log_softmax(x, 0), X),
    "gelu": (lambda F, x: F.gelu(x), X),
    "gelu tanh": (lambda F, x: F.gelu(x, approximate="tanh"), X),
    "silu": (lambda F, x: F.silu(x), X),
    "mish": (lambda F, x: F.mish(x), X),
    "softplus": (lambda F, x: F.softplus(x), X),
    "elu": (lambda F, x: F.elu(x), X),
    "layer_norm": (lambda F, x: F.layer_norm(x, (6,)), X * 50),
    "rms_norm": (lambda F, x: F.rms_norm(x, (6,), eps=1e-5), X * 50),
    "group_norm": (lambda F, x: F.group_norm(x, 2), IMAGE),
    "batch_norm": (lambda F, x: F.batch_norm(x, None, None, training=True), IMAGE),
    "avg_pool2d": (lambda F, x: F.avg_pool2d(x, 3), IMAGE),
    "adaptive_avg_pool2d": (lambda F, x: F.adaptive_avg_pool2d(x, 2), IMAGE),
    "mean": (lambda F, x: x.mean(), numbers(5000)),
    "sum": (lambda F, x: x.sum(), np.abs(numbers(500))),
    "var": (lambda F, x: x.var(0), X),
    "std": (lambda F, x: x.std(), X),
    "norm": (lambda F, x: x.norm(), numbers(1000)),
    "logsumexp": (lambda F, x: x.logsumexp(1), X),
    "mse_loss": (lambda F, x, y: F.mse_loss(x, y), X, Y),
    "cross_entropy": (lambda F, x, y: F.cross_entropy(x, y.softmax(1)), X, Y),
    "binary_cross_entropy": (lambda F, x, y: F.binary_cross_entropy(x, y), P, P[::-1].copy()),
    "addcmul": (lambda F, x, y, z: x.addcmul(y, z, value=0.3), X, Y, Z),
    "lerp": (lambda F, x, y: x.lerp(y, 0.3), X, Y),
    "addmm": (lambda F, x, y, z: x[:, :4].addmm(y, z.T), X, Y, Z),
    "matmul": (lambda F, x, y: x @ y.T, numbers(3, 500), numbers(2, 500, seed=1)),
    "conv2d": (lambda F, x, y: F.conv2d(x, y[:, :, :3, :3]), IMAGE, numbers(5, 4, 6, 6, seed=1)),
    "attention": (lambda F, x, y: F.scaled_dot_product_attention(x, y, x), IMAGE, numbers(2, 4, 6, 6, seed=1)),
    "asinh": (lambda F, x: x.asinh(), X),
    "cumsum": (lambda F, x: x.cumsum(0), numbers(200)),
    "prod": (lambda F, x: x.prod(), 1 + numbers(40) / 30),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_rounded_once(name, dtype):
    function, *arrays = CASES[name]
    given = halves(jitcore, arrays, dtype)
    for run in (function, jitcore.jit(lambda *tensors: function(jitcore.nn.functional, *tensors))):
        for _ in range(2):  # recorded, then compiled
            got = run(jitcore.nn.functional, *given) if run is function else run(*given)
            assert got.dtype is getattr(jitcore, dtype)
            truth = function(torch.nn.functional, *[torch.tensor(t.float().numpy()).double() for t in given]).numpy()
            error = np.abs(got.double().numpy() - truth)
            smallest = 2.0**-24 if dtype == "float16" else 0.0
            assert (error <= ULP[dtype] * np.abs(truth) + np.abs(truth).max() * 1e-6 + smallest).all(), error.max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [n for n in CASES if n not in ("matmul", "conv2d")])
def test_gradients(name, dtype):
    """Gradients are compared at four units of the largest: they pass the result's rounding and their own."""
    function, *arrays = CASES[name]
    given = [t.requires_grad_() for t in halves(jitcore, arrays, dtype)]
    wide = [torch.tensor(t.detach().float().numpy()).double().requires_grad_() for t in given]
    function(jitcore.nn.functional, *given).float().sum().backward()
    function(torch.nn.functional, *wide).sum().backward()
    for a, b in zip(given, wide):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert a.grad.dtype is getattr(jitcore, dtype)
            error = np.abs(a.grad.double().numpy() - b.grad.numpy()).max()
            assert error <= 4 * ULP[dtype] * np.abs(b.grad.numpy()).max() + 1e-7, error


def test_means_of_large_float16_do_not_overflow():
    x = jitcore.full((1000,), 60000.0, dtype=jitcore.float16)
    assert x.mean().item() == 60000.0 == jitcore.jit(lambda x: x.mean())(x).item()
    assert x.reshape(10, 100).mean(0).max().item() == 60000.0


def test_a_dtype_argument_decides():
    x = jitcore.tensor(numbers(5)).half()
    assert jitcore.softmax(x, 0, dtype=jitcore.float32).dtype is jitcore.float32
    assert x.mean(dtype=jitcore.float64).dtype is jitcore.float64
    assert x.mean().dtype is jitcore.float16


def test_running_statistics_of_half_models_are_kept():
    layer = jitcore.nn.BatchNorm1d(3).half()
    before = layer.running_mean.clone()
    layer(jitcore.tensor(numbers(8, 3)).half())
    assert layer.running_mean.dtype is jitcore.float16 and not jitcore.equal(layer.running_mean, before)
