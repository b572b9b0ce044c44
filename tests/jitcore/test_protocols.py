"""Tensors among NumPy arrays and other libraries' tensors: NumPy's protocols, DLPack, buffers."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch

import jitcore

OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lt", "le", "gt", "ge", "eq", "ne")
INTEGER_OPERATORS = ("and_", "or_", "xor", "lshift", "rshift")


def same(tensor, array):
    assert type(tensor) is jitcore.Tensor
    assert tensor.numpy().dtype == array.dtype and tensor.shape == array.shape
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_operators_of_an_array_and_a_tensor_are_numpys(name, dtype):
    function = getattr(operator, name)
    left, right = np.array([1, 4, 3], dtype), np.array([2.0, 2.0, 3.0], np.float32)
    tensor = jitcore.tensor(right)
    same(function(left, tensor), np.asarray(function(left, right)))
    same(function(tensor, left), np.asarray(function(right, left)))
    with pytest.raises(RuntimeError, match="requires grad"):
        function(left, tensor.clone().requires_grad_())
    with pytest.raises(RuntimeError, match="requires grad"):
        function(tensor.clone().requires_grad_(), left)


@pytest.mark.parametrize("name", INTEGER_OPERATORS)
def test_integer_operators_of_an_array_and_a_tensor_are_numpys(name):
    function = getattr(operator, name)
    left, right = np.array([1, 4, 3]), np.array([2, 1, 3])
    same(function(left, jitcore.tensor(right)), function(left, right))
    same(function(jitcore.tensor(right), left), function(right, left))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
def test_in_place_operators_with_an_array_make_a_new_tensor_as_in_pytorch(name):
    function = getattr(operator, f"i{name}")
    array = np.array([1.0, 2.0])
    ours, theirs = jitcore.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0])
    before = ours
    ours, theirs = function(ours, array), function(theirs, array)
    assert before.tolist() == [3.0, 4.0] and ours is not before
    same(ours, theirs.numpy())


def test_numpys_functions_give_tensors_without_history():
    x = jitcore.tensor([1.0, 4.0, 9.0])
    same(np.sqrt(x), np.array([1, 2, 3], np.float32))
    same(np.add(x, np.ones(3)), np.array([2.0, 5.0, 10.0]))
    same(np.greater(x, 2), np.array([False, True, True]))
    same(np.exp(jitcore.tensor(0.0)), np.array(1, np.float32))
    same(np.add.reduce(x), np.array(14, np.float32))
    fraction, whole = np.modf(x)
    same(whole, np.array([1, 4, 9], np.float32))
    same(fraction, np.zeros(3, np.float32))
    out = np.empty(3)
    assert np.add(x, 1, out=out) is out and out.tolist() == [2, 5, 10]
    assert not np.sqrt(x).requires_grad


@pytest.mark.parametrize("lib", [jitcore, torch])
def test_numpys_functions_refuse_what_would_lose_gradients(lib):
    x = lib.tensor([1.0, 4.0], requires_grad=True)
    for function in (
        np.sin, np.asarray, np.array, lambda t: np.add(t, 1), lambda t: np.add(1, t * 2), lambda t: np.stack([t, t]),
        lambda t: t + np.ones(2),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="requires grad"):
            function(x)
    with pytest.raises(TypeError):
        np.add(np.ones(2), 1, out=x.detach())


def test_numpys_scalars_are_numbers_that_keep_gradients():
    x = jitcore.tensor([1.0, 2.0], requires_grad=True)
    for scalar in (np.float64(2), np.float32(2), np.int64(2)):
        (gradient,) = jitcore.autograd.grad((scalar * x).sum(), x)
        assert gradient.tolist() == [2, 2]
        (gradient,) = jitcore.autograd.grad((x / scalar).sum(), x)
        assert gradient.tolist() == [0.5, 0.5]


def test_array_shares_memory_unless_copied_or_cast():
    x = jitcore.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.numpy()) and x._storage.shared
    assert np.shares_memory(np.asarray(x, dtype=np.float32, copy=False), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)
    assert np.array([x, x]).tolist() == [[1, 2], [1, 2]]


def test_what_numpy_computes_is_recomputed_in_every_call_of_a_jit_function():
    @jitcore.jit
    def f(x):
        return np.sqrt(x) + np.ones(2, np.float32)

    for value in (4.0, 9.0, 16.0):
        assert f(jitcore.tensor([value, 1.0])).tolist() == [value**0.5 + 1, 2]


def test_other_operands_still_get_their_own_turn():
    class Other:
        def __radd__(self, left):
            return "radd"

        def __rmatmul__(self, left):
            return "rmatmul"

    x = jitcore.ones(2)
    assert x + Other() == "radd" and x @ Other() == "rmatmul"
    x += Other()
    assert x == "radd"
    assert (jitcore.ones(2) == "text") is False
    with pytest.raises(TypeError):
        jitcore.ones(2) + "text"


# DLPack


class Spy:
    """An owner that speaks DLPack as old libraries do."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.device


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_shares_memory_with_numpy_and_pytorch_both_ways(dtype):
    ours = jitcore.ones((2, 3), dtype=getattr(jitcore, dtype)).T
    for taken in (np.from_dlpack(ours), torch.from_dlpack(ours)):
        ours[0, 1] = 0
        assert taken.shape == (3, 2) and taken[0, 1] == 0
        taken[0, 1] = 1
        assert ours[0, 1].item() == 1
    for theirs in (np.zeros((2, 3), dtype).T, torch.zeros((2, 3), dtype=getattr(torch, dtype)).T):
        for owner in (theirs, theirs.__dlpack__(), Spy(theirs)):
            taken = jitcore.from_dlpack(owner)
            assert taken._storage.shared and taken.dtype is getattr(jitcore, dtype) and taken.shape == (3, 2)
            theirs[1, 0] = 1
            assert taken[1, 0].item() == 1
            taken[1, 0] = 0
            assert theirs[1, 0] == 0


def test_dlpack_of_scalars_empty_and_reversed_memory():
    assert jitcore.from_dlpack(np.array(3)).item() == 3
    assert torch.from_dlpack(jitcore.tensor(3)).item() == 3
    assert jitcore.from_dlpack(np.zeros((0, 2))).shape == (0, 2)
    assert jitcore.from_dlpack(np.arange(3)[::-1]).tolist() == [2, 1, 0]


def test_dlpack_marks_exported_memory_as_shared():
    x = jitcore.ones(2)
    assert not x._storage.shared
    x.__dlpack__()
    assert x._storage.shared


def test_dlpack_keeps_the_owner_alive():
    taken = jitcore.from_dlpack(np.arange(100_000).__dlpack__())
    np.zeros(100_000)
    assert taken[99_999].item() == 99_999


def test_dlpack_copies_on_demand():
    array = np.arange(3.0)
    for owner in (array, Spy(array)):
        copied = jitcore.from_dlpack(owner, copy=True)
        array[0] = 5
        assert copied[0].item() == 0 and not copied._storage.shared
        array[0] = 0
    x = jitcore.ones(2)
    copied, aliased = jitcore.from_dlpack(x, copy=True), jitcore.from_dlpack(x)
    x.add_(1)
    assert copied.tolist() == [1, 1] and aliased.tolist() == [2, 2]
    assert jitcore.from_dlpack(array, copy=False, device="cpu").tolist() == [0, 1, 2]


def test_dlpack_keeps_memory_read_only_that_is_marked_so():
    array = np.arange(3.0)
    array.flags.writeable = False
    taken = jitcore.from_dlpack(array)
    with pytest.raises(RuntimeError, match="read-only"):
        taken.add_(1)


@pytest.mark.parametrize("lib", [jitcore, torch])
def test_dlpack_refuses_as_pytorch_does(lib):
    x = lib.tensor([1.0, 2.0])
    with_grad = lib.tensor([1.0], requires_grad=True)
    for call, error in (
        (lambda: with_grad.__dlpack__(), BufferError),
        (lambda: lib.from_dlpack(with_grad), BufferError),
        (lambda: np.from_dlpack(with_grad * 2), BufferError),
        (lambda: x.__dlpack__(stream=1), AssertionError),
        (lambda: x.__dlpack__(stream="a"), TypeError),
        (lambda: x.__dlpack__(1), TypeError),
        (lambda: lib.from_dlpack([1]), RuntimeError),
        (lambda: lib.from_dlpack(x.__dlpack__(), copy=True), AssertionError),
        (lambda: lib.from_dlpack(np.array(["a"])), BufferError),
    ):
        with pytest.raises(error):
            call()
    capsule = lib.utils.dlpack.to_dlpack(x)
    assert lib.utils.dlpack.from_dlpack(capsule).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="capsule"):
        lib.from_dlpack(capsule)
    assert tuple(int(n) for n in x.__dlpack_device__()) == (1, 0)


def test_dlpack_refuses_other_devices_and_dtypes():
    with pytest.raises(BufferError):
        jitcore.from_dlpack(Spy(np.ones(2), device=(2, 0)))
    with pytest.raises(BufferError):
        jitcore.ones(2).__dlpack__(dl_device=(2, 0))
    with pytest.raises(TypeError, match="uint16"):
        jitcore.from_dlpack(np.ones(2, np.uint16))
    with pytest.raises(BufferError):
        jitcore.ones(2, dtype=jitcore.bfloat16).__dlpack__()
    assert jitcore.from_dlpack(jitcore.ones(2, dtype=jitcore.bfloat16)).tolist() == [1, 1]


def test_memory_taken_by_dlpack_is_read_anew_in_every_call_of_a_jit_function():
    array = np.ones(4, np.float32)
    x = jitcore.from_dlpack(array)
    f = jitcore.jit(lambda t: t * 2 + x)
    for value in (1.0, 5.0, 7.0):
        array[:] = value
        assert f(jitcore.ones(4)).tolist() == [2 + value] * 4


# Buffers and asarray


def outcome(call):
    """What a call gives: dtype, values and flags, or the class of its error."""
    try:
        made = call()
    except Exception as error:
        return type(error)
    return str(made.dtype).split(".")[-1], made.tolist(), made.requires_grad, made.is_leaf


BUFFERS = [
    (b"abcdefgh", "int32", {}),
    (b"abcdefgh", "int32", {"count": 1}),
    (b"abcdefgh", "int32", {"count": 3}),
    (b"abcdefgh", "int32", {"count": 0}),
    (b"abcdefgh", "int32", {"count": -2}),
    (b"abcdefgh", "int32", {"offset": 4}),
    (b"abcdefgh", "int16", {"offset": 3}),
    (b"abcdefgh", "int16", {"offset": 8}),
    (b"abcdefgh", "int16", {"offset": -1}),
    (b"abcdefgh", "int16", {"offset": 4, "count": 2}),
    (b"abcdefgh", "int16", {"offset": 4, "count": 3}),
    (b"abcdefghi", "int16", {"offset": 1, "count": 2}),
    (b"abcdefg", "int32", {}),
    (b"", "uint8", {}),
    (b"\0\1", "bool", {}),
    (b"abcdefgh", "bfloat16", {}),
    (b"abcdefgh", "float32", {"requires_grad": True}),
    (b"abcdefgh", "complex64", {}),
    (b"abcdefgh", "int32", {"requires_grad": True}),
]


@pytest.mark.parametrize(("data", "dtype", "options"), BUFFERS)
def test_frombuffer_against_torch(data, dtype, options):
    ours = outcome(lambda: jitcore.frombuffer(bytearray(data), dtype=getattr(jitcore, dtype), **options))
    assert ours == outcome(lambda: torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype), **options))


def test_frombuffer_shares_memory():
    data = bytearray(8)
    x = jitcore.frombuffer(data, dtype=jitcore.int32, offset=4)
    assert x._storage.shared
    data[4] = 7
    assert x.tolist() == [7]
    x.fill_(1)
    assert data == bytearray([0, 0, 0, 0, 1, 0, 0, 0])
    with pytest.raises(RuntimeError, match="read-only"):
        jitcore.frombuffer(b"abcd", dtype=jitcore.uint8).fill_(0)
    for wrong in ([1], 3, "text", None):
        with pytest.raises(ValueError, match="buffer protocol"):
            jitcore.frombuffer(wrong, dtype=jitcore.uint8)
    with pytest.raises(TypeError):
        jitcore.frombuffer(data)


ASARRAY = {
    "array": lambda lib: lib.asarray(np.arange(3.0)),
    "array cast": lambda lib: lib.asarray(np.arange(3.0), dtype=lib.float32),
    "array cast without copy": lambda lib: lib.asarray(np.arange(3.0), dtype=lib.float32, copy=False),
    "sequence": lambda lib: lib.asarray([1, 2]),
    "sequence cast": lambda lib: lib.asarray([1, 2], dtype=lib.float64),
    "sequence without copy": lambda lib: lib.asarray([1, 2], copy=False),
    "sequence with grad": lambda lib: lib.asarray([1.0], requires_grad=True),
    "integers with grad": lambda lib: lib.asarray([1], requires_grad=True),
    "number": lambda lib: lib.asarray(3.0),
    "numpy number": lambda lib: lib.asarray(np.float64(3)),
    "tensor cast": lambda lib: lib.asarray(lib.ones(2), dtype=lib.float64),
    "tensor cast without copy": lambda lib: lib.asarray(lib.ones(2), dtype=lib.float64, copy=False),
    "tensor cast with grad": lambda lib: lib.asarray(lib.ones(2), dtype=lib.float64, requires_grad=True),
    "leaf": lambda lib: lib.asarray(lib.ones(2, requires_grad=True)),
    "leaf detached": lambda lib: lib.asarray(lib.ones(2, requires_grad=True), requires_grad=False),
    "leaf copied": lambda lib: lib.asarray(lib.ones(2, requires_grad=True), copy=True, requires_grad=True),
    "history": lambda lib: lib.asarray(lib.ones(2, requires_grad=True) * 2, requires_grad=True),
    "dlpack": lambda lib: lib.asarray(Spy(np.arange(2.0))),
    "capsule": lambda lib: lib.asarray(np.arange(2.0).__dlpack__()),
    "bytes": lambda lib: lib.asarray(bytearray(b"abcdefgh")),
    "bytes as integers": lambda lib: lib.asarray(bytearray(b"abcdefgh"), dtype=lib.int32, copy=True),
    "bytes that do not divide": lambda lib: lib.asarray(bytearray(b"abc"), dtype=lib.int32),
    "no bytes": lambda lib: lib.asarray(bytearray()),
    "text": lambda lib: lib.asarray("abc"),
    "none": lambda lib: lib.asarray(None),
    "dtype by place": lambda lib: lib.asarray([1], lib.float32),
}


@pytest.mark.parametrize("name", ASARRAY)
def test_asarray_against_torch(name):
    call = ASARRAY[name]
    assert outcome(lambda: call(jitcore)) == outcome(lambda: call(torch))


def test_asarray_shares_memory_unless_told_otherwise():
    array, buffer, x = np.ones(2, np.float32), bytearray(8), jitcore.ones(2)
    assert jitcore.asarray(x) is x and jitcore.asarray(x, copy=False) is x
    for owner in (array, buffer, Spy(array)):
        shared, copied = jitcore.asarray(owner), jitcore.asarray(owner, copy=True)
        memory = np.frombuffer(buffer, np.float32) if owner is buffer else array
        assert np.shares_memory(shared.numpy(), memory) and not np.shares_memory(copied.numpy(), memory)
    assert not np.shares_memory(jitcore.asarray(x, copy=True).numpy(), x.numpy())
