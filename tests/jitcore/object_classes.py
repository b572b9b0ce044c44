"""Classes of the user's for tests of objects as arguments, and one way to make an object of each."""

import abc
import collections
import dataclasses
import types
import typing

from trap_checks import vector


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


@dataclasses.dataclass
class Point:
    x: object


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
