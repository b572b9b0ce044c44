"""Imports between components point one way only, and light packages stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "jitcore_ir": ROOT / "ir/jitcore_ir",
    "jitcore_serialize": ROOT / "serialize/jitcore_serialize",
    "jitcore_runtime": ROOT / "runtime/jitcore_runtime",
    "jitcore": ROOT / "jitcore/jitcore",
    "jitcore_tools": ROOT / "tools/jitcore_tools",
}
ALLOWED = {
    "jitcore_ir": set(),
    "jitcore_serialize": {"jitcore_ir", "jitcore_runtime.plan"},
    "jitcore_runtime": {"jitcore_ir", "jitcore_serialize"},
    "jitcore": {"jitcore_ir", "jitcore_serialize", "jitcore_runtime"},
    "jitcore_tools": {"jitcore_ir", "jitcore_serialize", "jitcore_runtime", "jitcore"},
}


def imports_of(file: Path) -> list[tuple[str, int]]:
    """Absolute module names a file imports, anywhere in it, with their lines."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module, node.lineno))
    return found


@pytest.mark.parametrize("package", SOURCES)
def test_imports_point_one_way(package):
    wrong = []
    for file in SOURCES[package].rglob("*.py"):
        for module, line in imports_of(file):
            root = module.split(".")[0]
            if root in SOURCES and root != package:
                allowed = any(module == a or module.startswith(a + ".") for a in ALLOWED[package])
                if not allowed:
                    wrong.append(f"{file.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "module, unwanted",
    [
        ("jitcore_ir", ["jitcore_ir.passes", "jitcore", "jitcore_runtime", "jitcore_serialize", "llvmlite", "numba"]),
        ("jitcore_runtime", ["jitcore_ir.passes", "jitcore", "llvmlite", "numba", "scipy", "torch"]),
        ("jitcore", ["numba", "scipy", "matplotlib", "torch", "jitcore_tools"]),
    ],
)
def test_importing_is_light(module, unwanted):
    code = f"import sys, {module}; print([m for m in {unwanted!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
