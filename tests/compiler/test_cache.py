"""The disk cache: a warm start runs no LLVM, and whatever is wrong with a file costs only time."""

import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys, numpy as np, jitcore
f = jitcore.jit(lambda x: (x * 2).tanh().sum(1))
x = jitcore.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))
f(x)
print(f(x).tolist(), "llvmlite.binding" in sys.modules)
"""


def run(folder):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True, text=True, check=True, env={**__import__("os").environ, "JITCORE_CACHE_DIR": str(folder)},
    )  # fmt: skip
    answer, _, used_llvm = done.stdout.strip().rpartition(" ")
    return np.array(eval(answer)), used_llvm == "True"


@pytest.fixture
def warm(tmp_path):
    expected, used = run(tmp_path)
    assert used
    return tmp_path, expected


def test_second_process_runs_no_llvm(warm):
    folder, expected = warm
    answer, used = run(folder)
    assert not used
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:60] + b"\xff" + b[61:]])
def test_damaged_files_are_made_anew(warm, damage):
    folder, expected = warm
    files = sorted(folder.iterdir())
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    answer, used = run(folder)
    assert used
    np.testing.assert_array_equal(answer, expected)
    assert not run(folder)[1]


def test_folder_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    answer, used = run(blocked)
    assert used and np.isfinite(answer).all()
