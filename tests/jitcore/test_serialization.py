"""save and load: what goes in comes out, files stay whole, nothing is pickled."""

import contextlib
import os
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

import jitcore
from jitcore import SerializationError

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def test_a_state_dict_is_a_plain_safetensors_file(tmp_path):
    state = {"a.weight": jitcore.randn(3, 4), "a.bias": jitcore.arange(3), "scalar": jitcore.tensor(2.5)}
    jitcore.save(state, tmp_path / "m.safetensors")
    theirs = safetensors.torch.load_file(tmp_path / "m.safetensors")
    ours = jitcore.load(tmp_path / "m.safetensors")
    assert set(ours) == set(theirs) == set(state)
    for name, t in state.items():
        np.testing.assert_array_equal(theirs[name].numpy(), t.numpy())
        np.testing.assert_array_equal(ours[name].numpy(), t.numpy())
        assert ours[name].dtype is t.dtype and ours[name].shape == t.shape
    ours["scalar"].add_(1)  # loaded memory is the tensor's own


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_and_torchs_files(name, tmp_path):
    theirs = torch.ones(2, 3, dtype=getattr(torch, name))
    safetensors.torch.save_file({"x": theirs}, tmp_path / "t")
    loaded = jitcore.load(tmp_path / "t")["x"]
    assert loaded.dtype.name == name and loaded.float().tolist() == [[1.0] * 3] * 2
    jitcore.save({"x": loaded}, tmp_path / "j")
    assert torch.equal(safetensors.torch.load_file(tmp_path / "j")["x"], theirs)


def test_nested_containers_keep_their_structure(tmp_path):
    shared = jitcore.ones(2)
    data = {
        "state": {0: {"step": 3, "exp_avg": jitcore.randn(2)}, 1: {"step": 4.5}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "nesterov": False, "name": None, "params": [0, 1]}],
        "limits": [float("inf"), float("-inf")],
        "dtype": jitcore.float32,
        "view": shared.T,
        "text": 'quotes " and 日本',
    }
    jitcore.save(data, tmp_path / "o")
    back = jitcore.load(tmp_path / "o")
    assert list(back) == list(data) and list(back["state"]) == [0, 1]
    assert back["state"][0]["step"] == 3 and back["state"][1]["step"] == 4.5
    assert back["param_groups"] == data["param_groups"]
    assert type(back["param_groups"][0]["betas"]) is tuple
    assert back["limits"] == data["limits"] and back["dtype"] is jitcore.float32 and back["text"] == data["text"]
    np.testing.assert_array_equal(back["state"][0]["exp_avg"].numpy(), data["state"][0]["exp_avg"].numpy())


@pytest.mark.parametrize("obj", [jitcore.tensor([1.0, 2.0]), [jitcore.tensor(1), 2], {}, (), 5, "x", None])
def test_anything_of_these_may_be_the_top(obj, tmp_path):
    jitcore.save(obj, tmp_path / "o")
    back = jitcore.load(tmp_path / "o")
    assert type(back) is type(obj)
    assert repr(back) == repr(obj)


@pytest.mark.parametrize(
    "obj, words",
    [
        ({"a": object()}, "a is a object"),
        ({"a": {("t",): 1}}, "key .* is not a string or an integer"),
        ([lambda: 0], "0 is a function"),
        ({"z": jitcore.zeros(2, dtype=jitcore.complex128)}, "complex128"),
    ],
)
def test_other_objects_are_refused_and_leave_the_old_file(obj, words, tmp_path):
    jitcore.save({"x": jitcore.ones(1)}, tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    with pytest.raises(SerializationError, match=words):
        jitcore.save(obj, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    jitcore.save({"x": jitcore.ones(1)}, tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        jitcore.save({"x": jitcore.zeros(9)}, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before and os.listdir(tmp_path) == ["m"]


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        jitcore.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"):
        jitcore.save({"x": jitcore.ones(1)}, tmp_path / "no" / "m")
    (tmp_path / "p").write_bytes(pickle.dumps({"x": 1}))
    torch.save({"x": torch.ones(1)}, tmp_path / "t")
    (tmp_path / "e").write_bytes(b"")
    for name in "pte":
        with pytest.raises(SerializationError, match="is not a safetensors file"):
            jitcore.load(tmp_path / name)


def test_damaged_files_are_errors_or_answers_never_crashes(tmp_path):
    jitcore.save({"a": [jitcore.arange(4), 2], "b": {"c": jitcore.ones(2, 2)}}, tmp_path / "m")
    good = (tmp_path / "m").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(random.integers(1, 4)):
            data[random.integers(0, len(data))] = random.integers(0, 256)
        cut = data[: random.integers(0, len(data) + 1)] if random.random() < 0.3 else data
        (tmp_path / "d").write_bytes(cut)
        with contextlib.suppress(SerializationError):
            jitcore.load(tmp_path / "d")


def test_loading_to_another_device_is_refused(tmp_path):
    jitcore.save({"x": jitcore.ones(1)}, tmp_path / "m")
    assert jitcore.load(tmp_path / "m", map_location="cpu")["x"].tolist() == [1]
    with pytest.raises(RuntimeError, match="not available"):
        jitcore.load(tmp_path / "m", map_location="cuda")


def test_npz_files_and_the_way_for_files_of_torch(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.arange(3.0), b=np.ones((2, 2), np.int64))
    loaded = jitcore.load(tmp_path / "w.npz")
    assert loaded["a"].tolist() == [0, 1, 2] and loaded["b"].dtype is jitcore.int64
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(SerializationError, match=r"torch\.save.*convert it once(.|\n)*save_file"):
        jitcore.load(tmp_path / "w.pt")
