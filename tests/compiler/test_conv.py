"""Generated convolutions against PyTorch in float64: directions, ranks, strides, groups, and what they may touch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from native_products import assert_close, run

from jitcore.compiler.cpu.blocking import MACHINES
from jitcore.compiler.cpu.conv import conv_packed_size, conv_workspace_size
from jitcore.compiler.cpu.conv_spec import ConvSpec
from jitcore.compiler.cpu.target import host_target
from jitcore_ir import AttributeValueError, BufferType, ShapeError, dtypes, shapes
from jitcore_ir.dtypes import DType

HOST = host_target()
LEVELS = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
RUNNABLE = LEVELS[: LEVELS.index(HOST) + 1] if HOST in LEVELS else [HOST]
DIRECTIONS = ("forward", "input", "weight")
FUNCTIONS = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


@dataclass(frozen=True)
class Case:
    """x [samples, channels, *size] and a weight [outputs, channels / groups, *kernel]."""

    samples: int
    channels: int
    outputs: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def filled(self) -> Case:
        rank = len(self.size)
        ones = (1,) * rank
        return Case(
            self.samples, self.channels, self.outputs, self.size, self.kernel, self.padding or ((0, 0),) * rank,
            self.stride or ones, self.dilation or ones, self.groups,
        )  # fmt: skip

    def counts(self, size: tuple) -> tuple:
        """The result's spatial sizes, of integers or dims."""
        found = []
        for s, k, (low, high), step, d in zip(size, self.kernel, self.padding, self.stride, self.dilation):
            span = shapes.add(s, low + high - (k - 1) * d - 1)
            found.append(shapes.add(shapes.floordiv(span, step), 1))
        return tuple(found)


def convolve(
    case: Case, direction: str, *, dtype: DType = dtypes.float32, prepacked: bool = False, symbolic: str = "",
    plain: bool = True, reverse: bool = False, target: str = HOST, cpu: str = "",
) -> np.ndarray:  # fmt: skip
    """Compute one convolution and compare. `symbolic`: "" nothing, "n" the batch, "ns" it and the spatial sizes are
    known at run time only."""
    case = case.filled()
    symbols = {"N": case.samples, **{f"S{axis}": s for axis, s in enumerate(case.size)}}
    size = tuple(shapes.symbol(f"S{axis}") for axis in range(len(case.size))) if "s" in symbolic else case.size
    samples = shapes.symbol("N") if "n" in symbolic else case.samples
    image = (samples, case.channels, *size)
    result = (samples, case.outputs, *case.counts(size))
    weight = (case.outputs, case.channels // case.groups, *case.kernel)
    x_shape, y_shape, shape, spatial = {
        "forward": (image, weight, result, result[2:]),
        "input": (result, weight, image, image[2:]),
        "weight": (image, result, weight, weight[2:]),
    }[direction]
    spec = ConvSpec.of(
        BufferType(dtype, x_shape), BufferType(dtype, y_shape), direction, prepacked, case.stride, case.padding,
        case.dilation, case.groups, spatial, target,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x, y = (_random(rng, tuple(shapes.evaluate(d, symbols) for d in dims), dtype) for dims in (x_shape, y_shape))
    found = run(spec, x, y, tuple(shapes.evaluate(d, symbols) for d in shape), symbols, plain, reverse, cpu)
    exact = reference(case, direction, x.astype(np.float64), y.astype(np.float64))
    magnitude = reference(case, direction, abs(x.astype(np.float64)), abs(y.astype(np.float64)))
    positions = int(np.prod(case.counts(case.size)))
    depth = case.samples * positions if direction == "weight" else case.channels * case.outputs * np.prod(case.kernel)
    if dtype.is_floating_point:
        assert_close(found, exact, magnitude, int(depth), 2.0**-50 if dtype is dtypes.float64 else 2.0**-24)
    else:
        np.testing.assert_array_equal(found, exact.astype(np.int64).astype(dtype.numpy))
    return found


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    if dtype.is_floating_point:
        return rng.standard_normal(shape).astype(np.float32).astype(dtype.numpy)
    return rng.integers(0, 50, shape).astype(dtype.numpy)


def reference(case: Case, direction: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pads = [amount for pair in reversed(case.padding) for amount in pair]

    def forward(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(image, pads)
        return FUNCTIONS[len(case.size)](
            padded, weight, stride=case.stride, dilation=case.dilation, groups=case.groups
        )  # fmt: skip

    left, right = torch.from_numpy(x), torch.from_numpy(y)
    if direction == "forward":
        return forward(left, right).numpy()
    if direction == "input":
        image = torch.zeros(case.samples, case.channels, *case.size, dtype=torch.float64, requires_grad=True)
        forward(image, right).backward(left)
        return image.grad.numpy()
    shape = (case.outputs, case.channels // case.groups, *case.kernel)
    weight = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    forward(left, weight).backward(right)
    return weight.grad.numpy()


CASES = {
    "digits, first layer": Case(3, 1, 16, (8, 8), (3, 3), ((1, 1), (1, 1))),
    "digits, second layer": Case(3, 16, 32, (8, 8), (3, 3), ((1, 1), (1, 1))),
    "few channels": Case(2, 3, 4, (8, 9), (3, 3), ((1, 1), (1, 1))),
    "strided, dilated, uneven padding": Case(2, 4, 6, (9, 11), (3, 2), ((1, 0), (0, 2)), (2, 3), (2, 1)),
    "strided, many channels": Case(2, 20, 16, (9, 9), (3, 3), ((1, 1), (1, 1)), (2, 2)),
    "depthwise": Case(2, 8, 8, (7, 7), (3, 3), ((1, 1), (1, 1)), groups=8),
    "groups": Case(2, 8, 24, (7, 9), (3, 3), ((1, 1), (1, 1)), (2, 2), groups=4),
    "stride beyond the kernel": Case(2, 3, 4, (9, 9), (2, 2), stride=(3, 3)),
    "pointwise": Case(2, 20, 8, (6, 6), (1, 1)),
    "pointwise, strided": Case(2, 8, 20, (6, 6), (1, 1), stride=(2, 2)),
    "cropping": Case(2, 3, 4, (8, 8), (3, 3), ((-1, 0), (1, -2))),
    "long sequence": Case(2, 5, 7, (2000,), (5,), ((2, 2),)),
    "sequence, strided": Case(2, 5, 17, (40,), (5,), ((3, 1),), (2,)),
    "volume": Case(2, 3, 5, (5, 6, 7), (3, 2, 3), ((1, 1), (0, 1), (1, 1)), (1, 2, 1)),
    "wide lines": Case(1, 3, 16, (3, 1300), (3, 3), ((1, 1), (1, 1))),
    "deep": Case(1, 80, 70, (9, 5), (3, 3), ((1, 1), (1, 1))),
    "no samples": Case(0, 3, 4, (8, 8), (3, 3)),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", CASES)
def test_static_sizes(name: str, direction: str) -> None:
    convolve(CASES[name], direction)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "name", ["digits, second layer", "strided, many channels", "depthwise", "pointwise", "sequence, strided", "volume"]
)
def test_sizes_known_at_run_time(name: str, direction: str) -> None:
    convolve(CASES[name], direction, symbolic="ns", plain=False)


@pytest.mark.parametrize("direction", ["forward", "input"])
@pytest.mark.parametrize(
    "name", ["digits, first layer", "strided, dilated, uneven padding", "strided, many channels", "groups", "deep"]
)
def test_prepacked_weights(name: str, direction: str) -> None:
    convolve(CASES[name], direction, prepacked=True, symbolic="n", plain=False)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.int32, dtypes.int8], ids=str)
def test_every_kind_of_dtype(dtype: DType, direction: str) -> None:
    convolve(CASES["groups"], direction, dtype=dtype)
    convolve(CASES["pointwise"], direction, dtype=dtype, prepacked=direction != "weight")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("target", RUNNABLE)
def test_every_target_this_machine_runs(target: str, direction: str) -> None:
    for name in ("digits, second layer", "depthwise", "pointwise"):
        convolve(CASES[name], direction, target=target)


@pytest.mark.skipif(HOST not in LEVELS[1:], reason="needs a processor with fused multiply-add")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("target", sorted(set(MACHINES) - set(RUNNABLE)))
def test_tile_sizes_of_targets_this_machine_does_not_run(target: str, direction: str) -> None:
    for name in ("digits, second layer", "depthwise"):
        convolve(CASES[name], direction, target=target, cpu=HOST)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_results_do_not_depend_on_the_division_among_threads(direction: str) -> None:
    case = Case(40, 16, 16, (8, 8), (3, 3), ((1, 1), (1, 1)))
    one, other = (convolve(case, direction, reverse=reverse) for reverse in (False, True))
    np.testing.assert_array_equal(one, other)


def _spec(direction: str, prepacked: bool = False, stride: int = 1) -> ConvSpec:
    x, y = BufferType(dtypes.float32, (2, 8, 9, 9)), BufferType(dtypes.float32, (8, 8, 3, 3))
    spatial = (7, 7) if direction == "forward" else (11, 11)
    return ConvSpec.of(x, y, direction, prepacked, (stride,) * 2, ((0, 0),) * 2, (1, 1), 1, spatial, HOST)


@pytest.mark.parametrize("direction", ["forward", "input"])
def test_packed_weight_does_not_depend_on_the_stride(direction: str) -> None:
    assert conv_packed_size(_spec(direction, True, 1)) == conv_packed_size(_spec(direction, True, 2))


def test_plain_image_needs_no_copy() -> None:
    assert conv_workspace_size(_spec("forward")) < 2 * 8 * 9 * 9 * 4


def test_impossible_specs_are_refused() -> None:
    with pytest.raises(AttributeValueError, match=r"sideways.*forward, input, weight"):
        _spec("sideways")
    with pytest.raises(AttributeValueError, match="prepack"):
        _spec("weight", prepacked=True)
    x, y = (BufferType(dtypes.float32, shape) for shape in ((2, shapes.symbol("C"), 9), (4, shapes.symbol("C"), 3)))
    with pytest.raises(ShapeError, match=r"channels and kernel sizes must be integers.*\[2, C, 9\]"):
        ConvSpec.of(x, y, "forward", False, (1,), ((0, 0),), (1,), 1, (7,), HOST)


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, outputs = groups * draw(st.integers(1, 5)), groups * draw(st.sampled_from([1, 2, 7, 16, 17]))
    axes = []
    for _ in range(rank):
        kernel, dilation, stride = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
        low, high = draw(st.integers(-1, 3)), draw(st.integers(-1, 3))
        least = max(1, (kernel - 1) * dilation + 1 - low - high, 3)
        axes.append((draw(st.integers(least, least + 8)), kernel, (low, high), stride, dilation))
    size, kernel, padding, stride, dilation = zip(*axes)
    return Case(draw(st.integers(1, 3)), channels, outputs, size, kernel, padding, stride, dilation, groups)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    case=_cases(), direction=st.sampled_from(DIRECTIONS), symbolic=st.sampled_from(["", "n", "ns"]),
    plain=st.booleans(), reverse=st.booleans(), prepacked=st.booleans(),
)  # fmt: skip
def test_any_convolution(
    case: Case, direction: str, symbolic: str, plain: bool, reverse: bool, prepacked: bool
) -> None:  # fmt: skip
    prepacked = prepacked and direction != "weight"
    convolve(case, direction, symbolic=symbolic, plain=plain, reverse=reverse, prepacked=prepacked)
