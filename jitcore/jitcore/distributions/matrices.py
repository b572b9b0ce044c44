"""Distributions of matrices, Wishart and LKJCholesky, and LowRankMultivariateNormal."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ..linalg import cholesky, slogdet, solve_triangular
from ..ops import arange, broadcast_shapes, cat, diag_embed, eye, lgamma, mvlgamma, randn, tensor, where, zeros
from ..tensor import Size, Tensor
from ..typeinfo import finfo
from . import constraints
from .combined import _tril_of_precision, the_matrix
from .distribution import Distribution, ExponentialFamily, broadcast_all, lazy_property
from .gamma import Beta, Chi2


class LowRankMultivariateNormal(Distribution):
    """A normal vector of covariance cov_factor @ cov_factor.T + diag(cov_diag).

    Densities go through the small matrix of the factors' count (Woodbury's identity), never through the covariance.
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.ndim < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m")
        if cov_diag.shape[-1] != n:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {(n,)}")
        batch = broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc = loc.expand((*batch, n))
        self.cov_factor = cov_factor.expand((*batch, *tuple(cov_factor.shape[-2:])))
        self.cov_diag = cov_diag.expand((*batch, n))
        super().__init__(batch, (n,), validate_args=validate_args)

    @lazy_property
    def _capacitance_tril(self) -> Tensor:
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        return cholesky(scaled @ self.cov_factor + eye(self.cov_factor.shape[-1], dtype=self.loc.dtype))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return self.cov_factor @ self.cov_factor.mT + diag_embed(self.cov_diag)

    @lazy_property
    def scale_tril(self) -> Tensor:
        return cholesky(self.covariance_matrix)

    @property
    def _tril(self) -> Tensor:
        return self.scale_tril

    @lazy_property
    def precision_matrix(self) -> Tensor:
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        half = solve_triangular(self._capacitance_tril, scaled, upper=False)
        return diag_embed(self.cov_diag.reciprocal()) - half.mT @ half

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @lazy_property
    def variance(self) -> Tensor:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        factors = randn((*shape[:-1], self.cov_factor.shape[-1]), dtype=self.loc.dtype)
        noise = randn(shape, dtype=self.loc.dtype)
        return self.loc + (self.cov_factor @ factors.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * noise

    def _log_det(self) -> Tensor:
        return 2 * self._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.cov_diag.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        away = value - self.loc
        projected = ((self.cov_factor.mT / self.cov_diag.unsqueeze(-2)) @ away.unsqueeze(-1)).squeeze(-1)
        whole = (away.pow(2) / self.cov_diag).sum(-1)
        size = tuple(projected.shape)
        tril = self._capacitance_tril.expand((*size[:-1], size[-1], size[-1]))
        explained = solve_triangular(tril, projected.unsqueeze(-1), upper=False).squeeze(-1).pow(2).sum(-1)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + self._log_det() + whole - explained)

    def entropy(self) -> Tensor:
        found = 0.5 * (self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return found.expand(self._batch_shape)


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices (Lewandowski, Kurowicka and Joe, 2009), by the onion method."""

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        self._set_beta()
        super().__init__(self.concentration.shape, (dim, dim), validate_args=validate_args)

    def _set_beta(self) -> None:
        marginal = self.concentration + 0.5 * (self.dim - 2)
        offset = arange(self.dim - 1, dtype=self.concentration.dtype)
        offset = cat([zeros(1, dtype=offset.dtype), offset])
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset, validate_args=False)

    def _expand_rest(self, made: Any, batch_shape: Size) -> None:
        made.dim = self.dim
        made._set_beta()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        y = self._beta.sample(sample_shape).unsqueeze(-1)
        normal = randn(self._extended_shape(sample_shape), dtype=y.dtype).tril(-1)
        size = normal.norm(dim=-1, keepdim=True)
        w = y.sqrt() * where(size > 0, normal / size.clamp(min=finfo(y.dtype).tiny), 0.0)
        rest = (1 - (w**2).sum(-1)).clamp(min=finfo(y.dtype).tiny).sqrt()
        return w + diag_embed(rest)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - arange(2, self.dim + 1)
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        norm = 0.5 * less * math.log(math.pi) + mvlgamma(alpha - 0.5, less) - lgamma(alpha) * less
        return (order * diagonal.log()).sum(-1) - norm


class Wishart(ExponentialFamily):
    """Sums of `df` outer products of normal vectors, given by covariance, precision or Cholesky factor."""

    arg_constraints: ClassVar[Any] = {
        "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(0),
    }  # fmt: skip
    support = constraints.positive_definite
    has_rsample = True

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = the_matrix(covariance_matrix, precision_matrix, scale_tril)
        if matrix.ndim < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        batch = tuple(matrix.shape[:-2])
        if isinstance(df, Tensor):
            batch = tuple(broadcast_shapes(batch, df.shape))
        self.df = df.expand(batch) if isinstance(df, Tensor) else tensor(df, dtype=matrix.dtype).expand(batch)
        n = matrix.shape[-1]
        if bool((self.df <= n - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        self.__dict__[name] = matrix.expand((*batch, n, n))
        super().__init__(batch, (n, n), validate_args=validate_args)
        tril = {"scale_tril": lambda m: m, "covariance_matrix": cholesky, "precision_matrix": _tril_of_precision}
        self._tril = tril[name](matrix)

    def _expand_rest(self, made: Any, batch_shape: Size) -> None:
        made._tril = self._tril

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._tril.expand((*self._batch_shape, *self._event_shape))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return self.scale_tril @ self.scale_tril.mT

    @lazy_property
    def precision_matrix(self) -> Tensor:
        return self.covariance_matrix.inverse()

    def _df(self) -> Tensor:
        return self.df.reshape((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._df() * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self._df() - self._event_shape[0] - 1
        return factor.masked_fill(factor <= 0, math.nan) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        d = v.diagonal(dim1=-2, dim2=-1)
        return self._df() * (v.pow(2) + d.unsqueeze(-1) * d.unsqueeze(-2))

    def rsample(self, sample_shape: Any = (), max_try_correction: Any = None) -> Tensor:
        """By Bartlett's decomposition: chi variables on the diagonal, normal ones below."""
        n = self._event_shape[0]
        shape = self._extended_shape(sample_shape)
        df = self.df.unsqueeze(-1) - arange(n, dtype=self._tril.dtype)
        diagonal = Chi2(df, validate_args=False).rsample(sample_shape).clamp(min=finfo(self._tril.dtype).eps).sqrt()
        factor = self._tril @ (diag_embed(diagonal) + randn(shape, dtype=self._tril.dtype).tril(-1))
        return factor @ factor.mT

    def _half_log_det(self) -> Tensor:
        n = self._event_shape[0]
        return n * math.log(2) / 2 + self._tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        df, n = self.df, self._event_shape[0]
        shape = broadcast_shapes(self._tril.shape, value.shape)
        inner = solve_triangular(self._tril.expand(shape), value.expand(shape), upper=False)
        trace = solve_triangular(self._tril.expand(shape), inner.mT, upper=False).diagonal(dim1=-2, dim2=-1).sum(-1)
        weight = (df - n - 1) / 2 * slogdet(value).logabsdet
        return -df * self._half_log_det() - mvlgamma(df / 2, n) + weight - trace / 2

    def entropy(self) -> Tensor:
        df, n = self.df, self._event_shape[0]
        slopes = (df.unsqueeze(-1) / 2 - arange(n, dtype=df.dtype) / 2).digamma().sum(-1)
        return (n + 1) * self._half_log_det() + mvlgamma(df / 2, n) - (df - n - 1) / 2 * slopes + df * n / 2


__all__ = ["LKJCholesky", "LowRankMultivariateNormal", "Wishart"]
