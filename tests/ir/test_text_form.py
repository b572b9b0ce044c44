"""The text form: what is printed parses back to the same graph, and what is wrong is refused with its place."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jitcore.compiler.loops.ops as loop_ops
from jitcore_ir import (
    BufferType,
    Graph,
    Kind,
    Location,
    ParseError,
    TensorType,
    Trait,
    ops,
    parse_graph,
    print_graph,
    print_operation,
    shapes,
)
from jitcore_ir.dense import build_dense, format_dense, format_float, parse_float
from jitcore_ir.dtypes import ALL, bfloat16, bool_, float32, int8
from jitcore_ir.graph import Region
from jitcore_ir.lexer import tokenize
from jitcore_ir.ops.rules import op
from jitcore_ir.parser import _Parser
from jitcore_ir.verifier import verify

KINDS = {kind.value: kind for kind in Kind}


def everything(*operands, **attributes):
    return operands


# Below the graph level, so that no table of primitives is asked for an entry.
EVERYTHING = op("test_everything", ("*xs",), KINDS, "Every kind of attribute.", Trait.LOOP)(everything)
NESTED = op("test_nested", ("*xs",), {}, "Two regions.", Trait.LOOP | Trait.IMPURE, regions=2)(everything)


# Strategies

names = st.one_of(st.just(""), st.sampled_from(["x", "layer.weight", "weights²", "3"]), st.text(max_size=4))
symbol_names = st.sampled_from(["N", "M", "seq_len", "größe", "inf", "f32"])
locations = st.builds(Location, st.text(max_size=8), st.integers(0, 5))


def normal_location(location):
    """A location without a line is unknown, whatever its file."""
    return location if location.line else Location("", 0)


def _combine(children):
    pairs = st.tuples(children, children)
    divisors = st.one_of(st.integers(1, 6), symbol_names.map(shapes.symbol))
    return st.one_of(
        pairs.map(lambda p: shapes.add(*p)),
        pairs.map(lambda p: shapes.sub(*p)),
        pairs.map(lambda p: shapes.mul(*p)),
        pairs.map(lambda p: shapes.maximum(*p)),
        pairs.map(lambda p: shapes.minimum(*p)),
        st.tuples(children, divisors).map(lambda p: shapes.floordiv(*p)),
        st.tuples(children, divisors).map(lambda p: shapes.mod(*p)),
    )


dims = st.recursive(st.integers(-3, 9) | symbol_names.map(shapes.symbol), _combine, max_leaves=6)
types = st.one_of(
    st.builds(TensorType, st.sampled_from(ALL), st.lists(dims, max_size=3).map(tuple)),
    st.builds(BufferType, st.sampled_from(ALL), st.lists(dims, max_size=3).map(tuple)),
)


@st.composite
def arrays(draw):
    """Arrays of any bits: every NaN, infinity and zero there is."""
    dtype = draw(st.sampled_from(ALL))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    if draw(st.booleans()) and draw(st.booleans()):
        shape = (draw(st.integers(60, 200)),)
    count = int(np.prod(shape, dtype=int))
    if draw(st.booleans()):
        data = draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize)) * count
    else:
        data = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    if dtype is bool_:
        data = bytes(b & 1 for b in data)
    array = np.frombuffer(data, dtype.numpy).reshape(shape)
    return np.asarray(array.T if draw(st.booleans()) else array)


small = st.integers(-(2**63), 2**63 - 1)
ATTRIBUTES = {
    "int": small,
    "float": st.one_of(st.floats(), st.sampled_from([-0.0, float("inf"), 5e-324])),
    "bool": st.booleans(),
    "string": st.text(max_size=6),
    "dtype": st.sampled_from(ALL),
    "dim": dims,
    "ints": st.lists(small, max_size=3).map(tuple),
    "dims": st.lists(dims, max_size=3).map(tuple),
    "pairs": st.lists(st.tuples(small, small), max_size=3).map(tuple),
    "dense": arrays(),
}


@st.composite
def graphs(draw):
    graph = Graph(draw(names))
    for _ in range(draw(st.integers(0, 3))):
        graph.block.add_argument(draw(types), draw(names))
    fill(draw, graph.block, list(graph.block.arguments), ops.RETURN, 2)
    return graph


def fill(draw, block, visible, terminator, depth):
    """Put a few operations into `block`; in its regions too."""

    def some():
        return draw(st.lists(st.sampled_from(visible), max_size=2)) if visible else []

    def tensors():
        return [v for v in some() if isinstance(v.type, TensorType)]

    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["everything", "constant", "nested"][: 3 if depth else 2]))
        location = normal_location(draw(locations))
        if kind == "everything":
            values = {name: draw(strategy) for name, strategy in ATTRIBUTES.items()}
            new = block.append(EVERYTHING, some(), values, location)
        elif kind == "constant":
            new = block.append(ops.CONSTANT, [], {"value": draw(arrays())}, location)
        else:
            regions = [Region(), Region()]
            for region in regions:
                inside = [region.block.add_argument(draw(types), draw(names)) for _ in range(draw(st.integers(0, 2)))]
                fill(draw, region.block, visible + inside, ops.YIELD, depth - 1)
            new = block.append(NESTED, some(), {}, location, regions)
        for value in new.results:
            value.name = draw(names)
        visible = visible + new.results
    block.append(terminator, tensors())


# Exact equality


def bits(value):
    """Something that is equal exactly where attribute values are the same to the bit."""
    if isinstance(value, np.ndarray):
        return (value.dtype, value.shape, value.tobytes())
    if isinstance(value, float):
        return ("float", np.float64(value).tobytes())
    return (type(value).__name__, value)


def assert_same(a, b):
    assert a.name == b.name
    assert_same_block(a.block, b.block, {})


def assert_same_block(a, b, match):
    assert [(v.name, v.type) for v in a.arguments] == [(v.name, v.type) for v in b.arguments]
    match.update(zip(a.arguments, b.arguments, strict=True))
    assert len(a.operations) == len(b.operations)
    for x, y in zip(a.operations, b.operations, strict=True):
        assert x.spec is y.spec and x.location == y.location
        assert [match[v] for v in x.operands] == y.operands
        assert {k: bits(v) for k, v in x.attributes.items()} == {k: bits(v) for k, v in y.attributes.items()}
        for inner, other in zip(x.regions, y.regions, strict=True):
            assert_same_block(inner.block, other.block, match)
        assert [(v.name, v.type) for v in x.results] == [(v.name, v.type) for v in y.results]
        match.update(zip(x.results, y.results, strict=True))


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_what_is_printed_parses_back_to_the_same_graph(graph):
    text = print_graph(graph)
    again = parse_graph(text)
    assert_same(graph, again)
    verify(again)
    assert print_graph(again) == text


@settings(max_examples=300, deadline=None)
@given(dims)
def test_dimensions_parse_back(dim):
    parser = _Parser(str(dim))
    assert parser.dim() == dim
    assert parser.peek().kind == "end"


@settings(max_examples=300, deadline=None)
@given(arrays())
@example(np.array([0.1, 1e-45, 3.4028235e38], np.float32))
@example(np.array([np.nan, -np.nan, np.inf, -0.0], np.float16))
@example(np.zeros((0, 3), np.complex64))
def test_arrays_are_exact_to_the_bit(array):
    type = TensorType(next(d for d in ALL if d.numpy == array.dtype), array.shape)
    parser = _Parser(format_dense(array))
    again = build_dense(parser.dense(), type)
    assert again.tobytes() == array.tobytes() and again.shape == array.shape and again.dtype == array.dtype
    assert not again.flags.writeable


@given(st.floats())
def test_floats_are_exact_to_the_bit(value):
    again = parse_float(format_float(value))
    assert np.float64(again).tobytes() == np.float64(value).tobytes()


def test_every_operation_of_a_kernel_prints_as_documented():
    text = loop_ops.__doc__.split("```")[1].lstrip("\n")
    assert print_graph(parse_graph(text)) == text


def test_small_arrays_are_readable():
    shown = {
        "[0.1, 2.0, -0.0]": np.array([0.1, 2, -0.0], np.float32),
        "[[1, 2], [3, 4]]": np.array([[1, 2], [3, 4]], np.int8),
        "[nan, inf, -inf]": np.array([np.nan, np.inf, -np.inf], np.float64),
        "(1.0, -2.5)": np.array(1 - 2.5j, np.complex64),
        "splat 3": np.full((40, 40), 3, np.int64),
        "[true, false]": np.array([True, False]),
        "[1.5, 3.0]": np.array([1.5, 3], bfloat16.numpy),
        "[]": np.zeros((3, 0), np.float32),
        "[0x7fc00001, 0x7fc00002]": np.array([0x7FC00001, 0x7FC00002], np.uint32).view(np.float32),
    }
    for text, array in shown.items():
        assert format_dense(array) == text


def test_names_are_unique_and_numbers_are_for_values_without_one():
    graph = Graph()
    x = graph.block.add_argument(TensorType(float32), "x")
    a = graph.block.append(ops.NEG, [x]).result
    b = graph.block.append(ops.NEG, [a]).result
    a.name, b.name = "x", ""
    c = graph.block.append(ops.ADD, [a, b]).result
    c.name = "two words"
    graph.block.append(ops.RETURN, [c])
    assert print_graph(graph).splitlines()[1:-1] == [
        "  %x#1 = neg(%x) : f32[]",
        "  %0 = neg(%x#1) : f32[]",
        '  %"two words" = add(%x#1, %0) : f32[]',
        '  return(%"two words")',
    ]


def test_str_of_a_graph_leaves_out_large_arrays_and_says_so_when_parsed():
    graph = Graph()
    value = graph.block.append(ops.CONSTANT, [], {"value": np.arange(10_000)}).result
    graph.block.append(ops.RETURN, [value])
    assert "elided 80000" in str(graph) and len(str(graph)) < 200
    assert_same(parse_graph(print_graph(graph)), graph)
    with pytest.raises(ParseError, match="80000 bytes of this array were left out"):
        parse_graph(str(graph))


def test_an_array_of_another_type_than_the_result_says_its_own():
    graph = Graph()
    x = graph.block.add_argument(TensorType(float32, (2,)), "x")
    values = dict.fromkeys(KINDS)
    values |= {
        "int": 1,
        "float": 2.5,
        "bool": True,
        "string": "a\nb",
        "dtype": int8,
        "dim": 3,
        "ints": (),
        "dims": (4,),
    }
    values |= {"pairs": ((1, 2),), "dense": np.array([7, 8], np.int16)}
    new = graph.block.append(EVERYTHING, [x], values)
    assert print_operation(new) == (
        '%0 = test_everything(%x) {int = 1, float = 2.5, bool = true, string = "a\\nb", dtype = i8, dim = 3, '
        "ints = [], dims = [4], pairs = [(1, 2)], dense = i16[2] [7, 8]} : f32[2]"
    )


def test_an_operation_prints_even_where_its_attributes_are_wrong():
    graph = Graph()
    x = graph.block.add_argument(TensorType(float32, (2,)), "x")
    new = graph.block.append(ops.SUM, [x], {"axes": (0,), "keepdims": False})
    new.attributes = {"axes": None, "more": 1}
    assert print_operation(new) == "%0 = sum(%x) {axes = <not ints: None>, more = <not an attribute: 1>} : f32[]"


def test_comments_and_line_breaks_are_free():
    graph = parse_graph("# a comment\ngraph @main(%x: f32[2]) { %y = neg(%x)\n : f32[2] # another\n return(%y) }")
    assert [o.spec for o in graph.operations] == [ops.NEG, ops.RETURN]


HEAD = "graph @main(%x: f32[3], %i: i64[]) {\n"
REFUSED = {
    "unknown operation": ("  %y = subb(%x) : f32[3]", 2, 8, "unknown operation 'subb'; did you mean sub"),
    "unknown value": ("  %y = neg(%z) : f32[3]", 2, 12, "%z is not defined before this line"),
    "use before definition": ("  %y = neg(%z) : f32[3]\n  %z = neg(%x) : f32[3]", 2, 12, "%z is not defined before"),
    "wrong type": ("  %y = neg(%x) : f32[4]", 2, 8, "has type f32[3], but the text says f32[4]"),
    "no type": ("  %y = neg(%x)", 2, 8, "has type f32[3], but the text says no type"),
    "shape rule": ("  %y = reshape(%x) {shape = [2]} : f32[2]", 2, 8, "reshape: shape [3] holds 3 elements, [2] 2"),
    "operand count": ("  %y = add(%x) : f32[3]", 2, 8, "add takes (x, y), but 1 operands are given"),
    "result count": ("  %y, %z = neg(%x) : f32[3]", 2, 12, "neg has 1 results, but 2 are named"),
    "unknown attribute": ("  %y = neg(%x) {axis = 1} : f32[3]", 2, 17, "'axis' of neg is unknown; it has none"),
    "attribute twice": (
        "  %y = cast(%x) {dtype = f16, dtype = f16} : f16[3]",
        2,
        31,
        "attribute 'dtype' of cast is given twice",
    ),
    "missing attribute": ("  %y = sum(%x) {axes = [0]} : f32[]", 2, 8, "sum lacks its attribute keepdims"),
    "attribute kind": ("  %y = sum(%x) {axes = [0], keepdims = 1} : f32[]", 2, 40, "expected true or false, found '1'"),
    "float for int": ("  %y = cumsum(%x) {axis = 0.5} : f32[3]", 2, 27, "0.5 is not an integer"),
    "unknown dtype": ("  %y = cast(%x) {dtype = f8} : f16[3]", 2, 26, "expected a dtype (bool, u8"),
    "defined twice": ("  %x = neg(%x) : f32[3]", 2, 3, "%x is defined twice; a second value of the name is %x#1"),
    "array too short": ("  %y = constant() {value = [1.0]} : f32[2]", 2, 28, "1 entries where the shape has 2"),
    "array nesting": ("  %y = constant() {value = [[1.0]]} : f32[1]", 2, 28, "more nesting than the shape"),
    "array without type": ("  %y = constant() {value = 1}", 2, 28, "an array needs its type before it"),
    "integer out of range": ("  %y = constant() {value = 300} : u8[]", 2, 28, "300 is outside uint8's 0 to 255"),
    "bad base64": ('  %y = constant() {value = base64 "AA="} : u8[2]', 2, 28, "not base64"),
    "base64 too short": ('  %y = constant() {value = base64 "AAA="} : f32[2]', 2, 28, "2 bytes given, but 2 elements"),
    "complex element": ("  %y = constant() {value = 1.0} : c64[]", 2, 28, "elements are written (real, imaginary)"),
    "bad bool": ("  %y = constant() {value = 1} : bool[]", 2, 28, "'1' is not true or false"),
    "symbolic array": ("  %y = constant() {value = 1.0} : f32[N]", 2, 28, "cannot have the shape of f32[N]"),
    "division by zero": ("  %y = size() {dim = (N // 0)} : i64[]", 2, 25, "a dimension is divided by zero"),
    "unexpected character": ("  %y = neg(%x) ; f32[3]", 2, 16, "unexpected ';'"),
    "region missing": ('  for(%i) {kind = "serial"}\n', 4, 3, "expected '{'"),
    "region scope": (
        '  for(%i) {kind = "serial"} { ^(%j: i64[]):\n    yield()\n  }\n  %y = neg(%j) : i64[]',
        5,
        12,
        "%j is not visible here",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_text_is_refused_with_its_place(case):
    body, line, column, message = REFUSED[case]
    with pytest.raises(ParseError) as caught:
        parse_graph(f"{HEAD}{body}\n  return(%x)\n}}\n")
    error = caught.value
    assert message in str(error)
    assert (error.line, error.column) == (line, column), str(error)
    assert str(error).startswith(f"line {line}, column {column}: ")
    assert str(error).splitlines()[-1].index("^") == column + 1  # under the place, the line being indented by two


@pytest.mark.parametrize("text", ["", "graph", "graph @m", "graph @m(", "graph @m() {", 'graph @m() { return() } "'])
def test_cut_off_text_is_refused(text):
    with pytest.raises(ParseError):
        parse_graph(text)


def test_deep_nesting_is_refused():
    deep = "(" * 5000 + "N" + ")" * 5000
    with pytest.raises(ParseError, match="nested too deeply"):
        parse_graph(f"graph @m(%x: f32[{deep}]) {{ return(%x) }}")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_text_gives_a_graph_or_a_parse_error(data):
    """Cutting, doubling or swapping tokens never ends in any other exception."""
    tokens = [t.text for t in tokenize(loop_ops.__doc__.split("```")[1])][:-1]
    for _ in range(data.draw(st.integers(1, 3))):
        i, j = data.draw(st.tuples(*[st.integers(0, len(tokens) - 1)] * 2))
        tokens[i] = data.draw(st.sampled_from([tokens[j], "", "0", "-", '"', "[", "f32[N]", "%", "@"]))
    try:
        verify(parse_graph(" ".join(tokens)))
    except Exception as error:
        assert type(error).__name__ in ("ParseError", "VerificationError"), error


def test_every_kind_of_attribute_is_covered_by_the_generated_graphs():
    assert set(ATTRIBUTES) == {kind.value for kind in Kind}
