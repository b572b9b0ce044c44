"""Lists, dicts and objects that stand in several places of a result are one object in every call, as eagerly."""

from dataclasses import dataclass

import pytest

import jitcore


@dataclass
class Config:
    names: list


@dataclass
class Output:
    x: jitcore.Tensor
    parts: list


def twice(x):
    parts = [x + 1, x.sum().item()]
    return parts, parts


def nested(x):
    inner = {"a": x * 2}
    return [inner, (inner, [inner])], inner


def in_an_object(x):
    parts = [x + 1]
    output = Output(x * 2, parts)
    return output, parts, [output]


CONFIG = Config(["a", "b"])


def with_a_constant(x):
    return CONFIG, CONFIG.names, x + 1, [x - 1]


def empty(x):
    nothing = []
    return nothing, x + 1, nothing


def identities(tree, found):
    """Which of the lists, dicts and objects of a tree are one, by order."""
    if isinstance(tree, list | dict | Config | Output):
        found.append(id(tree))
    if isinstance(tree, Config | Output):
        tree = list(vars(tree).values())
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ():
        identities(part, found)
    return [found.index(one) for one in found]


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize("function", [twice, nested, in_an_object, empty])
def test_one_object_stays_one(function, native):
    jitted = jitcore.jit(function, native=native)
    kept = []
    for seed in range(5):
        x = jitcore.arange(3.0) + seed
        result, expected = jitted(x), function(x)
        assert identities(result, []) == identities(expected, [])
        assert str(result) == str(expected)
        assert all(result[0] is not earlier[0] for earlier in kept)
        kept.append(result)


def test_a_constant_object_beside_one_that_is_made():
    jitted = jitcore.jit(with_a_constant)
    for seed in range(4):
        config, names, y, z = jitted(jitcore.arange(3.0) + seed)
        assert config is CONFIG and names is CONFIG.names and y.tolist()[0] == seed + 1 and z[0].tolist()[0] == seed - 1


def test_a_change_to_one_is_seen_in_the_other():
    jitted = jitcore.jit(twice)
    for _ in range(4):
        a, b = jitted(jitcore.ones(2))
        a.append(3)
        assert b[-1] == 3 and len(jitted(jitcore.ones(2))[0]) == 2
    assert not jitted._eager_calls
