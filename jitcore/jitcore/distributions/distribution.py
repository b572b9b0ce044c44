"""`Distribution`: shapes, validation and the interface of every distribution; helpers they share."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from ..autograd.modes import enable_grad, no_grad
from ..device import get_default_dtype
from ..ops import broadcast_tensors, exp, log, tensor
from ..state import state
from ..tensor import Size, Tensor
from .constraints import Constraint, is_dependent


class Distribution:
    """A batch (`batch_shape`) of distributions over values of `event_shape`."""

    has_rsample = False
    has_enumerate_support = False
    _validate_args = True
    arg_constraints: ClassVar[Any] = {}
    support: Any = None

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked where a distribution is not told."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args and state.recorder is None:  # a check would make the recording depend on values
            self._validate_parameters()

    def _validate_parameters(self) -> None:
        for name, constraint in self.arg_constraints.items():
            lazy = name not in self.__dict__ and isinstance(_class_attribute(self, name), lazy_property)
            if is_dependent(constraint) or lazy:
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions, broadcast to `batch_shape`."""
        made = self.__class__.__new__(self.__class__)
        batch_shape = Size(batch_shape)
        for name in self.parameters():
            value = getattr(self, name)
            own = tuple(value.shape)[len(value.shape) - self._event_dims_of(name) :]
            made.__dict__[name] = value.expand(tuple(batch_shape) + own)
        self._expand_rest(made, batch_shape)
        Distribution.__init__(made, batch_shape, self.event_shape, validate_args=False)
        made._validate_args = self._validate_args
        return made

    def parameters(self) -> list[str]:
        """Names of the parameters that the instance holds."""
        return [n for n in self.arg_constraints if n in self.__dict__ and isinstance(self.__dict__[n], Tensor)]

    def _event_dims_of(self, name: str) -> int:
        constraint = self.arg_constraints[name]
        return constraint.event_dim if isinstance(constraint, Constraint) else getattr(constraint, "event_dim", 0)

    def _expand_rest(self, made: Any, batch_shape: Size) -> None:
        """Copy what is no parameter into an expanded instance."""

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Values of shape sample_shape + batch_shape + event_shape, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Values through which gradients reach the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no reparameterized samples; use sample")

    def sample_n(self, n: int) -> Tensor:
        """`sample((n,))`, deprecated."""
        warnings.warn("sample_n(n) will be deprecated. Use .sample((n,)) instead", UserWarning, stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the density or mass at value."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of values up to `value`."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which lies probability `value`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """Entropy in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return exp(self.entropy())

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        if not self._validate_args or state.recorder is not None:
            return
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        events = len(self._event_shape)
        if tuple(value.shape)[value.ndim - events :] != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        for i, j in zip(reversed(value.shape), reversed(expected)):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}."
                )
        support = self.support
        if support is not None and not is_dependent(support) and not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        names = [n for n in self.arg_constraints if n in self.__dict__]
        shown = [
            f"{n}: {self.__dict__[n] if self.__dict__[n].numel() == 1 else self.__dict__[n].size()}" for n in names
        ]
        return f"{self.__class__.__name__}({', '.join(shown)})"


class ExponentialFamily(Distribution):
    """A marker, as in PyTorch: entropies here have formulas of their own."""


class lazy_property:
    """An attribute computed when it is first asked for, with gradients."""

    def __init__(self, function: Any) -> None:
        self.function, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.function(instance)
        instance.__dict__[self.name] = value
        return value


def _class_attribute(instance: Any, name: str) -> Any:
    for cls in type(instance).__mro__:
        if name in cls.__dict__:
            return cls.__dict__[name]
    return None


def broadcast_all(*values: Any) -> list[Tensor]:
    """Numbers and tensors as tensors of one shape; numbers take the dtype of the tensors, or the default one."""
    if not all(isinstance(v, Tensor | int | float) for v in values):
        raise ValueError("the parameters of a distribution must be numbers or tensors")
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), get_default_dtype())
    return list(broadcast_tensors(*[v if isinstance(v, Tensor) else tensor(v, dtype=dtype) for v in values]))


def clamp_probs(probs: Tensor) -> Tensor:
    """probs kept away from 0 and 1 by the dtype's resolution."""
    from ..typeinfo import finfo

    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log-odds, or of unnormalized log-probabilities."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log-odds, or log-probabilities."""
    clamped = clamp_probs(probs)
    return log(clamped) - (-clamped).log1p() if is_binary else log(clamped)


def sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """Sum over the last `dim` dimensions."""
    return value if dim == 0 else value.reshape((*value.shape[:-dim], -1)).sum(-1)
