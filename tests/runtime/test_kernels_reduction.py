"""Reductions, positions and running sums agree with PyTorch; float32 sums are accurate along every axis."""

import numpy as np
import pytest
import torch

from jitcore_ir import dtypes, ops
from jitcore_runtime.kernels import KERNELS

REAL_DTYPES = [dtypes.uint8, dtypes.int8, dtypes.int32, dtypes.int64, dtypes.float16, dtypes.float32, dtypes.float64]


def sample(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype.is_floating_point:
        return rng.standard_normal(shape).astype(dtype.numpy)
    return rng.integers(0, 12, shape).astype(dtype.numpy)


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=lambda d: d.short)
@pytest.mark.parametrize("axes", [(), (0,), (2,), (0, 2), (2, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_agree_with_torch(dtype, axes, keepdims):
    x = sample(dtype, (5, 6, 7))
    t = torch.from_numpy(x)
    tolerance = {"rtol": 2e-3, "atol": 5e-3} if dtype.bits == 16 else {"rtol": 2e-5, "atol": 1e-5}
    own = getattr(torch, dtype.name)
    total = torch.sum(t, axes, keepdim=keepdims, dtype=own) if axes else t
    np.testing.assert_allclose(KERNELS[ops.SUM](x, axes=axes, keepdims=keepdims), total.numpy(), **tolerance)
    product = t
    for axis in sorted(axes, reverse=True):
        product = torch.prod(product, axis, keepdim=keepdims, dtype=own)
    ours = KERNELS[ops.PROD](x, axes=axes, keepdims=keepdims)
    if dtype.bits != 16:  # PyTorch rounds between axes
        np.testing.assert_allclose(ours, product.numpy(), **tolerance)
    for spec, reference in ((ops.AMAX, torch.amax), (ops.AMIN, torch.amin)):
        expected = reference(t, axes, keepdim=keepdims) if axes else t
        np.testing.assert_array_equal(KERNELS[spec](x, axes=axes, keepdims=keepdims), expected.numpy())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=lambda d: d.short)
def test_positions_and_running_sums_agree_with_torch(dtype, axis):
    x = sample(dtype, (4, 5, 6), seed=2)
    t = torch.from_numpy(x)
    # NumPy and the spec give the first of several; PyTorch promises none, so the reference is NumPy in float64.
    wide = x.astype(np.float64)
    for spec, reference in ((ops.ARGMAX, np.argmax), (ops.ARGMIN, np.argmin)):
        ours = KERNELS[spec](x, axis=axis, keepdims=True)
        np.testing.assert_array_equal(ours, reference(wide, axis, keepdims=True))
        assert ours.dtype == np.int64
    own = getattr(torch, dtype.name)
    tolerance = {"rtol": 2e-3, "atol": 2e-3} if dtype.bits == 16 else {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(KERNELS[ops.CUMSUM](x, axis=axis), torch.cumsum(t, axis, dtype=own).numpy(), **tolerance)
    if dtype.bits != 16:
        np.testing.assert_allclose(
            KERNELS[ops.CUMPROD](x, axis=axis), torch.cumprod(t, axis, dtype=own).numpy(), **tolerance
        )


@pytest.mark.parametrize("dtype", dtypes.FLOATING, ids=lambda d: d.short)
def test_nan_wins_and_the_first_nan_is_found(dtype):
    x = np.array([[1, np.nan, 3, np.nan], [4, 2, np.inf, 0]], dtype.numpy)
    for spec in (ops.AMAX, ops.AMIN):
        result = KERNELS[spec](x, axes=(1,), keepdims=False).astype(np.float32)
        assert np.isnan(result[0])
        assert result[1] == (np.inf if spec is ops.AMAX else 0)
    np.testing.assert_array_equal(KERNELS[ops.ARGMAX](x, axis=1, keepdims=False), [1, 2])
    np.testing.assert_array_equal(KERNELS[ops.ARGMIN](x, axis=1, keepdims=False), [1, 3])


def test_bool_extremes_are_any_and_all():
    x = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(KERNELS[ops.AMAX](x, axes=(1,), keepdims=False), x.any(1))
    np.testing.assert_array_equal(KERNELS[ops.AMIN](x, axes=(1,), keepdims=False), x.all(1))
    assert KERNELS[ops.AMAX](x, axes=(0, 1), keepdims=False).dtype == np.bool_


def test_sums_of_nothing_are_zero_and_products_one():
    x = np.empty((0, 3), np.float32)
    np.testing.assert_array_equal(KERNELS[ops.SUM](x, axes=(0,), keepdims=False), np.zeros(3))
    np.testing.assert_array_equal(KERNELS[ops.PROD](x, axes=(0,), keepdims=False), np.ones(3))


@pytest.mark.parametrize(
    "shape, axes", [((300_000, 3), (0,)), ((3, 100_000), (1,)), ((999, 3, 301), (0, 2)), ((70_001,), (0,))]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_float32_sums_are_accurate_along_every_axis(shape, axes, order):
    x = np.asarray(np.random.default_rng(0).random(shape, np.float32), order=order)
    exact = x.astype(np.float64).sum(axes)
    ours = KERNELS[ops.SUM](x, axes=axes, keepdims=False)
    np.testing.assert_allclose(ours, exact, rtol=1e-6)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=lambda d: d.short)
def test_sixteen_bit_sums_are_added_in_float32(dtype):
    x = np.full((4096, 2), 0.1, dtype.numpy)
    exact = x.astype(np.float64).sum(0).astype(dtype.numpy)
    np.testing.assert_array_equal(KERNELS[ops.SUM](x, axes=(0,), keepdims=False).astype(float), exact.astype(float))
    running = KERNELS[ops.CUMSUM](x, axis=0)[-1]
    np.testing.assert_array_equal(running.astype(float), exact.astype(float))
    assert KERNELS[ops.PROD](np.array([300, 300, 0.01], np.float16), axes=(0,), keepdims=False) == np.float16(900.2)


def test_integer_sums_wrap():
    x = np.full(3, 100, np.int8)
    assert KERNELS[ops.SUM](x, axes=(0,), keepdims=False) == np.int8(300 - 256)
    np.testing.assert_array_equal(KERNELS[ops.CUMSUM](x, axis=0), np.array([100, -56, 44], np.int8))
