"""Index arithmetic: whatever is simplified away, the element stays the same one; and what should vanish vanishes."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jitcore.compiler.lower.index import IndexSpace, flatten, quotients, recombine, variables_of
from jitcore_ir.shapes import add, evaluate, mul, product, sub, symbol

SHAPES = {
    6: [(6,), (2, 3), (3, 2), (1, 6), (6, 1)],
    24: [(24,), (2, 3, 4), (4, 6), (6, 4), (2, 12), (3, 1, 8), (2, 2, 6)],
}


def everywhere(space, variables, extents):
    """Values of the variables in every iteration."""
    names = [variables_of(v)[0] if v != 0 else None for v in variables]
    for place in itertools.product(*map(range, extents)):
        yield place, {n: p for n, p in zip(names, place, strict=True) if n}


@given(st.sampled_from(sorted(SHAPES)), st.data())
@settings(deadline=None)
def test_reshaping_twice_finds_the_same_element(size, data):
    first, second, third = (data.draw(st.sampled_from(SHAPES[size])) for _ in range(3))
    space = IndexSpace()
    variables = tuple(space.variable(d) for d in first)
    middle = space.unflatten(flatten(variables, first), second)
    last = space.unflatten(flatten(middle, second), third)
    merged, dims = space.merge(last, third)
    for place, values in everywhere(space, variables, first):
        position = np.ravel_multi_index(place, first)
        assert tuple(evaluate(i, values) for i in last) == np.unravel_index(position, third)
        assert evaluate(flatten(merged, dims), values) == position
        assert all(0 <= evaluate(i, values) < d for i, d in zip(merged, dims, strict=True))
    assert math.prod(dims) == size


@given(st.integers(1, 12), st.integers(1, 12), st.integers(-3, 6), st.integers(-7, 7), st.integers(1, 24))
def test_split_is_division_with_remainder_and_bounds_hold(rows, columns, scale, shift, divisor):
    space = IndexSpace()
    variables = space.variable(rows), space.variable(columns)
    index = add(add(mul(variables[0], scale * columns), mul(variables[1], scale)), shift)
    quotient, remainder = space.split(index, divisor)
    for _, values in everywhere(space, variables, (rows, columns)):
        whole = evaluate(index, values)
        assert (evaluate(quotient, values), evaluate(remainder, values)) == divmod(whole, divisor)
        for found in (index, quotient, remainder, sub(remainder, quotient)):
            assert (
                evaluate(space.lower(found), values) <= evaluate(found, values) <= evaluate(space.upper(found), values)
            )


def test_splitting_what_was_flattened_needs_no_division_even_for_symbolic_sizes():
    n, t, c = symbol("N"), symbol("T"), symbol("C")
    space = IndexSpace()
    i, j, k = space.variable(n), space.variable(t), space.variable(c)
    position = flatten((i, j, k), (n, t, c))
    assert space.unflatten(position, (n, t, c)) == (i, j, k)
    assert space.unflatten(position, (mul(n, t), c)) == (add(mul(i, t), j), k)
    assert space.unflatten(position, (n, mul(t, c))) == (i, add(mul(j, c), k))


def test_heads_merge_and_split_with_one_division():
    space = IndexSpace()
    row, column = space.variable(128), space.variable(768)
    split = space.unflatten(flatten((row, column), (128, 768)), (128, 12, 64))
    assert split[0] == row
    assert quotients(split) == 2
    assert space.merge(split, (128, 12, 64)) == ((row, column), (128, 768))


def test_taken_apart_and_put_together_is_the_same_index():
    space = IndexSpace()
    t = space.variable(mul(symbol("N"), 35))
    apart = space.unflatten(t, (symbol("N"), 5, 7))
    assert recombine(flatten(apart, (symbol("N"), 5, 7))) == t


def test_an_axis_of_extent_one_has_no_variable():
    space = IndexSpace()
    assert space.variable(1) == 0
    assert space.extent(0) == 1
    assert product((space.extent(space.variable(4)), 1)) == 4
