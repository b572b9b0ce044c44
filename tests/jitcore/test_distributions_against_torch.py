"""distributions beside torch.distributions: densities, moments, entropies and their gradients; samples by moments."""

import numpy as np
import pytest
import torch
import torch.distributions as theirs

import jitcore
import jitcore.distributions as ours

POSITIVE = [0.3, 1.7, 9.0]


@pytest.fixture(autouse=True)
def they_check_arguments(monkeypatch):
    """torch.compile, which other tests run, turns that off for the whole process."""
    monkeypatch.setattr(theirs.Distribution, "_validate_args", True)


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
    ("HalfCauchy", {"scale": POSITIVE}, [0.3, 4.0, 2.5]),
    ("Pareto", {"scale": [0.3, 1.0, 2.0], "alpha": [4.5, 5.0, 9.0]}, [0.4, 3.0, 2.5]),
    ("Weibull", {"scale": POSITIVE, "concentration": [1.4, 2.0, 5.0]}, [0.3, 4.0, 8.5]),
    ("Kumaraswamy", {"concentration1": [0.6, 2.0, 4.0], "concentration0": [2.0, 0.7, 5.0]}, [0.3, 0.9, 0.5]),
    ("InverseGamma", {"concentration": [4.5, 5.0, 9.0], "rate": POSITIVE}, [0.3, 0.9, 2.5]),
    ("LogisticNormal", {"loc": [0.5, -1.0], "scale": [0.3, 1.2]}, [0.2, 0.5, 0.3]),
    (
        "GeneralizedPareto",
        {"loc": [0.0, 1.0, -1.0], "scale": POSITIVE, "concentration": [0.2, 0.0, -0.4]},
        [0.3, 1.4, 2.5],
    ),
    ("ContinuousBernoulli", {"probs": [0.2, 0.5003, 0.9]}, [0.3, 0.9, 0.5]),
    ("ContinuousBernoulli", {"logits": [0.2, -0.9, 3.0]}, [0.3, 0.9, 0.5]),
    ("VonMises", {"loc": [0.5, -1.0, 3.0], "concentration": [0.1, 2.0, 9.0]}, [0.3, -2.0, 2.5]),
    ("FisherSnedecor", {"df1": [1.5, 4.0, 9.0], "df2": [9.5, 12.0, 20.0]}, [0.3, 0.9, 2.5]),
    ("NegativeBinomial", {"total_count": [3.0, 7.0, 2.5], "probs": [0.2, 0.8, 0.6]}, [0.0, 15.0, 4.0]),
    ("RelaxedBernoulli", {"temperature": [0.7], "probs": [0.2, 0.9, 0.6]}, [0.1, 0.7, 0.5]),
    ("RelaxedOneHotCategorical", {"temperature": [0.7], "logits": [[0.2, -0.3, 0.6]]}, [[0.2, 0.5, 0.3]]),
    (
        "LowRankMultivariateNormal",
        {"loc": [0.5, -1.0, 0.0], "cov_factor": [[1.0], [0.5], [-0.3]], "cov_diag": [0.3, 1.2, 0.5]},
        [0.3, -1.0, 0.4],
    ),
    (
        "LKJCholesky",
        {"dim": 3, "concentration": [0.7, 2.0]},
        [[[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]] * 2,
    ),
    ("Wishart", {"df": [5.5], "covariance_matrix": [[2.0, 0.3], [0.3, 0.5]]}, [[[3.0, 0.1], [0.1, 1.0]]]),
    ("Wishart", {"df": [5.5], "precision_matrix": [[2.0, 0.3], [0.3, 0.5]]}, [[[3.0, 0.1], [0.1, 1.0]]]),
]
WRONG_IN_TORCH = [("Kumaraswamy", "mode"), ("GeneralizedPareto", "log_prob"), ("GeneralizedPareto", "cdf")]
"""NaN wherever there is a mode; an error for float64. Both are compared with SciPy below."""
LOOSE = {"Multinomial": 1e-7, "VonMises": 1e-6}
"""PyTorch takes lgamma(total_count) in float32, and Bessel functions from polynomials."""
WITHOUT_DIVERGENCE = (
    "StudentT", "Multinomial", "Chi2", "HalfCauchy", "Weibull", "Kumaraswamy", "GeneralizedPareto", "VonMises",
    "FisherSnedecor",
    "NegativeBinomial", "RelaxedBernoulli", "RelaxedOneHotCategorical", "LKJCholesky", "Wishart",
)  # fmt: skip
IDS = [f"{name}-{'-'.join(p)}" for name, p, _ in CASES]


def made(t, data, name, parameters):
    given = {
        k: t.tensor(v, dtype=t.float64, requires_grad=True) if isinstance(v, list) else v for k, v in parameters.items()
    }
    return getattr(data, name)(**given), [v for v in given.values() if not isinstance(v, int | float)]


def numbers(x):
    return x.detach().numpy() if hasattr(x, "detach") else x


def same(a, b, tolerance=1e-9):
    assert tuple(a.shape) == tuple(b.shape) and str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
    np.testing.assert_allclose(numbers(a), numbers(b), tolerance, tolerance)


@pytest.mark.parametrize(("name", "parameters", "values"), CASES, ids=IDS)
@pytest.mark.parametrize("what", ["log_prob", "entropy", "mean", "variance", "stddev", "mode", "cdf", "icdf"])
def test_formulas_and_their_gradients(name, parameters, values, what):
    if (name, what) in WRONG_IN_TORCH:
        return

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
    except (NotImplementedError, AttributeError):
        return
    for a, b in zip(run(jitcore, ours), expected, strict=True):
        same(a, b, LOOSE.get(name, 1e-9))


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
    try:
        numbers(other.stddev)
    except NotImplementedError:
        return
    if name in ("Cauchy", "Categorical", "HalfCauchy", "VonMises"):  # VonMises has circular moments
        return
    # Five standard errors of the mean; the variance loosely, as fourth moments differ.
    error = numbers(other.stddev) / np.sqrt(n) * 5
    assert (np.abs(numbers(drawn.mean(0)) - numbers(other.mean)) <= error).all()
    if name not in ("StudentT", "LogNormal"):
        np.testing.assert_allclose(numbers(drawn.var(0)), numbers(other.variance), 0.15)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "Cauchy", "Gumbel", "Uniform", "HalfNormal", "Exponential", "Gamma",
             "HalfCauchy", "Pareto", "Weibull", "Kumaraswamy", "InverseGamma", "GeneralizedPareto",
             "ContinuousBernoulli"],
)  # fmt: skip
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
    ("Normal", "Gumbel"), ("Normal", "Gamma"), ("Bernoulli", "Poisson"), ("Poisson", "Bernoulli"),
    ("Poisson", "Binomial"), ("Beta", "ContinuousBernoulli"), ("Beta", "Pareto"), ("Beta", "Exponential"),
    ("Beta", "Gamma"), ("Beta", "Uniform"), ("ContinuousBernoulli", "Pareto"), ("ContinuousBernoulli", "Exponential"),
    ("ContinuousBernoulli", "Normal"), ("ContinuousBernoulli", "Uniform"), ("Exponential", "ContinuousBernoulli"),
    ("Exponential", "Gumbel"), ("Gamma", "Pareto"), ("Gamma", "Gumbel"), ("Gumbel", "Pareto"), ("Normal", "Pareto"),
    ("Pareto", "Beta"), ("Pareto", "Exponential"), ("Pareto", "Gamma"), ("Pareto", "Normal"), ("Pareto", "Uniform"),
    ("Uniform", "Beta"), ("Uniform", "ContinuousBernoulli"), ("Uniform", "Exponential"), ("Uniform", "Gamma"),
    ("Uniform", "Gumbel"), ("Uniform", "Pareto"),
]  # fmt: skip


@pytest.mark.parametrize("pair", [(c[0], c[0]) for c in CASES if c[0] not in WITHOUT_DIVERGENCE] + CROSS)
def test_divergences(pair):
    def run(t, data):
        (p, leaves), (q, _) = [made(t, data, *next(c for c in CASES if c[0] == name)[:2]) for name in pair]
        if pair[0] == "Uniform" and pair[1] != "Uniform":  # PyTorch's 0 log 0 is NaN
            p, leaves = made(t, data, "Uniform", {"low": [0.1, 0.2, 2.0], "high": [0.9, 0.6, 2.5]})
        shifted = {k: [(np.asarray(v) * 1.1).tolist()][0] if isinstance(v, list) else v for k, v in
                   next(c for c in CASES if c[0] == pair[1])[1].items()}  # fmt: skip
        if pair[1] not in ("Categorical", "OneHotCategorical", "Bernoulli", "Geometric", "Binomial"):
            q = made(t, data, pair[1], shifted)[0]
        kl = data.kl_divergence(p, q)
        return [kl, *[g for g in t.autograd.grad(kl.sum(), leaves, allow_unused=True) if g is not None]] if (
            kl.requires_grad
        ) else [kl]  # fmt: skip

    for a, b in zip(run(jitcore, ours), run(torch, theirs), strict=True):
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


def test_kumaraswamy_and_generalized_pareto_against_scipy():
    import scipy.stats

    a, b = np.array([1.6, 2.0, 4.0]), np.array([2.0, 3.0, 5.0])
    distribution = ours.Kumaraswamy(jitcore.tensor(a), jitcore.tensor(b))
    mode, step = distribution.mode, 1e-4
    for away in (-step, step):
        assert (distribution.log_prob(mode + away) < distribution.log_prob(mode)).all()
    loc, scale, shape = np.array([0.0, 1.0, -1.0]), np.array([0.3, 1.7, 9.0]), np.array([0.2, 0.0, -0.4])
    values = np.array([0.3, 1.4, 2.5])
    mine = ours.GeneralizedPareto(*map(jitcore.tensor, (loc, scale, shape)))
    other = scipy.stats.genpareto(shape, loc, scale)
    for found, wanted in (
        (mine.log_prob(jitcore.tensor(values)), other.logpdf(values)),
        (mine.cdf(jitcore.tensor(values)), other.cdf(values)),
        (mine.icdf(jitcore.tensor([0.1, 0.5, 0.9], dtype=jitcore.float64)), other.ppf([0.1, 0.5, 0.9])),
    ):  # fmt: skip
        np.testing.assert_allclose(found.numpy(), wanted, 1e-12)


def test_circular_moments_of_von_mises_samples():
    jitcore.manual_seed(2)
    k = jitcore.tensor([1e-6, 0.5, 8.0])
    drawn = ours.VonMises(jitcore.tensor([0.0, 2.0, -3.0]), k).sample((20000,))
    assert (drawn.abs() <= np.pi + 1e-6).all()
    expected = ours.VonMises(0.0, k.double()).variance
    found = 1 - (drawn - jitcore.tensor([0.0, 2.0, -3.0])).cos().mean(0)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=0.025)


def test_mixtures():
    def run(t, data):
        weights = t.tensor([[0.3, 0.7], [0.5, 0.5]], dtype=t.float64, requires_grad=True)
        loc = t.tensor([[0.0, 2.0], [-1.0, 1.0]], dtype=t.float64, requires_grad=True)
        one = data.MixtureSameFamily(data.Categorical(weights), data.Normal(loc, 0.5))
        many = data.MixtureSameFamily(
            data.Categorical(weights[0]), data.Independent(data.Normal(loc, t.ones(2, dtype=t.float64)), 1)
        )
        x = t.tensor([0.3, -0.4], dtype=t.float64)
        found = [one.log_prob(x), one.mean, one.variance, one.cdf(x), many.log_prob(x), many.mean, many.variance]
        found += [
            one.expand((3, 2)).log_prob(x),
            *t.autograd.grad(one.log_prob(x).sum() + many.mean.sum(), [weights, loc]),
        ]
        shapes = [tuple(d.sample((4, 5)).shape) for d in (one, many)]
        return found, shapes, str(one).replace("jitcore", "torch")

    mine, other = run(jitcore, ours), run(torch, theirs)
    assert mine[1:] == other[1:]
    for a, b in zip(mine[0], other[0]):
        same(a, b)
    jitcore.manual_seed(0)
    d = ours.MixtureSameFamily(
        ours.Categorical(jitcore.tensor([0.2, 0.8])), ours.Normal(jitcore.tensor([-5.0, 5.0]), 0.1)
    )
    drawn = d.sample((5000,))
    assert abs((drawn < 0).float().mean().item() - 0.2) < 0.03 and d.support.check(drawn).all()
    with pytest.raises(ValueError):
        ours.MixtureSameFamily(ours.Categorical(jitcore.ones(3)), ours.Normal(jitcore.ones(2), 1.0))


TRANSFORMS = {
    "stick breaking": (lambda t, d: d.StickBreakingTransform(), (2, 3)),
    "lower cholesky": (lambda t, d: d.LowerCholeskyTransform(), (2, 3, 3)),
    "positive definite": (lambda t, d: d.PositiveDefiniteTransform(), (2, 3, 3)),
    "correlation": (lambda t, d: d.CorrCholeskyTransform(), (2, 6)),
    "reshape": (lambda t, d: d.ReshapeTransform((6,), (2, 3)), (2, 6)),
    "cat": (lambda t, d: d.CatTransform([d.ExpTransform(), d.TanhTransform()], -1, [2, 3]), (2, 5)),
    "stack": (lambda t, d: d.StackTransform([d.ExpTransform(), d.AffineTransform(1.0, 2.0)], 1), (3, 2)),
    "cdf": (lambda t, d: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)), (3,)),
    "composed": (lambda t, d: d.ComposeTransform([d.AffineTransform(1.0, 2.0), d.StickBreakingTransform()]), (2, 3)),
    "independent": (lambda t, d: d.IndependentTransform(d.ExpTransform(), 1), (2, 3)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    make, shape = TRANSFORMS[name]
    x = np.random.default_rng(0).normal(size=shape) * 0.5

    def run(t, d):
        transform, given = make(t, d), t.tensor(x, requires_grad=True)
        y = transform(given)
        found = [y, transform.inv(y.detach())]
        try:
            slope = transform.log_abs_det_jacobian(given, y)
            found += [slope, *t.autograd.grad(slope.sum(), [given], allow_unused=True, materialize_grads=True)]
        except (NotImplementedError, RuntimeError):
            pass
        assert bool(transform.codomain.check(y).all())
        shapes = transform.forward_shape(given.shape), transform.inverse_shape(y.shape)
        return found, [tuple(s) for s in shapes]

    mine, other = run(jitcore, ours), run(torch, theirs)
    assert mine[1:] == other[1:]
    for a, b in zip(mine[0], other[0], strict=True):
        same(a, b)


def test_transforms_to_constraints():
    def run(t, d):
        c = d.constraints
        x = t.tensor(np.random.default_rng(0).normal(size=(2, 3)))
        given = [
            c.real, c.positive, c.nonnegative, c.greater_than(2.0), c.less_than(1.0), c.unit_interval,
            c.interval(-1.0, 3.0), c.half_open_interval(0.0, 2.0), c.simplex, c.independent(c.positive, 1),
            c.cat([c.real, c.positive], -1, [1, 2]), c.stack([c.real, c.positive, c.unit_interval], -1),
            c.corr_cholesky,
        ]  # fmt: skip
        found = [to(part)(x) for part in given for to in (d.biject_to, d.transform_to)]
        square = x[:, :2].expand(3, 2, 2)
        found += [d.transform_to(part)(square) for part in (c.lower_cholesky, c.positive_definite)]
        return found, [part.check(found[2 * i]).all().item() for i, part in enumerate(given)]

    mine, other = run(jitcore, ours), run(torch, theirs)
    assert mine[1] == other[1]
    for a, b in zip(mine[0], other[0], strict=True):
        same(a, b)
    for library in (ours, theirs):
        with pytest.raises(NotImplementedError):
            library.biject_to(library.constraints.boolean)


def test_gradients_through_relaxed_samples():
    jitcore.manual_seed(0)
    logits = jitcore.tensor([0.3, -0.5, 1.0], requires_grad=True)
    drawn = ours.RelaxedOneHotCategorical(0.5, logits=logits).rsample((100,))
    drawn[:, 0].sum().backward()
    assert (drawn.sum(-1) - 1).abs().max() < 1e-5 and logits.grad.abs().sum() > 0
    hard = ours.RelaxedBernoulli(0.01, probs=jitcore.tensor([0.2, 0.9])).sample((4000,))
    np.testing.assert_allclose(hard.mean(0).numpy(), [0.2, 0.9], atol=0.03)


def test_divergence_of_differently_transformed_distributions_is_refused():
    T = ours.transforms
    base = ours.Normal(0.0, 1.0)
    for a, b in [
        (T.AffineTransform(0.0, 1.0), T.AffineTransform(0.0, 2.0)),
        (T.ComposeTransform([T.AffineTransform(0.0, 1.0)]), T.ComposeTransform([T.AffineTransform(1.0, 1.0)])),
        (T.AffineTransform(jitcore.zeros(2), 1.0), T.AffineTransform(jitcore.tensor([0.0, 1.0]), 1.0)),
    ]:
        p, q, r = (ours.TransformedDistribution(base, t) for t in (a, b, a))
        assert a == a and a != b
        with pytest.raises(NotImplementedError):
            ours.kl_divergence(p, q)
        assert (ours.kl_divergence(p, r) == 0).all()
    assert T.ExpTransform() == T.ExpTransform() and T.ExpTransform() != T.TanhTransform()
