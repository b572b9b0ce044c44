"""assert_close passes and fails where PyTorch's does."""

import numpy as np
import pytest
import torch

import jitcore

NAN = float("nan")
CASES = [
    ([1.0], [1.0 + 1e-6], {}), ([1.0], [1.001], {}), ([1.0], [1.001], {"rtol": 0.01, "atol": 0}), ([NAN], [NAN], {}),
    ([NAN], [NAN], {"equal_nan": True}), ([1], [1], {}), ([1], [2], {}), ([1], [1.0], {}),
    ([1], [1.0], {"check_dtype": False}), ([1.0], [[1.0]], {}), ([float("inf")], [float("inf")], {}),
    ([True], [True], {}), ([0.0], [2e-5], {}), ([0.0], [5e-6], {}), ([], [], {}), ([1.0], [1.0], {"rtol": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("nested", [False, True])
def test_the_same_outcome(number, nested):
    a, b, options = CASES[number]

    def outcome(t):
        x, y = t.tensor(a), t.tensor(b)
        try:
            t.testing.assert_close({"k": [x]} if nested else x, {"k": [y]} if nested else y, **options)
        except (AssertionError, ValueError) as error:
            return type(error), str(error).split("\n")[0].replace("torch.", "jitcore.")
        return None

    assert outcome(jitcore) == outcome(torch)


def test_make_tensor():
    x = jitcore.testing.make_tensor((3, 4), dtype=jitcore.float32, low=1, high=2, noncontiguous=True)
    assert x.shape == (3, 4) and not x.is_contiguous() and ((x >= 1) & (x <= 2)).all()
    assert jitcore.testing.make_tensor(5, dtype=jitcore.int64).dtype is jitcore.int64
    assert np.abs(jitcore.testing.make_tensor(5, dtype=jitcore.float64, low=-1, high=1).numpy()).max() <= 1
