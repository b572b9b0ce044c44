"""Element types: names, NumPy counterparts, promotion as in PyTorch."""

import pickle
from itertools import product

import numpy as np
import pytest
import torch

from jitcore_ir import dtypes
from jitcore_ir.dtypes import ALL, dtype_named, from_numpy, promote


@pytest.mark.parametrize("a, b", list(product(ALL, ALL)), ids=lambda d: d.name)
def test_promotion_is_pytorchs(a, b):
    expected = torch.promote_types(getattr(torch, a.name), getattr(torch, b.name))
    assert promote(a, b) is dtype_named(str(expected).removeprefix("torch."))


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_names_sizes_and_numpy_agree(dtype):
    assert dtype_named(dtype.name) is dtype and dtype_named(dtype.short) is dtype
    assert dtype.numpy.itemsize == dtype.itemsize == getattr(torch, dtype.name).itemsize
    assert from_numpy(dtype.numpy) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert repr(dtype) == f"jitcore.{dtype.name}"
    assert dtype.is_floating_point == getattr(torch, dtype.name).is_floating_point
    assert dtype.is_complex == getattr(torch, dtype.name).is_complex
    assert dtype.is_integer == (dtype in dtypes.INTEGER)


def test_unknown_dtypes_are_refused_with_what_is_known():
    with pytest.raises(ValueError, match="unknown dtype 'float8'; known are bool, uint8"):
        dtype_named("float8")
    with pytest.raises(TypeError, match="NumPy dtype uint16 has no jitcore counterpart; convert the array to one of"):
        from_numpy(np.dtype(np.uint16))
    with pytest.raises(TypeError, match="no jitcore counterpart"):
        from_numpy(np.dtype("S3"))
