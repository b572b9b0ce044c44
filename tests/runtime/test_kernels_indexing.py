"""take, put, gather, scatter: agreement with PyTorch, order of duplicates, positions out of range."""

import numpy as np
import pytest
import torch

from jitcore_ir import dtypes, ops
from jitcore_runtime.kernels import KERNELS

DTYPES = [dtypes.bool_, dtypes.uint8, dtypes.int64, dtypes.float16, dtypes.float32, dtypes.float64, dtypes.complex64]


def sample(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 2, shape) if dtype.kind == "bool" else rng.integers(0, 50, shape)).astype(dtype.numpy)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.short)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)], ids=str)
def test_take_and_put_agree_with_torch(dtype, axis, shape):
    x = sample(dtype, (4, 5, 6))
    indices = np.asarray(np.random.default_rng(1).integers(0, x.shape[axis], shape))
    where = (slice(None),) * axis + (torch.from_numpy(indices),)
    expected = torch.from_numpy(x.copy())[where].numpy()
    np.testing.assert_array_equal(KERNELS[ops.TAKE](x, indices, axis=axis), expected)
    updates = sample(dtype, expected.shape, seed=2)
    if dtype.kind != "bool":
        rows = torch.from_numpy(updates.reshape(*x.shape[:axis], indices.size, *x.shape[axis + 1 :]))
        target = torch.from_numpy(x.copy()).index_add(axis, torch.from_numpy(indices.reshape(-1)), rows)
        ours = KERNELS[ops.PUT](x, indices, updates, axis=axis, mode="add")
        np.testing.assert_array_equal(ours, target.numpy())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3)], ids=str)
def test_take_from_a_large_array_of_any_strides(axis, shape):
    big = np.random.default_rng(0).random((200, 300))
    indices = np.asarray(np.random.default_rng(1).integers(0, 90, shape))
    for x in (big.T, big[::2, ::3]):
        ours = KERNELS[ops.TAKE](x, indices, axis=axis)
        np.testing.assert_array_equal(ours, np.take(x, indices, axis))
        assert not np.shares_memory(ours, big)


@pytest.mark.parametrize("axis", [0, 1])
def test_last_of_several_sets_wins_in_row_major_order(axis):
    x = np.zeros((5, 5), np.float32)
    indices = np.array([[1, 1], [2, 1]])
    for layout in (indices, np.asfortranarray(indices)):
        shape = (2, 2, 5) if axis == 0 else (5, 2, 2)
        updates = np.arange(20, dtype=np.float32).reshape(shape)
        ours = KERNELS[ops.PUT](x, layout, updates, axis=axis, mode="set")
        expected = x.copy()
        for i in range(2):
            for j in range(2):
                if axis == 0:
                    expected[indices[i, j]] = updates[i, j]
                else:
                    expected[:, indices[i, j]] = updates[:, i, j]
        np.testing.assert_array_equal(ours, expected)


def test_last_scattered_set_wins():
    x = np.zeros((2, 3), np.int64)
    indices = np.array([[0, 0, 2, 0], [1, 1, 1, 1]])
    updates = np.arange(8).reshape(2, 4)
    np.testing.assert_array_equal(KERNELS[ops.SCATTER](x, indices, updates, axis=1, mode="set"), [[3, 0, 2], [0, 7, 0]])


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=lambda d: d.short)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_scatter_agree_with_torch(dtype, axis):
    x = sample(dtype, (4, 5, 6))
    shape = tuple(7 if a == axis else d - 1 for a, d in enumerate(x.shape))
    indices = np.random.default_rng(3).integers(0, x.shape[axis], shape)
    expected = torch.gather(torch.from_numpy(x), axis, torch.from_numpy(indices)).numpy()
    np.testing.assert_array_equal(KERNELS[ops.GATHER](x, indices, axis=axis), expected)
    np.testing.assert_array_equal(KERNELS[ops.GATHER](np.asfortranarray(x), indices, axis=axis), expected)
    updates = sample(dtype, shape, seed=4)
    expected = torch.from_numpy(x.copy()).scatter_add(axis, torch.from_numpy(indices), torch.from_numpy(updates))
    ours = KERNELS[ops.SCATTER](x, indices, updates, axis=axis, mode="add")
    np.testing.assert_array_equal(ours, expected.numpy())


@pytest.mark.parametrize("width", [1, 5, 100])
@pytest.mark.parametrize("places", [3, 40])
def test_float_additions_happen_in_order(width, places):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((places, width)).astype(np.float32)
    indices = rng.integers(0, places, 400)
    updates = (rng.standard_normal((400, width)) * 10.0 ** rng.integers(-4, 4, (400, 1))).astype(np.float32)
    expected = x.copy()
    for i, u in zip(indices, updates):
        expected[i] += u
    np.testing.assert_array_equal(KERNELS[ops.PUT](x, indices, updates, axis=0, mode="add"), expected)
    ours = KERNELS[ops.PUT](x.T, indices, updates.T, axis=1, mode="add")
    np.testing.assert_array_equal(ours, expected.T)


def test_sixteen_bit_additions_round_once():
    x = np.array([2048], np.float16)
    ones = np.ones(8, np.float16)
    zeros = np.zeros(8, np.int64)
    assert KERNELS[ops.PUT](x, zeros, ones, axis=0, mode="add")[0] == 2056
    assert KERNELS[ops.SCATTER](x, zeros, ones, axis=0, mode="add")[0] == 2056


@pytest.mark.parametrize("wrong", [-1, 5, 2**40, -(2**62)])
def test_positions_out_of_range_are_named(wrong):
    x = np.zeros((3, 5), np.float32)
    flat = np.array([0, wrong, 1])
    rows = np.tile(flat, (3, 1))
    cases = {
        "take": (x, flat),
        "put": (x, flat, np.zeros((3, 3), np.float32)),
        "gather": (x, rows),
        "scatter": (x, rows, np.zeros((3, 3), np.float32)),
    }
    for name, arrays in cases.items():
        attributes = {"axis": 1} | ({"mode": "set"} if len(arrays) == 3 else {})
        with pytest.raises(IndexError, match=f"{name}: position {wrong} is out of range for axis 1 of size 5"):
            KERNELS[getattr(ops, name.upper())](*arrays, **attributes)


def test_taking_nothing_from_an_empty_axis_gives_nothing():
    x, none = np.empty((0, 3), np.float32), np.empty((0, 2), np.int64)
    assert KERNELS[ops.TAKE](x, none, axis=0).shape == (0, 2, 3)
    with pytest.raises(IndexError, match="size 0"):
        KERNELS[ops.TAKE](x, np.array([0]), axis=0)
