"""What the tests of custom operations share."""

import ctypes

import numpy as np

import jitcore
from jitcore_runtime import custom

R = np.random.default_rng(0)


def rows(n=3, m=4):
    return jitcore.tensor(R.normal(size=(n, m)).astype(np.float32))


def forget(*names):
    """As in a process that has not imported the module which defines them."""
    for name in names:
        custom._ops.pop(name, None)
        for key, cell in custom._cells.items():
            if key[0] == name:
                cell.value = None


def close(ours, theirs):
    np.testing.assert_allclose(ours.detach().numpy(), np.asarray(theirs), rtol=1e-5, atol=1e-6)


PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 7)


def c_function(body, counts_calls=True):
    """A C function pointer with the ABI of native functions, which calls Python: it tells how often it was called."""

    @PROTOTYPE
    def native(counts, data, dtypes, ranks, shapes, integers, reals):
        counts, codes = (ctypes.cast(p, ctypes.POINTER(ctypes.c_int64)) for p in (counts, dtypes))
        assert (counts[0], codes[0]) == (1, 8), "one float32 operand"
        pointers = ctypes.cast(data, ctypes.POINTER(ctypes.c_void_p))
        sizes = ctypes.cast(shapes, ctypes.POINTER(ctypes.POINTER(ctypes.c_int64)))
        axes = ctypes.cast(ranks, ctypes.POINTER(ctypes.c_int64))
        native.calls += counts_calls

        def array(k, dtype=np.float32):
            shape = [sizes[k][a] for a in range(axes[k])]
            memory = (ctypes.c_char * (int(np.prod(shape)) * np.dtype(dtype).itemsize)).from_address(pointers[k])
            return np.ndarray(shape, dtype, memory)

        return body(
            array,
            ctypes.cast(integers, ctypes.POINTER(ctypes.c_int64)),
            ctypes.cast(reals, ctypes.POINTER(ctypes.c_double)),
        )

    native.calls = 0
    return native


def scaling(array, integers, reals):
    array(1)[...] = array(0) * np.float32(reals[0])
    return 0
