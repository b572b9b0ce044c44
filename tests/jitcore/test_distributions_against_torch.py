"""distributions beside torch.distributions: densities, moments, entropies and their gradients; samples by moments."""

import numpy as np
import pytest
import torch
import torch.distributions as theirs

import jitcore
import jitcore.distributions as ours

POSITIVE = [0.3, 1.7, 9.0]
# name, parameters, values
CASES = [
    ("Normal", {"loc": [0.0, -1.0, 2.0], "scale": POSITIVE}, [0.3, -4.0, 2.5]),
    ("LogNormal", {"loc": [0.0, -1.0, 0.5], "scale": [0.3, 0.7, 0.5]}, [0.3, 4.0, 2.5]),
    ("Laplace", {"loc": [0.0, -1.0, 2.0], "scale": POSITIVE}, [0.3, -4.0, 2.5]),
    ("Cauchy", {"loc": [0.0, -1.0, 2.0], "scale": POSITIVE}, [0.3, -4.0, 2.5]),
    ("Gumbel", {"loc": [0.0, -1.0, 2.0], "scale": POSITIVE}, [0.3, -1.5, 2.5]),
    ("Uniform", {"low": [0.0, -1.0, 2.0], "high": [1.0, 3.0, 2.5]}, [0.3, 2.0, 2.25]),
    ("HalfNormal", {"scale": POSITIVE}, [0.3, 4.0, 2.5]),
    ("StudentT", {"df": [3.5, 7.0, 2.5], "loc": [0.0, 1.0, 2.0], "scale": [0.3, 1.7, 2.0]}, [0.3, -4.0, 2.5]),
    ("Gamma", {"concentration": POSITIVE, "rate": [2.0, 0.5, 1.0]}, [0.1, 4.0, 8.5]),
    ("Chi2", {"df": POSITIVE}, [0.3, 4.0, 2.5]),
    ("Exponential", {"rate": POSITIVE}, [0.3, 4.0, 0.2]),
    ("Beta", {"concentration1": POSITIVE, "concentration0": [2.0, 0.6, 12.0]}, [0.3, 0.9, 0.5]),
    ("Dirichlet", {"concentration": [[0.4, 2.0, 3.0], [5.0, 10.0, 1.0]]}, [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]),
    ("Bernoulli", {"probs": [0.2, 0.9, 0.6]}, [0.0, 1.0, 1.0]),
    ("Bernoulli", {"logits": [0.2, -0.9, 3.0]}, [0.0, 1.0, 1.0]),
    ("Geometric", {"probs": [0.2, 0.9, 0.6]}, [0.0, 1.0, 4.0]),
    ("Categorical", {"probs": [[0.2, 0.3, 0.6], [1.0, 2.0, 5.0]]}, [0.0, 2.0]),
    ("Categorical", {"logits": [[0.2, -0.3, 0.6], [1.0, 2.0, 5.0]]}, [0.0, 2.0]),
    ("OneHotCategorical", {"probs": [[0.2, 0.3, 0.5], [0.1, 0.2, 0.7]]}, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
    ("Poisson", {"rate": [0.3, 7.0, 40.0]}, [0.0, 5.0, 44.0]),
    ("Binomial", {"total_count": 7, "probs": [0.2, 0.9, 0.6]}, [0.0, 6.0, 4.0]),
    (
        "Multinomial",
        {"total_count": 5, "probs": [[0.2, 0.3, 0.5], [0.1, 0.2, 0.7]]},
        [[1.0, 1.0, 3.0], [0.0, 0.0, 5.0]],
    ),
    (
        "MultivariateNormal",
        {"loc": [0.5, -1.0], "covariance_matrix": [[2.0, 0.3], [0.3, 0.5]]},
        [[0.3, -4.0], [0.0, 1.0], [1.0, 1.0]],
    ),
    ("MultivariateNormal", {"loc": [0.5, -1.0], "scale_tril": [[2.0, 0.0], [0.3, 0.5]]}, [0.3, -4.0]),
    ("MultivariateNormal", {"loc": [0.5, -1.0], "precision_matrix": [[2.0, 0.3], [0.3, 0.5]]}, [0.3, -4.0]),
]
IDS = [f"{name}-{'-'.join(p)}" for name, p, _ in CASES]


def made(t, data, name, parameters):
    given = {
        k: t.tensor(v, dtype=t.float64, requires_grad=True) if isinstance(v, list) else v for k, v in parameters.items()
    }
    return getattr(data, name)(**given), [v for v in given.values() if not isinstance(v, int)]


def numbers(x):
    return x.detach().numpy() if hasattr(x, "detach") else x


def same(a, b, tolerance=1e-9):
    assert tuple(a.shape) == tuple(b.shape) and str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
    np.testing.assert_allclose(numbers(a), numbers(b), tolerance, tolerance)


@pytest.mark.parametrize(("name", "parameters", "values"), CASES, ids=IDS)
@pytest.mark.parametrize("what", ["log_prob", "entropy", "mean", "variance", "stddev", "mode", "cdf", "icdf"])
def test_formulas_and_their_gradients(name, parameters, values, what):
    def run(t, data):
        distribution, leaves = made(t, data, name, parameters)
        assert tuple(distribution.batch_shape) + tuple(distribution.event_shape)
        if what in ("log_prob", "cdf"):
            found = getattr(distribution, what)(t.tensor(values, dtype=t.float64))
        elif what == "icdf":
            found = distribution.icdf(t.full(tuple(distribution.batch_shape), 0.3, dtype=t.float64))
        else:
            found = getattr(distribution, what)
            found = found() if callable(found) else found
        if not found.requires_grad:
            return [found]
        grads = t.autograd.grad(found.sum(), leaves, allow_unused=True)
        return [found, *[g if g is not None else t.zeros(1) for g in grads]]

    try:
        expected = run(torch, theirs)
    except NotImplementedError:
        return
    for a, b in zip(run(jitcore, ours), expected, strict=True):
        same(a, b, 1e-7 if name == "Multinomial" else 1e-9)  # PyTorch takes lgamma(total_count) in float32


@pytest.mark.parametrize(("name", "parameters", "values"), CASES, ids=IDS)
def test_samples_have_the_moments(name, parameters, values):
    jitcore.manual_seed(11)
    n = 20000
    distribution, _ = made(jitcore, ours, name, parameters)
    other, _ = made(torch, theirs, name, parameters)
    drawn = distribution.sample((n,))
    assert tuple(drawn.shape) == (n, *other.batch_shape, *other.event_shape) and not drawn.requires_grad
    assert str(drawn.dtype).split(".")[1] == str(other.sample().dtype).split(".")[1]
    assert distribution.support.check(drawn).all()
    if name in ("Cauchy", "Categorical"):
        return
    # Five standard errors of the mean; the variance loosely, as fourth moments differ.
    error = numbers(other.stddev) / np.sqrt(n) * 5
    assert (np.abs(numbers(drawn.mean(0)) - numbers(other.mean)) <= error).all()
    if name not in ("StudentT", "LogNormal"):
        np.testing.assert_allclose(numbers(drawn.var(0)), numbers(other.variance), 0.15)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "Cauchy", "Gumbel", "Uniform", "HalfNormal", "Exponential", "Gamma"]
)
def test_samples_have_the_distribution(name):
    """Kolmogorov-Smirnov at a level of 1e-5."""
    _, parameters, _ = next(c for c in CASES if c[0] == name)
    jitcore.manual_seed(5)
    distribution, _ = made(jitcore, ours, name, parameters)
    n = 4000
    u = np.sort(numbers(distribution.cdf(distribution.sample((n,)))), axis=0)
    steps = np.arange(1, n + 1)[:, None] / n
    assert np.abs(u - steps).max() < np.sqrt(-np.log(1e-5 / 2) / 2 / n) + 1 / n


def test_categories_come_as_often_as_they_should():
    jitcore.manual_seed(0)
    probs = jitcore.tensor([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    drawn = ours.Categorical(probs).sample((100, 100))
    assert drawn.shape == (100, 100, 2) and drawn.dtype is jitcore.int64
    found = np.stack([(drawn.numpy() == k).mean((0, 1)) for k in range(3)], -1)
    np.testing.assert_allclose(found, probs.numpy(), atol=0.025)


@pytest.mark.parametrize("concentration", [0.05, 0.4, 1.0, 3.0, 7.9, 8.1, 30.0, 1000.0])
def test_implicit_gradients_of_gamma_are_torchs(concentration):
    from jitcore.distributions.gamma import _implicit_gradient

    z = torch.distributions.Gamma(torch.tensor(concentration, dtype=torch.float64), 1.0).sample((200,))
    expected = torch._standard_gamma_grad(torch.full((200,), concentration, dtype=torch.float64), z).numpy()
    a = jitcore.full((200,), concentration, dtype=jitcore.float64)
    # PyTorch's is an approximation to about 1e-3 (rational where ours sums the series).
    np.testing.assert_allclose(_implicit_gradient(jitcore.from_numpy(z.numpy()), a).numpy(), expected, 5e-3)


def test_gradients_through_samples_are_those_of_the_moments():
    jitcore.manual_seed(1)
    a = jitcore.tensor([0.7, 3.0], dtype=jitcore.float64, requires_grad=True)
    b = jitcore.tensor([2.0, 1.5], dtype=jitcore.float64, requires_grad=True)
    n = 10000
    for distribution in (ours.Gamma(a, b), ours.Beta(a, b)):
        found = jitcore.autograd.grad(distribution.rsample((n,)).mean(0).sum(), [a, b])
        wanted = jitcore.autograd.grad(distribution.mean.sum(), [a, b])
        for f, w in zip(found, wanted):
            np.testing.assert_allclose(f.numpy(), w.numpy(), atol=0.01)


CROSS = [
    ("Exponential", "Gamma"), ("Gamma", "Exponential"), ("Uniform", "Normal"), ("Laplace", "Normal"),
    ("Normal", "Laplace"), ("Gamma", "Normal"), ("Beta", "Normal"), ("Exponential", "Normal"), ("Gumbel", "Normal"),
    ("Normal", "Gumbel"), ("Normal", "Gamma"), ("Bernoulli", "Poisson"),
]  # fmt: skip


@pytest.mark.parametrize(
    "pair", [(c[0], c[0]) for c in CASES if c[0] not in ("StudentT", "Multinomial", "Chi2")] + CROSS
)
def test_divergences(pair):
    def run(t, data):
        (p, leaves), (q, _) = [made(t, data, *next(c for c in CASES if c[0] == name)[:2]) for name in pair]
        shifted = {k: [(np.asarray(v) * 1.1).tolist()][0] if isinstance(v, list) else v for k, v in
                   next(c for c in CASES if c[0] == pair[1])[1].items()}  # fmt: skip
        if pair[1] not in ("Categorical", "OneHotCategorical", "Bernoulli", "Geometric", "Binomial"):
            q = made(t, data, pair[1], shifted)[0]
        kl = data.kl_divergence(p, q)
        return [kl, *[g for g in t.autograd.grad(kl.sum(), leaves, allow_unused=True) if g is not None]] if (
            kl.requires_grad
        ) else [kl]  # fmt: skip

    for a, b in zip(run(jitcore, ours), run(torch, theirs)):
        same(a, b)


def test_expand_independent_and_transformed():
    def run(t, data):
        base = data.Normal(t.zeros(3), t.ones(3)).expand((2, 3))
        event = data.Independent(base, 1)
        x = t.linspace(-0.9, 0.8, 6).reshape(2, 3)
        T = data.transforms
        squashed = data.TransformedDistribution(base, [T.AffineTransform(1.0, 2.0), T.TanhTransform()])
        simple = data.TransformedDistribution(data.Uniform(t.zeros(3), t.ones(3)), [T.SigmoidTransform().inv])
        flipped = data.TransformedDistribution(base, T.AffineTransform(1.0, -2.0))
        return [
            event.log_prob(x), event.entropy(), squashed.log_prob(x), simple.log_prob(x), squashed.cdf(x),
            flipped.cdf(x), flipped.icdf(x.abs()), data.Independent(base, 1).expand((4, 2)).log_prob(x),
            data.Categorical(t.ones(3)).expand((2,)).log_prob(t.tensor([0, 2])),
            data.Bernoulli(t.ones(3) / 3).enumerate_support(),
            t.tensor(squashed.sample((5,)).shape), t.tensor(event.rsample((5,)).shape),
            data.kl_divergence(event, data.Independent(data.Normal(t.ones(2, 3), 2.0), 1)),
        ]  # fmt: skip

    for a, b in zip(run(jitcore, ours), run(torch, theirs)):
        same(a, b, 2e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda t, d: d.Normal(0.0, -1.0),
        lambda t, d: d.Uniform(1.0, 0.0),
        lambda t, d: d.Categorical(t.tensor([-1.0, 2.0])),
        lambda t, d: d.Bernoulli(1.5),
        lambda t, d: d.Bernoulli(0.5, 0.5),
        lambda t, d: d.Normal(0.0, 1.0).log_prob(t.tensor(float("nan"))),
        lambda t, d: d.Beta(1.0, 1.0).log_prob(t.tensor(2.0)),
        lambda t, d: d.Categorical(t.ones(2)).log_prob(t.tensor(5)),
        lambda t, d: d.MultivariateNormal(t.zeros(2), -t.eye(2)),
        lambda t, d: d.Normal(t.zeros(3), 1.0).log_prob(t.zeros(2)),
        lambda t, d: d.kl_divergence(d.Normal(0.0, 1.0), d.Poisson(1.0)),
        lambda t, d: d.Independent(d.Normal(0.0, 1.0), 1),
    ],
)
def test_what_is_refused(make):
    with pytest.raises((ValueError, NotImplementedError)) as their_error:
        make(torch, theirs)
    with pytest.raises(their_error.type):
        make(jitcore, ours)


def test_under_jit():
    @jitcore.jit
    def f(loc, scale, x):
        d = ours.Normal(loc, scale)
        return d.log_prob(x) + d.rsample().detach() * 0

    x = jitcore.ones(3)
    for _ in range(3):
        assert jitcore.allclose(f(x, x, x), ours.Normal(1.0, 1.0).log_prob(x))
