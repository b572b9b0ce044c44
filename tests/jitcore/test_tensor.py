"""What a Tensor is to Python: construction, conversion, printing, copying, attributes, errors."""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import jitcore

LIBRARIES = pytest.mark.parametrize("lib", [jitcore, torch], ids=["jitcore", "torch"])


def test_importing_pulls_in_nothing_heavy():
    code = (
        "import sys, jitcore; heavy = ['numba', 'scipy', 'matplotlib', 'torch', 'llvmlite', 'safetensors'];"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@LIBRARIES
def test_attributes(lib):
    x = lib.zeros(2, 3, dtype=lib.float64)
    assert x.shape == (2, 3) and x.shape.numel() == 6 and x.size() == (2, 3) and x.size(-1) == 3
    assert (x.ndim, x.dim(), x.numel(), x.nelement(), len(x)) == (2, 2, 6, 6, 2)
    assert x.dtype is lib.float64 and x.dtype.is_floating_point and x.dtype.itemsize == 8
    assert str(x.device) == "cpu" and x.device == lib.device("cpu") and not x.is_cuda
    assert x.stride() == (3, 1) and x.stride(0) == 3 and x.is_contiguous() and not x.T.is_contiguous()
    assert x.element_size() == 8 and x.nbytes == 48 and x.itemsize == 8
    assert lib.is_tensor(x) and not lib.is_tensor(1) and isinstance(x, lib.Tensor)
    assert x.is_floating_point() and not x.is_complex()
    a, b = x.shape
    assert (a, b) == (2, 3) and x.shape[1:] == (3,) and x.shape + lib.zeros(4).shape == (2, 3, 4)


@LIBRARIES
def test_memory_is_shared_with_numpy(lib):
    array = np.arange(3.0)
    x = lib.from_numpy(array)
    array[0] = 5
    assert x[0].item() == 5
    x.numpy()[1] = 7
    assert array.tolist() == [5, 7, 2]
    y = lib.tensor(array)
    array[0] = 9
    assert y[0].item() == 5
    assert lib.as_tensor(x) is x
    z = lib.as_tensor(array)
    array[2] = -1
    assert z[2].item() == -1
    assert np.asarray(x) is not None and np.sum(x.numpy()) == x.sum().item()


def test_storages_know_when_foreign_code_can_write():
    x = jitcore.ones(3)
    assert not x._storage.shared
    x.view(3, 1).numpy()
    assert x._storage.shared
    assert jitcore.from_numpy(np.ones(2))._storage.shared
    y = jitcore.ones(2)
    np.asarray(y)
    assert y._storage.shared
    assert jitcore.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]
    assert np.from_dlpack(jitcore.arange(3)).tolist() == [0, 1, 2]
    assert torch.from_dlpack(jitcore.arange(3)).tolist() == [0, 1, 2]


def test_addresses_are_those_of_the_memory():
    x = jitcore.ones(4, 4)
    assert x._storage.address == x._storage.array.ctypes.data == x.data_ptr()
    assert x[1].data_ptr() == x.data_ptr() + 16


@LIBRARIES
def test_python_values(lib):
    assert lib.tensor(3).item() == 3 and type(lib.tensor(3).item()) is int
    assert lib.tensor([2.5]).item() == 2.5 and lib.tensor(True).item() is True
    assert lib.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]] and lib.tensor(1.5).tolist() == 1.5
    assert int(lib.tensor(2.7)) == 2 and float(lib.tensor(2)) == 2.0 and bool(lib.tensor([0.0])) is False
    assert (
        [10, 20, 30][lib.tensor(1)] == 20
        and [10, 20, 30][lib.tensor([[2]])] == 30
        and list(range(5))[lib.tensor(1) : lib.tensor(3)] == [1, 2]
    )
    assert [x.item() for x in lib.arange(3)] == [0, 1, 2]
    assert f"{lib.tensor(1.23456):.2f}" == "1.23"
    assert math.sqrt(lib.tensor(4.0)) == 2.0
    assert 2 in lib.tensor([1, 2]) and 3 not in lib.tensor([1, 2])
    for bad, kind, words in (
        (lambda: bool(lib.ones(2)), RuntimeError, "ambiguous"),
        (lambda: lib.ones(2).item(), RuntimeError, "cannot be converted to Scalar"),
        (lambda: int(lib.ones(2)), ValueError, "only one element tensors"),
        (lambda: float(lib.ones(0)), ValueError, "only one element tensors"),
        (lambda: complex(lib.ones(2)), ValueError, "only one element tensors"),
        (lambda: range(lib.tensor([1, 2])), TypeError, "single element"),
        (lambda: len(lib.tensor(1)), TypeError, "0-d"),
        (lambda: list(lib.tensor(1)), TypeError, "0-d"),
        (lambda: range(lib.tensor(1.5)), TypeError, "integer"),
    ):
        with pytest.raises(kind, match=words):
            bad()


def test_tensors_hash_by_identity_and_compare_by_value():
    x, y = jitcore.ones(2), jitcore.ones(2)
    assert len({x, y, x}) == 2 and (x == y).all()


ERRORS = {
    "shapes": (
        lambda j: j.ones(3) + j.ones(4),
        RuntimeError,
        "add: shapes .3. and .4. do not broadcast.*test_tensor.py",
    ),
    "matmul": (lambda j: j.ones(2, 3) @ j.ones(4, 5), RuntimeError, "cannot be multiplied"),
    "matmul dtypes": (lambda j: j.ones(2, 2) @ j.ones(2, 2).double(), RuntimeError, "same dtype"),
    "reshape": (lambda j: j.ones(6).reshape(4, -1), RuntimeError, r"shape '\[4, -1\]' is invalid for input of size 6"),
    "reshape sizes": (lambda j: j.ones(6).reshape(4, 2), RuntimeError, "holds 6 elements"),
    "reshape twice": (lambda j: j.ones(6).reshape(-1, -1), RuntimeError, "only one dimension can be inferred"),
    "dim": (
        lambda j: j.ones(2).sum(1),
        IndexError,
        r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)",
    ),
    "dim twice": (lambda j: j.ones(2, 2).sum((0, 0)), RuntimeError, "appears multiple times"),
    "permute": (lambda j: j.ones(2, 2).permute(0, 0), RuntimeError, "duplicate dims"),
    "expand": (lambda j: j.ones(2).expand(3), RuntimeError, "do not broadcast|does not stretch"),
    "cat": (
        lambda j: j.cat([j.ones(2, 2), j.ones(2, 3)]),
        RuntimeError,
        "Sizes of tensors must match except in dimension 0",
    ),
    "cat nothing": (lambda j: j.cat([]), RuntimeError, "non-empty list"),
    "cat of lists": (lambda j: j.cat([[1]]), TypeError, "expected Tensor as element 0"),
    "stack": (lambda j: j.stack([j.ones(2), j.ones(3)]), RuntimeError, "equal size"),
    "gather": (
        lambda j: j.ones(2).gather(0, j.tensor([2])),
        IndexError,
        "position 2 is out of range for axis 0 of size 2",
    ),
    "gather dtype": (lambda j: j.ones(2).gather(0, j.ones(1)), RuntimeError, "dtype int32/int64 for index"),
    "device": (lambda j: j.ones(2).to("cuda"), RuntimeError, "'cuda' is not available"),
    "device of zeros": (lambda j: j.zeros(2, device="cuda:0"), RuntimeError, "not available"),
    "device name": (lambda j: j.device("cpu:x"), RuntimeError, "invalid device string"),
    "ragged": (lambda j: j.tensor([[1, 2], [3]]), ValueError, "equal lengths"),
    "strings": (lambda j: j.tensor(["a"]), TypeError, "str"),
    "objects": (lambda j: j.tensor(object()), RuntimeError, "Could not infer dtype of object"),
    "none": (lambda j: j.tensor([None]), RuntimeError, "Could not infer dtype of NoneType"),
    "large integers": (lambda j: j.tensor(2**63), ValueError, "does not fit in int64"),
    "larger integers": (lambda j: j.tensor([1, 2**64]), ValueError, "does not fit in int64"),
    "negative size": (lambda j: j.zeros(-1), RuntimeError, "negative dimension"),
    "float size": (lambda j: j.zeros(1.5), TypeError, "integers"),
    "max of nothing": (lambda j: j.zeros(0).max(), RuntimeError, "numel"),
    "amax of nothing": (lambda j: j.zeros(0, 2).amax(0), IndexError, "non-zero size"),
    "division by zero": (lambda j: j.tensor([1]) // 0, ZeroDivisionError, "divided by zero"),
    "negative power": (lambda j: j.tensor([2]) ** -1, RuntimeError, "negative integer powers"),
    "where": (lambda j: j.where(j.ones(2), 1.0, 2.0), RuntimeError, "boolean tensor"),
    "masked_fill": (lambda j: j.ones(2).masked_fill(j.ones(2), 1.0), RuntimeError, "boolean masks"),
    "operand": (lambda j: j.ones(2) + "a", TypeError, "unsupported operand"),
    "function operand": (lambda j: j.add(j.ones(2), "a"), TypeError, "expected a Tensor or a number"),
    "in-place broadcast": (lambda j: j.ones(3).add_(j.ones(2, 3)), RuntimeError, "doesn't match the broadcast shape"),
    "split sizes": (lambda j: j.ones(5).split([2, 2]), RuntimeError, "sum exactly to 5"),
    "narrow": (lambda j: j.ones(5).narrow(0, 3, 3), RuntimeError, "exceeds dimension size"),
    "einsum": (lambda j: j.einsum("ij,jk->ik", j.ones(2, 3), j.ones(4, 5)), RuntimeError, "einsum"),
    "einsum labels": (lambda j: j.einsum("ij->ik", j.ones(2, 3)), RuntimeError, "does not appear"),
    "topk": (lambda j: j.ones(2).topk(3), RuntimeError, "out of range"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    call, kind, words = ERRORS[name]
    with pytest.raises(kind, match=words):
        call(jitcore)


def test_copies_are_apart():
    x = jitcore.ones(3, requires_grad=True)
    x.tag = "kept"
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.is_leaf and y.grad.tolist() == [2, 2, 2] and y.tag == "kept"
    with jitcore.no_grad():
        y.zero_()
    assert x.tolist() == [1, 1, 1]
    memo = copy.deepcopy([x, x])
    assert memo[0] is memo[1]
    with pytest.raises(RuntimeError, match="Only leaf tensors"):
        copy.deepcopy(x * 2)
    z = copy.copy(x)
    assert z._storage is x._storage and z is not x


def test_conversions():
    x = jitcore.ones(2)
    assert x.to(jitcore.float32) is x and x.float() is x and x.cpu() is x and x.to("cpu") is x
    assert x.to(jitcore.float64).dtype is jitcore.float64
    assert x.to("cpu", jitcore.int64).dtype is jitcore.int64 and x.to(x.double()).dtype is jitcore.float64
    assert x.to(jitcore.float32, copy=True) is not x
    assert x.type() == "jitcore.FloatTensor" and x.type(jitcore.float64).dtype is jitcore.float64
    assert x.long().type_as(x).dtype is jitcore.float32
    with pytest.raises(TypeError, match="invalid argument"):
        x.to(3.5)


def test_numpy_numbers_are_weak_on_either_side():
    x = jitcore.ones(2)
    for product in (x * np.float64(2), np.float64(2) * x, x * np.int64(2), np.float32(2) * x):
        assert isinstance(product, jitcore.Tensor) and product.dtype is jitcore.float32 and product.tolist() == [2, 2]


def test_bfloat16_is_computed_in_float32_and_rounded_once():
    x, y = jitcore.tensor([1.0, 3.0]).bfloat16(), torch.tensor([1.0, 3.0]).bfloat16()
    for f in (lambda t: t / 3, lambda t: t.exp(), lambda t: t.sum(), lambda t: t @ t):
        assert f(x).float().tolist() == f(y).float().tolist()
    assert x.tolist() == [1.0, 3.0] and x[1].item() == 3.0


def test_functions_are_not_hidden_by_submodules():
    for name in jitcore.ops.__all__:
        assert callable(getattr(jitcore, name)) or name == "convert", name


@LIBRARIES
def test_formatting_of_single_values(lib):
    assert f"{lib.tensor(1.5)}" == "1.5" and f"{lib.tensor(3):>4}" == "   3"
    with pytest.raises(TypeError):
        f"{lib.ones(2):.2f}"


def test_unknown_options_are_errors():
    for call in (
        lambda: jitcore.zeros(2, dtypes=jitcore.int64),
        lambda: jitcore.arange(3, steps=2),
        lambda: jitcore.rand(2, generators=None),
        lambda: jitcore.ones(2).to("cpu", non_blockin=True),
        lambda: jitcore.zeros(2, outs=jitcore.ones(2)),
    ):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            call()
    filled = jitcore.ones(2)
    assert jitcore.zeros(2, out=filled) is filled and filled.tolist() == [0, 0]
    assert jitcore.zeros(2, layout=jitcore.strided, pin_memory=True).tolist() == [0, 0]
    assert jitcore.ones(2).to("cpu", non_blocking=True, memory_format=jitcore.contiguous_format).tolist() == [1, 1]


@settings(max_examples=50, deadline=None)
@given(st.integers(-20, 20), st.floats(0.01, 3), st.integers(0, 30))
def test_ranges_of_floats_are_rounded_once(start, step, count):
    end = start + step * count
    ours, theirs = jitcore.arange(start, end, step), torch.arange(start, end, step)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-5)
    assert ours.tolist() == [float(np.float32(start + step * k)) for k in range(len(ours))]
