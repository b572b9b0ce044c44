"""A kernel's bits depend on values and shapes alone: not on memory layout, nor on the number of threads of any kind."""

import hashlib
import itertools
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from jitcore_ir import ops
from jitcore_ir.spec import OPS, Trait
from jitcore_runtime.kernels import KERNELS

pytestmark = pytest.mark.usefixtures("fixed_order")

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
REAL = [s for s in OPS.values() if s.has(Trait.ELEMENTWISE) and s in KERNELS and s is not ops.MAKE_COMPLEX]
SHAPES = [(7,), (1000,), (17, 33), (300, 5), (5, 300), (3, 130, 4), (2, 129, 130)]


def layouts(x):
    """The same values in other memory: axes in each order, spread out, backwards, off their alignment."""
    for order in itertools.permutations(range(x.ndim)):
        yield np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    for slices in ((slice(1, None, 2), 2), (slice(None, None, -1), 1)):
        memory = np.empty([slices[1] * n + slices[1] - 1 for n in x.shape], x.dtype)
        view = memory[(slices[0],) * x.ndim]
        view[...] = x
        yield view
    for offset in (1, 3 * x.itemsize):
        memory = np.empty(x.nbytes + offset, np.uint8)[offset:].view(x.dtype).reshape(x.shape)
        memory[...] = x
        yield memory


def bits(x):
    x = np.ascontiguousarray(x)
    if x.dtype.kind in "iub":
        return x
    if x.dtype.kind == "c":
        x = x.view(x.real.dtype)
    whole = x.view(f"u{x.itemsize}").copy()
    whole[x != x] = 0
    return whole


def check(spec, *arrays, **attributes):
    expected = bits(KERNELS[spec](*arrays, **attributes))
    for number, array in enumerate(arrays):
        for other in layouts(array):
            given = [*arrays[:number], other, *arrays[number + 1 :]]
            np.testing.assert_array_equal(bits(KERNELS[spec](*given, **attributes)), expected)


def numbers(generator, shape, dtype):
    """Of all sizes, with zeros of both signs, infinities and NaN."""
    x = generator.standard_normal(shape) * 10 ** generator.uniform(-3, 3, shape)
    rare = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40]
    with np.errstate(all="ignore"):
        return np.where(generator.random(shape) < 0.2, generator.choice(rare, shape), x).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=str)
@pytest.mark.parametrize("spec", REAL, ids=str)
def test_elementwise(spec, dtype):
    generator = np.random.default_rng(0)
    for size in (1, 3, 8, 17, 100, 1001):
        arrays = [numbers(generator, (size,), dtype) for _ in spec.operands]
        if spec is ops.WHERE:
            arrays[0] = arrays[0] > 0
        try:
            expected = bits(KERNELS[spec](*arrays))
        except TypeError:
            pytest.skip("not of floats")
        check(spec, *arrays)
        last = [a[-1:] for a in arrays]  # alone, and against one number that is not spread out
        np.testing.assert_array_equal(bits(KERNELS[spec](*last)), expected[-1:])
        if len(arrays) == 2:
            for few in (last[1], last[1].reshape(())):
                spread = np.broadcast_to(few, size)
                want = bits(KERNELS[spec](arrays[0], spread.copy()))
                np.testing.assert_array_equal(bits(KERNELS[spec](arrays[0], few)), want)
                np.testing.assert_array_equal(bits(KERNELS[spec](arrays[0], spread)), want)


@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3])
def test_powers_with_one_exponent_and_with_many_equal_ones(exponent):
    x = numbers(np.random.default_rng(0), (50, 40), np.float32)
    expected = bits(KERNELS[ops.POW](x, np.array(exponent, np.float32)))
    for shape in ((1,), (50, 1), (40,), (50, 40)):
        y = np.full(shape, exponent, np.float32)
        np.testing.assert_array_equal(bits(KERNELS[ops.POW](x, y)), expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions(dtype, shape):
    generator = np.random.default_rng(0)
    x = generator.standard_normal(shape).astype(dtype)
    zeros = np.where(generator.random(shape) < 0.5, 0.0, -0.0).astype(dtype)
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            for spec in (ops.SUM, ops.PROD, ops.AMAX, ops.AMIN):
                check(spec, x, axes=axes, keepdims=False)
                check(spec, zeros, axes=axes, keepdims=False)
    for axis in range(len(shape)):
        for spec in (ops.CUMSUM, ops.CUMPROD):
            check(spec, x, axis=axis)
        check(ops.ARGMAX, zeros, axis=axis, keepdims=False)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(300,), (30, 33), (3, 40, 4)], ids=str)
def test_writes_at_positions(dtype, shape):
    generator = np.random.default_rng(0)
    x, updates = (generator.standard_normal(shape).astype(dtype) for _ in range(2))
    for axis, size in enumerate(shape):
        where = generator.integers(0, size, shape)
        check(ops.SCATTER, x, where, updates, axis=axis, mode="add")
        check(ops.SCATTER_REDUCE, x, where, updates, axis=axis, mode="mul")
        rows = generator.standard_normal((*shape[:axis], 90, *shape[axis + 1 :])).astype(dtype)
        check(ops.PUT, x, generator.integers(0, size, 90), rows, axis=axis, mode="add")


@pytest.mark.parametrize("dtype", FLOATS[:3], ids=str)
@pytest.mark.parametrize(
    "sizes", [(1, 5, 7), (1, 64, 33), (7, 5, 1), (64, 33, 1), (1, 100, 1), (17, 19, 23), (130, 70, 50)], ids=str
)
def test_products(dtype, sizes):
    rows, inner, columns = sizes
    generator = np.random.default_rng(0)
    for batch in ((), (3,)):
        x = generator.standard_normal((*batch, rows, inner)).astype(dtype)
        check(ops.DOT, x, generator.standard_normal((*batch, inner, columns)).astype(dtype))
        swapped = x.swapaxes(-1, -2)
        for a, b in ((x, swapped), (swapped, x)):  # the same memory twice
            apart = KERNELS[ops.DOT](np.ascontiguousarray(a), np.array(b, order="C"))
            np.testing.assert_array_equal(bits(KERNELS[ops.DOT](a, b)), bits(apart))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions(groups, kernel):
    generator = np.random.default_rng(0)
    for samples in (1, 2):
        x = generator.standard_normal((samples, 4, 9, 8)).astype(np.float32)
        weight = generator.standard_normal((4, 4 // groups, kernel, kernel)).astype(np.float32)
        given = {"stride": (1, 2), "padding": ((1, 1), (0, 1)), "dilation": (1, 1), "groups": groups}
        check(ops.CONV, x, weight, **given)
        y = KERNELS[ops.CONV](x, weight, **given)
        check(ops.CONV_WEIGHT_GRADIENT, x, y, kernel=(kernel, kernel), **given)
        check(ops.CONV_TRANSPOSE, y, weight, spatial=(9, 8), **given)


def digest_of_products():
    """Of products of all the kinds that BLAS would share out to threads."""
    generator = np.random.default_rng(0)
    found = hashlib.sha256()
    sizes = [(382, 307, 162), (26, 356, 493), (512, 512, 512), (1000, 64, 900), (1, 3000, 3)]
    sizes += [(1, 20000, 1), (900, 500, 1), (300, 5, 700), (32, 1024, 1100)]
    for dtype in (np.float32, np.float64, np.complex64):
        for rows, inner, columns in sizes:
            x = generator.standard_normal((rows, inner)).astype(dtype)
            found.update(KERNELS[ops.DOT](x, generator.standard_normal((inner, columns)).astype(dtype)).tobytes())
    for batch, rows, inner, columns in ((3, 200, 150, 170), (700, 32, 20, 40)):
        x = generator.standard_normal((batch, rows, inner)).astype(np.float32)
        y = generator.standard_normal((batch, inner, columns)).astype(np.float32)
        found.update(KERNELS[ops.DOT](x, y).tobytes())
    x, weight = (generator.standard_normal(s).astype(np.float32) for s in ((4, 16, 40, 40), (32, 8, 3, 3)))
    given = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 2}
    y = KERNELS[ops.CONV](x, weight, **given)
    found.update(y.tobytes())
    found.update(KERNELS[ops.CONV_WEIGHT_GRADIENT](x, y, kernel=(3, 3), **given).tobytes())
    return found.hexdigest()


def test_products_do_not_depend_on_the_number_of_threads():
    found = set()
    for blas, ours in (("1", "1"), ("2", "1"), ("4", "3")):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": blas, "JITCORE_NUM_THREADS": ours}
        run = subprocess.run(
            [sys.executable, __file__], env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        found.add(run.stdout)
    assert len(found) == 1


if __name__ == "__main__":
    print(digest_of_products())
