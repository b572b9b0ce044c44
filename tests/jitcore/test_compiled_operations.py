"""Every case of the tables against PyTorch once more, compiled: outputs and gradients equal eager's.

A case that looks at values (sort, nonzero, mask reads) may fall back to eager execution, but only by saying so.
"""

import warnings

import numpy as np
import pytest
import test_functional_against_torch as functional
import test_indexing as indexing
import test_ops_against_torch as operations

import jitcore

pytestmark = pytest.mark.slow

READS_VALUES = {
    "repeat_interleave counts", "sort", "median", "quantile", "nonzero", "unique", "masked_select", "cummax",
    "unique_consecutive", "mask", "mask of the first dimension", "mask of two dimensions", "mask in second place",
    "mask and tensor", "mask of nothing", "mask of a dimension",
}  # fmt: skip


def unary(name):
    return lambda lib, x: getattr(lib, name)(x)


def activation(name):
    return lambda lib, x: getattr(lib.nn.functional, name)(x)


def cases():
    yield from {**operations.CASES, **operations.MORE, **functional.CASES}.items()
    for name, make in operations.UNARY.items():
        yield f"jitcore.{name}", (unary(name), make(3, 4))
    for name in functional.ACTIVATIONS:
        yield f"F.{name}", (activation(name), functional.n(4, 5) * 3)
    for name, read in indexing.READS.items():
        yield f"read {name}", (read, indexing.X)
    for name, write in indexing.WRITES.items():
        yield f"write {name}", (indexing.put(*write), indexing.X, indexing.R.normal(size=(4, 3, 5)))


CASES = dict(cases())


def flat(result):
    if isinstance(result, jitcore.Tensor):
        return [result]
    return [t for part in result for t in flat(part)] if isinstance(result, tuple | list) else []


def tensors(arrays):
    return [jitcore.tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_eager(name):
    function, *arrays = CASES[name]

    def step(*given):
        leaves = [x.detach().requires_grad_() if x.dtype.is_floating_point else x for x in given]
        results = flat(function(jitcore, *leaves))
        roots = [r for r in results if r.requires_grad]
        wanted = [x for x in leaves if x.requires_grad]
        gradients = jitcore.autograd.grad([r.sum() for r in roots], wanted, allow_unused=True) if roots else ()
        return [r.detach() for r in results], [g for g in gradients if g is not None]

    eager = flat(step(*tensors(arrays)))
    compiled = jitcore.jit(step)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):  # the first call records, the second runs the program
            results = flat(compiled(*tensors(arrays)))
    if name.removeprefix("read ").removeprefix("write ") not in READS_VALUES:
        assert not [str(w.message) for w in said if issubclass(w.category, jitcore.JitWarning)]
    assert len(results) == len(eager)
    for position, (a, b) in enumerate(zip(results, eager)):
        assert a.dtype is b.dtype and a.shape == b.shape, position
        tolerance = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-3}.get(a.dtype.name, 0)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance, err_msg=str(position))
