"""Lists, dicts and objects among the arguments: whether two of them are one, or one that the function reaches
otherwise, is part of a call, since Python code may ask (`a is b`) and writes through one are seen in the other.
"""

import dataclasses

import pytest
from trap_checks import quiet, same, vector

import jitcore


@dataclasses.dataclass
class Node:
    value: object
    parent: object = None


def are_one(a, b):
    return vector(1, 2) * (2 if a is b else 3)


def appended(a, b):
    a.append(vector(5))
    return b[-1] * 2


def entry_set(a, b):
    a["k"] = a["k"] * 3
    return b["k"] * 2


def attribute_set(a, b):
    a.value = b.value * 2
    return b.value + 1


def both(make):
    return lambda: (make(), make())


def twice(make):
    def arguments():
        made = make()
        return made, made

    return arguments


PAIRS = [
    (are_one, lambda: [1]), (are_one, list), (are_one, lambda: {"k": 1}), (are_one, lambda: Node(1)),
    (are_one, lambda: [vector(1)]), (are_one, lambda: Node(vector(1))), (are_one, lambda: Node([1])),
    (are_one, lambda: {1: 2}), (appended, lambda: [vector(1, 2)]), (entry_set, lambda: {"k": vector(1, 2)}),
    (attribute_set, lambda: Node(vector(1, 2))),
]  # fmt: skip
ORDERS = [(both, twice, both, twice), (twice, twice, both, both), (both, both, both, twice), (twice,) * 3 + (both,) * 2]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(o.__name__ for o in order))
@pytest.mark.parametrize("pair", PAIRS, ids=[f"{f.__name__}{n}" for n, (f, _) in enumerate(PAIRS)])
@quiet
def test_one_container_twice_is_not_two_alike(pair, order):
    f, make = pair
    jitted = jitcore.jit(f, native=False)
    for kind in order:
        assert same(jitted(*kind(make)()), f(*kind(make)()))


@quiet
def test_one_container_in_two_places_of_an_argument():
    def f(a):
        return vector(1) * (2 if a[0] is a[1] else 3)

    jitted = jitcore.jit(f, native=False)
    for one in (True, False, False, True, True):
        inner = [1.5]
        given = [inner, inner if one else [1.5]]
        assert same(jitted(given), f(given))


def test_numbers_and_tensors_in_a_container_that_is_there_twice(ran):
    def f(a, b, x, n):
        return a[0] * a[1] + b[0] + x * n + b[1]

    jitted = jitcore.jit(f, native=False)
    for number in range(4):
        a = [vector(1, number), 2.5]
        assert same(jitted(a, a, vector(3, 4), float(number)), f(a, a, vector(3, 4), float(number)))
    assert len(ran) == 3


DEFAULTS = [1]
TABLE = {"scale": [2.0]}


def asks_default(x, options):
    return x * (2 if options is DEFAULTS else 3)


def asks_entry(x, options):
    return x * (2 if options is TABLE["scale"] else 3)


@pytest.mark.parametrize("order", [(True, False, True, False), (False, False, True, True), (True, True, True, False)])
@pytest.mark.parametrize("f, held", [(asks_default, DEFAULTS), (asks_entry, TABLE["scale"])])
def test_a_container_that_the_function_reaches_otherwise(f, held, order):
    jitted = jitcore.jit(f, native=False)
    for is_held in order:
        options = held if is_held else list(held)
        assert same(jitted(vector(1, 2), options), f(vector(1, 2), options))


@pytest.mark.parametrize("f, held", [(asks_default, DEFAULTS), (asks_entry, TABLE["scale"])])
def test_calls_with_one_that_it_reaches_are_replayed_like_others(f, held, ran):
    jitted = jitcore.jit(f, native=False)
    for _ in range(4):
        jitted(vector(1, 2), held)
        jitted(vector(1, 2), list(held))
    assert len(ran) == 6


def test_a_container_that_holds_itself(ran):
    def f(node, items):
        return node.value * 2 + node.parent.value + items[0] * 3

    jitted = jitcore.jit(f, native=False)
    for number in range(4):
        node, items = Node(vector(1, number)), [vector(2)]
        node.parent = node
        items.append(items)
        assert same(jitted(node, items), f(node, items))
    assert len(ran) == 3


def test_a_result_that_holds_itself():
    def f(x):
        node, items, table = Node(x * 2), [x + 1], {"x": x}
        node.parent = node
        items.append(items)
        table["self"] = table
        return node, items, table

    jitted = jitcore.jit(f, native=False)
    for number in range(3):
        node, items, table = jitted(vector(number))
        assert node.parent is node and items[1] is items and table["self"] is table
        assert node.value.tolist() == [2.0 * number] and items[0].tolist() == [number + 1.0]
