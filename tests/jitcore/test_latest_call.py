"""The call that the next one is compared with first: whatever differs in the next one is seen, and what does not matter
is replayed."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import jitcore
from jitcore import nn, storage
from jitcore.trace.latest_call import LatestCall
from jitcore.trace.tree import MISSED

Pair = namedtuple("Pair", "a b")


@dataclass
class Both:
    a: jitcore.Tensor
    b: jitcore.Tensor


def tensor(seed, *shape, dtype=jitcore.float32):
    return ((jitcore.arange(int(np.prod(shape))) * 7 + seed * 5) % 11 - 5).to(dtype).reshape(shape).clone()


def everything(*arguments, **keywords):
    return jitcore.ones(()) + summed([*arguments, keywords])


def summed(tree):
    """Something of all tensors and numbers in a tree, told apart by where they are."""
    if isinstance(tree, jitcore.Tensor):
        return (tree * jitcore.arange(tree.numel()).reshape(tree.shape)).sum(0).sum()
    if isinstance(tree, dict):
        return sum(summed(item) * (n + len(str(key))) for n, (key, item) in enumerate(tree.items(), 2))
    if isinstance(tree, Both):
        return summed((tree.a, tree.b)) * 3
    if isinstance(tree, tuple | list):
        return sum(summed(item) * n for n, item in enumerate(tree, 1)) * (2 if isinstance(tree, list) else 1)
    return (
        jitcore.tensor(float(len(tree)) if isinstance(tree, str) else 0.0)
        if not isinstance(tree, int | float)
        else tree * jitcore.ones(())
    )


def warmed(function, make):
    """The function, jitted, with a latest call that `make()` gives arguments like."""
    jitted = jitcore.jit(function)
    for _ in range(4):
        arguments, keywords = make()
        jitted(*arguments, **keywords)
    last = jitted._last
    assert isinstance(last, LatestCall) and last.replay(*make()) is not MISSED
    return jitted


def vector(seed, **how):
    return tensor(seed, 4, **how)


CALLS = {
    "positional": lambda: ((vector(1), vector(2), 2.0), {}),
    "named": lambda: ((vector(1),), {"b": vector(2), "n": 3}),
    "list": lambda: (([vector(1), vector(2)],), {}),
    "nested": lambda: (([vector(1), (vector(2), {"x": vector(3), "y": [1.0, "text"]})], vector(4)), {}),
    "empty": lambda: (((), [], {}, vector(1)), {}),
    "dict": lambda: (({"a": vector(1), "b": vector(2)},), {}),
    "ordered dict": lambda: ((OrderedDict(a=vector(1), b=vector(2)), vector(3)), {}),
    "numbers as keys": lambda: (({1: vector(1), 2: vector(2)}, vector(3)), {}),
    "named tuple": lambda: ((Pair(vector(1), vector(2)), vector(3)), {}),
    "dataclass": lambda: ((vector(3), Both(vector(1), vector(2)), vector(4)), {}),
    "columns": lambda: ((tensor(1, 3, 4).t(), tensor(2, 4, 3)[:, 1:]), {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_alike_are_replayed(name):
    jitted = warmed(everything, CALLS[name])
    for _ in range(3):
        arguments, keywords = CALLS[name]()
        assert jitcore.equal(jitted(*arguments, **keywords), everything(*arguments, **keywords))
    assert len(jitted._recordings.variants()) == 1


def read_only():
    array = np.ones(4, np.float32)
    array.flags.writeable = False
    return jitcore.from_numpy(array)


def marked():
    x = vector(3)
    x.factor = 2.0
    return x


OTHERS = {
    "shape": lambda: tensor(3, 5),
    "rank": lambda: tensor(3, 2, 2),
    "one element": lambda: tensor(3, 1),
    "no elements": lambda: tensor(3, 0),
    "dtype": lambda: vector(3, dtype=jitcore.int64),
    "wider": lambda: vector(3, dtype=jitcore.float64),
    "gaps": lambda: tensor(3, 8)[::2],
    "backwards": lambda: vector(3).flip(0),
    "part": lambda: tensor(3, 9)[3:7],
    "expanded": lambda: tensor(3, 1).expand(4),
    "transposed": lambda: tensor(3, 1, 4).t()[:, 0],
    "misaligned": lambda: jitcore.from_numpy(np.frombuffer(b"x" + vector(3).numpy().tobytes(), np.float32, offset=1)),
    "read only": read_only,
    "grad": lambda: vector(3).requires_grad_(),
    "history": lambda: vector(3).requires_grad_() * 2,
    "parameter": lambda: nn.Parameter(vector(3)),
    "attribute": marked,
    "number": lambda: 2.0,
    "integer": lambda: 7,
    "boolean": lambda: True,
    "text": lambda: "abc",
    "list": lambda: [vector(3)],
    "tuple": lambda: (vector(3), vector(4)),
    "dict": lambda: {"z": vector(3)},
    "dataclass": lambda: Both(vector(3), vector(4)),
}
PLACES = {
    "argument": lambda x: ((x, vector(2)), {}),
    "named": lambda x: ((vector(2),), {"b": x}),
    "in a list": lambda x: (([vector(2), x],), {}),
    "in a dict": lambda x: (({"a": vector(2), "b": x},), {}),
    "in a named tuple": lambda x: ((vector(1), Pair(vector(2), x)), {}),
    "in a dataclass": lambda x: ((vector(1), Both(vector(2), x)), {}),
}


def agree(jitted, function, arguments, keywords):
    got, expected = jitted(*arguments, **keywords), function(*arguments, **keywords)
    assert got.dtype is expected.dtype and got.requires_grad is expected.requires_grad
    assert jitcore.equal(got, expected)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("other", OTHERS)
def test_another_argument_is_seen(place, other):
    make = PLACES[place]
    jitted = warmed(everything, lambda: make(vector(1)))
    for leaf in (OTHERS[other](), vector(5), OTHERS[other](), OTHERS[other](), vector(6)):
        agree(jitted, everything, *make(leaf))


TREES = {
    "longer list": lambda a, b: (([a, b, a + 1],), {}),
    "shorter list": lambda a, b: (([a],), {}),
    "empty list": lambda a, b: (([],), {}),
    "tuple for list": lambda a, b: (((a, b),), {}),
    "names for positions": lambda a, b: ((), {"a": a, "b": b}),
    "dict for list": lambda a, b: (({"a": a, "b": b},), {}),
    "one more": lambda a, b: (([a, b], 3.0), {}),
    "one named": lambda a, b: (([a, b],), {"c": 1}),
    "same twice": lambda a, b: (([a, a],), {}),
    "views of one": lambda a, b: (([a, a.view(4)],), {}),
    "views of a third": lambda a, b: (([(c := tensor(1, 8))[:4], c[4:]],), {}),
    "exchanged": lambda a, b: (([b, a],), {}),
}


@pytest.mark.parametrize("name", TREES)
def test_another_structure_is_seen(name):
    jitted = warmed(everything, lambda: (([vector(1), vector(2)],), {}))
    for make in (TREES[name], lambda a, b: (([a, b],), {}), TREES[name]):
        agree(jitted, everything, *make(vector(3), vector(4)))


def test_the_order_of_names_is_seen():
    jitted = warmed(everything, lambda: ((), {"a": vector(1), "b": vector(2)}))
    for keywords in ({"b": vector(3), "a": vector(4)}, {"a": vector(3), "c": vector(4)}, {"a": vector(3)}):
        agree(jitted, everything, (), keywords)
    jitted = warmed(everything, lambda: (({"a": vector(1), "b": vector(2)},), {}))
    for given in ({"b": vector(3), "a": vector(4)}, {"aa": vector(3), 1: vector(4)}, {"aa": vector(3)}):
        agree(jitted, everything, (given,), {})


def test_a_list_that_grew_is_seen():
    given = [vector(1), vector(2)]
    jitted = warmed(everything, lambda: ((given,), {}))
    given.append(vector(3))
    agree(jitted, everything, (given,), {})
    given[:] = [vector(4)]
    agree(jitted, everything, (given,), {})


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(vector(2))
        self.register_buffer("calls", jitcore.zeros(4))

    def forward(self, x):
        self.calls.add_(x)
        return x * self.w


def _replaced(model):
    model.w = nn.Parameter(vector(7))


def _other_data(model):
    model.w.data = vector(7)


def _as_columns(model):
    model.calls = tensor(3, 8)[::2]


def _shared(model):
    model.calls = model.w.data


def _read_only(model):
    model.calls = read_only()


def _resized(model):
    model.w.data = jitcore.ones(1)


def _wider(model):
    model.double()


def _through_numpy(model):
    model.w.detach().numpy()[:] = 3.0


def _set(model):
    model.w.data.set_(vector(9))


@pytest.mark.parametrize(
    "change",
    [_replaced, _other_data, _as_columns, _shared, _read_only, _resized, _wider, _through_numpy, _set],
)
def test_other_memory_of_what_is_captured_is_seen(change):
    model, twin = Scaled(), Scaled()
    with jitcore.no_grad():
        jitted = warmed(model, lambda: ((vector(1),), {}))
        twin.load_state_dict(model.state_dict())
        assert jitcore.equal(twin.calls, model.calls)
        for one in (model, twin):
            change(one)
        for _ in range(4):
            x = vector(3).to(model.w.dtype)
            try:
                expected = twin(x)
            except RuntimeError:
                with pytest.raises(RuntimeError):
                    jitted(x)
            else:
                assert jitcore.equal(jitted(x), expected)
            assert jitcore.equal(model.calls, twin.calls) and jitcore.equal(model.w, twin.w)


def test_shapes_of_arrays_are_their_own():
    """A shape that is set on an array of NumPy's is no other shape of the tensor that shares its memory."""
    x = vector(1)
    jitted = warmed(everything, lambda: ((x,), {}))
    array = x.numpy()
    array.shape = (2, 2)
    assert x.shape == (4,) and x.numpy() is not x.numpy()
    given = np.arange(4.0, dtype=np.float32)
    y = jitcore.from_numpy(given)
    agree(jitted, everything, (y,), {})
    given.shape = (2, 2)
    given[0, 1] = 9.0
    assert y.shape == (4,) and y[1] == 9.0
    agree(jitted, everything, (y,), {})


def test_sizes_that_are_symbols():
    jitted = jitcore.jit(everything)
    for size in (3, 4, 5, 5, 5, 5, 6, 6, 6, 0, 0, 0, 1, 1, 1, 5):
        agree(jitted, everything, ([tensor(1, size), tensor(2, size)],), {})
    assert jitted._last is not None and len(jitted._recordings.variants()) == 2


def test_one_call_keeps_the_memory_of_its_results():
    """Results of a call stay as they are when the next one runs on the same table of addresses."""
    jitted = warmed(lambda x: (x + 1, x * 2), lambda: ((vector(1),), {}))
    kept = [(x := vector(seed), jitted(x)) for seed in range(6)]
    for x, (a, b) in kept:
        assert jitcore.equal(a, x + 1) and jitcore.equal(b, x * 2)


def test_layouts_may_be_forgotten(monkeypatch):
    """Two functions go on with one tensor, whichever of them has noted its layout last."""
    monkeypatch.setattr(storage, "_MOST_LAYOUTS", 1)
    x = vector(1)
    functions = [warmed(lambda x, n=n: x * n, lambda: ((x,), {})) for n in range(2, 5)]
    for _ in range(4):
        tensor(2, 3, 3)._storage.locate()  # another layout in between
        for n, jitted in enumerate(functions, 2):
            assert jitcore.equal(jitted(x), x * n)
    for jitted in functions:
        assert len(jitted._recordings.variants()) == 1 and jitted._eager_calls == 0


def test_gradients_that_are_there_before_a_call_and_not_after_it():
    """When a call is remembered, what it was given may be gone."""

    def make():
        w = nn.Parameter(vector(2))

        def step(x):
            (w * x).sum().backward()
            w.data -= w.grad
            w.grad = None
            return w.data.sum()

        return w, step

    (w, step), (twin, same) = make(), make()
    jitted = jitcore.jit(step)
    for n in range(8):
        for one in (w, twin):
            one.grad = vector(n)
        assert jitcore.equal(jitted(vector(n)), same(vector(n))) and w.grad is None
        assert jitcore.equal(w, twin)
