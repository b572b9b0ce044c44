"""Known traps of tracing: functions and methods of jitcore's own that are exchanged between calls, and objects that are
reached by weak references, names in texts, or the class of a class.
"""

import functools
import weakref

import pytest
from trap_checks import jit, quiet, same, seen_alike, vector

import jitcore
import jitcore.nn.functional as F
from jitcore import nn, optim


class Derived(nn.Linear):
    pass


LAYERS = [
    (nn.ReLU(), F, "relu"), (nn.GELU(), F, "gelu"), (nn.Softmax(-1), F, "softmax"), (nn.Linear(2, 2), F, "linear"),
    (nn.LayerNorm(2), F, "layer_norm"), (nn.ReLU(), nn.ReLU, "forward"), (nn.Linear(2, 2), nn.Linear, "forward"),
    (Derived(2, 2), nn.Linear, "forward"), (Derived(2, 2), Derived, "forward"), (nn.ReLU(), nn.Module, "__call__"),
    (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU, "forward"),
    (nn.Sequential(nn.ReLU()), nn.Sequential, "forward"), (nn.BatchNorm1d(2), nn.BatchNorm1d, "forward"),
]  # fmt: skip


@pytest.mark.parametrize("layer, owner, name", LAYERS, ids=lambda x: x if isinstance(x, str) else None)
def test_functions_and_methods_of_layers(layer, owner, name, monkeypatch):
    def f(x):
        return layer(x) * 2

    x = jitcore.arange(-2.0, 2.0).reshape(2, 2)
    jitted = jit(f)
    before = jitted(x), jitted(x)
    assert same(before[1], f(x))

    def other(*arguments, **keywords):
        return next(a for a in arguments if isinstance(a, jitcore.Tensor)) * -7

    monkeypatch.setattr(owner, name, other)
    assert same(jitted(x), f(x)) and same(jitted(x), f(x)) and jitted(x).tolist() != before[0].tolist()
    monkeypatch.undo()
    assert same(jitted(x), f(x))


def test_methods_and_properties_of_tensors(monkeypatch):
    def f(x):
        return x.relu() + x.T

    x = jitcore.arange(-2.0, 2.0).reshape(2, 2)
    jitted = jit(f)
    assert same(jitted(x), f(x)) and same(jitted(x), f(x))
    monkeypatch.setattr(jitcore.Tensor, "relu", lambda self: self * -7)
    assert same(jitted(x), x * -7 + x.T) and same(jitted(x), f(x))
    monkeypatch.setattr(jitcore.Tensor, "T", property(lambda self: self * 2))
    assert same(jitted(x), x * -5) and same(jitted(x), f(x))


def test_the_step_of_an_optimizer(monkeypatch):
    weight = nn.Parameter(vector(1, 2))
    optimizer = optim.SGD([weight], lr=0.5)

    def f(x):
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()
        return weight.detach().clone()

    jitted = jit(f)
    assert [jitted(vector(1, 1)).tolist() for _ in range(3)] == [[0.5, 1.5], [0.0, 1.0], [-0.5, 0.5]]
    monkeypatch.setattr(optim.SGD, "step", lambda self: None)
    assert [jitted(vector(1, 1)).tolist() for _ in range(2)] == [[-0.5, 0.5]] * 2


class Thing:
    def __init__(self):
        self.scale = 2.0
        self.inner = self


class Holder:
    def __init__(self, thing):
        self.thing = weakref.ref(thing)


def _reference(thing):
    made = weakref.ref(thing)
    return lambda x: x * made().scale


def _reference_of_an_object(thing):
    holder = Holder(thing)
    return lambda x: x * holder.thing().scale


def _dict_of_values(thing):
    table = weakref.WeakValueDictionary(thing=thing)
    return lambda x: x * table["thing"].scale


def _dict_of_keys(thing):
    table = weakref.WeakKeyDictionary({thing: [thing]})
    return lambda x: x * table[thing][0].scale


def _bound_getattr(thing):
    read = functools.partial(getattr, thing, "scale")
    return lambda x: x * read()


def _format(thing):
    return lambda x: x * float("{0.scale}".format(thing))  # noqa: UP030, UP032


def _format_further_in(thing):
    return lambda x: x * float("0{thing.inner.scale:>9.3f}".format(thing=thing).replace(" ", "0"))  # noqa: UP032


READS = [
    _reference, _reference_of_an_object, _dict_of_values, _dict_of_keys, _bound_getattr, _format, _format_further_in,
]  # fmt: skip


@pytest.mark.parametrize("make", READS, ids=lambda make: make.__name__.strip("_"))
@quiet
def test_attributes_of_what_no_name_leads_to(make):
    thing = Thing()
    f = make(thing)
    jitted = jit(f)
    for scale in (2.0, 2.0, 3.0, 5.0, 5.0):
        thing.scale = scale
        assert same(jitted(vector(1, 2)), vector(1, 2) * scale)


@quiet
def test_an_object_that_is_gone():
    thing = Holder(Thing())
    reference = weakref.ref(thing)

    def f(x):
        return x * (2 if reference() is None else 3)

    jitted = jit(f)
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[3.0]] * 2
    del thing
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[2.0]] * 2


def test_an_attribute_of_the_class_of_a_class():
    class Meta(type):
        scale = 2

    class Config(metaclass=Meta):
        pass

    jitted = jit(lambda x: x * Config.scale)
    for scale in (2, 2, 3, 3):
        Meta.scale = scale
        assert same(jitted(vector(1, 2)), vector(1, 2) * scale)


def exchanged_on_one_object(f, thing, name, other):
    jitted = jit(f)
    x = jitcore.arange(-2.0, 2.0).reshape(2, 2)
    for _ in range(3):
        assert same(jitted(x), f(x))
    setattr(thing, name, other)
    for _ in range(2):
        assert same(jitted(x), f(x))
    delattr(thing, name)
    assert same(jitted(x), f(x))


@pytest.mark.parametrize("name", ["step", "zero_grad"])
def test_methods_of_one_optimizer(name):
    weight = nn.Parameter(vector(1, 2))
    optimizer = optim.SGD([weight], lr=0.5)

    def f(x):
        with jitcore.no_grad():
            weight.fill_(1)
        weight.grad = jitcore.ones(2)
        optimizer.step()
        optimizer.zero_grad()
        return weight.detach().clone(), weight.grad is None

    exchanged_on_one_object(f, optimizer, name, lambda *arguments: None)


def test_methods_of_one_layer():
    layer = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    exchanged_on_one_object(lambda x: layer(x) * 2, layer[1], "forward", lambda x: x * -7)
    exchanged_on_one_object(lambda x: layer(x) * 2, layer, "forward", lambda x: x * -7)


def test_methods_of_one_scaler():
    scaler = jitcore.amp.GradScaler("cpu", init_scale=4.0)
    exchanged_on_one_object(lambda x: scaler.scale(x.sum()), scaler, "scale", lambda x: x * -7)


def test_numbers_in_an_optimizers_state():
    weight = nn.Parameter(vector(1, 2))
    optimizer = optim.Adam([weight], lr=0.5)
    weight.grad = vector(1, 1)
    optimizer.step()
    jitted = jit(lambda x: x * optimizer.state[weight]["foo"])
    for n in (3, 3, 5, 5):
        optimizer.state[weight]["foo"] = n
        assert same(jitted(vector(1, 2)), vector(1, 2) * n)


def test_a_backward_function_that_changes_state_runs_once_for_each_backward():
    def program(wrap):
        count, log = [0], []

        class Counting(jitcore.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                count[0] += 1
                log.append(count[0])
                return g * count[0]

        f = wrap(lambda x: Counting.apply(x).sum())
        for _ in range(4):
            x = vector(1, 2).requires_grad_()
            f(x).backward()
            yield x.grad, list(count), list(log)

    assert seen_alike(program)


def test_what_a_captured_tensor_says_of_itself():
    def program(wrap):
        layer = nn.Linear(3, 3)
        asks = [
            lambda x: x * sum(p.numel() for p in layer.parameters() if p.requires_grad),
            lambda x: x.to(layer.weight.dtype) * 2,
            lambda x: x * layer.weight.shape[0],
            lambda x: x * layer.weight.numel(),
        ]
        jitted = [wrap(f) for f in asks]
        changes = [
            lambda: None, lambda: None, lambda: layer.weight.requires_grad_(False), lambda: layer.double(),
            lambda: setattr(layer.weight, "data", jitcore.ones(9, 3)), lambda: layer.weight.requires_grad_(True),
        ]  # fmt: skip
        for change in changes:
            change()
            yield [f(vector(1)) for f in jitted]

    assert seen_alike(program)


@quiet
def test_a_function_that_changes_requires_grad():
    def program(wrap):
        w = vector(1).requires_grad_()
        f = wrap(lambda: w.requires_grad_(not w.requires_grad) * 2)
        for _ in range(4):
            yield f().requires_grad, w.requires_grad

    assert seen_alike(program)
