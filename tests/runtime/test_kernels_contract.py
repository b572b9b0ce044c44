"""What holds of every kernel: the result is what the spec's rule says, whatever the operands' memory looks like."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitcore_ir import OPS, TensorType, Trait, dtypes, ops
from jitcore_runtime.kernels import KERNELS

SPECS = [s for s in OPS.values() if not s.has(Trait.LOOP) and not s.has(Trait.TERMINATOR)]


def test_every_spec_has_a_kernel():
    missing = [s.name for s in SPECS if s not in KERNELS and not s.regions]
    assert not missing, f"specs without a kernel: {missing}"


def accepted(spec, attributes, arrays):
    """The result type by the spec's rule for these arrays."""
    types = tuple(TensorType(dtypes.from_numpy(a.dtype), a.shape) for a in arrays)
    return spec.infer(types, attributes)[0]


def fill(draw, dtype, shape):
    """A small-valued array; its seed is what Hypothesis varies."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = 0 if dtype.kind in ("uint", "bool") else -3
    whole = rng.integers(low, 2 if dtype.kind == "bool" else 4, shape)
    exact = dtype.is_integer or dtype.kind == "bool"
    return np.asarray(whole if exact else whole + rng.random(shape)).astype(dtype.numpy)


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


shapes = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)
full_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def dtypes_for(spec, attributes, count):
    from jitcore_ir import IRError

    def fits(dtype):
        try:
            spec.infer(tuple(TensorType(dtype, (2,)) for _ in range(count)), attributes)
        except IRError as error:
            return not isinstance(error, TypeError)
        return True

    return st.sampled_from([d for d in dtypes.ALL if fits(d)])


def draw_elementwise(draw, spec):
    attributes = {"dtype": draw(st.sampled_from(dtypes.ALL))} if spec is ops.CAST else {}
    shape = draw(shapes)
    if spec is ops.WHERE:
        dtype = draw(st.sampled_from(dtypes.ALL))
    else:
        dtype = draw(dtypes_for(spec, attributes, len(spec.operands)))
    arrays = []
    for _ in spec.operands:
        own = tuple(1 if draw(st.booleans()) else d for d in shape)
        own = own[draw(st.integers(0, len(own))) :]
        arrays.append(fill(draw, dtype, own))
    if spec is ops.WHERE:
        arrays[0] = np.asarray(arrays[0] != 0)
    if spec in (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD):
        arrays[1][arrays[1] == 0] = 1
    return arrays, attributes


def draw_reduction(draw, spec):
    shape = draw(full_shapes if spec not in (ops.SUM, ops.PROD) else shapes)
    axes = tuple(draw(st.permutations(range(len(shape))))[: draw(st.integers(0, len(shape)))])
    attributes = {"axes": axes, "keepdims": draw(st.booleans())}
    return [fill(draw, draw(dtypes_for(spec, {"axes": (0,), "keepdims": False}, 1)), shape)], attributes


def draw_axis(draw, spec):
    shape = draw(full_shapes)
    attributes = {"axis": draw(st.integers(0, len(shape) - 1))}
    if "keepdims" in spec.attributes:
        attributes["keepdims"] = draw(st.booleans())
    probe = {k: (0 if k == "axis" else False) for k in attributes}
    return [fill(draw, draw(dtypes_for(spec, probe, 1)), shape)], attributes


def draw_slice(draw, spec):
    shape = draw(shapes)
    starts, sizes, steps = [], [], []
    for d in shape:
        step = draw(st.integers(1, 3))
        start = draw(st.integers(0, d))
        most = max(0, (d - start + step - 1) // step)
        starts.append(start), sizes.append(draw(st.integers(0, most))), steps.append(step)
    dtype = draw(st.sampled_from(dtypes.ALL))
    x = fill(draw, dtype, shape)
    if spec is ops.SLICE:
        return [x], {"starts": tuple(starts), "sizes": tuple(sizes), "steps": tuple(steps)}
    return [x, fill(draw, dtype, tuple(sizes))], {"starts": tuple(starts), "steps": tuple(steps)}


def draw_movement(draw, spec):
    shape = draw(shapes)
    dtype = draw(st.sampled_from(dtypes.ALL))
    x = fill(draw, dtype, shape)
    rank = len(shape)
    if spec is ops.RESHAPE:
        return [x], {"shape": draw(st.sampled_from([(x.size,), (*shape, 1), (1, x.size), tuple(reversed(shape))]))}
    if spec is ops.PERMUTE:
        return [x], {"permutation": tuple(draw(st.permutations(range(rank))))}
    if spec is ops.BROADCAST_TO:
        target = (*draw(st.sampled_from([(), (2,), (3, 1), (0,)])), *shape)
        kept = tuple(slice(0, 1) if draw(st.booleans()) and d else slice(None) for d in shape)
        return [x[(*kept, ...)]], {"shape": target}
    if spec is ops.FLIP:
        return [x], {"axes": tuple(draw(st.permutations(range(rank)))[: draw(st.integers(0, rank))])}
    if spec is ops.PAD:
        amounts = st.lists(st.integers(0, 2), min_size=rank, max_size=rank).map(tuple)
        return [x, fill(draw, dtype, ())], {"low": draw(amounts), "high": draw(amounts)}
    raise AssertionError(f"no strategy for {spec.name}: add one here")


def draw_concat(draw, spec):
    shape = draw(full_shapes)
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(dtypes.ALL))
    parts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    return [fill(draw, dtype, (*shape[:axis], p, *shape[axis + 1 :])) for p in parts], {"axis": axis}


def draw_windows(draw, spec):
    lead = draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    axes = draw(st.integers(1, 2))
    ints = st.lists(st.integers(1, 3), min_size=axes, max_size=axes).map(tuple)
    window, stride, dilation = draw(ints), draw(ints), draw(ints)
    spatial = tuple(d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(window, dilation))
    counts = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(spatial, window, stride, dilation))
    dtype = draw(st.sampled_from(dtypes.NUMERIC))
    if spec is ops.WINDOWS:
        return [fill(draw, dtype, (*lead, *spatial))], {"window": window, "stride": stride, "dilation": dilation}
    x = fill(draw, dtype, (*lead, *counts, *window))
    return [x], {"spatial": spatial, "stride": stride, "dilation": dilation}


def draw_creation(draw, spec):
    shape = draw(shapes)
    if spec is ops.CONSTANT:
        return [], {"value": fill(draw, draw(st.sampled_from(dtypes.ALL)), shape)}
    if spec is ops.SIZE:
        return [], {"dim": draw(st.integers(0, 2**40))}
    if spec is ops.RANDOM_BITS:
        whole = st.integers(-(2**63), 2**63 - 1)
        return [np.array(draw(whole)), np.array(draw(whole))], {"shape": shape}
    shape = shape or (3,)
    axis = draw(st.integers(0, len(shape) - 1))
    return [], {"shape": shape, "axis": axis, "dtype": draw(st.sampled_from(dtypes.REAL))}


def draw_indexing(draw, spec):
    shape = draw(full_shapes)
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(dtypes.ALL))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if spec in (ops.TAKE, ops.PUT):
        index_shape = draw(shapes)
        result = (*shape[:axis], *index_shape, *shape[axis + 1 :])
    else:
        index_shape = tuple(draw(st.integers(0, 5 if a == axis else d)) for a, d in enumerate(shape))
        result = index_shape
    indices = np.asarray(rng.integers(0, shape[axis], index_shape))
    arrays, attributes = [fill(draw, dtype, shape), indices], {"axis": axis}
    if spec in (ops.PUT, ops.SCATTER):
        arrays.append(fill(draw, dtype, result))
        attributes["mode"] = draw(st.sampled_from(["set", "add"]))
    return arrays, attributes


def draw_dot(draw, spec):
    batch = draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    m, k, n = (draw(st.integers(0, 5)) for _ in range(3))
    dtype = draw(st.sampled_from(dtypes.NUMERIC + dtypes.BOOL))
    return [fill(draw, dtype, (*batch, m, k)), fill(draw, dtype, (*batch, k, n))], {}


def draw_convolution(draw, spec):
    axes = draw(st.integers(1, 3))
    small = st.lists(st.integers(1, 2), min_size=axes, max_size=axes).map(tuple)
    kernel, stride, dilation = draw(small), draw(small), draw(small)
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    groups = draw(st.integers(1, 2))
    spatial = tuple(d * (k - 1) + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilation))
    counts = tuple(
        (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in zip(spatial, kernel, stride, dilation, padding)
    )
    samples, channels, outputs = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups
    dtype = draw(st.sampled_from(dtypes.NUMERIC))
    x, y = fill(draw, dtype, (samples, channels, *spatial)), fill(draw, dtype, (samples, outputs, *counts))
    weight = fill(draw, dtype, (outputs, channels // groups, *kernel))
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if spec is ops.CONV:
        return [x, weight], attributes
    if spec is ops.CONV_TRANSPOSE:
        return [y, weight], attributes | {"spatial": spatial}
    return [x, y], attributes | {"kernel": kernel}


STRATEGIES = {
    ops.CONCAT: draw_concat, ops.WINDOWS: draw_windows, ops.FOLD_WINDOWS: draw_windows,
    ops.SLICE: draw_slice, ops.SLICE_UPDATE: draw_slice, ops.DOT: draw_dot, ops.CONV: draw_convolution,
    ops.CONV_TRANSPOSE: draw_convolution, ops.CONV_WEIGHT_GRADIENT: draw_convolution,
    **dict.fromkeys((ops.ARGMAX, ops.ARGMIN, ops.CUMSUM, ops.CUMPROD), draw_axis),
    **dict.fromkeys((ops.SUM, ops.PROD, ops.AMAX, ops.AMIN), draw_reduction),
    **dict.fromkeys((ops.CONSTANT, ops.IOTA, ops.SIZE, ops.RANDOM_BITS), draw_creation),
    **dict.fromkeys((ops.TAKE, ops.PUT, ops.GATHER, ops.SCATTER), draw_indexing),
}  # fmt: skip


def strategy_for(spec):
    return STRATEGIES.get(spec, draw_elementwise if spec.has(Trait.ELEMENTWISE) else draw_movement)


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
