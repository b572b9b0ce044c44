"""`jitcore_runtime.load`: arguments in, results out, what is refused and in which words."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from archive_cases import N, full_archive, image

from jitcore_ir import Graph, TensorType, ops
from jitcore_ir.dtypes import bfloat16, float32, int64
from jitcore_runtime import GuardFailed, InputError, load
from jitcore_serialize.archive import Archive, Entry
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import write_archive


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("load") / "full.jca"
    write_archive(full_archive(), path)
    return path


X = np.ones((2, 8), np.float32)


def test_the_model_says_what_it_takes_and_gives(path):
    model = load(path)
    assert model.entries == ("forward", "step")
    assert str(model.signature) == (
        "(x: float32[N, 8]) -> (flat: float32[18*N + 18], best: int64[N + 1], rows: int64[]), 0 <= N <= 100"
    )
    assert [str(i) for i in model.signature_of("step").inputs] == ["x: float32[16]", "flag: bool[]"]
    assert model.provenance.source == "model.py"
    assert not model.is_native
    assert "full.jca: forward(x: float32[N, 8])" in repr(model)


def test_positional_and_named_arguments_and_entries_by_name(path):
    model = load(path)
    expected = model(X)["flat"]
    for found in (model(x=X), model.run("forward", X), model.run(None, x=X), load(path, entry="forward")(X)):
        np.testing.assert_array_equal(found["flat"], expected)


def test_results_have_the_structure_that_was_exported(path):
    result = load(path)(X)
    assert list(result) == ["flat", "others"]
    assert isinstance(result["others"], list) and isinstance(result["others"][1], tuple)
    assert result["others"][1][1] is None


def test_results_are_the_callers_own(path):
    model = load(path)
    first = model(X)["flat"]
    kept = first.copy()
    model(2 * X)
    np.testing.assert_array_equal(first, kept)


def test_arrays_of_other_libraries_are_taken_as_they_are(path):
    model = load(path)
    expected = model(X)["flat"]
    np.testing.assert_array_equal(model(torch.ones(2, 8))["flat"], expected)

    class OnlyDlpack:
        def __dlpack__(self, **options):
            return X.__dlpack__(**options)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    np.testing.assert_array_equal(model(OnlyDlpack())["flat"], expected)


def test_any_memory_layout_is_taken(path):
    model = load(path)
    x = np.arange(16, dtype=np.float32).reshape(8, 2)
    np.testing.assert_array_equal(model(x.T)["flat"], model(x.T.copy())["flat"])


@pytest.mark.parametrize(
    "arguments, named, words",
    [
        ((), {}, r"missing input 'x'; forward takes \(x: float32\[N, 8\]\)"),
        ((X, X), {}, "2 inputs were given, but forward takes"),
        ((X,), {"x": X}, "'x' is given twice"),
        ((), {"y": X}, "there is no input 'y'"),
        ((X.astype(np.float64),), {}, "'x' has dtype float64, expected float32"),
        ((X[0],), {}, r"'x' has shape \[8\].*expected 2"),
        ((X[:, :7],), {}, "dimension 1 is 7, expected 8"),
        ((np.ones((101, 8), np.float32),), {}, "dimension 0 of input 'x' is 101, expected 0 to 100"),
        ((1.5,), {}, "'x' is the number 1.5, expected an array"),
        (("x",), {}, "'x' is a str, expected an array"),
        (([[1.0] * 8],), {}, "'x' has dtype float64, expected float32"),
        (([[1], [2, 3]],), {}, "the list cannot be read as an array"),
        ((torch.ones(2, 8, requires_grad=True),), {}, "the Tensor cannot be read as an array"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(path, arguments, named, words):
    with pytest.raises(InputError, match=words):
        load(path)(*arguments, **named)


def test_an_unknown_entry_is_named_with_those_there_are(path):
    with pytest.raises(LookupError, match=r"full\.jca has no entry 'x'; it has 'forward', 'step'"):
        load(path, entry="x")
    with pytest.raises(LookupError, match="has no entry 'x'"):
        load(path).run("x")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jca"):
        load(tmp_path / "none.jca")


def test_updates_stay_in_the_model_and_never_reach_the_file(path):
    before = path.read_bytes()
    model, other = load(path), load(path)
    bias = read_archive(path).weights["layer.bias"]
    x = np.ones(16, np.float32)
    first = model.run("step", x, True)
    second = model.run("step", x, True)
    np.testing.assert_allclose([first, second], [bias.sum() + 16, bias.sum() + 32], rtol=1e-5)
    assert not np.array_equal(model(X)["flat"], other(X)["flat"]), "the other entry sees the updated weight"
    assert path.read_bytes() == before


def test_a_guard_that_does_not_hold_changes_nothing(path):
    model = load(path)
    with pytest.raises(GuardFailed):
        model.run("step", np.ones(16, np.float32), False)
    np.testing.assert_array_equal(model(X)["flat"], load(path)(X)["flat"])


def scalars():
    graph = Graph("g")
    a = graph.block.add_argument(TensorType(float32), "a")
    n = graph.block.add_argument(TensorType(int64), "n")
    graph.block.append(ops.RETURN, [graph.block.append(ops.NEG, [v]).result for v in (a, n)])
    return Archive.of(Entry("main", graph))


def test_python_numbers_go_to_0_d_inputs_where_they_fit(tmp_path):
    write_archive(scalars(), tmp_path / "s.jca")
    model = load(tmp_path / "s.jca")
    assert [r.item() for r in model(2, 3)] == [-2.0, -3]
    for arguments, words in [
        ((1.0, 2.5), "'n' is 2.5, a float, expected int64"),
        ((1.0, 2**70), "int64 does not hold"),
    ]:
        with pytest.raises(InputError, match=words):
            model(*arguments)


def test_native_without_code_for_this_machine_is_interpreted_with_one_warning(tmp_path):
    archive = full_archive()
    code = archive.entries["forward"].code.pop("x86-64-v2")
    archive.pools = {"riscv64": image("riscv64")}
    other = image("riscv64")
    archive.entries["forward"].code["riscv64"] = type(code)(code.plan, other)
    write_archive(archive, tmp_path / "r.jca")
    with pytest.warns(RuntimeWarning, match=r"'forward', 'step' are interpreted.*code for riscv64") as caught:
        model = load(tmp_path / "r.jca", native=True)
    assert len(caught) == 1
    np.testing.assert_array_equal(model(X)["flat"], load(tmp_path / "r.jca")(X)["flat"])


def test_interpreting_warns_of_nothing(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path)(X)


def test_bfloat16_without_ml_dtypes_says_what_to_install(tmp_path):
    graph = Graph("g")
    w = graph.block.add_argument(TensorType(bfloat16, (3,)), "w")
    graph.block.append(ops.RETURN, [w])
    archive = Archive.of(Entry("main", graph, {0: "w"}), weights={"w": np.ones(3, bfloat16.numpy)})
    write_archive(archive, tmp_path / "b.jca")
    code = f"""
import sys
sys.modules["ml_dtypes"] = None
import jitcore_runtime
try:
    jitcore_runtime.load({str(tmp_path / "b.jca")!r})
except jitcore_runtime.ArchiveError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bfloat16 arrays; install the package ml_dtypes" in done.stdout


def test_loading_needs_neither_flatbuffers_nor_the_compiler(path):
    code = f"""
import sys
for name in ("flatbuffers", "llvmlite", "jitcore", "ml_dtypes"):
    sys.modules[name] = None
import numpy, jitcore_runtime
print(jitcore_runtime.load({str(path)!r})(numpy.ones((2, 8), "float32"))["flat"].shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(54,)", done.stderr


def test_a_symbol_that_no_argument_gives_is_not_written(tmp_path):
    graph = Graph("g")
    graph.block.append(ops.RETURN, [graph.block.append(ops.SIZE, [], {"dim": N}).result])
    with pytest.raises(ValueError, match="depends on N, which the arguments' shapes do not give"):
        write_archive(Archive.of(Entry("main", graph)), tmp_path / "n.jca")
