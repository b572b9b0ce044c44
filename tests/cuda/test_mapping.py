"""Which loops a block's threads share: those whose iterations are seen to be independent, and no others."""

import pytest

from jitcore.compiler.cuda.mapping import choose_mapping, distributable
from jitcore.compiler.loops.ops import FOR
from jitcore_ir import parse_graph


def loop(body, carried="", arguments="", results=""):
    """The only loop of a kernel over %x: f32[64], %y: f32[64,64] and %p: i64[64]."""
    kind = "reduce" if carried else "serial"
    arrow = f" : {results}" if results else ""
    text = f"""graph @kernel0(%x: buffer<f32[64]>, %y: buffer<f32[64,64]>, %p: buffer<i64[64]>) {{
  %n = constant() {{value = 64}} : i64[]
  %two = constant() {{value = 2}} : i64[]
  %zero = constant() {{value = 0.0}} : f32[]
  {"%r = " if results else ""}for(%n{carried}) {{kind = "{kind}"}}{arrow} {{ ^(%i: i64[]{arguments}):
{body}
  }}
  return()
}}"""
    graph = parse_graph(text)
    return next(o for o in graph.operations if o.spec is FOR)


SAFE = {
    "its own element": """
    %v = load(%x, %i) : f32[]
    store(%v, %x, %i)
    yield()""",
    "a place moved by what does not vary": """
    %j = add(%i, %two) : i64[]
    %v = load(%x, %two) : f32[]
    store(%v, %y, %two, %j)
    yield()""",
    "a multiple of the index": """
    %j = mul(%i, %two) : i64[]
    %v = load(%x, %i) : f32[]
    store(%v, %y, %j, %two)
    yield()""",
}
UNSAFE = {
    "reads what the iteration before wrote": """
    %j = add(%i, %two) : i64[]
    %v = load(%x, %i) : f32[]
    store(%v, %x, %j)
    yield()""",
    "always the same place": """
    %v = load(%x, %i) : f32[]
    store(%v, %y, %two, %two)
    yield()""",
    "two iterations for one place": """
    %j = floor_divide(%i, %two) : i64[]
    %v = load(%x, %i) : f32[]
    store(%v, %y, %j, %two)
    yield()""",
    "a place read from memory": """
    %j = load(%p, %i) : i64[]
    %v = load(%x, %i) : f32[]
    store(%v, %y, %j, %two)
    yield()""",
    "a place that another varying value moves": """
    %k = load(%p, %i) : i64[]
    %j = add(%i, %k) : i64[]
    %v = load(%x, %i) : f32[]
    store(%v, %y, %j, %two)
    yield()""",
    "an index that cancels": """
    %minus = constant() {value = -1} : i64[]
    %back = mul(%i, %minus) : i64[]
    %j = add(%i, %back) : i64[]
    %v = load(%x, %i) : f32[]
    store(%v, %y, %j, %two)
    yield()""",
}


@pytest.mark.parametrize("body", SAFE.values(), ids=SAFE)
def test_independent_iterations_are_shared(body):
    assert distributable(loop(body)) == ()


@pytest.mark.parametrize("body", UNSAFE.values(), ids=UNSAFE)
def test_iterations_that_may_meet_are_not_shared(body):
    assert distributable(loop(body)) is None


def reduce(body):
    return loop(body, ", %zero", ", %c: f32[]", "f32[]")


def test_sums_are_shared():
    (spec,) = distributable(
        reduce("""
    %v = load(%x, %i) : f32[]
    %s = add(%v, %c) : f32[]
    yield(%s)""")
    )
    assert spec.name == "add"


@pytest.mark.parametrize(
    "body",
    [
        """
    %v = load(%x, %i) : f32[]
    %s = add(%c, %v) : f32[]
    store(%c, %x, %i)
    yield(%s)""",
        """
    %s = add(%c, %c) : f32[]
    yield(%s)""",
        """
    %v = load(%x, %i) : f32[]
    %s = sub(%v, %c) : f32[]
    yield(%s)""",
        """
    %v = load(%x, %i) : f32[]
    %s = add(%c, %v) : f32[]
    yield(%v)""",
    ],
    ids=["a running sum that is stored", "doubling", "not associative", "the last value"],
)
def test_what_depends_on_the_order_is_not_shared(body):
    assert distributable(reduce(body)) is None


def test_without_a_loop_to_share_each_thread_runs_rows_of_its_own():
    text = """graph @kernel0(%x: buffer<f32[64,64]>) {
  %n = constant() {value = 64} : i64[]
  %zero = constant() {value = 0.0} : f32[]
  for(%n) {kind = "parallel"} { ^(%i: i64[]):
    %r = for(%n, %zero) {kind = "serial"} : f32[] { ^(%j: i64[], %c: f32[]):
      %v = load(%x, %i, %j) : f32[]
      %s = add(%c, %v) : f32[]
      store(%s, %x, %i, %j)
      yield(%s)
    }
    yield()
  }
  return()
}"""
    assert choose_mapping(parse_graph(text)).kind == "elements"
