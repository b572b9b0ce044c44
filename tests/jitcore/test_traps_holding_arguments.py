"""Known traps of tracing: arguments that objects hold. One that the run makes itself is as good as a local variable;
one from outside is another way to the tensor, which a later call may not have."""

import collections
import functools
import types

import pytest
from trap_checks import agree, jit, vector


class Holder:
    factor = 2.0

    def __init__(self, x):
        self.x = x

    def times(self):
        return self.x * self.factor


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x

    def times(self):
        return self.x * 2


class Outer:
    def __init__(self, x):
        self.inner = Holder(x)
        self.parts = (x, [x, {"x": x}])

    def times(self):
        return self.inner.times() + self.parts[0] + self.parts[1][1]["x"]


class Child(Holder):
    def __init__(self, x):
        super().__init__(x)
        self.me = self  # a cycle

    def times(self):
        return super().times() + self.me.x


class Table(dict):
    def times(self):
        return self["x"] * 2


class Items(list):
    def times(self):
        return self[0] * len(self)


class Pair(collections.namedtuple("Pair", "x y")):
    def times(self):
        return self.x * self.y


class Called:
    def __init__(self, x):
        self.x = x

    def __call__(self, y):
        return self.x * y

    def __getitem__(self, n):
        return self.x[n]


def by_closure(x):
    def times(factor):
        return x * factor

    return times(2.0)


def by_default(x):
    def times(factor, given=x):
        return given * factor

    return times(2.0)


def by_namespace(x):
    space = types.SimpleNamespace(x=x)
    return (lambda s: s.x * 2)(space)


def by_class(x):
    class Local:
        held = x

        def times(self):
            return self.held * 2

    return Local().times()


def times(held):
    return held.times()


MADE = {
    "object": lambda x: Holder(x).times(),
    "object in a function": lambda x: times(Holder(x)),
    "slots": lambda x: Slotted(x).times(),
    "nested": lambda x: Outer(x).times(),
    "inherited": lambda x: Child(x).times(),
    "dict": lambda x: Table(x=x).times(),
    "list": lambda x: Items([x, x]).times(),
    "named tuple": lambda x: Pair(x, x + 1).times(),
    "called": lambda x: Called(x)(x) + Called(x)[0],
    "partial": lambda x: functools.partial(times, Holder(x))(),
    "method": lambda x: (lambda m: m())(Holder(x).times),
    "several": lambda x: sum(held.times() for held in [Holder(x), Slotted(x), Holder(x + 1)]),
    "closure": by_closure,
    "default": by_default,
    "namespace": by_namespace,
    "class": by_class,
}


@pytest.mark.parametrize("name", MADE)
def test_objects_that_the_run_makes_cause_no_retrace(name):
    jitted = jit(MADE[name])
    agree(jitted, MADE[name], *((vector(n, n + 1),) for n in range(1, 6)))
    if name != "class":  # classes of the run's own are not told from others
        assert len(jitted._recordings.variants()) == 1 and not jitted._eager_calls


FIRST = vector(1, 2)
KEPT = Holder(FIRST)
TUPLE = (FIRST, (FIRST,))
OUTER = Outer(FIRST)
TABLE = Table(x=FIRST)


def held_by_default(x, given=FIRST):
    return x * 2 + given


OUTSIDE = {
    "object": lambda x: Holder(x).times() + KEPT.times(),
    "object in an object": lambda x: Holder(x).times() + Holder(KEPT).x.times(),
    "tuple": lambda x: Holder(x).times() + TUPLE[1][0],
    "tuple in an object": lambda x: Holder(x).times() + Holder(TUPLE).x[0],
    "nested": lambda x: Outer(x).times() + OUTER.times(),
    "dict": lambda x: Table(x=x).times() + TABLE.times(),
    "default": lambda x: Holder(x).times() + held_by_default(x),
    "global": lambda x: Holder(x).times() + FIRST,
    "same object": lambda x: Holder(x).times() if Holder(x).x is KEPT.x else Holder(x).times() + 1,
}


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("first", [False, True], ids=["another first", "the same first"])
def test_objects_from_outside_hold_what_they_hold(name, first):
    function = OUTSIDE[name]
    jitted = jit(function)
    calls = [(FIRST,), (FIRST,), (vector(3, 4),), (vector(5, 6),), (FIRST,), (vector(7, 8),)]
    for arguments in calls if first else calls[2:]:
        expected = function(*arguments)
        assert jitted(*arguments).tolist() == expected.tolist()
