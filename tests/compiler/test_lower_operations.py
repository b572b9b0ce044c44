"""Every primitive has a lowering, and each one's loops give what its NumPy kernel gives."""

import numpy as np
import pytest

from jitcore.compiler.loops.interpret import run_module
from jitcore.compiler.lower.lower import lower_graph
from jitcore.compiler.lower.table import LOWERINGS
from jitcore_ir import OPS, DTypeError, Graph, TensorType, Trait, ops
from jitcore_ir.builder import Builder
from jitcore_ir.dtypes import (
    ALL,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    from_numpy,
    int8,
    int32,
    int64,
)  # fmt: skip
from jitcore_ir.shapes import symbol
from jitcore_runtime.kernels import KERNELS

PRIMITIVES = [s for s in OPS.values() if not s.has(Trait.LOOP | Trait.TERMINATOR) and not s.regions]
N = symbol("N")


def run(spec, arrays, symbols=None, shapes=None, **attributes):
    """(what the loops give, what NumPy gives) for one operation on these arrays."""
    graph = Graph("one")
    types = [TensorType(from_numpy(a.dtype), tuple(shapes[i]) if shapes else a.shape) for i, a in enumerate(arrays)]
    operands = [graph.block.add_argument(t) for t in types]
    build = Builder(graph.block)
    build.create(ops.RETURN, [build.value(spec, *operands, **attributes)])
    got = run_module(lower_graph(graph), arrays, symbols or {})[0]
    concrete = {
        k: tuple((symbols or {}).get(str(d), d) for d in v) if isinstance(v, tuple) else v
        for k, v in attributes.items()
    }
    with np.errstate(all="ignore"):
        return got, KERNELS[spec](*arrays, **concrete)


def whole(shape, dtype=float64, seed=0, low=-4, high=5):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype.numpy)


@pytest.mark.parametrize("spec", PRIMITIVES, ids=lambda s: s.name)
def test_every_primitive_has_a_lowering(spec):
    assert spec in LOWERINGS


def _accepted(spec):
    for dtype in ALL:
        types = [TensorType(dtype, (2,))] * len(spec.operands)
        try:
            spec.infer(tuple(types), {})
        except DTypeError:
            continue
        yield dtype


ELEMENTWISE = [
    (s, d)
    for s in PRIMITIVES
    if s.has(Trait.ELEMENTWISE) and s is not ops.WHERE and not s.attributes
    for d in _accepted(s)
]  # fmt: skip


@pytest.mark.parametrize(("spec", "dtype"), ELEMENTWISE, ids=lambda v: v.name)
def test_elementwise_broadcasts_as_numpy(spec, dtype):
    low, high = (1, 4) if spec in (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD, ops.POW) else (-3, 4)
    if dtype.kind == "uint" or spec in (ops.SHIFT_LEFT, ops.SHIFT_RIGHT):
        low = max(low, 0)
    arrays = [whole((2, 3), dtype, 1, low, high), whole((3,), dtype, 2, low, high)][: len(spec.operands)]
    if dtype.is_complex:
        arrays = [a + dtype.numpy.type(0.5j) * np.roll(a, 1) for a in arrays]
    got, want = run(spec, arrays)
    assert got.dtype == want.dtype
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype.name, 1e-6)
    np.testing.assert_allclose(_wide(got), _wide(want), rtol=tolerance, atol=tolerance)


def _wide(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


@pytest.mark.parametrize("dtype", [bool_, int8, int64, float16, bfloat16, float32, complex64], ids=lambda d: d.name)
@pytest.mark.parametrize("source", [bool_, int32, float16, float64, complex64, complex128], ids=lambda d: d.name)
def test_cast_converts_as_numpy(source, dtype):
    got, want = run(ops.CAST, [whole((2, 3), source, 3, 0, 3)], dtype=dtype)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


CONV = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
PLACES = np.array([[3, 0], [3, 1]])

CASES = {
    "where": (ops.WHERE, [whole((2, 1), bool_, low=0, high=2), whole((3,)), whole((2, 3))], {}),
    "reshape": (ops.RESHAPE, [whole((2, 3, 4))], {"shape": (4, 1, 6)}),
    "reshape of nothing": (ops.RESHAPE, [whole((2, 0, 4))], {"shape": (0, 5)}),
    "permute": (ops.PERMUTE, [whole((2, 3, 4))], {"permutation": (2, 0, 1)}),
    "broadcast_to": (ops.BROADCAST_TO, [whole((3, 1))], {"shape": (2, 3, 4)}),
    "slice": (ops.SLICE, [whole((6, 5))], {"starts": (1, 0), "sizes": (2, 3), "steps": (3, 2)}),
    "slice_update": (ops.SLICE_UPDATE, [whole((6, 5)), whole((2, 3), seed=9)], {"starts": (1, 0), "steps": (3, 2)}),
    "flip": (ops.FLIP, [whole((2, 3))], {"axes": (0, 1)}),
    "pad": (ops.PAD, [whole((2, 3)), np.array(9.0)], {"low": (1, 0), "high": (0, 2)}),
    "concat first": (ops.CONCAT, [whole((2, 3)), whole((1, 3)), whole((0, 3))], {"axis": 0}),
    "concat last": (ops.CONCAT, [whole((2, 3)), whole((2, 1)), whole((2, 3))], {"axis": 1}),
    "windows": (ops.WINDOWS, [whole((2, 7, 6))], {"window": (3, 2), "stride": (2, 3), "dilation": (2, 1)}),
    "fold_windows": (ops.FOLD_WINDOWS, [whole((3, 3, 2))], {"spatial": (10,), "stride": (4,), "dilation": (1,)}),
    "overlap": (ops.FOLD_WINDOWS, [whole((2, 2, 3, 2))], {"spatial": (4, 5), "stride": (1, 2), "dilation": (1, 2)}),
    "sum": (ops.SUM, [whole((2, 3, 4))], {"axes": (2, 0), "keepdims": True}),
    "sum of nothing": (ops.SUM, [whole((2, 0))], {"axes": (1,), "keepdims": False}),
    "sum float16": (ops.SUM, [whole((3, 700), float16, low=1)], {"axes": (1,), "keepdims": False}),
    "prod": (ops.PROD, [whole((2, 3), int32)], {"axes": (1,), "keepdims": False}),
    "amax": (ops.AMAX, [whole((2, 30))], {"axes": (1,), "keepdims": False}),
    "amax bool": (ops.AMAX, [whole((2, 30), bool_, low=0, high=2)], {"axes": (1,), "keepdims": False}),
    "amin": (ops.AMIN, [whole((20, 3), int64)], {"axes": (0,), "keepdims": False}),
    "argmax": (ops.ARGMAX, [whole((2, 30))], {"axis": 1, "keepdims": False}),
    "argmax nan": (ops.ARGMAX, [np.array([1.0, np.nan, 3.0, np.nan])], {"axis": 0, "keepdims": True}),
    "argmin": (ops.ARGMIN, [whole((5, 3), int64)], {"axis": 0, "keepdims": True}),
    "argmin of infinities": (ops.ARGMIN, [np.full(3, np.inf)], {"axis": 0, "keepdims": False}),
    "cumsum last": (ops.CUMSUM, [whole((2, 5))], {"axis": 1}),
    "cumsum first": (ops.CUMSUM, [whole((5, 3, 2), int64)], {"axis": 0}),
    "cumprod": (ops.CUMPROD, [whole((5,))], {"axis": 0}),
    "iota": (ops.IOTA, [], {"shape": (2, 3), "axis": 1, "dtype": int32}),
    "size": (ops.SIZE, [], {"dim": 7}),
    "constant": (ops.CONSTANT, [], {"value": whole((2, 3))}),
    "constant of one number": (ops.CONSTANT, [], {"value": np.full((2, 3), 4.0)}),
    "constant of nothing": (ops.CONSTANT, [], {"value": np.zeros((0, 3))}),
    "random_bits": (ops.RANDOM_BITS, [np.array(-5), np.array(2**33 + 7)], {"shape": (3, 5)}),
    "random_bits of whole blocks": (ops.RANDOM_BITS, [np.array(77), np.array(2**62)], {"shape": (8,)}),
    "one random_bits": (ops.RANDOM_BITS, [np.array(77), np.array(3)], {"shape": ()}),
    "take": (ops.TAKE, [whole((4, 3)), np.array([[3, 0], [1, 1]])], {"axis": 0}),
    "take last": (ops.TAKE, [whole((2, 4)), np.array([3, 0, 3])], {"axis": 1}),
    "put set": (ops.PUT, [whole((4, 3)), np.array([3, 0, 3]), whole((3, 3), seed=5)], {"axis": 0, "mode": "set"}),
    "put add": (ops.PUT, [whole((2, 4)), np.array([[1, 1]]), whole((2, 1, 2), seed=5)], {"axis": 1, "mode": "add"}),
    "gather": (ops.GATHER, [whole((4, 3)), np.array([[3, 0], [1, 1]])], {"axis": 0}),
    "scatter set": (ops.SCATTER, [whole((4, 3)), PLACES, whole((2, 2))], {"axis": 0, "mode": "set"}),
    "scatter add": (ops.SCATTER, [whole((2, 4)), PLACES, whole((2, 2))], {"axis": 1, "mode": "add"}),
    "scatter one": (ops.SCATTER, [whole((2, 4)), PLACES[:, :1], whole((2, 1))], {"axis": 1, "mode": "add"}),
    "scatter max": (ops.SCATTER_REDUCE, [whole((2, 4)), PLACES, whole((2, 2))], {"axis": 1, "mode": "max"}),
    "scatter mul": (ops.SCATTER_REDUCE, [whole((4, 3)), PLACES, whole((2, 2))], {"axis": 0, "mode": "mul"}),
    "dot": (ops.DOT, [whole((2, 3, 4)), whole((2, 4, 5))], {}),
    "dot of nothing": (ops.DOT, [whole((3, 0)), whole((0, 2))], {}),
    "dot float16": (ops.DOT, [whole((3, 4), float16), whole((4, 2), float16)], {}),
    "dot int64": (ops.DOT, [whole((2, 3, 4), int64), whole((2, 4, 5), int64)], {}),
    "dot bool": (ops.DOT, [whole((3, 4), bool_, low=0, high=2), whole((4, 5), bool_, low=0, high=2)], {}),
    "conv": (ops.CONV, [whole((2, 4, 6, 7)), whole((6, 2, 3, 2))], CONV),
    "conv_transpose": (ops.CONV_TRANSPOSE, [whole((2, 6, 3, 8)), whole((6, 2, 3, 2))], {**CONV, "spatial": (6, 7)}),
    "conv_weight_gradient": (
        ops.CONV_WEIGHT_GRADIENT, [whole((2, 4, 6, 7)), whole((2, 6, 3, 8))], {**CONV, "kernel": (3, 2)},
    ),
    "real": (ops.REAL, [whole((2, 3)) + 1j * whole((2, 3), seed=1)], {}),
    "imag": (ops.IMAG, [whole((2, 3)) + 1j * whole((2, 3), seed=1)], {}),
    "view_as_real": (ops.VIEW_AS_REAL, [whole((2, 3)) + 1j * whole((2, 3), seed=1)], {}),
    "view_as_complex": (ops.VIEW_AS_COMPLEX, [whole((2, 3, 2), float32)], {}),
}  # fmt: skip


def _complex(case):
    """The case with imaginary parts."""
    spec, arrays, attributes = case
    arrays = [a + 1j * np.roll(a, 1) if a.dtype == np.float64 else a for a in arrays]
    return spec, arrays, {k: v + 2j if k == "value" else v for k, v in attributes.items()}


CASES |= {
    f"complex {name}": _complex(CASES[name])
    for name in (
        "where", "reshape", "permute", "broadcast_to", "slice", "slice_update", "flip", "pad", "concat first",
        "concat last", "windows", "fold_windows", "overlap", "sum", "sum of nothing", "cumsum last", "cumprod", "take",
        "put set", "put add", "gather", "scatter set", "scatter add", "scatter one", "dot", "dot of nothing", "conv",
        "conv_transpose", "conv_weight_gradient", "constant", "constant of one number", "constant of nothing",
    )
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_loops_equal_the_numpy_kernel(case):
    spec, arrays, attributes = CASES[case]
    got, want = run(spec, arrays, **attributes)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


WITH_LOOPS = [s for s in PRIMITIVES if not s.has(Trait.ELEMENTWISE) and LOWERINGS[s] != "call out"]


@pytest.mark.parametrize("spec", WITH_LOOPS, ids=lambda s: s.name)
def test_every_primitive_has_a_case(spec):
    assert spec in {case[0] for case in CASES.values()}


SYMBOLIC = {
    "sum": (ops.SUM, [(N, 3)], {"axes": (1,), "keepdims": False}),
    "sum of all": (ops.SUM, [(N, 3)], {"axes": (0, 1), "keepdims": False}),
    "columns": (ops.SUM, [(N, 3)], {"axes": (0,), "keepdims": False}),
    "cumsum": (ops.CUMSUM, [(2, N)], {"axis": 1}),
    "reshape": (ops.RESHAPE, [(N, 6)], {"shape": (N, 2, 3)}),
    "flip": (ops.FLIP, [(N, 2)], {"axes": (0,)}),
    "concat": (ops.CONCAT, [(N, 2), (3, 2)], {"axis": 0}),
    "slice": (ops.SLICE, [(N, 4)], {"starts": (0, 1), "sizes": (N, 2), "steps": (1, 2)}),
    "dot": (ops.DOT, [(N, 4), (4, 3)], {}),
    "iota": (ops.IOTA, [], {"shape": (N, 2), "axis": 0, "dtype": float64}),
}  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize("case", SYMBOLIC)
def test_symbolic_sizes_may_be_anything(case, size):
    spec, shapes, attributes = SYMBOLIC[case]
    arrays = [whole(tuple(size if d == N else d for d in shape), seed=i) for i, shape in enumerate(shapes)]
    got, want = run(spec, arrays, {"N": size}, shapes, **attributes)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("position", [-1, 4])
@pytest.mark.parametrize("spec", [ops.TAKE, ops.GATHER, ops.PUT, ops.SCATTER], ids=lambda s: s.name)
def test_position_outside_the_axis_is_an_index_error(spec, position):
    arrays = [whole((4,)), np.array([0, position]), whole((2,))][: len(spec.operands)]
    mode = {"mode": "set"} if len(arrays) == 3 else {}
    with pytest.raises(IndexError, match=f"{spec.name}.*{position}.*axis 0.*4"):
        run(spec, arrays, axis=0, **mode)


def test_nothing_is_read_from_an_empty_axis():
    with pytest.raises(IndexError):
        run(ops.TAKE, [whole((0, 3)), np.array([0])], {"N": 0}, [(N, 3), (1,)], axis=0)


@pytest.mark.parametrize("dtype", [int32, float16, float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("exponent", [3, 4, -1])
def test_small_powers_need_no_logarithm(exponent, dtype):
    if exponent < 0 and not dtype.is_floating_point:
        return
    values = np.array([-2, -0.0, 0.0, 0.3, 1, 3, np.inf, -np.inf, np.nan])
    array = values.astype(dtype.numpy) if dtype.is_floating_point else np.arange(-4, 5, dtype=np.int32)
    graph = Graph("power")
    x = graph.block.add_argument(TensorType(dtype, (9,)))
    build = Builder(graph.block)
    build.create(ops.RETURN, [build.value(ops.POW, x, build.constant(exponent, dtype))])
    module = lower_graph(graph)
    assert not any(o.spec is ops.POW for o in module.kernels[0].kernel.walk())
    with np.errstate(all="ignore"):
        want = KERNELS[ops.POW](array, np.asarray(exponent, dtype.numpy))
    np.testing.assert_allclose(
        run_module(module, [array], {})[0], want, rtol=2 ** (2 - {16: 11, 32: 24, 64: 53}[dtype.bits])
    )


def test_an_output_that_is_an_input_or_another_output_is_copied():
    graph = Graph("same")
    x = graph.block.add_argument(TensorType(float32, (2, 3)))
    build = Builder(graph.block)
    y = build.value(ops.NEG, x)
    build.create(ops.RETURN, [x, y, y, build.value(ops.RESHAPE, y, shape=(6,)), build.value(ops.COPY, x)])
    array = whole((2, 3), float32)
    got = run_module(lower_graph(graph), [array], {})
    for result, want in zip(got, [array, -array, -array, -array.reshape(6), array], strict=True):
        np.testing.assert_array_equal(result, want)
