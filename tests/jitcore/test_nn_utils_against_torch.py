"""nn.utils beside PyTorch's: clipping, vectors, parametrizations, pruning, fusion, functional_call."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from module_compare import compare, to, twins
from torch_compare import assert_same, values

import jitcore

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def with_gradients(library, seed=0):
    shapes = enumerate([(3, 4), (5,), ()])
    made = [library.nn.Parameter(library.tensor(random(*shape, seed=seed + i))) for i, shape in shapes]
    for i, parameter in enumerate(made[:2]):
        parameter.grad = library.tensor(random(*parameter.shape, seed=9 + i))
    return made


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("norm_type", [2.0, 1, 3, float("inf"), 0.5])
@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clip_grad_norm(most, norm_type, foreach):
    def clipped(library):
        parameters = with_gradients(library)
        total = library.nn.utils.clip_grad_norm_(iter(parameters), most, norm_type, foreach=foreach)
        again = library.nn.utils.get_total_norm([p.grad for p in parameters[:2]], norm_type)
        return (total, again, *[p.grad for p in parameters[:2]])

    assert_same(clipped(jitcore), clipped(torch))


def test_clipping_one_parameter_and_none():
    def clipped(library):
        utils, parameters = library.nn.utils, with_gradients(library)
        nothing = utils.clip_grad_norm_([parameters[2]], 1.0)
        utils.clip_grad_value_(parameters[0], 0.3)
        utils.clip_grad_value_(parameters, 0.5)
        utils.clip_grads_with_norm_(parameters, 0.1, library.tensor(2.0))
        return nothing, *[p.grad for p in parameters[:2]]

    assert_same(clipped(jitcore), clipped(torch))


def test_a_norm_that_is_not_finite_is_told():
    for library in (torch, jitcore):
        parameter = library.nn.Parameter(library.ones(2))
        parameter.grad = library.tensor([float("inf"), 1.0])
        with pytest.raises(RuntimeError, match="non-finite"):
            library.nn.utils.clip_grad_norm_(parameter, 1.0, error_if_nonfinite=True)


def test_a_compiled_step_clips():
    def train(wrap):
        model = jitcore.nn.Linear(3, 2)
        model.load_state_dict({"weight": jitcore.ones(2, 3), "bias": jitcore.zeros(2)})
        optimizer = jitcore.optim.SGD(model.parameters(), lr=0.1)
        x = jitcore.tensor(random(4, 3))

        def step(x):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            total = jitcore.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            return total

        step = wrap(step)
        return [float(step(x)) for _ in range(5)], step

    expected, _ = train(lambda f: f)
    found, step = train(jitcore.jit)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert "replayed 4 times" in step.explain(), step.explain()


def test_vectors_and_parameters():
    def converted(library):
        utils, parameters = library.nn.utils, with_gradients(library)
        vector = utils.parameters_to_vector(parameters)
        utils.vector_to_parameters(vector * 2, parameters)
        return (vector.detach(), *[p.detach() for p in parameters])

    assert_same(converted(jitcore), converted(torch))
    with pytest.raises(TypeError):
        jitcore.nn.utils.vector_to_parameters([1.0], [])


class Layers:
    linear = staticmethod(lambda m: m.nn.Linear(4, 3))
    conv = staticmethod(lambda m: m.nn.Conv1d(4, 3, 2))
    transposed = staticmethod(lambda m: m.nn.ConvTranspose1d(4, 3, 2))


INPUTS = {"linear": (5, 4), "conv": (2, 4, 6), "transposed": (2, 4, 6)}
KINDS = {
    "weight_norm": lambda u, layer: u.parametrizations.weight_norm(layer),
    "weight_norm of dim 1": lambda u, layer: u.parametrizations.weight_norm(layer, dim=1),
    "weight_norm of all": lambda u, layer: u.parametrizations.weight_norm(layer, dim=None),
    "spectral_norm": lambda u, layer: u.parametrizations.spectral_norm(layer),
    "old weight_norm": lambda u, layer: u.weight_norm(layer),
    "old weight_norm of all": lambda u, layer: u.weight_norm(layer, dim=None),
    "old spectral_norm": lambda u, layer: u.spectral_norm(layer, n_power_iterations=2),
}


@pytest.mark.parametrize("layer", INPUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_normalized_weights(kind, layer):
    ours, theirs = twins(lambda m: KINDS[kind](m.nn.utils, getattr(Layers, layer)(m)))
    x = random(*INPUTS[layer])
    compare(ours, theirs, x)  # in training: power iteration writes its vectors
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(values(ours.state_dict()[name]), values(value), rtol=1e-4, atol=1e-5, err_msg=name)
    ours.eval(), theirs.eval()
    ours.zero_grad(), theirs.zero_grad()
    compare(ours, theirs, x, compiled="old" not in kind)
    remove(kind, jitcore, ours), remove(kind, torch, theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    assert_same(ours(jitcore.tensor(x)), theirs(torch.tensor(x)))


def remove(kind, library, layer):
    utils = library.nn.utils
    if "old" not in kind:
        utils.parametrize.remove_parametrizations(layer, "weight")
    elif "weight" in kind:
        utils.remove_weight_norm(layer)
    else:
        utils.remove_spectral_norm(layer)


def test_a_compiled_training_step_with_spectral_norm():
    def train(wrap):
        jitcore.manual_seed(1)
        model = jitcore.nn.utils.parametrizations.spectral_norm(jitcore.nn.Linear(4, 3))
        optimizer = jitcore.optim.Adam(model.parameters(), lr=0.1)
        x = jitcore.tensor(random(5, 4))

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean() - model.weight.sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = wrap(step)
        return [float(step(x)) for _ in range(5)], step

    expected, _ = train(lambda f: f)
    found, step = train(jitcore.jit)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert "replayed 4 times" in step.explain(), step.explain()


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("way", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(way, shape):
    def build(library):
        layer = library.nn.Linear(shape[1], shape[0])
        return library.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=way)

    ours, theirs = twins(build)
    x = random(6, shape[1])
    for layer in (ours, theirs):  # off the start, where only some gradients are not 0
        original = layer.parametrizations.weight.original
        step = random(*shape, seed=3) * 0.3
        step = (step * (1 - np.eye(*shape))).astype(np.float32)
        original.data = original.data + (jitcore if layer is ours else torch).tensor(step)
    compare(ours, theirs, x)
    weight = values(ours.weight)
    product = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-5)
    assert ours.parametrizations.weight[0].base.shape == ours.parametrizations.weight[0].base.mT.shape


def test_orthogonal_without_trivialization_takes_values():
    def assigned(library):
        layer = library.nn.Linear(3, 5)
        utils = library.nn.utils.parametrizations
        utils.orthogonal(layer, orthogonal_map="householder", use_trivialization=False)
        matrix = library.linalg.qr(library.tensor(random(5, 3)))[0]
        layer.weight = matrix
        return layer.weight.detach(), matrix

    found, matrix = assigned(jitcore)
    np.testing.assert_allclose(values(found), values(matrix), atol=1e-5)
    assert_same((found, matrix), assigned(torch))


def parts(library):
    """Users' parametrizations."""

    class Symmetric(library.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

        def right_inverse(self, a):
            return a.triu()

    class Scaled(library.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = library.nn.Parameter(library.tensor(2.0))

        def forward(self, x):
            return x * self.scale

    return Symmetric(), Scaled()


def test_users_parametrizations_of_one_tensor():
    def build(library):
        layer = library.nn.Linear(3, 3)
        parametrize = library.nn.utils.parametrize
        symmetric, scaled = parts(library)
        parametrize.register_parametrization(layer, "weight", symmetric)
        parametrize.register_parametrization(layer, "weight", scaled)
        parametrize.register_parametrization(layer, "bias", parts(library)[1])
        return layer

    ours, theirs = twins(build)
    assert repr(ours) == repr(theirs)
    compare(ours, theirs, random(2, 3), compiled=True)
    parametrize = jitcore.nn.utils.parametrize
    assert parametrize.is_parametrized(ours) and parametrize.is_parametrized(ours, "bias")
    assert not parametrize.is_parametrized(ours, "other")
    assert parametrize.type_before_parametrizations(ours) is jitcore.nn.Linear
    copied = copy.deepcopy(ours)
    for library, layer in ((jitcore, ours), (torch, theirs)):
        library.nn.utils.parametrize.remove_parametrizations(layer, "weight")
        library.nn.utils.parametrize.remove_parametrizations(layer, "bias", leave_parametrized=False)
    assert type(ours) is jitcore.nn.Linear and parametrize.is_parametrized(copied)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value)


def test_values_are_assigned_and_cached():
    layer = jitcore.nn.Linear(3, 3)
    parametrize = jitcore.nn.utils.parametrize
    parametrize.register_parametrization(layer, "weight", parts(jitcore)[0])
    matrix = jitcore.tensor(random(3, 3))
    layer.weight = matrix + matrix.mT
    np.testing.assert_allclose(values(layer.weight), values(matrix + matrix.mT), rtol=1e-6)
    assert layer.weight is not layer.weight
    with parametrize.cached():
        assert layer.weight is layer.weight
    parametrize.register_parametrization(layer, "bias", parts(jitcore)[1])
    with pytest.raises(RuntimeError, match="right_inverse"):
        layer.bias = jitcore.ones(3)
    other = parametrize.transfer_parametrizations_and_params(layer, jitcore.nn.Linear(3, 3), "weight")
    np.testing.assert_array_equal(values(other.weight), values(layer.weight))


BAD = [
    lambda m, layer, u: u.parametrize.register_parametrization(layer, "nothing", m.nn.Identity()),
    lambda m, layer, u: u.parametrize.register_parametrization(layer, "weight", m.nn.Flatten(0)),
    lambda m, layer, u: u.parametrize.remove_parametrizations(layer, "weight"),
    lambda m, layer, u: u.parametrizations.orthogonal(layer, "bias"),
    lambda m, layer, u: u.parametrizations.orthogonal(layer, orthogonal_map="x"),
    lambda m, layer, u: u.parametrizations.spectral_norm(layer, "nothing"),
    lambda m, layer, u: u.parametrizations.spectral_norm(layer, n_power_iterations=0),
    lambda m, layer, u: u.parametrizations.spectral_norm(layer, dim=4),
    lambda m, layer, u: u.remove_weight_norm(layer),
    lambda m, layer, u: u.remove_spectral_norm(layer),
    lambda m, layer, u: u.weight_norm(u.weight_norm(layer)),
    lambda m, layer, u: u.prune.l1_unstructured(layer, "weight", 1.5),
    lambda m, layer, u: u.prune.l1_unstructured(layer, "weight", "x"),
    lambda m, layer, u: u.prune.l1_unstructured(layer, "weight", 100),
    lambda m, layer, u: u.prune.ln_structured(layer, "bias", 0.5, 2, 0),
    lambda m, layer, u: u.prune.ln_structured(layer, "weight", 0.5, 2, 3),
    lambda m, layer, u: u.prune.remove(layer, "weight"),
    lambda m, layer, u: u.prune.custom_from_mask(layer, "weight", m.ones(2)),
    lambda m, layer, u: u.fuse_linear_bn_eval(layer, m.nn.BatchNorm1d(3)),
    lambda m, layer, u: u.skip_init(m.nn.ReLU),
    lambda m, layer, u: u.stateless.functional_call(layer, {"weight": layer.weight}, m.ones(4), strict=True),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_arguments_raise_what_pytorch_raises(number):
    with pytest.raises(Exception) as theirs:
        BAD[number](torch, torch.nn.Linear(4, 3), torch.nn.utils)
    with pytest.raises(theirs.type):
        BAD[number](jitcore, jitcore.nn.Linear(4, 3), jitcore.nn.utils)


PRUNED = {
    "identity": lambda m, p, layer: p.identity(layer, "weight"),
    "least": lambda m, p, layer: p.l1_unstructured(layer, "weight", 0.4),
    "by score": lambda m, p, layer: p.l1_unstructured(layer, "weight", 3, m.tensor(random(3, 4, seed=4))),
    "rows": lambda m, p, layer: p.ln_structured(layer, "weight", 1, 2, 0),
    "columns": lambda m, p, layer: p.ln_structured(layer, "weight", 0.5, float("inf"), -1),
    "own mask": lambda m, p, layer: p.custom_from_mask(layer, "weight", m.tensor(random(3, 4) > 0)),
    "twice": lambda m, p, layer: p.l1_unstructured(p.ln_structured(layer, "weight", 1, 1, 0), "weight", 0.5),
    "rows last": lambda m, p, layer: p.ln_structured(p.l1_unstructured(layer, "weight", 0.3), "weight", 1, 2, 1),
    "globally": lambda m, p, layer: p.global_unstructured(
        [(layer, "weight"), (layer, "bias")], p.L1Unstructured, amount=0.5
    ),
}


@pytest.mark.parametrize("kind", PRUNED)
def test_pruning(kind):
    ours, theirs = twins(lambda m: m.nn.Linear(4, 3))
    for library, layer in ((jitcore, ours), (torch, theirs)):
        PRUNED[kind](library, library.nn.utils.prune, layer)
        assert library.nn.utils.prune.is_pruned(layer)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value, name)
    compare(ours, theirs, random(2, 4))
    for library, layer in ((jitcore, ours), (torch, theirs)):
        library.nn.utils.prune.remove(layer, "weight")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_same(ours.weight.detach(), theirs.weight.detach())


@pytest.mark.parametrize("kind", ["random_unstructured", "random_structured"])
def test_random_pruning(kind):
    layer = jitcore.nn.Linear(10, 8)
    getattr(jitcore.nn.utils.prune, kind)(layer, "weight", 0.5, *([0] if "_structured" in kind else []))
    assert values(layer.weight_mask).sum() == 40
    assert (values(layer.weight) == values(layer.weight_orig) * values(layer.weight_mask)).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d", "Linear"])
def test_fusion_with_batch_norm(kind, bias):
    def build(library):
        if kind == "Linear":
            return library.nn.Sequential(library.nn.Linear(4, 3, bias=bias), library.nn.BatchNorm1d(3))
        return library.nn.Sequential(getattr(library.nn, kind)(4, 3, 2, bias=bias), library.nn.BatchNorm2d(3))

    ours, theirs = twins(build, scale=0.3)
    x = random(5, 4) if kind == "Linear" else random(2, 4, 5, 5)
    ours(jitcore.tensor(x)), theirs(torch.tensor(x))  # moves the running statistics
    ours.eval(), theirs.eval()

    def fused(library, model):
        utils = library.nn.utils
        if kind == "Linear":
            return utils.fuse_linear_bn_eval(*model)
        return utils.fuse_conv_bn_eval(*model, transpose="Transpose" in kind)

    a, b = fused(jitcore, ours), fused(torch, theirs)
    assert_same(a.weight.detach(), b.weight.detach())
    assert_same(a.bias.detach(), b.bias.detach())
    np.testing.assert_allclose(values(a(jitcore.tensor(x))), values(ours(jitcore.tensor(x))), rtol=1e-4, atol=1e-5)


def test_functional_call_replaces_tensors_for_one_call():
    ours, theirs = twins(lambda m: m.nn.Sequential(m.nn.Linear(4, 4), m.nn.BatchNorm1d(4)))
    weight, mean = random(4, 4, seed=5), random(4, seed=6)

    def call(library, module):
        given = {"0.weight": library.tensor(weight).requires_grad_(), "1.running_mean": library.tensor(mean)}
        result = library.nn.utils.stateless.functional_call(module, given, library.tensor(random(3, 4)))
        result.square().sum().backward()
        return result.detach(), given["0.weight"].grad, given["1.running_mean"], module[0].weight.detach()

    assert_same(call(jitcore, ours), call(torch, theirs))
    assert ours[0].weight.grad is None and isinstance(ours[0].weight, jitcore.nn.Parameter)


def test_tied_weights_are_replaced_together():
    layer = jitcore.nn.Linear(3, 3, bias=False)
    model = jitcore.nn.Sequential(layer, jitcore.nn.Linear(3, 3, bias=False))
    model[1].weight = layer.weight
    x, twice = jitcore.ones(1, 3), {"0.weight": jitcore.eye(3) * 2}
    call = jitcore.nn.utils.stateless.functional_call
    np.testing.assert_array_equal(values(call(model, twice, x)), 4 * np.ones((1, 3)))
    untied = call(model, twice, x, tie_weights=False)
    np.testing.assert_allclose(values(untied), values(model[1](x * 2)), rtol=1e-6)


def test_modules_without_initialization():
    layer = jitcore.nn.utils.skip_init(jitcore.nn.Linear, 3, 4)
    assert layer.weight.shape == (4, 3)
    assert_same(to(jitcore, random(2)).detach(), torch.tensor(random(2)))
