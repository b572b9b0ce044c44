"""NaN, infinities, zeros of either sign, huge and tiny numbers, against PyTorch; and every floating dtype."""

import numpy as np
import pytest
import torch
from test_ops_against_torch import BINARY, INTEGERS_TOO, UNARY
from torch_compare import assert_same

import jitcore

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-40, 1e-10, 1e10, -1e30, 3e38, np.inf, -np.inf, np.nan]
FUNCTIONS = sorted(set(UNARY) - {"t", "trace", "tril", "triu", "flatten", "ravel"})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_special_values(name):
    x = np.array(SPECIAL, np.float64)
    if name == "sign":
        x = x[:-1]  # sign(NaN) is NaN here and 0 in PyTorch
    ours, theirs = getattr(jitcore, name)(jitcore.tensor(x)), getattr(torch, name)(torch.tensor(x))
    assert_same(ours, theirs)
    if ours.is_floating_point() and name != "relu":  # relu(-0.0) is 0.0 here
        zero = theirs.numpy() == 0
        np.testing.assert_array_equal(np.signbit(ours.numpy()[zero]), np.signbit(theirs.numpy()[zero]))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_pairs_of_special_values(name):
    x = np.array(SPECIAL, np.float64)
    ours = getattr(jitcore, name)(jitcore.tensor(x)[:, None], jitcore.tensor(x))
    theirs = getattr(torch, name)(torch.tensor(x)[:, None], torch.tensor(x))
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    "name", ["sum", "prod", "amax", "amin", "argmax", "argmin", "cumsum", "logsumexp", "softmax", "norm"]
)
def test_reductions_of_special_values(name):
    rows = np.array(
        [[1.0, np.nan, 2.0], [np.inf, 1.0, -np.inf], [-np.inf] * 3, [np.inf, 2.0, np.inf], [0.0, -0.0, 0.0]]
    )
    for lib in (jitcore, torch):
        x = lib.tensor(rows)
        result = x.norm(dim=1) if name == "norm" else getattr(x, name)(1)
        if lib is jitcore:
            ours = result
    assert_same(ours, result)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_every_floating_dtype(name, dtype):
    x = UNARY[name](40).astype(np.float32)
    ours = getattr(jitcore, name)(jitcore.tensor(x).to(getattr(jitcore, dtype)))
    theirs = getattr(torch, name)(torch.tensor(x).to(getattr(torch, dtype)))
    assert_same(ours, theirs)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32"])
@pytest.mark.parametrize("name", INTEGERS_TOO)
def test_functions_of_every_integer_dtype(name, dtype):
    x = np.arange(1, 6)
    try:
        theirs = getattr(torch, name)(torch.tensor(x).to(getattr(torch, dtype)))
    except (RuntimeError, NotImplementedError):
        return
    try:
        ours = getattr(jitcore, name)(jitcore.tensor(x).to(getattr(jitcore, dtype)))
    except RuntimeError:
        assert dtype == "bool"  # a few functions are not offered for bool
        return
    assert_same(ours, theirs)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_integer_arithmetic_wraps_and_rounds_as_pytorchs(dtype):
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    x = np.array([low, low + 1, 5, 7, high, high - 1, 100, 3])
    y = np.array([1, high, 2, 3, high, 2, 7, 5])
    results = []
    for lib in (jitcore, torch):
        a, b = lib.tensor(x).to(getattr(lib, dtype)), lib.tensor(y).to(getattr(lib, dtype))
        results.append(
            [
                a + b,
                a - b,
                a * b,
                -a,
                a // b,
                a % b,
                lib.fmod(a, b),
                lib.div(a, b, rounding_mode="trunc"),
                a / b,
                a**2,
                b ** (a % 3),
                a & b,
                a | b,
                a ^ b,
                ~a,
                a << 1,
                a >> 2,
                lib.maximum(a, b),
                a.abs(),
                a.sign(),
                a < b,
                a.sum(),
                a.prod(),
                a.amax(),
            ]
        )
    assert_same(*results)


@pytest.mark.parametrize("source", ["float32", "float64", "int64", "bool", "float16"])
@pytest.mark.parametrize(
    "target", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"]
)
def test_casts(source, target):
    x = torch.tensor([0.0, 1.0, -1.0, 2.5, -2.5, 100.7]).to(getattr(torch, source))
    theirs = x.to(getattr(torch, target))
    if source == "float16":
        ours = jitcore.tensor(x.float().numpy()).half()
    else:
        ours = jitcore.tensor(x.numpy())
    assert_same(ours.to(getattr(jitcore, target)), theirs)
