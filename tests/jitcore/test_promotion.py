"""Type promotion, against PyTorch for every pair of dtypes and every class of operand."""

import itertools

import pytest
import torch
from torch_compare import assert_same, dtype_name

import jitcore

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
NUMBERS = [True, 3, 2.5]


def make(lib, name, shape):
    return lib.ones(shape, dtype=getattr(lib, name))


@pytest.mark.parametrize("a, b", list(itertools.product(DTYPES, DTYPES)))
def test_result_type_of_two_tensors(a, b):
    for sa, sb in itertools.product([(2,), ()], [(2,), ()]):
        ours = jitcore.result_type(make(jitcore, a, sa), make(jitcore, b, sb))
        theirs = torch.result_type(make(torch, a, sa), make(torch, b, sb))
        assert ours.name == str(theirs).removeprefix("torch.")
        assert dtype_name(make(jitcore, a, sa) * make(jitcore, b, sb)) == dtype_name(
            make(torch, a, sa) * make(torch, b, sb)
        )


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("number", NUMBERS)
def test_python_numbers_are_weak(name, number):
    for shape in ((2,), ()):
        ours, theirs = make(jitcore, name, shape), make(torch, name, shape)
        assert_same(ours * number, theirs * number)
        assert_same(number + ours, number + theirs)
        assert_same(ours / number, theirs / number)
        assert_same(ours > number, theirs > number)


@pytest.mark.parametrize("name", DTYPES)
def test_division_and_mean_of_integers(name):
    x, y = make(jitcore, name, (3,)), make(torch, name, (3,))
    assert_same(x / x, y / y)
    assert_same(x.sum(), y.sum())
    assert_same(x.prod(0), y.prod(0))
    assert_same(x.cumsum(0), y.cumsum(0))
    if "float" in name:
        assert_same(x.mean(), y.mean())
    else:
        with pytest.raises(RuntimeError, match="could not infer output dtype"):
            x.mean()


def test_integers_wrap_as_in_c():
    assert_same(jitcore.tensor([250], dtype=jitcore.uint8) + 300, torch.tensor([250], dtype=torch.uint8) + 300)
    assert_same(jitcore.tensor([-1]).to(jitcore.uint8), torch.tensor([-1]).to(torch.uint8))


@pytest.mark.parametrize("target, value", [("int64", 1.5), ("bool", 2), ("int32", 2.0), ("uint8", 0.5)])
def test_in_place_refuses_a_result_of_a_higher_kind(target, value):
    with pytest.raises(RuntimeError, match="can't be cast"):
        make(torch, target, (2,)).add_(value)
    with pytest.raises(RuntimeError, match="can't be cast"):
        make(jitcore, target, (2,)).add_(value)


def test_in_place_keeps_its_dtype():
    x, y = make(jitcore, "float32", (2,)), make(torch, "float32", (2,))
    assert_same(x.mul_(make(jitcore, "float64", (2,))), y.mul_(make(torch, "float64", (2,))))
    x, y = make(jitcore, "int32", (2,)), make(torch, "int32", (2,))
    assert_same(x.add_(make(jitcore, "int64", (2,))), y.add_(make(torch, "int64", (2,))))


def test_default_dtype_decides_what_floats_become():
    jitcore.set_default_dtype(jitcore.float64)
    try:
        assert jitcore.tensor(1.5).dtype is jitcore.float64
        assert jitcore.zeros(2).dtype is jitcore.float64
        assert (jitcore.tensor([1, 2]) / 2).dtype is jitcore.float64
    finally:
        jitcore.set_default_dtype(jitcore.float32)
    with pytest.raises(TypeError, match="floating dtype"):
        jitcore.set_default_dtype(jitcore.int64)


def test_can_cast_and_promote_types():
    for a, b in itertools.product(DTYPES, DTYPES):
        assert jitcore.can_cast(getattr(jitcore, a), getattr(jitcore, b)) == torch.can_cast(
            getattr(torch, a), getattr(torch, b)
        )
        ours = jitcore.promote_types(getattr(jitcore, a), getattr(jitcore, b)).name
        assert ours == str(torch.promote_types(getattr(torch, a), getattr(torch, b))).removeprefix("torch.")


@pytest.mark.parametrize("name", [d for d in DTYPES if "float" in d])
def test_limits_of_floats(name):
    ours, theirs = jitcore.finfo(getattr(jitcore, name)), torch.finfo(getattr(torch, name))
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
        assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-12), field


@pytest.mark.parametrize("name", [d for d in DTYPES if "int" in d])
def test_limits_of_integers(name):
    ours, theirs = jitcore.iinfo(getattr(jitcore, name)), torch.iinfo(getattr(torch, name))
    assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)


def test_operators_of_bool_and_bits():
    a, b = [True, False, True], [True, True, False]
    for lib in (jitcore, torch):
        x, y = lib.tensor(a), lib.tensor(b)
        assert (x & y).tolist() == [True, False, False]
        assert (x | y).tolist() == [True, True, True]
        assert (x ^ y).tolist() == [False, True, True]
        assert (~x).tolist() == [False, True, False]
        assert (x + y).tolist() == [True, True, True]
        with pytest.raises(RuntimeError, match="Subtraction"):
            lib.sub(x, y)
        with pytest.raises(RuntimeError, match="Negation"):
            lib.neg(x)
        i = lib.tensor([5, -3, 0])
        assert (i & 6).tolist() == [4, 4, 0]
        assert (~i).tolist() == [-6, 2, -1]
        assert (i << 2).tolist() == [20, -12, 0]
        assert (i >> 1).tolist() == [2, -2, 0]
        with pytest.raises(RuntimeError):
            lib.bitwise_and(lib.tensor([1.5]), 1)


OVERFLOWING = {
    "tensor": lambda lib: lib.tensor(300, dtype=lib.uint8),
    "tensor of a list": lambda lib: lib.tensor([1, 300], dtype=lib.uint8),
    "tensor of NaN": lambda lib: lib.tensor(float("nan"), dtype=lib.int32),
    "full": lambda lib: lib.full((1,), 300, dtype=lib.uint8),
    "fill_": lambda lib: lib.zeros(1, dtype=lib.int32).fill_(10**10),
    "fill_ with NaN": lambda lib: lib.zeros(1, dtype=lib.int32).fill_(float("nan")),
    "setitem": lambda lib: lib.zeros(1, dtype=lib.int8).__setitem__(0, -129),
    "masked_fill": lambda lib: lib.zeros(1, dtype=lib.uint8).masked_fill(lib.tensor([True]), 300),
    "clamp": lambda lib: lib.zeros(1, dtype=lib.uint8).clamp(max=300),
}


@pytest.mark.parametrize("name", OVERFLOWING)
def test_numbers_that_do_not_fit_are_errors(name):
    for lib in (jitcore, torch):
        with pytest.raises(RuntimeError, match=r"cannot be converted to type .* without overflow"):
            OVERFLOWING[name](lib)


def test_numbers_that_wrap_in_c_wrap():
    for lib in (jitcore, torch):
        assert lib.tensor(-1, dtype=lib.uint8).item() == 255
        assert lib.zeros(1, dtype=lib.uint8).fill_(-1).tolist() == [255]
        assert (lib.zeros(1, dtype=lib.uint8) + 300).tolist() == [44]
        assert lib.tensor(1.7, dtype=lib.int32).item() == 1
        assert lib.tensor(1e5, dtype=lib.float16).item() == float("inf")
