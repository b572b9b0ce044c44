"""Branches and loops: interpreted, as loop modules run by the reference interpreter, and natively, all alike."""

import numpy as np
import pytest
from region_graphs import Maker, operands

from jitcore.compiler import compile_graph
from jitcore.compiler.fuse import roots
from jitcore.compiler.loops.interpret import run_module
from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir import ops, parse_graph, print_graph
from jitcore_ir.clone import clone_graph
from jitcore_ir.passes import PassManager, standard_passes
from jitcore_ir.verifier import verify
from jitcore_runtime.errors import GuardFailed
from jitcore_runtime.executor import Executor
from jitcore_runtime.interpreter import interpret
from jitcore_runtime.kernels import KERNELS
from jitcore_runtime.signature import Signature

pytestmark = pytest.mark.usefixtures("fixed_order")

R = np.random.default_rng(0)


def normal(*shape):
    return R.normal(size=shape).astype(np.float32)


def scalar(value):
    return np.array(value, np.float32)


def same_in_all_ways(text, *calls, expected=None):
    """Run a graph each way on the arrays of each call; `expected` computes them independently."""
    graph = parse_graph(text) if isinstance(text, str) else text
    verify(graph)
    module = lower_graph(graph)
    executor = Executor(compile_graph(graph, cache=False))
    exact = Executor(compile_graph(graph, cache=False, exact=True))
    for arrays in calls:
        interpreted = interpret(graph, arrays)
        for mine, theirs in zip(exact.run(arrays), interpreted, strict=True):
            assert mine.tobytes() == theirs.tobytes()
        if expected is not None:
            for mine, theirs in zip(interpreted, expected(*arrays), strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
        symbols = Signature.of(graph).bind(arrays)
        for _ in range(2):
            for found in (run_module(module, arrays, symbols), executor.run(arrays)):
                for mine, theirs in zip(found, interpreted, strict=True):
                    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
                    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
    return module


def test_only_the_branch_taken_runs_and_values_cross_in_memory():
    text = """
    graph @main(%x: f32[6], %t: f32[]) {
      %e = exp(%x) : f32[6]
      %s = sum(%e) {axes = [0], keepdims = false} : f32[]
      %p = gt(%s, %t) : bool[]
      %v = reshape(%e) {shape = [2, 3]} : f32[2,3]
      %w = permute(%v) {permutation = [1, 0]} : f32[3,2]
      %y, %same = cond(%p, %e, %w, %v) : f32[3,2], f32[6] { ^(%a: f32[6], %b: f32[3,2], %c: f32[2,3]):
        %d = neg(%b) : f32[3,2]
        yield(%d, %a)
      } { ^(%a2: f32[6], %b2: f32[3,2], %c2: f32[2,3]):
        %d2 = dot(%b2, %c2) : f32[3,3]
        %r = slice(%d2) {starts = [0, 0], sizes = [3, 2], steps = [1, 1]} : f32[3,2]
        %n = log(%a2) : f32[6]
        yield(%r, %n)
      }
      %z = add(%y, %w) : f32[3,2]
      return(%z, %same, %y, %same, %x)
    }
    """
    module = same_in_all_ways(text, [normal(6), scalar(0)], [normal(6), scalar(1e9)])
    assert "if b" in str(module) and "else:" in str(module)


def expected_scan(reverse):
    def scan(h, xs, w):
        ys = np.empty_like(xs)
        order = range(len(xs))
        for t in reversed(order) if reverse else order:
            ys[t] = h * w
            h = np.tanh(h @ np.ones((2, 2), np.float32) + xs[t])
        return h, ys

    return scan


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_of_any_length(reverse):
    text = f"""
    graph @main(%h: f32[2], %xs: f32[T,2], %w: f32[2]) {{
      %last, %ys = scan(%h, %xs, %w) {{length = T, carried = 1, scanned = 1, reverse = {str(reverse).lower()}}} :
        f32[2], f32[T,2] {{ ^(%c: f32[2], %x: f32[2], %v: f32[2]):
        %m = mul(%c, %v) : f32[2]
        %one = constant() {{value = splat 1.0}} : f32[2,2]
        %row = reshape(%c) {{shape = [1, 2]}} : f32[1,2]
        %p = dot(%row, %one) : f32[1,2]
        %q = reshape(%p) {{shape = [2]}} : f32[2]
        %n = add(%q, %x) : f32[2]
        %t = tanh(%n) : f32[2]
        yield(%t, %m)
      }}
      return(%last, %ys)
    }}
    """
    calls = [[normal(2), normal(n, 2), normal(2)] for n in (0, 1, 2, 3, 50)]
    same_in_all_ways(text, *calls, expected=expected_scan(reverse))


def test_while_runs_until_the_condition_fails():
    text = """
    graph @main(%x: f32[5], %n: i64[], %w: f32[]) {
      %y, %k = while(%x, %n, %w) {carried = 2} : f32[5], i64[] { ^(%a: f32[5], %i: i64[], %v: f32[]):
        %zero = constant() {value = 0} : i64[]
        %go = gt(%i, %zero) : bool[]
        yield(%go)
      } { ^(%b: f32[5], %j: i64[], %u: f32[]):
        %m = mul(%b, %u) : f32[5]
        %one = constant() {value = 1} : i64[]
        %less = sub(%j, %one) : i64[]
        yield(%m, %less)
      }
      return(%y, %k)
    }
    """

    def expected(x, n, w):
        return x * w ** max(int(n), 0), min(int(n), 0)

    calls = [[normal(5), np.array(n), scalar(0.5)] for n in (-1, 0, 1, 2, 9)]
    same_in_all_ways(text, *calls, expected=expected)


def test_nested_loops_and_branches_over_parts_of_buffers():
    """An inner scan starts from a slice of what the outer one goes over, and its results are stacked by the outer."""
    text = """
    graph @main(%xs: f32[4,3,2], %h: f32[2]) {
      %sum, %lasts, %all = scan(%h, %xs) {length = 4, carried = 1, scanned = 1, reverse = false} :
        f32[2], f32[4,2], f32[4,3,2] { ^(%c: f32[2], %x: f32[3,2]):
        %first = slice(%x) {starts = [0, 0], sizes = [1, 2], steps = [1, 1]} : f32[1,2]
        %start = reshape(%first) {shape = [2]} : f32[2]
        %last, %parts = scan(%start, %x, %c) {length = 3, carried = 1, scanned = 1, reverse = true} :
          f32[2], f32[3,2] { ^(%d: f32[2], %y: f32[2], %k: f32[2]):
          %s = sum(%y) {axes = [0], keepdims = false} : f32[]
          %zero = constant() {value = 0.0} : f32[]
          %p = gt(%s, %zero) : bool[]
          %e = cond(%p, %d, %y, %k) : f32[2] { ^(%d1: f32[2], %y1: f32[2], %k1: f32[2]):
            %f = add(%d1, %y1) : f32[2]
            yield(%f)
          } { ^(%d2: f32[2], %y2: f32[2], %k2: f32[2]):
            %g = mul(%d2, %k2) : f32[2]
            yield(%g)
          }
          yield(%e, %e)
        }
        %next = add(%c, %last) : f32[2]
        yield(%next, %last, %parts)
      }
      return(%sum, %lasts, %all)
    }
    """

    def expected(xs, h):
        lasts, alls = [], np.empty_like(xs)
        for t, x in enumerate(xs):
            d = x[0]
            for i in (2, 1, 0):
                d = d + x[i] if x[i].sum() > 0 else d * h
                alls[t, i] = d
            lasts.append(d)
            h = h + d
        return h, np.array(lasts), alls

    same_in_all_ways(text, *[[normal(4, 3, 2), normal(2)] for _ in range(5)], expected=expected)


def test_what_is_passed_through_several_loops_keeps_its_memory():
    """Temporaries of a loop's body may not take memory that the loop, or something after it, still needs."""
    text = """
    graph @main(%x: f32[64]) {
      %a = exp(%x) : f32[64]
      %b = sin(%x) : f32[64]
      %l1, %y1 = scan(%a, %b) {length = 5, carried = 1, scanned = 0, reverse = false} :
        f32[64], f32[5,64] { ^(%c: f32[64], %d: f32[64]):
        %e = cumsum(%c) {axis = 0} : f32[64]
        %f = mul(%e, %d) : f32[64]
        %g = cumsum(%f) {axis = 0} : f32[64]
        %h = tanh(%g) : f32[64]
        yield(%h, %g)
      }
      %l2 = scan(%a, %y1, %b, %l1) {length = 5, carried = 1, scanned = 1, reverse = true} :
        f32[64] { ^(%c2: f32[64], %y: f32[64], %d2: f32[64], %l: f32[64]):
        %e2 = cumsum(%y) {axis = 0} : f32[64]
        %f2 = mul(%e2, %d2) : f32[64]
        %g2 = cumsum(%f2) {axis = 0} : f32[64]
        %h2 = sub(%g2, %l) : f32[64]
        %i2 = tanh(%h2) : f32[64]
        %j2 = add(%c2, %i2) : f32[64]
        yield(%j2)
      }
      return(%l2, %b)
    }
    """
    same_in_all_ways(text, [normal(64)], [normal(64)])


def test_complex_numbers_are_carried_and_stacked():
    text = """
    graph @main(%z: c64[3], %zs: c64[4,3]) {
      %last, %all = scan(%z, %zs) {length = 4, carried = 1, scanned = 1, reverse = false} :
        c64[3], c64[4,3] { ^(%c: c64[3], %x: c64[3]):
        %m = mul(%c, %x) : c64[3]
        yield(%m, %c)
      }
      return(%last, %all)
    }
    """

    def expected(z, zs):
        all = []
        for x in zs:
            all.append(z)
            z = z * x
        return z, np.array(all)

    z, zs = (normal(*s) + 1j * normal(*s) for s in ((3,), (4, 3)))
    same_in_all_ways(text, [z.astype(np.complex64), zs.astype(np.complex64)], expected=expected)


def test_operations_called_out_run_inside_loops(monkeypatch):
    """Of a part of a stacked operand, and into a part of a stacked result."""
    monkeypatch.setattr(roots, "CALL_OUT", {*roots.CALL_OUT, ops.CUMSUM})
    text = """
    graph @main(%h: f32[3], %xs: f32[T,3]) {
      %last, %ys = scan(%h, %xs) {length = T, carried = 1, scanned = 1, reverse = false} :
        f32[3], f32[T,3] { ^(%c: f32[3], %x: f32[3]):
        %s = cumsum(%x) {axis = 0} : f32[3]
        %m = mul(%c, %s) : f32[3]
        %n = cumsum(%m) {axis = 0} : f32[3]
        yield(%n, %s)
      }
      return(%last, %ys)
    }
    """
    same_in_all_ways(text, [normal(3), normal(4, 3)], [normal(3), normal(0, 3)], [normal(3), normal(1, 3)])


INDEXING = """
graph @main(%table: f32[4], %positions: i64[T], %h: f32[]) {
  %last = scan(%h, %positions, %table) {length = T, carried = 1, scanned = 1, reverse = false} :
    f32[] { ^(%c: f32[], %i: i64[], %t: f32[4]):
    %v = take(%t, %i) {axis = 0} : f32[] @ "user.py":7
    %n = add(%c, %v) : f32[]
    yield(%n)
  }
  return(%last)
}
"""


@pytest.mark.parametrize("native", [True, False])
def test_a_position_out_of_range_in_a_body_is_an_index_error(native):
    executor = Executor(compile_graph(parse_graph(INDEXING), cache=False), native)
    table, h = normal(4), np.zeros((), np.float32)
    (good,) = executor.run([table, np.array([0, 3]), h])
    assert good == pytest.approx(table[0] + table[3])
    with pytest.raises(IndexError, match=r"9.*user\.py:7"):
        executor.run([table, np.array([0, 9, 1]), h])
    (again,) = executor.run([table, np.array([1, 1]), h])
    assert again == pytest.approx(2 * table[1])


DIVIDING = """
graph @main(%n: i64[], %d: i64[], %state: i64[3]) {
  %one = constant() {value = 1} : i64[]
  %new = add(%state, %one) : i64[3]
  %y = while(%n, %d) {carried = 1} : i64[] { ^(%i: i64[], %e: i64[]):
    %zero = constant() {value = 0} : i64[]
    %go = gt(%i, %zero) : bool[]
    yield(%go)
  } { ^(%j: i64[], %f: i64[]):
    %q = floor_divide(%j, %f) : i64[]
    yield(%q)
  }
  return(%y, %new)
}
"""


@pytest.mark.parametrize("native", [True, False])
def test_an_error_in_a_loop_ends_it_and_changes_nothing(native):
    """Division by zero gives 0 natively at best, or goes on for ever: the error itself must end the loop."""
    executor = Executor(compile_graph(parse_graph(DIVIDING), updates=[(1, 2)], cache=False), native)
    state = np.arange(3)
    (y,) = executor.run([np.array(100), np.array(3), state])
    assert y == 0 and state.tolist() == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        executor.run([np.array(100), np.array(0), state])
    assert state.tolist() == [1, 2, 3]


GUARDED = """
graph @main(%p: bool[], %x: f32[3], %state: f32[3]) {
  %y, %n = cond(%p, %x, %state) : f32[3], bool[] { ^(%a: f32[3], %s: f32[3]):
    %t = constant() {value = true} : bool[]
    %b = add(%a, %s) : f32[3]
    yield(%b, %t)
  } { ^(%c: f32[3], %r: f32[3]):
    %f = constant() {value = false} : bool[]
    yield(%r, %f)
  }
  return(%y, %n)
}
"""


@pytest.mark.parametrize("native", [True, False])
def test_a_branch_may_decide_a_guard_and_update_memory(native):
    executor = Executor(compile_graph(parse_graph(GUARDED), [(0, 2)], [(1, True)], cache=False), native)
    x, state = normal(3), normal(3)
    before = state.copy()
    with pytest.raises(GuardFailed):
        executor.run([np.array(False), x, state])
    np.testing.assert_array_equal(state, before)
    executor.run([np.array(True), x, state])
    np.testing.assert_allclose(state, before + x, rtol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_random_nests_run_alike_in_all_ways(seed):
    graph = Maker(seed).graph()
    verify(graph)
    assert print_graph(parse_graph(print_graph(graph))) == print_graph(graph)
    calls = [operands(seed + n, length) for n, length in enumerate((3, 0, 1, 3))]
    same_in_all_ways(graph, *calls)
    simpler = clone_graph(graph)
    PassManager(standard_passes(KERNELS), verify=True)(simpler)
    for arrays in calls:
        for mine, theirs in zip(interpret(simpler, arrays), interpret(graph, arrays), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_call_out_in_a_loop_reads_what_the_turn_stacks():
    text = """
    graph @main(%x: f32[5,4], %h: f32[4]) {
      %last, %ys = scan(%h, %x) {length = 5, carried = 1, scanned = 1, reverse = false} : f32[4], f32[5,4]\
 { ^(%c: f32[4], %r: f32[4]):
        %y = mul(%r, %c) : f32[4]
        %p = argsort(%y) {axis = 0, descending = false} : i64[4]
        %n = gather(%y, %p) {axis = 0} : f32[4]
        yield(%n, %y)
      }
      return(%last, %ys)
    }
    """
    same_in_all_ways(text, [normal(5, 4), normal(4)])


def test_branches_and_loops_have_no_cuda_form():
    from jitcore.compiler.cuda import device_code

    with pytest.raises(NotImplementedError, match="cond, while_loop, scan"):
        device_code(lower_graph(parse_graph(GUARDED)), (8, 0))
