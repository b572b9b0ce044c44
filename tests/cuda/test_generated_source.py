"""The text of generated kernels. Running this file as a script rewrites what is expected; read what changed."""

from pathlib import Path

import pytest
from cuda_cases import CASES, Case, make

from jitcore.compiler.cuda import print_module
from jitcore_ir import ops

FOLDER = Path(__file__).parent / "golden"
GOLDEN = ("gelu_chain", "softmax_row", "layernorm_row", "column_sums", "taken", "half_precision_rows")


def printed(name):
    return "\n".join(source.text for source in print_module(make(name).module()))


@pytest.mark.parametrize("name", GOLDEN)
def test_kernel_becomes_this_source(name):
    assert printed(name) == (FOLDER / f"{name}.txt").read_text()


def sources(name, **changes):
    case = Case(name)
    CASES[name](case, **changes)
    return print_module(case.module())


def test_elementwise_kernels_give_each_thread_elements_of_its_own():
    (source,) = sources("gelu_chain")
    assert source.mapping == "elements" and source.threads == 256 and source.shared_bytes == 0
    assert "syncthreads" not in source.text


@pytest.mark.parametrize(("width", "threads"), [(33, 64), (100, 128), (256, 256), (5000, 256)])
def test_blocks_are_as_wide_as_the_rows_they_reduce(width, threads):
    (source,) = sources("softmax_row", width=width)
    assert source.mapping == "rows" and source.threads == threads


def test_short_rows_are_one_thread_each():
    (source,) = sources("short_rows")
    assert source.mapping == "elements"


def test_row_scratch_that_shared_memory_cannot_hold_is_not_put_there():
    (source,) = sources("softmax_row", width=12_000)
    assert "cuda.shared.array(12000" not in source.text and source.shared_bytes <= 48 * 1024


def test_every_float_constant_has_a_type():
    import re

    for name in ("gelu_chain", "gelu_by_erf", "softmax_row", "layernorm_row"):
        for source in print_module(make(name).module()):
            bare = re.sub(r"float(32|64)\([^()]*\)", "", source.text)
            assert not re.search(r"\d\.\d", bare), name


def test_equal_kernels_at_other_offsets_are_one_function_with_an_offset():
    case = Case("joined")
    x = case.normal(2, 5)
    case.returns(case(ops.CONCAT, x, case.normal(2, 5, seed=1), axis=0))
    (source,) = print_module(case.module())
    assert [p.name for p in source.parameters if p.role == "offset"] == ["offset1"]


def test_a_product_is_refused_by_name():
    case = Case("product")
    case.returns(case(ops.DOT, case.normal(64, 64), case.normal(64, 64, seed=1)))
    with pytest.raises(NotImplementedError, match=r"kernel0 \(gemm\) has no CUDA form"):
        print_module(case.module())


def test_importing_the_compiler_does_not_import_numba():
    import subprocess
    import sys

    script = "import jitcore, jitcore.compiler.cuda, sys; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for golden in GOLDEN:
        (FOLDER / f"{golden}.txt").write_text(printed(golden))
