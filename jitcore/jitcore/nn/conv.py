"""Convolution layers in one, two and three dimensions, and their transposes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from jitcore_ir.dtypes import DType

from .. import ops
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

Sizes = int | tuple[int, ...]


class _ConvNd(Module):
    """Shared by convolution layers. weight: [out, in / groups, *kernel], or transposed [in, out / groups, *kernel]."""

    rank: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{in_channels} input and {out_channels} output channels do not divide into {groups} groups"
            )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(f"padding_mode {padding_mode!r} is not zeros, reflect, replicate or circular")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
        if padding == "same" and any(n != 1 for n in _sizes(stride, self.rank)):
            raise ValueError("padding='same' is not supported for strided convolutions")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _sizes(kernel_size, self.rank)
        self.stride = _sizes(stride, self.rank)
        self.padding = padding if isinstance(padding, str) else _sizes(padding, self.rank)
        self.dilation = _sizes(dilation, self.rank)
        self.groups = groups
        self.padding_mode = padding_mode
        channels = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(ops.empty(*channels, *self.kernel_size, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(ops.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(fan in), as PyTorch draws it."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input padded by a mode other than zeros, and the padding left to the convolution."""
        if self.padding_mode == "zeros":
            return input, self.padding
        amounts: list[int] = []
        for axis in reversed(range(self.rank)):
            if isinstance(self.padding, str):
                total = self.dilation[axis] * (self.kernel_size[axis] - 1) if self.padding == "same" else 0
                amounts += [total // 2, total - total // 2]
            else:
                amounts += [self.padding[axis]] * 2
        return F.pad(input, amounts, mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding not in ((0,) * self.rank, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.rank:
            text += f", dilation={self.dilation}"
        if getattr(self, "output_padding", (0,) * self.rank) != (0,) * self.rank:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class Conv1d(_ConvNd):
    """[N, in_channels, L] -> [N, out_channels, L']."""

    rank = 1

    def forward(self, input: Tensor) -> Tensor:
        input, padding = self._padded(input)
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_ConvNd):
    """[N, in_channels, H, W] -> [N, out_channels, H', W']."""

    rank = 2

    def forward(self, input: Tensor) -> Tensor:
        input, padding = self._padded(input)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_ConvNd):
    """[N, in_channels, D, H, W] -> [N, out_channels, D', H', W']."""

    rank = 3

    def forward(self, input: Tensor) -> Tensor:
        input, padding = self._padded(input)
        return F.conv3d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, device=device, dtype=dtype
        )
        self.output_padding = _sizes(output_padding, self.rank)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.rank - 1]
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return function(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _output_padding(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """What has to be added at the far end for the output to have this size."""
        assert not isinstance(self.padding, str)
        wanted = [int(n) for n in output_size][-self.rank :]
        found = []
        for n, size, k, s, p, d in zip(
            wanted, input.shape[-self.rank :], self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        ):
            least = (int(size) - 1) * s - 2 * p + d * (k - 1) + 1
            if not least <= n <= least + s - 1:
                raise ValueError(
                    f"requested an output size of {wanted}, but valid sizes range from {least} to {least + s - 1} (for "
                    f"an input of {list(input.shape)})"
                )
            found.append(n - least)
        return tuple(found)


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of Conv1d in its input, as a layer."""

    rank = 1


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of Conv2d in its input, as a layer."""

    rank = 2


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of Conv3d in its input, as a layer."""

    rank = 3


def _sizes(value: Sizes, rank: int) -> tuple[int, ...]:
    """One size for each spatial dimension."""
    if isinstance(value, int):
        return (value,) * rank
    if len(value) != rank:
        raise ValueError(f"expected one number or {rank}, got {tuple(value)}")
    return tuple(value)
