"""What shares a kernel and what must not. Each case names the kernels by the operations whose results they compute."""

import numpy as np
import pytest

from jitcore.compiler.loops.interpret import run_module
from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir import parse_graph, shapes
from jitcore_ir.dtypes import from_numpy

CASES = {
    "a dear value used twice stays in a register": (
        """graph @g(%x: f32[40,50]) {
          %e = exp(%x) : f32[40,50]
          %a = mul(%e, %e) : f32[40,50]
          %b = sub(%e, %x) : f32[40,50]
          return(%a, %b)
        }""",
        ["exp+mul+sub"],
    ),
    "a product between two elementwise steps keeps them apart": (
        """graph @g(%x: f32[16,16]) {
          %e = exp(%x) : f32[16,16]
          %p = dot(%e, %x) : f32[16,16]
          %s = add(%p, %e) : f32[16,16]
          return(%s)
        }""",
        ["exp", "dot+add"],
    ),
    "rows read by a product are finished first": (
        """graph @g(%x: f32[16,16]) {
          %m = amax(%x) {axes = [1], keepdims = true} : f32[16,1]
          %d = sub(%x, %m) : f32[16,16]
          %p = dot(%d, %x) : f32[16,16]
          %s = sub(%p, %m) : f32[16,16]
          return(%s)
        }""",
        ["amax+sub", "dot+sub"],
    ),
    "reductions of different rows are different kernels": (
        """graph @g(%x: f32[64,64]) {
          %a = sum(%x) {axes = [1], keepdims = true} : f32[64,1]
          %b = sum(%x) {axes = [0], keepdims = true} : f32[1,64]
          %y = add(%a, %b) : f32[64,64]
          return(%y)
        }""",
        ["sum", "sum+add"],
    ),
    "two sums of a row are one kernel with what follows": (
        """graph @g(%x: f32[64,100], %z: f32[64,100]) {
          %a = sum(%x) {axes = [1], keepdims = true} : f32[64,1]
          %b = sum(%z) {axes = [1], keepdims = true} : f32[64,1]
          %r = div(%a, %b) : f32[64,1]
          %y = mul(%x, %r) : f32[64,100]
          return(%y)
        }""",
        ["sum+sum+mul"],
    ),
    "channel statistics and normalization share rows that are channels": (
        """graph @g(%x: f32[4,8,16,16]) {
          %s = sum(%x) {axes = [0, 2, 3], keepdims = true} : f32[1,8,1,1]
          %y = sub(%x, %s) : f32[4,8,16,16]
          return(%y)
        }""",
        ["sum+sub"],
    ),
    "padding is made before overlapping windows read it": (
        """graph @g(%x: f32[2,4,8,8]) {
          %low = constant() {value = -inf} : f32[]
          %p = pad(%x, %low) {low = [0, 0, 1, 1], high = [0, 0, 1, 1]} : f32[2,4,10,10]
          %w = windows(%p) {window = [3, 3], stride = [2, 2], dilation = [1, 1]} : f32[2,4,4,4,3,3]
          %y = amax(%w) {axes = [4, 5], keepdims = false} : f32[2,4,4,4]
          return(%y)
        }""",
        ["pad", "amax"],
    ),
    "a product is not recomputed for what stretches it": (
        """graph @g(%x: f32[4,8], %w: f32[8,1], %z: f32[4,6]) {
          %p = dot(%x, %w) : f32[4,1]
          %y = add(%p, %z) : f32[4,6]
          return(%y)
        }""",
        ["dot", "add"],
    ),
    "a scale per channel is computed once, not per element": (
        """graph @g(%x: f32[16,8,32], %v: f32[8,1]) {
          %r = rsqrt(%v) : f32[8,1]
          %y = mul(%x, %r) : f32[16,8,32]
          return(%y)
        }""",
        ["rsqrt", "mul"],
    ),
    "a gradient of one update per row joins the rows it belongs to": (
        """graph @g(%x: f32[16,10], %y: i64[16,1]) {
          %m = amax(%x) {axes = [1], keepdims = true} : f32[16,1]
          %d = sub(%x, %m) : f32[16,10]
          %e = exp(%d) : f32[16,10]
          %s = sum(%e) {axes = [1], keepdims = true} : f32[16,1]
          %p = div(%e, %s) : f32[16,10]
          %one = constant() {value = -1.0} : f32[]
          %u = broadcast_to(%one) {shape = [16, 1]} : f32[16,1]
          %z = scatter(%p, %y, %u) {axis = 1, mode = "add"} : f32[16,10]
          return(%z)
        }""",
        ["amax+exp+sum+scatter"],
    ),
}


def inputs(graph):
    generator = np.random.default_rng(0)
    for value in graph.inputs:
        shape = tuple(value.type.shape)
        high = 10 if value.type.dtype.kind == "int" else 2
        yield (generator.integers(0, high, shape) + (0 if high == 10 else generator.random(shape))).astype(
            value.type.dtype.numpy
        )


@pytest.mark.parametrize("title", CASES)
def test_kernels_of(title):
    text, expected = CASES[title]
    graph = parse_graph(text)
    module = lower_graph(graph)
    assert [call.label for call in module.kernels] == expected
    assert all(np.isfinite(out).all() for out in run_module(module, list(inputs(graph)), {}))


def test_a_long_chain_is_cut_into_kernels():
    lines = ["graph @long(%x: f32[8]) {", "  %v0 = neg(%x) : f32[8]"]
    lines += [f"  %v{n} = abs(%v{n - 1}) : f32[8]" for n in range(1, 2000)]
    module = lower_graph(parse_graph("\n".join([*lines, "  return(%v1999)", "}"])))
    assert all(len(list(call.kernel.walk())) < 700 for call in module.kernels)
    np.testing.assert_array_equal(run_module(module, [np.arange(8, dtype=np.float32)], {})[0], np.arange(8))


def test_a_step_of_a_recurrence_is_one_kernel_for_all_steps():
    lines = ["graph @steps(%x: f32[20,8,16], %h: f32[8,16]) {"]
    for n in range(20):
        lines.append(
            f"  %s{n} = slice(%x) {{starts = [{n}, 0, 0], sizes = [1, 8, 16], steps = [1, 1, 1]}} : f32[1,8,16]"
        )
        lines.append(f"  %r{n} = reshape(%s{n}) {{shape = [8, 16]}} : f32[8,16]")
        lines.append(f"  %a{n} = add(%r{n}, {f'%t{n - 1}' if n else '%h'}) : f32[8,16]")
        lines.append(f"  %t{n} = tanh(%a{n}) : f32[8,16]")
        lines.append(f"  %e{n} = exp(%t{n}) : f32[8,16]")
    lines.append(f"  return({', '.join(f'%e{n}' for n in range(20))})")
    module = lower_graph(parse_graph("\n".join([*lines, "}"])))
    assert len({id(call.kernel) for call in module.kernels}) <= 2


def test_chunks_do_not_depend_on_anything_but_the_shape():
    text = """graph @g(%x: f32[N,1000]) {
      %y = sum(%x) {axes = [0, 1], keepdims = false} : f32[]
      return(%y)
    }"""
    module = lower_graph(parse_graph(text))
    partial = next(b for b in module.buffers if b.name == "partial")
    assert [shapes.evaluate(d, {"N": 100}) for d in partial.shape] == [7]
    assert from_numpy(np.dtype(np.float32)) is partial.dtype
