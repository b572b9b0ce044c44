"""The `jitcore` command as a user runs it: what works, and how bad input ends."""

import subprocess
import sys

import numpy as np
import pytest

import jitcore
from jitcore_tools.bench.workloads import WORKLOADS

MODEL = """
import jitcore
from jitcore import nn

def build():
    jitcore.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

def branches(x):
    if x.sum() > 0:
        return x
    return -x

def fixed(x):
    return x * int(x.shape[0])

def fails(x):
    return x.reshape(5, 5)

trained = nn.BatchNorm1d(4)
number = 3
"""


@pytest.fixture
def folder(tmp_path):
    """A user's folder, with files and folders named as our components are."""
    (tmp_path / "model.py").write_text(MODEL)
    for name in ("ir.py", "serialize.py", "runtime/__init__.py", "tools/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise RuntimeError('the user\\'s own file was imported')\n")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((3, 5), np.float32))
    np.save(tmp_path / "double.npy", np.zeros((3, 4)))
    return tmp_path


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "jitcore_tools.main", *arguments], cwd=folder, capture_output=True, text=True
    )


def export(folder, name="build", spec="input=float32[N,4]", output="m.jca"):
    return command(folder, "export", f"model.py:{name}", "-o", output, "--input", spec)


def refused(done, *words):
    """Exit status 2 and one message that has the words."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("jitcore: error: ") and "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("mode", ["--native", "--interpreted"])
def test_export_inspect_run(folder, mode):
    assert export(folder).returncode == 0
    shown = command(folder, "inspect", "m.jca")
    assert shown.returncode == 0 and "f32[N,4]" in shown.stdout and "x86-64-v3" in shown.stdout
    done = command(folder, "run", "m.jca", "--input", "input=x.npy", "-o", "out.npz", mode)
    assert done.returncode == 0, done.stderr
    namespace = {}
    exec(MODEL, namespace)
    with jitcore.no_grad():
        expected = namespace["build"]()(jitcore.tensor(np.load(folder / "x.npy"))).numpy()
    np.testing.assert_allclose(np.load(folder / "out.npz")["output0"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, spec, words",
    [
        ("branches", "x=float32[N,4]", ("bool()", "model.py:10")),
        ("fixed", "x=float32[N,4]", ("N was used as the number", "model.py:15")),
        ("fails", "x=float32[N,4]", ("reshape", "model.py:18")),
        ("trained", "input=float32[N,4]", ("eval()",)),
        ("number", "x=float32[N,4]", ("number", "int")),
        ("missing", "x=float32[N,4]", ("missing",)),
        ("build", "input=float99[N,4]", ("float99",)),
        ("build", "input=float32[N,-4]", ("-4",)),
        ("build", "input=float32[N,5]", ("5",)),
        ("build", "wrong=float32[N,4]", ("wrong", "input")),
    ],
)
def test_export_refuses(folder, name, spec, words):
    refused(export(folder, name, spec), *words)
    assert not list(folder.glob("*.jca*")) and not list(folder.glob(".*part"))


def test_export_to_a_place_that_cannot_be_written_keeps_the_old_file(folder):
    refused(export(folder, output="no/such/folder/m.jca"), "no/such/folder/m.jca")
    (folder / "m.jca").write_text("old")
    refused(export(folder, "branches", "x=float32[N,4]"))
    assert (folder / "m.jca").read_text() == "old"
    refused(command(folder, "export", "nowhere.py:build", "-o", "m.jca"), "nowhere.py")


def test_an_exact_export_says_so_and_what_numpy_runs(folder):
    done = command(folder, "export", "model.py:build", "-o", "m.jca", "--input", "input=float32[N,4]", "--exact")
    assert done.returncode == 0, done.stderr
    text = command(folder, "inspect", "m.jca", "--no-graph").stdout
    assert "native code gives the bits that the interpreter gives" in text and "runs dot" in text


def test_run_refuses(folder):
    assert export(folder).returncode == 0
    for given, words in (("wide.npy", ("5", "4")), ("double.npy", ("float64", "float32")), ("none.npy", ("none.npy",))):
        refused(command(folder, "run", "m.jca", "--input", f"input={given}", "-o", "out.npz"), *words)
    refused(command(folder, "run", "none.jca", "-o", "out.npz"), "none.jca")
    data = (folder / "m.jca").read_bytes()
    (folder / "cut.jca").write_bytes(data[: len(data) // 2])
    (folder / "bent.jca").write_bytes(data[:300] + bytes([data[300] ^ 1]) + data[301:])
    for name in ("cut.jca", "bent.jca"):
        refused(command(folder, "run", name, "--input", "input=x.npy", "-o", "out.npz"), name)
        refused(command(folder, "inspect", name), name)
    refused(command(folder, "run", "m.jca", "--input", "input=x.npy", "-o", "no/folder/out.npz"), "no/folder")
    assert not (folder / "out.npz").exists()


def test_bench_lists_and_refuses(folder):
    listed = command(folder, "bench", "--list")
    assert listed.returncode == 0
    text = " ".join(listed.stdout.split())
    assert all(workload.name in text for workload in WORKLOADS)
    refused(command(folder, "bench", "no such workload"), "no such workload")


def test_bench_checks_and_measures(folder):
    import json

    done = command(folder, "bench", "tiny op, compiled", "sgemm 128", "-p", "jitcore", "-p", "numpy", "--rounds", "1",
                   "--json", "r.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "r.json").read_text())["rows"]
    assert len(rows) == 2
    for row in rows:
        assert not row["problems"] and set(row["median_seconds"]) == {"jitcore", "numpy"}
        assert max(row["relative_error"].values()) < 1e-5
