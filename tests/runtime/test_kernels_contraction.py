"""Products and convolutions agree with PyTorch in value; the adjoints of conv agree with its gradients."""

import itertools

import numpy as np
import pytest
import torch

from jitcore_ir import dtypes, ops
from jitcore_runtime.kernels import KERNELS

CASES = [
    # spatial, kernel, stride, padding, dilation, groups
    ((9,), (3,), (1,), ((1, 1),), (1,), 1),
    ((10,), (4,), (3,), ((2, 0),), (2,), 2),
    ((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((7, 9), (3, 2), (2, 3), ((1, 2), (0, 1)), (1, 2), 2),
    ((6, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((6, 5), (1, 1), (2, 2), ((1, 0), (0, 0)), (1, 1), 4),
    ((5, 6, 7), (2, 3, 1), (1, 2, 2), ((1, 1), (0, 2), (1, 0)), (2, 1, 1), 2),
]


def references(x, weight, y, stride, padding, dilation, groups):
    """PyTorch's convolution, and the gradients that are its two adjoints, in float64."""
    tx = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    tw = torch.from_numpy(weight.astype(np.float64)).requires_grad_()
    flat = list(itertools.chain.from_iterable(reversed(padding)))
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[x.ndim - 3]
    out = convolve(torch.nn.functional.pad(tx, flat), tw, None, stride, 0, dilation, groups)
    if y is not None:
        out.backward(torch.from_numpy(y.astype(np.float64)))
    return out.detach().numpy(), None if y is None else tx.grad.numpy(), None if y is None else tw.grad.numpy()


@pytest.mark.parametrize("samples", [1, 3, 0])
@pytest.mark.parametrize("spatial, kernel, stride, padding, dilation, groups", CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64, dtypes.float16, dtypes.int32], ids=lambda d: d.short)
def test_convolutions_agree_with_torch(dtype, spatial, kernel, stride, padding, dilation, groups, samples):
    rng = np.random.default_rng(0)

    def sample(shape):
        return rng.integers(-3, 4, shape).astype(dtype.numpy)  # small integers: every dtype is exact

    x, weight = sample((samples, 4, *spatial)), sample((8, 4 // groups, *kernel))
    shape = references(x, weight, None, stride, padding, dilation, groups)[0].shape
    y = sample(shape)
    out, x_gradient, weight_gradient = references(x, weight, y, stride, padding, dilation, groups)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    np.testing.assert_array_equal(KERNELS[ops.CONV](x, weight, **attributes), out.astype(dtype.numpy))
    np.testing.assert_array_equal(
        KERNELS[ops.CONV_TRANSPOSE](y, weight, **attributes, spatial=spatial), x_gradient.astype(dtype.numpy)
    )
    np.testing.assert_array_equal(
        KERNELS[ops.CONV_WEIGHT_GRADIENT](x, y, **attributes, kernel=kernel), weight_gradient.astype(dtype.numpy)
    )


def test_batches_larger_than_a_chunk_of_windows(monkeypatch):
    from jitcore_runtime.kernels import contraction

    monkeypatch.setattr(contraction, "_CHUNK_BYTES", 40_000)
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((7, 3, 10, 10)), rng.standard_normal((5, 3, 3, 3))
    y = rng.standard_normal((7, 5, 10, 10))
    attributes = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    out, x_gradient, weight_gradient = references(x, weight, y, *attributes.values())
    np.testing.assert_allclose(KERNELS[ops.CONV](x, weight, **attributes), out, rtol=1e-11, atol=1e-11)
    ours = KERNELS[ops.CONV_TRANSPOSE](y, weight, **attributes, spatial=(10, 10))
    np.testing.assert_allclose(ours, x_gradient, rtol=1e-11, atol=1e-11)
    ours = KERNELS[ops.CONV_WEIGHT_GRADIENT](x, y, **attributes, kernel=(3, 3))
    np.testing.assert_allclose(ours, weight_gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", dtypes.NUMERIC + dtypes.BOOL, ids=lambda d: d.short)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_dot_agrees_with_numpy_in_a_wider_type(dtype, batch):
    rng = np.random.default_rng(0)
    low, high = (0, 2) if dtype.kind == "bool" else (0, 4)
    x, y = (rng.integers(low, high, (*batch, m, n)).astype(dtype.numpy) for m, n in ((5, 6), (6, 4)))
    exact = np.matmul(x.astype(np.complex128), y.astype(np.complex128))
    expected = exact != 0 if dtype.kind == "bool" else (exact if dtype.is_complex else exact.real).astype(dtype.numpy)
    ours = KERNELS[ops.DOT](x, y)
    np.testing.assert_array_equal(ours.astype(np.complex128), expected.astype(np.complex128))
    assert ours.dtype == dtype.numpy


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64, dtypes.complex64], ids=lambda d: d.short)
def test_dot_of_any_strides(dtype):
    rng = np.random.default_rng(0)
    big = rng.standard_normal((2, 12, 14)).astype(dtype.numpy)
    row = rng.standard_normal(6).astype(dtype.numpy)
    y = rng.standard_normal((2, 6, 5)).astype(dtype.numpy)
    overlapping = np.lib.stride_tricks.sliding_window_view(big[:, 0], 6, axis=1)
    stretched = np.broadcast_to(row, (2, 4, 6)), np.broadcast_to(row[:, None, None], (6, 2, 4)).transpose(1, 2, 0)
    sliced = big[:, ::2, :6], big[:, :, ::-2][:, :, :6], big.transpose(0, 2, 1)[:, :, ::2]
    for x in (*sliced, *stretched, overlapping):
        wide = np.einsum("bmk,bkn->bmn", x.astype(np.complex128), y.astype(np.complex128))
        np.testing.assert_allclose(KERNELS[ops.DOT](x, y), wide, rtol=1e-4, atol=1e-5)


def test_products_over_nothing_are_zero():
    assert not KERNELS[ops.DOT](np.ones((3, 0), np.float32), np.ones((0, 4), np.float32)).any()
    assert KERNELS[ops.DOT](np.ones((0, 3), np.int64), np.ones((3, 4), np.int64)).shape == (0, 4)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=lambda d: d.short)
def test_sixteen_bit_products_are_added_in_float32(dtype):
    x = np.full((1, 4096), 0.1, dtype.numpy)
    exact = (x.astype(np.float64) ** 2).sum().astype(dtype.numpy)
    assert float(KERNELS[ops.DOT](x, x.T)[0, 0]) == float(exact)
