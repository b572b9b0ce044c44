"""Continuous relaxations of discrete distributions (Maddison et al., "The concrete distribution", 2017; Jang et al.,
"Categorical reparameterization with Gumbel-softmax", 2017), and mixtures."""

from __future__ import annotations

from typing import Any, ClassVar

from ..ops import as_tensor, full_like, lgamma, rand
from ..ops.activation import log_softmax
from ..tensor import Size, Tensor
from . import constraints
from .combined import TransformedDistribution
from .discrete import Categorical, _Odds
from .distribution import Distribution, broadcast_all, clamp_probs
from .transforms import ExpTransform, SigmoidTransform


class LogitRelaxedBernoulli(_Odds):
    """The log-odds of a RelaxedBernoulli variable."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        given = self._take(probs, logits)
        self.temperature = as_tensor(temperature, dtype=given.dtype)
        super().__init__(given.shape, validate_args=validate_args)

    def _expand_rest(self, made: Any, batch_shape: Size) -> None:
        made.temperature = self.temperature

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        p, u = clamp_probs(self.probs.expand(shape)), clamp_probs(rand(shape, dtype=self.probs.dtype))
        return (u.log() - (-u).log1p() + p.log() - (-p).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        away = logits - value * self.temperature
        return self.temperature.log() + away - 2 * away.exp().log1p()


class _OfLogits(TransformedDistribution):
    """What the two relaxations share."""

    has_rsample = True
    base_dist: Any

    @property
    def temperature(self) -> Tensor:
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        return self.base_dist.probs


class RelaxedBernoulli(_OfLogits):
    """A differentiable 0 or 1: the smaller the temperature, the nearer."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)


class ExpRelaxedCategorical(Distribution):
    """The logarithm of a RelaxedOneHotCategorical variable."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits)
        shape = self._categorical.param_shape
        self.temperature = as_tensor(temperature, dtype=self.logits.dtype)
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        made = self.__class__.__new__(self.__class__)
        made._categorical, made.temperature = self._categorical.expand(batch_shape), self.temperature
        Distribution.__init__(made, batch_shape, self.event_shape, validate_args=False)
        return made

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = clamp_probs(rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k = self._categorical._num_events
        logits, value = broadcast_all(self.logits, value)
        size = lgamma(full_like(self.temperature, float(k))) - self.temperature.log() * -(k - 1)
        score = logits - value * self.temperature
        return (score - score.logsumexp(-1, keepdim=True)).sum(-1) + size


class RelaxedOneHotCategorical(_OfLogits):
    """A differentiable vector with a single 1: the smaller the temperature, the nearer."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits)
        super().__init__(base, ExpTransform(), validate_args=validate_args)


class MixtureSameFamily(Distribution):
    """A mixture: `mixture_distribution` chooses among the last batch dimension of `component_distribution`."""

    has_rsample = False

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError("The Mixture distribution needs to be an instance of jitcore.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution need to be an instance of jitcore.distributions.Distribution")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        lead, ours = mixture_distribution.batch_shape, component_distribution.batch_shape[:-1]
        for a, b in zip(reversed(lead), reversed(ours)):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({lead}) is not compatible with "
                    f"`component_distribution.batch_shape`({ours})"
                )
        count = mixture_distribution.logits.shape[-1]
        if component_distribution.batch_shape[-1] != count:
            raise ValueError(
                f"`mixture_distribution component` ({count}) does not equal `component_distribution.batch_shape[-1]` "
                f"({component_distribution.batch_shape[-1]})"
            )
        self._num_component = count
        event = component_distribution.event_shape
        self._event_ndims = len(event)
        super().__init__(ours, event, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixtureSameFamily:
        components = self._component_distribution.expand((*batch_shape, self._num_component))
        return MixtureSameFamily(self._mixture_distribution.expand(batch_shape), components, validate_args=False)

    @constraints.dependent_property
    def support(self) -> Any:  # type: ignore[override]
        return constraints.mixture_same_family(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        return self._component_distribution

    def _weights(self) -> Tensor:
        probs = self._mixture_distribution.probs
        return probs.reshape((*probs.shape, *(1,) * self._event_ndims))

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self._component_distribution.mean).sum(-1 - self._event_ndims)

    @property
    def variance(self) -> Tensor:
        weights, dim = self._weights(), -1 - self._event_ndims
        within = (weights * self._component_distribution.variance).sum(dim)
        away = self._component_distribution.mean - self.mean.unsqueeze(dim)
        return within + (weights * away.pow(2.0)).sum(dim)

    def _padded(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._event_ndims)

    def cdf(self, value: Tensor) -> Tensor:
        parts = self._component_distribution.cdf(self._padded(value))
        return (parts * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        parts = self._component_distribution.log_prob(self._padded(value))
        return (parts + log_softmax(self._mixture_distribution.logits, -1)).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        chosen = self._mixture_distribution.sample(sample_shape)
        drawn = self._component_distribution.sample(sample_shape)
        dim = len(sample_shape) + len(self.batch_shape)
        event = tuple(self.event_shape)
        index = chosen.reshape((*chosen.shape, *(1,) * (1 + len(event))))
        index = index.expand((*tuple(drawn.shape)[:dim], 1, *event))
        return drawn.gather(dim, index).squeeze(dim)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"


__all__ = [
    "ExpRelaxedCategorical", "LogitRelaxedBernoulli", "MixtureSameFamily", "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
]  # fmt: skip
