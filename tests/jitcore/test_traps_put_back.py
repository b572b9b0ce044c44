"""State that a function changes and puts back, as `functional_call` does: it is as eagerly, and stays compiled."""

import contextlib
import functools
import typing

import pytest
from trap_checks import quiet, seen_alike, vector

import jitcore
from jitcore import nn, ones


def layer(*values):
    made = nn.Linear(2, 1, bias=False)
    with jitcore.no_grad():
        made.weight.copy_(vector(*values).reshape(1, 2))
    return made


def parameters_by_functional_call(wrap):
    module, given = layer(1, 2), {"weight": vector(3, 4).reshape(1, 2)}
    f = wrap(lambda x: jitcore.func.functional_call(module, given, (x,)))
    yield f(ones(2)), f(ones(2)), f(ones(2))
    given["weight"] = vector(5, 6).reshape(1, 2)
    yield f(ones(2)), f(ones(2)), module(ones(2))
    module.forward = lambda x: x * 7
    yield f(ones(2)), f(ones(2))


def gradients_of_a_functional_call(wrap):
    module = layer(1, 2)
    loss = lambda p, x: jitcore.func.functional_call(module, p, (x,)).square().sum()  # noqa: E731
    f = wrap(lambda p, x: jitcore.func.grad(loss)(p, x))
    for turn in range(4):
        yield f({"weight": vector(turn, 2).reshape(1, 2)}, ones(2))["weight"], module.weight


def evaluation_inside_of_training(wrap):
    module = nn.Sequential(nn.Dropout(0.5), layer(1, 2))

    def f(x):
        was = module.training
        module.eval()
        y = module(x)
        module.train(was)
        return y, module(x).shape

    f = wrap(f)
    for mode in (True, True, True, False, False, True):
        module.train(mode)
        yield f(ones(2)), module.training, module[0].training


def a_method_exchanged_for_a_while(wrap):
    module = layer(1, 2)
    factor = [2]

    @contextlib.contextmanager
    def scaled():
        before = module.forward
        module.forward = lambda x: before(x) * factor[0]
        try:
            yield
        finally:
            module.forward = before

    def f(x):
        with scaled():
            return module(x)

    f = wrap(f)
    yield [f(ones(2)).tolist() for _ in range(4)]
    factor[0] = 5
    yield [f(ones(2)).tolist() for _ in range(2)], module(ones(2))


def an_attribute_and_a_global(wrap):
    class Config:
        level = 1

    config = Config()

    def f(x):
        before, config.level = config.level, 10
        y = x * config.level
        config.level = before
        return y + config.level

    f = wrap(f)
    yield [f(ones(2)) for _ in range(4)], config.level, vars(config)
    config.level = 3
    yield [f(ones(2)) for _ in range(2)], config.level


def frozen_for_a_while(wrap):
    module = layer(1, 2)

    def f(x):
        module.weight.requires_grad_(False)
        y = module(x)
        module.weight.requires_grad_(True)
        return y + module(x).detach()

    f = wrap(f)
    for turn in range(4):
        yield f(ones(2) * turn), module.weight.requires_grad


def weights_loaded_inside(wrap):
    source, target = layer(1, 2), layer(3, 4)

    def f(x):
        target.load_state_dict(source.state_dict())
        return target(x)

    f = wrap(f)
    for turn in range(4):
        with jitcore.no_grad():
            source.weight.fill_(turn)
        yield f(ones(2)), target.weight


def dispatch_by_class(wrap):
    @functools.singledispatch
    def scale(value, x):
        return x * 2

    f = wrap(lambda x: scale(3, x) + scale("a", x))
    yield [f(ones(2)) for _ in range(4)]
    scale.register(int, lambda value, x: x * value)
    yield [f(ones(2)) for _ in range(2)]


PROGRAMS = [
    parameters_by_functional_call, gradients_of_a_functional_call, evaluation_inside_of_training,
    a_method_exchanged_for_a_while, an_attribute_and_a_global, frozen_for_a_while, weights_loaded_inside,
    dispatch_by_class,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
@quiet
def test_what_is_put_back(program, ran):
    assert seen_alike(program)
    assert len(ran) >= 2


def not_put_back(wrap):
    module = layer(1, 2)

    def f(x):
        module.eval()
        return module(x)

    f = wrap(f)
    for _ in range(4):
        module.train()
        yield f(ones(2)), module.training


def put_back_the_first_time_only(wrap):
    module = layer(1, 2)
    keep = [False]

    def f(x):
        module.scale = 3.0
        y = x * module.scale
        if not keep[0]:
            del module.scale
        return y

    f = wrap(f)
    for turn in range(6):
        keep[0] = turn > 3
        yield f(ones(2)), hasattr(module, "scale")


@typing.runtime_checkable
class Scaling(typing.Protocol):
    def scale(self): ...


def members_of_a_protocol(wrap):
    class Thing:
        pass

    thing = Thing()
    f = wrap(lambda x: x * 5 if isinstance(thing, Scaling) else x)
    yield f(ones(1)), f(ones(1))
    thing.scale = lambda: 1
    yield f(ones(1)), f(ones(1))


def subclasses_and_names(wrap):
    class Base:
        pass

    class First(Base):
        pass

    class Numbers(tuple):
        pass

    first, numbers = First(), Numbers((1, 2))
    numbers.factor = 2.0
    f = wrap(lambda x: x * len(Base.__subclasses__()) + len(dir(first)) + numbers.factor)
    yield f(ones(1)), f(ones(1))
    first.more = 1
    yield f(ones(1)), f(ones(1))
    numbers.factor = 3.0
    yield f(ones(1)), f(ones(1))
    second = type("Second", (Base,), {})
    yield f(ones(1)), f(ones(1)), second.__name__


@pytest.mark.parametrize(
    "program", [not_put_back, put_back_the_first_time_only, members_of_a_protocol, subclasses_and_names]
)
@quiet
def test_what_changes_otherwise(program):
    assert seen_alike(program)
