"""Kernels on a GPU give what NumPy gives, for every case, with outputs poisoned before. Run with `-m gpu`."""

import numpy as np
import pytest
from cuda_cases import CASES, Case, make
from simulate import arguments, collect, fill

from jitcore.compiler.cuda import can_compile, compile_module
from jitcore.compiler.cuda.module import grid_size
from jitcore_ir import ops
from jitcore_ir.shapes import evaluate


def _missing():
    """Why nothing can run here; "" where it can. The driver is looked for first: asking CUDA without one may hang."""
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no CUDA driver (libcuda.so.1)"
    if can_compile():
        return can_compile()
    from numba import cuda

    return "" if cuda.is_available() else "there is no CUDA device"


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(_missing()), reason=_missing() or "there is a CUDA device")]


def run(case):
    """(outputs, error fields) of a module launched with cuda.core: the stored PTX, not numba's own launch."""
    from cuda.core import Device, LaunchConfig, ObjectCode, launch
    from numba import cuda

    module, symbols = case.module(), case.symbols
    device = Device()
    device.set_current()
    stream = device.create_stream()
    memory = [cuda.to_device(m if m.size else np.zeros(1, m.dtype)) for m in fill(module, case.arrays, symbols)]
    error = cuda.to_device(np.array([-1, 0, 0, 0]))
    kernels = {kernel.name: kernel for kernel in compile_module(module, tuple(device.compute_capability))}
    for call in module.kernels:
        kernel = kernels[call.kernel.name]
        blocks = evaluate(grid_size(call.parallel, kernel.mapping, kernel.block[0]), symbols)
        passed = [
            np.int64(a) if isinstance(a, int | np.integer) else np.uint64(a.device_ctypes_pointer.value)
            for a in arguments(kernel, call, memory, error, symbols)
        ]
        loaded = ObjectCode.from_ptx(kernel.ptx.encode()).get_kernel(kernel.name)
        launch(stream, LaunchConfig(grid=blocks, block=kernel.block[0]), loaded, *passed)
    stream.sync()
    host = [m.copy_to_host() for m in memory]
    sizes = [int(np.prod([evaluate(d, symbols) for d in b.shape])) for b in module.buffers]
    return collect(module, [h[:n] for h, n in zip(host, sizes, strict=True)], symbols), error.copy_to_host()


def check(case, tolerance):
    got, error = run(case)
    assert error[0] == -1
    for result, wanted in zip(got, case.expected(), strict=True):
        np.testing.assert_allclose(result.astype(np.float64), wanted.astype(np.float64), tolerance, tolerance)


@pytest.mark.parametrize("name", CASES)
def test_kernels_give_what_numpy_gives(name):
    case = make(name)
    check(case, max(case.tolerance, 1e-5 if "float64" not in name else 0.0))


@pytest.mark.parametrize("width", [1, 31, 32, 33, 255, 256, 257, 1000, 12_000])
@pytest.mark.parametrize("name", ["softmax_row", "layernorm_row"])
def test_rows_of_any_width(name, width):
    case = Case(name)
    CASES[name](case, width=width)
    check(case, 2e-5)


@pytest.mark.parametrize("count", [1, 255, 257, 1_000_003])
def test_any_number_of_elements(count):
    case = Case("gelu")
    CASES["gelu_chain"](case, shape=(count,))
    check(case, 1e-5)


def test_one_of_many_bad_positions_is_reported_whole():
    case = Case("take")
    positions = np.arange(1000) + 5
    case.returns(case(ops.TAKE, case.normal(9, 4), case.input(positions), axis=0))
    _, error = run(case)
    assert 9 <= error[1] < 1005 and list(error[2:]) == [9, 0]
