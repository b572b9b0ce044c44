"""Each rule of the verifier: a sound graph passes, and one broken in one way is refused by name and line."""

import numpy as np
import pytest

import jitcore.compiler.loops.ops as loop_ops
from jitcore_ir import Graph, Location, TensorType, VerificationError, ops, parse_graph, shapes
from jitcore_ir.builder import Builder
from jitcore_ir.clone import clone_graph
from jitcore_ir.dtypes import float16, float32, float64
from jitcore_ir.graph import Region, Value, create_operation
from jitcore_ir.verifier import verify

TEXT = """graph @main(%x: f32[2,3], %y: f32[3]) {
  %a = add(%x, %y) : f32[2,3] @ "model.py":7
  %s = sum(%a) {axes = [1], keepdims = false} : f32[2] @ "model.py":8
  return(%s)
}
"""

LOOP = """graph @kernel(%x: buffer<f32[N]>) {
  %n = size() {dim = N} : i64[]
  for(%n) {kind = "serial"} { ^(%i: i64[]):
    %v = load(%x, %i) : f32[]
    store(%v, %x, %i)
    yield()
  }
  return()
}
"""


@pytest.fixture
def graph():
    return parse_graph(TEXT)


@pytest.fixture
def kernel():
    return parse_graph(LOOP)


def refused(graph, message):
    with pytest.raises(VerificationError) as caught:
        verify(graph)
    assert message in str(caught.value)
    return str(caught.value)


def test_sound_graphs_pass(graph, kernel):
    verify(graph)
    verify(kernel)


def test_the_error_shows_the_operation_and_the_users_line(graph):
    graph.operations[0].result.type = TensorType(float32, (2, 4))
    text = refused(graph, "results have type f32[2,4], but add of these operands gives f32[2,3]")
    assert '%a = add(%x, %y) : f32[2,4] @ "model.py":7' in text
    assert text.endswith("from model.py:7")


def test_operand_defined_later(graph):
    block = graph.block
    block.operations[0], block.operations[1] = block.operations[1], block.operations[0]
    refused(graph, "operand 0 (%a: f32[2,3]) is not defined before this operation")


def test_operand_from_another_graph(graph):
    graph.operations[0].set_operand(0, parse_graph(TEXT).inputs[0])
    refused(graph, "operand 0 (%x: f32[2,3]) is not defined before this operation, or not visible here")


def test_value_of_a_region_used_outside_it(kernel):
    loop = kernel.operations[1]
    index = loop.regions[0].block.arguments[0]
    kernel.block.insert_before(kernel.operations[2], create_operation(ops.NEG, [index]))
    refused(kernel, "operand 0 (%i: i64[]) is not defined before this operation, or not visible here")


def test_value_of_a_region_used_in_the_next(kernel):
    text = LOOP.replace("  return()", LOOP.splitlines()[2].replace("%i", "%j") + "\n    yield()\n  }\n  return()")
    kernel = parse_graph(text)
    index = kernel.operations[1].regions[0].block.arguments[0]
    block = kernel.operations[2].regions[0].block
    block.insert_before(block.terminator, create_operation(ops.NEG, [index]))
    refused(kernel, "not visible here")


def test_use_that_is_not_listed(graph):
    graph.inputs[0].uses.clear()
    refused(graph, "operand 0 (%x: f32[2,3]) lists this use 0 times")


def test_use_that_is_listed_twice(graph):
    graph.inputs[0].uses.append(graph.inputs[0].uses[0])
    refused(graph, "lists this use 2 times")


def test_use_that_is_no_operand(graph):
    graph.inputs[0].uses.append((graph.operations[0], 1))
    refused(graph, "%x: f32[2,3] lists a use as operand 1, which is another value")


def test_use_outside_the_graph(graph):
    create_operation(ops.NEG, [graph.inputs[0]])
    refused(graph, "%x: f32[2,3] is used by neg, which is not in the graph")


def test_missing_terminator(graph):
    graph.block.erase([graph.block.terminator])
    refused(graph, "graph @main: its block must end with return, but ends with %s = sum(")


def test_empty_block():
    refused(Graph(), "its block must end with return, but ends with nothing")


def test_wrong_terminator(graph, kernel):
    graph.operations[-1].erase()
    graph.block.append(ops.YIELD, [graph.inputs[0]])
    refused(graph, "must end with return")
    inner = kernel.operations[1].regions[0].block
    inner.operations[-1].erase()
    inner.append(ops.RETURN)
    refused(kernel, "a region of for at unknown location: its block must end with yield")


def test_terminator_in_the_middle(graph):
    graph.block.insert_before(graph.operations[0], create_operation(ops.RETURN, []))
    refused(graph, "return ends a block, but operations follow it")


def test_wrong_number_of_operands(graph):
    add = graph.operations[0]
    graph.inputs[1].drop_use(add, 1)
    add.operands.pop()
    refused(graph, "add takes (x, y), but has 1 operands")


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"axes": (1,)}, "attribute keepdims is missing"),
        ({"axes": (1,), "keepdims": False, "more": 1}, "attribute more is not one of sum's (axes, keepdims)"),
        ({"axes": [1], "keepdims": False}, "attribute axes must be of kind ints, not [1]"),
        ({"axes": (True,), "keepdims": False}, "attribute axes must be of kind ints, not (True,)"),
        ({"axes": (np.int64(1),), "keepdims": False}, "attribute axes must be of kind ints"),
        ({"axes": (1,), "keepdims": 0}, "attribute keepdims must be of kind bool, not 0"),
        ({"axes": (5,), "keepdims": False}, "sum: axis 5 is outside a tensor of 2 dimensions"),
    ],
)
def test_wrong_attributes(graph, attributes, message):
    graph.operations[1].attributes = attributes
    refused(graph, message)


N = shapes.symbol("N")


@pytest.mark.parametrize(
    "spec, good, bad",
    [
        (ops.CAST, {"dtype": float16}, [{"dtype": "f16"}, {"dtype": np.dtype("float16")}]),
        (ops.RESHAPE, {"shape": (3, 2)}, [{"shape": (3.0, 2)}, {"shape": 6}, {"shape": [3, 2]}]),
        (ops.CUMSUM, {"axis": 0}, [{"axis": 0.0}, {"axis": None}, {"axis": N}]),
        (ops.SIZE, {"dim": N}, [{"dim": "N"}, {"dim": (N,)}]),
        (ops.CONSTANT, {"value": np.zeros(2)}, [
            {"value": 0.0}, {"value": [0.0]}, {"value": np.zeros(2, object)}, {"value": np.zeros(2, ">f8")},
        ]),
        (loop_ops.FOR, {"kind": "serial"}, [{"kind": b"serial"}, {"kind": 1}]),
    ],
)  # fmt: skip
def test_attributes_are_of_their_kind(spec, good, bad):
    for attributes in [good, *bad]:
        graph = Graph()
        operands = {"reshape": 1, "cast": 1, "cumsum": 1, "for": 1}.get(spec.name, 0)
        type = TensorType(loop_ops._INDEX.dtype) if spec.name == "for" else TensorType(float32, (2, 3))
        x = [graph.block.add_argument(type, "x")] * operands
        region = Region()
        region.block.add_argument(loop_ops._INDEX)
        region.block.append(ops.YIELD)
        new = graph.block.append(spec, x, good, Location("user.py", 3), [region] * spec.regions)
        graph.block.append(ops.RETURN)
        new.attributes = dict(attributes)
        if attributes is good:
            verify(graph)
        else:
            assert "from user.py:3" in refused(graph, "must be of kind")


def test_pairs_are_pairs():
    graph = Graph()
    x = graph.block.add_argument(TensorType(float32, (1, 1, 4)), "x")
    values = {"stride": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1}
    new = graph.block.append(ops.CONV, [x, x], values)
    graph.block.append(ops.RETURN, [new.result])
    verify(graph)
    for wrong in [((1, 1, 1),), ([1, 1],), ((1, 1.0),), 1]:
        new.attributes["padding"] = wrong
        refused(graph, "attribute padding must be of kind pairs")


def test_result_type_that_the_rule_does_not_give(graph):
    graph.operations[1].result.type = TensorType(float64, (2,))
    refused(graph, "results have type f64[2], but sum of these operands gives f32[2]")


def test_missing_and_foreign_results(graph):
    total = graph.operations[1]
    kept = total.results
    total.results = []
    refused(graph, "results have type none, but sum")
    total.results = [Value(kept[0].type, graph.operations[0], 0)]
    refused(graph, "result 0 belongs to another operation or position")


def test_operand_types_that_the_rule_refuses(graph):
    graph.inputs[1].type = TensorType(float32, (4,))
    refused(graph, "add: shapes [2, 3] and [4] do not broadcast")


def test_tensor_operations_on_buffers(kernel):
    x = kernel.inputs[0]
    x.type = type(x.type)(x.type.dtype, ())
    fake = create_operation(ops.NEG, [x])
    kernel.block.insert_before(kernel.operations[0], fake)
    refused(kernel, "operand 0 is a buffer, but neg works on tensors")


def test_block_and_region_links(graph, kernel):
    graph.operations[0].block = None
    refused(graph, "stands in a block that it does not belong to")
    kernel.operations[1].regions[0].parent = None
    refused(kernel, "one of its regions belongs to another operation")


def test_operation_listed_twice(graph):
    graph.block.operations.insert(1, graph.operations[0])
    refused(graph, "stands in a block that it does not belong to")


def test_number_of_regions(kernel):
    kernel.operations[1].regions = []
    refused(kernel, "for has 1 regions, not 0")


def test_foreign_argument(graph):
    graph.block.arguments.reverse()
    refused(graph, "does not belong to position 0 of its block")


def test_a_region_is_not_a_graph(kernel):
    refused(Graph("inner", kernel.operations[1].regions[0].block), "its block belongs to a region")


# Graphs themselves


def test_creating_an_operation_names_what_it_takes(graph):
    x = graph.inputs[0]
    with pytest.raises(VerificationError, match=r"add takes \(x, y\), but 3 operands are given"):
        create_operation(ops.ADD, [x, x, x])
    with pytest.raises(VerificationError, match=r"sum has the attributes \(axes, keepdims\), but \(axes\) are given"):
        create_operation(ops.SUM, [x], {"axes": (0,)})
    assert len(x.uses) == 1


def test_a_clone_shares_nothing_but_attributes(graph, kernel):
    for original in (graph, kernel):
        mapping = {}
        copy = clone_graph(original, mapping)
        assert str(copy) == str(original)
        verify(copy)
        verify(original)
        assert not {id(o) for o in copy.walk()} & {id(o) for o in original.walk()}
        assert [mapping[v] for v in original.inputs] == copy.inputs
        copy.operations[0].attributes["more"] = 1
        verify(original)


def test_a_builder_inserts_in_order_before_its_anchor(graph):
    build = Builder(graph.block, graph.operations[1], Location("here.py", 1))
    doubled = build.value(ops.MUL, graph.operations[0].result, build.constant(2, float32))
    graph.operations[-2].set_operand(0, doubled)
    verify(graph)
    assert [o.spec for o in graph.operations] == [ops.ADD, ops.CONSTANT, ops.MUL, ops.SUM, ops.RETURN]
    assert graph.operations[2].location == Location("here.py", 1)


def test_what_is_used_is_not_erased(graph):
    with pytest.raises(VerificationError, match="add is erased while its result %a"):
        graph.operations[0].erase()
    with pytest.raises(VerificationError, match="sum is erased while its result %s"):
        graph.block.erase(graph.operations[:2])


def test_erasing_several_at_once(graph, kernel):
    graph.block.operations[-1].set_operand(0, graph.inputs[0])
    graph.block.erase(graph.operations[:2])
    verify(graph)
    assert len(graph.operations) == 1
    kernel.operations[1].erase()
    verify(kernel)
    assert not kernel.inputs[0].uses


def test_replacing_a_value_by_itself_changes_nothing(graph):
    graph.inputs[0].replace_all_uses_with(graph.inputs[0])
    verify(graph)


REGIONS = {
    "for takes (), not (i64[])": 'for(%n) {kind = "serial"} { ^():\n yield()\n }',
    "for takes (i64[], f32[]), not (i64[])": 'for(%n) {kind = "serial"} { ^(%i: i64[], %v: f32[]):\n yield()\n }',
    "for yields (), not (f32[])": '%r = for(%n, %z) {kind = "serial"} : f32[] { ^(%i: i64[], %v: f32[]):\n yield()\n }',
    "for yields (i64[]), not (f32[])": (
        '%r = for(%n, %z) {kind = "serial"} : f32[] { ^(%i: i64[], %v: f32[]):\n yield(%i)\n }'
    ),
    "if yields (), not (f32[])": "%r = if(%c, %z) : f32[] { ^():\n yield()\n }",
    "gemm takes (f16[], i64[], i64[]), not (f32[], i64[], i64[])": (
        "gemm(%x, %y) {x_permutation = [0, 1], y_permutation = [0, 1], prepacked = false}"
        " { ^(%v: f16[], %i: i64[], %j: i64[]):\n yield()\n }"
    ),
}


@pytest.mark.parametrize("message", REGIONS)
def test_regions_take_and_yield_what_their_operation_says(message):
    inputs = "%x: buffer<f16[4,5]>, %y: buffer<f16[5,6]>, %n: i64[], %z: f32[], %c: bool[]"
    graph = parse_graph(f"graph @main({inputs}) {{\n  {REGIONS[message]}\n  return()\n}}")
    name, _, what = message.partition(" ")
    refused(graph, f"{name}: its region {what}")
