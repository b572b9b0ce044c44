"""Known traps of tracing, one test each: Python state that the function depends on.

Every call gives the right answer or a clear error.
"""

import dataclasses
import enum
import functools
import os
import random
import sys
import time
import types
import warnings

import numpy as np
import pytest
from trap_checks import Scaler, agree, jit, same, vector

import jitcore
from jitcore import nn

FACTOR = 2.0
TABLE = {"a": 1.0}


def test_captured_constant_changed_later():
    scale = 2

    def f(x):
        return x * scale

    jitted = jit(f)
    for value in (2, 3, 2, 2.5, True):
        scale = value
        agree(jitted, f, (vector(1, 2),), (vector(3, 4),))


def test_global_number_and_dict_changed_later(monkeypatch):
    def f(x):
        return x * FACTOR + TABLE["a"]

    jitted = jit(f)
    for factor, entry in ((2.0, 1.0), (3.0, 1.0), (3.0, 5.0), (2.0, 1.0)):
        monkeypatch.setitem(globals(), "FACTOR", factor)
        monkeypatch.setitem(TABLE, "a", entry)
        agree(jitted, f, (vector(1),), (vector(2),))


def test_global_of_another_module():
    settings = types.ModuleType("conformance_settings")
    settings.rate = 0.5
    exec("def scaled(x):\n    return x * rate", settings.__dict__)
    sys.modules["conformance_settings"] = settings
    try:

        def f(x):
            return settings.scaled(x) + settings.rate

        jitted = jit(f)
        for rate in (0.5, 0.25, 0.5):
            settings.rate = rate
            agree(jitted, f, (vector(1, 2),), (vector(1, 2),))
    finally:
        del sys.modules["conformance_settings"]


def test_hot_swapped_global_function(monkeypatch):
    def f(x):
        return _helper(x) + 1

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    monkeypatch.setitem(globals(), "_helper", lambda x: x * 100)
    agree(jitted, f, (vector(1),), (vector(1),))


def _helper(x):
    return x * 10


def test_function_whose_code_is_replaced():
    def helper(x):
        return x * 2

    def other(x):
        return x * 7

    def f(x):
        return helper(x)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    helper.__code__ = other.__code__
    agree(jitted, f, (vector(1),))


def test_default_arguments_changed_later():
    def helper(x, by=2, *, plus=1):
        return x * by + plus

    def f(x):
        return helper(x)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    helper.__defaults__ = (5,)
    agree(jitted, f, (vector(1),))
    helper.__kwdefaults__ = {"plus": 7}
    agree(jitted, f, (vector(1),))


def test_default_arguments_of_the_function_itself_changed_later():
    def f(x, by=2):
        return x * by

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    f.__defaults__ = (5,)
    agree(jitted, f, (vector(1),))


def test_mutable_default_argument():
    def f(x, shifts=[1.0]):  # noqa: B006
        return x + shifts[0]

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    f.__defaults__[0][0] = 9.0
    agree(jitted, f, (vector(1),))


def test_instance_attribute_changed_later():
    scaler = Scaler(1)
    jitted = jit(scaler.run)
    for plus in (1, 5, 1, 1.5):
        scaler.plus = plus
        agree(jitted, scaler.run, (vector(1),), (vector(2),))


def test_class_attribute_changed_later_and_shadowed_by_an_instance(monkeypatch):
    scaler = Scaler(0)
    jitted = jit(scaler.run)
    agree(jitted, scaler.run, (vector(1),), (vector(1),))
    monkeypatch.setattr(Scaler, "by", 5.0)
    agree(jitted, scaler.run, (vector(1),), (vector(1),))
    scaler.by = 7.0
    agree(jitted, scaler.run, (vector(1),), (vector(1),))
    del scaler.by
    agree(jitted, scaler.run, (vector(1),))


def test_tensor_as_a_class_attribute_replaced(monkeypatch):
    class Holder:
        table = vector(1, 2)

        def run(self, x):
            return x + self.table

    holder = Holder()
    jitted = jit(holder.run)
    agree(jitted, holder.run, (vector(1, 1),), (vector(1, 1),))
    Holder.table = vector(5, 6)
    agree(jitted, holder.run, (vector(1, 1),), (vector(1, 1),))


def test_monkeypatched_method(monkeypatch):
    scaler = Scaler(0)

    def f(x):
        return scaler.run(x) + scaler(x)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    monkeypatch.setattr(Scaler, "run", lambda self, x: x * 1000)
    agree(jitted, f, (vector(1),), (vector(1),))
    scaler.run = lambda x: x * 50
    agree(jitted, f, (vector(1),), (vector(1),))


def test_monkeypatched_forward_of_a_module():
    class Layer(nn.Module):
        def forward(self, x):
            return x * 2

    layer = Layer()
    for jitted in (jit(layer), jit(lambda x: layer(x))):
        agree(jitted, layer, (vector(1),), (vector(1),))
    Layer.forward = lambda self, x: x * 3
    agree(jitted, layer, (vector(1),), (vector(1),))
    agree(jit(layer), layer, (vector(1),))
    layer.forward = lambda x: x * 4
    agree(jitted, layer, (vector(1),), (vector(1),))


def test_class_of_an_object_changed_later():
    class Fast(Scaler):
        def run(self, x):
            return x * -1

    scaler = Scaler(0)

    def f(x):
        return scaler.run(x)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    scaler.__class__ = Fast
    agree(jitted, f, (vector(1),))


def test_two_instances_of_one_class_share_code():
    two, three = Scaler(2), Scaler(3)
    jitted = jit(lambda scaler, x: scaler.run(x))
    for _ in range(3):
        assert jitted(two, vector(1)).item() == 4 and jitted(three, vector(1)).item() == 5

    class Layer(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.weight = nn.Parameter(vector(by))

        @functools.partial(jitcore.jit, native=False)
        def forward(self, x):
            return x * self.weight

    a, b = Layer(4), Layer(5)
    for _ in range(3):
        assert a(vector(1)).item() == 4 and b(vector(1)).item() == 5


def test_enum_and_dataclass_configuration():
    class Mode(enum.Enum):
        ADD = 1
        MULTIPLY = 2

    @dataclasses.dataclass
    class Config:
        mode: Mode
        amount: float

    config = Config(Mode.ADD, 2.0)

    def f(x):
        return x + config.amount if config.mode is Mode.ADD else x * config.amount

    def g(given, x):
        return x + given.amount if given.mode is Mode.ADD else x * given.amount

    jitted, taking = jit(f), jit(g)
    for mode, amount in ((Mode.ADD, 2.0), (Mode.MULTIPLY, 2.0), (Mode.MULTIPLY, 3.0), (Mode.ADD, 2.0)):
        config.mode, config.amount = mode, amount
        agree(jitted, f, (vector(5),), (vector(6),))
        agree(taking, g, (Config(mode, amount), vector(5)), (Config(mode, amount), vector(6)))


def test_frozen_and_nested_configuration_replaced():
    @dataclasses.dataclass(frozen=True)
    class Inner:
        power: int = 2

    class Outer:
        inner = Inner()
        names = ("a", "b")

    def f(x):
        return x**Outer.inner.power * len(Outer.names)

    jitted = jit(f)
    agree(jitted, f, (vector(3),), (vector(3),))
    Outer.inner = Inner(3)
    agree(jitted, f, (vector(3),), (vector(3),))
    Outer.names = ("a",)
    agree(jitted, f, (vector(3),))


def test_property_and_descriptor():
    class Doubling:
        def __get__(self, instance, owner):
            return instance.amount * 2

    class Layer(nn.Module):
        doubled = Doubling()

        def __init__(self):
            super().__init__()
            self.amount = 1.0

        @property
        def scale(self):
            return self.amount + 1

        def forward(self, x):
            return x * self.scale + self.doubled

    layer = Layer()
    jitted = jit(layer)
    for amount in (1.0, 4.0, 1.0):
        layer.amount = amount
        agree(jitted, layer, (vector(1, 2),), (vector(1, 2),))


def test_getattr_hook_and_getattr_by_name():
    class Lazy:
        def __init__(self):
            self.store = {"gain": 2.0}

        def __getattr__(self, name):
            return self.__dict__["store"][name]

    lazy = Lazy()
    which = "gain"

    def f(x):
        return x * getattr(lazy, which)

    jitted = jit(f)
    for gain in (2.0, 3.0):
        lazy.store["gain"] = gain
        agree(jitted, f, (vector(1),), (vector(1),))
    lazy.store["other"], which = 11.0, "other"
    agree(jitted, f, (vector(1),), (vector(1),))


def test_slots_and_private_attributes():
    class Pair:
        __slots__ = ("__hidden", "_by")

        def __init__(self):
            self._by, self.__hidden = 2.0, 1.0

        def set(self, hidden):
            self.__hidden = hidden

        def run(self, x):
            return x * self._by + self.__hidden

    pair = Pair()
    jitted = jit(pair.run)
    agree(jitted, pair.run, (vector(1),), (vector(1),))
    pair._by = 3.0
    agree(jitted, pair.run, (vector(1),))
    pair.set(9.0)
    agree(jitted, pair.run, (vector(1),))


def test_nonlocal_of_a_closure_that_counts():
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return x + count

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        assert [jitted(vector(0)).item() for _ in range(6)] == [1, 2, 3, 4, 5, 6]


def test_list_appended_inside():
    seen = []

    def f(x):
        seen.append(x * 2)
        return sum(seen)

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        assert [jitted(vector(1)).item() for _ in range(5)] == [2, 4, 6, 8, 10]


def test_attribute_that_the_function_itself_changes():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = 0
            self.last = vector(0)

        def forward(self, x):
            self.steps += 1
            previous, self.last = self.last, x * 2
            return previous + self.steps

    ours, theirs = Counter(), Counter()
    jitted = jit(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in range(6):
            agree(jitted, theirs, (vector(n),))
    assert ours.steps == theirs.steps == 6


def test_dict_of_tensors_mutated():
    table = {"a": vector(1), "b": vector(2)}

    def f(x):
        return x + sum(value * n for n, value in enumerate(table.values(), 1)) + table["a"]

    jitted = jit(f)
    agree(jitted, f, (vector(0),), (vector(0),))
    table["c"] = vector(10)
    agree(jitted, f, (vector(0),), (vector(0),))
    table["a"] = vector(7)
    agree(jitted, f, (vector(0),), (vector(0),))
    del table["b"]
    agree(jitted, f, (vector(0),), (vector(0),))
    table["a"] = table.pop("a")  # another order
    agree(jitted, f, (vector(0),))


def test_list_of_tensors_mutated_and_reordered():
    items = [vector(1), vector(2)]

    def f(x):
        return x + sum(item * n for n, item in enumerate(items, 1))

    jitted = jit(f)
    agree(jitted, f, (vector(0),), (vector(0),))
    items.append(vector(10))
    agree(jitted, f, (vector(0),), (vector(0),))
    items.reverse()
    agree(jitted, f, (vector(0),), (vector(0),))
    items[1] = vector(-1)
    agree(jitted, f, (vector(0),))
    items[0].add_(5)
    agree(jitted, f, (vector(0),))


def test_set_and_deque_changed_later():
    from collections import deque

    allowed, window = {1, 2}, deque([1.0, 2.0])

    def f(x):
        return x * (2 if 3 in allowed else 1) + sum(window)

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        agree(jitted, f, (vector(1),), (vector(1),))
        allowed.add(3)
        agree(jitted, f, (vector(1),), (vector(1),))
        window.append(7.0)
        agree(jitted, f, (vector(1),))


def test_numpy_array_changed_in_place_later():
    offsets = np.array([1.0, 2.0], np.float32)

    def f(x):
        return x + jitcore.tensor(offsets) * float(offsets[0])

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        agree(jitted, f, (vector(0, 0),), (vector(0, 0),))
        offsets[0] = 9
        agree(jitted, f, (vector(0, 0),), (vector(0, 0),))


def test_environment_variable_changed_later(monkeypatch):
    def f(x):
        return x * float(os.environ.get("CONFORMANCE_SCALE", "1"))

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for value in ("2", "3", "2"):
            monkeypatch.setenv("CONFORMANCE_SCALE", value)
            agree(jitted, f, (vector(1),), (vector(1),))


@pytest.mark.parametrize("draw", [random.random, np.random.rand, time.perf_counter, lambda: time.time_ns() % 1e6])
def test_random_numbers_and_clocks_of_other_libraries_differ_each_call(draw):
    def f(x):
        return x + draw()

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        assert len({jitted(jitcore.zeros(1, dtype=jitcore.float64)).item() for _ in range(5)}) == 5


LAYERS = {
    "Dropout": (lambda: nn.Dropout(0.25), "p", 1.0),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.5), "negative_slope", 0.25),
    "Softplus": (nn.Softplus, "beta", 3.0),
    "Hardtanh": (nn.Hardtanh, "max_val", 0.5),
    "Softmax": (lambda: nn.Softmax(dim=0), "dim", 1),
    "Flatten": (nn.Flatten, "start_dim", 0),
    "AvgPool1d": (lambda: nn.AvgPool1d(2, 1), "stride", (2,)),
    "MSELoss": (nn.MSELoss, "reduction", "sum"),
    "HuberLoss": (nn.HuberLoss, "delta", 0.25),
    "LayerNorm": (lambda: nn.LayerNorm(4), "eps", 1.0),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), "scale_factor", 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_of_a_layer_changed_later(name):
    make, attribute, value = LAYERS[name]
    layer = make()
    x = (jitcore.arange(8.0) - 3).reshape(1, 2, 4)
    inputs = (x, x * 0.5) if name.endswith("Loss") else (x,)
    jitted = jit(lambda *inputs: layer(*inputs))
    for number in range(3):
        if number == 1:
            before = layer(*inputs)
            setattr(layer, attribute, value)
            assert not (before.shape == layer(*inputs).shape and jitcore.equal(before, layer(*inputs)))
        for _ in range(2):
            jitcore.manual_seed(3)
            expected = layer(*inputs)
            jitcore.manual_seed(3)
            assert same(jitted(*inputs), expected)


@dataclasses.dataclass
class Block:
    kernel: int
    scale: float = 1.0


class Pair:
    __match_args__ = ("first", "second")

    def __init__(self, first, second):
        self.first, self.second = first, second


@pytest.mark.parametrize("name, value", [("kernel", 5), ("scale", 7.0), ("first", 3), ("second", 4)])
def test_attributes_that_a_class_pattern_names(name, value):
    block, pair = Block(2), Pair(1, 2)

    def f(x):
        match block:
            case Block(kernel=2, scale=s):
                x = x * s
            case Block(k, s):
                x = x * s + k
        match pair:
            case Pair(first, second=2):
                return x + first
            case Pair(first, second):
                return x + first * 10 + second

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(2),))
    setattr(block if name in vars(block) else pair, name, value)
    agree(jitted, f, (vector(1),), (vector(2),))
