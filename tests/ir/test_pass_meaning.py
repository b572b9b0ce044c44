"""Passes keep what a graph computes, to the bit: random graphs over values that break careless rewrites."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jitcore_ir import Graph, TensorType, ops, parse_graph, print_graph
from jitcore_ir.clone import clone_graph
from jitcore_ir.dtypes import (
    ALL,
    BOOL,
    COMPLEX,
    FLOATING,
    INTEGER,
    bfloat16,
    bool_,
    complex64,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
)
from jitcore_ir.errors import IRError
from jitcore_ir.ops.rules import broadcast_shapes
from jitcore_ir.passes import (
    ConstantFold,
    PassManager,
    algebra,
    canonicalize,
    casts,
    drop_unused,
    merge_equal,
    standard_passes,
    views,
)
from jitcore_ir.passes.casts import holds
from jitcore_ir.verifier import verify
from jitcore_runtime.kernels import KERNELS

PASSES = {
    "algebra": algebra,
    "canonicalize": canonicalize,
    "casts": casts,
    "drop_unused": drop_unused,
    "fold": ConstantFold(KERNELS),
    "merge_equal": merge_equal,
    "standard": PassManager(list(standard_passes(KERNELS)), verify=True),
    "views": views,
}
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (0, 3)]
DTYPES = [float32, float64, float16, bfloat16, int32, int8, uint8, int64, bool_, complex64]
REALS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -4.0, 3.0, 1.5, np.inf, -np.inf, np.nan, 1e-40, 65504.0, 1e38]


def evaluate(graph, inputs):
    """The outputs by one kernel after another."""
    known = dict(zip(graph.inputs, inputs, strict=True))
    with np.errstate(all="ignore"):
        for op in graph.operations[:-1]:
            known[op.result] = KERNELS[op.spec](*(known[v] for v in op.operands), **op.attributes)
    return [known[v] for v in graph.outputs]


def assert_same_bits(a, b):
    """Equal to the bit, except that all NaNs are one."""
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype.kind == "c":
        assert_same_bits(a.real, b.real)
        assert_same_bits(a.imag, b.imag)
        return
    if a.dtype.kind in "fV":
        nan = np.isnan(a)
        np.testing.assert_array_equal(nan, np.isnan(b))
        a, b = np.where(nan, a.dtype.type(0), a), np.where(nan, a.dtype.type(0), b)
    assert np.array(a, order="C").tobytes() == np.array(b, order="C").tobytes(), f"{a} is not {b}"


def special_values(draw, dtype, shape):
    """An array of values at the edges of the dtype."""
    if dtype in FLOATING or dtype in COMPLEX:
        pool = REALS
    elif dtype in INTEGER:
        limits = np.iinfo(dtype.numpy)
        pool = [0, 1, 2, 3, limits.max, limits.min, limits.max - 1, 7, *([-1, -2] if limits.min else [255, 254])]
    else:
        pool = [False, True]
    count = int(np.prod(shape, dtype=int))
    if draw(st.booleans()):
        chosen = [draw(st.sampled_from(pool))] * count
    else:
        chosen = draw(st.lists(st.sampled_from(pool), min_size=count, max_size=count))
    with np.errstate(all="ignore"):
        array = np.array(chosen, np.float64 if pool is REALS else dtype.numpy).astype(dtype.numpy).reshape(shape)
        if dtype in COMPLEX:
            array = np.asarray(array + 1j * np.asarray(draw(st.sampled_from(REALS))), dtype.numpy)
    return array


UNARY = [ops.NEG, ops.NEG, ops.ABS, ops.FLOOR, ops.CEIL, ops.ROUND, ops.TRUNC, ops.COPY, ops.LOGICAL_NOT]
UNARY += [ops.BITWISE_NOT, ops.SIGN, ops.ISNAN, ops.SQRT]
BINARY = [ops.ADD, ops.ADD, ops.SUB, ops.SUB, ops.MUL, ops.MUL, ops.DIV, ops.DIV, ops.MAXIMUM, ops.MINIMUM, ops.POW]
BINARY += [ops.BITWISE_AND, ops.BITWISE_OR, ops.BITWISE_XOR, ops.SHIFT_LEFT, ops.SHIFT_RIGHT, ops.FLOOR_DIVIDE]
BINARY += [ops.EQ, ops.NE, ops.LT, ops.LE, ops.GT, ops.GE, ops.REMAINDER]


@st.composite
def programs(draw):
    """A graph's text and its inputs. Every value is an output now and then, so that shapes and names count."""
    graph = Graph()
    dtypes = draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2))
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        dtype, shape = draw(st.sampled_from(dtypes)), draw(st.sampled_from(SHAPES))
        graph.block.add_argument(TensorType(dtype, shape))
        inputs.append(special_values(draw, dtype, shape))
    for _ in range(draw(st.integers(1, 9))):
        grow(draw, graph, dtypes)
    values = graph.inputs + [o.result for o in graph.operations]
    outputs = [v for v in values[:-1] if draw(st.integers(0, 4)) == 0] + values[-1:]
    graph.block.append(ops.RETURN, outputs)
    return print_graph(graph), inputs  # as text, which reads best when a test fails


def grow(draw, graph, dtypes):
    """Append one operation, drawn so that those that rewrites look for are frequent."""
    values = graph.inputs + [o.result for o in graph.operations]
    recent = values[-3:] + values
    x = draw(st.sampled_from(recent))
    kind = draw(st.sampled_from(["constant", "unary", "binary", "binary", "where", "cast", "move", "move", "reduce"]))
    try:
        if kind == "constant":
            dtype, shape = draw(st.sampled_from(dtypes)), draw(st.sampled_from([(), (), *SHAPES]))
            graph.block.append(ops.CONSTANT, [], {"value": special_values(draw, dtype, shape)})
        elif kind == "unary":
            graph.block.append(draw(st.sampled_from(UNARY)), [x])
        elif kind == "binary":
            y = draw(st.sampled_from(recent))
            graph.block.append(draw(st.sampled_from(BINARY)), [x, y])
        elif kind == "where":
            flags = [v for v in values if v.type.dtype is bool_]
            assume(flags)
            graph.block.append(ops.WHERE, [draw(st.sampled_from(flags)), x, draw(st.sampled_from(recent))])
        elif kind == "cast":
            wider = [d for d in ALL if holds(d, x.type.dtype)]
            graph.block.append(ops.CAST, [x], {"dtype": draw(st.sampled_from(wider + dtypes + [x.type.dtype]))})
        elif kind == "reduce":
            spec = draw(st.sampled_from([ops.SUM, ops.PROD, ops.AMAX, ops.AMIN]))
            axes = tuple(draw(st.permutations(range(x.type.rank)))[: draw(st.integers(0, 2))])
            graph.block.append(spec, [x], {"axes": axes, "keepdims": draw(st.booleans())})
        else:
            move(draw, graph, x, recent)
    except IRError:
        pass  # not for these types; the graph grows by another


def move(draw, graph, x, recent):
    """Append an operation that moves elements."""
    rank, shape = x.type.rank, x.type.shape
    spec = draw(
        st.sampled_from(
            [ops.RESHAPE, ops.PERMUTE, ops.BROADCAST_TO, ops.SLICE, ops.SLICE_UPDATE, ops.FLIP, ops.PAD, ops.CONCAT]
        )
    )
    if spec is ops.RESHAPE:
        target = draw(st.sampled_from([shape[::-1], (1, *shape), (int(np.prod(shape, dtype=int)),), shape]))
        graph.block.append(spec, [x], {"shape": target})
    elif spec is ops.PERMUTE:
        graph.block.append(spec, [x], {"permutation": tuple(draw(st.permutations(range(rank))))})
    elif spec is ops.BROADCAST_TO:
        target = broadcast_shapes("test", (shape, draw(st.sampled_from([*SHAPES, (2, 2, 3), (2, 0, 3)]))))
        graph.block.append(spec, [x], {"shape": target})
    elif spec in (ops.SLICE, ops.SLICE_UPDATE):
        starts = tuple(draw(st.integers(0, max(d - 1, 0))) for d in shape)
        steps = tuple(draw(st.integers(1, 2)) for _ in shape)
        sizes = tuple(
            draw(st.integers(0, -((start - d) // step))) for d, start, step in zip(shape, starts, steps, strict=True)
        )
        if spec is ops.SLICE:
            graph.block.append(spec, [x], {"starts": starts, "sizes": sizes, "steps": steps})
        else:
            updates = [v for v in recent if v.type.rank == rank]
            graph.block.append(spec, [x, draw(st.sampled_from(updates))], {"starts": starts, "steps": steps})
    elif spec is ops.FLIP:
        graph.block.append(spec, [x], {"axes": tuple(draw(st.permutations(range(rank)))[: draw(st.integers(0, 2))])})
    elif spec is ops.PAD:
        scalars = [v for v in recent if v.type == TensorType(x.type.dtype)]
        assume(scalars)
        low, high = (tuple(draw(st.integers(0, 1)) for _ in shape) for _ in range(2))
        graph.block.append(spec, [x, draw(st.sampled_from(scalars))], {"low": low, "high": high})
    else:
        graph.block.append(spec, [x, draw(st.sampled_from(recent))], {"axis": draw(st.integers(0, max(rank - 1, 0)))})


@pytest.mark.parametrize("name", PASSES)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_a_pass_changes_no_bit_of_the_outputs(name, program):
    text, inputs = program
    graph = parse_graph(text)
    try:
        expected = evaluate(graph, inputs)
    except ZeroDivisionError:
        assume(False)
    after = clone_graph(graph)
    PASSES[name](after)
    verify(after)
    assert [v.type for v in after.inputs] == [v.type for v in graph.inputs]
    assert [v.type for v in after.outputs] == [v.type for v in graph.outputs]
    assert print_graph(graph) == text, "a clone shares nothing with its original"
    for a, b in zip(evaluate(after, inputs), expected, strict=True):
        assert_same_bits(a, b)


EVERY_PAIR = [(a, b, c) for a in ALL for b in ALL for c in ALL if a in (*INTEGER, *FLOATING, *BOOL, complex64)]


def test_every_chain_of_two_casts_keeps_its_bits():
    rows = {}
    for first in ALL:
        if first in INTEGER:
            limits = np.iinfo(first.numpy)
            values = [0, 1, 2, 127, 128, 255, 1000, 2**24 + 1, 2**53 + 1, 2**31, limits.max, limits.min, -1, -128, -129]
            rows[first] = np.array([v for v in values if limits.min <= v <= limits.max], first.numpy)
        elif first is bool_:
            rows[first] = np.array([False, True])
        else:
            # In the range of every integer: out of it the result of a cast is the machine's.
            rows[first] = np.array([0.0, -0.0, 1.0, 0.5, 1.999, 100.25, 1e-7, 17.0], np.float64).astype(first.numpy)
    merged = 0
    for first, middle, last in EVERY_PAIR:
        graph = Graph()
        x = graph.block.add_argument(TensorType(first, rows[first].shape))
        y = graph.block.append(ops.CAST, [x], {"dtype": middle}).result
        graph.block.append(ops.RETURN, [graph.block.append(ops.CAST, [y], {"dtype": last}).result])
        after = clone_graph(graph)
        merged += casts(after)
        assert_same_bits(evaluate(after, [rows[first]])[0], evaluate(graph, [rows[first]])[0])
    assert merged > 300, "the rule applies to many chains"


@pytest.mark.parametrize("wide", ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("narrow", ALL, ids=lambda d: d.name)
def test_holds_means_that_no_value_is_lost(narrow, wide):
    if narrow is bool_:
        values = np.array([False, True])
    elif narrow in INTEGER:
        limits = np.iinfo(narrow.numpy)
        steps = [2**k + d for k in range(63) for d in (-1, 0, 1)] + [limits.max, limits.min]
        values = np.array([v for s in steps for v in (s, -s) if limits.min <= v <= limits.max], narrow.numpy)
    else:
        part = narrow if narrow in FLOATING else {64: float32, 128: float64}[narrow.bits]
        bits = np.random.default_rng(0).integers(0, 256, 4096 * part.itemsize, np.uint8)
        values = bits.view(part.numpy)
        with np.errstate(all="ignore"):
            values = values[np.isfinite(values.astype(np.float64))].astype(narrow.numpy)
        if narrow in COMPLEX:
            values = (values * narrow.numpy.type(1 + 0j) + narrow.numpy.type(2j)).astype(narrow.numpy)
    with np.errstate(all="ignore"):
        converted = values.astype(wide.numpy)
        exact = [complex(a) == complex(b) if not isinstance(a, int) else a == b for a, b in both(values, converted)]
    if holds(wide, narrow):
        assert all(exact)
    elif not (wide is bool_ or (narrow in COMPLEX and wide not in COMPLEX)):
        assert not all(exact), "it could say so"


def both(values, converted):
    """Pairs of Python numbers, integers as integers."""
    for a, b in zip(values.tolist(), converted.tolist(), strict=True):
        if isinstance(a, int) and not isinstance(b, int | complex):
            b = int(b) if np.isfinite(b) else None
        yield a, b


def test_errors_of_values_are_left_to_the_run():
    text = """graph @main(%x: i32[0]) {
  %a = constant() {value = 1} : i32[]
  %z = constant() {value = 0} : i32[]
  %b = broadcast_to(%a) {shape = [0]} : i32[0]
  %r = floor_divide(%b, %z) : i32[0]
  return(%r)
}
"""
    graph = parse_graph(text)
    PASSES["standard"](graph)
    assert evaluate(graph, [np.zeros(0, np.int32)])[0].shape == (0,)
