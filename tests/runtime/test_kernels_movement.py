"""Views share memory, copies do not, padding, windows and their adjoint, Philox's published vectors."""

import numpy as np
import pytest
import torch

from jitcore_ir import ShapeError, dtypes, ops
from jitcore_runtime.kernels import KERNELS
from jitcore_runtime.kernels.creation import philox


def test_view_kernels_share_memory_and_see_writes():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    views = [
        KERNELS[ops.RESHAPE](x, shape=(6, 4)),
        KERNELS[ops.PERMUTE](x, permutation=(2, 0, 1)),
        KERNELS[ops.SLICE](x, starts=(0, 1, 0), sizes=(2, 2, 2), steps=(1, 1, 2)),
    ]
    x[0, 1, 0] = 99
    assert all((view == 99).any() for view in views)
    assert all(view.flags.writeable for view in views)


def test_overlapping_views_are_read_only():
    x = np.arange(5.0)
    assert not KERNELS[ops.WINDOWS](x, window=(3,), stride=(1,), dilation=(1,)).flags.writeable
    assert not KERNELS[ops.BROADCAST_TO](x, shape=(2, 5)).flags.writeable


def test_slice_outside_the_array_raises_rather_than_clips():
    x = np.arange(5.0)
    for starts, sizes in (((3,), (3,)), ((-1,), (1,)), ((6,), (1,))):
        with pytest.raises(ShapeError, match="reach outside"):
            KERNELS[ops.SLICE](x, starts=starts, sizes=sizes, steps=(1,))


def test_slice_update_leaves_its_operand_alone():
    x = np.zeros((4, 4))
    ours = KERNELS[ops.SLICE_UPDATE](x, np.ones((2, 2)), starts=(0, 1), steps=(2, 2))
    expected = np.zeros((4, 4))
    expected[::2, 1::2] = 1
    np.testing.assert_array_equal(ours, expected)
    assert not x.any()


@pytest.mark.parametrize("low, high", [((0, 0), (0, 0)), ((1, 2), (3, 0))])
def test_pad_agrees_with_torch(low, high):
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    ours = KERNELS[ops.PAD](x, np.array(7, np.float32), low=low, high=high)
    amounts = [low[1], high[1], low[0], high[0]]
    np.testing.assert_array_equal(ours, torch.nn.functional.pad(torch.from_numpy(x), amounts, value=7).numpy())


@pytest.mark.parametrize("window, stride, dilation", [((2, 3), (1, 1), (1, 1)), ((3, 2), (2, 3), (2, 1))])
def test_windows_and_fold_agree_with_torch(window, stride, dilation):
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 9))
    ours = KERNELS[ops.WINDOWS](x, window=window, stride=stride, dilation=dilation)
    unfolded = torch.nn.functional.unfold(torch.from_numpy(x), window, dilation, 0, stride)
    counts = ours.shape[2:4]
    expected = unfolded.reshape(2, 3, *window, *counts).permute(0, 1, 4, 5, 2, 3)
    np.testing.assert_array_equal(ours, expected.numpy())
    folded = KERNELS[ops.FOLD_WINDOWS](ours, spatial=(8, 9), stride=stride, dilation=dilation)
    expected = torch.nn.functional.fold(unfolded, (8, 9), window, dilation, 0, stride)
    np.testing.assert_allclose(folded, expected.numpy(), rtol=1e-14)


def test_fold_adds_sixteen_bit_floats_in_float32():
    x = np.full((2047, 2), 1.0, np.float16)  # overlapping ones
    x[:, 0] = 0.0003
    folded = KERNELS[ops.FOLD_WINDOWS](x, spatial=(2048,), stride=(1,), dilation=(1,))
    assert folded[1] == np.float16(np.float32(x[0, 1]) + np.float32(x[1, 0]))


@pytest.mark.parametrize("dtype", dtypes.REAL, ids=lambda d: d.short)
def test_iota_counts_along_its_axis(dtype):
    for axis in range(3):
        ours = KERNELS[ops.IOTA](shape=(2, 3, 4), axis=axis, dtype=dtype)
        np.testing.assert_array_equal(ours.astype(int), np.indices((2, 3, 4))[axis])


# Published with Random123 (kat_vectors, philox4x32 10 rounds).
@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    words = np.array([[int(w, 16)] for w in counter.split()], np.uint64)
    ours = philox(words, tuple(int(w, 16) for w in key.split()))
    assert [f"{int(w):08x}" for w in ours[:, 0]] == expected.split()


def reference_bits(seed, offset, count):
    """The spec's definition, one block at a time with Python integers."""
    result = []
    for block in range((count + 3) // 4):
        low = (offset + block) % 2**64
        c = [low % 2**32, low >> 32, 0, 0]
        k = [seed % 2**32, (seed % 2**64) >> 32]
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k[0], p1 % 2**32, (p0 >> 32) ^ c[3] ^ k[1], p0 % 2**32]
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        result += c
    return np.array(result[:count], np.uint32).view(np.int32)


@pytest.mark.parametrize("seed, offset", [(0, 0), (42, 7), (-1, 2**63 - 2), (2**40 + 3, 2**32 - 1)])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_random_bits_follow_the_spec(seed, offset, count):
    ours = KERNELS[ops.RANDOM_BITS](np.array(seed), np.array(offset), shape=(count,))
    np.testing.assert_array_equal(ours, reference_bits(seed, offset, count))


def test_random_bits_of_many_blocks_are_those_of_each_alone():
    many = KERNELS[ops.RANDOM_BITS](np.array(5), np.array(9), shape=(3, 20_000)).reshape(-1)
    for block in (0, 8191, 8192, 14_999):
        np.testing.assert_array_equal(many[4 * block : 4 * block + 4], reference_bits(5, 9 + block, 4))
