"""NumPy kernels of the operations that make values from nothing, among them Philox4x32-10 random bits."""

from __future__ import annotations

import math

import numpy as np

from jitcore_ir import ops
from jitcore_ir.dtypes import DType
from jitcore_ir.spec import OpSpec

from .floating import Kernel

_MULTIPLIERS = np.array([[0xCD9E8D57], [0xD2511F53]], np.uint64)  # of words 2 and 0
_KEY_STEPS = np.array([[0x9E3779B9], [0xBB67AE85]], np.uint64)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_CHUNK = 1 << 13
"""Blocks worked on at once: a handful of arrays of this many pairs of words stays in the second-level cache."""


def constant(value: np.ndarray) -> np.ndarray:
    """The array itself; nobody writes to it."""
    return value


def iota(shape: tuple[int, ...], axis: int, dtype: DType) -> np.ndarray:
    counter = np.arange(shape[axis], dtype=np.int64).astype(dtype.numpy)
    if len(shape) == 1:
        return counter
    result = np.empty(shape, dtype.numpy)
    result[...] = counter.reshape((-1,) + (1,) * (len(shape) - 1 - axis))
    return result


def size(dim: int) -> np.ndarray:
    return np.array(dim, np.int64)


def random_bits(seed: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """int32 of `shape`: element e is lane e % 4 of the Philox block numbered offset + e // 4 under the key `seed`."""
    count = math.prod(shape)
    blocks = (count + 3) // 4
    key = int(seed) & 0xFFFFFFFFFFFFFFFF
    first = int(offset) & 0xFFFFFFFFFFFFFFFF
    result = np.empty((blocks, 4), np.uint32)
    for start in range(0, blocks, _CHUNK):
        stop = min(start + _CHUNK, blocks)
        # Unsigned arithmetic wraps: the counter's low 64 bits, as the spec says; its high 64 bits stay 0.
        low = np.arange(start, stop, dtype=np.uint64) + np.uint64(first)
        counter = np.zeros((4, stop - start), np.uint64)
        np.bitwise_and(low, _LOW, out=counter[0])
        np.right_shift(low, _HALF, out=counter[1])
        result[start:stop] = philox(counter, (key & 0xFFFFFFFF, key >> 32)).T
    return result.reshape(-1)[:count].reshape(shape).view(np.int32)


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10 of Salmon et al. (2011). `counter`: uint64 [4, n] holding 32-bit words; `key`: two 32-bit words;
    gives uint64 [4, n] of 32-bit words.

    The two multiplications of a round are one array operation over the even words (rows 0 and 2), in the order
    (2, 0): row 0 of `product` then makes the next word 0, row 1 the next word 2.
    """
    even, odd = counter[0::2], counter[1::2]
    keys = np.array([[key[0]], [key[1]]], np.uint64)
    for _ in range(10):
        product = even[::-1] * _MULTIPLIERS
        even = product >> _HALF
        even ^= odd
        even ^= keys
        odd = product
        odd &= _LOW
        keys = (keys + _KEY_STEPS) & _LOW
    return np.stack([even[0], odd[0], even[1], odd[1]])


KERNELS: dict[OpSpec, Kernel] = {
    ops.CONSTANT: constant,
    ops.IOTA: iota,
    ops.SIZE: size,
    ops.RANDOM_BITS: random_bits,
}
