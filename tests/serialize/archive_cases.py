"""Archives to test with, equality of graphs to the bit, and ways to rebuild a file around changed metadata."""

import numpy as np

from jitcore_ir import Graph, Location, TensorType, ops, shapes
from jitcore_ir.dtypes import bool_, float32, int64
from jitcore_runtime.plan import Buffer, BufferKind, Image, Plan
from jitcore_serialize.archive import Archive, DeviceCode, Entry, Launch, NativeCode, Provenance, Range
from jitcore_serialize.layout import FORMAT_VERSION, HEADER, MAGIC, aligned, digest

N = shapes.symbol("N")


def image(target="x86-64-v2", fill=0xC3):
    """An image of plausible shape whose code does nothing."""
    return Image(
        target,
        bytes([fill]) * 4096 + bytes(4096) + bytes(4096),
        4096,
        4096,
        4096,
        (("jc_run", 0), ("jc_prepare", 16)),
        (("memcpy", 8192),),
        ("sse4.2",),
    )


def full_archive():
    """Two entries sharing weights, with everything an archive can hold."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 16)).astype(np.float32)
    weights = {"layer.weight": weight, "layer.bias": rng.standard_normal(16).astype(np.float32)}
    pool = image(fill=0x90)
    code, shared = image(), rng.standard_normal((20, 20)).astype(np.float32)
    return Archive.of(
        _forward(code, shared),
        _step(),
        weights=weights,
        pools={"x86-64-v2": pool},
        provenance=Provenance("0.1.0", "tests", "model.py"),
    )


def _forward(code, shared):
    graph = Graph("forward")
    x = graph.block.add_argument(TensorType(float32, (N, 8)), "x")
    weight = graph.block.add_argument(TensorType(float32, (8, 16)), "weight")
    bias = graph.block.add_argument(TensorType(float32, (16,)), "bias")
    append, here = graph.block.append, Location("model.py", 7)
    product = append(ops.DOT, [x, weight], {}, here).result
    total = append(ops.ADD, [product, bias], {}, here).result
    zero = append(ops.CONSTANT, [], {"value": np.zeros((), np.float32)}).result
    hidden = append(ops.MAXIMUM, [total, zero], {}, Location("model.py", 8)).result
    hidden.name = "hidden"
    table = append(ops.CONSTANT, [], {"value": shared}).result
    part = append(ops.SLICE, [table], {"starts": (0, 2), "sizes": (1, 16), "steps": (1, 1)}).result
    summed = append(ops.ADD, [hidden, part], {}).result
    padded = append(ops.PAD, [summed, zero], {"low": (1, 0), "high": (0, 2)}).result
    flat = append(ops.RESHAPE, [padded], {"shape": (shapes.add(shapes.mul(N, 18), 18),)}).result
    best = append(ops.ARGMAX, [padded], {"axis": 1, "keepdims": False}).result
    rows = append(ops.SIZE, [], {"dim": shapes.floordiv(shapes.add(N, 1), 2)}).result
    append(ops.RETURN, [flat, best, rows])
    plan = Plan(
        (
            Buffer(BufferKind.INPUT, float32, (N, 8), 0),
            Buffer(BufferKind.INPUT, float32, (8, 16), 1),
            Buffer(BufferKind.INPUT, float32, (16,), 2),
            Buffer(BufferKind.OUTPUT, float32, (shapes.add(shapes.mul(N, 18), 18),), 0),
            Buffer(BufferKind.OUTPUT, int64, (shapes.add(N, 1),), 1),
            Buffer(BufferKind.OUTPUT, int64, (), 2),
            Buffer(BufferKind.TEMPORARY, float32, (N, 16), 0),
            Buffer(BufferKind.CONSTANT, float32, (20, 20), 0, shared),
            Buffer(BufferKind.PREPARED, float32, (8, 16), 0),
        ),
        ("N",),
        (shapes.mul(N, 64),),
        (),
        (1,),
    )
    launch = Launch("rows", (N, 1, 1), (128, 1, 1), (0, 3), (N, 16), shapes.mul(N, 4))
    return Entry(
        "forward",
        graph,
        {1: "layer.weight", 2: "layer.bias"},
        ("flat", "best", "rows"),
        {"flat": 0, "others": [1, (2, None)]},
        ranges={"N": Range(0, 100)},
        code={"x86-64-v2": NativeCode(plan, code, ("dot", "add"))},
        device_code={"ptx-8.0": DeviceCode(b".version 7.0\n.target sm_80\n", plan, (launch,))},
    )


def _step():
    """Adds x to the bias, which it keeps, and insists that flag is set."""
    graph = Graph("step")
    bias = graph.block.add_argument(TensorType(float32, (16,)), "bias")
    x = graph.block.add_argument(TensorType(float32, (16,)), "x")
    flag = graph.block.add_argument(TensorType(bool_), "flag")
    total = graph.block.append(ops.ADD, [bias, x]).result
    mean = graph.block.append(ops.SUM, [total], {"axes": (0,), "keepdims": False}).result
    copied = graph.block.append(ops.COPY, [flag]).result
    graph.block.append(ops.RETURN, [mean, total, copied])
    return Entry("step", graph, {0: "layer.bias"}, updates=((1, 0),), guards=((2, True),))


def forward_in_numpy(archive, x):
    """What the entry `forward` of `full_archive` gives."""
    constants = [o.attributes["value"] for o in archive.entries["forward"].graph.operations if o.spec is ops.CONSTANT]
    table = next(array for array in constants if array.size == 400)
    weight, bias = archive.weights["layer.weight"], archive.weights["layer.bias"]
    padded = np.pad(np.maximum(x @ weight + bias, 0) + table[:1, 2:18], ((1, 0), (0, 2)))
    return {"flat": padded.reshape(-1), "others": [padded.argmax(1), (np.int64((len(x) + 1) // 2), None)]}


def with_metadata(file, metadata):
    """`file` with other metadata, whose digest and size are right, and the segments after it."""
    size = HEADER.unpack_from(file)[4]
    segments = file[aligned(HEADER.size + size) :]
    head = HEADER.pack(MAGIC, FORMAT_VERSION, HEADER.size, HEADER.size, len(metadata), digest(metadata))
    body = head + metadata
    return body + (bytes(-len(body) % 64) + segments if segments else b"")


def metadata_of(file):
    return file[HEADER.size : HEADER.size + HEADER.unpack_from(file)[4]]


def bits(value):
    """Something that is equal exactly where attribute values are the same to the bit."""
    if isinstance(value, np.ndarray):
        return (value.dtype, value.shape, value.tobytes())
    if isinstance(value, float):
        return ("float", np.float64(value).tobytes())
    return (type(value).__name__, value)


def assert_same_graph(a, b):
    assert a.name == b.name
    _assert_same_block(a.block, b.block, {})


def _assert_same_block(a, b, match):
    assert [(v.name, v.type) for v in a.arguments] == [(v.name, v.type) for v in b.arguments]
    match.update(zip(a.arguments, b.arguments, strict=True))
    for x, y in zip(a.operations, b.operations, strict=True):
        assert x.spec is y.spec and x.location == y.location
        assert [match[v] for v in x.operands] == y.operands
        assert list(x.attributes) == list(y.attributes)
        assert [bits(v) for v in x.attributes.values()] == [bits(v) for v in y.attributes.values()]
        for inner, other in zip(x.regions, y.regions, strict=True):
            _assert_same_block(inner.block, other.block, match)
        assert [(v.name, v.type) for v in x.results] == [(v.name, v.type) for v in y.results]
        match.update(zip(x.results, y.results, strict=True))
