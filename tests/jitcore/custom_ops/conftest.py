"""An operation that scales, in Python and in C."""

import sys
from pathlib import Path

import numpy as np
import pytest

import jitcore
from jitcore.library import custom_op

sys.path.append(str(Path(__file__).parent))
from custom_op_checks import c_function, scaling


@pytest.fixture
def scale():
    """x * factor in NumPy, with every rule."""
    calls = []

    @custom_op("test::scale")
    def scale(x, factor: float = 2.0):
        assert type(x) is np.ndarray and type(factor) is float
        calls.append(x.shape)
        return x * x.dtype.type(factor)

    @scale.register_fake
    def _(x, factor):
        return jitcore.TensorSpec(x.shape, x.dtype)

    @scale.register_vjp
    def _(g, result, x, factor):
        return g * factor, None

    scale.calls = calls
    return scale


@pytest.fixture
def native_scale(scale):
    def body(array, integers, reals):
        x, y = array(0), array(1)
        if x.size and x.flat[0] == 666:
            return 13
        y[...] = x * np.float32(reals[0])
        return 0

    scale.native = c_function(body)
    scale.register_native(scale.native)
    return scale


@pytest.fixture(params=["python", "c"])
def native_scale_or_plain(request, scale):
    if request.param == "c":
        scale.register_native(c_function(scaling, counts_calls=False))
