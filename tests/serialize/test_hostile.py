"""Whatever bytes a file holds: an ArchiveError or right answers, and no crash, hang or huge allocation."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from archive_cases import N, full_archive, metadata_of, with_metadata

from jitcore_ir import Graph, TensorType, ops, shapes
from jitcore_ir.dtypes import float32
from jitcore_runtime import ArchiveError, InputError, load
from jitcore_serialize.archive import Archive, Entry
from jitcore_serialize.checked import read_flatbuffer
from jitcore_serialize.encode import encode
from jitcore_serialize.generated.Expression import ExpressionT
from jitcore_serialize.generated.ValueType import ValueTypeT
from jitcore_serialize.layout import HEADER
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import _pack, write_archive

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "full.jca"
    write_archive(full_archive(), path)
    return path


@pytest.mark.parametrize("how", ["file 1 1000", "file 2 1000", "metadata 1 1500", "metadata 2 1500", "fields 1 700"])
def test_damaged_archives_are_refused_or_right(original, how):
    command = [sys.executable, str(HERE / "hostile_worker.py"), str(original), how]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"], "\n".join(found["wrong"])
    assert found["refused"] > 100


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
def test_a_truncated_file_is_refused(original, size, tmp_path):
    (tmp_path / "short.jca").write_bytes(original.read_bytes()[:size])
    with pytest.raises(ArchiveError, match=r"short\.jca"):
        load(tmp_path / "short.jca")


def test_bytes_after_the_end_are_refused(original):
    with pytest.raises(ArchiveError, match="ends at byte"):
        load(original.read_bytes() + b"\0")


def test_padding_that_is_not_zero_is_refused(original):
    data = bytearray(original.read_bytes())
    archive = read_archive(bytes(data))
    first = archive.segments[0]
    assert data[first.offset - 1] == 0
    data[first.offset - 1] = 1
    with pytest.raises(ArchiveError, match="padding"):
        load(bytes(data))


@pytest.mark.parametrize("kind, words", [("elements", "checksum"), ("image", "digest"), ("module", "digest")])
def test_a_changed_segment_is_refused(original, kind, words):
    data = bytearray(original.read_bytes())
    segment = next(s for s in read_archive(bytes(data)).segments if s.kind == kind)
    data[segment.offset + segment.size // 2] ^= 16
    with pytest.raises(ArchiveError, match=words):
        read_archive(bytes(data))


def test_weights_are_not_checked_where_the_caller_declines(original):
    data = bytearray(original.read_bytes())
    segment = next(s for s in read_archive(bytes(data)).segments if s.kind == "elements")
    data[segment.offset] ^= 1
    read_archive(bytes(data), check_weights=False)


def test_another_kind_of_file_is_refused():
    with pytest.raises(ArchiveError, match=r"does not start as a \.jca archive"):
        load(b"PK\x03\x04" + bytes(100))


def test_a_later_format_is_refused_with_advice(original):
    data = bytearray(original.read_bytes())
    data[8:12] = struct.pack("<I", 999)
    with pytest.raises(ArchiveError, match=r"format version is 999.*upgrade jitcore-runtime"):
        load(bytes(data))


# Metadata that no writer makes


def changed(change):
    """The full archive with its metadata changed, digest made right."""
    encoded = encode(full_archive())
    _pack(encoded)  # places the segments
    change(encoded.metadata)
    builder = flatbuffers.Builder(1024)
    builder.Finish(encoded.metadata.Pack(builder))
    return with_metadata(FILE, bytes(builder.Output()))


@pytest.fixture(autouse=True, scope="module")
def _file(original):
    global FILE
    FILE = original.read_bytes()


def _set(name, value):
    def change(metadata):
        *path, last = name.split(".")
        target = metadata
        for part in path:
            target = target[int(part)] if part.isdigit() else getattr(target, part)
        if last.isdigit():
            target[int(last)] = value
        else:
            setattr(target, last, value)

    return change


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("entries", [], "not used"),
        ("entries.1.name", "forward", "two of it are the entry"),
        ("entries.0.name", "", "entry"),
        ("operators.0.name", "frobnicate", "unknown here.*upgrade"),
        ("operators.0.version", 2, "version 2 of dot, which is version 1 here.*upgrade"),
        ("operators.2.attributes", None, "its constant has the attributes"),
        ("entries.0.block.operations.0.operator", 99, "operator 99 of"),
        ("entries.0.block.operations.0.operands", [0, 77], "value 77 of 3"),
        ("entries.0.block.operations.0.operands", [0], "operands"),
        ("entries.0.block.operations.0.results", [0], "dot: its results are"),
        ("entries.0.block.operations.0.file", 9, "file 9 of"),
        ("entries.0.block.arguments", [0, 1, 88], "type 88 of"),
        ("entries.0.weights", [-1, 0, 7], "weight 7 of 2"),
        ("entries.0.weights", [-1, 0], "2 inputs"),
        ("entries.0.weights", [-1, 1, 0], "the weight 'layer.bias' is f32"),
        ("entries.0.outputs", ["a", "b"], "names"),
        ("entries.0.structure.kind", 1, "structure of the result"),
        ("entries.0.structure.items.0.result", 3, "of 3 results"),
        ("entries.0.ranges.0.minimum", 101, "range 101 to 100"),
        ("entries.1.updates", [1, 2], "not of its type"),
        ("entries.1.updates", [1], "pairs"),
        ("entries.1.guards.0.output", 9, "guard"),
        ("entries.1.guards.0.kind", 3, "guard"),
        ("segments.0.offset", 0, None),
        ("segments.1.offset", 64, "does not follow"),
        ("segments.0.size", 2**63, "segment 0"),
        ("segments.0.kind", 1, "digest of 0 bytes"),
        ("arrays.0.shape", [2**40, 2**40], "a tensor of"),
        ("arrays.0.shape", [8, 17], "bytes, not"),
        ("arrays.0.shape", [-1, 16], "negative"),
        ("arrays.0.segment", 99, "segment 99"),
        ("arrays.0.segment", 3, "not elements"),
        ("types.0.shape", [2] * 33, "33 dimensions"),
        ("types.0.shape", [-99, 8], "expression 98"),
        ("symbols", ["a b"], "not a plain identifier"),
        ("images.0.textSize", 100, "whole pages"),
        ("images.0.textSize", 2**62, "whole pages|parts of"),
        ("images.0.exports.0.offset", 4096, "outside the code"),
        ("images.0.imports.0.offset", 12288, "outside the writable part"),
        ("images.0.imports.0.offset", 8193, "outside the writable part"),
        ("images.0.target", "aarch64", None),
        ("entries.0.code.0.image", 5, "image 5 of"),
        ("entries.0.code.0.plan.buffers.0.index", 3, "input 3 of 3"),
        ("entries.0.code.0.plan.buffers.0.dtype", 9, "but the input is"),
        ("entries.0.code.0.plan.buffers.7.array", -1, "without data"),
        ("entries.0.code.0.plan.buffers.7.shape", [20, 21], "but its data is"),
        ("entries.0.code.0.plan.slots", [8], None),
        ("entries.0.code.0.plan.slots", [], "temporary 0 of 0"),
        ("entries.0.code.0.plan.aliases", [0, 0], "not of its type"),
        ("entries.0.code.0.plan.preparedFrom", [3], "prepares from"),
        ("entries.0.code.0.plan", None, "without a plan"),
        ("entries.0.deviceCode.0.launches.0.grid", [1, 1], "launch"),
        ("entries.0.deviceCode.0.launches.0.buffers", [9], "buffers"),
        ("pools", [0, 0], "two of it are the thread pool"),
    ],
)  # fmt: skip
def test_metadata_that_does_not_fit_together_is_refused(name, value, words):
    data = changed(_set(name, value))
    if words is None:  # says the same as before, or something as good
        read_archive(data)
        return
    with pytest.raises(ArchiveError, match=f"(?s){words}"):
        read_archive(data)


def test_an_unchanged_rebuild_is_read():
    assert changed(lambda metadata: None) == FILE


def test_a_vector_of_vectors_that_share_their_parts_is_refused_at_once():
    """Thirty structures deep, each listing the next one twice: two to the thirty parts in under two kilobytes."""
    builder = flatbuffers.Builder(1024)
    builder.StartObject(4)
    at = builder.EndObject()
    for _ in range(30):
        builder.StartVector(4, 2, 4)
        builder.PrependUOffsetTRelative(at)
        builder.PrependUOffsetTRelative(at)
        items = builder.EndVector()
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(3, items, 0)
        at = builder.EndObject()
    builder.Finish(at)
    with pytest.raises(ArchiveError, match="more tables than"):
        read_flatbuffer(bytes(builder.Output()), "Structure")


def test_nesting_without_end_is_refused():
    builder = flatbuffers.Builder(1024)
    builder.StartObject(4)
    at = builder.EndObject()
    for _ in range(5000):
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(at)
        items = builder.EndVector()
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(3, items, 0)
        at = builder.EndObject()
    builder.Finish(at)
    with pytest.raises(ArchiveError, match="nested deeper"):
        read_flatbuffer(bytes(builder.Output()), "Structure")


def test_a_vector_that_claims_more_than_the_file_is_refused_without_allocating():
    builder = flatbuffers.Builder(64)
    builder.StartVector(8, 1, 8)
    builder.PrependInt64(5)
    code = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, code, 0)
    builder.Finish(builder.EndObject())
    data = bytearray(builder.Output())
    at = data.index(struct.pack("<Iq", 1, 5))
    for count in (2, 2**16, 2**31, 2**32 - 1):
        data[at : at + 4] = struct.pack("<I", count)
        with pytest.raises(ArchiveError):
            read_flatbuffer(bytes(data), "Expression")


def test_a_field_of_a_later_schema_is_refused():
    builder = flatbuffers.Builder(64)
    builder.StartObject(2)
    builder.PrependInt32Slot(1, 7, 0)
    builder.Finish(builder.EndObject())
    with pytest.raises(ArchiveError, match="2 fields"):
        read_flatbuffer(bytes(builder.Output()), "Expression")


def _program(steps):
    def change(metadata):
        metadata.symbols = ["N", *(f"s{i}" for i in range(40))]
        expression = ExpressionT()
        expression.code = steps
        metadata.expressions.append(expression)

    return change


PUSH_SUM = [1, 1, 1, 2, 2, 1, 3, 2, 1, 4, 2]
BOMBS = {
    "empty": [],
    "two left": [0, 1, 0, 2],
    "nothing to pop": [2],
    "unknown step": [9],
    "push without argument": [0],
    "unknown symbol": [1, 99],
    "negative symbol": [1, -1],
    "divide by zero": [1, 0, 0, 0, 4],
    "beyond int64": [0, 2**62, 0, 4, 3],
    "powers": [0, 10**18, *([0, 10**18, 3] * 100)],
    "products of sums": [*PUSH_SUM, *([*PUSH_SUM, 3] * 30)],
    "product of different sums": [step for i in range(20) for step in (1, 2 * i, 1, 2 * i + 1, 2)] + [3] * 19,
    "deep quotients": [1, 0, *([0, 7, 2, 0, 2, 4] * 300)],
    "deep extremes": [1, 0, *(x for i in range(300) for x in (0, i, 2, 1, 1 + i % 40, 6))],
    "tall stack": [0, 1] * 500,
}


@pytest.mark.parametrize("steps", BOMBS.values(), ids=BOMBS)
def test_expressions_that_do_not_work_or_grow_are_refused(steps):
    with pytest.raises(ArchiveError):
        read_archive(changed(_program(steps)))


def test_a_shape_whose_size_has_too_many_terms_is_refused():
    """Each dim is small; the product of thirty-two, which reshape asks for, would have 2**32 terms."""

    def change(metadata):
        metadata.symbols = ["N", *(f"s{i}" for i in range(64))]
        for i in range(32):
            expression = ExpressionT()
            expression.code = [1, 2 * i + 1, 1, 2 * i + 2, 2]
            metadata.expressions.append(expression)
        type = ValueTypeT()
        last = len(metadata.expressions)
        type.shape = [-last + i for i in range(32)]
        metadata.types.append(type)

    with pytest.raises(ArchiveError, match="terms"):
        read_archive(changed(change))


def test_many_operations_on_shapes_that_are_slow_to_compare_are_refused():
    """Each is within the limits and takes 20 ms to check; the file would take seconds for every kilobyte."""
    pairs = tuple(shapes.add(shapes.symbol(f"a{i}"), shapes.symbol(f"b{i}")) for i in range(8))
    graph = Graph("g")
    symbols = tuple(shapes.symbol(f"{letter}{i}") for letter in "ab" for i in range(8))
    graph.block.add_argument(TensorType(float32, symbols), "symbols")
    value = graph.block.add_argument(TensorType(float32, pairs), "x")
    new = graph.block.append(ops.RESHAPE, [value], {"shape": pairs[::-1]})
    for _ in range(200):
        new = graph.block.append(ops.FLIP, [new.result], {"axes": (0,)})
    graph.block.append(ops.RETURN, [new.result])
    encoded = encode(Archive.of(Entry("main", graph)))
    with pytest.raises(ArchiveError, match="too many and too complex"):
        read_archive(with_metadata(bytes(HEADER.size), _pack(encoded)))


# Memory


def huge(shape):
    graph = Graph("g")
    x = graph.block.add_argument(TensorType(float32, (N,)), "x")
    one = graph.block.append(ops.CONSTANT, [], {"value": np.ones((), np.float32)}).result
    wide = graph.block.append(ops.BROADCAST_TO, [one], {"shape": shape}).result
    big = graph.block.append(ops.NEG, [wide]).result
    total = graph.block.append(ops.SUM, [big], {"axes": tuple(range(len(shape))), "keepdims": False}).result
    graph.block.append(ops.RETURN, [x, total])
    return Archive.of(Entry("main", graph))


def test_a_graph_that_needs_more_memory_than_there_is_is_refused(tmp_path):
    graph = huge((2**20, 2**22))
    entry = graph.entries["main"]
    entry.graph.inputs[0].type = TensorType(float32, (3,))
    entry.graph = _typed_again(entry.graph)
    write_archive(graph, tmp_path / "huge.jca")
    with pytest.raises(ArchiveError, match=r"needs about \d+ bytes at a time.*max_bytes"):
        load(tmp_path / "huge.jca")


def _typed_again(graph):
    from jitcore_ir import parse_graph, print_graph

    return parse_graph(print_graph(graph))


def test_sizes_that_need_more_memory_than_allowed_are_refused_at_the_call(tmp_path):
    write_archive(huge((shapes.mul(N, N), 1000)), tmp_path / "square.jca")
    model = load(tmp_path / "square.jca", max_bytes=1 << 20)
    assert model(np.ones(3, np.float32))[1] == -9000
    with pytest.raises(InputError, match=r"main with N = 1000 needs about 4000000004 bytes"):
        model(np.ones(1000, np.float32))


def test_header_and_digest_say_what_they_should(original):
    data = original.read_bytes()
    assert HEADER.size == 64
    assert read_archive(data).format_version == 1
    assert len(metadata_of(data)) == HEADER.unpack_from(data)[4]
