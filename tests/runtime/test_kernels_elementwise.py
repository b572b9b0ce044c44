"""Elementwise kernels agree with PyTorch for every dtype, special values included."""

import math
import warnings

import numpy as np
import pytest
import torch

from jitcore_ir import OPS, Trait, dtypes, ops
from jitcore_runtime.kernels import KERNELS

TORCH = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil,
    "round": torch.round, "trunc": torch.trunc, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log,
    "log1p": torch.log1p, "log2": torch.log2, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "sin": torch.sin,
    "cos": torch.cos, "tan": torch.tan, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "erf": torch.erf,
    "logical_not": torch.logical_not, "bitwise_not": torch.bitwise_not, "isnan": torch.isnan, "isinf": torch.isinf,
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "floor_divide": torch.floor_divide,
    "remainder": torch.remainder, "fmod": torch.fmod, "pow": torch.pow, "maximum": torch.maximum,
    "minimum": torch.minimum, "atan2": torch.atan2, "bitwise_and": torch.bitwise_and, "bitwise_or": torch.bitwise_or,
    "bitwise_xor": torch.bitwise_xor, "shift_left": torch.bitwise_left_shift,
    "shift_right": torch.bitwise_right_shift, "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le,
    "gt": torch.gt, "ge": torch.ge, "where": torch.where,
    "conj": torch.conj_physical,
}  # fmt: skip
ELEMENTWISE = [
    s for s in OPS.values()
    if s.has(Trait.ELEMENTWISE) and not s.has(Trait.LOOP) and (not s.attributes or s is ops.CAST)
]  # fmt: skip
EXACT = {
    "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "add", "sub", "mul", "div", "maximum", "minimum",
    "isnan", "isinf", "eq", "ne", "lt", "le", "gt", "ge", "logical_not", "where",
}  # fmt: skip
BITS16 = (dtypes.float16, dtypes.bfloat16)
TOLERANCE = {dtypes.float32: 4e-7, dtypes.float64: 2e-15, dtypes.complex64: 1e-6, dtypes.complex128: 4e-15}


def to_torch(array):
    if dtypes.from_numpy(array.dtype) is dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def from_torch(tensor):
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(dtypes.bfloat16.numpy)
    return tensor.numpy()


def widened(spec, tensor):
    """The operand in which PyTorch is an exact oracle: functions are computed in float64, then rounded. Divisions with
    a floor are not: what they give at a tie depends on the precision, which is float32 for 16-bit floats."""
    if not tensor.dtype.is_floating_point:
        return tensor
    if spec in (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD):
        return tensor.float() if tensor.dtype.itemsize == 2 else tensor
    return tensor.double()


def assert_same(ours, expected):
    """Equal in dtype and value. NumPy does not know the NaN of an extension type, so 16-bit floats are widened."""
    assert ours.dtype == expected.dtype
    if ours.dtype.itemsize == 2 and ours.dtype.kind not in "iu":
        ours, expected = ours.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_array_equal(ours, expected)


def values_of(dtype, count, seed):
    """`count` values: the special ones first, then random ones of several magnitudes."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "bool":
        return rng.integers(0, 2, count).astype(bool)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        special = np.array([0, 1, 2, 3, 7, info.max, info.min, info.max - 1], dtype.numpy)
        small = rng.integers(max(info.min, -9), 10, count, dtype=dtype.numpy)
        wide = rng.integers(info.min, info.max, count, dtype=dtype.numpy)
        return np.concatenate([special, small, wide])[:count] if count < 30 else np.concatenate([special, small, wide])
    special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-30, 1e30, 88.8, -104.0]
    spread = rng.standard_normal(count) * 10.0 ** rng.integers(-3, 3, count)
    real = np.concatenate([special, spread])
    with np.errstate(all="ignore"):
        if dtype.is_complex:
            finite = rng.standard_normal((2, count))
            return (finite[0] + 1j * finite[1]).astype(dtype.numpy)
        return real.astype(dtype.numpy)


def operands_of(spec, dtype, seed=0):
    first = values_of(dtype, 60, seed)
    arrays = [first] + [np.random.default_rng(seed + k).permutation(first) for k in range(1, len(spec.operands))]
    if spec is ops.WHERE:
        arrays[0] = np.random.default_rng(5).integers(0, 2, len(first)).astype(bool)
    if spec in (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD) and dtype.is_integer:
        arrays[1][arrays[1] == 0] = 3
        if dtype.kind == "int":  # the smallest over -1 overflows, which PyTorch leaves undefined
            arrays[1][arrays[1] == -1] = 5
    return arrays


def dtypes_of(spec):
    """The dtypes that a spec's rule accepts."""
    from jitcore_ir import DTypeError, TensorType

    found = []
    for dtype in dtypes.ALL:
        types = [TensorType(dtype)] * len(spec.operands)
        if spec is ops.WHERE:
            types[0] = TensorType(dtypes.bool_)
        try:
            spec.infer(tuple(types), {"dtype": dtype} if spec is ops.CAST else {})
            found.append(dtype)
        except DTypeError:
            pass
    return found


def ignored(spec, dtype):
    """Where the documented meaning is not PyTorch's, or PyTorch has none; each has a test of its own."""
    if spec in (ops.CAST, ops.COPY, ops.MAKE_COMPLEX):
        return True
    return spec in (ops.SHIFT_LEFT, ops.SHIFT_RIGHT)


PAIRS = [(s, d) for s in ELEMENTWISE for d in dtypes_of(s) if not ignored(s, d)]


@pytest.mark.parametrize("spec, dtype", PAIRS, ids=[f"{s.name}-{d.short}" for s, d in PAIRS])
def test_agrees_with_torch(spec, dtype):
    arrays = operands_of(spec, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = KERNELS[spec](*arrays)
    theirs = TORCH[spec.name](*[widened(spec, to_torch(a)) for a in arrays])
    if theirs.dtype is torch.float64:
        theirs = theirs.to(getattr(torch, dtype.name))
    if spec is ops.SIGN and dtype.is_floating_point:  # PyTorch gives 0 for NaN, the documented meaning is NaN
        theirs[torch.isnan(to_torch(arrays[0]))] = torch.nan
    expected = from_torch(theirs)
    assert type(ours) is np.ndarray
    if (spec.name in EXACT and not dtype.is_complex) or not (dtype.is_floating_point or dtype.is_complex):
        assert_same(ours, expected)
    elif dtype in BITS16:
        if theirs.dtype is torch.float32:
            expected = from_torch(theirs.to(getattr(torch, dtype.name)))
        # The neighbour is right too: float32 rounding came in between.
        assert within_one_ulp(ours, expected, dtype), (arrays, ours, expected)
    elif spec in (ops.REMAINDER, ops.FMOD, ops.FLOOR_DIVIDE):
        np.testing.assert_array_equal(ours, expected)
    else:
        tiny = np.finfo(dtype.numpy).tiny
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE[dtype], atol=float(tiny))


def within_one_ulp(a, b, dtype):
    def ordered(x):
        bits = x.view(np.int16).astype(np.int32)
        return np.where(bits < 0, -(bits & 0x7FFF), bits)

    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    both_nan = np.isnan(a32) & np.isnan(b32)
    return bool((both_nan | (np.abs(ordered(a) - ordered(b)) <= 1)).all())


COMPUTED = [
    (s, d) for s in ELEMENTWISE for d in dtypes_of(s) if d in BITS16 and s not in (ops.CAST, ops.COPY, ops.WHERE)
]


@pytest.mark.parametrize("spec, dtype", COMPUTED, ids=[f"{s.name}-{d.short}" for s, d in COMPUTED])
def test_sixteen_bit_floats_are_float32_rounded_once(spec, dtype):
    arrays = operands_of(spec, dtype, seed=3)
    wide = KERNELS[spec](*(a.astype(np.float32) for a in arrays))
    ours = KERNELS[spec](*arrays)
    if wide.dtype != np.bool_:
        with np.errstate(all="ignore"):
            wide = wide.astype(dtype.numpy)
        assert within_one_ulp(ours, wide, dtype)
        ours, wide = ours.astype(np.float32), wide.astype(np.float32)
    else:
        np.testing.assert_array_equal(ours, wide)
    differ = ~((ours == wide) | (np.isnan(ours.astype(np.float32)) & np.isnan(wide.astype(np.float32))))
    assert differ.mean() < 0.02, f"{differ.sum()} of {differ.size} differ"


@pytest.mark.parametrize("name", ["shift_left", "shift_right"])
@pytest.mark.parametrize("dtype", dtypes.INTEGER, ids=lambda d: d.short)
def test_shifts_outside_the_width_empty_the_number(name, dtype):
    x = values_of(dtype, 40, 1)
    amounts = np.arange(-3 if dtype.kind == "int" else 0, 80).astype(dtype.numpy)
    ours = KERNELS[OPS[name]](x[:, None], amounts)
    bits = dtype.bits
    for i, value in enumerate(x.tolist()):
        for j, amount in enumerate(amounts.tolist()):
            if not 0 <= amount < bits:
                expected = -1 if name == "shift_right" and value < 0 else 0
            else:
                whole = value << amount if name == "shift_left" else value >> amount
                expected = int(np.array(whole & (2**bits - 1), np.uint64).astype(dtype.numpy))
            assert ours[i, j] == expected, (value, amount)


def test_integer_powers_with_negative_exponents_truncate():
    base = np.array([0, 1, -1, -1, 2, -3, 1], np.int32)
    exponent = np.array([-1, -5, -2, -3, -1, -2, 0], np.int32)
    np.testing.assert_array_equal(KERNELS[ops.POW](base, exponent), [0, 1, 1, -1, 0, 0, 1])
    np.testing.assert_array_equal(KERNELS[ops.POW](base, np.array(-1, np.int32)), [0, 1, -1, -1, 0, 0, 1])


def test_square_by_a_0d_exponent_is_a_product():
    x = np.array([1.1, -3.0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(KERNELS[ops.POW](x, np.array(2, np.float32)), x * x)
    assert KERNELS[ops.POW](x[0:1].reshape(()), np.array(2, np.float32)).shape == ()


@pytest.mark.parametrize("spec", [ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD], ids=lambda s: s.name)
def test_integer_division_by_zero_raises_and_empty_does_not(spec):
    x, y = np.array([1, 2], np.int64), np.array([1, 0], np.int64)
    with pytest.raises(ZeroDivisionError, match=spec.name):
        KERNELS[spec](x, y)
    assert KERNELS[spec](np.empty((0, 2), np.int64), y).shape == (0, 2)
    assert np.isnan(KERNELS[ops.FMOD](x.astype(np.float32), y.astype(np.float32))[1])


def test_smallest_integer_over_minus_one_wraps():
    x, y = np.array([-128], np.int8), np.array([-1], np.int8)
    assert KERNELS[ops.FLOOR_DIVIDE](x, y)[0] == -128
    assert KERNELS[ops.REMAINDER](x, y)[0] == 0
    assert KERNELS[ops.FMOD](x, y)[0] == 0


def test_integers_wrap_and_bools_are_or_and_and():
    assert KERNELS[ops.ADD](np.array([200], np.uint8), np.array([100], np.uint8))[0] == 44
    assert KERNELS[ops.NEG](np.array([1], np.uint8))[0] == 255
    a, b = np.array([True, True, False]), np.array([True, False, False])
    np.testing.assert_array_equal(KERNELS[ops.ADD](a, b), a | b)
    np.testing.assert_array_equal(KERNELS[ops.MUL](a, b), a & b)


@pytest.mark.parametrize("source", dtypes.ALL, ids=lambda d: d.short)
@pytest.mark.parametrize("target", dtypes.ALL, ids=lambda d: d.short)
def test_cast_agrees_with_torch(source, target):
    x = values_of(source, 40, 7)
    if not source.is_integer and source.kind != "bool" and target.is_integer:
        x = x[np.isfinite(x.astype(np.complex128)) & (np.abs(x.astype(np.complex128)) < 100)]
        if target.kind == "uint":
            x = x[x.real >= 0] if source.is_complex else x[x >= 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = KERNELS[ops.CAST](x, dtype=target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = from_torch(to_torch(x).to(getattr(torch, target.name)))
    assert ours.dtype == target.numpy
    assert_same(ours, expected)
    assert not np.shares_memory(ours, x)


def test_cast_of_negative_floats_to_uint8_keeps_low_bits():
    x = np.array([-1.0, 256.0, 300.7, -1.5], np.float32)
    np.testing.assert_array_equal(KERNELS[ops.CAST](x, dtype=dtypes.uint8), [255, 0, 44, 255])


def test_erf_is_accurate():
    erf = np.vectorize(math.erf)
    x = np.concatenate([np.linspace(-7, 7, 20001), np.geomspace(1e-300, 1, 5000)])
    exact = erf(x)
    np.testing.assert_allclose(KERNELS[ops.ERF](x), exact, rtol=2e-15)
    single = x[np.abs(x) > 1e-35].astype(np.float32)
    exact = erf(single.astype(np.float64))
    error = np.abs(KERNELS[ops.ERF](single) - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert error.max() < 0.6
    np.testing.assert_array_equal(KERNELS[ops.ERF](np.array([np.nan, np.inf, -np.inf])), [np.nan, 1, -1])
    assert np.signbit(KERNELS[ops.ERF](np.array(-0.0, np.float32)))


def test_caller_errstate_does_not_reach_kernels():
    with np.errstate(all="raise"):
        assert KERNELS[ops.DIV](np.ones(1), np.zeros(1))[0] == np.inf
        assert np.isnan(KERNELS[ops.LOG](np.array(-1.0)))
        assert KERNELS[ops.SIGMOID](np.array([-1000.0], np.float32))[0] == 0
        with pytest.raises(FloatingPointError):
            np.divide(1.0, 0.0)
