"""Random tensors, all made from a generator's Philox bits by recorded operations.

Uniform numbers use the upper 24 bits (53 for float64); normal ones are Box-Muller pairs of uniform ones; integers
are 63 random bits modulo the range, whose bias is below range / 2**63.
"""

from __future__ import annotations

import math
from typing import Any

from jitcore_ir import dtypes as D
from jitcore_ir import ops
from jitcore_ir.dtypes import DType

from ..device import check_device, get_default_dtype
from ..dispatch import apply, write
from ..random import Generator, default_generator
from ..tensor import Tensor, method, shape_of
from .arithmetic import bitwise_and
from .creation import arange, check_options, size_arguments
from .elementwise import where
from .movement import broadcast_shapes, broadcast_tensors
from .order import argsort, topk


def uniform_bits(shape: tuple, dtype: DType, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1) of a floating dtype; 16-bit ones are drawn in float32's resolution of their own."""
    generator = generator or default_generator
    if dtype.is_complex:
        real, imag = uniform_bits((2, *shape), ops.PART[dtype], generator).unbind(0)
        return apply(ops.MAKE_COMPLEX, (real, imag))
    if dtype is D.float64:
        bits = apply(ops.CAST, (generator.bits((2, *shape)),), {"dtype": D.int64})
        high, low = bitwise_and(bits[0] >> 5, 2**27 - 1), bitwise_and(bits[1] >> 6, 2**26 - 1)
        return apply(ops.CAST, (high * 2**26 + low,), {"dtype": dtype}) * 2.0**-53
    digits = {"float16": 11, "bfloat16": 8}.get(dtype.name, 24)
    bits = bitwise_and(generator.bits(shape) >> (32 - digits), 2**digits - 1)
    return apply(ops.CAST, (bits,), {"dtype": dtype}) * 2.0**-digits


def _standard_normal(shape: tuple, dtype: DType, generator: Generator | None) -> Tensor:
    if dtype.is_complex:  # parts of variance 1/2 each
        real, imag = (_standard_normal((2, *shape), ops.PART[dtype], generator) * math.sqrt(0.5)).unbind(0)
        return apply(ops.MAKE_COMPLEX, (real, imag))
    work = D.float64 if dtype is D.float64 else D.float32
    pair = uniform_bits((2, *shape), work, generator)
    radius = ((1.0 - pair[0]).log() * -2.0).sqrt()
    normal = radius * (pair[1] * (2 * math.pi)).cos()
    return normal if work is dtype else apply(ops.CAST, (normal,), {"dtype": dtype})


def _floating(dtype: DType | None, name: str, or_complex: bool = False) -> DType:
    dtype = dtype or get_default_dtype()
    if not dtype.is_floating_point and not (or_complex and dtype.is_complex):
        raise NotImplementedError(f'"{name}" not implemented for {dtype.name}; ask for a floating dtype')
    return dtype


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Uniform numbers in [0, 1)."""
    check_device(device)
    check_options(options)
    made = uniform_bits(size_arguments(size), _floating(dtype, "rand", or_complex=True), generator)
    return made.requires_grad_() if requires_grad else made


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Normal numbers of mean 0 and deviation 1."""
    check_device(device)
    check_options(options)
    made = _standard_normal(size_arguments(size), _floating(dtype, "randn", or_complex=True), generator)
    return made.requires_grad_() if requires_grad else made


def rand_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """rand of input's shape and dtype."""
    return rand(shape_of(input), dtype=dtype or input.dtype, **options)


def randn_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """randn of input's shape and dtype."""
    return randn(shape_of(input), dtype=dtype or input.dtype, **options)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Integers in low .. high - 1: `randint(high, size)` or `randint(low, high, size)`."""
    check_device(device)
    check_options(options)
    if size is None:
        low, high, size = 0, low, high
    shape = size_arguments(tuple(size))
    made = _integers(shape, low, high, generator)
    made = made if dtype in (None, D.int64) else apply(ops.CAST, (made,), {"dtype": dtype})
    return made.requires_grad_() if requires_grad else made


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None, **options: Any
) -> Tensor:
    """randint of input's shape and dtype."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, shape_of(input), dtype=dtype or input.dtype, **options)


def _integers(shape: tuple, low: int, high: int, generator: Generator | None) -> Tensor:
    if isinstance(low, int) and isinstance(high, int) and low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    bits = apply(ops.CAST, ((generator or default_generator).bits((2, *shape)),), {"dtype": D.int64})
    joined = (bitwise_and(bits[0], 2**31 - 1) << 32) + bitwise_and(bits[1], 2**32 - 1)
    return joined % (high - low) + low


def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType | None = None, device: Any = None, **options: Any
) -> Tensor:
    """The integers below n in random order."""
    check_device(device)
    check_options(options)
    order = argsort(_integers((n,), 0, 2**62, generator), 0)
    return order.to(dtype or D.int64)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, **options: Any
) -> Tensor:
    """Normal numbers of the given mean and deviation, numbers or tensors."""
    if size is None:
        given = [x for x in (mean, std) if isinstance(x, Tensor)]
        if not given:
            raise TypeError("normal(mean, std) needs a tensor or a size")
        size = broadcast_shapes(*[shape_of(x) for x in given])
        options.setdefault("dtype", given[0].dtype)
    return randn(size, generator=generator, **options) * std + mean


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with probability input, else 0, in input's dtype."""
    dtype = _floating(input.dtype, "bernoulli")
    drawn = uniform_bits(shape_of(input), dtype, generator) < input.detach()
    return apply(ops.CAST, (drawn,), {"dtype": dtype})


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions drawn with probabilities proportional to input's rows: int64 [*, num_samples].

    With replacement by inverting the running sum; without by the largest of u ** (1 / p) (Efraimidis and Spirakis,
    "Weighted random sampling with a reservoir", 2006).
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError("multinomial only supports floating-point dtypes for input, got: " + input.dtype.name)
    p = input.detach().double()
    lead, count = shape_of(p)[:-1], shape_of(p)[-1]
    if replacement:
        edges = p.cumsum(-1) / p.sum(-1, keepdim=True)
        drawn = uniform_bits((*lead, num_samples, 1), D.float64, generator)
        return (drawn >= edges.unsqueeze(-2)).long().sum(-1).clamp(max=count - 1)
    if num_samples > shape_of(input)[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    drawn = uniform_bits((*lead, count), D.float64, generator)
    keys = ((1.0 - drawn).log() / p).masked_fill(p == 0, float("-inf"))
    return topk(keys, num_samples).indices


@method(name="bernoulli")
def _bernoulli_method(self: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with probability self (or p), else 0."""
    return bernoulli(self if p is None else self.detach() * 0 + p, generator=generator)


@method(name="multinomial")
def _multinomial_method(self: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Positions drawn with probabilities proportional to this tensor's rows."""
    return multinomial(self, num_samples, replacement, generator=generator)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of events at the rates in input: for each the least count whose distribution function reaches a uniform
    number, by bisection."""
    from .special import gammaincc

    rate = apply(ops.CAST, (input.detach(),), {"dtype": D.float64})
    u = uniform_bits(shape_of(input), D.float64, generator)
    low, high = rate * 0 - 1, (rate + 12 * rate.sqrt() + 40).floor()
    for _ in range(40):  # enough for a range of 1e12
        middle = ((low + high) / 2).floor()
        reached = gammaincc(middle + 1, rate) >= u
        open_ = high - low > 1
        low, high = where(open_ & ~reached, middle, low), where(open_ & reached, middle, high)
    return where(rate > 0, high, 0.0).to(_floating(input.dtype, "poisson"))


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Successes in count trials of probability prob, elementwise."""
    count, prob = broadcast_tensors(count.detach(), prob.detach())
    most = int(count.max()) if count._array.size else 0
    dtype = _floating(prob.dtype, "binomial")
    trials = uniform_bits((most, *shape_of(prob)), dtype, generator) < prob
    number = arange(most, dtype=dtype).reshape((-1,) + (1,) * prob._array.ndim)
    return (trials & (number < count)).to(dtype).sum(0)


# In place


def _of_each_part(number: float, dtype: DType) -> Any:
    return complex(number, number) if dtype.is_complex else number


@method
def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None, **old: float
) -> Tensor:
    """Fill with uniform numbers in [from, to)."""
    from_ = old.pop("from", from_)
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    drawn = uniform_bits(shape_of(self), _floating(self.dtype, "uniform_", or_complex=True), generator)
    write(self, drawn * (to - from_) + _of_each_part(from_, self.dtype))
    return self


@method
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    drawn = _standard_normal(shape_of(self), _floating(self.dtype, "normal_", or_complex=True), generator)
    write(self, drawn * std + _of_each_part(mean, self.dtype))
    return self


@method
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p, else 0."""
    drawn = uniform_bits(shape_of(self), D.float32, generator) < p
    write(self, apply(ops.CAST, (drawn,), {"dtype": self.dtype}))
    return self


@method
def random_(self: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Fill with integers: `random_(to)`, `random_(from, to)`, or over the dtype's range."""
    if to is None:
        digits = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8, "bool": 1}
        bits = digits.get(self.dtype.name, self.dtype.bits - (self.dtype.kind == "int"))
        from_, to = (0, from_) if from_ else (0, 2 ** min(bits, 62))
    drawn = _integers(shape_of(self), from_, to, generator)
    write(self, apply(ops.CAST, (drawn,), {"dtype": self.dtype}))
    return self


@method
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponentially distributed numbers of rate lambd."""
    write(
        self,
        (1.0 - uniform_bits(shape_of(self), _floating(self.dtype, "exponential_"), generator)).log() * (-1.0 / lambd),
    )
    return self


@method
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials up to the first success of probability p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    u = 1.0 - uniform_bits(shape_of(self), get_default_dtype(), generator)
    write(self, (u.log() / math.log1p(-p)).ceil().clamp(min=1))
    return self


@method
def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponentials of normally distributed numbers."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    write(self, (_standard_normal(shape_of(self), self.dtype, generator) * std + mean).exp())
    return self


@method
def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of a Cauchy distribution."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    u = uniform_bits(shape_of(self), self.dtype, generator)
    write(self, ((u - 0.5) * math.pi).tan() * sigma + median)
    return self
