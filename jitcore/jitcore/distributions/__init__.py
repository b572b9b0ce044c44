"""`jitcore.distributions`: probability distributions with the names, shapes and checks of torch.distributions."""

from ..paths import add_paths
from . import constraints, transforms
from .combined import Independent, LogNormal, MultivariateNormal, TransformedDistribution
from .continuous import Cauchy, Gumbel, HalfNormal, Laplace, Normal, StudentT, Uniform
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
from .transforms import *  # noqa: F403

add_paths(__name__)

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "Dirichlet", "Distribution", "Exponential",
    "ExponentialFamily", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Independent", "Laplace", "LogNormal",
    "Multinomial", "MultivariateNormal", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Poisson",
    "StudentT", "TransformedDistribution", "Uniform", "constraints", "kl_divergence", "register_kl", "transforms",
    *transforms.__all__,
]  # fmt: skip
