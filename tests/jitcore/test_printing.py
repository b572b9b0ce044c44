"""The text of a tensor is PyTorch's, letter by letter, apart from the name of the library."""

from __future__ import annotations

import copy
import re

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import jitcore

INF, NAN = float("inf"), float("nan")
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
COMPLEX = ("complex64", "complex128")

VALUES = {
    "0-d": 1.5,
    "0-d whole": 3.0,
    "0-d nan": NAN,
    "0-d -inf": -INF,
    "0-d zero": -0.0,
    "0-d large": 1e9,
    "0-d small": 1e-5,
    "empty": [],
    "empty matrix": np.zeros((0, 3)).tolist(),
    "whole": [1.0, 2.0, -3.0],
    "fractions": [0.5, 100.25, -3.125],
    "nan and inf": [1.0, NAN, INF, -INF],
    "fractions, nan and inf": [0.25, NAN, INF, -INF],
    "nan alone": [NAN, NAN],
    "zeros": [0.0, -0.0],
    "zero and fraction": [0.0, 0.5],
    "scientific by ratio": [0.001, 1.5, 100.0],
    "scientific by size": [2e8, 3e8],
    "scientific by smallness": [0.00005, 0.00006],
    "scientific, nan and zero": [1e-7, NAN, 0.0, -INF, -1e7],
    "whole and large": [1.0, 1e9],
    "whole, ratio of 1000": [1.0, 1000.0],
    "whole, ratio of 1001": [1.0, 1001.0],
    "matrix": [[1.0, 2.5], [3.0, -4.0]],
    "cube": np.arange(12).reshape(2, 3, 2).tolist(),
    "four dimensions": np.arange(16).reshape(2, 2, 2, 2).tolist(),
    "wraps": np.linspace(0, 1, 50).tolist(),
    "wraps inside": np.linspace(-5, 5, 60).reshape(2, 30).tolist(),
    "summarized": np.arange(1001).tolist(),
    "summarized matrix": np.arange(1200).reshape(40, 30).tolist(),
    "summarized cube": (np.arange(1344) / 7).reshape(8, 7, 24).tolist(),
    "one long row": np.arange(1200).reshape(1, 1200).tolist(),
    "one long column": np.arange(1200).reshape(1200, 1).tolist(),
    "short rows summarized": np.arange(1500).reshape(3, 4, 125).tolist(),
}


def same(ours, theirs):
    """Whether two texts agree. A longer name, jitcore, may move what follows the elements to a line of its own."""
    theirs = theirs.replace("torch.", "jitcore.")
    if "dtype=jitcore" in ours:
        ours, theirs = (re.sub(r",\n +(dtype|grad_fn|requires_grad)=", r", \1=", text) for text in (ours, theirs))
    return ours == theirs


def same_text(array):
    half = array.dtype == ml_dtypes.bfloat16
    theirs = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if half else torch.tensor(array)
    ours = jitcore.tensor(array)
    assert same(repr(ours), repr(theirs)), f"{ours!r}\n{theirs!r}"
    assert str(ours) == repr(ours)


def as_dtype(values, dtype):
    with np.errstate(all="ignore"):
        if dtype in INTEGERS:
            values = np.nan_to_num(np.array(values), nan=0, posinf=100, neginf=-100).clip(-1e9, 1e9).astype(np.int64)
        array = np.array(values).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return array


@pytest.fixture(autouse=True)
def default_options():
    yield
    jitcore.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS, *COMPLEX])
@pytest.mark.parametrize("name", VALUES)
def test_text_of_values(name, dtype):
    same_text(as_dtype(VALUES[name], dtype))


COMPLEX_VALUES = [
    [1 + 2j, -3.5 - 0.25j],
    [complex(NAN, INF), complex(-INF, NAN), 0j],
    [1e-6 + 1j, 1 + 1e9j],
    [complex(-0.0, -0.0), complex(0.0, 3)],
    [complex(i, -i / 3) for i in range(40)],
    1 - 1j,
    [[1j] * 600, [2.5] * 600],
]


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("values", COMPLEX_VALUES, ids=range(len(COMPLEX_VALUES)))
def test_text_of_complex_values(values, dtype):
    same_text(np.array(values, dtype))


OPTIONS = [
    {"precision": 2}, {"precision": 0}, {"precision": 8}, {"threshold": 5}, {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 0}, {"linewidth": 20}, {"linewidth": 120}, {"linewidth": 1}, {"sci_mode": True},
    {"sci_mode": False}, {"profile": "short"}, {"profile": "full"}, {"profile": "short", "precision": 6},
    {"profile": "full", "linewidth": 40, "sci_mode": True},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options):
    jitcore.set_printoptions(**options)
    torch.set_printoptions(**options)
    for values in VALUES.values():
        same_text(as_dtype(values, "float32"))
    for dtype in ("int64", "bool", "float64", "float16", "complex64"):
        for name in ("whole", "fractions", "cube", "summarized cube", "wraps inside", "0-d", "empty matrix"):
            same_text(as_dtype(VALUES[name], dtype))


def test_options_change_one_by_one_and_sci_mode_each_time():
    for options in ({"precision": 2, "sci_mode": True}, {"linewidth": 30}, {"edgeitems": 2, "threshold": 4}, {}):
        jitcore.set_printoptions(**options)
        torch.set_printoptions(**options)
        same_text(np.linspace(0, 1, 9, dtype=np.float32))


@settings(max_examples=150, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.dtype(t) for t in ("float32", "float64", "int64", "bool", "complex64")]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
    )
)
def test_text_of_any_array(array):
    same_text(array)


SUFFIXES = {
    "leaf": lambda lib: lib.tensor([1.0, 2.0], requires_grad=True),
    "leaf in double": lambda lib: lib.tensor([1.0, 2.0], dtype=lib.float64, requires_grad=True),
    "node": lambda lib: lib.tensor([1.0, 2.0], requires_grad=True) * 2,
    "node of a sum": lambda lib: lib.tensor([1.0, 2.0], requires_grad=True).sum(),
    "node that fits": lambda lib: lib.ones(14, requires_grad=True).exp(),
    "node that does not fit": lambda lib: lib.ones(15, requires_grad=True).exp(),
    "wrapped": lambda lib: lib.ones(45, dtype=lib.float64, requires_grad=True).exp(),
    "empty": lambda lib: lib.ones((0, 2), dtype=lib.float64, requires_grad=True),
    "empty integers": lambda lib: lib.ones(0, dtype=lib.int64),
    "parameter": lambda lib: lib.nn.Parameter(lib.tensor([[1.0, 2.0]])),
    "frozen parameter": lambda lib: lib.nn.Parameter(lib.tensor([1.0]), requires_grad=False),
    "parameter copied": lambda lib: copy.deepcopy(lib.nn.Parameter(lib.tensor([1.0]))),
    "parameter times two": lambda lib: lib.nn.Parameter(lib.tensor([1.0])) * 2,
    "shape": lambda lib: lib.ones(2, 3).shape,
    "shape of a scalar": lambda lib: lib.tensor(1).shape,
    "list of tensors": lambda lib: [lib.ones(2), lib.tensor(1)],
    "dtype": lambda lib: lib.float32,
    "device": lambda lib: lib.ones(1).device,
    "view": lambda lib: lib.arange(12).reshape(3, 4).T[::2],
    "expanded": lambda lib: lib.tensor([[1.5]]).expand(3, 4),
    "subclass": lambda lib: type("Special", (lib.Tensor,), {})([1.0, 2.0]),
    "subclass, wrapped": lambda lib: type("Special", (lib.Tensor,), {})([1.0] * 50),
    "conjugate": lambda lib: lib.tensor([1 + 2j]).conj(),
}
for _width in range(10, 16):
    for _dtype in ("float32", "float64", "int32"):
        SUFFIXES[f"width {_width} of {_dtype}"] = lambda lib, n=_width, d=_dtype: (
            lib.ones(n, dtype=getattr(lib, d)) * 10
        )


@pytest.mark.parametrize("name", SUFFIXES)
def test_suffixes_and_other_texts(name):
    make = SUFFIXES[name]
    ours, theirs = repr(make(jitcore)), repr(make(torch))
    assert same(ours, theirs), f"{ours}\n{theirs}"


def test_suffixes_move_to_a_line_of_their_own_where_they_pass_the_line_width():
    for count in (8, 16):
        text = repr(jitcore.ones(count, dtype=jitcore.int32))
        assert text == "tensor([" + ", ".join("1" * count) + "], dtype=jitcore.int32)"
    head = "tensor([" + ", ".join(["10"] * 13) + "],"
    assert repr(jitcore.ones(13, dtype=jitcore.int32) * 10) == head + "\n       dtype=jitcore.int32)"


@pytest.mark.parametrize("default", ["float64", "float16"])
def test_the_default_dtype_is_left_out(default):
    try:
        for lib in (jitcore, torch):
            lib.set_default_dtype(getattr(lib, default))
        for dtype in ("float16", "float32", "float64", "complex64", "complex128", "int64", "bool"):
            for values in ([1, 2], []):
                same_text(np.array(values, dtype))
    finally:
        for lib in (jitcore, torch):
            lib.set_default_dtype(lib.float32)


FORMATS = [
    (lambda lib: lib.tensor(2.0), ".2f"),
    (lambda lib: lib.tensor(3), "d"),
    (lambda lib: lib.tensor(3), "05"),
    (lambda lib: lib.tensor(2.0, requires_grad=True) * 2, ".3e"),
    (lambda lib: lib.tensor(2.0), ""),
    (lambda lib: lib.tensor(True), ""),
    (lambda lib: lib.tensor(1 + 2j), ""),
    (lambda lib: lib.tensor(1.5, dtype=lib.bfloat16), ".1f"),
    (lambda lib: lib.tensor([1.0, 2.0]), ""),
    (lambda lib: lib.tensor([1.0, 2.0]), ".2f"),
    (lambda lib: lib.tensor([1.0]), ".2f"),
    (lambda lib: lib.nn.Parameter(lib.tensor(1.0)), ".2f"),
    (lambda lib: lib.nn.Parameter(lib.tensor(1.0)), ""),
    (lambda lib: lib.tensor(2.0), "d"),
]


@pytest.mark.parametrize(("make", "spec"), FORMATS)
def test_format(make, spec):
    def outcome(lib):
        try:
            return format(make(lib), spec)
        except Exception as error:
            return type(error)

    assert outcome(jitcore) == outcome(torch)


def test_text_in_a_jit_function_is_made_in_every_call(capsys):
    def f(x):
        print(x * 2)
        return x + (1 if "9" in str(x) else 0)

    compiled = jitcore.jit(f)
    for value in (1.0, 2.0, 9.0, 3.0):
        x = jitcore.tensor([value])
        assert compiled(x).tolist() == [10.0 if value == 9 else value]
        assert capsys.readouterr().out == f"tensor([{2 * value:.0f}.])\n"


def test_text_inside_vmap_shows_all_examples():
    texts = []
    jitcore.func.vmap(lambda x: (texts.append(repr(x)), x * 2)[1])(jitcore.tensor([1.0, 2.0]))
    assert texts == ["BatchedTensor(value=tensor([1., 2.]))"]


def test_unknown_profiles_are_refused():
    with pytest.raises(ValueError, match="unknown print profile"):
        jitcore.set_printoptions(profile="tall")


def test_text_does_not_count_as_a_change_of_memory():
    x = jitcore.ones(2, requires_grad=True)
    y = x * 2
    repr(y)
    assert not y._storage.shared and y._version == 0
