"""The pass manager and the rewrite driver: order, fixpoints, checks, dumps, and rewrites that misbehave."""

import sys
from subprocess import run

import numpy as np
import pytest

from jitcore_ir import Graph, IRError, TensorType, VerificationError, ops, parse_graph, print_graph
from jitcore_ir.dtypes import float32, float64
from jitcore_ir.passes import (
    Change,
    ConstantFold,
    Fixpoint,
    PassManager,
    Patterns,
    algebra,
    canonicalize,
    drop_unused,
    merge_equal,
    standard_passes,
    views,
)
from jitcore_ir.passes.match import defined_by
from jitcore_ir.verifier import verify
from jitcore_runtime.kernels import KERNELS

TEXT = """graph @main(%x: f32[4]) {
  %one = constant() {value = 1.0} : f32[]
  %a = mul(%one, %x) : f32[4] @ "model.py":3
  %b = exp(%a) : f32[4] @ "model.py":4
  %c = exp(%x) : f32[4]
  %d = add(%b, %c) : f32[4] @ "model.py":6
  return(%d)
}
"""


def test_passes_run_in_order_and_tell_whether_anything_changed():
    graph = parse_graph(TEXT)
    manager = PassManager([canonicalize, algebra, merge_equal])
    assert manager(graph)
    assert [o.spec for o in graph.operations] == [ops.EXP, ops.ADD, ops.RETURN]
    assert not manager(graph)


def test_a_fixpoint_runs_until_nothing_changes():
    names = []
    manager = PassManager(
        [Fixpoint([merge_equal, algebra, canonicalize])], dump=lambda c: names.append((c.name, c.changed))
    )
    assert manager(parse_graph(TEXT))
    rounds = [names[i : i + 3] for i in range(0, len(names), 3)]
    assert all(any(changed for _, changed in r) for r in rounds[:-1])
    assert rounds[-1] == [("merge_equal", False), ("algebra", False), ("canonicalize", False)]


def test_a_manager_is_a_pass():
    inner = PassManager([canonicalize, algebra], name="simplify")
    names = []
    PassManager([inner, merge_equal], dump=lambda c: names.append(c.name))(parse_graph(TEXT))
    assert names == ["simplify", "merge_equal"]


def test_a_dump_says_which_pass_changed_what_and_where_it_came_from():
    changes = []
    PassManager([canonicalize, algebra, merge_equal, drop_unused], dump=changes.append)(parse_graph(TEXT))
    assert [c.changed for c in changes] == [True, True, True, False]
    text = str(changes[1])
    assert text.startswith("algebra on @main: ") and " ms\n" in text
    assert '-  %a#1 = mul(%x, %one) : f32[4] @ "model.py":3' in text
    assert '+  %b = exp(%x) : f32[4] @ "model.py":4' in text
    assert str(changes[3]).endswith("ms, nothing changed")
    assert isinstance(changes[0], Change)


def test_values_keep_their_names_from_one_dump_to_the_next():
    """So that a diff shows what a pass did, not how the rest is numbered afterwards."""
    graph = parse_graph(TEXT.replace("%one", "%0").replace("%a", "%1").replace("%b", "%2").replace("%c", "%3"))
    changes = []
    PassManager([canonicalize, algebra], dump=changes.append)(graph)
    changed = [line for line in str(changes[1]).splitlines()[1:] if line[0] in "+-"]
    assert not any("%3" in line and "add" not in line and "exp" not in line for line in changed)
    assert "  %d = add(" in changes[1].after and changes[0].after == changes[1].before


def test_the_pass_that_breaks_a_graph_is_named():
    def broken(graph):
        graph.operations[0].result.type = TensorType(float64, (4,))
        return True

    broken.name = "broken"
    with pytest.raises(VerificationError, match="after broken: results have type") as caught:
        PassManager([drop_unused, broken], verify=True)(parse_graph(TEXT))
    assert "constant() {value" in str(caught.value)
    with pytest.raises(VerificationError, match="before any pass: "):
        PassManager([], verify=True)(Graph())


def test_passes_that_never_settle_are_stopped():
    def restless(graph):
        return True

    restless.name = "restless"
    with pytest.raises(IRError, match="passes still change graph @main after 7 rounds: restless"):
        PassManager([Fixpoint([restless, drop_unused], rounds=7)])(parse_graph(TEXT))


# Rewrites


def test_rewrites_of_one_operation_are_tried_in_order_of_registration():
    patterns = Patterns("test")
    order = []
    for name in "abc":
        patterns.on(ops.EXP)(lambda op, build, n=name: order.append(n))
    assert not patterns(parse_graph(TEXT))
    assert order == ["a", "b", "c"] * 2


def test_a_rewrite_that_declines_leaves_nothing_behind():
    patterns = Patterns("test")

    @patterns.on(ops.EXP)
    def undecided(op, build):
        build.value(ops.NEG, build.value(ops.NEG, op.operands[0]))

    graph = parse_graph(TEXT)
    assert not patterns(graph)
    assert print_graph(graph) == TEXT
    verify(graph)


def test_rewrites_that_undo_each_other_are_stopped_with_their_names():
    patterns = Patterns("test")

    @patterns.on(ops.SIN)
    def to_cos(op, build):
        return build.value(ops.COS, op.operands[0])

    @patterns.on(ops.COS)
    def to_sin(op, build):
        return build.value(ops.SIN, op.operands[0])

    graph = parse_graph(TEXT.replace("exp", "sin"))
    with pytest.raises(IRError, match=r"test does not end at model.py:4: to_\w+, to_\w+ undo each other"):
        patterns(graph)


def test_a_rewrite_keeps_the_type():
    for make in (
        lambda op, build: build.value(ops.CAST, op.operands[0], dtype=float64),
        lambda op, build: op.result,
    ):
        patterns = Patterns("test")
        patterns.on(ops.EXP)(make)
        with pytest.raises(IRError, match=r"must keep the type|gives the result it should replace"):
            patterns(parse_graph(TEXT))


def test_what_a_rewrite_makes_is_rewritten_too():
    patterns = Patterns("test")

    @patterns.on(ops.EXP)
    def exp_to_three(op, build):
        a = build.value(ops.SIN, op.operands[0])
        return build.value(ops.ADD, a, build.value(ops.SIN, a))

    @patterns.on(ops.SIN)
    def sin_to_neg(op, build):
        return build.value(ops.NEG, build.value(ops.ABS, op.operands[0]))

    graph = parse_graph(TEXT)
    assert patterns(graph)
    verify(graph)
    specs = [o.spec for o in graph.operations]
    assert specs.count(ops.ABS) == specs.count(ops.NEG) == 4 and ops.SIN not in specs and ops.EXP not in specs


def test_the_result_does_not_depend_on_object_addresses():
    """The same text, rewritten in two processes with other hash seeds, gives the same text."""
    program = (
        "from jitcore_ir import parse_graph, print_graph\n"
        "from jitcore_ir.passes import PassManager, standard_passes\n"
        "from jitcore_runtime.kernels import KERNELS\n"
        f"text = {LONG!r}\n"
        "graph = parse_graph(text)\n"
        "PassManager(standard_passes(KERNELS))(graph)\n"
        "print(print_graph(graph))"
    )
    results = set()
    for seed in "012":
        command = [sys.executable, "-c", program]
        done = run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        results.add(done.stdout)
    assert len(results) == 1


def chain(length):
    """A long graph that every pass has work in."""
    graph = Graph()
    x = value = graph.block.add_argument(TensorType(float32, (4,)), "x")
    one = graph.block.append(ops.CONSTANT, [], {"value": np.ones(4, np.float32)}).result
    for _ in range(length):
        value = graph.block.append(ops.MUL, [one, value]).result
        value = graph.block.append(ops.ADD, [value, graph.block.append(ops.NEG, [x]).result]).result
        twin = graph.block.append(ops.EXP, [value]).result
        value = graph.block.append(ops.ADD, [graph.block.append(ops.EXP, [value]).result, twin]).result
    graph.block.append(ops.RETURN, [value])
    return graph


LONG = print_graph(chain(20))


def test_long_chains_are_no_trouble():
    """Deep graphs recurse nowhere, and lists of operations and uses are not searched from end to end."""
    graph = chain(1000)
    PassManager(standard_passes(KERNELS), verify=True)(graph)
    assert len(graph.operations) == 1000 * 3 + 1


def test_matching_sees_only_the_named_specs():
    graph = parse_graph(TEXT)
    b = graph.operations[2].result
    assert defined_by(b, ops.EXP, ops.LOG) is graph.operations[2]
    assert defined_by(b, ops.LOG) is None and defined_by(graph.inputs[0], ops.LOG) is None


def test_folding_is_held_to_the_kernels_result_type():
    wrong = {ops.EXP: lambda x: np.exp(x).astype(np.float64)}
    text = "graph @main() {\n %c = constant() {value = 1.0} : f32[]\n %r = exp(%c) : f32[]\n return(%r)\n}"
    with pytest.raises(IRError, match=r"the kernel of exp gives f64\[\], not f32\[\]"):
        ConstantFold(wrong)(parse_graph(text))


def test_a_rewrite_that_waits_to_be_the_only_user_gets_its_turn():
    text = """graph @main(%x: f32[2,4]) {
  %a = sum(%x) {axes = [1], keepdims = true} : f32[2,1]
  %b = reshape(%a) {shape = [2]} : f32[2]
  %c = reshape(%a) {shape = [1, 2]} : f32[1,2]
  %d = reshape(%c) {shape = [2, 1]} : f32[2,1]
  %e = reshape(%d) {shape = [1, 1, 2]} : f32[1,1,2]
  return(%b)
}
"""
    graph = parse_graph(text)
    assert views(graph)
    assert [o.spec for o in graph.operations] == [ops.SUM, ops.RETURN]
