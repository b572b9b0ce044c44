"""Objects of the user's classes as arguments: what functions set on them and give back, and which of them are one."""

import collections
import types

import pytest
from object_classes import AttrDict, Batch, Described, Guarded, Items, Point, SelfDict, Slotted, Table, User, two
from trap_checks import quiet, same, vector

import jitcore


def attributes_set(b):
    b.seen = True
    return b.x * 2


def attribute_set(b):
    b.x = b.x * 2
    return b.x + 1


def attribute_deleted(b):
    del b.y
    return b.x + 1


def set_by_name(b):
    setattr(b, "".join("x"), b.x * 2)
    return b.x + 1


def set_in_dict(b):
    b.__dict__["x"] = b.x * 2
    return b.x + 1


def item_set(b):
    b["x"] = b["x"] * 2
    return b["x"] + 1


def item_popped(b):
    return b.pop("y") + b["x"]


def counted(b):
    b.count = getattr(b, "count", 0) + 1
    return b.x * b.count


def inner_set(b):
    b.x.y = b.x.x + 1
    return b.x.y * 2


def appended(b):
    b.y.append(b.x + 1)
    return b.y[-1] * 2


WRITES = {
    "new": (attributes_set, two(Batch)),
    "new of a namespace": (attributes_set, two(lambda x, y: types.SimpleNamespace(x=x, y=y))),
    "exchanged": (attribute_set, two(Batch)),
    "slot": (attribute_set, two(Slotted)),
    "deleted": (attribute_deleted, two(Batch)),
    "slot deleted": (attribute_deleted, two(Slotted)),
    "by name": (set_by_name, two(Batch)),
    "in the dict": (set_in_dict, two(Batch)),
    "item": (item_set, two(lambda x, y: Table(x=x, y=y))),
    "item of a user dict": (item_set, two(lambda x, y: User(x=x, y=y))),
    "popped": (item_popped, two(lambda x, y: Table(x=x, y=y))),
    "attribute of a dict": (attribute_set, two(lambda x, y: AttrDict(x=x, y=y))),
    "attribute of a dict of itself": (attribute_set, two(lambda x, y: SelfDict(x=x, y=y))),
    "guarded": (attribute_set, lambda n: Guarded(vector(n))),
    "counted": (counted, two(Batch)),
    "nested": (inner_set, lambda n: Batch(Batch(vector(n)))),
    "list": (appended, lambda n: Batch(vector(n), [])),
    "descriptor": (attribute_set, lambda n: Described(vector(n))),
}


def contents(thing):
    if isinstance(thing, Guarded):
        return thing._held
    if isinstance(thing, collections.UserDict):
        return thing.data
    if isinstance(thing, SelfDict):
        return dict(thing)
    slots = [n for cls in type(thing).__mro__ for n in cls.__dict__.get("__slots__", ()) if hasattr(thing, n)]
    own = {n: getattr(thing, n) for n in slots} | getattr(thing, "__dict__", {})
    own = {n: contents(v) if isinstance(v, Batch) else v for n, v in own.items()}
    return own | (dict(thing) if isinstance(thing, dict) else {})


@pytest.mark.parametrize("name", WRITES)
@quiet
def test_what_is_set_on_an_argument_is_set(name):
    function, make = WRITES[name]
    jitted = jitcore.jit(function, native=False)
    kept = make(9), make(9)
    for n in range(8):
        ours, theirs = (make(n), make(n)) if n % 4 < 3 or name in ("deleted", "slot deleted", "popped") else kept
        assert same(jitted(ours), function(theirs))
        assert same(contents(ours), contents(theirs))


DEFAULTS = Batch(vector(1))


HOLDER = {"options": Batch(vector(1))}


@pytest.mark.parametrize("order", [(0, 0, 0, 1, 0, 1), (1, 0, 0, 0, 1, 1, 0), (1, 1, 0, 0, 0, 1), (0, 1, 0, 1, 0, 1)])
@pytest.mark.parametrize(
    "f, held",
    [
        (lambda x, o: x * (2 if o is DEFAULTS else 3), DEFAULTS),
        (lambda x, o: x * (2 if o is HOLDER["options"] else 3), HOLDER["options"]),
    ],
)
@quiet
def test_one_that_the_function_reaches_otherwise(f, held, order):
    jitted = jitcore.jit(f, native=False)
    for _ in range(2):
        for is_held in order:
            options = held if is_held else Batch(vector(1))
            assert same(jitted(vector(1, 2), options), f(vector(1, 2), options))


@pytest.mark.parametrize("make", [Batch, Slotted, lambda x: Table(x=x), lambda x: Items([x])])
@pytest.mark.parametrize("order", ["bbtbt", "tttbb", "bbbtt", "tbtbtb"])
@quiet
def test_one_object_twice_is_not_two_alike(make, order):
    def f(a, b):
        return vector(1, 2) * (2 if a is b else 3)

    jitted = jitcore.jit(f, native=False)
    for kind in order * 2:
        one = make(vector(1))
        pair = (one, one) if kind == "t" else (one, make(vector(1)))
        assert same(jitted(*pair), f(*pair))


def test_what_two_objects_have_in_common():
    def f(a, b):
        return a.x * (2 if a.x is b.x else 3) + (1 if a.y is b.y else 0)

    jitted = jitcore.jit(f, native=False)
    for n in range(8):
        x, y = vector(n), [n % 3 == 0]
        for other, more in ((x, y), (vector(n), y), (x, list(y)), (vector(n), list(y))):
            assert same(jitted(Batch(x, y), Batch(other, more)), f(Batch(x, y), Batch(other, more)))


def test_an_argument_that_is_given_back():
    for make in (Batch, lambda x: types.SimpleNamespace(x=x), lambda x: Table(x=x), Point, lambda x: Items([x])):
        jitted = jitcore.jit(lambda b, x: (b, x * 2), native=False)
        for n in range(6):
            given = make(vector(n))
            back, y = jitted(given, vector(n))
            assert back is given and same(y, vector(n * 2))
        inner = jitcore.jit(lambda b, x: (b.x, x * 2), native=False)
        for n in range(6):
            given = make(vector(n))
            back, y = inner(Batch(given), vector(n))
            assert back is given and same(y, vector(n * 2))
        assert not jitted._eager_calls and not inner._eager_calls
