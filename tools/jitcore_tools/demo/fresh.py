"""A second virtual environment that holds only NumPy, flatbuffers and the jitcore-runtime wheel, and runs in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ANSWER = """
import json, sys, time
start = time.perf_counter()
import numpy as np
import jitcore_runtime
imported = time.perf_counter()
model = jitcore_runtime.load(sys.argv[1], native=sys.argv[4] == "native")
images = np.load(sys.argv[2])
first = model(images[:1])
answered = time.perf_counter()
np.save(sys.argv[3], model(images))
unwanted = [m for m in ("jitcore", "llvmlite", "numba", "torch", "scipy") if m in sys.modules]
try:
    import llvmlite
    unwanted.append("llvmlite is installed")
except ImportError:
    pass
print(json.dumps({"import_ms": (imported - start) * 1e3, "load_ms": (answered - imported) * 1e3, "unwanted": unwanted}))
"""


def build_environment(root: Path, environment: Path) -> Path:
    """Build the runtime wheel from the tree at `root` and install it alone; returns the environment's Python.

    Raises RuntimeError with pip's words where something cannot be built or installed.
    """
    python = environment / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(environment)])
    wheels = environment / "wheels"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(root / "runtime")])
    wheel = max(wheels.glob("jitcore_runtime-*.whl"), key=lambda p: p.stat().st_mtime)
    _run([*pip, "install", "numpy", "flatbuffers"])
    _run([*pip, "install", "--force-reinstall", "--no-deps", str(wheel)])
    return python


def answer(python: Path, archive: Path, images: Path, answers: Path, native: bool) -> dict[str, Any]:
    """Load `archive` in a fresh process, answer `images`; returns its timings in milliseconds."""
    mode = "native" if native else "interpreted"
    command = [str(python), "-I", "-W", "error", "-c", ANSWER, str(archive), str(images), str(answers), mode]
    found = json.loads(_run(command).splitlines()[-1])
    if found["unwanted"]:
        raise RuntimeError(f"the runtime's environment is not bare: {', '.join(found['unwanted'])}")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} ... failed:\n{done.stdout}{done.stderr}")
    return done.stdout
