"""Result types of every operation, and what each refuses, with the words it uses."""

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jitcore_ir import OPS, AttributeValueError, DTypeError, Graph, ShapeError, Trait, ops, parse_graph, shapes
from jitcore_ir.dtypes import ALL, BOOL, COMPLEX, FLOATING, INTEGER, REAL, bool_, float32, int32, int64
from jitcore_ir.ops.rules import broadcast_shapes
from jitcore_ir.parser import _Parser
from jitcore_ir.types import TensorType


def infer(spec, operands, **attributes):
    """The result types of an operation on operands whose types are given as text."""
    graph = Graph()
    values = [graph.block.add_argument(_Parser(text).type()) for text in operands.split()]
    return " ".join(str(v.type) for v in graph.block.append(spec, values, attributes).results)


N = shapes.symbol("N")


def call(**changed):
    """Attributes of a custom_call of one operand."""
    plain = {"name": "t::f", "version": 1, "arguments": '[{"tensor":0},2.5]', "dtypes": "int64", "ranks": (1,)}
    return {**plain, "dims": (N,), "dtype": int64, **changed}


GOOD = [
    (ops.NEG, "f32[2,N]", {}, "f32[2,N]"),
    (ops.ISNAN, "f16[3]", {}, "bool[3]"),
    (ops.ADD, "i32[3,1] i32[4]", {}, "i32[3,4]"),
    (ops.ADD, "f32[N,1] f32[]", {}, "f32[N,1]"),
    (ops.ADD, "f32[N,1] f32[1,M]", {}, "f32[N,M]"),
    (ops.MUL, "bool[0,1] bool[1,5]", {}, "bool[0,5]"),
    (ops.LT, "i8[2] i8[2]", {}, "bool[2]"),
    (ops.WHERE, "bool[3,1] c64[2] c64[]", {}, "c64[3,2]"),
    (ops.CAST, "f32[2]", {"dtype": int32}, "i32[2]"),
    (ops.COPY, "bf16[7]", {}, "bf16[7]"),
    (ops.RESHAPE, "f32[N,6]", {"shape": (shapes.symbol("N"), 2, 3)}, "f32[N,2,3]"),
    (ops.RESHAPE, "f32[0,3]", {"shape": (5, 0)}, "f32[5,0]"),
    (ops.PERMUTE, "f32[2,3,4]", {"permutation": (2, 0, 1)}, "f32[4,2,3]"),
    (ops.BROADCAST_TO, "f32[3,1]", {"shape": (2, 3, 4)}, "f32[2,3,4]"),
    (ops.BROADCAST_TO, "f32[1]", {"shape": (0,)}, "f32[0]"),
    (ops.SLICE, "f32[10]", {"starts": (1,), "sizes": (3,), "steps": (4,)}, "f32[3]"),
    (ops.SLICE, "f32[10]", {"starts": (10,), "sizes": (0,), "steps": (1,)}, "f32[0]"),
    (ops.SLICE_UPDATE, "f32[10] f32[3]", {"starts": (1,), "steps": (4,)}, "f32[10]"),
    (ops.FLIP, "f32[2,3]", {"axes": (1,)}, "f32[2,3]"),
    (ops.PAD, "f32[2,N] f32[]", {"low": (0, 1), "high": (2, 0)}, "f32[4,N + 1]"),
    (ops.CONCAT, "f32[2,3] f32[N,3] f32[0,3]", {"axis": 0}, "f32[N + 2,3]"),
    (ops.WINDOWS, "f32[5,10]", {"window": (3,), "stride": (2,), "dilation": (2,)}, "f32[5,3,3]"),
    (ops.FOLD_WINDOWS, "f32[5,3,3]", {"spatial": (10,), "stride": (2,), "dilation": (2,)}, "f32[5,10]"),
    (ops.SUM, "f16[2,3,4]", {"axes": (0, 2), "keepdims": False}, "f16[3]"),
    (ops.SUM, "f32[2,0]", {"axes": (1,), "keepdims": True}, "f32[2,1]"),
    (ops.AMAX, "bool[2]", {"axes": (0,), "keepdims": False}, "bool[]"),
    (ops.ARGMAX, "f32[2,3]", {"axis": 1, "keepdims": True}, "i64[2,1]"),
    (ops.CUMSUM, "i32[2,3]", {"axis": 1}, "i32[2,3]"),
    (ops.TAKE, "f32[5,6] i64[2,3]", {"axis": 0}, "f32[2,3,6]"),
    (ops.PUT, "f32[5,6] i64[2] f32[2,6]", {"axis": 0, "mode": "add"}, "f32[5,6]"),
    (ops.GATHER, "f32[5,6] i64[3,2]", {"axis": 1}, "f32[3,2]"),
    (ops.SCATTER, "f32[5,6] i64[3,9] f32[3,9]", {"axis": 1, "mode": "set"}, "f32[5,6]"),
    (ops.SCATTER_REDUCE, "f32[5,6] i64[3,9] f32[3,9]", {"axis": 1, "mode": "max"}, "f32[5,6]"),
    (ops.DOT, "f32[B,2,3] f32[B,3,4]", {}, "f32[B,2,4]"),
    (ops.CUSTOM_CALL, "f32[N]", call(), "i64[N]"),
    (ops.CUSTOM_CALL, "f64[]", call(arguments='[{"number":0}]'), "i64[N]"),
    (
        ops.CUSTOM_CALL,
        "f32[2]",
        call(dtypes="float32,int64,float32", ranks=(2, 1, 0), dims=(N, 3, 2), dtype=float32),
        "f32[3*N + 1]",
    ),
    (ops.CONSTANT, "", {"value": np.zeros((2, 1), np.uint8)}, "u8[2,1]"),
    (ops.IOTA, "", {"shape": (3, 4), "axis": 1, "dtype": int64}, "i64[3,4]"),
    (ops.MAKE_COMPLEX, "f32[2,1] f32[3]", {}, "c64[2,3]"),
    (ops.ABS, "c128[2]", {}, "f64[2]"),
    (ops.REAL, "c64[N]", {}, "f32[N]"),
    (ops.IMAG, "c128[]", {}, "f64[]"),
    (ops.VIEW_AS_REAL, "c64[3]", {}, "f32[3,2]"),
    (ops.VIEW_AS_COMPLEX, "f64[N,2]", {}, "c128[N]"),
    (ops.SIZE, "", {"dim": shapes.symbol("N")}, "i64[]"),
    (ops.RANDOM_BITS, "i64[] i64[]", {"shape": (5,)}, "i32[5]"),
    (ops.ARGSORT, "f16[2,N]", {"axis": 1, "descending": True}, "i64[2,N]"),
    (ops.TOP_POSITIONS, "f32[2,5]", {"axis": 1, "count": 3, "largest": True}, "i64[2,3]"),
    (ops.RUNNING_POSITION, "f32[N]", {"axis": 0, "largest": False}, "i64[N]"),
    (ops.LOGCUMSUMEXP, "f32[N,2]", {"axis": 0}, "f32[N,2]"),
    (ops.SEARCHSORTED, "f32[2,N] f32[2,5]", {"right": False}, "i64[2,5]"),
    (ops.NONZERO, "bool[2,N]", {"count": 7}, "i64[7,2]"),
    (ops.CTC, "f32[T,N,5] bool[N,5] i64[N] i64[N]", {}, "f32[N]"),
    (ops.CTC_POSTERIOR, "f64[T,2,5] bool[2,5] i64[2] i64[2]", {}, "f64[T,2,5]"),
    (ops.CHOLESKY, "f32[B,3,3]", {"strict": True}, "f32[B,3,3]"),
    (ops.CHOLESKY_INFO, "c64[2,3,3]", {}, "i32[2]"),
    (ops.LU, "f32[N,3]", {}, "f32[3*N + min(3, N) + 1]"),
    (ops.PIVOT_ORDER, "i32[2,3]", {"rows": 5}, "i32[2,5]"),
    (ops.SOLVE, "f64[2,3,3] f64[2,3,1]", {"strict": False}, "f64[2,3,1]"),
    (ops.SOLVE_TRIANGULAR, "f32[N,N] f32[N,2]", {"upper": True, "unit": False}, "f32[N,2]"),
    (ops.INV, "c128[0,0]", {"strict": True}, "c128[0,0]"),
    (ops.PINV, "c64[4,2,3] f32[4]", {"hermitian": False}, "c64[4,3,2]"),
    (ops.DET, "f32[B,2,2]", {}, "f32[B]"),
    (ops.COFACTOR, "f32[2,2]", {}, "f32[2,2]"),
    (ops.SLOGDET, "f32[5,2,2]", {}, "f32[5,2]"),
    (ops.QR, "f32[4,3]", {"complete": False}, "f32[21]"),
    (ops.REFLECTORS, "f32[4,3]", {}, "f32[15]"),
    (ops.SVD, "f32[4,3]", {"full": True}, "f32[28]"),
    (ops.SVDVALS, "c64[4,3]", {}, "f32[3]"),
    (ops.EIGH, "c64[2,2]", {"upper": False}, "c64[6]"),
    (ops.EIGVALSH, "c64[7,2,2]", {"upper": True}, "f32[7,2]"),
    (ops.EIG, "f32[2,2]", {}, "c64[6]"),
    (ops.EIGVALS, "f64[2,2]", {}, "c128[2]"),
    (ops.MATRIX_EXP, "f64[2,2]", {}, "f64[2,2]"),
    (ops.LDL, "f64[2,2]", {"hermitian": False}, "f64[7]"),
    (ops.LDL_SOLVE, "f64[2,2] i32[2] f64[2,5]", {"hermitian": False}, "f64[2,5]"),
    (ops.FFT, "c64[2,N]", {"axes": (1, 0), "inverse": True, "norm": "ortho"}, "c64[2,N]"),
    (ops.RFFT, "f32[N,7]", {"axis": 1, "norm": "backward"}, "c64[N,4]"),
    (ops.IRFFT, "c128[4]", {"axis": 0, "n": 7, "norm": "forward"}, "f64[7]"),
    (ops.RETURN, "f32[2] i32[]", {}, ""),
    (ops.YIELD, "f32[2]", {}, ""),
]


@pytest.mark.parametrize("spec, operands, attributes, expected", GOOD, ids=lambda v: getattr(v, "name", ""))
def test_result_types(spec, operands, attributes, expected):
    assert infer(spec, operands, **attributes) == expected


CONV = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
BAD = [
    (ops.CUSTOM_CALL, "f32[N]", call(name="f"), AttributeValueError, "write namespace::name"),
    (ops.CUSTOM_CALL, "f32[N]", call(name="a::b\n"), AttributeValueError, "write namespace::name"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments="[2.5]"), AttributeValueError, "t::f takes the operands [], but 1"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments='[{"tensor":1}]'), AttributeValueError, "takes the operands [1]"),
    (ops.CUSTOM_CALL, "f32[]", call(arguments='[{"number":0}]'), AttributeValueError, "no f64[] or i64[]"),
    (ops.CUSTOM_CALL, "f64[1]", call(arguments='[{"number":0}]'), AttributeValueError, "no f64[] or i64[]"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments='[{"tensor":0}'), AttributeValueError, "not JSON"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments="[" * 60000), AttributeValueError, "not JSON"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments="[" * 99 + "]" * 99), AttributeValueError, "cannot be an argument"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments="3"), AttributeValueError, "are a int, not a list"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments=" " * 70000), AttributeValueError, "70000 letters"),
    (ops.CUSTOM_CALL, "f32[N]", call(arguments='[{"dtype":"f7"}]'), AttributeValueError, "unknown dtype 'f7'"),
    (ops.CUSTOM_CALL, "f32[N]", call(dtypes="f7"), AttributeValueError, "unknown dtype 'f7'"),
    (ops.CUSTOM_CALL, "f32[N]", call(ranks=(2,)), AttributeValueError, "ranks (2,) and 1 dims do not fit"),
    (ops.CUSTOM_CALL, "f32[N]", call(dims=(-1,)), AttributeValueError, "negative"),
    (ops.CUSTOM_CALL, "f32[N]", call(dtype=int32), AttributeValueError, "no result of t::f is int32"),
    (ops.EXP, "i32[2]", {}, DTypeError, "exp: x is int32; allowed are float16, bfloat16, float32, float64, complex64"),
    (ops.ADD, "f32[2] i32[2]", {}, DTypeError, "add: x is float32 but y is int32"),
    (ops.SUB, "bool[2] bool[2]", {}, DTypeError, "sub: x is bool; allowed are uint8"),
    (ops.ADD, "f32[2,3] f32[4]", {}, ShapeError,
     "add: shapes [2, 3] and [4] do not broadcast: dimension 1 is 3 in one and 4 in another"),
    (ops.ADD, "f32[N] f32[M]", {}, ShapeError, "dimension 0 is N in one and M in another"),
    (ops.WHERE, "i32[2] f32[2] f32[2]", {}, DTypeError, "where: condition is int32; allowed are bool"),
    (ops.WHERE, "bool[2] f32[2] f64[2]", {}, DTypeError, "where: x is float32 but y is float64"),
    (ops.RESHAPE, "f32[2,3]", {"shape": (4,)}, ShapeError, "reshape: shape [2, 3] holds 6 elements, [4] 4"),
    (ops.RESHAPE, "f32[2,3]", {"shape": (-2, -3)}, AttributeValueError, "has the negative dimension -2"),
    (ops.PERMUTE, "f32[2,3]", {"permutation": (0,)}, AttributeValueError, "permutation (0,) has 1 entries for 2"),
    (ops.PERMUTE, "f32[2,3]", {"permutation": (0, 0)}, AttributeValueError, "permute: axes (0, 0) repeat one"),
    (ops.PERMUTE, "f32[2,3]", {"permutation": (0, -1)}, AttributeValueError, "axis -1 is outside a tensor of 2 dim"),
    (ops.BROADCAST_TO, "f32[3]", {"shape": (3, 4)}, ShapeError, "broadcast_to: shapes [3] and [3, 4] do not broadcast"),
    (ops.BROADCAST_TO, "f32[2,3]", {"shape": (3,)}, ShapeError, "shape [2, 3] does not stretch to [3]"),
    (ops.BROADCAST_TO, "f32[3]", {"shape": (1,)}, ShapeError, "shape [3] does not stretch to [1]"),
    (ops.SLICE, "f32[10]", {"starts": (8,), "sizes": (3,), "steps": (1,)}, ShapeError, "element 10 of axis 0 is outs"),
    (ops.SLICE, "f32[10]", {"starts": (0,), "sizes": (3,), "steps": (0,)}, AttributeValueError, "step 0 on axis 0"),
    (ops.SLICE, "f32[N]", {"starts": (-1,), "sizes": (3,), "steps": (1,)}, AttributeValueError, "start -1, size 3"),
    (ops.SLICE_UPDATE, "f32[10] f64[1]", {"starts": (0,), "steps": (1,)}, DTypeError, "x is float32 but update is"),
    (ops.FLIP, "f32[2]", {"axes": (1,)}, AttributeValueError, "flip: axis 1 is outside a tensor of 1 dimensions"),
    (ops.PAD, "f32[2] f32[1]", {"low": (0,), "high": (0,)}, ShapeError, "pad: value has 1 dimensions, not 0"),
    (ops.PAD, "f32[2] f64[]", {"low": (0,), "high": (0,)}, DTypeError, "pad: x is float32 but value is float64"),
    (ops.PAD, "f32[2] f32[]", {"low": (-1,), "high": (0,)}, AttributeValueError, "pad: amount -1 is negative"),
    (ops.CONCAT, "", {"axis": 0}, ShapeError, "concat: nothing to join"),
    (ops.CONCAT, "f32[2,3] f32[2,4]", {"axis": 0}, ShapeError, "concat: f32[2,4] does not join f32[2,3] along axis 0"),
    (ops.CONCAT, "f32[2] i32[2]", {"axis": 0}, DTypeError, "the first tensor is float32 but another is int32"),
    (ops.WINDOWS, "f32[4]", {"window": (5,), "stride": (1,), "dilation": (1,)}, ShapeError, "spanning 5 does not fit"),
    (ops.WINDOWS, "f32[4]", {"window": (2,), "stride": (0,), "dilation": (1,)}, AttributeValueError, "be positive"),
    (ops.WINDOWS, "f32[4]", {"window": (2, 2), "stride": (1, 1), "dilation": (1, 1)}, AttributeValueError, "window ("),
    (ops.FOLD_WINDOWS, "f32[3,3]", {"spatial": (9,), "stride": (1,), "dilation": (1,)}, ShapeError,
     "fold_windows: f32[3,3] does not hold the windows of a [9] input"),
    (ops.SUM, "f32[2]", {"axes": (1,), "keepdims": False}, AttributeValueError, "sum: axis 1 is outside"),
    (ops.SUM, "bool[2]", {"axes": (0,), "keepdims": False}, DTypeError, "sum: x is bool"),
    (ops.AMAX, "f32[2,0]", {"axes": (1,), "keepdims": False}, ShapeError, "no elements along axes (1,) of f32[2,0]"),
    (ops.ARGMIN, "f32[0]", {"axis": 0, "keepdims": False}, ShapeError, "argmin: no elements along axis 0 of f32[0]"),
    (ops.ARGMIN, "c64[2]", {"axis": 0, "keepdims": False}, DTypeError, "argmin: x is complex64"),
    (ops.CUMPROD, "f32[]", {"axis": 0}, AttributeValueError, "cumprod: axis 0 is outside a tensor of 0 dimensions"),
    (ops.TAKE, "f32[5] i32[2]", {"axis": 0}, DTypeError, "take: indices are int32, not int64"),
    (ops.PUT, "f32[5] i64[2] f32[3]", {"axis": 0, "mode": "set"}, ShapeError, "updates have shape [3], expected [2]"),
    (ops.PUT, "f32[5] i64[2] f32[2]", {"axis": 0, "mode": "max"}, AttributeValueError, "mode 'max' is not one of"),
    (ops.PUT, "f32[5] i64[2] f64[2]", {"axis": 0, "mode": "set"}, DTypeError, "x is float32 but updates are float64"),
    (ops.GATHER, "f32[5,6] i64[6,2]", {"axis": 1}, ShapeError, "indices of shape [6, 2] do not fit x of shape [5, 6]"),
    (ops.GATHER, "f32[5,6] i64[2]", {"axis": 1}, ShapeError, "do not fit x of shape [5, 6] off axis 1"),
    (ops.SCATTER, "f32[5] i64[2] f32[3]", {"axis": 0, "mode": "set"}, ShapeError, "updates have shape [3], expected"),
    (ops.INV, "f32[2,3]", {"strict": True}, ShapeError, "inv: the matrices must be square, but they are 2 by 3"),
    (ops.SVDVALS, "i32[2,3]", {}, DTypeError, "svdvals: x is int32; allowed are float32, float64, complex64"),
    (ops.SOLVE, "f32[3,3] f32[3]", {"strict": True}, ShapeError, "solve: shapes [3, 3] and [3] are not [*B, n, n] and"),
    (ops.RFFT, "f32[0]", {"axis": 0, "norm": "ortho"}, ShapeError, "rfft: invalid number of data points (0) specified"),
    (ops.DOT, "f32[2,3] f32[4,5]", {}, ShapeError, "dot: shapes [2, 3] and [4, 5] do not multiply"),
    (ops.DOT, "f32[3] f32[3]", {}, ShapeError, "dot: shapes [3] and [3] do not multiply"),
    (ops.DOT, "f32[2,3] f16[3,5]", {}, DTypeError, "dot: x is float32 but y is float16"),
    (ops.CONV, "f32[1,3,8] f32[4,4,3]", CONV, ShapeError,
     "conv: input has 3 channels but weight expects 4 (weight shape [4, 4, 3], groups 1)"),
    (ops.CONV, "f32[1,2,8] f32[5,1,3]", CONV | {"groups": 2}, ShapeError, "5 output channels do not divide into 2"),
    (ops.CONV, "f32[1,2,8] f32[5,1,3]", CONV | {"groups": 0}, AttributeValueError, "groups is 0"),
    (ops.CONV, "f32[1,2] f32[5,1]", CONV, ShapeError, "conv: shapes [1, 2] and [5, 1] are not [N, C, S...]"),
    (ops.CONV, "f32[1,2,8] f32[5,2,3]", CONV | {"stride": ()}, AttributeValueError, "need 1 entries each"),
    (ops.CONV, "f32[1,2,8] f32[5,2,3]", CONV | {"padding": ((0, -1),)}, AttributeValueError, "is negative"),
    (ops.CONV, "f32[1,2,2] f32[5,2,3]", CONV, ShapeError, "conv: a window spanning 3 does not fit in 2"),
    (ops.CONV_TRANSPOSE, "f32[1,4,6] f32[5,2,3]", CONV | {"spatial": (8,)}, ShapeError, "4 channels but weight exp"),
    (ops.CONV_TRANSPOSE, "f32[1,5,6] f32[5,2,3]", CONV | {"spatial": (9,)}, ShapeError, "would give [7], not x's [6]"),
    (ops.CONV_WEIGHT_GRADIENT, "f32[1,4,8] f32[2,5,6]", CONV | {"kernel": (3,)}, ShapeError, "do not belong together"),
    (ops.MAKE_COMPLEX, "f16[3] f16[3]", {}, DTypeError, "make_complex: real is float16; allowed are float32, float64"),
    (ops.MAKE_COMPLEX, "f32[3] f64[3]", {}, DTypeError, "real is float32 but imag is float64"),
    (ops.REAL, "f32[3]", {}, DTypeError, "real: x is float32; allowed are complex64"),
    (ops.VIEW_AS_REAL, "f32[3]", {}, DTypeError, "view_as_real: x is float32"),
    (ops.VIEW_AS_COMPLEX, "f32[2,3]", {}, ShapeError, "the last axis of f32[2,3] must have size 2"),
    (ops.VIEW_AS_COMPLEX, "f32[]", {}, ShapeError, "the last axis of f32[] must have size 2"),
    (ops.IOTA, "", {"shape": (3,), "axis": 1, "dtype": int64}, AttributeValueError, "iota: axis 1 is outside"),
    (ops.IOTA, "", {"shape": (3,), "axis": 0, "dtype": bool_}, DTypeError, "iota: result is bool"),
    (ops.RANDOM_BITS, "i32[] i64[]", {"shape": (3,)}, DTypeError, "random_bits: seed is int32, not int64"),
    (ops.RANDOM_BITS, "i64[] i64[2]", {"shape": (3,)}, ShapeError, "random_bits: offset has 1 dimensions, not 0"),
]  # fmt: skip


@pytest.mark.parametrize("spec, operands, attributes, error, message", BAD, ids=lambda v: getattr(v, "name", ""))
def test_refusals(spec, operands, attributes, error, message):
    with pytest.raises(error) as caught:
        infer(spec, operands, **attributes)
    assert message in str(caught.value)
    assert str(caught.value).startswith(spec.name), "an error names its operation first"


def test_every_operation_is_in_the_tables_above():
    primitives = {spec for spec in OPS.values() if not spec.has(Trait.LOOP | Trait.CLOSED)}
    elementwise = {spec for spec in primitives if spec.has(Trait.ELEMENTWISE)}
    conv = {ops.CONV, ops.CONV_TRANSPOSE, ops.CONV_WEIGHT_GRADIENT, ops.PROD, ops.AMIN, ops.ARGMIN, ops.CUMPROD}
    assert primitives - elementwise - conv == {row[0] for row in GOOD} - elementwise


def test_ops_offers_specs_and_two_tables_of_dtypes_only():
    public = {name for name in vars(ops) if name.isupper()}
    assert {name.lower() for name in public - {"ACCUMULATOR", "PART"}} == {
        s.name for s in OPS.values() if not s.has(Trait.LOOP)
    }
    others = {name for name in vars(ops) if not name.startswith("_")} - public
    assert all(isinstance(vars(ops)[name], ModuleType) for name in others)


UNARY_AND_BINARY = sorted(
    (
        s
        for s in OPS.values()
        if s.has(Trait.ELEMENTWISE) and s not in (ops.WHERE, ops.MAKE_COMPLEX) and not s.attributes
    ),
    key=lambda s: s.name,
)


@pytest.mark.parametrize("spec", UNARY_AND_BINARY, ids=lambda s: s.name)
def test_elementwise_operations_take_whole_families_of_dtypes(spec):
    """No operation takes float32 but not float16, or int8 but not int64: users would trip over that."""
    accepted = set()
    for dtype in ALL:
        try:
            spec.infer((TensorType(dtype),) * len(spec.operands), {})
        except DTypeError:
            continue
        accepted.add(dtype)
    assert accepted
    for family in (BOOL, INTEGER, FLOATING, COMPLEX):
        assert set(family) <= accepted or not set(family) & accepted


# Against other implementations

small_shapes = st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=4).map(tuple)


@settings(max_examples=300, deadline=None)
@given(st.lists(small_shapes, min_size=1, max_size=3))
def test_broadcasting_is_numpys(operands):
    try:
        expected = np.broadcast_shapes(*operands)
    except ValueError:
        with pytest.raises(ShapeError):
            broadcast_shapes("test", operands)
    else:
        assert broadcast_shapes("test", operands) == expected


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_convolution_shapes_are_pytorchs(data):
    rank = data.draw(st.integers(1, 3))
    numbers = st.tuples(*[st.integers(1, 3)] * rank)
    stride, dilation, kernel = data.draw(numbers), data.draw(numbers), data.draw(numbers)
    padding = data.draw(st.tuples(*[st.integers(0, 2)] * rank))
    groups = data.draw(st.integers(1, 3))
    spatial = data.draw(st.tuples(*[st.integers(1, 9)] * rank))
    x = (2, 2 * groups, *spatial)
    weight = (3 * groups, 2, *kernel)
    values = {"stride": stride, "padding": tuple((p, p) for p in padding), "dilation": dilation, "groups": groups}
    function = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[rank]
    meta = [torch.empty(shape, device="meta") for shape in (x, weight)]
    types = [TensorType(float32, shape) for shape in (x, weight)]
    try:
        expected = function(*meta, stride=stride, padding=padding, dilation=dilation, groups=groups)
    except RuntimeError:
        with pytest.raises(ShapeError):
            ops.CONV.infer(tuple(types), values)
        return
    (result,) = ops.CONV.infer(tuple(types), values)
    assert result.shape == tuple(expected.shape)
    # The adjoints take the result's shape back to the operands'.
    back = ops.CONV_TRANSPOSE.infer((result, types[1]), values | {"spatial": spatial})
    assert back == (types[0],)
    assert ops.CONV_WEIGHT_GRADIENT.infer((types[0], result), values | {"kernel": kernel}) == (types[1],)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_slice_shapes_are_numpys(data):
    dim = data.draw(st.integers(0, 12))
    start, size, step = data.draw(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(1, 4)))
    selected = np.arange(dim)[start : start + size * step : step][:size]
    attributes = {"starts": (start,), "sizes": (size,), "steps": (step,)}
    if len(selected) == size:
        assert ops.SLICE.infer((TensorType(float32, (dim,)),), attributes) == (TensorType(float32, (size,)),)
    else:
        with pytest.raises(ShapeError, match="slice: element"):
            ops.SLICE.infer((TensorType(float32, (dim,)),), attributes)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3))
def test_window_counts_are_pytorchs_unfold(size, window, stride):
    attributes = {"window": (window,), "stride": (stride,), "dilation": (1,)}
    type = TensorType(float32, (size,))
    if window > size:
        with pytest.raises(ShapeError):
            ops.WINDOWS.infer((type,), attributes)
        return
    expected = torch.empty(size, device="meta").unfold(0, window, stride)
    (result,) = ops.WINDOWS.infer((type,), attributes)
    assert result.shape == tuple(expected.shape)
    folded = ops.FOLD_WINDOWS.infer((result,), {"spatial": (size,), "stride": (stride,), "dilation": (1,)})
    assert folded == (type,)


def test_symbolic_shapes_with_values_are_the_static_ones():
    """A graph over symbols has, at any size, the shapes that the graph of that size has."""
    body = """
  %p = pad(%x, %z) {low = [1, 0], high = [0, 2]} : f32[{a} + 1,{b} + 2]
  %w = windows(%p) {window = [2], stride = [2], dilation = [1]} : f32[{a} + 1,({b} // 2) + 1,2]
  %r = reshape(%w) {shape = [2*({b} // 2) + 2, {a} + 1]} : f32[2*({b} // 2) + 2,{a} + 1]
  return(%r)
}"""
    head = "graph @main(%x: f32[{a},{b}], %z: f32[]) {"
    symbolic = parse_graph((head + body).replace("{a}", "N").replace("{b}", "M"))
    for a, b in [(0, 0), (1, 1), (3, 8), (5, 7)]:
        static = parse_graph((head + body).replace("{a}", str(a)).replace("{b}", str(b)))
        for one, other in zip(symbolic.operations, static.operations, strict=True):
            for x, y in zip(one.results, other.results, strict=True):
                assert tuple(shapes.evaluate(d, {"N": a, "M": b}) for d in x.type.shape) == y.type.shape


def test_real_operations_exclude_complex():
    for spec in (ops.SIGN, ops.FLOOR_DIVIDE, ops.MAXIMUM):
        for dtype in REAL:
            spec.infer((TensorType(dtype),) * len(spec.operands), {})
        with pytest.raises(DTypeError):
            spec.infer((TensorType(COMPLEX[0]),) * len(spec.operands), {})
