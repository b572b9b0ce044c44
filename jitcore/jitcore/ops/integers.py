"""Whole numbers: greatest common divisors, multiples, and positions in a flattened array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..promotion import promoted
from ..state import state
from ..tensor import Tensor, memory, method
from .elementwise import where
from .inplace import with_inplace
from .movement import broadcast_tensors

_STEPS = {8: 12, 16: 24, 32: 47, 64: 92}
"""Most divisions that Euclid's algorithm takes, by the number of bits: Fibonacci numbers take the most."""


@with_inplace
@method
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor of whole numbers, elementwise; gcd(0, 0) is 0."""
    a, b = _whole("gcd", input, other)
    for _ in range(_STEPS[a.dtype.bits]):
        if state.recorder is None and state.batching is None and not memory(b).any():
            break
        done = b == 0
        a, b = where(done, a, b), where(done, b, a % where(done, b + 1, b))
    return a


@with_inplace
@method
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple of whole numbers, elementwise; 0 where either is 0."""
    a, b = _whole("lcm", input, other)
    divisor = gcd(a, b)
    return a // where(divisor == 0, divisor + 1, divisor) * b


def _whole(name: str, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    a, b = promoted((input, other))
    if a.dtype.kind not in ("int", "uint"):
        raise NotImplementedError(f'"{name}" not implemented for {a.dtype.name}; it takes whole numbers')
    a, b = broadcast_tensors(a, b)
    return (a.abs(), b.abs()) if a.dtype.kind == "int" else (a, b)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The index along each dimension of the elements at flat positions, as `nonzero(as_tuple=True)` gives them.

    Raises TypeError for positions or sizes that are not whole, ValueError for negative sizes.
    """
    if not isinstance(indices, Tensor) or indices.dtype.kind not in ("int", "uint"):
        raise TypeError(f"expected 'indices' to be integer dtype, but got {getattr(indices, 'dtype', type(indices))}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(size, int) for size in sizes):
        raise TypeError(f"expected 'shape' sequence to only contain ints, but got {sizes}")
    if any(size < 0 for size in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    found: list[Tensor] = []
    rest: Any = indices
    for size in reversed(sizes):
        found.append(rest % size)
        rest = rest // size
    return tuple(reversed(found))


__all__ = ["gcd", "lcm", "unravel_index"]
