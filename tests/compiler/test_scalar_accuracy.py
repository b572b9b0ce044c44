"""Compiled elementwise math against NumPy in higher precision, over ordinary and special values."""

import math

import numpy as np
import pytest

from jitcore.compiler import compile_graph
from jitcore_ir import Graph, TensorType, ops
from jitcore_ir.dtypes import float32, float64
from jitcore_runtime.executor import Executor

_erf = np.vectorize(math.erf, otypes=[np.longdouble])
WIDE = (-80.0, 80.0)
FUNCTIONS = {
    ops.EXP: (np.exp, (-87, 88)),
    ops.EXPM1: (np.expm1, WIDE),
    ops.LOG: (np.log, (1e-30, 1e30)),
    ops.LOG1P: (np.log1p, (-0.999, 1e6)),
    ops.LOG2: (np.log2, (1e-30, 1e30)),
    ops.SIN: (np.sin, (-1e4, 1e4)),
    ops.COS: (np.cos, (-1e4, 1e4)),
    ops.TAN: (np.tan, (-1.5, 1.5)),
    ops.ASIN: (np.arcsin, (-1, 1)),
    ops.ACOS: (np.arccos, (-1, 0.99)),
    ops.ATAN: (np.arctan, WIDE),
    ops.SINH: (np.sinh, WIDE),
    ops.COSH: (np.cosh, WIDE),
    ops.TANH: (np.tanh, (-12, 12)),
    ops.SIGMOID: (lambda x: 1 / (1 + np.exp(-x)), (-80, 30)),
    ops.ERF: (_erf, (-5, 5)),
}
"""Spec -> (reference in extended precision, range). Ranges keep clear of zeros of the result but 0 itself."""

UNITS = 8
"""Largest error allowed, in units in the last place of the result."""

SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, -3e38, 88.8, -104.0)


def run(spec, x):
    graph = Graph("scalar")
    dtype = float32 if x.dtype == np.float32 else float64
    value = graph.block.add_argument(TensorType(dtype, x.shape), "x")
    graph.block.append(ops.RETURN, [graph.block.append(spec, [value], {}).result])
    return Executor(compile_graph(graph)).run([x])[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spec", FUNCTIONS, ids=lambda spec: spec.name)
def test_error_is_a_few_units_in_the_last_place(spec, dtype):
    reference, (low, high) = FUNCTIONS[spec]
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(low, high, 3000), rng.uniform(max(low, -1e-3), 1e-3, 500)]).astype(dtype)
    x = x[x > low] if low > 0 else x
    with np.errstate(all="ignore"):
        expected = reference(x.astype(np.longdouble))
    if spec is ops.ERF and dtype == np.float64:
        expected = reference(x)  # math.erf is correct to a unit of float64
    given = run(spec, x)
    unit = np.spacing(np.abs(expected).astype(dtype))
    errors = np.abs(given.astype(np.longdouble) - expected) / unit
    worst = int(np.argmax(errors))
    assert errors[worst] <= UNITS, (
        f"{spec.name}({x[worst]!r}) = {given[worst]!r}, off by {float(errors[worst]):.1f} units"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spec", FUNCTIONS, ids=lambda spec: spec.name)
def test_special_values_are_numpys(spec, dtype):
    reference, _ = FUNCTIONS[spec]
    if spec in (ops.SIN, ops.COS, ops.TAN):
        x = np.array([v for v in SPECIAL if not 1e30 < abs(v) < np.inf], dtype)
    else:
        x = np.array(SPECIAL, dtype)
    with np.errstate(all="ignore"):
        expected = (reference(x.astype(np.float64)) if spec is ops.ERF else reference(x)).astype(dtype)
    given = run(spec, x)
    np.testing.assert_array_equal(np.isnan(given), np.isnan(expected))
    np.testing.assert_allclose(given, expected, rtol=2e-6, atol=np.finfo(dtype).tiny)
