"""Archives whose graphs have branches and loops: read back, run without a compiler, and refused where malformed."""

import flatbuffers
import numpy as np
import pytest
from archive_cases import metadata_of, with_metadata

from jitcore_ir import Graph, Region, TensorType, create_operation, ops, parse_graph, print_graph
from jitcore_ir.dtypes import bool_, float32
from jitcore_ir.verifier import verify
from jitcore_runtime import ArchiveError, load
from jitcore_serialize.archive import Archive, Entry
from jitcore_serialize.encode import encode
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import _pack, write_archive

TEXT = """graph @main(%p: bool[], %h: f32[2], %xs: f32[T,2], %n: i64[]) {
  %last, %ys = scan(%h, %xs) {length = T, carried = 1, scanned = 1, reverse = true} : f32[2], f32[T,2] @ "m.py":3 { \
^(%c: f32[2], %x: f32[2]):
    %s = add(%c, %x) : f32[2] @ "m.py":4
    yield(%s, %c)
  }
  %y = cond(%p, %last) : f32[2] { ^(%a: f32[2]):
    yield(%a)
  } { ^(%b: f32[2]):
    %m = neg(%b) : f32[2]
    yield(%m)
  }
  %k = while(%n) {carried = 1} : i64[] { ^(%i: i64[]):
    %zero = constant() {value = 0} : i64[]
    %go = gt(%i, %zero) : bool[]
    yield(%go)
  } { ^(%j: i64[]):
    %two = constant() {value = 2} : i64[]
    %less = sub(%j, %two) : i64[]
    yield(%less)
  }
  return(%y, %ys, %k)
}
"""


@pytest.fixture
def path(tmp_path):
    write_archive(Archive.of(Entry("main", parse_graph(TEXT))), tmp_path / "loops.jca")
    return tmp_path / "loops.jca"


def test_regions_are_read_back(path):
    assert print_graph(read_archive(path).entries["main"].graph) == TEXT


def test_a_loaded_archive_runs_at_every_length(path):
    model = load(path)
    for length in (0, 1, 5):
        xs = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
        for p in (True, False):
            y, ys, k = model(np.array(p), np.ones(2, np.float32), xs, np.array(5))
            total = 1 + xs.sum(0)
            np.testing.assert_allclose(y, total if p else -total)
            after = np.cumsum(xs[::-1], 0)[::-1] - xs
            np.testing.assert_allclose(ys, 1 + after)
            assert k == -1


def _operations(block):
    for operation in block.operations:
        yield operation
        for region in operation.regions or []:
            yield from _operations(region)


def _damage(which):
    def change(metadata):
        scan, cond, loop, _ = metadata.entries[0].block.operations
        match which:
            case "no regions":
                cond.regions = []
            case "one region too few":
                cond.regions = cond.regions[:1]
            case "one region too many":
                scan.regions = [*scan.regions, *cond.regions]
            case "an empty region":
                cond.regions[0].operations = []
            case "a region without its arguments":
                scan.regions[0].arguments = scan.regions[0].arguments[:1]
            case "a value from outside":
                cond.regions[1].operations[0].operands = np.array([1], np.uint32)
            case "a value of the other region":
                cond.regions[1].operations[0].operands = np.array([9], np.uint32)
            case "a yield too many":
                inner = loop.regions[1].operations[-1]
                inner.operands = np.array([*inner.operands, inner.operands[0]], np.uint32)
            case "more carried than there is":
                loop.attributes[0].values = np.array([7], np.int64)
            case "a negative number carried":
                loop.attributes[0].values = np.array([-1], np.int64)
            case "another length":
                scan.attributes[0].values = np.array([3], np.int64)
            case "a region that returns":
                cond.regions[0].operations[-1].operator = metadata.entries[0].block.operations[-1].operator
            case "a result of another type":
                cond.results = scan.results[1:]

    return change


@pytest.mark.parametrize(
    "which",
    ["no regions", "one region too few", "one region too many", "an empty region", "a region without its arguments",
     "a value from outside", "a value of the other region", "a yield too many", "more carried than there is",
     "a negative number carried", "another length", "a region that returns", "a result of another type"],
)  # fmt: skip
def test_malformed_regions_are_refused(path, which):
    encoded = encode(Archive.of(Entry("main", parse_graph(TEXT))))
    _pack(encoded)
    _damage(which)(encoded.metadata)
    builder = flatbuffers.Builder(1024)
    builder.Finish(encoded.metadata.Pack(builder))
    with pytest.raises(ArchiveError):
        load(with_metadata(path.read_bytes(), bytes(builder.Output())))


def test_a_region_that_is_not_closed_is_not_written(tmp_path):
    graph = Graph("main")
    p = graph.block.add_argument(TensorType(bool_), "p")
    x = graph.block.add_argument(TensorType(float32, (2,)), "x")
    regions = [Region(), Region()]
    for region in regions:
        region.block.append(ops.YIELD, [x])
    operation = create_operation(ops.COND, [p], {}, regions=regions)
    operation.block = graph.block
    graph.block.operations.append(operation)
    graph.block.append(ops.RETURN, operation.results)
    with pytest.raises(ArchiveError, match="not visible here"):
        write_archive(Archive.of(Entry("main", graph)), tmp_path / "open.jca")


def _nested(depth):
    """Regions inside regions."""
    type = TensorType(bool_)
    graph = Graph("main")
    block = graph.block
    value = block.add_argument(type, "p")
    todo = []
    for _ in range(depth):
        regions = [Region(), Region()]
        inner = [region.block.add_argument(type) for region in regions]
        regions[1].block.append(ops.YIELD, inner[1:])
        todo.append((block, value, regions))
        block, value = regions[0].block, inner[0]
    block.append(ops.YIELD, [value])
    for outer, operand, regions in reversed(todo):
        operation = create_operation(ops.COND, [operand, operand], {}, regions=regions)
        operation.block = outer
        outer.operations.insert(0, operation)
        outer.append(ops.RETURN if outer is graph.block else ops.YIELD, operation.results)
    return graph


def test_deep_nesting_is_read_back_or_refused(tmp_path):
    for depth in (1, 10, 20, 30, 60):
        path = tmp_path / f"{depth}.jca"
        try:
            write_archive(Archive.of(Entry("main", _nested(depth))), path)
        except ArchiveError:
            assert depth > 10
            continue
        assert load(path)(np.array(True))


def test_damaged_regions_are_refused_or_whole(path):
    """Bytes of the metadata changed at random, under a digest that fits: an ArchiveError, or a sound graph."""
    data = path.read_bytes()
    metadata = metadata_of(data)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(600):
        damaged = bytearray(metadata)
        for place in random.integers(0, len(damaged), random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        try:
            archive = read_archive(with_metadata(data, bytes(damaged)))
        except ArchiveError:
            refused += 1
            continue
        for entry in archive.entries.values():
            verify(entry.graph)
    assert refused > 200
