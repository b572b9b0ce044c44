"""Passes keep what a graph computes, to the bit: random graphs over values that break careless rewrites."""

import math
import warnings
from random import Random

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
    "standard": PassManager(standard_passes(KERNELS), verify=True),
    "views": views,
}
SHAPES = [(), (1,), (5,), (4, 5), (4, 1), (1, 5), (0, 5)]
DTYPES = [float32, float64, float16, bfloat16, int32, int8, uint8, int64, bool_, complex64]
REALS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -4.0, 3.0, 1.5, np.inf, -np.inf, np.nan, 1e-40, 65504.0, 1e38]


def evaluate(graph, inputs):
    """The outputs by one kernel after another, each on row-major operands: NumPy adds up in the order of memory."""
    known = dict(zip(graph.inputs, inputs, strict=True))
    with np.errstate(all="ignore"):
        for op in graph.operations[:-1]:
            result = KERNELS[op.spec](*(known[v] for v in op.operands), **op.attributes)
            known[op.result] = np.array(result, order="C")
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


def pool_of(dtype):
    """Values at the edges of the dtype."""
    if dtype is bool_:
        return np.array([False, True])
    if dtype in INTEGER:
        limits = np.iinfo(dtype.numpy)
        few = [0, 1, 2, 3, 7, limits.max, limits.min, limits.max - 1, limits.max // 2 + 1]
        return np.array(few + ([-1, -2, -4, limits.min + 1] if limits.min else []), dtype.numpy)
    with np.errstate(all="ignore"):
        reals = np.array(REALS, np.float64)
        if dtype in COMPLEX:
            return (reals + 1j * np.roll(reals, 4)).astype(dtype.numpy)
        return reals.astype(dtype.numpy)


def special_values(draw, dtype, shape, splat=False):
    """An array of such values, in turn or all the same."""
    pool = np.roll(pool_of(dtype), draw(st.integers(0, 20)))
    return np.resize(pool[:1] if splat else pool, shape)


UNARY = [ops.NEG, ops.NEG, ops.ABS, ops.FLOOR, ops.CEIL, ops.ROUND, ops.TRUNC, ops.COPY, ops.LOGICAL_NOT]
UNARY += [ops.BITWISE_NOT, ops.SIGN, ops.ISNAN, ops.SQRT]
BINARY = [ops.ADD, ops.ADD, ops.SUB, ops.SUB, ops.MUL, ops.MUL, ops.DIV, ops.DIV, ops.MAXIMUM, ops.MINIMUM, ops.POW]
BINARY += [ops.BITWISE_AND, ops.BITWISE_OR, ops.BITWISE_XOR, ops.SHIFT_LEFT, ops.SHIFT_RIGHT, ops.FLOOR_DIVIDE]
BINARY += [ops.EQ, ops.NE, ops.LT, ops.LE, ops.GT, ops.GE, ops.REMAINDER]
KINDS = ["constant", "unary", "binary", "binary", "where", "cast", "move", "move", "move", "move", "reduce"]


@st.composite
def programs(draw):
    """A graph's text and its inputs. Every value is an output now and then, so that shapes and names count."""
    graph = Graph()
    dtypes = draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2))
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        dtype, shape = draw(st.sampled_from(dtypes)), draw(st.sampled_from([*SHAPES, (4, 5), (4, 5)]))
        graph.block.add_argument(TensorType(dtype, shape))
        inputs.append(special_values(draw, dtype, shape))
    for _ in range(draw(st.integers(1, 6))):
        grow(draw, graph, dtypes)
    values = graph.inputs + [o.result for o in graph.operations]
    outputs = [v for v in values[:-1] if draw(st.integers(0, 4)) == 0] + values[-1:]
    graph.block.append(ops.RETURN, outputs)
    return print_graph(graph), inputs  # as text, which reads best when a test fails


def grow(draw, graph, dtypes):
    """Append one operation, drawn so that those that rewrites look for are frequent."""
    values = graph.inputs + [o.result for o in graph.operations]
    recent = values[-1:] * 4 + values
    x = draw(st.sampled_from(recent))
    kind = draw(
        st.sampled_from(
            ["constant", "unary", "binary", "binary", "where", "cast", "move", "move", "move", "move", "reduce"]
        )
    )
    try:
        if kind == "constant":
            dtype, shape = draw(st.sampled_from(dtypes)), draw(st.sampled_from([(), (), *SHAPES]))
            graph.block.append(ops.CONSTANT, [], {"value": special_values(draw, dtype, shape, draw(st.booleans()))})
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
            move(draw(st.randoms()), graph.block, draw(st.sampled_from(MOVES)), x, recent)
    except IRError:
        pass  # not for these types; the graph grows by another


MOVES = [ops.RESHAPE, ops.PERMUTE, ops.BROADCAST_TO, ops.SLICE, ops.SLICE_UPDATE, ops.FLIP, ops.PAD, ops.CONCAT]


def move(random, block, spec, x, others):
    """Append an operation that moves elements of `x` (and of one of `others` where it takes two). May raise IRError."""
    rank, shape = x.type.rank, x.type.shape
    some_axes = tuple(random.sample(range(rank), random.randint(0, rank)))
    operands = [x]
    if spec is ops.RESHAPE:
        values = {"shape": random.choice([shape[::-1], (1, *shape), (math.prod(shape),), shape])}
    elif spec is ops.PERMUTE:
        values = {"permutation": tuple(random.sample(range(rank), rank))}
    elif spec is ops.BROADCAST_TO:
        values = {"shape": broadcast_shapes("test", (shape, random.choice([*SHAPES, (2, 4, 5), (2, 0, 5)])))}
    elif spec in (ops.SLICE, ops.SLICE_UPDATE):
        starts = tuple(random.randint(0, max(d - 1, 0)) for d in shape)
        steps = tuple(random.randint(1, 2) for _ in shape)
        sizes = tuple(
            random.randint(min(1, d), -((start - d) // step))
            for d, start, step in zip(shape, starts, steps, strict=True)
        )
        values = {"starts": starts, "steps": steps}
        if spec is ops.SLICE:
            values["sizes"] = sizes
        else:
            operands.append(random.choice([v for v in others if v.type.rank == rank] or others))
    elif spec is ops.FLIP:
        values = {"axes": some_axes}
    elif spec is ops.PAD:
        operands.append(random.choice([v for v in others if not v.type.shape] or others))
        values = {side: tuple(random.randint(0, 1) for _ in shape) for side in ("low", "high")}
    else:
        operands.append(random.choice([v for v in others if v.type.shape[1:] == shape[1:]] or others))
        values = {"axis": random.randint(0, max(rank - 1, 0))}
    return block.append(spec, operands, values).result


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


def check(build, dtype, passes=PASSES["standard"]):
    """Run one small graph over all special values of the dtype, before and after; `build(block, x, y)` makes it."""
    pool = pool_of(dtype)
    inputs = [np.repeat(pool, len(pool)), np.tile(pool, len(pool))]
    graph = Graph()
    x, y = (graph.block.add_argument(TensorType(dtype, a.shape), n) for a, n in zip(inputs, "xy", strict=True))
    graph.block.append(ops.RETURN, [build(graph.block, x, y)])
    after = clone_graph(graph)
    if not passes(after):
        return False
    verify(after)
    try:
        expected = evaluate(graph, inputs)
    except ZeroDivisionError:
        return False
    for a, b in zip(evaluate(after, inputs), expected, strict=True):
        try:
            assert_same_bits(a, b)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{graph}becomes\n{after}") from None
    return True


def accepts(spec, dtype):
    try:
        spec.infer((TensorType(dtype),) * len(spec.operands), {})
    except IRError:
        return False
    return True


def keeps(spec, dtype):
    """Whether an operation on this dtype gives it again."""
    return accepts(spec, dtype) and spec.infer((TensorType(dtype),) * len(spec.operands), {})[0].dtype is dtype


@pytest.mark.parametrize("spec", sorted(set(BINARY), key=lambda s: s.name), ids=lambda s: s.name)
def test_binary_operations_with_every_special_constant(spec):
    for dtype in filter(lambda d: accepts(spec, d), DTYPES):
        for constant in pool_of(dtype):
            for splat in (np.asarray(constant), np.full(2, constant)[:1]):
                value = {"value": splat}
                check(lambda b, x, y, v=value: b.append(spec, [x, b.append(ops.CONSTANT, [], v).result]).result, dtype)
                check(lambda b, x, y, v=value: b.append(spec, [b.append(ops.CONSTANT, [], v).result, x]).result, dtype)


@pytest.mark.parametrize("spec", sorted(set(BINARY), key=lambda s: s.name), ids=lambda s: s.name)
def test_binary_operations_of_unary_ones(spec):
    for dtype in filter(lambda d: accepts(spec, d), DTYPES):
        check(lambda b, x, y: b.append(spec, [x, x]).result, dtype)
        for unary in filter(lambda u, d=dtype: keeps(u, d), UNARY):
            check(lambda b, x, y, u=unary: b.append(spec, [b.append(u, [x]).result, y]).result, dtype)
            check(lambda b, x, y, u=unary: b.append(spec, [x, b.append(u, [y]).result]).result, dtype)
            check(lambda b, x, y, u=unary: b.append(spec, [b.append(u, [o]).result for o in (x, y)]).result, dtype)


@pytest.mark.parametrize("outer", sorted(set(UNARY), key=lambda s: s.name), ids=lambda s: s.name)
def test_unary_operations_of_every_other(outer):
    for inner in dict.fromkeys(UNARY + BINARY):
        for dtype in filter(lambda d, i=inner: accepts(i, d), DTYPES):
            if accepts(outer, inner.infer((TensorType(dtype),) * len(inner.operands), {})[0].dtype):
                check(
                    lambda b, x, y, i=inner: b.append(outer, [b.append(i, [x, y][: len(i.operands)]).result]).result,
                    dtype,
                )


@pytest.mark.parametrize("outer", MOVES, ids=lambda s: s.name)
@pytest.mark.parametrize("inner", MOVES, ids=lambda s: s.name)
def test_movements_of_every_other(inner, outer):
    random = Random(f"{inner.name} {outer.name}")
    changed = tried = 0
    inputs = [np.arange(12.0).reshape(4, 3), np.arange(6.0).reshape(2, 3) - 9, np.asarray(-1.0)]
    inputs += [np.ones((1, 3)), np.arange(24.0).reshape(2, 3, 4)]
    while tried < 100:
        graph = Graph()
        values = [graph.block.add_argument(TensorType(float64, a.shape)) for a in inputs]
        try:
            middle = move(random, graph.block, inner, random.choice(values), values)
            last = move(random, graph.block, outer, middle, [*values, middle])
        except IRError:
            continue
        tried += 1
        graph.block.append(ops.RETURN, [last] if random.random() < 0.7 else [last, middle])
        after = clone_graph(graph)
        changed += PASSES["standard"](after)
        for a, b in zip(evaluate(after, inputs), evaluate(graph, inputs), strict=True):
            assert_same_bits(a, b)
    if inner is outer:
        assert changed > 10, "operations of one kind compose"


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
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
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
