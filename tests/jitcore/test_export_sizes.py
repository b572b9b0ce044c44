"""Exports whose sizes each call may choose: ranges, multiples, and refusals that name the line."""

import numpy as np
import pytest

import jitcore
import jitcore_runtime
from jitcore import Dim, nn
from jitcore.errors import ExportError
from jitcore_runtime.errors import InputError


def exported(function, path, inputs, native=False, **options):
    targets = ["x86-64-v2"] if native else []
    jitcore.export(function, path / "m.jca", inputs, targets=targets, **options)
    return jitcore_runtime.load(path / "m.jca", native=native)


@pytest.mark.parametrize("native", [True, False], ids=["native", "interpreted"])
def test_named_dimensions_of_an_example_may_be_anything(native, tmp_path):
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    example = jitcore.rand(2, 3, 5)
    loaded = exported(model, tmp_path, {"input": example}, native, dynamic={"input": {0: "batch", 1: "length"}})
    for batch, length in ((2, 3), (1, 1), (7, 2), (0, 4)):
        x = jitcore.rand(batch, length, 5)
        np.testing.assert_allclose(loaded(x.numpy()), model(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="dimension 2 is 6, expected 5"):
        loaded(np.zeros((2, 3, 6), np.float32))


@pytest.mark.parametrize("native", [True, False], ids=["native", "interpreted"])
def test_range_and_multiple_are_checked_when_called(native, tmp_path):
    seq = Dim("seq", min=2, max=64, multiple_of=8)
    loaded = exported(
        lambda x: x.reshape(x.shape[0], -1, 8).sum(-1),
        tmp_path,
        {"x": "float32[1,8]"},
        native,
        dynamic={"x": {0: Dim("batch", max=100), 1: seq}},
    )
    for batch, length in ((1, 8), (3, 64), (100, 24)):
        x = np.random.default_rng(0).random((batch, length), np.float32)
        np.testing.assert_allclose(loaded(x), x.reshape(batch, -1, 8).sum(-1), rtol=1e-6)
    with pytest.raises(InputError, match="dimension 1 is 12, expected a multiple of 8"):
        loaded(np.zeros((1, 12), np.float32))
    for shape, words in (
        ((1, 0), "dimension 1 of input 'x' is 0, expected 8 to 64"),
        ((1, 72), "dimension 1 of input 'x' is 72, expected 8 to 64"),
        ((101, 8), "dimension 0 of input 'x' is 101, expected 1 to 100"),
    ):
        with pytest.raises(InputError, match=words):
            loaded(np.zeros(shape, np.float32))


def test_one_name_is_one_size(tmp_path):
    loaded = exported(
        lambda x, y: x @ y,
        tmp_path,
        {"x": jitcore.rand(2, 3), "y": jitcore.rand(3, 4)},
        dynamic={"x": {1: "inner"}, "y": {0: "inner", -1: "columns"}},
    )
    x, y = np.ones((2, 6), np.float32), np.ones((6, 5), np.float32)
    np.testing.assert_array_equal(loaded(x, y), x @ y)
    with pytest.raises(InputError, match="expected inner = 6"):
        loaded(x, np.ones((5, 5), np.float32))


def test_what_an_operation_needs_narrows_the_range(tmp_path):
    loaded = exported(lambda x: x[:, 2:5] + x[:, :1], tmp_path, {"x": "float32[N,L]"})
    x = np.random.default_rng(0).random((2, 5), np.float32)
    np.testing.assert_array_equal(loaded(x), x[:, 2:5] + x[:, :1])
    with pytest.raises(InputError, match="dimension 1 of input 'x' is 4, expected 5 to more"):
        loaded(x[:, :4])


REFUSED = {
    "a number": (lambda x: x * float(x.shape[0]), {0: "n"}, "n was used as the number 7 at"),
    "a loop": (lambda x: sum(x[i] for i in range(x.shape[0])), {0: "n"}, "n was used as the number 7 at"),
    "a branch": (lambda x: x * 2 if x.shape[0] > 4 else x, {0: "n"}, r"Python decided by n > 4 at .*jitcore.Dim\('n'"),
    "a remainder": (lambda x: x * 2 if x.shape[0] % 2 else x, {0: "n"}, r"Python decided by \(n % 2\) != 0 at "),
    "fixed by an operation": (lambda x: x + jitcore.ones(7, 6), {0: "n"}, "n was used as the number 7 at"),
    "two that must be equal": (lambda x: x @ x, {0: "n", 1: "m"}, "the function fails with n = 7, m = 11"),
    "a multiple": (lambda x: x.view(-1, 4), {0: "n"}, "the function fails with n = 7.*multiple_of"),
    "number of pieces": (lambda x: x.split(2)[0], {0: "n"}, "n was used as the number|taken to be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_hold_for_all_sizes_names_the_line(name, tmp_path):
    function, dims, words = REFUSED[name]
    with pytest.raises(ExportError, match=words) as caught:
        jitcore.export(function, tmp_path / "m.jca", {"x": jitcore.rand(7, 6)}, dynamic={"x": dims}, targets=[])
    assert "test_export_sizes.py" in str(caught.value)
    assert not (tmp_path / "m.jca").exists()


def test_a_range_settles_a_branch(tmp_path):
    function = REFUSED["a branch"][0]
    loaded = exported(function, tmp_path, {"x": jitcore.rand(7, 6)}, dynamic={"x": {0: Dim("n", min=5)}})
    x = np.ones((9, 6), np.float32)
    np.testing.assert_array_equal(loaded(x), x * 2)


@pytest.mark.parametrize(
    ("dynamic", "words"),
    [
        ({"y": {0: "n"}}, "dynamic names the input 'y'; the inputs are x"),
        ({"x": {2: "n"}}, "dynamic dimension 2 of input 'x', which has 2 dimensions"),
        ({"x": {0: 3}}, "is a int; give a name or a Dim"),
        ({"x": {0: "two words"}}, "is an identifier"),
        ({"x": {0: "n", 1: Dim("n", min=2)}}, "dimension n is given as n"),
    ],
)
def test_wrong_dynamic_is_refused(dynamic, words, tmp_path):
    with pytest.raises(ExportError, match=words):
        jitcore.export(lambda x: x, tmp_path / "m.jca", {"x": jitcore.rand(7, 6)}, dynamic=dynamic, targets=[])


def test_impossible_dims_are_refused():
    for arguments in ({"min": 3, "max": 2}, {"min": 9, "max": 15, "multiple_of": 8}, {"min": -1}, {"multiple_of": 0}):
        with pytest.raises(ValueError, match="n"):
            Dim("n", **arguments)


def test_squeeze_of_all_sizes_is_refused_where_one_may_be_1(tmp_path):
    example = {"x": jitcore.rand(7, 1, 6)}
    with pytest.raises(ExportError, match="n != 1"):
        jitcore.export(lambda x: x.squeeze(), tmp_path / "m.jca", example, dynamic={"x": {0: "n"}}, targets=[])
    loaded = exported(lambda x: x.squeeze(), tmp_path, example, dynamic={"x": {0: Dim("n", min=2)}})
    assert loaded(np.ones((3, 1, 6), np.float32)).shape == (3, 6)


@pytest.mark.parametrize("native", [True, False], ids=["native", "interpreted"])
def test_a_weight_may_be_a_single_number(native, tmp_path):
    model = nn.Linear(3, 2)
    model.scale = nn.Parameter(jitcore.tensor(2.0))
    model.forward = lambda x: nn.functional.linear(x, model.weight, model.bias) * model.scale
    loaded, x = exported(model, tmp_path, {"x": "float32[N,3]"}, native), jitcore.rand(4, 3)
    np.testing.assert_allclose(loaded(x.numpy()), model(x).detach().numpy(), rtol=1e-5)
