"""Generated kernels compile, without a GPU, to PTX that stands by itself and assembles for two generations."""

import re
import shutil
import subprocess

import pytest
from cuda_cases import CASES, make

from jitcore.compiler.cuda import (
    CudaCompileError,
    can_compile,
    compile_kernel,
    compile_module,
    device_code,
    target_name,
)
from jitcore.compiler.cuda.ptx import check_ptx

pytestmark = pytest.mark.skipif(bool(can_compile()), reason=can_compile() or "numba-cuda is here")
TARGETS = ((8, 0), (9, 0))


def assemble(ptx, cc, folder):
    """Feed PTX to ptxas where there is one; what it says."""
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        return ""
    source = folder / "module.ptx"
    source.write_text(ptx)
    command = [ptxas, "-v", f"-arch=sm_{cc[0]}{cc[1]}", str(source), "-o", str(folder / "module.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def modules():
    """Each case for each target; those of hundreds of operations compile slowly, so most of them come last."""
    for name in CASES:
        for cc in TARGETS:
            slow = name.startswith("every") and (cc != TARGETS[0] or name.endswith(("64", "int32")))
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(name, cc, id=f"{name}-{target_name(cc)}", marks=marks)


@pytest.mark.parametrize(("name", "cc"), list(modules()))
def test_module_compiles_to_ptx_that_assembles(name, cc, tmp_path):
    code = device_code(make(name).module(), cc)
    ptx = code.module.decode()
    major, minor = map(int, re.search(r"^\.version (\d+)\.(\d+)", ptx, re.M).groups())
    assert (major, minor) <= (9, 0)
    assert f".target sm_{cc[0]}{cc[1]}" in ptx
    assert ".extern" not in ptx
    assert {launch.kernel for launch in code.launches} == set(re.findall(r"\.entry (\w+)\(", ptx))
    said = assemble(ptx, cc, tmp_path)
    assert not re.search(r"[1-9]\d* bytes spill", said), said


@pytest.mark.parametrize("name", ["gelu_chain", "gelu_by_erf", "softmax_row", "layernorm_row", "column_sums"])
def test_float32_kernels_do_no_float64_arithmetic(name):
    for kernel in compile_module(make(name).module(), (8, 0)):
        assert ".f64" not in kernel.ptx


def test_the_same_source_gives_the_same_ptx():
    first, second = (compile_module(make("softmax_row").module(), (8, 0))[0].ptx for _ in range(2))
    assert first == second


def test_declared_shared_memory_is_what_the_kernel_says():
    (kernel,) = compile_module(make("softmax_row").module(), (8, 0))
    sizes = re.findall(r"\.shared \.align \d+ \.b8 \w+\[(\d+)\]", kernel.ptx)
    assert sum(map(int, sizes)) == kernel.shared_bytes > 0


def test_unmeant_float64_arithmetic_is_refused():
    source = "def widened(x):\n    x[0] = x[0] * 0.1\n"
    with pytest.raises(CudaCompileError, match="widened has no float64 values, but computes in float64"):
        compile_kernel(source, ("float32*",), (8, 0), double=False)


def test_source_that_does_not_compile_is_shown():
    with pytest.raises(CudaCompileError, match=r"does not compile kernel wrong[\s\S]*x\.size"):
        compile_kernel("def wrong(x):\n    x[0] = x.size\n", ("float32*",), (8, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".version 9.3\n.visible .entry k(", "9.3 is newer than 9.0"),
        (".version 8.0\n.extern .func f\n.visible .entry k(", "calls what is not in the module"),
        (".version 8.0\n", "no PTX with an entry"),
    ],
)
def test_ptx_that_would_not_run_is_refused(text, message):
    with pytest.raises(CudaCompileError, match=message):
        check_ptx(text, "k", True)
