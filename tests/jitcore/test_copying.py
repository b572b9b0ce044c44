"""Tensors, parameters, modules and optimizers through pickle, copy and deepcopy, beside PyTorch."""

import copy
import pickle

import numpy as np
import pytest
import torch

import jitcore
from jitcore import nn

WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle2": lambda x: pickle.loads(pickle.dumps(x, protocol=2)),
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=WAYS)
def through(request):
    return WAYS[request.param]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "int64", "bool", "complex64", "uint8"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (2, 3)])
def test_values_dtypes_and_shapes(through, name, shape):
    x = jitcore.ones(shape, dtype=getattr(jitcore, name))
    y = through(x)
    assert y.dtype is x.dtype and y.shape == x.shape and y.tolist() == x.tolist() and type(y) is jitcore.Tensor
    if y.numel():
        y.zero_()
        assert x.bool().all()  # in memory of its own


def test_views_share_memory_on_the_other_side(through):
    def run(t):
        x = t.arange(24.0).reshape(2, 3, 4)
        objects = {"x": x, "row": x[1], "t": x.transpose(0, 2), "step": x[:, ::2], "wide": x[0, 0, :1].expand(5)}
        made = (through if t is jitcore else copy.deepcopy)(objects)  # plain pickle of torch's loses the sharing
        made["row"].zero_()
        made["wide"].sum()
        made["t"][1].add_(100)
        return {k: v.tolist() for k, v in made.items()}, {k: v.stride() for k, v in made.items()}, x.tolist()

    assert run(jitcore) == run(torch)


def test_flags_classes_and_attributes(through):
    def run(t):
        leaf = t.ones(2, requires_grad=True)
        (leaf * 3).sum().backward()
        leaf.note = "kept"
        p = t.nn.Parameter(t.ones(2), requires_grad=False)
        a, b = through([leaf, p])
        again = through([p, p])
        grad = None if a.grad is None else a.grad.tolist()
        return (a.requires_grad, a.is_leaf, grad, a.note, type(b).__name__, b.requires_grad, again[0] is again[1])

    assert run(jitcore) == run(torch)


def test_a_tensor_with_history():
    def run(t):
        y = t.ones(2, requires_grad=True) * 2
        with pytest.raises(RuntimeError):
            copy.deepcopy(y)
        z = pickle.loads(pickle.dumps(y))
        return z.requires_grad, z.is_leaf, z.tolist(), copy.deepcopy(y.detach()).requires_grad

    assert run(jitcore) == run(torch)


def test_memory_of_numpy():
    array = np.arange(12.0).reshape(3, 4)
    x = jitcore.from_numpy(array.T[::2])
    for way in WAYS.values():
        y = way(x)
        y.zero_()
        assert array.sum() == 66 and y.shape == x.shape


def test_modules_and_tied_weights(through):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    twin = through(model)
    x = jitcore.randn(4, 3)
    assert twin[2].weight is twin[0].weight is not model[0].weight
    assert jitcore.equal(twin.eval()(x), model.eval()(x))
    assert list(twin.state_dict()) == list(model.state_dict())
    twin(x).sum().backward()
    assert model[0].weight.grad is None


def test_an_optimizer_goes_on_where_it_was(through):
    p = nn.Parameter(jitcore.ones(3))
    adam = jitcore.optim.Adam([p], lr=0.1)

    def step(p, adam):
        adam.zero_grad()
        (p * p).sum().backward()
        adam.step()
        return p.tolist()

    step(p, adam)
    q, twin = through((p, adam))
    assert twin.param_groups[0]["params"][0] is q
    assert step(q, twin) == step(p, adam)


def test_generators_dtypes_sizes_and_devices(through):
    g = jitcore.Generator().manual_seed(3)
    jitcore.rand(3, generator=g)
    twin = through(g)
    assert jitcore.equal(jitcore.rand(3, generator=twin), jitcore.rand(3, generator=g))
    assert through(jitcore.float32) is jitcore.float32
    assert type(through(jitcore.ones(2, 3).shape)) is jitcore.Size
    assert through(jitcore.device("cpu")) == jitcore.device("cpu")


def test_shallow_copies_share():
    x = jitcore.ones(2)
    copy.copy(x).zero_()
    assert x.tolist() == [0, 0]
    model = nn.Linear(2, 2)
    assert copy.copy(model).weight is model.weight
