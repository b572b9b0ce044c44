"""What equations and inequalities between dims say about their symbols."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitcore_ir import shapes
from jitcore_ir.equations import RELATIONS, bounds, decided, factors, holds, solve, tighten

N, M, K = (shapes.symbol(name) for name in "NMK")


@pytest.mark.parametrize(
    ("difference", "values", "expected"),
    [
        (shapes.sub(N, 5), {"N": 5}, {"N": 5}),
        (shapes.sub(shapes.mul(N, 2), 6), {"N": 3}, {"N": 3}),
        (shapes.sub(N, M), {"N": 4, "M": 4}, {"M": N}),
        (shapes.sub(shapes.add(N, 1), M), {"N": 3, "M": 4}, {"M": shapes.add(N, 1)}),
        (shapes.sub(N, shapes.add(M, 1)), {"N": 4, "M": 3}, {"N": shapes.add(M, 1)}),
        (shapes.mod(N, 8), {"N": 16}, {"N": shapes.mul(8, shapes.symbol("N_by_8"))}),
        (shapes.mod(shapes.add(N, 3), 8), {"N": 5}, {"N": shapes.add(shapes.mul(8, shapes.symbol("N_by_8")), 5)}),
        (
            shapes.sub(shapes.mul(shapes.floordiv(N, 2), 2), N),
            {"N": 6},
            {"N": shapes.mul(2, shapes.symbol("N_by_2"))},
        ),
        (shapes.sub(shapes.mul(N, M), shapes.mul(K, 4)), {"N": 2, "M": 6, "K": 3}, {"K": 3}),
    ],
)
def test_an_equation_is_solved_for_a_symbol(difference, values, expected):
    assert solve(difference, values) == expected


sizes = st.integers(0, 12)
dims = st.recursive(
    st.one_of(st.sampled_from([N, M]), sizes),
    lambda parts: st.one_of(
        st.builds(shapes.add, parts, parts),
        st.builds(shapes.sub, parts, parts),
        st.builds(shapes.mul, parts, st.integers(0, 4)),
        st.builds(shapes.floordiv, parts, st.integers(1, 5)),
        st.builds(shapes.mod, parts, st.integers(1, 5)),
        st.builds(shapes.maximum, parts, parts),
        st.builds(shapes.minimum, parts, parts),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(dims, sizes, sizes)
def test_a_solution_holds_for_the_values_it_was_found_with(dim, n, m):
    values = {"N": n, "M": m}
    difference = shapes.sub(dim, shapes.evaluate(dim, values))
    if isinstance(difference, int):
        return
    ((name, found),) = solve(difference, values).items()
    new = [s for s in shapes.symbols_of(found) if s not in values]
    if new:
        step = int(new[0].rsplit("_", 1)[1])
        assert shapes.evaluate(found, {**values, new[0]: values[name] // step}) == values[name]
    else:
        assert shapes.evaluate(found, values) == values[name]


ranges = st.tuples(sizes, sizes).map(sorted)


@settings(max_examples=300, deadline=None)
@given(dims, ranges, ranges, st.sampled_from(list(RELATIONS)))
def test_bounds_and_decisions_hold_for_all_values_in_the_ranges(dim, of_n, of_m, relation):
    limits = {"N": tuple(of_n), "M": tuple(of_m)}
    low, high = bounds(dim, limits)
    settled = decided(dim, relation, limits)
    for n in range(of_n[0], of_n[1] + 1):
        for m in range(of_m[0], of_m[1] + 1):
            value = shapes.evaluate(dim, {"N": n, "M": m})
            assert (low is None or low <= value) and (high is None or value <= high)
            assert not settled or holds(dim, relation, {"N": n, "M": m})


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-4, 4).filter(bool), st.integers(-20, 20), ranges, st.sampled_from(["<", "<=", ">", ">=", "!="]), sizes
)
def test_a_tightened_range_is_where_the_inequality_holds(slope, constant, before, relation, value):
    difference = shapes.add(shapes.mul(slope, N), constant)
    found = tighten(difference, relation, {"N": tuple(before)})
    if found is None:
        assert relation == "!="
        return
    low, high = found[1]
    inside = before[0] <= value <= before[1]
    assert (low <= value <= high) == (inside and holds(difference, relation, {"N": value}))


def test_a_product_that_is_not_0_has_no_factor_0():
    product = shapes.mul(shapes.mul(N, M), 3)
    assert factors(product, "!=") == factors(shapes.sub(product, 1), ">=") == [M, N]
    assert factors(shapes.sub(product, 4), ">=") is None
    assert factors(shapes.sub(N, 1), ">=") is None


def test_a_multiple_is_never_a_number_between():
    assert decided(shapes.sub(shapes.mul(N, 64), 1), "!=", {})
    assert not decided(shapes.sub(shapes.mul(N, 64), 128), "!=", {})
