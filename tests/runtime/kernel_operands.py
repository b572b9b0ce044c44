"""Operands and attributes that each kernel takes, as Hypothesis strategies."""

import numpy as np
from hypothesis import strategies as st

from jitcore_ir import IRError, TensorType, Trait, dtypes, ops
from jitcore_ir.custom_call import TensorAt, write_arguments, write_results
from jitcore_ir.ops.complex_numbers import PART
from jitcore_ir.ops.fourier import NORMS
from jitcore_ir.ops.indexing import REDUCTIONS
from jitcore_ir.ops.special import FUNCTIONS, FUNCTIONS_OF_TWO
from jitcore_runtime import register_custom_op


def fill(draw, dtype, shape):
    """A small-valued array; its seed is what Hypothesis varies."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = 0 if dtype.kind in ("uint", "bool") else -3
    whole = rng.integers(low, 2 if dtype.kind == "bool" else 4, shape)
    exact = dtype.is_integer or dtype.kind == "bool"
    values = np.asarray(whole if exact else whole + rng.random(shape))
    if dtype in dtypes.COMPLEX:
        values = np.asarray(values + 1j * np.flip(values))
    return values.astype(dtype.numpy)


shapes = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)
full_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def dtypes_for(spec, attributes, count):
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
    if spec in (ops.PUT, ops.SCATTER, ops.SCATTER_REDUCE):
        arrays.append(fill(draw, dtype, result))
        attributes["mode"] = draw(st.sampled_from(REDUCTIONS if spec is ops.SCATTER_REDUCE else ("set", "add")))
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


def draw_parts(draw, spec):
    """Of complex numbers: their parts, or they themselves."""
    shape = draw(shapes)
    if spec is ops.VIEW_AS_COMPLEX:
        return [fill(draw, draw(st.sampled_from(list(PART.values()))), (*shape, 2))], {}
    return [fill(draw, draw(st.sampled_from(dtypes.COMPLEX)), shape)], {}


def draw_matrices(draw, spec):
    batch = draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    n, columns = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    dtype = draw(st.sampled_from([*PART.values(), *PART]))
    if spec is ops.PIVOT_ORDER:
        rows = n + draw(st.integers(0, 2))
        return [draw_pivots(draw, batch, n, rows)], {"rows": rows}
    attributes = {name: draw(st.booleans()) for name in spec.attributes}
    x = fill(draw, dtype, (*batch, n, n if spec not in OF_ANY_SHAPE or attributes.get("hermitian") else columns))
    if spec is ops.PINV:
        return [x, np.abs(fill(draw, PART.get(dtype, dtype), batch))], attributes
    if spec in (ops.SOLVE, ops.SOLVE_TRIANGULAR, ops.INV):
        x = x + 16 * np.eye(n, dtype=dtype.numpy)
    if spec is ops.CHOLESKY:
        x = x @ x.swapaxes(-1, -2).conj() + np.eye(n, dtype=dtype.numpy)
        if not attributes["strict"]:
            x[..., -1:, -1:] *= -1
    if spec is ops.LDL_SOLVE:
        pivots = np.broadcast_to(np.arange(1, n + 1, dtype=np.int32), (*batch, n)).copy()
        return [x, pivots, fill(draw, dtype, (*batch, n, columns))], attributes
    if spec in (ops.SOLVE, ops.SOLVE_TRIANGULAR):
        return [x, fill(draw, dtype, (*batch, n, columns))], attributes
    return [x], attributes


OF_ANY_SHAPE = (ops.LU, ops.PINV, ops.QR, ops.REFLECTORS, ops.SVD, ops.SVDVALS)


def draw_pivots(draw, batch, count, rows):
    """Row k exchanges with one at or after it; counted from 1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(np.arange(1, count + 1), rows + 1, (*batch, count)).astype(np.int32)


def draw_fourier(draw, spec):
    shape = list(draw(full_shapes))
    if len(shape) > 1 and draw(st.booleans()):
        shape[0] = 0
    axis = draw(st.integers(min(1, len(shape) - 1), len(shape) - 1))
    norm = draw(st.sampled_from(NORMS))
    if spec is ops.FFT:
        axes = tuple(draw(st.permutations(range(bool(shape[0] == 0), len(shape)))))
        attributes = {"axes": axes[: draw(st.integers(0, len(axes)))], "inverse": draw(st.booleans()), "norm": norm}
        return [fill(draw, draw(st.sampled_from(dtypes.COMPLEX)), shape)], attributes
    if spec is ops.RFFT:
        return [fill(draw, draw(st.sampled_from(list(PART.values()))), shape)], {"axis": axis, "norm": norm}
    n = max(1, 2 * shape[axis] - draw(st.integers(1, 2)))
    shape[axis] = n // 2 + 1
    return [fill(draw, draw(st.sampled_from(dtypes.COMPLEX)), shape)], {"axis": axis, "n": n, "norm": norm}


def draw_order(draw, spec):
    shape = draw(full_shapes)
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(dtypes.FLOATING if spec is ops.LOGCUMSUMEXP else dtypes.REAL + dtypes.BOOL))
    attributes = {"axis": axis} | {name: draw(st.booleans()) for name in spec.attributes if name != "axis"}
    if spec is ops.TOP_POSITIONS:
        shape = (*shape[:axis], draw(st.sampled_from([shape[axis], 70])), *shape[axis + 1 :])  # both of its algorithms
        attributes["count"] = draw(st.integers(0, min(shape[axis], 8)))
    return [with_nans(draw, fill(draw, dtype, shape))], attributes


def with_nans(draw, x):
    if x.dtype.kind in "fV" and draw(st.booleans()):
        x[x > 3] = np.nan
    return x


def draw_search(draw, spec):
    dtype = draw(st.sampled_from(dtypes.REAL + dtypes.BOOL))
    rows = draw(shapes)[:3]
    count, wanted = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    edges = fill(draw, dtype, (*(rows if draw(st.booleans()) else ()), count))
    return [np.sort(edges, -1), fill(draw, dtype, (*rows, wanted))], {"right": draw(st.booleans())}


def draw_nonzero(draw, spec):
    x = fill(draw, draw(st.sampled_from(dtypes.ALL)), draw(shapes))
    return [x], {"count": max(0, np.count_nonzero(x) + draw(st.integers(-2, 2)))}


def draw_alignment(draw, spec):
    steps, samples, labels = (draw(st.integers(0, 4)) for _ in range(3))
    scores = -np.abs(
        fill(draw, draw(st.sampled_from([dtypes.float32, dtypes.float64])), (steps, samples, 2 * labels + 1))
    )
    skips = fill(draw, dtypes.bool_, scores.shape[1:])
    lengths = [draw(st.lists(st.integers(0, most), min_size=samples, max_size=samples)) for most in (steps, labels)]
    return [scores, skips, *(np.array(x, np.int64) for x in lengths)], {}


def draw_special(draw, spec):
    function = draw(st.sampled_from(sorted(FUNCTIONS if spec is ops.SPECIAL else FUNCTIONS_OF_TWO)))
    dtype = draw(st.sampled_from(dtypes.FLOATING))
    shape = draw(shapes)
    return [fill(draw, dtype, shape) for _ in spec.operands], {"function": function}


def draw_custom_call(draw, spec):
    register_custom_op("test::both", lambda x, y, k: (x + y.dtype.type(k), y, x) if k else y)
    dtype = draw(st.sampled_from(dtypes.REAL))
    x, y = fill(draw, dtype, draw(shapes)), fill(draw, dtype, ())
    k = draw(st.sampled_from([0, 2]))
    results = [x, y, x] if k else [y]
    return [x, y], {
        "name": "test::both", "version": 1, "arguments": write_arguments([TensorAt(0), TensorAt(1), k]),
        **write_results([(dtype, a.shape) for a in results]), "dtype": dtype,
    }  # fmt: skip


MATRICES = (
    ops.CHOLESKY, ops.CHOLESKY_INFO, ops.COFACTOR, ops.DET, ops.EIG, ops.EIGH, ops.EIGVALS, ops.EIGVALSH, ops.INV,
    ops.LDL, ops.LDL_SOLVE, ops.LU, ops.MATRIX_EXP, ops.PINV, ops.PIVOT_ORDER, ops.QR, ops.REFLECTORS, ops.SLOGDET,
    ops.SOLVE, ops.SOLVE_TRIANGULAR, ops.SVD, ops.SVDVALS,
)  # fmt: skip

STRATEGIES = {
    ops.CUSTOM_CALL: draw_custom_call, ops.SEARCHSORTED: draw_search, ops.NONZERO: draw_nonzero,
    **dict.fromkeys(MATRICES, draw_matrices), **dict.fromkeys((ops.CTC, ops.CTC_POSTERIOR), draw_alignment),
    **dict.fromkeys((ops.REAL, ops.IMAG, ops.VIEW_AS_REAL, ops.VIEW_AS_COMPLEX), draw_parts),
    **dict.fromkeys((ops.FFT, ops.RFFT, ops.IRFFT), draw_fourier),
    **dict.fromkeys((ops.ARGSORT, ops.TOP_POSITIONS, ops.RUNNING_POSITION, ops.LOGCUMSUMEXP), draw_order),
    **dict.fromkeys((ops.SPECIAL, ops.SPECIAL_OF_TWO), draw_special),
    ops.CONCAT: draw_concat, ops.WINDOWS: draw_windows, ops.FOLD_WINDOWS: draw_windows,
    ops.SLICE: draw_slice, ops.SLICE_UPDATE: draw_slice, ops.DOT: draw_dot, ops.CONV: draw_convolution,
    ops.CONV_TRANSPOSE: draw_convolution, ops.CONV_WEIGHT_GRADIENT: draw_convolution,
    **dict.fromkeys((ops.ARGMAX, ops.ARGMIN, ops.CUMSUM, ops.CUMPROD), draw_axis),
    **dict.fromkeys((ops.SUM, ops.PROD, ops.AMAX, ops.AMIN), draw_reduction),
    **dict.fromkeys((ops.CONSTANT, ops.IOTA, ops.SIZE, ops.RANDOM_BITS), draw_creation),
    **dict.fromkeys((ops.TAKE, ops.PUT, ops.GATHER, ops.SCATTER, ops.SCATTER_REDUCE), draw_indexing),
}  # fmt: skip


def strategy_for(spec):
    return STRATEGIES.get(spec, draw_elementwise if spec.has(Trait.ELEMENTWISE) else draw_movement)
