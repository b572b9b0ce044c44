"""What holds of every kernel: the result is what the spec's rule says, whatever the operands' memory looks like."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_operands import strategy_for

from jitcore_ir import OPS, TensorType, Trait, dtypes
from jitcore_runtime.kernels import KERNELS

SPECS = [s for s in OPS.values() if not s.has(Trait.LOOP) and not s.has(Trait.TERMINATOR)]


def test_every_spec_has_a_kernel():
    missing = [s.name for s in SPECS if s not in KERNELS and not s.regions]
    assert not missing, f"specs without a kernel: {missing}"


def accepted(spec, attributes, arrays):
    """The result type by the spec's rule for these arrays."""
    types = tuple(TensorType(dtypes.from_numpy(a.dtype), a.shape) for a in arrays)
    return spec.infer(types, attributes)[0]


def laid_out(draw, array):
    """The same values in other memory: reversed, strided, transposed or read-only."""
    layout = draw(st.sampled_from(["plain", "transposed", "strided", "reversed", "read-only"]))
    if layout == "transposed" and array.ndim:
        return np.asfortranarray(array)
    if layout == "strided" and array.ndim:
        spread = np.zeros((*array.shape[:-1], array.shape[-1] * 2), array.dtype)
        spread[..., ::2] = array
        return spread[..., ::2]
    if layout == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


def as_comparable(array):
    return array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind not in "iu" else array


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spec", [s for s in SPECS if s in KERNELS], ids=lambda s: s.name)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_result_is_what_the_rule_says_and_memory_layout_does_not_matter(spec, data):
    arrays, attributes = strategy_for(spec)(data.draw, spec)
    expected = accepted(spec, attributes, arrays)
    before = [a.copy() for a in arrays]
    result = KERNELS[spec](*arrays, **attributes)
    assert type(result) is np.ndarray
    assert result.shape == expected.shape and result.dtype == expected.dtype.numpy
    if not spec.has(Trait.VIEW) and math.prod(result.shape):
        assert not any(np.shares_memory(result, a) for a in arrays)
    again = KERNELS[spec](*[laid_out(data.draw, a) for a in arrays], **attributes)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(as_comparable(array), as_comparable(copy))
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if result.dtype.itemsize == 2 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(as_comparable(again), as_comparable(result), **tolerance)
