"""No two threads of a generated kernel touch the same memory without a barrier between them."""

from dataclasses import replace

import numpy as np
import pytest
from cuda_cases import CASES, Case, make
from hypothesis import given, settings
from hypothesis import strategies as st
from race_check import Race, run_checked

from jitcore.compiler.cuda import print_module
from jitcore_ir import ops

THREADED = [name for name in CASES if not name.startswith("every_")]


@pytest.mark.parametrize("name", THREADED)
def test_kernels_have_no_races(name):
    case = make(name)
    got = run_checked(case.module(), case.arrays, case.symbols)
    for result, wanted in zip(got, case.expected(), strict=True):
        np.testing.assert_allclose(result.astype(np.float64), wanted.astype(np.float64), case.tolerance, case.tolerance)


@pytest.mark.parametrize("name", ["softmax_row", "layernorm_row"])
def test_the_check_sees_a_missing_barrier(name):
    case = make(name)
    sources = print_module(case.module(), 8)
    (source,) = sources
    lines = source.text.split("\n")
    seen = 0
    for number, line in enumerate(lines):
        if line.strip() == "cuda.syncthreads()":
            text = "\n".join([*lines[:number], *lines[number + 1 :]])
            try:
                run_checked(case.module(), case.arrays, case.symbols, sources=[replace(source, text=text)])
            except Race:
                seen += 1
    assert seen >= 2


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_reductions_over_any_axes_of_any_shape(data):
    rank = data.draw(st.integers(1, 3))
    shape = data.draw(st.tuples(*[st.sampled_from([1, 2, 3, 33, 40])] * rank).filter(lambda s: np.prod(s) <= 4000))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, rank - 1), min_size=1))))
    case = Case("reduction")
    x = case.whole(*shape, dtype=np.float32)
    total = case.reduce(data.draw(st.sampled_from([ops.SUM, ops.AMAX, ops.AMIN])), x, *axes)
    chosen = data.draw(st.sampled_from(["alone", "fused", "again"]))
    if chosen == "alone":
        case.returns(total)
    elif chosen == "fused":
        case.returns(case(ops.MUL, case(ops.SUB, x, total), x), total)
    else:
        centred = case(ops.SUB, x, total)
        case.returns(case(ops.SUB, centred, case.reduce(ops.SUM, case(ops.MUL, centred, x), *axes)))
    for result, wanted in zip(run_checked(case.module(), case.arrays, {}, 4), case.expected(), strict=True):
        np.testing.assert_array_equal(result, wanted)
