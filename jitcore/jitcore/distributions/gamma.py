"""Distributions made of gamma variables: Gamma, Chi2, Exponential, Beta, Dirichlet.

Samples are drawn by Marsaglia and Tsang's method (2000) in a fixed number of rounds; gradients reach the concentration
by implicit reparameterization (Figurnov et al., 2018): dz/da = -(dF/da) / p, with F the regularized lower incomplete
gamma function.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jitcore_ir.dtypes import float64

from ..autograd.modes import no_grad
from ..ops import arange, digamma, lgamma, rand, randn, stack, where, xlogy, zeros_like
from ..ops.special import gammainc
from ..tensor import Tensor
from ..typeinfo import finfo
from . import constraints
from .distribution import ExponentialFamily, broadcast_all

ROUNDS = 10
"""Proposals per element. Each is accepted with probability above 0.95: all fail less than once in 1e13."""
TERMS = 160
"""Terms of the series for dF/da, for concentrations up to 8 and so values up to about 60."""


def standard_gamma(concentration: Tensor) -> Tensor:
    """One gamma variable of scale 1 per element, with gradients."""
    with no_grad():
        z = _drawn(concentration.detach())
        slope = _implicit_gradient(z, concentration.detach()) if concentration.requires_grad else None
    return z if slope is None else z + (concentration - concentration.detach()) * slope


def _drawn(a: Tensor) -> Tensor:
    shape = a.shape
    boosted = where(a < 1, a + 1, a)
    d = boosted - 1 / 3
    c = 1 / (9 * d).sqrt()
    z, done = d, a != a
    for _ in range(ROUNDS):
        x = randn(shape, dtype=a.dtype)
        v = (1 + c * x) ** 3
        u = rand(shape, dtype=a.dtype)
        fits = (v > 0) & ((1 - u).log() < 0.5 * x * x + d - d * v + d * v.clamp(min=1e-30).log())
        z = where(fits & ~done, d * v, z)
        done = done | fits
    u = 1 - rand(shape, dtype=a.dtype)
    return where(a < 1, z * u ** (1 / a), z).clamp(min=finfo(a.dtype).tiny)


def _implicit_gradient(z: Tensor, a: Tensor) -> Tensor:
    """dz/da at fixed F(z; a)."""
    dtype, z, a = a.dtype, z.double(), a.double()
    small, large = a.clamp(max=8), a.clamp(min=8)
    return where(a <= 8, _by_series(z.clamp(max=80), small), _by_saddle_point(z, large)).to(dtype)


def _by_series(z: Tensor, a: Tensor) -> Tensor:
    """From F = sum over n of z^(a+n) e^-z / Gamma(a+n+1), term by term."""
    n = arange(TERMS, dtype=float64)
    z, a = z.unsqueeze(-1), a.unsqueeze(-1)
    log_z = z.log()
    # Divided by the density z^(a-1) e^-z / Gamma(a); small z and a stay finite in logarithms.
    terms = ((n + 1) * log_z + lgamma(a) - lgamma(a + n + 1)).exp()
    return (terms * (digamma(a + n + 1) - log_z)).sum(-1)


def _by_saddle_point(x: Tensor, a: Tensor) -> Tensor:
    """Rice's uniform expansion for large a, as published with PyTorch's standard_gamma_grad."""
    near = (x >= 0.9 * a) & (x <= 1.1 * a)
    first = 1 + 24 * a * (1 + 12 * a)
    second = 1440 * a * a + 6 * x * (53 - 120 * x) - 65 * x * x / a + a * (107 + 3600 * x)
    center = first * second / (1244160 * a**4)
    y = where(near, a * 2, x)  # away from the pole at x = a
    root = (8 * a).sqrt()
    term2 = root / (a - y)
    term3 = (y - a - a * (y / a).log()).clamp(min=1e-300) ** -1.5
    term23 = where(y < a, term2 - term3, term2 + term3)
    term1 = (y / a).log() * term23 - (2 / a).sqrt() * (a + y) / (a - y) ** 2
    stirling = 1 + 1 / (12 * a) * (1 + 1 / (24 * a))
    return where(near, center, -stirling * y * term1 / root)


class Gamma(ExponentialFamily):
    """The gamma distribution with shape `concentration` and rate `rate`."""

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, rate = self.concentration, self.rate
        return xlogy(a, rate) + xlogy(a - 1, value) - rate * value - lgamma(a)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + lgamma(a) + (1.0 - a) * digamma(a)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return gammainc(self.concentration, self.rate * value)


class Chi2(Gamma):
    """The chi-squared distribution with `df` degrees of freedom."""

    arg_constraints: ClassVar[Any] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    @property
    def df(self) -> Tensor:
        return self.concentration * 2

    def expand(self, batch_shape: Any, _instance: Any = None) -> Chi2:
        return Chi2(self.df.expand(batch_shape), validate_args=False)


class Exponential(ExponentialFamily):
    """The exponential distribution."""

    arg_constraints: ClassVar[Any] = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate.reciprocal()

    stddev = mean

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.rate.detach())

    @property
    def variance(self) -> Tensor:
        return self.rate.pow(-2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return -(-rand(self._extended_shape(sample_shape), dtype=self.rate.dtype)).log1p() / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1.0 - self.rate.log()


class Dirichlet(ExponentialFamily):
    """The Dirichlet distribution over probabilities."""

    arg_constraints: ClassVar[Any] = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        less = (self.concentration - 1).clamp(min=0.0)
        mode = less / less.sum(-1, True)
        none = (self.concentration < 1).all(-1, True)
        best = self.concentration == self.concentration.amax(-1, True)
        return where(none, (best.cumsum(-1) == 1).to(mode.dtype) * best.to(mode.dtype), mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return drawn / drawn.sum(-1, True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        return xlogy(a - 1.0, value).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Tensor:
        a = self.concentration
        k, total = a.shape[-1], a.sum(-1)
        scores = ((a - 1.0) * digamma(a)).sum(-1)
        return lgamma(a).sum(-1) - lgamma(total) - (k - total) * digamma(total) - scores


class Beta(ExponentialFamily):
    """The beta distribution."""

    arg_constraints: ClassVar[Any] = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, validate_args=validate_args)

    @property
    def _both(self) -> Dirichlet:
        return Dirichlet(stack([self.concentration1, self.concentration0], -1), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._both.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._both.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._both.log_prob(stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._both.entropy()


__all__ = ["Beta", "Chi2", "Dirichlet", "Exponential", "Gamma", "standard_gamma"]
