"""`jitcore.distributions`: probability distributions with the names, shapes and checks of torch.distributions."""

from ..paths import add_paths
from . import constraints, kl_mixed, transforms, vector_transforms
from .bounded import ContinuousBernoulli, FisherSnedecor, NegativeBinomial, VonMises
from .combined import Independent, LogNormal, MultivariateNormal, TransformedDistribution
from .constraint_registry import biject_to, transform_to
from .continuous import Cauchy, Gumbel, HalfNormal, Laplace, Normal, StudentT, Uniform
from .derived import GeneralizedPareto, HalfCauchy, InverseGamma, Kumaraswamy, LogisticNormal, Pareto, Weibull
from .discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from .distribution import Distribution, ExponentialFamily
from .gamma import Beta, Chi2, Dirichlet, Exponential, Gamma
from .kl import kl_divergence, register_kl
from .matrices import LKJCholesky, LowRankMultivariateNormal, Wishart
from .relaxed import MixtureSameFamily, RelaxedBernoulli, RelaxedOneHotCategorical
from .transforms import *  # noqa: F403
from .vector_transforms import *  # noqa: F403

add_paths(__name__)

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "Dirichlet", "Distribution", "Exponential",
    "ExponentialFamily", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Independent", "Laplace", "LogNormal",
    "Multinomial", "MultivariateNormal", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Poisson",
    "StudentT", "TransformedDistribution", "Uniform", "constraints", "kl_divergence", "register_kl", "transforms",
    "ContinuousBernoulli", "FisherSnedecor", "GeneralizedPareto", "HalfCauchy", "InverseGamma", "Kumaraswamy",
    "LKJCholesky", "LogisticNormal", "LowRankMultivariateNormal", "MixtureSameFamily", "NegativeBinomial", "Pareto",
    "RelaxedBernoulli", "RelaxedOneHotCategorical", "VonMises", "Weibull", "Wishart", "biject_to", "kl_mixed",
    "transform_to", *transforms.__all__, *vector_transforms.__all__,
]  # fmt: skip
