"""Random graphs over the primitives with NumPy's answers, for tests that compile or interpret them.

Values are small whole numbers, so sums do not depend on their order; those of `exact` graphs are any float32. The sizes
at which lowering changes its mind (unrolling, tiles, chunks, keeping a value) are drawn too, so that tiny tensors reach
every path.
"""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import strategies as st

from jitcore.compiler.fuse import cluster, roots, schedule, split
from jitcore.compiler.lower import columns, rows, writes
from jitcore_ir import Graph, TensorType, ops
from jitcore_ir.builder import Builder
from jitcore_ir.dtypes import bfloat16, complex64, complex128, float16, float32, float64, int32, int64
from jitcore_ir.ops.rules import broadcast_shapes
from jitcore_ir.shapes import Expr, evaluate, product, symbol
from jitcore_runtime.kernels import KERNELS

SIZES = {"N": (0, 1, 2, 3), "M": (1, 2, 4)}


class Program:
    """A graph under construction together with NumPy's answer for every value."""

    def __init__(self, draw, symbols, exact=False):
        self.draw = draw
        self.symbols = symbols
        self.exact = exact
        self.real, self.complex_dtype = (float32, complex64) if exact else (float64, complex128)
        self.graph = Graph("random")
        self.build = Builder(self.graph.block)
        self.arrays = {}
        self.inputs = []
        self.pool = []
        self.complex = []

    def input(self, shape, dtype=None, low=-3, high=3):
        dtype = dtype or self.real
        value = self.graph.block.add_argument(TensorType(dtype, tuple(shape)))
        concrete = tuple(evaluate(d, self.symbols) for d in shape)
        seed = self.draw(st.integers(0, 2**16))
        generator = np.random.default_rng(seed)
        array = generator.integers(low, high + 1, concrete).astype(dtype.numpy)
        if self.exact and dtype is self.real:
            array = np.asarray(any_numbers(generator, concrete))
        self.inputs.append(array)
        self.arrays[value] = array
        if dtype is self.real:
            self.pool.append(value)
        return value

    def number(self, value):
        return self.constant(self.real.numpy.type(value))

    def add(self, spec, *operands, keep=True, **attributes):
        value = self.build.value(spec, *operands, **attributes)
        given_ = {k: self.concrete(v) for k, v in attributes.items()}
        with np.errstate(all="ignore"):
            self.arrays[value] = KERNELS[spec](*(self.arrays[v] for v in operands), **given_)
        if keep and value.type.dtype is self.real:
            self.pool.append(value)
        if keep and value.type.dtype is self.complex_dtype:
            self.complex.append(value)
        return value

    def concrete(self, attribute):
        if isinstance(attribute, Expr):
            return evaluate(attribute, self.symbols)
        if isinstance(attribute, tuple):
            return tuple(self.concrete(a) for a in attribute)
        return attribute

    def constant(self, array):
        return self.add(ops.CONSTANT, value=np.asarray(array), keep=False)

    def pick(self, test=lambda v: True):
        found = [v for v in self.pool if test(v)]
        if self.draw(st.booleans()):
            found = found[-3:]  # long chains as well as wide graphs
        return self.draw(st.sampled_from(found)) if found else None

    def axis(self, value):
        return self.draw(st.integers(0, value.type.rank - 1))


STEPS = []


def step(function):
    STEPS.append(function)
    return function


@step
def unary(p):
    x = p.pick()
    spec = p.draw(st.sampled_from([ops.NEG, ops.ABS, ops.SIGN, ops.FLOOR, ops.COPY]))
    p.add(spec, x)


@step
def binary(p):
    x = p.pick()
    y = p.pick(lambda v: _broadcasts(v.type.shape, x.type.shape))
    spec = p.draw(st.sampled_from([ops.ADD, ops.SUB, ops.MAXIMUM, ops.MINIMUM, ops.MUL]))
    result = p.add(spec, x, y, keep=spec is not ops.MUL)
    if spec is ops.MUL:
        bounded = p.add(ops.MINIMUM, result, p.number(8), keep=False)
        p.add(ops.MAXIMUM, bounded, p.number(-8))


def _broadcasts(a, b):
    try:
        broadcast_shapes("", (a, b))
    except ValueError:
        return False
    return True


@step
def choose(p):
    x = p.pick()
    test = p.add(ops.GT, x, p.number(0))
    if p.draw(st.booleans()):
        p.add(ops.WHERE, test, p.number(2), x)
    else:
        p.add(ops.CAST, test, dtype=p.real)


@step
def through_float32(p):
    p.add(ops.CAST, p.add(ops.CAST, p.pick(), dtype=float32), dtype=p.real)


@step
def reduce(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    spec = p.draw(st.sampled_from([ops.SUM, ops.SUM, ops.AMAX, ops.AMIN]))
    axes = p.draw(st.sets(st.integers(0, x.type.rank - 1), min_size=1))
    if spec is not ops.SUM and any(p.arrays[x].shape[a] == 0 for a in axes):
        return
    order = tuple(p.draw(st.permutations(sorted(axes))))
    p.add(spec, x, axes=order, keepdims=p.draw(st.booleans()))


@step
def center_rows(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None or 0 in p.arrays[x].shape:
        return
    spec = p.draw(st.sampled_from([ops.AMAX, ops.SUM]))
    axes = (x.type.rank - 1,) if p.draw(st.booleans()) else (p.axis(x),)
    p.add(ops.SUB, x, p.add(spec, x, axes=axes, keepdims=True))


@step
def position(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    axis = p.axis(x)
    if p.arrays[x].shape[axis] == 0:
        return
    spec = p.draw(st.sampled_from([ops.ARGMAX, ops.ARGMIN]))
    p.add(ops.CAST, p.add(spec, x, axis=axis, keepdims=p.draw(st.booleans())), dtype=p.real)


@step
def running(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    if p.draw(st.booleans()):
        p.add(ops.CUMSUM, x, axis=p.axis(x))
    else:
        p.add(ops.CUMPROD, p.add(ops.SIGN, x), axis=p.axis(x))


@step
def reshape(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    shape = list(x.type.shape)
    if len(shape) > 1 and p.draw(st.booleans()):
        at = p.draw(st.integers(0, len(shape) - 2))
        shape[at : at + 2] = [product(shape[at : at + 2])]
    else:
        at = p.draw(st.integers(0, len(shape) - 1))
        parts = [d for d in (1, 2, 3) if isinstance(shape[at], int) and shape[at] and shape[at] % d == 0] or [1]
        part = p.draw(st.sampled_from(parts))
        shape[at : at + 1] = [part, shape[at] // part if isinstance(shape[at], int) else shape[at]]
    if len(shape) <= 4:
        p.add(ops.RESHAPE, x, shape=tuple(shape))


@step
def permute(p):
    x = p.pick(lambda v: v.type.rank > 1)
    if x is not None:
        p.add(ops.PERMUTE, x, permutation=tuple(p.draw(st.permutations(range(x.type.rank)))))


@step
def broadcast(p):
    x = p.pick(lambda v: v.type.rank < 3)
    if x is None:
        return
    shape = tuple(p.draw(st.sampled_from([2, 3, symbol("N")])) if d == 1 else d for d in x.type.shape)
    p.add(ops.BROADCAST_TO, x, shape=(p.draw(st.sampled_from([1, 2, symbol("M")])), *shape))


@step
def slice_(p):
    x = p.pick()
    starts, sizes, steps = [], [], []
    for dim in x.type.shape:
        if not isinstance(dim, int) or dim == 0:
            starts.append(0), sizes.append(dim), steps.append(1)
            continue
        stride, start = p.draw(st.integers(1, 2)), p.draw(st.integers(0, dim - 1))
        starts.append(start), steps.append(stride)
        sizes.append(p.draw(st.integers(0, (dim - 1 - start) // stride + 1)))
    p.add(ops.SLICE, x, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))


@step
def slice_update(p):
    x = p.pick(lambda v: v.type.rank > 0 and all(isinstance(d, int) and d > 0 for d in v.type.shape))
    if x is None:
        return
    starts = tuple(p.draw(st.integers(0, d - 1)) for d in x.type.shape)
    sizes = tuple(p.draw(st.integers(0, d - s)) for d, s in zip(x.type.shape, starts, strict=True))
    update = p.add(ops.BROADCAST_TO, p.number(5), shape=sizes, keep=False)
    p.add(ops.SLICE_UPDATE, x, update, starts=starts, steps=(1,) * x.type.rank)


@step
def flip(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is not None:
        p.add(ops.FLIP, x, axes=(p.axis(x),))


@step
def pad(p):
    x = p.pick()
    amounts = st.integers(0, 2)
    low, high = (tuple(p.draw(amounts) for _ in x.type.shape) for _ in range(2))
    p.add(ops.PAD, x, p.number(7), low=low, high=high)


@step
def concat(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    axis = p.axis(x)
    y = p.pick(lambda v: v.type.rank == x.type.rank and all(
        a == b or i == axis for i, (a, b) in enumerate(zip(v.type.shape, x.type.shape, strict=True))))  # fmt: skip
    p.add(ops.CONCAT, x, y, x, axis=axis)


@step
def windows(p):
    x = p.pick(lambda v: v.type.rank > 0 and isinstance(v.type.shape[-1], int) and v.type.shape[-1] >= 2)
    if x is None:
        return
    window, stride, dilation = (2,), (p.draw(st.integers(1, 3)),), (1,)
    view = p.add(ops.WINDOWS, x, window=window, stride=stride, dilation=dilation, keep=x.type.rank < 3)
    if p.draw(st.booleans()):
        p.add(p.draw(st.sampled_from([ops.AMAX, ops.SUM])), view, axes=(view.type.rank - 1,), keepdims=False)
    else:
        p.add(ops.FOLD_WINDOWS, view, spatial=x.type.shape[-1:], stride=stride, dilation=dilation)


def _positions(p, size, shape):
    concrete = tuple(evaluate(d, p.symbols) for d in shape)
    if evaluate(size, p.symbols) == 0 and math.prod(concrete):
        return None
    return p.input(shape, int64, 0, max(evaluate(size, p.symbols) - 1, 0))


@step
def take_or_put(p):
    x = p.pick(lambda v: 0 < v.type.rank < 4)
    if x is None:
        return
    axis, shape = p.axis(x), p.draw(st.sampled_from([(), (2,), (symbol("N"),), (2, 1)]))
    indices = _positions(p, x.type.shape[axis], shape)
    if indices is None:
        return
    taken = p.add(ops.TAKE, x, indices, axis=axis)
    if p.draw(st.booleans()):
        p.add(ops.PUT, x, indices, p.add(ops.NEG, taken), axis=axis, mode=p.draw(st.sampled_from(["set", "add"])))


@step
def gather_or_scatter(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    axis = p.axis(x)
    shape = tuple(3 if a == axis else d for a, d in enumerate(x.type.shape))
    indices = _positions(p, x.type.shape[axis], shape)
    if indices is None:
        return
    found = p.add(ops.GATHER, x, indices, axis=axis)
    if p.draw(st.booleans()):
        p.add(ops.SCATTER, x, indices, found, axis=axis, mode=p.draw(st.sampled_from(["set", "add"])))


@step
def matrix_product(p):
    x = p.pick(lambda v: v.type.rank >= 2)
    if x is None:
        return
    rank = x.type.rank
    y = p.add(ops.PERMUTE, x, permutation=(*range(rank - 2), rank - 1, rank - 2))
    p.add(ops.SIGN, p.add(ops.DOT, x, y, keep=p.draw(st.booleans())))


@step
def count(p):
    x = p.pick(lambda v: v.type.rank > 0)
    if x is None:
        return
    axis = p.axis(x)
    p.add(ops.ADD, x, p.add(ops.IOTA, shape=x.type.shape, axis=axis, dtype=p.real))
    p.add(ops.ADD, x, p.add(ops.CAST, p.add(ops.SIZE, dim=x.type.shape[axis]), dtype=p.real))


def make_complex(p):
    x = p.pick()
    y = p.pick(lambda v: _broadcasts(v.type.shape, x.type.shape))
    p.add(ops.MAKE_COMPLEX, x, y)
    pairs = p.pick(lambda v: v.type.rank > 0 and v.type.shape[-1] == 2)
    if pairs is not None and p.draw(st.booleans()):
        p.add(ops.VIEW_AS_COMPLEX, pairs)


def complex_parts(p):
    if p.complex:
        x = p.draw(st.sampled_from(p.complex))
        p.add(p.draw(st.sampled_from([ops.REAL, ops.IMAG, ops.VIEW_AS_REAL, ops.VIEW_AS_REAL])), x)


def complex_arithmetic(p):
    if not p.complex:
        return
    x = p.draw(st.sampled_from(p.complex))
    fitting = [v for v in p.complex if _broadcasts(v.type.shape, x.type.shape)]
    kind = p.draw(st.sampled_from(["same", "turn", "sum of two", "sum", "move", "cast", "call out"]))
    if kind == "same":
        p.add(p.draw(st.sampled_from([ops.NEG, ops.CONJ, ops.COPY])), x)
    elif kind == "turn":
        p.add(ops.MUL, x, p.constant(p.complex_dtype.numpy.type(p.draw(st.sampled_from([1j, -1, 1 - 1j])))))
    elif kind == "sum of two":
        p.add(p.draw(st.sampled_from([ops.ADD, ops.SUB])), x, p.draw(st.sampled_from(fitting)))
    elif kind == "cast":
        p.add(ops.ADD, x, p.add(ops.CAST, p.add(ops.REAL, x, keep=False), dtype=p.complex_dtype, keep=False))
    elif x.type.rank and kind == "sum":
        p.add(p.draw(st.sampled_from([ops.SUM])), x, axes=(p.axis(x),), keepdims=p.draw(st.booleans()))
    elif x.type.rank and kind == "call out" and p.arrays[x].size:  # of signs, whose products stay small
        sign = p.add(ops.SIGN, p.add(ops.REAL, x, keep=False), keep=False)
        p.add(ops.CUMPROD, p.add(ops.MAKE_COMPLEX, sign, sign, keep=False), axis=p.axis(x), keep=p.arrays[x].size < 20)
    elif x.type.rank:
        axis = p.axis(x)
        p.add(ops.CONCAT, x, p.add(ops.FLIP, x, axes=(axis,), keep=False), axis=axis)
        p.add(ops.PERMUTE, x, permutation=tuple(p.draw(st.permutations(range(x.type.rank)))))


COMPLEX_STEPS = [make_complex] * 3 + [complex_arithmetic] * 6 + [complex_parts] * 3 + [binary, reduce, permute, reshape]


def rounded(p):
    """What rounds, once or by NumPy's own approximation."""
    x = p.pick()
    if p.draw(st.booleans()):
        y = p.pick(lambda v: _broadcasts(v.type.shape, x.type.shape))
        p.add(p.draw(st.sampled_from([ops.DIV, ops.MUL, ops.ADD, ops.SUB, ops.ATAN2, ops.POW, ops.REMAINDER])), x, y)
    elif p.draw(st.booleans()):
        y = p.number(p.draw(st.sampled_from([3, 4, 0.1, 2, -1, 0.5])))
        p.add(p.draw(st.sampled_from([ops.DIV, ops.MUL, ops.POW, ops.FLOOR_DIVIDE, ops.MAXIMUM])), x, y)
    else:
        kinds = [ops.EXP, ops.TANH, ops.SQRT, ops.RSQRT, ops.SIGMOID, ops.ERF, ops.LOG, ops.SIN, ops.ROUND, ops.CEIL]
        p.add(p.draw(st.sampled_from(kinds)), x)


def narrowed(p):
    dtype = p.draw(st.sampled_from([float16, bfloat16, float64, int32, int64]))
    x = p.add(ops.CAST, p.pick(), dtype=dtype)
    if p.draw(st.booleans()):
        spec = p.draw(st.sampled_from([ops.ADD, ops.MUL, ops.MAXIMUM, ops.ABS, ops.NEG]))
        x = p.add(spec, *[x] * len(spec.operands))
    p.add(ops.CAST, x, dtype=p.real)


def multiplied(p):
    x = p.pick(lambda v: v.type.rank >= 2)
    if x is not None:
        rank = x.type.rank
        p.add(ops.DOT, x, p.add(ops.PERMUTE, x, permutation=(*range(rank - 2), rank - 1, rank - 2)))


EXACT_STEPS = (*STEPS, *[rounded, rounded, reduce] * 4, *[narrowed, multiplied] * 2)


def any_numbers(generator, shape):
    """float32 of all sizes, zeros of both signs, subnormals, infinities and NaN among them."""
    array = (generator.standard_normal(shape) * 10.0 ** generator.integers(-3, 4, shape)).astype(np.float32)
    rare = np.array([0.0, -0.0, 0.0, -0.0, 1.0, -1.0, 2.0, 1e-41, -3e-42, 1e38, np.inf, -np.inf, np.nan], np.float32)
    return np.where(generator.random(shape) < 0.15, generator.choice(rare, shape), array)


@st.composite
def programs(draw, steps=(*STEPS, *[center_rows, reduce, binary] * 2), exact=False):
    symbols = {name: draw(st.sampled_from(sizes)) for name, sizes in SIZES.items()}
    p = Program(draw, symbols, exact)
    n, m = symbol("N"), symbol("M")
    p.input((n, m), int64)  # where the symbols get their values
    for shape in draw(
        st.lists(st.sampled_from([(3, 4), (n, 4), (2, n, m), (4,), (), (m, 1), (2, 0)]), min_size=1, max_size=3)
    ):
        p.input(shape)
    for function in draw(st.lists(st.sampled_from(steps), min_size=2, max_size=12)):
        function(p)
        p.pool = [v for v in p.pool if v.type.rank <= 4 and p.arrays[v].size <= 200]
        p.complex = [v for v in p.complex if v.type.rank <= 4 and p.arrays[v].size <= 200]
    outputs = draw(st.lists(st.sampled_from(p.pool + p.complex), min_size=1, max_size=3))
    outputs += p.pool[-1:] + p.complex[-1:]
    p.build.create(ops.RETURN, outputs)
    return p, [p.arrays[v] for v in outputs]


SETTINGS = {
    (roots, "MULTIPLE_USE_COST"): (1, 3, 10), (rows, "MULTIPLE_USE_COST"): (1, 3), (roots, "REPEATED_USE_COST"): (0, 3),
    (roots, "MOST_TAPS"): (0, 8, 64), (roots, "MOST_WINDOW_TAPS"): (0, 32),
    (roots, "FEW_TAPS"): (1, 4), (schedule, "LONG_ROW"): (2, 1 << 15),
    (schedule, "LONG_COLUMNS"): (4, 1 << 18), (schedule, "MANY_ROWS"): (2, 64), (columns, "TILE"): (2, 128),
    (writes, "TILE"): (2, 128), (columns, "FEW_COLUMNS"): (0, 4),
    (columns, "CHUNK"): (3, 1 << 14), (columns, "CHUNK_TILE"): (2, 1024), (cluster, "FEW_ROWS"): (0, 8),
    (rows, "SCRATCH_BYTES"): (0, 1 << 16), (rows, "TILE"): (2, 32), (split, "WORTH_SPLITTING"): (0, 1 << 12),
    (split, "MOST_PIECES"): (2, 4),
}  # fmt: skip


@contextlib.contextmanager
def drawn_settings(data):
    """Every threshold of lowering set to one of its choices."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), choices in SETTINGS.items():
            patch.setattr(module, name, data.draw(st.sampled_from(choices), label=name))
        yield
