"""Operations with regions: their text, what the verifier and the parser refuse, what passes do inside them."""

import pytest

from jitcore_ir import ParseError, VerificationError, ops, parse_graph, print_graph
from jitcore_ir.clone import clone_graph
from jitcore_ir.passes import PassManager, drop_unused, merge_equal, standard_passes
from jitcore_ir.verifier import verify
from jitcore_runtime.kernels import KERNELS

COND = """graph @main(%p: bool[], %x: f32[4]) {
  %y, %z = cond(%p, %x) : f32[4], f32[] @ "model.py":3 { ^(%a: f32[4]):
    %s = sin(%a) : f32[4] @ "model.py":4
    %t = sum(%s) {axes = [0], keepdims = false} : f32[]
    yield(%s, %t)
  } { ^(%b: f32[4]):
    %c = constant() {value = 1.0} : f32[]
    yield(%b, %c)
  }
  return(%y, %z)
}
"""
WHILE = """graph @main(%x: f32[N], %n: i64[], %w: f32[]) {
  %y, %k = while(%x, %n, %w) {carried = 2} : f32[N], i64[] { ^(%a: f32[N], %i: i64[], %v: f32[]):
    %zero = constant() {value = 0} : i64[]
    %go = gt(%i, %zero) : bool[]
    yield(%go)
  } { ^(%b: f32[N], %j: i64[], %u: f32[]):
    %m = mul(%b, %u) : f32[N]
    %one = constant() {value = 1} : i64[]
    %less = sub(%j, %one) : i64[]
    yield(%m, %less)
  }
  return(%y, %k)
}
"""
SCAN = """graph @main(%h: f32[2], %xs: f32[T,2], %w: f32[2]) {
  %last, %ys = scan(%h, %xs, %w) {length = T, carried = 1, scanned = 1, reverse = false} : f32[2], f32[T,2] { \
^(%c: f32[2], %x: f32[2], %v: f32[2]):
    %m = mul(%c, %v) : f32[2]
    %n = add(%m, %x) : f32[2]
    yield(%n, %m)
  }
  return(%last, %ys)
}
"""
NESTED = """graph @main(%h: f32[], %xs: f32[3]) {
  %last = scan(%h, %xs) {length = 3, carried = 1, scanned = 1, reverse = true} : f32[] { ^(%c: f32[], %x: f32[]):
    %zero = constant() {value = 0.0} : f32[]
    %p = gt(%x, %zero) : bool[]
    %d = cond(%p, %c, %x) : f32[] { ^(%a: f32[], %b: f32[]):
      %e = add(%a, %b) : f32[]
      yield(%e)
    } { ^(%f: f32[], %g: f32[]):
      yield(%f)
    }
    yield(%d)
  }
  return(%last)
}
"""
ALL = {"cond": COND, "while": WHILE, "scan": SCAN, "nested": NESTED}


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_text_is_read_back_exactly(text):
    graph = parse_graph(text)
    verify(graph)
    assert print_graph(graph) == text
    copy = clone_graph(graph)
    verify(copy)
    assert print_graph(copy) == text


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_standard_passes_leave_a_sound_graph(text):
    graph = parse_graph(text)
    PassManager(standard_passes(KERNELS), verify=True)(graph)
    assert sum(op.spec in (ops.COND, ops.WHILE, ops.SCAN) for op in graph.walk()) == 1 + (text is NESTED)


def test_a_region_reads_only_its_arguments():
    with pytest.raises(ParseError, match="%x is not visible here"):
        parse_graph(COND.replace("sin(%a)", "sin(%x)"))
    graph = parse_graph(COND)
    sine = graph.operations[0].regions[0].block.operations[0]
    sine.set_operand(0, graph.inputs[1])
    with pytest.raises(VerificationError, match=r"operand 0 \(%x: f32\[4\]\) is not defined before .* or not visible"):
        verify(graph)


BAD = {
    "cond: its region 1 takes (f32[5]), not (f32[4])": COND.replace("%b: f32[4]", "%b: f32[5]").replace(
        "yield(%b, %c)", "%d = slice(%b) {starts = [0], sizes = [4], steps = [1]} : f32[4]\n yield(%d, %c)"
    ),
    "cond: its region 1 yields (f32[4]), not (f32[4], f32[])": COND.replace("yield(%b, %c)", "yield(%b)"),
    "while: its region 0 yields (f32[N]), not (bool[])": WHILE.replace("yield(%go)", "yield(%a)"),
    "while: its region 1 yields (f32[N], f32[]), not (f32[N], i64[])": WHILE.replace("(%m, %less)", "(%m, %u)"),
    "scan: its region carries f32[2], but gives f32[], f32[2]": SCAN.replace(
        "yield(%n, %m)", "%q = sum(%n) {axes = [0], keepdims = false} : f32[]\n yield(%q, %m)"
    ),
    "scan: its region 0 takes (f32[2], f32[T,2], f32[2]), not (f32[2], f32[2], f32[2])": SCAN.replace(
        "%x: f32[2]", "%x: f32[T,2]"
    ).replace("%n = add(%m, %x) : f32[2]", "%n = add(%m, %m) : f32[2]"),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_regions_that_do_not_suit_are_refused(message):
    graph = parse_graph(BAD[message])
    with pytest.raises(VerificationError) as caught:
        verify(graph)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        (COND.replace("%p: bool[]", "%p: i64[]"), "cond: the predicate is i64[], not bool[]"),
        (SCAN.replace("length = T", "length = 3"), "scan: over 3 steps, but an operand is f32[T,2]"),
        (SCAN.replace("carried = 1", "carried = 4"), "scan: 4 carried and 1 scanned operands, of 3"),
        (SCAN.replace("carried = 1", "carried = -1"), "scan: -1 carried and 1 scanned operands, of 3"),
        (NESTED.replace("length = 3", "length = -3"), "scan: over -3 steps"),
        (WHILE.replace("carried = 2", "carried = 5"), "while: 5 carried and 0 scanned operands, of 3"),
    ],
)
def test_operands_that_do_not_suit_are_refused(text, message):
    with pytest.raises(ParseError) as caught:
        parse_graph(text)
    assert message in str(caught.value)


def test_equal_operations_outside_do_not_come_into_a_region():
    graph = parse_graph(
        COND.replace("  %y, %z = cond", "  %before = constant() {value = 1.0} : f32[]\n  %y, %z = cond")
    )
    assert not merge_equal(graph)
    verify(graph)


def test_equal_operations_inside_a_region_merge():
    graph = parse_graph(COND.replace("yield(%s, %t)", "%again = sin(%a) : f32[4]\n yield(%again, %t)"))
    assert merge_equal(graph)
    verify(graph)
    assert print_graph(graph) == COND


def test_unused_ones_go_and_are_swept_inside():
    graph = parse_graph(SCAN.replace("yield(%n, %m)", "%unused = sin(%n) : f32[2]\n yield(%n, %m)"))
    assert drop_unused(graph)
    assert print_graph(graph) == SCAN
    graph = parse_graph(COND.replace("return(%y, %z)", "return(%x)"))
    assert drop_unused(graph)
    assert [op.spec for op in graph.walk()] == [ops.RETURN]
