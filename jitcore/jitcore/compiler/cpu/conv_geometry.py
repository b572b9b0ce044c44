"""`Geometry`: a convolution of any direction, stride and dilation as sums over windows of an `Image`.

An image is x with its border of zeros, dealt out into phases where windows move in steps: the element at coordinate
`e*split + phase - low` of an axis lies at place e of that phase. In it each tap of a window reads consecutive elements
for consecutive results, whatever the stride. A forward convolution is one `Part`. A transposed one has a part for each
residue of the result's coordinates, to which different taps contribute.

```
result[n, row, mul*q + add] = sum over channels c and taps t of weight[row, c, t] * image[n, c, phase(t), q + shift(t)]
```
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from jitcore_ir.shapes import Expr, add, floordiv, maximum, mul, product

from .conv_spec import ConvSpec
from .gemm_spec import Dim, Dims, run_time_dims


@dataclass(frozen=True, slots=True)
class Tap:
    """One element of a window: its number in the kernel, and per axis the phase it reads and how far it is shifted."""

    number: int
    phase: tuple[int, ...]
    shift: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Results at coordinates `mul*q + add` for q below `counts`, and the taps that contribute to them."""

    taps: tuple[Tap, ...]
    counts: Dims
    mul: tuple[int, ...]
    add: tuple[int, ...]

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The taps' numbers as (first, count) of consecutive ones."""
        found: list[tuple[int, int]] = []
        for tap in self.taps:
            if found and sum(found[-1]) == tap.number:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((tap.number, 1))
        return found


@dataclass(frozen=True, slots=True)
class _AxisPart:
    """One axis of a part: (tap, phase, shift) of those that contribute, and which results."""

    taps: tuple[tuple[int, int, int], ...]
    count: Dim
    mul: int
    add: int


class Geometry:
    """The image and the parts of a convolution."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec = spec
        self.rank = len(spec.stride)
        self.sizes: Dims = spec.x_shape[2:]
        kernel = spec.spatial if spec.direction == "weight" else spec.y_shape[2:]
        self.kernel = tuple(size for size in kernel if isinstance(size, int))
        self.is_transposed = spec.direction == "input"
        self.split = (1,) * self.rank if self.is_transposed else spec.stride
        axes = [self._transposed(a) if self.is_transposed else self._forward(a) for a in range(self.rank)]
        self.low = tuple(low for low, _, _ in axes)
        self.extents: Dims = tuple(extent for _, extent, _ in axes)
        self.parts = [self._part(chosen) for chosen in itertools.product(*(parts for _, _, parts in axes))]

    @property
    def phases(self) -> int:
        """How many phases each channel of the image is dealt out into."""
        return _product(self.split)

    @property
    def plane(self) -> Dim:
        """Elements in one phase of one channel of the image."""
        return product(self.extents)

    @property
    def is_plain(self) -> bool:
        """Whether the image is x itself."""
        spec = self.spec
        return spec.accumulator is spec.dtype and self.phases == 1 and not any(self.low) and self.extents == self.sizes

    @cached_property
    def run_time_dims(self) -> tuple[Expr, ...]:
        counts = [count for part in self.parts for count in part.counts]
        dims = (*self.spec.x_shape, *self.spec.y_shape, *self.spec.spatial, *self.extents, *counts)
        return run_time_dims(dims)

    def _forward(self, axis: int) -> tuple[int, Dim, list[_AxisPart]]:
        """Tap t of window q reads coordinate q*stride + t*dilation."""
        stride, dilation = self.spec.stride[axis], self.spec.dilation[axis]
        taps = tuple((t, t * dilation % stride, t * dilation // stride) for t in range(self.kernel[axis]))
        count = (self.spec.y_shape[2:] if self.spec.direction == "weight" else self.spec.spatial)[axis]
        extent = add(count, max(shift for _, _, shift in taps))
        return self.spec.padding[axis][0], extent, [_AxisPart(taps, count, 1, 0)]

    def _transposed(self, axis: int) -> tuple[int, Dim, list[_AxisPart]]:
        """Result i gets x[j] through tap t where i + padding = j*stride + t*dilation. For i + padding = q*stride + r
        only taps with t*dilation = m*stride + r contribute, and read x[q - m]."""
        stride, dilation, padding = self.spec.stride[axis], self.spec.dilation[axis], self.spec.padding[axis][0]
        taps = range(self.kernel[axis])
        found = []
        for r in range(stride):
            behind = [(t, t * dilation // stride) for t in taps if t * dilation % stride == r]
            start = -((r - padding) // stride)  # the first q whose result has a coordinate >= 0
            found.append((r, behind, start))
        low = max([0, *(m - start for _, behind, start in found for _, m in behind)])
        extent: Dim = 0
        parts = []
        for r, behind, start in found:
            first = start * stride + r - padding
            count = floordiv(add(self.spec.spatial[axis], stride - 1 - first), stride)
            reads = tuple((t, 0, start + low - m) for t, m in behind)
            parts.append(_AxisPart(reads, count, stride, first))
            if reads:
                reach = add(count, max(shift for _, _, shift in reads))
                extent = reach if extent == 0 else maximum(extent, reach)
        return low, extent, parts

    def _part(self, axes: tuple[_AxisPart, ...]) -> Part:
        taps = []
        for chosen in itertools.product(*(axis.taps for axis in axes)):
            number = 0
            for (tap, _, _), size in zip(chosen, self.kernel):
                number = number * size + tap
            taps.append(Tap(number, tuple(c[1] for c in chosen), tuple(c[2] for c in chosen)))
        return Part(tuple(taps), tuple(a.count for a in axes), tuple(a.mul for a in axes), tuple(a.add for a in axes))


def image_elements(geometry: Geometry) -> Dim:
    """Elements of one sample of the image."""
    return mul(mul(geometry.spec.x_shape[1], geometry.phases), geometry.plane)


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
