"""Weights that are normalized or orthogonal, as parametrizations.

Salimans and Kingma, "Weight normalization", 2016; Miyato et al., "Spectral normalization for generative adversarial
networks", 2018; Lezcano-Casado, "Trivializations for gradient-based optimization on manifolds", 2019.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...autograd import no_grad
from ...tensor import Tensor
from ...typeinfo import finfo
from .. import functional as F
from ..module import Module
from .parametrize import register_parametrization


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """The Euclidean norm over all dimensions but `dim`, which are kept as 1; of all of v where dim is -1."""
    if dim == -1:
        return v.norm()
    return v.norm(dim=tuple(d for d in range(v.ndim) if d != dim), keepdim=True) if v.ndim > 1 else v.abs()


class _WeightNorm(Module):
    """g * v / |v|."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length (`original0`) and direction (`original1`) of the weight's slices along `dim` apart.

    State dicts of the older `nn.utils.weight_norm` load, too.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(module: Module, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        olds = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(old in state_dict for old in olds):
            for number, old in enumerate(olds):
                state_dict[f"{prefix}parametrizations.{name}.original{number}"] = state_dict.pop(old)

    module.register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """weight / its largest singular value, which power iteration follows from one training forward to the next."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight.detach())
            for buffer, size in zip(("_u", "_v"), matrix.shape, strict=True):
                start = ops.empty(size, dtype=weight.dtype).normal_()
                self.register_buffer(buffer, F.normalize(start, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return as_matrix(weight, self.dim)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        with no_grad():
            for _ in range(count):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        # Copies, so that two forwards can be followed by one backward: the next forward writes the buffers.
        u, v = self._u.clone(), self._v.clone()
        return weight / ops.vdot(u, matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """[size of dim, the rest]."""
    return weight.movedim(dim, 0).flatten(1)


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide the weight, as a matrix whose rows are slices along `dim`, by its largest singular value."""
    weight = _tensor_of(module, name)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, where it is wide) from any matrix of its shape."""

    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        from ...linalg import householder_product, matrix_exp, solve

        wide = X.shape[-2] < X.shape[-1]
        X = X.mT if wide else X
        n, k = X.shape[-2:]
        if self.orthogonal_map == "householder":
            A = X.tril(-1)
            Q = householder_product(A, 2.0 / (1.0 + (A * A).sum(-2)))
            Q = Q * X.diagonal(dim1=-2, dim2=-1).detach().trunc().unsqueeze(-2)  # signs, which are not learned
        else:
            X = X.tril()
            if n != k:
                X = ops.cat([X, ops.zeros(*X.shape[:-1], n - k, dtype=X.dtype)], -1)
            A = X - X.mH
            if self.orthogonal_map == "matrix_exp":
                Q = matrix_exp(A)
            else:
                one = ops.eye(n, dtype=A.dtype)
                Q = solve(one - 0.5 * A, one + 0.5 * A)
            Q = Q[..., :k]
        if "base" in self._buffers:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if tuple(Q.shape) != tuple(self.shape):
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        with no_grad():
            given = Q
            wide = Q.shape[-2] < Q.shape[-1]
            Q = Q.mT if wide else Q
            n, k = Q.shape[-2:]
            if "base" not in self._buffers:
                if self.orthogonal_map != "householder":
                    raise NotImplementedError(
                        "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                        "use_trivialization=False."
                    )
                A, tau = ops.geqrf(Q)
                signs = A.diagonal(dim1=-2, dim2=-1).sign()
                signs = ops.where(tau == 0, -signs, signs)
                A = A.tril(-1) + A.triu(1) + signs.unsqueeze(-2) * ops.eye(n, k, dtype=A.dtype)
                return A.mT if wide else A
            if n != k:
                Q = _orthogonalized(ops.cat([Q, ops.randn(*Q.shape[:-1], n - k, dtype=Q.dtype)], -1))
            else:
                error = (Q.mH @ Q - ops.eye(n, dtype=Q.dtype)).abs().amax()
                Q = Q.clone() if bool(error <= 10 * n * finfo(Q.dtype).eps) else _orthogonalized(Q)
            self.base = Q
            return -ops.eye(*given.shape[-2:], dtype=given.dtype).expand(given.shape).clone()


def _orthogonalized(A: Tensor) -> Tensor:
    from ...linalg import qr

    Q, R = qr(A)
    return Q * R.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep the weight orthogonal: by "matrix_exp", "cayley" or "householder"."""
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1] or weight.is_complex()
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]
