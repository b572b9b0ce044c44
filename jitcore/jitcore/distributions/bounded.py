"""Distributions on intervals with formulas of their own: ContinuousBernoulli, VonMises; and ratios and mixtures of
gamma variables: FisherSnedecor, NegativeBinomial."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from jitcore_ir.dtypes import float64

from ..autograd.modes import no_grad
from ..ops import lgamma, log, ones_like, rand, where, zeros_like
from ..ops.activation import logsigmoid
from ..ops.losses import binary_cross_entropy_with_logits
from ..special import i0e, i1e
from ..tensor import Size, Tensor
from ..typeinfo import finfo
from . import constraints
from .discrete import Poisson, _Odds
from .distribution import Distribution, ExponentialFamily, broadcast_all
from .gamma import Gamma

ROUNDS = 40
"""Proposals per element of VonMises. Each is accepted with probability above 0.65: all fail less than once in 1e18."""


class ContinuousBernoulli(_Odds, ExponentialFamily):
    """The density on [0, 1] proportional to p^x (1-p)^(1-x) (Loaiza-Ganem and Cunningham, 2019).

    Within `lims` around 0.5, where the formulas divide 0 by 0, Taylor expansions are used.
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        given = self._take(probs, logits)
        self._lims = lims
        super().__init__(given.shape, validate_args=validate_args)

    def _expand_rest(self, made: Any, batch_shape: Size) -> None:
        made._lims = self._lims

    def _outside(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Tensor:
        """The probabilities, away from 0.5."""
        return where(self._outside(), self.probs, self._lims[0] * ones_like(self.probs))

    def _cont_bern_log_norm(self) -> Tensor:
        cut = self._cut()
        below, above = where(cut <= 0.5, cut, zeros_like(cut)), where(cut >= 0.5, cut, ones_like(cut))
        size = ((-cut).log1p() - cut.log()).abs().log()
        exact = size - where(cut <= 0.5, (-2.0 * below).log1p(), (2.0 * above - 1.0).log())
        x = (self.probs - 0.5).pow(2)
        return where(self._outside(), exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        cut, x = self._cut(), self.probs - 0.5
        exact = cut / (2.0 * cut - 1.0) + 1.0 / ((-cut).log1p() - cut.log())
        return where(self._outside(), exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    @property
    def variance(self) -> Tensor:
        cut, x = self._cut(), (self.probs - 0.5).pow(2)
        exact = cut * (cut - 1.0) / (1.0 - 2.0 * cut).pow(2) + 1.0 / ((-cut).log1p() - cut.log()).pow(2)
        return where(self._outside(), exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return self._cont_bern_log_norm() - binary_cross_entropy_with_logits(logits, value, reduction="none")

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        cut = self._cut()
        exact = (cut.pow(value) * (1.0 - cut).pow(1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        inside = where(self._outside(), exact, value)
        return where(value <= 0.0, zeros_like(value), where(value >= 1.0, ones_like(value), inside))

    def icdf(self, value: Tensor) -> Tensor:
        cut = self._cut()
        exact = ((-cut + value * (2.0 * cut - 1.0)).log1p() - (-cut).log1p()) / (cut.log() - (-cut).log1p())
        return where(self._outside(), exact, value)

    def entropy(self) -> Tensor:
        zero, one = (-self.probs).log1p(), self.probs.log()
        return self.mean * (zero - one) - self._cont_bern_log_norm() - zero


class VonMises(Distribution):
    """The circular normal distribution: angles around `loc`, in [-pi, pi)."""

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k = self.concentration
        return k * ((value - self.loc).cos() - 1) - math.log(2 * math.pi) - i0e(k).log()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By rejection from a wrapped Cauchy distribution (Best and Fisher, 1979), in float64."""
        with no_grad():
            shape = self._extended_shape(sample_shape)
            k = self.concentration.detach().double().expand(shape)
            tau = 1 + (1 + 4 * k**2).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))
            angle, done = zeros_like(k), k != k
            for _ in range(ROUNDS):
                u1, u2, u3 = (rand(shape, dtype=float64) for _ in range(3))
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                fits = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                angle = where(fits & ~done, (u3 - 0.5).sign() * f.clamp(-1, 1).acos(), angle)
                done = done | fits
            wrapped = (angle + math.pi + self.loc.detach().double()) % (2 * math.pi) - math.pi
            return wrapped.to(self.loc.dtype)


class FisherSnedecor(Distribution):
    """The F distribution: the ratio of two chi-squared variables, each over its degrees of freedom."""

    arg_constraints: ClassVar[Any] = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return (self.df2 / (self.df2 - 2)).masked_fill(self.df2 <= 2, math.nan)

    @property
    def mode(self) -> Tensor:
        found = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return found.masked_fill(self.df1 <= 2, math.nan)

    @property
    def variance(self) -> Tensor:
        a, b = self.df1, self.df2
        return (2 * b.pow(2) * (a + b - 2) / (a * (b - 2).pow(2) * (b - 4))).masked_fill(b <= 4, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        top, bottom = (Gamma(df.expand(shape) * 0.5, df.expand(shape), False).rsample() for df in (self.df1, self.df2))
        tiny = finfo(self.df2.dtype).tiny
        return (top / bottom.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        inner = a * ratio.log() + (a - 1) * log(value) - (a + b) * (ratio * value).log1p()
        return lgamma(a + b) - lgamma(a) - lgamma(b) + inner


class NegativeBinomial(_Odds):
    """Successes before `total_count` failures."""

    arg_constraints: ClassVar[Any] = {
        "total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        given = self._take(probs, logits)
        self.total_count, given = broadcast_all(total_count, given)
        self.total_count = self.total_count.to(given.dtype)
        self.__dict__["probs" if logits is None else "logits"] = given
        super().__init__(given.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            rate = Gamma(self.total_count, (-self.logits).exp(), validate_args=False).sample(sample_shape)
            return Poisson(rate, validate_args=False).sample()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.total_count
        scores = n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        norm = -lgamma(n + value) + lgamma(1.0 + value) + lgamma(n)
        return scores - norm.masked_fill(n + value == 0.0, 0.0)


__all__ = ["ContinuousBernoulli", "FisherSnedecor", "NegativeBinomial", "VonMises"]
