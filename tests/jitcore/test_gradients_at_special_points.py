"""Gradients where a function has a kink, a tie, a border or no slope: the ones PyTorch chooses."""

import math

import numpy as np
import pytest
import torch

import jitcore

inf, nan = math.inf, math.nan


def _f(L):
    return L.nn.functional


CASES = {
    "abs": (lambda L, x: x.abs(), [0.0, -0.0, inf]),
    "relu": (lambda L, x: x.relu(), [0.0, -0.0, nan, 1.0]),
    "relu6": (lambda L, x: _f(L).relu6(x), [0.0, 6.0, nan, 7.0]),
    "leaky": (lambda L, x: _f(L).leaky_relu(x), [0.0, -0.0, nan]),
    "elu": (lambda L, x: _f(L).elu(x), [0.0, -0.0, -1e30]),
    "hardtanh": (lambda L, x: _f(L).hardtanh(x), [-1.0, 1.0, nan, 0.0]),
    "hardsigmoid": (lambda L, x: _f(L).hardsigmoid(x), [-3.0, 3.0, 0.0]),
    "hardswish": (lambda L, x: _f(L).hardswish(x), [-3.0, 3.0, 0.0]),
    "hardshrink": (lambda L, x: _f(L).hardshrink(x), [-0.5, 0.5, nan, 0.0]),
    "softshrink": (lambda L, x: _f(L).softshrink(x), [-0.5, 0.5, 0.0]),
    "threshold": (lambda L, x: _f(L).threshold(x, 1.0, 0.0), [1.0, 2.0, nan, 0.0]),
    "softplus": (lambda L, x: _f(L).softplus(x), [0.0, 20.0, 30.0, -1000.0, 1000.0]),
    "logsigmoid": (lambda L, x: _f(L).logsigmoid(x), [0.0, 1000.0, -1000.0]),
    "sqrt": (lambda L, x: x.sqrt(), [0.0, -0.0, -1.0, inf]),
    "rsqrt": (lambda L, x: x.rsqrt(), [0.0, -1.0, inf]),
    "log": (lambda L, x: x.log(), [0.0, -1.0, inf]),
    "sign": (lambda L, x: x.sign() * x, [0.0, 1.0, -2.0]),
    "pow2": (lambda L, x: x**2, [0.0, -1.0]),
    "pow0": (lambda L, x: x**0, [0.0, -1.0, nan]),
    "pow.5": (lambda L, x: x**0.5, [0.0, -1.0]),
    "pow1": (lambda L, x: x**1, [0.0, -1.0]),
    "pow-1": (lambda L, x: x**-1, [0.0, -1.0]),
    "powt": (lambda L, x: x ** L.tensor([0.0, 1.0, 2.0, 0.5], dtype=L.float64), [0.0, 0.0, 0.0, 0.0]),
    "rpow": (lambda L, x: 0.0**x, [0.0, 1.0, 2.0]),
    "tpow": (lambda L, x: L.tensor([0.0, 0.0, -1.0, 2.0], dtype=L.float64) ** x, [0.0, 1.0, 2.0, 0.0]),
    "max": (lambda L, x: x.max(), [1.0, 1.0, 0.0]),
    "min": (lambda L, x: x.min(), [1.0, 1.0, 2.0]),
    "maxdim": (lambda L, x: x.max(0).values, [1.0, 1.0, 0.0]),
    "mindim": (lambda L, x: x.min(0)[0], [1.0, 1.0, 2.0]),
    "amax": (lambda L, x: x.amax(0), [1.0, 1.0, 0.0]),
    "amin": (lambda L, x: x.amin(), [1.0, 1.0, 2.0]),
    "amaxnan": (lambda L, x: x.amax(), [1.0, nan, nan]),
    "median": (lambda L, x: x.median(), [1.0, 1.0, 2.0]),
    "minimum": (lambda L, x: L.minimum(L.ones(3, dtype=L.float64), x), [1.0, 1.0, 0.0]),
    "fmax": (lambda L, x: L.fmax(x, L.ones(3, dtype=L.float64)), [1.0, nan, 2.0]),
    "clamp": (lambda L, x: x.clamp(0.0, 1.0), [0.0, 1.0, -1.0, 2.0, 0.5]),
    "clampmin": (lambda L, x: x.clamp(min=0.0), [0.0, -0.0, -1.0]),
    "clampt": (
        lambda L, x: x.clamp(L.tensor(0.0, dtype=L.float64), L.tensor(1.0, dtype=L.float64)),
        [0.0, 1.0, -1.0, 2.0],
    ),
    "norm": (lambda L, x: x.norm(), [0.0, 0.0]),
    "norm1": (lambda L, x: x.norm(p=1), [0.0, 1.0]),
    "norm3": (lambda L, x: x.norm(p=3), [0.0, 0.0]),
    "norm3b": (lambda L, x: x.norm(p=3), [0.0, 1.0]),
    "norm1.5": (lambda L, x: x.norm(p=1.5), [0.0, 1.0]),
    "norminf": (lambda L, x: x.norm(p=inf), [1.0, -1.0, 0.0]),
    "norminf0": (lambda L, x: x.norm(p=inf), [0.0, 0.0]),
    "norm.5": (lambda L, x: x.norm(p=0.5), [0.0, 1.0]),
    "norm0": (lambda L, x: x.norm(p=0) + x.sum(), [0.0, 1.0]),
    "vnorm": (lambda L, x: L.linalg.vector_norm(x), [0.0, 0.0]),
    "vnorm3": (lambda L, x: L.linalg.vector_norm(x, 3), [0.0, 0.0]),
    "vnormdim": (lambda L, x: L.linalg.vector_norm(x, 2, dim=0), [0.0, 0.0]),
    "normalize": (lambda L, x: _f(L).normalize(x, dim=0), [0.0, 0.0]),
    "cosim": (lambda L, x: _f(L).cosine_similarity(x, x * 0, dim=0), [0.0, 0.0]),
    "cosim2": (lambda L, x: _f(L).cosine_similarity(x, x * 0 + 1, dim=0), [0.0, 0.0]),
    "pdist": (lambda L, x: _f(L).pairwise_distance(x[None], x[None] * 1, eps=0.0), [1.0, 2.0]),
    "cdist": (lambda L, x: L.cdist(x[None], x[None].detach()), [1.0, 2.0]),
    "std": (lambda L, x: x.std(), [1.0, 1.0]),
    "var": (lambda L, x: x.var(), [1.0, 1.0]),
    "stdnan": (lambda L, x: x.std(), [1.0]),
    "where": (lambda L, x: L.where(x > 0, x.log(), x * 0), [0.0, 1.0, -1.0]),
    "wherenan": (lambda L, x: L.where(x > 0, x, x.sqrt()), [1.0, -1.0]),
    "prod0": (lambda L, x: x.prod(), [0.0, 1.0, 2.0]),
    "prod00": (lambda L, x: x.prod(), [0.0, 0.0, 2.0]),
    "cumprod0": (lambda L, x: x.cumprod(0), [1.0, 0.0, 2.0, 0.0, 3.0]),
    "atan2": (lambda L, x: L.atan2(x, x * 1), [0.0, 1.0]),
    "asin": (lambda L, x: x.asin(), [1.0, -1.0]),
    "acos": (lambda L, x: x.acos(), [1.0, -1.0]),
    "logaddexp": (lambda L, x: L.logaddexp(x, x * 1), [-inf, inf, 0.0]),
    "logsumexp": (lambda L, x: L.logsumexp(x, 0), [-inf, -inf]),
    "logsumexpi": (lambda L, x: L.logsumexp(x, 0), [inf, 1.0]),
    "softmax": (lambda L, x: L.softmax(x, 0) * L.tensor([1.0, 2.0], dtype=L.float64), [-inf, 1.0]),
    "smoothl1": (lambda L, x: _f(L).smooth_l1_loss(x, x.detach() * 0), [0.0, 1.0, -1.0]),
    "huber": (lambda L, x: _f(L).huber_loss(x, x.detach() * 0), [0.0, 1.0, -1.0]),
    "l1": (lambda L, x: _f(L).l1_loss(x, x.detach() * 1), [0.0, 1.0]),
    "bce": (lambda L, x: _f(L).binary_cross_entropy(x, L.tensor([0.0, 1.0, 1.0], dtype=L.float64)), [0.0, 1.0, 0.0]),
    "frac": (lambda L, x: x.frac(), [0.0, 1.0, -0.5]),
    "fmod": (lambda L, x: x.fmod(1.5), [0.0, 1.5, -2.0]),
    "remainder": (lambda L, x: x.remainder(1.5), [0.0, 1.5, -2.0]),
    "nan_to_num": (lambda L, x: x.nan_to_num(), [nan, inf, 1.0]),
    "sinc": (lambda L, x: x.sinc(), [0.0, 1.0]),
    "copysign": (lambda L, x: L.copysign(x, L.tensor(-1.0, dtype=L.float64)), [0.0, 1.0, -1.0]),
    "sort": (lambda L, x: x.sort()[0] * L.arange(3.0, dtype=L.float64), [1.0, 1.0, 0.0]),
    "topk": (lambda L, x: x.topk(2)[0], [1.0, 1.0, 1.0]),
    "cummax": (lambda L, x: x.cummax(0)[0], [1.0, 1.0, 0.0]),
    "maxpool": (lambda L, x: _f(L).max_pool1d(x[None, None], 2, 1), [1.0, 1.0, 1.0]),
    "adaptmax": (lambda L, x: _f(L).adaptive_max_pool1d(x[None, None], 1), [1.0, 1.0, 1.0]),
    "det": (lambda L, x: L.linalg.det(x.reshape(2, 2)), [0.0, 0.0, 0.0, 0.0]),
    "slogdet": (lambda L, x: L.linalg.slogdet(x.reshape(2, 2))[1], [1.0, 0.0, 0.0, 2.0]),
    "mean0": (lambda L, x: x[:0].sum(), [1.0]),
    "logiteps": (lambda L, x: L.logit(x, eps=0.1), [0.0, 1.0, 0.5, 0.1]),
    "erfinv": (lambda L, x: x.erfinv(), [0.0, 1.0]),
    "gelu": (lambda L, x: _f(L).gelu(x), [0.0, 100.0, -100.0]),
    "silu": (lambda L, x: _f(L).silu(x), [0.0, 1000.0, -1000.0]),
    "mish": (lambda L, x: _f(L).mish(x), [0.0, 1000.0, -1000.0]),
    "celu": (lambda L, x: _f(L).celu(x), [0.0, -1000.0]),
    "selu": (lambda L, x: _f(L).selu(x), [0.0, -1000.0]),
    "prelu": (lambda L, x: _f(L).prelu(x, L.tensor([0.25], dtype=L.float64)), [0.0, -0.0]),
    "div": (lambda L, x: 1 / x, [0.0, 1.0]),
    "div2": (lambda L, x: x / x, [0.0, 1.0]),
    "renorm": (lambda L, x: x[None].renorm(2, 0, 1.0), [0.0, 0.0]),
    "dist": (lambda L, x: L.dist(x, x.detach()), [0.0, 0.0]),
    "dist1": (lambda L, x: L.dist(x, x.detach() * 0, p=inf), [1.0, -1.0]),
    "aminmax": (lambda L, x: x.aminmax()[1], [1.0, 1.0]),
    "nansum": (lambda L, x: x.nansum(), [nan, 1.0]),
    "nanmedian": (lambda L, x: x.nanmedian(), [nan, 1.0, 1.0]),
    "square": (lambda L, x: x.square(), [0.0, inf]),
    "round": (lambda L, x: x.round(), [0.5]),
    "polar": (lambda L, x: (x * x).sqrt(), [0.0, 1.0]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    function, values = CASES[name]
    found = []
    for L in (jitcore, torch):
        x = L.tensor(values, dtype=L.float64, requires_grad=True)
        with np.errstate(all="ignore"):
            function(L, x).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-12)
