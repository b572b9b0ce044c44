"""Small programs that between them reach every way a loop becomes CUDA code, with inputs and what NumPy gives."""

from dataclasses import dataclass, field

import numpy as np

from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir import DTypeError, Graph, TensorType, Trait, ops
from jitcore_ir.builder import Builder
from jitcore_ir.dtypes import bfloat16, bool_, float16, float32, float64, from_numpy, int8, int32, int64, uint8
from jitcore_ir.shapes import evaluate, symbol
from jitcore_runtime.interpreter import interpret

N = symbol("N")
CASES = {}


@dataclass
class Case:
    """A graph under construction; `arrays` are the inputs."""

    name: str
    symbols: dict = field(default_factory=dict)
    arrays: list = field(default_factory=list)
    tolerance: float = 2e-6

    def __post_init__(self):
        self.graph = Graph(self.name)
        self.build = Builder(self.graph.block)

    def input(self, array, shape=None):
        self.arrays.append(np.array(array, order="C"))
        return self.graph.block.add_argument(TensorType(from_numpy(array.dtype), tuple(shape or array.shape)))

    def normal(self, *shape, dtype=np.float32, seed=0):
        concrete = tuple(evaluate(d, self.symbols) for d in shape)
        return self.input(np.random.default_rng(seed).normal(size=concrete).astype(dtype), shape)

    def whole(self, *shape, dtype=np.int64, low=-9, high=10, seed=0):
        return self.input(np.random.default_rng(seed).integers(low, high, shape).astype(dtype))

    def constant(self, value, dtype=float32):
        return self(ops.CONSTANT, value=np.asarray(value, dtype.numpy))

    def __call__(self, spec, *operands, **attributes):
        return self.build.value(spec, *operands, **attributes)

    def reduce(self, spec, x, *axes, keepdims=True):
        return self(spec, x, axes=axes, keepdims=keepdims)

    def returns(self, *values):
        self.build.create(ops.RETURN, list(values))

    def module(self):
        return lower_graph(self.graph)

    def expected(self):
        with np.errstate(all="ignore"):
            return interpret(self.graph, self.arrays, self.symbols)


def case(function):
    CASES[function.__name__] = function
    return function


def make(name):
    built = Case(name)
    CASES[name](built)
    return built


@case
def gelu_chain(c, shape=(2, 3, 5)):
    x = c.normal(*shape)
    cubed = c(ops.MUL, c(ops.MUL, x, x), x)
    inner = c(ops.ADD, x, c(ops.MUL, c.constant(0.044715), cubed))
    grown = c(ops.ADD, c.constant(1.0), c(ops.TANH, c(ops.MUL, c.constant(0.7978845608), inner)))
    c.returns(c(ops.MUL, c(ops.MUL, c.constant(0.5), x), grown))


@case
def gelu_by_erf(c):
    x = c.normal(40)
    c.returns(c(ops.MUL, x, c(ops.ADD, c.constant(1.0), c(ops.ERF, c(ops.MUL, x, c.constant(0.70710678))))))


@case
def softmax_row(c, width=70):
    c.symbols = {"N": 3}
    x = c.normal(N, width)
    e = c(ops.EXP, c(ops.SUB, x, c.reduce(ops.AMAX, x, 1)))
    c.returns(c(ops.DIV, e, c.reduce(ops.SUM, e, 1)))


@case
def layernorm_row(c, width=70):
    c.symbols = {"N": 3}
    x, weight, bias = c.normal(N, width), c.normal(width, seed=1), c.normal(width, seed=2)
    count = c.constant(float(width))
    centred = c(ops.SUB, x, c(ops.DIV, c.reduce(ops.SUM, x, 1), count))
    variance = c(ops.DIV, c.reduce(ops.SUM, c(ops.MUL, centred, centred), 1), count)
    scale = c(ops.RSQRT, c(ops.ADD, variance, c.constant(1e-5)))
    c.returns(c(ops.ADD, c(ops.MUL, c(ops.MUL, centred, scale), weight), bias))


@case
def row_sums_of_symbolic_width(c):
    c.symbols = {"N": 45}
    c.returns(c.reduce(ops.SUM, c.normal(2, N), 1, keepdims=False))


@case
def short_rows(c):
    c.returns(c.reduce(ops.SUM, c.normal(50, 3), 1, keepdims=False))


@case
def column_sums(c):
    c.returns(c.reduce(ops.SUM, c.normal(7, 40), 0, keepdims=False))


@case
def sums_over_outer_and_inner_axes(c):
    c.returns(c.reduce(ops.SUM, c.normal(3, 4, 40), 0, 2, keepdims=False))


@case
def total(c):
    c.returns(c.reduce(ops.SUM, c.normal(9, 50), 0, 1, keepdims=False))


@case
def other_reductions(c):
    x = c.whole(3, 40, dtype=np.int32)
    flags = c(ops.GT, x, c.constant(8, int32))
    small = c.whole(3, 40, dtype=np.float64, low=1, high=3)
    c.returns(
        *(c.reduce(spec, x, 1) for spec in (ops.AMAX, ops.AMIN, ops.PROD)),
        *(c.reduce(spec, flags, 1) for spec in (ops.AMAX, ops.AMIN)),
        c.reduce(ops.PROD, small, 1),
    )


@case
def maximum_of_a_row_with_nan(c):
    x = np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)
    x[1, 33] = np.nan
    c.returns(c.reduce(ops.AMAX, c.input(x), 1))


@case
def broadcast_bias(c):
    c.returns(c(ops.ADD, c.normal(3, 40), c.normal(40, seed=1)))


@case
def permuted(c):
    x = c.normal(5, 6, 7)
    c.returns(c(ops.ADD, c(ops.PERMUTE, x, permutation=(2, 0, 1)), c.normal(7, 5, 6, seed=1)))


@case
def transposed_in_tiles(c):
    c.returns(c(ops.PERMUTE, c.normal(40, 50), permutation=(1, 0)))


@case
def joined(c):
    c.returns(c(ops.CONCAT, c.normal(2, 5), c.normal(3, 5, seed=1), axis=0))


@case
def running_sum(c):
    c.returns(c(ops.CUMSUM, c.normal(3, 40), axis=1))


@case
def taken(c):
    c.returns(c(ops.TAKE, c.normal(9, 4), c.input(np.array([8, 0, 3])), axis=0))


@case
def random_words(c):
    seed, offset = c.input(np.array(7)), c.input(np.array(3))
    c.returns(c(ops.RANDOM_BITS, seed, offset, shape=(10,)))


@case
def integer_division(c):
    x, y = c.whole(30), c.whole(30, low=1, seed=1)
    z = c(ops.MUL, y, c.input(np.where(np.arange(30) % 2, 1, -1)))
    c.returns(*(c(spec, x, z) for spec in (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD)))


@case
def casts(c):
    x = c.input(np.array([0.0, -0.0, 1.5, -2.75, 6e-8, 1e-5, 65504.0, 70000.0, np.inf, -np.inf, np.nan], np.float32))
    half, brain = c(ops.CAST, x, dtype=float16), c(ops.CAST, x, dtype=bfloat16)
    c.returns(
        half, brain, c(ops.CAST, half, dtype=float32), c(ops.CAST, brain, dtype=float64), c(ops.CAST, x, dtype=bool_)
    )


@case
def casts_of_integers(c):
    x = c.whole(20, low=-300, high=300)
    c.returns(*(c(ops.CAST, x, dtype=d) for d in (int8, uint8, int32, float16, float32, float64, bool_)))


@case
def casts_from_float64_round_once(c):
    c.tolerance = 0
    edge = 1 + 2.0**-11  # halfway between two float16, where float32 cannot tell what lies beside it
    x = c.input(
        np.array([edge, edge + 2.0**-40, edge - 2.0**-40, 1 + 2.0**-8 + 2.0**-40, -edge, np.inf, np.nan, 1e300])
    )
    c.returns(c(ops.CAST, x, dtype=float16), c(ops.CAST, x, dtype=bfloat16))


@case
def half_precision_rows(c):
    c.tolerance = 2e-3
    x = c.normal(2, 40, dtype=np.float16)
    c.returns(c(ops.SIGMOID, x), c.reduce(ops.SUM, x, 1))


NOT_HERE = (ops.WHERE, ops.CAST, ops.SPECIAL, ops.SPECIAL_OF_TWO)
"""The first two have cases of their own; special functions run by NumPy kernels, which a device does not have."""


def elementwise(dtype):
    """A program of every elementwise operation that takes the dtype."""

    def build(c):
        c.tolerance = 2e-6 if dtype is not float64 else 1e-12
        low = 0 if dtype is uint8 else -3
        x, y = c.whole(8, dtype=dtype.numpy, low=low, high=4), c.whole(8, dtype=dtype.numpy, low=1, high=4, seed=1)
        if dtype in (float32, float64):
            x = c(ops.MUL, x, c.constant(0.3, dtype))
        results = []
        for spec in vars(ops).values():
            if getattr(spec, "has", None) is None or not spec.has(Trait.ELEMENTWISE) or spec in NOT_HERE:
                continue
            try:
                spec.infer((TensorType(dtype, (8,)),) * len(spec.operands), {})
            except DTypeError:
                continue
            results.append(c(spec, *(x, y)[: len(spec.operands)]))
        condition = c(ops.LE, x, y)
        c.returns(c(ops.WHERE, condition, x, y), *results)

    return build


for _dtype in (bool_, uint8, int8, int32, int64, float32, float64):
    CASES[f"every_elementwise_operation_on_{_dtype.name}"] = elementwise(_dtype)
