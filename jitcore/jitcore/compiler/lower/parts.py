"""Complex numbers taken apart: a graph of the real operations that compute real and imaginary parts.

    %z = mul(%x, %y) : c64[N]                   re = xr * yr - xi * yi,  im = xr * yi + xi * yr
    %a = real(%z) : f32[N]                      re

What is in memory as complex numbers (inputs, outputs, operands of call-outs) is a real value with a last axis of size
2. `interleave` makes such a value of two parts; its loop runs over the numbers and stores both parts of each.
Operations with neither a rule here nor one for parts alone run by their NumPy kernels (`call_out_parts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir import Graph, Kind, Operation, OpSpec, ShapeError, TensorType, Trait, Value, ops
from jitcore_ir.dtypes import DType, bool_, float32, float64
from jitcore_ir.ops.rules import op
from jitcore_ir.shapes import Expr

from .index import Indices

Dims = tuple[int | Expr, ...]


@op("interleave", ("real", "imag"), {}, "Two arrays side by side along a new last axis of size 2.", Trait.LOOP)
def INTERLEAVE(real: TensorType, imag: TensorType) -> TensorType:
    if real != imag:
        raise ShapeError(f"interleave: {real} and {imag}")
    return TensorType(real.dtype, (*real.shape, 2))


@op(
    "call_out_parts",
    ("*xs",),
    {"dtype": Kind.DTYPE, "shape": Kind.DIMS},
    "What the NumPy kernel of the graph's operation gives; complex numbers have a last axis of size 2.",
    Trait.LOOP,
)
def CALL_OUT_PARTS(*xs: TensorType, dtype: DType, shape: Dims) -> TensorType:
    return TensorType(dtype, tuple(shape))


def elements_at(value: Value, place: Indices) -> list[Indices]:
    """The elements that are computed together where the loops of a value are at `place`: both parts of an interleaved
    number, whose place names the first."""
    assert value.operation is not None
    return [(*place[:-1], part) for part in (0, 1)] if value.operation.spec is INTERLEAVE else [place]


@dataclass(slots=True)
class Parts:
    """A complex value. `imag` is None where it is 0 everywhere; `whole` is the value in memory, if it is there."""

    real: Value
    imag: Value | None
    whole: Value | None = None


Rule = Callable[["Splitter", Operation], Any]
RULES: dict[OpSpec, Rule] = {}


def rule(*specs: OpSpec) -> Callable[[Rule], Rule]:
    """Decorator: how these operations are computed from parts. Gives Parts, or a real Value."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(specs, function))
        return function

    return register


PARTS: tuple[OpSpec, ...] = (
    ops.MAKE_COMPLEX, ops.CONJ, ops.REAL, ops.IMAG, ops.VIEW_AS_REAL, ops.VIEW_AS_COMPLEX,
)  # fmt: skip
"""Operations about complex numbers alone."""


def holds_complex(graph: Graph) -> bool:
    """Whether some value of the graph is complex."""
    return any(map(_is_complex, graph.inputs)) or any(_is_complex(v) for o in graph.operations for v in o.results)


def split_complex(graph: Graph, exact: bool = False) -> tuple[Graph, dict[Operation, int]]:
    """A graph that computes the same from real values, and the number in `graph` of the operation that each of its
    operations is from. `exact`: arithmetic of complex numbers is left to their kernels."""
    splitter = Splitter(graph, exact)
    for number, operation in enumerate(graph.operations):
        splitter.number, splitter.operation = number, operation
        splitter.translate(operation)
    return splitter.copy, splitter.numbers


class Splitter:
    """The real graph while it is made: `real` and `parts` say what became of each value."""

    def __init__(self, graph: Graph, exact: bool = False) -> None:
        self.copy = Graph(graph.name)
        self.rules = {spec: RULES[spec] for spec in (*PARTS, ops.CONSTANT)} if exact else RULES
        self.numbers: dict[Operation, int] = {}
        self.real: dict[Value, Value] = {}
        self.parts: dict[Value, Parts] = {}
        self.number = 0
        self.operation: Operation = graph.block.terminator
        for value in graph.inputs:
            made = self.copy.block.add_argument(_stored(value.type), value.name)
            self.real[value] = made

    def translate(self, operation: Operation) -> None:
        if operation.spec is ops.RETURN:
            self.append(ops.RETURN, *(self.stored(v) for v in operation.operands))
            return
        values = [*operation.operands, *operation.results]
        if not any(map(_is_complex, values)):
            made = self.append(operation.spec, *map(self.of, operation.operands), **operation.attributes)
            self.real.update(zip(operation.results, made.results, strict=True))
            return
        found = self.rules.get(operation.spec, _call_out)(self, operation)
        if found is None:
            found = _call_out(self, operation)
        if isinstance(found, Parts):
            shape = operation.result.type.shape
            imag = None if found.imag is None else self.fit(found.imag, shape)
            self.parts[operation.result] = Parts(self.fit(found.real, shape), imag, found.whole)
        else:
            self.real[operation.result] = found

    # --- making operations ---

    def append(self, spec: OpSpec, *operands: Value, **attributes: Any) -> Operation:
        made = self.copy.block.append(spec, operands, attributes, self.operation.location)
        self.numbers[made] = self.number
        return made

    def make(self, spec: OpSpec, *operands: Value, **attributes: Any) -> Value:
        return self.append(spec, *operands, **attributes).result

    def constant(self, number: float, dtype: DType) -> Value:
        return self.make(ops.CONSTANT, value=np.asarray(number, dtype.numpy))

    def cast(self, x: Value, dtype: DType) -> Value:
        return x if x.type.dtype is dtype else self.make(ops.CAST, x, dtype=dtype)

    def fit(self, x: Value, shape: Dims) -> Value:
        return x if x.type.shape == shape else self.make(ops.BROADCAST_TO, x, shape=shape)

    # --- what became of a value ---

    def of(self, value: Value) -> Value:
        """A real value."""
        return self.real[value]

    def pair(self, value: Value) -> Parts:
        """A complex value's parts; a real one's, which has no imaginary part."""
        if not _is_complex(value):
            return Parts(self.real[value], None)
        if value not in self.parts:  # an input: taken apart when it is first used
            self.parts[value] = self.apart(self.real[value])
        return self.parts[value]

    def apart(self, whole: Value) -> Parts:
        """The parts of what is in memory as complex numbers."""
        *shape, _ = whole.type.shape
        rank = len(shape)
        halves = []
        for part in (0, 1):
            taken = self.make(ops.SLICE, whole, starts=(*(0,) * rank, part), sizes=(*shape, 1), steps=(1,) * (rank + 1))
            halves.append(self.make(ops.RESHAPE, taken, shape=tuple(shape)))
        return Parts(halves[0], halves[1], whole)

    def imag(self, parts: Parts) -> Value:
        """The imaginary part, zeros where there is none."""
        if parts.imag is not None:
            return parts.imag
        return self.fit(self.constant(0, parts.real.type.dtype), parts.real.type.shape)

    def stored(self, value: Value) -> Value:
        """A value as it lies in memory."""
        if not _is_complex(value):
            return self.real[value]
        if value in self.real:  # an input
            return self.real[value]
        parts = self.parts[value]
        if parts.whole is None:
            parts.whole = self.make(INTERLEAVE, parts.real, self.imag(parts))
        return parts.whole

    # --- arithmetic on real values ---

    def add(self, x: Value, y: Value) -> Value:
        return self.make(ops.ADD, x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self.make(ops.SUB, x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self.make(ops.MUL, x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self.make(ops.DIV, x, y)

    def plus(self, x: Value, number: float) -> Value:
        return self.make(ops.ADD, x, self.constant(number, x.type.dtype))

    def times(self, x: Value, number: float) -> Value:
        return self.make(ops.MUL, x, self.constant(number, x.type.dtype))

    def choose(self, condition: Value, x: Value, y: Value) -> Value:
        return self.make(ops.WHERE, condition, x, y)

    def compare(self, spec: OpSpec, x: Value, number: float) -> Value:
        return self.make(spec, x, self.constant(number, x.type.dtype))


def _is_complex(value: Value) -> bool:
    return value.type.dtype.is_complex


def _stored(type: Any) -> TensorType:
    """The real type of what is in memory."""
    return TensorType(ops.PART[type.dtype], (*type.shape, 2)) if type.dtype.is_complex else type


def _call_out(s: Splitter, operation: Operation) -> Any:
    type = _stored(operation.result.type)
    made = s.make(CALL_OUT_PARTS, *map(s.stored, operation.operands), dtype=type.dtype, shape=type.shape)
    return s.apart(made) if _is_complex(operation.result) else made


# Parts and their views


@rule(ops.MAKE_COMPLEX)
def _make_complex(s: Splitter, operation: Operation) -> Parts:
    return Parts(*map(s.of, operation.operands))


@rule(ops.CONJ)
def _conj(s: Splitter, operation: Operation) -> Parts:
    x = s.pair(operation.operands[0])
    return Parts(x.real, None if x.imag is None else s.make(ops.NEG, x.imag))


@rule(ops.REAL)
def _real(s: Splitter, operation: Operation) -> Value:
    return s.pair(operation.operands[0]).real


@rule(ops.IMAG)
def _imag(s: Splitter, operation: Operation) -> Value:
    return s.imag(s.pair(operation.operands[0]))


@rule(ops.VIEW_AS_REAL)
def _view_as_real(s: Splitter, operation: Operation) -> Value:
    return s.stored(operation.operands[0])


@rule(ops.VIEW_AS_COMPLEX)
def _view_as_complex(s: Splitter, operation: Operation) -> Parts:
    return s.apart(s.of(operation.operands[0]))


@rule(ops.CONSTANT)
def _constant(s: Splitter, operation: Operation) -> Parts:
    value = operation.attributes["value"]
    real = s.make(ops.CONSTANT, value=np.array(value.real))
    return Parts(real, s.make(ops.CONSTANT, value=np.array(value.imag)) if value.imag.any() else None)


@rule(ops.CAST)
def _cast(s: Splitter, operation: Operation) -> Any:
    x, dtype = s.pair(operation.operands[0]), operation.attributes["dtype"]
    if dtype.is_complex:
        part = ops.PART[dtype]
        return Parts(s.cast(x.real, part), None if x.imag is None else s.cast(x.imag, part))
    real = s.cast(x.real, dtype)
    return s.make(ops.BITWISE_OR, real, s.cast(x.imag, dtype)) if dtype is bool_ and x.imag is not None else real


@rule(
    ops.NEG, ops.ADD, ops.SUB, ops.WHERE, ops.COPY, ops.RESHAPE, ops.PERMUTE, ops.BROADCAST_TO, ops.SLICE,
    ops.SLICE_UPDATE, ops.FLIP, ops.PAD, ops.CONCAT, ops.WINDOWS, ops.FOLD_WINDOWS, ops.TAKE, ops.PUT, ops.GATHER,
    ops.SCATTER, ops.SUM, ops.CUMSUM,
)  # fmt: skip
def _each_part(s: Splitter, operation: Operation) -> Parts:
    """Linear operations, whose real and imaginary parts do not meet."""
    given = [(s.pair(v), _is_complex(v)) for v in operation.operands]
    real = s.make(operation.spec, *(x.real for x, _ in given), **operation.attributes)
    if all(x.imag is None for x, _ in given):
        return Parts(real, None)
    imag = [s.imag(x) if of_complex else x.real for x, of_complex in given]
    return Parts(real, s.make(operation.spec, *imag, **operation.attributes))


# Arithmetic


def product(s: Splitter, x: Parts, y: Parts, multiply: Callable[[Value, Value], Value]) -> Parts:
    """Of two complex values, by a product of real ones."""
    real = multiply(x.real, y.real)
    if x.imag is None and y.imag is None:
        return Parts(real, None)
    if x.imag is None or y.imag is None:
        mixed = multiply(x.real, y.imag) if y.imag is not None else multiply(x.imag, y.real)  # type: ignore[arg-type]
        return Parts(real, mixed)
    imag = s.add(multiply(x.real, y.imag), multiply(x.imag, y.real))
    return Parts(s.sub(real, multiply(x.imag, y.imag)), imag)


@rule(ops.MUL)
def _mul(s: Splitter, operation: Operation) -> Parts:
    x, y = map(s.pair, operation.operands)
    return product(s, x, y, s.mul)


@rule(ops.DOT, ops.CONV, ops.CONV_TRANSPOSE, ops.CONV_WEIGHT_GRADIENT)
def _contraction(s: Splitter, operation: Operation) -> Parts:
    x, y = map(s.pair, operation.operands)
    return product(s, x, y, lambda a, b: s.make(operation.spec, a, b, **operation.attributes))


@rule(ops.DIV)
def _div(s: Splitter, operation: Operation) -> Parts:
    return quotient(s, *map(s.pair, operation.operands))


def quotient(s: Splitter, x: Parts, y: Parts) -> Parts:
    """x / y. complex64 is divided in float64, where squares do not overflow; complex128 by Smith's method."""
    if y.imag is None:
        return Parts(s.div(x.real, y.real), None if x.imag is None else s.div(x.imag, y.real))
    if y.real.type.dtype is float32:
        (a, b), (c, d) = (_wide(s, z) for z in (x, y))
        size = s.add(s.mul(c, c), s.mul(d, d))
        real, imag = s.mul(a, c), s.mul(s.make(ops.NEG, a), d)
        if b is not None:
            real, imag = s.add(real, s.mul(b, d)), s.add(imag, s.mul(b, c))
        return Parts(s.cast(s.div(real, size), float32), s.cast(s.div(imag, size), float32))
    a, b, c, d = x.real, s.imag(x), y.real, y.imag
    flat = s.make(ops.GE, s.make(ops.ABS, c), s.make(ops.ABS, d))  # |c| is the larger
    large, small = s.choose(flat, c, d), s.choose(flat, d, c)
    ratio = s.div(small, large)
    size = s.add(large, s.mul(small, ratio))
    p, q = s.mul(b, ratio), s.mul(a, ratio)
    real = s.choose(flat, s.add(a, p), s.add(q, b))
    imag = s.choose(flat, s.sub(b, q), s.sub(p, a))
    return Parts(s.div(real, size), s.div(imag, size))


def _wide(s: Splitter, x: Parts) -> tuple[Value, Any]:
    return s.cast(x.real, float64), None if x.imag is None else s.cast(x.imag, float64)


@rule(ops.EQ)
def _eq(s: Splitter, operation: Operation) -> Value:
    return _compared(s, operation, ops.BITWISE_AND)


@rule(ops.NE)
def _ne(s: Splitter, operation: Operation) -> Value:
    return _compared(s, operation, ops.BITWISE_OR)


def _compared(s: Splitter, operation: Operation, join: OpSpec) -> Value:
    x, y = map(s.pair, operation.operands)
    real = s.make(operation.spec, x.real, y.real)
    if x.imag is None and y.imag is None:
        return real
    return s.make(join, real, s.make(operation.spec, s.imag(x), s.imag(y)))


@rule(ops.ABS)
def _abs(s: Splitter, operation: Operation) -> Value:
    return distance(s, s.pair(operation.operands[0]))


def distance(s: Splitter, x: Parts) -> Value:
    """|x|, without overflow of the squares: those of float32 in float64, those of float64 scaled by the larger."""
    if x.imag is None:
        return s.make(ops.ABS, x.real)
    if x.real.type.dtype is float32:
        return s.cast(s.make(ops.SQRT, _square(s, *_wide(s, x))), float32)
    a, b = s.make(ops.ABS, x.real), s.make(ops.ABS, x.imag)
    large, small = s.make(ops.MAXIMUM, a, b), s.make(ops.MINIMUM, a, b)
    plain = s.make(ops.BITWISE_OR, s.compare(ops.EQ, large, 0.0), s.compare(ops.EQ, large, np.inf))
    ratio = s.div(small, s.choose(plain, s.constant(1.0, float64), large))
    return s.choose(plain, large, s.mul(large, s.make(ops.SQRT, s.plus(s.mul(ratio, ratio), 1.0))))


def _square(s: Splitter, a: Value, b: Value) -> Value:
    return s.add(s.mul(a, a), s.mul(b, b))


# Functions


def _function(spec: OpSpec) -> Callable[[Callable[[Splitter, Value, Value], Parts]], Any]:
    """Decorator: a function of the two parts; a number on the real line goes the same way."""

    def register(compute: Callable[[Splitter, Value, Value], Parts]) -> Any:
        def apply(s: Splitter, operation: Operation) -> Parts:
            x = s.pair(operation.operands[0])
            return compute(s, x.real, s.imag(x))

        RULES[spec] = apply
        return compute

    return register


@_function(ops.EXP)
def _exp(s: Splitter, x: Value, y: Value) -> Parts:
    size = s.make(ops.EXP, x)
    return Parts(s.mul(size, s.make(ops.COS, y)), s.mul(size, s.make(ops.SIN, y)))


@_function(ops.LOG)
def _log(s: Splitter, x: Value, y: Value) -> Parts:
    angle = s.make(ops.ATAN2, y, x)
    if x.type.dtype is float32:
        square = _square(s, *_wide(s, Parts(x, y)))
        return Parts(s.cast(s.times(s.make(ops.LOG, square), 0.5), float32), angle)
    return Parts(s.make(ops.LOG, distance(s, Parts(x, y))), angle)


@_function(ops.LOG2)
def _log2(s: Splitter, x: Value, y: Value) -> Parts:
    found = _log(s, x, y)
    return Parts(s.times(found.real, 1 / np.log(2)), s.times(found.imag, 1 / np.log(2)))


@_function(ops.SQRT)
def _sqrt(s: Splitter, x: Value, y: Value) -> Parts:
    """The root whose real part is not below 0: t = sqrt((|z| + |x|) / 2) is its larger part, y / 2t the other."""
    t = s.make(ops.SQRT, s.times(s.add(distance(s, Parts(x, y)), s.make(ops.ABS, x)), 0.5))
    zero = s.compare(ops.EQ, t, 0.0)
    other = s.div(s.times(y, 0.5), s.choose(zero, s.constant(1.0, t.type.dtype), t))
    right = s.compare(ops.GE, x, 0.0)
    # 1 / -0.0 is below 0 too: the lower side of the branch cut.
    below = s.make(
        ops.BITWISE_OR, s.compare(ops.LT, y, 0.0),
        s.compare(ops.LT, s.div(s.constant(1.0, y.type.dtype), y), 0.0),
    )  # fmt: skip
    signed = s.choose(below, s.make(ops.NEG, t), t)
    return Parts(s.choose(right, t, s.make(ops.ABS, other)), s.choose(right, other, signed))


@_function(ops.RSQRT)
def _rsqrt(s: Splitter, x: Value, y: Value) -> Parts:
    return quotient(s, Parts(s.constant(1.0, x.type.dtype), None), _sqrt(s, x, y))


@_function(ops.SIGMOID)
def _sigmoid(s: Splitter, x: Value, y: Value) -> Parts:
    power = _exp(s, s.make(ops.NEG, x), s.make(ops.NEG, y))
    return quotient(s, Parts(s.constant(1.0, x.type.dtype), None), Parts(s.plus(power.real, 1.0), power.imag))


@_function(ops.SIN)
def _sin(s: Splitter, x: Value, y: Value) -> Parts:
    return Parts(
        s.mul(s.make(ops.SIN, x), s.make(ops.COSH, y)),
        s.mul(s.make(ops.COS, x), s.make(ops.SINH, y)),
    )


@_function(ops.COS)
def _cos(s: Splitter, x: Value, y: Value) -> Parts:
    imag = s.mul(s.make(ops.SIN, x), s.make(ops.SINH, y))
    return Parts(s.mul(s.make(ops.COS, x), s.make(ops.COSH, y)), s.make(ops.NEG, imag))


@_function(ops.SINH)
def _sinh(s: Splitter, x: Value, y: Value) -> Parts:
    return Parts(
        s.mul(s.make(ops.SINH, x), s.make(ops.COS, y)),
        s.mul(s.make(ops.COSH, x), s.make(ops.SIN, y)),
    )


@_function(ops.COSH)
def _cosh(s: Splitter, x: Value, y: Value) -> Parts:
    return Parts(
        s.mul(s.make(ops.COSH, x), s.make(ops.COS, y)),
        s.mul(s.make(ops.SINH, x), s.make(ops.SIN, y)),
    )


@_function(ops.TANH)
def _tanh(s: Splitter, x: Value, y: Value) -> Parts:
    """With t = tanh x and u = tan y: (t + uj) / (1 + tuj). 1 - t * t is 1 / cosh(x)**2, exact for large x too."""
    t, u = s.make(ops.TANH, x), s.make(ops.TAN, y)
    inverse = s.div(s.constant(1.0, x.type.dtype), s.make(ops.COSH, x))
    size = s.plus(s.mul(s.mul(t, t), s.mul(u, u)), 1.0)
    real = s.div(s.mul(t, s.plus(s.mul(u, u), 1.0)), size)
    return Parts(real, s.div(s.mul(u, s.mul(inverse, inverse)), size))


@_function(ops.TAN)
def _tan(s: Splitter, x: Value, y: Value) -> Parts:
    """tan(z) = -j tanh(jz)."""
    turned = _tanh(s, s.make(ops.NEG, y), x)
    return Parts(turned.imag, s.make(ops.NEG, turned.real))  # type: ignore[arg-type]


@rule(ops.POW)
def _pow(s: Splitter, operation: Operation) -> Parts | None:
    """Squares, cubes, roots and inverses; other powers by NumPy."""
    exponent = operation.operands[1].operation
    if exponent is None or exponent.spec is not ops.CONSTANT or exponent.result.type.shape != ():
        return None
    x, power = s.pair(operation.operands[0]), exponent.attributes["value"].item()
    if power == 2:
        return product(s, x, x, s.mul)
    if power == 3:
        return product(s, product(s, x, x, s.mul), x, s.mul)
    if power == 0.5:
        return _sqrt(s, x.real, s.imag(x))
    if power == -1:
        return quotient(s, Parts(s.constant(1.0, x.real.type.dtype), None), x)
    return None
