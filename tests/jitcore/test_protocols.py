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
