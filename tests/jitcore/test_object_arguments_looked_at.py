"""Objects of the user's classes as arguments: no code of theirs is run to look at them; texts, addresses, results and
comparisons."""

import types

import pytest
from object_classes import AttrDict, Batch, Guarded, Table
from recorded import recordings
from trap_checks import agree, quiet, same, vector

import jitcore
from jitcore import nn


def test_modules_and_what_is_used_up_stay_themselves():
    layers = [nn.Linear(2, 2) for _ in range(3)]
    jitted = jitcore.jit(lambda layer, x: layer(x), native=False)
    for n in range(9):
        layer = layers[n % 3]
        assert same(jitted(layer, vector(n, 2)), layer(vector(n, 2)))
    assert recordings(jitted) == 3


def test_texts_and_comparisons_of_the_users_are_never_called():
    class Shy(Guarded):
        def __format__(self, spec):
            raise RuntimeError("no text")

    def f(b, shy):
        return b.x * 2 + shy.x

    jitted = jitcore.jit(f, native=False)
    config = Shy(vector(1))
    for n in range(5):
        for given in (Shy(vector(n)), config):
            assert same(jitted(Shy(vector(n)), given), f(Shy(vector(n)), given))
    jitted.explain()


def test_texts_of_scalars_of_the_users():
    import enum

    class Color(enum.Enum):
        RED = 1
        BLUE = 2

        def __repr__(self):
            raise RuntimeError("no text")

        __str__ = __repr__

    class Rate(float):
        def __repr__(self):
            raise RuntimeError("no text")

        __str__ = __repr__

    global SHADE
    SHADE = Color.RED

    def f(x, color, rate):
        return x * (2 if color is Color.RED else 3) * rate * (2 if SHADE is Color.RED else 5)

    jitted = jitcore.jit(f, native=False)
    for n in range(8):
        SHADE = Color.RED if n < 4 else Color.BLUE
        color = (Color.RED, Color.BLUE)[n % 2]
        assert same(jitted(vector(n), color, Rate(n % 3)), f(vector(n), color, Rate(n % 3)))
    jitted.explain()


def test_results_of_such_classes():
    for function in (lambda x: AttrDict(y=x * 2), lambda x: Table(y=x * 2), lambda x: types.SimpleNamespace(y=x * 2)):
        jitted = jitcore.jit(function, native=False)
        with pytest.warns(jitcore.JitWarning, match="made itself"):
            for n in range(4):
                result = jitted(vector(n))
                found = result["y"] if isinstance(result, dict) else result.y
                assert type(result) is type(function(vector(n))) and same(found, vector(n * 2))


@quiet
def test_addresses_are_those_of_the_call():
    def f(b):
        return b.x * 2, id(b), hash(b), f"{b.x.shape} {b}"

    jitted = jitcore.jit(f, native=False)
    kept = []
    for n in range(6):
        kept.append(Batch(vector(n)))
        assert same(jitted(kept[-1]), f(kept[-1]))


def test_gradients_and_native_code():
    jitted = jitcore.jit(lambda b: (b.x * b.y["w"]).sum())
    w = vector(1, 2, 3).requires_grad_()
    for n in range(6):
        x = vector(n, 1, 2).requires_grad_()
        jitted(Batch(x, Table(w=w))).backward()
        assert same(x.grad, w.detach())
    assert same(w.grad, vector(15, 6, 12)) and recordings(jitted) == 1
    agree(jitted, jitted._function, (Batch(vector(1), Table(w=vector(2))),))


def test_what_is_printed_is_the_calls_own(capsys):
    def f(b, items):
        print(b.name, items[0])
        return b.x * 2

    def of_whole(b, items):
        print(items)
        return b.x * 2

    for function, eager in ((f, False), (of_whole, True)):
        jitted = jitcore.jit(function, native=False)
        shown = []
        for g in (function, jitted):
            for n in range(6):
                if eager and g is jitted and n == 0:
                    with pytest.warns(jitcore.JitWarning, match="print"):
                        g(Batch(vector(n), name="a"), [vector(n), n % 2])
                else:
                    g(Batch(vector(n), name="a"), [vector(n), n % 2])
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1]


def test_what_is_given_back_is_found_by_what_the_call_depends_on():
    jitted = jitcore.jit(lambda a, b, x: (b, a, x * 2), native=False)
    for n in range(8):
        b = Batch(vector(n))
        a = Batch(vector(n), of_no_interest=b if n < 4 else Batch(vector(7)))
        back = jitted(a, b, vector(n))
        assert back[0] is b and back[1] is a and same(back[2], vector(n * 2))
    assert not jitted._eager_calls


@pytest.mark.parametrize("times", [1, 2, 3])
def test_objects_that_serve_a_few_calls_each(times):
    jitted = jitcore.jit(lambda b: b.x * 2, native=False)
    for n in range(10):
        batch = Batch(vector(n))
        for _ in range(times):
            assert same(jitted(batch), vector(n * 2))
    assert recordings(jitted) <= 4 and not jitted._eager_calls


def test_nested_objects_are_compared_with_the_latest_call_first():
    held = Batch(vector(1))
    jitted = jitcore.jit(lambda b, more: b.x.x * 2 + held.x if more is not held else b.x.x, native=False)
    for n in range(6):
        assert same(jitted(Batch(Batch(vector(n))), Batch(None)), vector(n * 2 + 1))
    assert jitted._last is not None
    for n in range(3):
        assert same(jitted(Batch(Batch(vector(n))), held), vector(n))
        assert same(jitted(Batch(held), Batch(None)), vector(3))
        one = Batch(vector(n))
        assert same(jitted(Batch(one), one), vector(n * 2 + 1))


class SlotsAlone(dict):
    __slots__ = ("x",)

    def __init__(self, x):
        super().__init__(x=x)

    def __getattr__(self, name):
        return self[name]


class ItemsAlone(list):
    __slots__ = ()

    def __getattr__(self, name):
        return self[{"x": 0}[name]]


class Alone:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x

    def __getattr__(self, name):
        raise KeyError(name)


@pytest.mark.parametrize("make", [SlotsAlone, lambda x: ItemsAlone([x]), Alone])
@quiet
def test_without_a_dict_any_name_may_be_an_error(make):
    jitted = jitcore.jit(lambda b: b.x * 2, native=False)
    kept = make(vector(7))
    for n in range(6):
        for given in (make(vector(n)), kept):
            assert same(jitted(given), given.x * 2)
    assert recordings(jitted) <= 3


@quiet
def test_an_attribute_that_is_exchanged_where_all_are_looked_at():
    def f(b):
        count = len(vars(b))
        b.x = b.x * 2
        return b.x * count + (1 if hasattr(b, "y") else 0)

    for names in ((), ("y",)):
        jitted = jitcore.jit(f, native=False)
        for n in range(6):
            ours, theirs = (Batch(vector(n, 2), **dict.fromkeys(names, 1)) for _ in range(2))
            assert same(jitted(ours), f(theirs)) and same(ours.x, theirs.x)
