"""Custom operations whose native functions (C, numba) compiled programs call."""

import threading

import numpy as np
import pytest
from custom_op_checks import c_function, close, rows

import jitcore
from jitcore.library import custom_op


def test_a_c_function_is_called_eagerly_compiled_and_interpreted(native_scale):
    x = rows()
    close(native_scale(x), x.numpy() * 2)
    assert native_scale.native.calls == 1
    for native in (True, False):
        compiled = jitcore.jit(lambda x: native_scale(x + 1, 4.0) * 2, native=native)
        for _ in range(3):
            close(compiled(x), (x.numpy() + 1) * 8)
        if native:
            assert "Called natively from within the compiled program: test::scale at" in compiled.explain()
    assert native_scale.native.calls == 7
    assert not native_scale.calls, "the Python function is not run"


def test_a_c_function_that_fails(native_scale):
    x = rows()
    compiled = jitcore.jit(lambda x: native_scale(x).sum())
    compiled(x), compiled(x)
    x[0, 0] = 666
    for run in (native_scale, compiled):
        with pytest.raises(RuntimeError, match="the native function of test::scale returned 13"):
            run(x)


@pytest.mark.parametrize("native", [0, -1, "x", True, 2.5, lambda: 1])
def test_what_is_no_native_function(scale, native):
    with pytest.raises(TypeError, match="test::scale: native is no address"):
        scale.register_native(native)


def test_several_results_and_integers_in_c():
    def body(array, integers, reals):
        x = array(0)
        array(1)[...] = x * integers[0] + integers[1] + reals[0]
        array(2)[...] = x.sum(1)
        return 0

    op = custom_op("test::two", lambda x, k, flag, r: None)
    op.register_fake(lambda x, k, flag, r: (jitcore.empty_like(x), x.new_empty(x.shape[:1])))
    native = op.register_native(c_function(body))
    compiled = jitcore.jit(lambda x: op(x.t(), 3, True, 0.5))
    x = rows()
    for _ in range(3):
        one, two = compiled(x)
        close(one, x.numpy().T * 3 + 1.5)
        close(two, x.numpy().sum(0))
    assert native.calls == 3


def test_numba_functions_are_called_natively():
    numba = pytest.importorskip("numba")

    @custom_op("test::numba")
    @numba.njit
    def weighted(x, y, k: float, n: int):
        if n == 99:
            raise ValueError("no")
        return x[:n] * np.float32(k) + y[:n]

    weighted.register_fake(lambda x, y, k, n: jitcore.TensorSpec((min(n, x.shape[0]), *x.shape[1:]), x.dtype))
    x, y = rows(), rows()
    compiled = jitcore.jit(lambda x, y: weighted(x, y, 3, 2))
    expected = (x.numpy() * 3 + y.numpy())[:2]
    for _ in range(2):
        close(compiled(x, y), expected)
    close(weighted(x, y, 3.0, 2), expected)
    assert "Called natively from within the compiled program: test::numba" in compiled.explain()
    with pytest.raises(RuntimeError, match="native function of test::numba returned 1"):
        weighted(x, y, 3.0, 99)
    with pytest.raises(TypeError, match=r"n is 2\.5, but its annotation says int"):
        weighted(x, y, 3.0, 2.5)


def test_numba_cfunc_is_a_native_function(scale):
    numba = pytest.importorskip("numba")
    from numba import carray, types

    int64s = types.CPointer(types.int64)
    signature = types.int64(
        int64s, types.CPointer(types.voidptr), int64s, int64s, types.CPointer(int64s), int64s,
        types.CPointer(types.double),
    )  # fmt: skip

    @numba.cfunc(signature)
    def native(counts, data, dtypes, ranks, shapes, integers, reals):
        shape = (shapes[0][0], shapes[0][1])
        x, y = carray(data[0], shape, np.float32), carray(data[1], shape, np.float32)
        for i in range(shape[0]):
            for j in range(shape[1]):
                y[i, j] = x[i, j] * np.float32(reals[0])
        return 0

    scale.register_native(native)
    compiled = jitcore.jit(lambda x: scale(x, 3.0))
    x = rows()
    for _ in range(2):
        close(compiled(x), x.numpy() * 3)
    assert not scale.calls


def test_threads_call_natively_at_once(native_scale):
    compiled = jitcore.jit(lambda x: native_scale(x, 3.0) + 1)
    compiled(rows())
    wrong = []

    def work():
        for _ in range(50):
            x = rows()
            if not np.allclose(compiled(x).numpy(), x.numpy() * 3 + 1):
                wrong.append(x)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
