"""Generated source, run thread by thread in numba's simulator, gives what NumPy gives."""

import numpy as np
import pytest
from cuda_cases import CASES, Case, make
from simulate import simulate

from jitcore_ir import ops

pytest.importorskip("numba", reason="the CUDA simulator is part of numba, which is not installed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # integers wrap in threads that errstate does not reach


def wide(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


@pytest.mark.parametrize("name", CASES)
def test_kernels_give_what_numpy_gives(name):
    case = make(name)
    got, error = simulate(case.module(), case.arrays, case.symbols)
    assert error[0] == -1
    for result, wanted in zip(got, case.expected(), strict=True):
        assert result.dtype == wanted.dtype
        np.testing.assert_allclose(wide(result), wide(wanted), case.tolerance, case.tolerance)


@pytest.mark.parametrize("threads", [1, 2, 32, 64])
def test_the_block_size_does_not_matter(threads):
    case = Case("softmax")
    CASES["softmax_row"](case, width=37)
    got, _ = simulate(case.module(), case.arrays, case.symbols, threads)
    x = wide(case.arrays[0])
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(got[0], e / e.sum(1, keepdims=True), 1e-5, 1e-7)


def test_no_rows_leave_memory_alone():
    case = make("layernorm_row")
    got, _ = simulate(case.module(), [np.empty((0, 70), np.float32), *case.arrays[1:]], {"N": 0})
    assert got[0].shape == (0, 70)


def test_position_out_of_range_is_reported_and_not_followed():
    case = Case("take")
    case.returns(case(ops.TAKE, case.normal(9, 4), case.input(np.array([8, 11, 3])), axis=0))
    module = case.module()
    _, error = simulate(module, case.arrays, {})
    assert module.operations[error[0]] == "take" and list(error[1:]) == [11, 9, 0]


def test_integer_division_by_zero_is_reported():
    case = Case("divide")
    case.returns(case(ops.FLOOR_DIVIDE, case.whole(20), case.whole(20, low=0, high=2)))
    _, error = simulate(case.module(), case.arrays, {})
    assert error[0] == -2
