"""Objects of the user's classes as arguments: built anew for each call they are taken apart, as dataclasses are; kept
ones stay themselves."""

import gc
import weakref

import pytest
from object_classes import MADE, Batch
from recorded import recordings
from trap_checks import quiet, same, vector

import jitcore


@pytest.mark.parametrize("name", MADE)
def test_each_call_has_an_object_of_its_own(name, ran):
    function, make = MADE[name]
    jitted = jitcore.jit(function, native=False)
    for n in range(8):
        assert same(jitted(make(n)), function(make(n)))
    assert recordings(jitted) == 1 and not jitted._eager_calls
    assert jitted._recordings.variants()[0].hits >= 5


@pytest.mark.parametrize("name", ["ordinary", "slots", "dict", "list", "nested"])
@quiet
def test_kept_ones_among_fresh_ones(name):
    function, make = MADE[name]
    jitted = jitcore.jit(function, native=False)
    kept = make(7), make(8)
    order = [None, kept[0], kept[0], None, kept[1], None, kept[0], kept[1], None, kept[0]]
    for n, given in enumerate(order):
        given = given if given is not None else make(n)
        assert same(jitted(given), function(given))
    count = recordings(jitted)
    for n, given in enumerate(order):
        given = given if given is not None else make(n)
        assert same(jitted(given), function(given))
    assert recordings(jitted) == count <= 4


class Model:
    def __init__(self, by):
        self.by = by
        self.calls = 0
        self.losses = []

    def step(self, x):
        return x * self.by


@pytest.mark.parametrize("count", [1, 2, 12])
@quiet
def test_what_a_kept_object_holds_besides_may_change(count):
    jitted = jitcore.jit(Model.step, native=False)
    models = [Model(vector(n, 1)) for n in range(count)]
    for turn in range(10):
        for model in models:
            model.calls += 1
            model.losses.append(turn)
            assert same(jitted(model, vector(turn, 2)), model.step(vector(turn, 2)))
    assert recordings(jitted) <= max(2, count) and not jitted._eager_calls


@quiet
def test_what_a_kept_object_holds_may_be_exchanged():
    jitted = jitcore.jit(Model.step, native=False)
    models = [Model(vector(n, 1)) for n in range(3)]
    for turn in range(30):
        for n, model in enumerate(models):
            model.by = vector(n, turn // 6)
            assert same(jitted(model, vector(turn, 2)), model.step(vector(turn, 2)))


def test_other_attributes_are_seen():
    def function(b):
        found = b.x * 2 if getattr(b, "y", None) is None else b.x * b.y
        return found + (b.z if hasattr(b, "z") else 0)

    jitted = jitcore.jit(function, native=False)
    x, y = vector(1, 2), vector(3, 4)
    for make in (lambda: Batch(x), lambda: Batch(x, y), lambda: Batch(x, y, z=x), lambda: Batch(x, z=2.0)) * 3:
        for _ in range(2):
            assert same(jitted(make()), function(make()))
    count = recordings(jitted)
    for make in (lambda: Batch(x), lambda: Batch(x, y), lambda: Batch(x, y, z=x), lambda: Batch(x, z=2.0)):
        assert same(jitted(make()), function(make()))
    assert recordings(jitted) == count <= 6


def test_a_missing_attribute_is_an_error_as_eagerly():
    jitted = jitcore.jit(lambda b: b.x * b.z, native=False)
    for n in range(4):
        assert same(jitted(Batch(vector(n), z=vector(2))), vector(n) * 2)
    for _ in range(3):
        with pytest.raises(AttributeError):
            jitted(Batch(vector(1)))
    assert same(jitted(Batch(vector(3), z=vector(2))), vector(3) * 2)


def test_other_shapes_dtypes_and_scalars():
    def function(b):
        return b.x * b.y + b.z

    jitted = jitcore.jit(function, native=False)
    for turn in range(3):
        for x in (vector(1, 2), vector(1, 2, 3), vector(4).to(jitcore.float64), vector(1, 2, 3, 4)):
            for y, z in ((2.0, 1), (3.0, 1), (3.0, True), (2, 1)):
                assert same(jitted(Batch(x, y, z=z)), function(Batch(x, y, z=z)))
        if turn == 1:
            count = recordings(jitted)
    assert recordings(jitted) == count


def test_another_class_is_seen():
    class Triple(Batch):
        factor = 3.0

    jitted = jitcore.jit(lambda b: b.scaled(), native=False)
    for n in range(8):
        for kind in (Batch, Triple):
            assert same(jitted(kind(vector(n))), kind(vector(n)).scaled())
    Batch.factor = 5.0
    try:
        assert same(jitted(Batch(vector(2))), vector(10))
    finally:
        Batch.factor = 2.0
    assert same(jitted(Batch(vector(2))), vector(4)) and same(jitted(Triple(vector(2))), vector(6))


def test_an_exchanged_method_is_seen():
    class Local(Batch):
        def scaled(self):
            return self.x * 7

    jitted = jitcore.jit(lambda b: b.scaled(), native=False)
    for n in range(5):
        assert same(jitted(Local(vector(n))), vector(n * 7))
    Local.scaled = lambda self: self.x * 8
    for n in range(5):
        assert same(jitted(Local(vector(n))), vector(n * 8))
    thing = Local(vector(1))
    thing.scaled = lambda: vector(100)
    assert same(jitted(thing), vector(100))


def test_cycles_and_large_objects(ran):
    def f(node):
        return node.x * 2 + node.y.x

    jitted = jitcore.jit(f, native=False)
    for n in range(6):
        node = Batch(vector(n))
        node.y = Batch(vector(1), node)
        assert same(jitted(node), f(node))
    assert recordings(jitted) == 1

    def chain(n, length):
        node = Batch(vector(n))
        for _ in range(length):
            node = Batch(vector(n), node)
        return node

    for length in (40, 400):
        jitted = jitcore.jit(lambda node: node.x * (2 if node.y is None else 3), native=False)
        kept = chain(0, length)
        for n in range(5):
            node = chain(n, length)
            assert same(jitted(node), node.x * 3)
            assert same(jitted(kept), kept.x * 3)
    jitted = jitcore.jit(lambda b: b.x * len(b.y), native=False)
    for n in range(5):
        assert same(jitted(Batch(vector(n), list(range(5000)))), vector(n * 5000))


def test_what_the_function_has_no_name_for_may_differ():
    def f(b):
        return b.x * 2 + b.y

    jitted = jitcore.jit(f, native=False)
    for n in range(8):
        batch = Batch(vector(n), vector(1), path=f"{n}.txt", handle=object(), other=lambda: 1)
        assert same(jitted(batch), f(batch))
    assert recordings(jitted) == 1

    def g(b, late):
        return f(b) * len(b.path) if late.sum() > 0 else f(b)

    jitted = jitcore.jit(g, native=False)
    for n in range(12):
        batch = Batch(vector(n), vector(1), path="x" * (n % 3))
        assert same(jitted(batch, vector(n % 2)), g(batch, vector(n % 2)))


def late_name(b):
    return getattr(b, "pa" + "th")


def test_names_that_only_a_later_call_makes():
    def f(b, by):
        return b.x * len(late_name(b)) if by > 2 else b.x

    jitted = jitcore.jit(f, native=False)
    for turn in range(3):
        for n in range(8):
            batch = Batch(vector(n), path="x" * (n % 3 + turn))
            assert same(jitted(batch, n), f(batch, n))


def test_a_class_pattern_names_attributes():
    def f(b):
        match b:
            case Batch(tag="a"):
                return b.x * 2
            case Batch(tag=other) if other is not None:
                return b.x * 3
        return b.x

    jitted = jitcore.jit(f, native=False)
    for n in range(12):
        batch = Batch(vector(n), tag=["a", "b", None][n // 2 % 3])
        assert same(jitted(batch), f(batch))


def test_no_call_but_the_first_keeps_its_object_alive():
    jitted = jitcore.jit(lambda b: b.x * 2, native=False)
    kept = []
    for n in range(6):
        x = vector(n)
        kept.append(weakref.ref(x))
        jitted(Batch(x, [Batch(x)]))
        del x
    gc.collect()
    assert [reference() for reference in kept] == [None] * 6
