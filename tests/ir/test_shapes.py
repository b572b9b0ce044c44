"""Dimensions: arithmetic on expressions means what it means on integers, in one normal form."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitcore_ir import ShapeError, shapes
from jitcore_ir.shapes import add, evaluate, floordiv, is_nonnegative, maximum, minimum, mod, mul, sub, symbol

N, M = symbol("N"), symbol("M")

# A tree is an int, a symbol's name, or (operation, tree, tree).
leaves = st.integers(-6, 12) | st.sampled_from(["N", "M", "K"])
trees = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "//", "%", "max", "min"]), inner, inner),
    max_leaves=8,
)
symbol_values = st.fixed_dictionaries({name: st.integers(0, 40) for name in "NMK"})

BUILD = {"+": add, "-": sub, "*": mul, "//": floordiv, "%": mod, "max": maximum, "min": minimum}
COUNT = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "max": max,
    "min": min,
}


def build(tree, **values):
    """The tree as a dim, symbols replaced by those in `values` where there are any."""
    if isinstance(tree, tuple):
        return BUILD[tree[0]](*(build(part, **values) for part in tree[1:]))
    return values.get(tree, symbol(tree)) if isinstance(tree, str) else tree


def count(tree, values):
    """The tree's value by Python's integers alone."""
    if isinstance(tree, tuple):
        return COUNT[tree[0]](*(count(part, values) for part in tree[1:]))
    return values[tree] if isinstance(tree, str) else tree


def counted(tree, values):
    """As count; None where it divides by zero."""
    try:
        return count(tree, values)
    except ZeroDivisionError:
        return None


def built(tree):
    try:
        return build(tree)
    except ShapeError as error:
        assert "zero" in str(error)
        return None


@settings(max_examples=800, deadline=None)
@given(trees, symbol_values)
def test_simplified_expressions_have_the_value_of_the_raw_ones(tree, values):
    dim, expected = built(tree), counted(tree, values)
    if dim is not None and expected is not None:
        assert evaluate(dim, values) == expected


@settings(max_examples=300, deadline=None)
@given(trees, symbol_values)
def test_substituting_every_symbol_evaluates(tree, values):
    dim, expected = built(tree), counted(tree, values)
    if dim is not None and expected is not None:
        assert shapes.substitute(dim, values) == expected


@settings(max_examples=300, deadline=None)
@given(trees, symbol_values)
def test_nonnegative_is_only_claimed_where_it_holds(tree, values):
    dim, expected = built(tree), counted(tree, values)
    if dim is not None and expected is not None and is_nonnegative(dim):
        assert expected >= 0


@settings(max_examples=300, deadline=None)
@given(trees, trees, trees)
def test_sums_and_products_have_one_form(a, b, c):
    a, b, c = built(a), built(b), built(c)
    if a is not None and b is not None and c is not None:
        assert add(a, b) == add(b, a) and hash(add(a, b)) == hash(add(b, a)) and str(add(a, b)) == str(add(b, a))
        assert mul(a, add(b, c)) == add(mul(a, b), mul(a, c))
        assert sub(add(a, b), b) == a
        assert maximum(a, b) == maximum(b, a) and minimum(a, b) == minimum(b, a)


@given(trees)
def test_expressions_survive_pickling(tree):
    dim = built(tree)
    if dim is not None:
        assert pickle.loads(pickle.dumps(dim)) == dim


@pytest.mark.parametrize(
    "dim, text",
    [
        (add(N, 0), "N"),
        (add(mul(2, N), 1), "2*N + 1"),
        (sub(1, N), "-N + 1"),
        (mul(add(N, M), N), "M*N + N*N"),
        (floordiv(add(mul(4, N), 5), 4), "N + 1"),
        (mod(add(mul(4, N), 5), 4), "1"),
        (floordiv(add(N, 5), 4), "((N + 1) // 4) + 1"),
        (floordiv(floordiv(N, 2), 3), "(N // 6)"),
        (floordiv(mul(N, M), M), "N"),
        (mod(mul(N, M), M), "0"),
        (floordiv(N, add(M, 1)), "(N // (M + 1))"),
        (maximum(N, 0), "N"),
        (maximum(N, add(N, M)), "M + N"),
        (minimum(N, 4), "min(4, N)"),
        (sub(N, N), "0"),
    ],
)
def test_normal_forms(dim, text):
    assert str(dim) == text


def test_integers_stay_integers():
    assert type(sub(add(N, 3), N)) is int
    assert type(floordiv(mul(N, 6), mul(N, 2))) is int
    assert shapes.product((2, 3, 4)) == 24 and shapes.product(()) == 1
    assert shapes.is_static((1, 2)) and not shapes.is_static((1, N))


def test_symbols_are_listed_in_order_of_appearance():
    dim = add(floordiv(M, add(N, 1)), maximum(symbol("K"), 7))
    assert sorted(shapes.symbols_of(dim)) == ["K", "M", "N"]
    assert shapes.symbols_of(3) == []


@pytest.mark.parametrize("name", ["", "2N", "a b", "max", "min", "a-b", "x.y"])
def test_odd_symbol_names_are_refused(name):
    with pytest.raises(ValueError, match="is not a plain identifier"):
        symbol(name)


def test_what_cannot_be_computed_says_why():
    with pytest.raises(ShapeError, match="symbol N has no value; known are \\['M'\\]"):
        evaluate(add(N, M), {"M": 1})
    with pytest.raises(ShapeError, match=r"\(N // M\) divides by zero for"):
        evaluate(floordiv(N, M), {"N": 1, "M": 0})
    with pytest.raises(ShapeError, match="divided by zero"):
        floordiv(N, 0)
    with pytest.raises(ShapeError, match="modulo zero"):
        mod(7, 0)
