"""What is written is read back: graphs to the bit, weights as views of the file, every part of an archive."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from archive_cases import N, assert_same_graph, bits, forward_in_numpy, full_archive
from hypothesis import given, settings
from hypothesis import strategies as st

from jitcore_ir import OPS, Graph, Kind, Location, TensorType, Trait, ops, shapes
from jitcore_ir.dtypes import ALL, bool_, float32
from jitcore_ir.graph import Region
from jitcore_ir.ops.rules import op
from jitcore_ir.parser import _Parser
from jitcore_runtime import load
from jitcore_serialize.archive import Archive, Entry
from jitcore_serialize.reader import read_archive
from jitcore_serialize.tables import DTYPES
from jitcore_serialize.writer import write_archive

KINDS = {kind.value: kind for kind in Kind}


@pytest.fixture(scope="module", autouse=True)
def _test_operations():
    """Operations with every kind of attribute and with regions, registered while this module runs."""
    global EVERYTHING, NESTED
    EVERYTHING = op("test_archive_everything", ("*xs",), KINDS, "Every kind of attribute.")(lambda *xs, **_: xs)
    NESTED = op("test_archive_nested", ("*xs",), {}, "Two regions.", Trait.IMPURE, regions=2)(lambda *xs: xs)
    yield
    del OPS["test_archive_everything"], OPS["test_archive_nested"]


# Strategies

names = st.one_of(st.just(""), st.sampled_from(["x", "layer.weight", "größe"]), st.text(max_size=4))
known_symbols = ["N", "M", "seq_len"]
symbols = st.sampled_from(known_symbols).map(shapes.symbol)
small = st.integers(-(2**63), 2**63 - 1)


def _combine(children):
    pairs = st.tuples(children, children)
    divisors = st.one_of(st.integers(1, 6), symbols)
    return st.one_of(
        pairs.map(lambda p: shapes.add(*p)),
        pairs.map(lambda p: shapes.sub(*p)),
        pairs.map(lambda p: shapes.mul(*p)),
        pairs.map(lambda p: shapes.maximum(*p)),
        pairs.map(lambda p: shapes.minimum(*p)),
        st.tuples(children, divisors).map(lambda p: shapes.floordiv(*p)),
        st.tuples(children, divisors).map(lambda p: shapes.mod(*p)),
    )


dims = st.recursive(st.integers(-3, 9) | symbols, _combine, max_leaves=6)
sizes = dims.filter(lambda d: not isinstance(d, int) or d >= 0)
types = st.builds(TensorType, st.sampled_from(ALL), st.lists(sizes, max_size=3).map(tuple))
locations = st.one_of(
    st.just(Location("", 0)), st.builds(Location, st.sampled_from(["a.py", "b/c.py"]), st.integers(1, 9))
)


@st.composite
def arrays(draw):
    """Arrays of any bits, on both sides of what is stored in the metadata."""
    dtype = draw(st.sampled_from(ALL))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    if draw(st.booleans()):
        shape = (*shape, draw(st.sampled_from([0, 1, 60, 300])))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    data = (draw(st.binary(min_size=8, max_size=32)) * (size // 8 + 1))[:size]
    array = np.frombuffer(bytes(b & 1 for b in data) if dtype is bool_ else data, dtype.numpy).reshape(shape)
    return np.asarray(array.T if draw(st.booleans()) else array)


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
    graph.block.add_argument(TensorType(float32, tuple(map(shapes.symbol, known_symbols))), "sizes")
    for number in range(draw(st.integers(0, 3))):
        graph.block.add_argument(draw(types), f"{draw(names)}{number}")
    fill(draw, graph.block, list(graph.block.arguments), ops.RETURN, 2)
    return graph


def fill(draw, block, visible, terminator, depth):
    """Put a few operations into `block`; in its regions too."""

    def some():
        return draw(st.lists(st.sampled_from(visible), max_size=2))

    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["everything", "constant", "nested"][: 3 if depth else 2]))
        location = draw(locations)
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
    block.append(terminator, some())


def round_trip(archive, folder):
    path = folder / "round.jca"
    write_archive(archive, path)
    return read_archive(path)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_any_graph_is_read_back_to_the_bit(tmp_path_factory, graph):
    again = round_trip(Archive.of(Entry("main", graph)), tmp_path_factory.getbasetemp())
    assert_same_graph(graph, again.entries["main"].graph)


def _rule_cases():
    """Valid operands and attributes of every operation, from the tests of the IR's rules."""
    path = Path(__file__).parents[1] / "ir" / "test_op_rules.py"
    spec = importlib.util.spec_from_file_location("op_rule_cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GOOD


_CONV = {"stride": (2,), "padding": ((1, 2),), "dilation": (1,), "groups": 2}
CASES = [
    *(case for case in _rule_cases() if not case[0].has(Trait.TERMINATOR)),
    (ops.CONV, "f32[N,4,9] f32[6,2,3]", _CONV, "f32[N,6,5]"),
    (ops.CONV_TRANSPOSE, "f32[N,6,5] f32[6,2,3]", {**_CONV, "spatial": (9,)}, "f32[N,4,9]"),
    (ops.CONV_WEIGHT_GRADIENT, "f32[N,4,9] f32[N,6,5]", {**_CONV, "kernel": (3,)}, "f32[6,2,3]"),
]


@pytest.mark.parametrize("spec, operands, attributes, _", CASES, ids=[f"{c[0].name}-{c[3]}" for c in CASES])
def test_every_operation_is_read_back(tmp_path, spec, operands, attributes, _):
    graph = Graph("g")
    values = [graph.block.add_argument(_Parser(text).type()) for text in operands.split()]
    graph.block.add_argument(TensorType(float32, (N, shapes.symbol("M"))), "sizes")
    new = graph.block.append(spec, values, attributes, Location("a.py", 1))
    graph.block.append(ops.RETURN, new.results)
    again = round_trip(Archive.of(Entry("main", graph)), tmp_path)
    assert_same_graph(graph, again.entries["main"].graph)
    assert again.operators[spec.name] == spec.version


def test_the_cases_above_have_every_primitive():
    others = Trait.LOOP | Trait.TERMINATOR | Trait.CLOSED  # closed regions: test_control_flow.py
    graph_level = {s for s in OPS.values() if not s.has(others) and "test_" not in s.name}
    elementwise = {s for s in graph_level if s.has(Trait.ELEMENTWISE)}  # one attribute-free form for all
    alike = {"amin", "argmin", "prod", "cumprod"}
    assert {s.name for s in graph_level - elementwise} - alike <= {c[0].name for c in CASES}


def test_every_part_of_an_archive_is_read_back(tmp_path):
    archive = full_archive()
    again = round_trip(archive, tmp_path)
    assert list(again.entries) == ["forward", "step"]
    for name, entry in archive.entries.items():
        other = again.entries[name]
        assert_same_graph(entry.graph, other.graph)
        for field in ("name", "weights", "outputs", "structure", "updates", "guards", "ranges"):
            assert getattr(entry, field) == getattr(other, field), field
    for one, found in ((a.code[t], b.code[t]) for a, b, t in _codes(archive, again, "code")):
        assert (one.image, one.operations) == (found.image, found.operations)
        assert_same_plan(one.plan, found.plan)
    for one, found in ((a.device_code[t], b.device_code[t]) for a, b, t in _codes(archive, again, "device_code")):
        assert (one.module, one.launches) == (found.module, found.launches)
        assert_same_plan(one.plan, found.plan)
    assert again.pools == archive.pools
    assert again.provenance == archive.provenance
    assert {n: bits(a) for n, a in again.weights.items()} == {n: bits(a) for n, a in archive.weights.items()}


def _codes(archive, again, field):
    for name, entry in archive.entries.items():
        assert list(getattr(entry, field)) == list(getattr(again.entries[name], field))
        yield from ((entry, again.entries[name], target) for target in getattr(entry, field))


def assert_same_plan(a, b):
    def plain(plan):
        return [dataclasses.replace(buffer, data=None) for buffer in plan.buffers]

    assert plain(a) == plain(b)
    assert [bits(x.data) for x in a.buffers] == [bits(x.data) for x in b.buffers]
    for field in ("symbols", "slots", "aliases", "prepared_from"):
        assert getattr(a, field) == getattr(b, field)


def test_equal_archives_give_equal_bytes(tmp_path):
    for name in "ab":
        write_archive(full_archive(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_are_read_only_views_of_the_mapped_file(tmp_path):
    archive = round_trip(full_archive(), tmp_path)
    weight = archive.weights["layer.weight"]
    assert not weight.flags.writeable and not weight.flags.owndata
    assert weight.ctypes.data % 64 == 0
    with pytest.raises(ValueError):
        weight.flags.writeable = True


def test_memory_that_is_shared_is_stored_once(tmp_path):
    weight = np.arange(4000, dtype=np.float32)
    graph = Graph("g")
    a, b = (graph.block.add_argument(TensorType(float32, (4000,)), n) for n in "ab")
    graph.block.append(ops.RETURN, [a, b])
    archive = Archive.of(Entry("main", graph, {0: "first", 1: "second"}), weights={"first": weight, "second": weight})
    write_archive(archive, tmp_path / "shared.jca")
    assert (tmp_path / "shared.jca").stat().st_size < 2 * weight.nbytes
    again = read_archive(tmp_path / "shared.jca")
    assert again.weights["first"] is again.weights["second"]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_weights_of_every_dtype_and_layout(tmp_path, dtype):
    base = np.arange(600).reshape(20, 30).astype(dtype.numpy)
    weights = {"plain": base, "transposed": base.T, "strided": base[::-2, 1::3], "empty": base[:0], "one": base[3, 4]}
    if dtype.itemsize > 1 and dtype.name != "bfloat16":
        weights["big_endian"] = base.astype(base.dtype.newbyteorder(">"))
    graph = Graph("g")
    graph.block.append(ops.RETURN, [])
    again = round_trip(
        Archive.of(Entry("main", graph), weights={n: np.asarray(w) for n, w in weights.items()}), tmp_path
    )
    for name, weight in weights.items():
        assert again.weights[name].dtype == dtype.numpy
        np.testing.assert_array_equal(again.weights[name], weight)


def test_dtype_codes_of_the_format_are_the_irs_dtypes():
    assert DTYPES == ALL


def test_paths_of_the_machine_stay_out_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = Graph("g")
    x = graph.block.add_argument(TensorType(float32, (N,)), "x")
    for file in (
        str(tmp_path / "sub" / "m.py"),
        "/home/someone/secret/other.py",
        "../someone/up.py",
        "/v/site-packages/p/q.py",
    ):
        x = graph.block.append(ops.NEG, [x], {}, Location(file, 3)).result
    graph.block.append(ops.RETURN, [x])
    again = round_trip(Archive.of(Entry("main", graph)), tmp_path)
    files = [o.location.file for o in again.entries["main"].graph.operations[:-1]]
    assert files == ["sub/m.py", "other.py", "up.py", "p/q.py"]
    assert b"someone" not in (tmp_path / "round.jca").read_bytes()


def test_a_loaded_archive_computes_what_numpy_does(tmp_path):
    archive = full_archive()
    write_archive(archive, tmp_path / "m.jca")
    model = load(tmp_path / "m.jca")
    for rows in (0, 1, 5):
        x = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
        found, expected = model(x), forward_in_numpy(archive, x)
        np.testing.assert_allclose(found["flat"], expected["flat"], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["others"][0], expected["others"][0])
        assert found["others"][1] == expected["others"][1]
