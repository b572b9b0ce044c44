"""The two wheels: no file in both, no copies in an editable installation; the runtime needs NumPy and flatbuffers."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import jitcore

ROOT = Path(__file__).resolve().parents[2]

CHECK = """
import sys, numpy as np, jitcore_runtime
model = jitcore_runtime.load(sys.argv[1], native=True)
np.save(sys.argv[2], model(np.arange(6, dtype=np.float32).reshape(2, 3)))
print(sorted(m for m in ("jitcore", "llvmlite", "numba", "jitcore_ir.passes") if m in sys.modules), model.is_native)
"""


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "runtime"):
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, project)
    (ours,) = folder.glob("jitcore-*.whl")
    (runtime,) = folder.glob("jitcore_runtime-*.whl")
    return ours, runtime


@pytest.mark.slow
def test_no_file_is_in_both(wheels):
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels]
    assert not names[0] & names[1]
    assert "jitcore/__init__.py" in names[0] and "jitcore_tools/demo/digits.csv.gz" in names[0]
    assert {"jitcore_runtime/__init__.py", "jitcore_ir/__init__.py", "jitcore_serialize/reader.py"} <= names[1]


@pytest.mark.slow
def test_an_editable_installation_reads_the_folders_themselves(tmp_path):
    """A copy beside them would be found first, and be old after the next pull."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    install = ("install", "--quiet", "--no-deps", "--editable", ROOT / "runtime")
    run(sys.executable, "-m", "pip", "--python", tmp_path / "venv", *install)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    assert {path.suffix for path in site.glob("*jitcore*")} == {".pth", ".dist-info"}
    assert str(ROOT / "ir") in (site / "_jitcore_runtime.pth").read_text()


@pytest.mark.slow
def test_runtime_runs_native_code_in_a_bare_environment(wheels, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "bare")
    python = tmp_path / "bare" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "numpy", "flatbuffers")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheels[1])
    model = jitcore.nn.Linear(3, 2)
    jitcore.export(model, tmp_path / "m.jca", inputs={"input": "float32[N,3]"})
    printed = run(python, "-I", "-c", CHECK, tmp_path / "m.jca", tmp_path / "answers.npy")
    assert printed.strip() == "[] True"
    with jitcore.no_grad():
        expected = model(jitcore.arange(6, dtype=jitcore.float32).reshape(2, 3)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), expected, rtol=1e-5, atol=1e-6)
