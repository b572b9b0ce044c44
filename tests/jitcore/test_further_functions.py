"""Functions at the top of PyTorch that ordinary code rarely uses, beside PyTorch: values, dtypes, errors, gradients."""

import warnings

import numpy as np
import pytest
import torch
from torch_compare import assert_same, check

import jitcore

R = np.random.default_rng(3)
WHOLE = R.integers(-50, 50, (4, 5)), R.integers(-50, 50, 5)
POINTS, VOLUME, KERNEL = R.normal(size=(6, 2)), R.normal(size=(2, 3, 6)), R.normal(size=(4, 3, 3))
LABELS = R.integers(1, 3, (3, 2))

CASES = {
    "gcd": (lambda t, a, b: (t.gcd(a, b), a.clone().gcd_(b), a.gcd(b)), *WHOLE),
    "gcd of zeros and dtypes": (
        lambda t: t.gcd(t.tensor([0, 0, 7], dtype=t.int8), t.tensor([0, 5, 0], dtype=t.uint8)),
    ),
    "gcd takes many steps": (lambda t: t.gcd(t.tensor(7540113804746346429), t.tensor(4660046610375530309)),),
    "lcm": (lambda t, a, b: (t.lcm(a, b), t.lcm(a * 0, b)), *WHOLE),
    "unravel_index": (lambda t: (t.unravel_index(t.tensor([3, 7, 11]), (3, 4)), t.unravel_index(t.tensor(5), 8)),),
    "histogramdd": (lambda t, x: (*t.histogramdd(x, [3, 4]), *t.histogramdd(x, 3)), POINTS),
    "histogramdd with a range": (lambda t, x: t.histogramdd(x, 3, range=[-1.0, 1.0, -2.0, 2.0], density=True), POINTS),
    "histogramdd with edges": (
        lambda t, x: t.histogramdd(
            x, [t.tensor([-1.0, 0.5, 2.0], dtype=x.dtype)] * 2, weight=t.arange(6, dtype=x.dtype)
        ),
        POINTS,
    ),
    "batch_norm": (lambda t, x: t.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False), VOLUME),
    "instance_norm": (lambda t, x: t.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False), VOLUME),
    "kl_div": (lambda t, x: (t.kl_div(x, x.softmax(-1)), t.kl_div(x, x.softmax(-1), 2)), VOLUME),
    "poisson_nll_loss": (lambda t, x: t.poisson_nll_loss(x, x.abs(), True, False, 1e-8, 1), VOLUME),
    "ctc_loss": (
        lambda t, x, y: t.ctc_loss(x.permute(2, 0, 1).log_softmax(-1), y, (6, 6), (2, 1), 0, 1), VOLUME, LABELS[:2],
    ),
    "convolution": (lambda t, x, w: t.convolution(x, w, None, [2], [1], [1], False, [0], 1), VOLUME, KERNEL),
    "convolution transposed": (
        lambda t, x, w: t.convolution(x, w[:3], None, [2], [1], [1], True, [1], 1), VOLUME, KERNEL,
    ),
    "as_strided": (lambda t, x: (t.as_strided(x, (2, 2), (3, 1), 2), x[1].as_strided((2,), (1,), 19)), VOLUME),
    "copies": (lambda t, x: (t.select_copy(x, 0, 1), t.slice_copy(x, 2, 1, 5, 2)), VOLUME),
    "index_put": (lambda t, x: t.index_put(x, (t.tensor([0, 0]),), x[0] * 2, accumulate=True), VOLUME),
    "norm_except_dim": (lambda t, x: (t.norm_except_dim(x, 2, 1), t.norm_except_dim(x, 1, -1)), VOLUME),
    "range": (lambda t: (t.range(1, 4), t.range(0, 1, 0.25), t.range(3, 0, -1, dtype=t.int64)),),
    "ger": (lambda t, x: t.ger(x[0], x[1]), POINTS),
}  # fmt: skip


WITHOUT_GRADIENTS = ("histogramdd", "histogramdd with a range", "histogramdd with edges")
"""PyTorch says that histograms have gradients, and has none."""


@pytest.mark.parametrize("name", CASES)
def test_functions(name):
    function, *arrays = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(function, *arrays, grads=name not in WITHOUT_GRADIENTS)


ERRORS = {
    "gcd of floats": (lambda t: t.gcd(t.ones(2), t.ones(2)), NotImplementedError),
    "unravel_index of floats": (lambda t: t.unravel_index(t.ones(2), (3, 4)), TypeError),
    "unravel_index negative size": (lambda t: t.unravel_index(t.tensor([1]), (-1, 4)), ValueError),
    "range upside down": (lambda t: t.range(3, 0), RuntimeError),
    "as_strided outside": (lambda t: t.ones(4).as_strided((3,), (2,)), RuntimeError),
    "as_strided before": (lambda t: t.ones(4).as_strided((2,), (1,), -1), RuntimeError),
    "histogramdd of a vector": (lambda t: t.histogramdd(t.ones(3), 2), RuntimeError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    function, error = ERRORS[name]
    for t in (torch, jitcore):
        with pytest.raises(error), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(t)


def test_as_strided_of_what_is_not_contiguous_is_refused():
    with pytest.raises(NotImplementedError):
        jitcore.ones(2, 3).t().as_strided((2,), (1,))


def test_gcd_compiles():
    compiled = jitcore.jit(jitcore.gcd)
    a, b = map(jitcore.tensor, WHOLE)
    for _ in range(2):
        assert_same(compiled(a.to(jitcore.int16), b.to(jitcore.int16)), torch.gcd(*map(torch.tensor, WHOLE)).short())


def test_python_functions_on_each_element():
    def run(t):
        x = t.arange(4.0).apply_(lambda v: v * 2)
        y = t.arange(4.0).map_(x, lambda a, b: a + b)
        return x, y, t.ones(2, 2).map2_(x[:2], y[:2].unsqueeze(1), lambda a, b, c: a + b * c)

    assert_same(run(jitcore), run(torch))
    with pytest.raises(RuntimeError):
        jitcore.ones(1, requires_grad=True).apply_(abs)


def test_counts_have_their_means():
    jitcore.manual_seed(0)
    generator = jitcore.Generator().manual_seed(1)
    counts = jitcore.poisson(jitcore.full((20000,), 3.5), generator)
    assert counts.dtype is jitcore.float32 and abs(counts.mean().item() - 3.5) < 0.07
    assert abs(counts.var().item() - 3.5) < 0.2 and jitcore.poisson(jitcore.zeros(3)).tolist() == [0, 0, 0]
    drawn = jitcore.binomial(jitcore.full((20000,), 10.0), jitcore.full((20000,), 0.3))
    assert abs(drawn.mean().item() - 3) < 0.06 and drawn.max() <= 10


def test_questions_about_tensors():
    def run(t):
        x = t.ones(2, 3)
        return (
            t.is_signed(x), x.bool().is_signed(), t.float32.is_signed, t.uint8.is_signed, t.is_same_size(x, x.T),
            t.get_device(x), x.is_cpu, x.is_xpu, x.is_mps, x.dim_order(), x.dense_dim(), x.output_nr, x.new(2, 3).shape,
            x.new([1, 2]).tolist(), x.to_dense() is x, t.get_deterministic_debug_mode(), t.GradScaler.__name__,
        )  # fmt: skip

    assert run(jitcore) == run(torch)


DTYPES = {
    "logsumexp of whole numbers": lambda t: [t.logsumexp(t.tensor([1, 0, 3], dtype=d), 0) for d in (t.uint8, t.int8)],
    "logsumexp of bools": lambda t: t.logsumexp(t.tensor([True, False]), 0),
    "logsumexp of nothing": lambda t: (t.zeros(0).logsumexp(0), t.zeros(2, 0).logsumexp(1, keepdim=True)),
    "any and all of uint8": lambda t: (t.tensor([2, 0], dtype=t.uint8).any(), t.tensor([[2, 0]], dtype=t.uint8).all(1)),
    "hypot of two dtypes": lambda t: t.hypot(t.ones(2).half(), t.ones(1)),
    "xlogy of two halves": lambda t: t.xlogy(t.ones(2).half(), t.ones(2).bfloat16() * 2),
    "logaddexp of halves": lambda t: t.logaddexp(t.ones(2).half(), t.ones(2).half()),
    "movedim of one number": lambda t: t.tensor(3.0).movedim(0, -1),
}


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes(name):
    assert_same(DTYPES[name](jitcore), DTYPES[name](torch))
