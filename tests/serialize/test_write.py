"""An archive is written as a whole or not at all, and what cannot be written is refused in words."""

import errno
import os
import stat

import numpy as np
import pytest
from archive_cases import N, full_archive

import jitcore_serialize.writer as writer
from jitcore_ir import Graph, TensorType, ops
from jitcore_ir.dtypes import float32
from jitcore_serialize.archive import Archive, Entry
from jitcore_serialize.errors import ArchiveError, ArchiveWriteError
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import write_archive


def small(**changes):
    graph = Graph("g")
    x = graph.block.add_argument(TensorType(float32, (N, 4)), "x")
    w = graph.block.add_argument(TensorType(float32, (4,)), "w")
    y = graph.block.append(ops.MUL, [x, w]).result
    graph.block.append(ops.RETURN, [y])
    entry = Entry("main", graph, {1: "w"})
    for name, value in changes.items():
        setattr(entry, name, value)
    return Archive.of(entry, weights={"w": np.arange(4, dtype=np.float32)})


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    write_archive(small(), tmp_path / "a.jca")
    (tmp_path / "other").touch()
    assert (tmp_path / "a.jca").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_old_mapping_keeps_its_content_when_the_file_is_replaced(tmp_path):
    path = tmp_path / "a.jca"
    write_archive(full_archive(), path)
    old = read_archive(path)
    before = old.weights["layer.weight"].copy()
    write_archive(small(), path)
    np.testing.assert_array_equal(old.weights["layer.weight"], before)
    assert list(read_archive(path).entries) == ["main"]


class Failure(Exception):
    pass


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Failure("stopped")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a.jca"
    write_archive(small(), path)
    before = path.read_bytes()

    def fail(*arguments):
        raise error

    if step == "write":
        monkeypatch.setattr(writer, "element_bytes", fail)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(ArchiveWriteError if isinstance(error, OSError) else Failure) as caught:
        write_archive(full_archive(), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.jca"]
    if isinstance(error, OSError):
        assert "a.jca" in str(caught.value) and "No space left" in str(caught.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ArchiveWriteError, match=r"No such file or directory.*choose a folder.*missing/a\.jca"):
        write_archive(small(), tmp_path / "missing" / "a.jca")


def test_a_folder_in_place_of_the_file_is_named_and_kept(tmp_path):
    (tmp_path / "a.jca").mkdir()
    with pytest.raises(ArchiveWriteError, match=r"a\.jca"):
        write_archive(small(), tmp_path / "a.jca")
    assert os.listdir(tmp_path) == ["a.jca"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(ArchiveWriteError, match="Permission denied"):
            write_archive(small(), tmp_path / "a.jca")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def _cyclic():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"weights": {1: "v"}}, "weight 'v', which the archive does not hold"),
        ({"weights": {5: "w"}}, "input 5"),
        ({"weights": {0: "w"}}, "the weight 'w' is f32"),
        ({"outputs": ("a", "b")}, "names"),
        ({"structure": 1}, "holds 1, of 1 results"),
        ({"structure": "y"}, "holds 'y'"),
        ({"structure": {1: 0}}, "not all strings"),
        ({"structure": _cyclic()}, "nested deeper"),
        ({"updates": ((0, 1),)}, "not of its type"),
        ({"guards": ((0, True),)}, "a guard compares"),
        ({"guards": ((0, "x"),)}, "a guard"),
        ({"name": "other"}, "listed"),
    ],
)
def test_what_does_not_fit_together_is_not_written(tmp_path, changes, words):
    archive = small(**changes)
    if "name" in changes:
        archive = Archive({"main": archive.entries["other"]}, archive.weights)
    with pytest.raises(ArchiveError, match=f"(?s)cannot be written.*{words}"):
        write_archive(archive, tmp_path / "a.jca")
    assert os.listdir(tmp_path) == []


def test_two_arguments_of_one_name_are_not_written(tmp_path):
    archive = small()
    x, w = archive.entries["main"].graph.inputs
    w.name = x.name
    archive.entries["main"].weights = {}
    with pytest.raises(ArchiveError, match="two arguments have one name"):
        write_archive(archive, tmp_path / "a.jca")


def test_large_weights_are_not_copied_while_writing(tmp_path):
    import tracemalloc

    archive = small()
    archive.weights["big"] = np.zeros(32 << 20, np.uint8)
    tracemalloc.start()
    write_archive(archive, tmp_path / "a.jca")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
