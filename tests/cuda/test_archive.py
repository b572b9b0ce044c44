"""Device code in an archive comes back as it was, with launches that fit its plan."""

import pytest
from cuda_cases import Case, make

import jitcore
from jitcore.compiler.cuda import can_compile, device_code, parse_target, print_module, target_name
from jitcore.compiler.cuda.module import grid_size, merge_ptx
from jitcore_ir import ops
from jitcore_ir.shapes import evaluate, symbol
from jitcore_serialize.archive import Archive, Entry, Provenance
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import write_archive

needs_compiler = pytest.mark.skipif(bool(can_compile()), reason=can_compile() or "numba-cuda is here")


@needs_compiler
@pytest.mark.parametrize("name", ["softmax_row", "taken", "joined"])
def test_device_code_survives_the_archive(name, tmp_path):
    case = make(name)
    code = device_code(case.module(), (8, 0))
    entry = Entry("main", case.graph, outputs=("y",), device_code={target_name((8, 0)): code})
    path = tmp_path / "model.jca"
    write_archive(Archive.of(entry, provenance=Provenance("0", "test", "")), path)
    read = read_archive(path)
    (found,) = read.entries.values()
    back = found.device_code["ptx-8.0"]
    assert bytes(back.module) == code.module
    assert back.launches == code.launches
    assert [b.shape for b in back.plan.buffers] == [b.shape for b in code.plan.buffers]


@needs_compiler
def test_export_stores_device_code_beside_cpu_code(tmp_path):
    path = tmp_path / "softmax.jca"
    jitcore.export(lambda x: jitcore.softmax(x, 1), path, {"x": "float32[N,70]"}, targets=("x86-64-v2", "ptx-8.0"))
    (entry,) = read_archive(path).entries.values()
    assert set(entry.code) == {"x86-64-v2"} and set(entry.device_code) == {"ptx-8.0"}
    assert b".target sm_80" in bytes(entry.device_code["ptx-8.0"].module)


def test_exporting_a_product_for_a_gpu_says_what_is_missing(tmp_path):
    with pytest.raises(NotImplementedError, match=r"\(gemm\) has no CUDA form"):
        jitcore.export(lambda x: x @ x, tmp_path / "no.jca", {"x": "float32[64,64]"}, targets=("ptx-8.0",))


@needs_compiler
def test_kernels_that_can_fail_share_one_error_buffer():
    code = device_code(make("taken").module(), (8, 0))
    (launch,) = code.launches
    assert launch.buffers[-1] == len(code.plan.buffers) - 1
    assert code.plan.buffers[-1].shape == (4,) and code.plan.slots[code.plan.buffers[-1].index] == 32


@needs_compiler
def test_temporaries_between_kernels_have_slots():
    case = Case("two")
    x = case.normal(300, 100)
    total = case.reduce(ops.SUM, x, 0, 1)
    case.returns(case(ops.CUMSUM, case(ops.DIV, x, total), axis=0))
    code = device_code(case.module(), (8, 0))
    assert len(code.launches) > 1
    assert all(number < len(code.plan.buffers) for launch in code.launches for number in launch.buffers)


@pytest.mark.parametrize(("count", "rows", "elements"), [(0, 1, 1), (1, 1, 1), (257, 257, 2), (10**9, 65536, 65536)])
def test_grids_are_never_empty_nor_huge(count, rows, elements):
    for dim in (count, symbol("N")):
        assert evaluate(grid_size(dim, "rows", 256), {"N": count}) == rows
        assert evaluate(grid_size(dim, "elements", 256), {"N": count}) == elements


def test_merged_modules_have_one_header():
    parts = [f".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k{n}()\n" for n in range(2)]
    merged = merge_ptx(parts)
    assert merged.count(".version") == merged.count(".target") == merged.count(".address_size") == 1
    assert merged.index("k0") < merged.index("k1")


def test_target_names():
    assert target_name((9, 0)) == "ptx-9.0" and parse_target("ptx-9.0") == (9, 0)
    with pytest.raises(ValueError, match=r"'sm_80' is not of the form 'ptx-8\.0'"):
        parse_target("sm_80")


def test_parameters_are_pointers_then_scalars():
    for name in ("taken", "softmax_row", "joined"):
        for source in print_module(make(name).module()):
            pointers = [p.type.endswith("*") for p in source.parameters]
            assert pointers == sorted(pointers, reverse=True)
            assert all(p.type == "int64" for p in source.parameters if not p.type.endswith("*"))
