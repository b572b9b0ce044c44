"""Archives with custom operations: they need them, refuse without them, and refuse hostile calls of them."""

import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

import jitcore
import jitcore_runtime
from jitcore.library import custom_op
from jitcore_ir import ops
from jitcore_runtime import MissingCustomOp, register_custom_op
from jitcore_runtime.plan import BufferKind
from jitcore_serialize.encode import encode
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import _pack
from jitcore_tools.errors import InputError
from jitcore_tools.inspect_command import inspect_archive
from jitcore_tools.run_command import run_archive

sys.path.append(str(Path(__file__).parents[2] / "serialize"))
from archive_cases import with_metadata
from custom_op_checks import forget, rows


def export(op, path, **options):
    jitcore.export(lambda x: op(x * 2, 3.0).sum(1), path, {"x": "float32[N,4]"}, **options)


def test_an_archive_needs_the_operation_and_refuses_without_it(scale, tmp_path):
    path = tmp_path / "m.jca"
    export(scale, path, targets=["x86-64-v2"])
    text = inspect_archive(path, True)
    assert "needs the custom operations test::scale (version 1)" in text and "runs test::scale with NumPy" in text
    assert "custom_call(%" in text and 'name = "test::scale"' in text
    forget("test::scale")
    for native in (True, False):
        with pytest.raises(
            jitcore_runtime.ArchiveError,
            match=r"m\.jca: the custom operation 'test::scale' \(version 1\) is not registered in this process; .*"
            r"call jitcore_runtime\.register_custom_op\('test::scale', function\) first, then load again",
        ):
            jitcore_runtime.load(path, native=native)
    register_custom_op("test::scale", lambda x, k: x, version=2)
    with pytest.raises(jitcore_runtime.ArchiveError, match=r"version 1 .*'test::scale' is needed, but version 2"):
        jitcore_runtime.load(path)


def test_an_archive_that_gives_other_arguments_is_refused(scale, tmp_path):
    export(scale, tmp_path / "m.jca", targets=[])
    register_custom_op("test::scale", lambda x: x)
    with pytest.raises(jitcore_runtime.ArchiveError, match=r"calls 'test::scale' \(version 1\) with 2 arguments"):
        jitcore_runtime.load(tmp_path / "m.jca")
    register_custom_op("test::scale", np.multiply)
    assert jitcore_runtime.load(tmp_path / "m.jca")(np.ones((2, 4), np.float32)).tolist() == [24, 24]


@pytest.mark.parametrize("native", [True, False])
def test_an_archive_runs_what_is_registered_at_every_size(scale, tmp_path, native):
    path = tmp_path / "m.jca"
    export(scale, path)
    forget("test::scale")
    register_custom_op("test::scale", lambda x, factor: x * np.float32(factor))
    model = jitcore_runtime.load(path, native=native)
    for n in (1, 0, 7):
        x = rows(n).numpy()
        np.testing.assert_allclose(model(x), (x * 6).sum(1), rtol=1e-5, atol=1e-5)


def test_an_archive_calls_the_native_function_that_is_registered(native_scale, tmp_path):
    path = tmp_path / "m.jca"
    export(native_scale, path)
    forget("test::scale")
    register_custom_op("test::scale", native=native_scale.native)
    for native in (True, False):
        before = native_scale.native.calls
        x = rows(7).numpy()
        np.testing.assert_allclose(jitcore_runtime.load(path, native=native)(x), (x * 6).sum(1), rtol=1e-5, atol=1e-5)
        assert native_scale.native.calls == before + 1


def test_an_operation_that_goes_away_is_missed_by_name(scale, tmp_path):
    path = tmp_path / "m.jca"
    export(scale, path)
    models = [jitcore_runtime.load(path, native=native) for native in (True, False)]
    forget("test::scale")
    for model in models:
        with pytest.raises(RuntimeError, match=r"custom operation 'test::scale'.*is not registered"):
            model(rows().numpy())
    with pytest.raises(MissingCustomOp, match="import the module that defines it"):
        scale(rows())


def test_a_symbolic_size_needs_a_shape_rule(tmp_path):
    op = custom_op("test::unruled2", lambda x, k: x)
    with pytest.raises(
        jitcore.ExportError, match=r"test::unruled2 has no shape rule.*\[N, 4\].*test_archives.*register_fake"
    ):
        export(op, tmp_path / "m.jca")
    jitcore.export(lambda x: op(x, 1.0), tmp_path / "m.jca", {"x": "float32[3,4]"})  # a known size needs none


def test_a_rule_that_takes_a_size_for_a_number_is_refused_with_its_line(scale, tmp_path):
    scale.register_fake(lambda x, factor: jitcore.TensorSpec((int(x.shape[0]), 4), x.dtype))
    with pytest.raises(jitcore.ExportError, match=r"N was used as the number 7 at .*test_archives\.py"):
        export(scale, tmp_path / "m.jca")


def test_export_does_not_depend_on_what_the_function_says_to_made_up_numbers(scale, tmp_path):
    @custom_op("test::picky")
    def picky(x, k: float):
        if not x.any():
            raise ValueError("zeros")
        return x * np.float32(k)

    picky.register_fake(lambda x, k: jitcore.empty_like(x))
    export(picky, tmp_path / "m.jca")
    x = rows().numpy()
    np.testing.assert_allclose(jitcore_runtime.load(tmp_path / "m.jca")(x), (x * 6).sum(1), rtol=1e-5, atol=1e-5)


def attribute(name):
    """The place of an attribute of `custom_call` in a file."""
    return list(ops.CUSTOM_CALL.attributes).index(name)


@pytest.mark.parametrize(
    "name, field, value, words",
    [
        ("name", "text", "no name", "is not the name of an operation"),
        ("name", "text", "", "is not the name of an operation"),
        ("arguments", "text", "[]", r"takes the operands \[\], but 1"),
        ("arguments", "text", '[{"tensor":0},{"tensor":0}]', "takes the operands"),
        ("arguments", "text", "{", "not JSON"),
        ("dtypes", "text", "float32,float32", "do not fit"),
        ("dtypes", "text", "float99", "unknown dtype"),
        ("ranks", "values", [1], "do not fit"),
        ("ranks", "values", [-2], "do not fit"),
        ("dims", "values", [0], "do not fit"),
        ("dtype", "values", [5], "no result of test::scale is int64"),
    ],
)
def test_hostile_calls_are_refused(scale, tmp_path, name, field, value, words):
    data = changed_archive(scale, tmp_path, lambda call, plan: setattr(call.attributes[attribute(name)], field, value))
    with pytest.raises(jitcore_runtime.ArchiveError, match=words):
        jitcore_runtime.load(data)


@pytest.mark.parametrize(
    "field, value, words",
    [("index", 1, "function 1 of 1"), ("dtype", 8, "for the function of operation"), ("shape", [1], "f")],
)
def test_hostile_functions_are_refused(scale, tmp_path, field, value, words):
    def change(call, plan):
        (buffer,) = (b for b in plan.buffers if b.kind == BufferKind.FUNCTION)
        setattr(buffer, field, value)

    with pytest.raises(jitcore_runtime.ArchiveError, match=words):
        jitcore_runtime.load(changed_archive(scale, tmp_path, change), native=True)


def changed_archive(op, folder, change):
    """The bytes of an archive that calls `op`, changed and packed again."""
    path = folder / "m.jca"
    export(op, path, targets=["x86-64-v2"])
    archive = read_archive(path, code=True)
    encoded = encode(archive)
    _pack(encoded)
    (entry,) = encoded.metadata.entries
    number = [o.name for o in encoded.metadata.operators].index("custom_call")
    (call,) = (o for o in entry.block.operations if o.operator == number)
    change(call, entry.code[0].plan)
    builder = flatbuffers.Builder(1024)
    builder.Finish(encoded.metadata.Pack(builder))
    return with_metadata(path.read_bytes(), bytes(builder.Output()))


def test_the_command_runs_a_file_that_registers_operations_first(scale, tmp_path):
    export(scale, tmp_path / "m.jca", targets=[])
    forget("test::scale")
    (tmp_path / "ops.py").write_text(
        "import jitcore_runtime\njitcore_runtime.register_custom_op('test::scale', lambda x, k: x * x.dtype.type(k))\n"
    )
    x = rows().numpy()
    np.save(tmp_path / "x.npy", x)
    arguments = (tmp_path / "m.jca", (f"x={tmp_path / 'x.npy'}",), tmp_path / "y.npz", None, False)
    with pytest.raises(InputError, match="'test::scale'"):
        run_archive(*arguments)
    with pytest.raises(InputError, match=r"--import .*nothing\.py"):
        run_archive(*arguments, [str(tmp_path / "nothing.py")])
    run_archive(*arguments, [str(tmp_path / "ops.py")])
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["output0"], (x * 6).sum(1), rtol=1e-5, atol=1e-5)
