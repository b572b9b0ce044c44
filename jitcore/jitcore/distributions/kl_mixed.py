"""Kullback-Leibler divergences between distributions of different families: -entropy(p) - E_p[log q(x)]."""

from __future__ import annotations

import math
from typing import Any

from ..ops import digamma, lgamma, xlogy
from ..tensor import Tensor
from .bounded import ContinuousBernoulli
from .combined import MultivariateNormal
from .continuous import Gumbel, Laplace, Normal, Uniform
from .derived import Pareto
from .discrete import Bernoulli, Binomial, Poisson
from .gamma import Beta, Exponential, Gamma
from .kl import _infinite, _multivariate_normal, _with_moments_normal, register_kl
from .matrices import LowRankMultivariateNormal

register_kl(ContinuousBernoulli, Normal)(_with_moments_normal)

for _pair in [
    (LowRankMultivariateNormal, LowRankMultivariateNormal), (MultivariateNormal, LowRankMultivariateNormal),
    (LowRankMultivariateNormal, MultivariateNormal),
]:  # fmt: skip
    register_kl(*_pair)(_multivariate_normal)

for _p, _q in [
    *((p, ContinuousBernoulli) for p in (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto)),
    *((p, Pareto) for p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Normal)),
    (Pareto, Beta), (Pareto, Uniform), (Poisson, Bernoulli), (Poisson, Binomial),
]:  # fmt: skip
    register_kl(_p, _q)(_infinite)


@register_kl(Beta, Exponential)
@register_kl(ContinuousBernoulli, Exponential)
def _with_mean_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> Tensor:
    mean_log = digamma(p.concentration1) - digamma(p.concentration1 + p.concentration0)
    return -p.entropy() + _gamma_norm(q) - (q.concentration - 1) * mean_log + q.rate * p.mean


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Tensor:
    return (-p.entropy() + (q.high - q.low).log()).masked_fill((q.low > 0) | (q.high < 1), math.inf)


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: Any, q: Any) -> Tensor:
    return (-p.entropy() + (q.high - q.low).log()).masked_fill((q.low >= 0) | (q.high <= 1), math.inf)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
@register_kl(Beta, ContinuousBernoulli)
def _with_mean_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._cont_bern_log_norm()


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return _with_mean_continuous_bernoulli(p, q).masked_fill((p.high >= 1) | (p.low <= 0), math.inf)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Any, q: Any) -> Tensor:
    product, away = p.rate * q.scale, q.loc / q.scale
    return product.log() - 1 - away + away.exp() * product / (product + 1) + product.reciprocal()


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Any, q: Any) -> Tensor:
    a, product, away = p.concentration, p.rate * q.scale, q.loc / q.scale
    t1 = (a - 1) * digamma(a) - lgamma(a) - a + product.log() + a / product
    return t1 + away.exp() * (1 + product.reciprocal()).pow(-a) - away


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    found = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return found.masked_fill(p.scale < q.scale, math.inf)


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> Tensor:
    product = p.scale * q.rate
    found = (p.alpha / product).log() - p.alpha.reciprocal() + p.alpha * product / (p.alpha - 1) - 1
    return found.masked_fill(p.alpha <= 1, math.inf)


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Any, q: Any) -> Tensor:
    mean_log = p.scale.log() + p.alpha.reciprocal()
    found = p.alpha.log() - mean_log + _gamma_norm(q) + (1 - q.concentration) * mean_log - 1
    found = found + q.rate * p.alpha * p.scale / (p.alpha - 1)
    return found.masked_fill(p.alpha <= 1, math.inf)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Tensor:
    common = p.scale / (p.alpha - 1)
    t1 = (math.sqrt(2 * math.pi) * q.scale * p.alpha / p.scale).log() - p.alpha.reciprocal()
    square = p.alpha * common.pow(2) / (p.alpha - 2) + (p.alpha * common - q.loc).pow(2)
    return (t1 + square / (2 * q.scale.pow(2)) - 1).masked_fill(p.alpha <= 2, math.inf)


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    rest = _mean_log(1 - p.high, 1 - p.low)
    found = lgamma(a) + lgamma(b) - lgamma(a + b) - (a - 1) * _mean_log(p.low, p.high) - (b - 1) * rest
    return (found - (p.high - p.low).log()).masked_fill((p.high > 1) | (p.low < 0), math.inf)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    found = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return found.masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    found = _gamma_norm(q) + (1 - q.concentration) * _mean_log(p.low, p.high) + q.rate * (p.high + p.low) / 2
    return (found - (p.high - p.low).log()).masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Any, q: Any) -> Tensor:
    share = q.scale / (p.high - p.low)
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return share.log() + 0.5 * (high + low) - share * ((-high).exp() - (-low).exp())


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    found = _mean_log(p.low, p.high) * (q.alpha + 1) - (q.alpha * q.scale.pow(q.alpha) * (p.high - p.low)).log()
    return found.masked_fill(p.low < q.scale, math.inf)


def _gamma_norm(q: Any) -> Tensor:
    """The logarithm of what a gamma density is divided by."""
    return lgamma(q.concentration) - q.concentration * q.rate.log()


def _mean_log(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log(x) for x uniform between low and high."""
    return (xlogy(high, high) - xlogy(low, low) - (high - low)) / (high - low)


__all__: list[str] = []
