"""Sampling at any place: affine_grid and grid_sample."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from jitcore_ir import ops
from jitcore_ir.dtypes import int64

from ..dispatch import apply
from ..tensor import Tensor, shape_of
from .creation import arange
from .elementwise import where
from .half import reals_in_float32
from .join import stack

_A = -0.75
"""The free parameter of the cubic kernel (Keys, "Cubic convolution interpolation", 1981), as PyTorch chose it."""


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """theta [N, 2, 3] or [N, 3, 4] and an output size (N, C, [D,] H, W) -> sampling places [N, [D,] H, W, 2 or 3]."""
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}."
        )
    if theta._array.ndim != 3 or shape_of(theta)[1:] != (rank, rank + 1):
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size {tuple(size)}. "
            f"Got {shape_of(theta)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    axes = []
    for i, n in enumerate(size[2:]):
        steps = arange(int(n)).to(theta.dtype)
        places = steps * (2.0 / max(n - 1, 1)) - (1.0 if n > 1 else 0.0)
        if not align_corners:
            places = (steps * 2 + 1) / n - 1
        axes.append(places.reshape([-1 if a == i else 1 for a in range(rank)]).expand(*[int(m) for m in size[2:]]))
    base = stack([*reversed(axes), axes[0] * 0 + 1], -1).reshape(1, -1, rank + 1)
    return (base @ theta.transpose(1, 2)).reshape((size[0], *[int(m) for m in size[2:]], rank))


@reals_in_float32
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """input [N, C, [D,] H, W] at places grid [N, [D,] H', W', 2 or 3] of -1 to 1, x first -> [N, C, [D,] H', W'].

    mode: "bilinear", "nearest", or for pictures "bicubic"; padding_mode: "zeros", "border" or "reflection".
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    rank = input._array.ndim - 2
    if rank not in (2, 3) or grid._array.ndim != rank + 2 or shape_of(grid)[-1] != rank:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {rank} in last dimension and as many dimensions as input, but "
            f"got input {list(shape_of(input))} and grid {list(shape_of(grid))}"
        )
    if mode == "bicubic" and rank == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    sampler = _Sampler(input, padding_mode, bool(align_corners))
    places = [_pixels(grid[..., rank - 1 - i], n, sampler.aligned) for i, n in enumerate(sampler.sizes)]
    if mode == "bicubic":
        return sampler.cubic(places)
    places = [sampler.inside(p, n) for p, n in zip(places, sampler.sizes)]
    if mode == "nearest":
        return sampler.at([p.round() for p in places])
    return sampler.linear(places)


def _pixels(place: Tensor, size: int, aligned: bool) -> Tensor:
    """-1 to 1 as pixel numbers: of the first and last pixel's centers where aligned, else of their outer edges."""
    return (place + 1) * ((size - 1) / 2) if aligned else ((place + 1) * size - 1) / 2


class _Sampler:
    """Reads pixels of one input at computed places."""

    def __init__(self, input: Tensor, padding: str, aligned: bool) -> None:
        self.count, self.channels = shape_of(input)[:2]
        self.sizes = [int(n) for n in shape_of(input)[2:]]
        self.flat = input.reshape((self.count, self.channels, -1))
        self.padding = padding
        self.aligned = aligned

    def inside(self, place: Tensor, size: int) -> Tensor:
        """Places outside brought to the border, or reflected there."""
        if self.padding == "reflection":
            place = self._reflected(place, size)
        if self.padding == "zeros":
            return place
        kept = place.clamp(0, size - 1)
        # At the border itself the slope is 0, as in PyTorch: unlike clamp's.
        return where((place <= 0) | (place >= size - 1), kept.detach(), kept)

    def _reflected(self, place: Tensor, size: int) -> Tensor:
        low, span = (0.0, float(size - 1)) if self.aligned else (-0.5, float(size))
        if span == 0:
            return place * 0
        distance = (place - low).abs()
        turns = (distance / span).floor()
        rest = distance - turns * span
        return where(turns % 2 == 0, rest + low, span - rest + low)

    def at(self, places: Sequence[Tensor]) -> Tensor:
        """The pixels at whole places, 0 outside where padding is zeros: [N, C, places...]."""
        index: Any = 0
        valid: Any = None
        for place, size in zip(places, self.sizes):
            held = (place >= 0) & (place <= size - 1)
            valid = held if valid is None else valid & held
            index = index * size + where(held, place, place * 0).to(int64)
        shape = shape_of(index)
        index = index.reshape((self.count, 1, -1)).expand(self.count, self.channels, -1)
        found = apply(ops.GATHER, (self.flat, index.contiguous()), {"axis": 2})
        found = found.reshape((self.count, self.channels, *shape[1:]))
        return where(valid.unsqueeze(1), found, found * 0)

    def linear(self, places: Sequence[Tensor]) -> Tensor:
        """The corners around each place, weighted by nearness."""
        low = [p.detach().floor() for p in places]
        parts = [p - b for p, b in zip(places, low)]
        total: Any = 0
        for corner in itertools.product((0, 1), repeat=len(places)):
            weight: Any = 1
            for part, c in zip(parts, corner):
                weight = weight * (part if c else 1 - part)
            total = total + self.at([b + c for b, c in zip(low, corner)]) * weight.unsqueeze(1)
        return total

    def cubic(self, places: Sequence[Tensor]) -> Tensor:
        """The 4 x 4 pixels around each place by the cubic kernel."""
        low = [p.detach().floor() for p in places]
        weights = [cubic_weights(p - b) for p, b in zip(places, low)]
        total: Any = 0
        for i, j in itertools.product(range(4), repeat=2):
            taken = [self.inside(b + (k - 1), n) for b, k, n in zip(low, (i, j), self.sizes)]
            total = total + self.at(taken) * (weights[0][i] * weights[1][j]).unsqueeze(1)
        return total


def cubic_weights(t: Any, a: float = _A) -> list[Any]:
    """Weights of the pixels at -1, 0, 1 and 2 from a place t after pixel 0."""

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]
