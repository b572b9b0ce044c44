"""Objects of the user's classes as arguments: built anew for each call they are taken apart, as dataclasses are; kept
ones stay themselves."""

import abc
import collections
import dataclasses
import gc
import types
import typing
import weakref

import pytest
from trap_checks import agree, quiet, same, vector

import jitcore
from jitcore import nn


class Batch:
    factor = 2.0

    def __init__(self, x, y=None, **more):
        self.x = x
        self.y = y
        self.__dict__.update(more)

    def scaled(self):
        return self.x * self.factor

    @property
    def size(self):
        return self.x.shape[0]


class Slotted:
    __slots__ = ("_hidden", "x", "y")

    def __init__(self, x, y=None):
        self.x = x
        if y is not None:
            self.y = y


class Both(Slotted):
    __slots__ = ("__dict__", "z")


class Private:
    __slots__ = ("__x",)

    def __init__(self, x):
        self.__x = x

    @property
    def x(self):
        return self.__x


class Table(dict):
    pass


class AttrDict(dict):
    __getattr__ = lambda s, k: s[k]  # noqa: E731
    __setattr__ = dict.__setitem__


class SelfDict(dict):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.__dict__ = self


class User(collections.UserDict):
    def __getattr__(self, name):
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


class Ordered(collections.OrderedDict):
    pass


class Items(list):
    def __iter__(self):
        raise RuntimeError("nobody asked for that")

    def __len__(self):
        raise RuntimeError("nor for that")


class UserItems(collections.UserList):
    pass


class Guarded:
    """Everything that may be told about it, it tells in its own way."""

    def __init__(self, x):
        object.__setattr__(self, "_held", {"x": x})

    def __getattr__(self, name):
        held = object.__getattribute__(self, "_held")
        if name not in held:
            raise KeyError(name)
        return held[name]

    def __setattr__(self, name, value):
        self._held[name] = value

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("no text")

    __str__ = __repr__

    def __len__(self):
        raise RuntimeError("no length")

    def __iter__(self):
        raise RuntimeError("no items")

    def __bool__(self):
        raise RuntimeError("no truth")


class Meta(type):
    store: typing.ClassVar = {}

    def __getattr__(cls, name):
        return cls.store[name]


class OfMeta(metaclass=Meta):
    def __init__(self, x):
        self.x = x


class Abstract(abc.ABC, typing.Generic[typing.TypeVar("T")]):
    def __init__(self, x):
        self.x = x


class Doubled:
    def __get__(self, thing, owner=None):
        return self if thing is None else thing.__dict__["x"] * 2

    def __set__(self, thing, value):
        thing.__dict__["x"] = value


class Described:
    x = Doubled()

    def __init__(self, x):
        self.x = x


def two(make):
    return lambda n: make(vector(n, 2), vector(3, n))


MADE = {
    "ordinary": (lambda b: b.x * 2 + b.y, two(Batch)),
    "method": (lambda b: b.scaled() * b.size, two(Batch)),
    "namespace": (lambda b: b.x * 2 + b.y, two(lambda x, y: types.SimpleNamespace(x=x, y=y))),
    "slots": (lambda b: b.x * 2 + b.y, two(Slotted)),
    "slots and dict": (lambda b: b.x * 2 + b.y, two(Both)),
    "private": (lambda b: b.x * 2, lambda n: Private(vector(n))),
    "dict": (lambda b: b["x"] * 2 + b["y"], two(lambda x, y: Table(x=x, y=y))),
    "keys": (lambda b: sum(b.values()) * len(b), two(lambda x, y: Table(x=x, y=y))),
    "attributes of a dict": (lambda b: b.x * 2 + b.y, two(lambda x, y: AttrDict(x=x, y=y))),
    "dict of itself": (lambda b: b.x * 2 + b["y"], two(lambda x, y: SelfDict(x=x, y=y))),
    "user dict": (lambda b: b["x"] * 2 + b.y, two(lambda x, y: User(x=x, y=y))),
    "ordered dict": (lambda b: b["x"] * 2 + b["y"], two(lambda x, y: Ordered(x=x, y=y))),
    "list": (lambda b: b[0] * 2 + b[1], two(lambda x, y: Items([x, y]))),
    "user list": (lambda b: b[0] * 2 + b[1] * len(b), two(lambda x, y: UserItems([x, y]))),
    "guarded": (lambda b: b.x * 2, lambda n: Guarded(vector(n))),
    "metaclass": (lambda b: b.x * 2, lambda n: OfMeta(vector(n))),
    "abstract": (lambda b: b.x * 2, lambda n: Abstract[int](vector(n))),
    "descriptor": (lambda b: b.x * 2, lambda n: Described(vector(n))),
    "nested": (lambda b: b.x.x * 2 + b.y.y, lambda n: Batch(Batch(vector(n)), Slotted(None, vector(n)))),
    "list inside": (lambda b: b.x[0].x * b.x[1]["k"].x, lambda n: Batch([Batch(vector(n)), {"k": Batch(vector(n))}])),
    "in a list": (lambda bs: bs[0].x + bs[1].x, lambda n: [Batch(vector(n)), Batch(vector(n + 2))]),
    "written in place": (lambda b: b.x.add_(1.0) * 2, lambda n: Batch(vector(n))),
    "asked for": (lambda b: b.x if hasattr(b, "y") and not hasattr(b, "no") else b, lambda n: Batch(vector(n))),
    "by name": (lambda b: getattr(b, "".join(["x"])) * 2, lambda n: Batch(vector(n), name=object())),
    "all": (lambda b: vars(b)["x"] * len(vars(b)), lambda n: Batch(vector(n))),
}


def recordings(jitted):
    return len(jitted._recordings.variants())


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


@dataclasses.dataclass
class Point:
    x: object


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
