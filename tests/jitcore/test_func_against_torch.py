"""jitcore.func's derivatives against torch.func's: alone, in each other, in vmap, under jit, inside plain autograd."""

import numpy as np
import pytest
import torch

import jitcore
from jitcore import func
from jitcore.trace.containers import flatten

RANDOM = np.random.default_rng(3)
X, W, V = RANDOM.standard_normal((4, 3)), RANDOM.standard_normal((3, 5)), RANDOM.standard_normal((4, 5))


def _curve(x):
    return (x.exp() * x.sin()).prod()


# (library, function transforms, x, w, v) -> results
CASES = {
    "grad": lambda L, F, x, w, v: F.grad(lambda a: (a**3).sum())(x),
    "grad of several": lambda L, F, x, w, v: F.grad(lambda a, b: (a @ b).tanh().sum(), argnums=(0, 1))(x, w),
    "grad of a tree": lambda L, F, x, w, v: F.grad(lambda p: (p["a"] @ p["b"][0]).sin().sum())({"a": x, "b": [w]}),
    "grad with aux": lambda L, F, x, w, v: F.grad(lambda a: ((a @ w).sum(), a * 2), has_aux=True)(x),
    "grad and value": lambda L, F, x, w, v: F.grad_and_value(lambda a: ((a @ w) ** 2).sum())(x),
    "grad of what does not matter": lambda L, F, x, w, v: F.grad(lambda a: w.sum())(x),
    "second grad": lambda L, F, x, w, v: F.grad(lambda a: F.grad(_curve)(a).sum())(x[0]),
    "third grad": lambda L, F, x, w, v: F.grad(F.grad(F.grad(lambda a: a.sin() * a)))(x[0, 0]),
    "mixed": lambda L, F, x, w, v: F.grad(lambda a: a * F.grad(lambda b: a * b**2)(a + 1))(x[0, 0]),
    "vjp": lambda L, F, x, w, v: (lambda made: (made[0], made[1](v)))(F.vjp(lambda a, b: a @ b, x, w)),
    "vjp of one": lambda L, F, x, w, v: F.vjp(lambda a: a @ w, x)[1](v),
    "vjp with aux": lambda L, F, x, w, v: (lambda made: (made[0], made[2], made[1](v)))(
        F.vjp(lambda a: (a @ w, a), x, has_aux=True)),
    "jvp": lambda L, F, x, w, v: F.jvp(lambda a: (a @ w).exp(), (x,), (x + 1,)),
    "jvp of several": lambda L, F, x, w, v: F.jvp(lambda a, b: ((a @ b).exp(), a), (x, w), (x + 1, w)),
    "jvp of a linear function": lambda L, F, x, w, v: F.jvp(lambda a: 2 * a, (x,), (x + 1,)),
    "linearize": lambda L, F, x, w, v: (lambda made: (made[0], made[1](x)))(F.linearize(lambda a: (a @ w).sin(), x)),
    "jacrev": lambda L, F, x, w, v: F.jacrev(lambda a: (a @ w).tanh())(x),
    "jacrev in chunks": lambda L, F, x, w, v: F.jacrev(lambda a: (a @ w).tanh(), chunk_size=3)(x),
    "jacrev of several": lambda L, F, x, w, v: F.jacrev(lambda a, b: {"y": a @ b, "z": b}, argnums=(0, 1))(x, w),
    "jacfwd": lambda L, F, x, w, v: F.jacfwd(lambda a: (a @ w).tanh())(x),
    "jacfwd of several": lambda L, F, x, w, v: F.jacfwd(lambda a, b: (a @ b, b), argnums=(0, 1))(x, w),
    "jacfwd with aux": lambda L, F, x, w, v: F.jacfwd(lambda a: (a @ w, a), has_aux=True)(x),
    "hessian": lambda L, F, x, w, v: F.hessian(lambda a: ((a @ w).tanh() ** 2).sum())(x),
    "jacrev of jacfwd": lambda L, F, x, w, v: F.jacrev(F.jacfwd(_curve))(x[1]),
    "jacfwd of jacfwd": lambda L, F, x, w, v: F.jacfwd(F.jacfwd(_curve))(x[1]),
    "vmap of grad": lambda L, F, x, w, v: F.vmap(F.grad(_curve))(x),
    "vmap of hessian": lambda L, F, x, w, v: F.vmap(F.hessian(_curve))(x),
    "vmap of jvp": lambda L, F, x, w, v: F.vmap(lambda a, t: F.jvp(_curve, (a,), (t,)))(x, x + 1),
    "vmap of jacrev of vmap": lambda L, F, x, w, v: F.vmap(F.jacrev(F.vmap(lambda a: a * a.sin())))(x),
    "grad of vmap of grad": lambda L, F, x, w, v: F.grad(
        lambda q: F.vmap(F.grad(lambda a: (a.sin() * a * q).sum()))(x).pow(2).sum())(w[:, 0]),
    "grad of hessian": lambda L, F, x, w, v: F.grad(
        lambda q: F.hessian(lambda a: (a.sin() * a * q).prod())(x[0]).sum())(w[:, 0]),
    "in place inside": lambda L, F, x, w, v: F.grad(lambda a: _written(a).sum())(x),
}  # fmt: skip


def _written(a):
    made = a * 1
    made[0] = made[1] * 2
    made.mul_(made.clone())
    return made


def assert_equal(ours, theirs, rtol=1e-9):
    ours, theirs = flatten(ours)[0], flatten(theirs)[0]
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs):
        assert tuple(x.shape) == tuple(y.shape) and not x.requires_grad
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol, rtol)


@pytest.mark.parametrize("name", CASES)
def test_transform(name):
    case = CASES[name]
    ours = [jitcore.tensor(a) for a in (X, W, V)]
    expected = case(torch, torch.func, *[torch.tensor(a) for a in (X, W, V)])
    assert_equal(case(jitcore, func, *ours), expected)
    compiled = jitcore.jit(lambda x, w, v: case(jitcore, func, x, w, v))
    for _ in range(2):
        assert_equal(compiled(*ours), expected, 1e-7)


@pytest.mark.parametrize("name", ["grad", "jacrev", "jacfwd", "vmap of grad", "jvp", "vjp", "hessian"])
def test_results_have_history_in_what_required_grad_before(name):
    case = CASES[name]

    def gradients(L, F):
        x, w = (L.tensor(a, requires_grad=True) for a in (X, W))
        results = [r for r in flatten(case(L, F, x, w, L.tensor(V)))[0] if r.requires_grad]
        found = L.autograd.grad(sum((r**2).sum() for r in results), [x, w], allow_unused=True)
        return [None if g is None else g.numpy() for g in found]

    for ours, theirs in zip(gradients(jitcore, func), gradients(torch, torch.func)):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, 1e-8, 1e-8)


def test_grad_ignores_no_grad_outside_and_heeds_it_inside():
    x = jitcore.tensor(X)
    with jitcore.no_grad():
        found = func.grad(lambda a: (a * a).sum())(x)
    np.testing.assert_array_equal(found.numpy(), 2 * X)

    def inside(a):
        with jitcore.no_grad():
            factor = a * a
        return (a * factor).sum()

    np.testing.assert_allclose(func.grad(inside)(x).numpy(), X**2)


def test_value_and_grad_is_in_jaxs_order():
    value, gradient = func.value_and_grad(lambda a: (a * a).sum())(jitcore.tensor(X))
    assert value.shape == () and gradient.shape == X.shape


@pytest.mark.parametrize("wrong", [
    lambda L, F: F.grad(lambda a: a)(L.ones(2)), lambda L, F: F.grad(lambda a: a.sum())(L.ones(2, dtype=L.int64)),
    lambda L, F: F.grad(lambda a: 1.0)(L.ones(2)), lambda L, F: F.grad(lambda a: a.sum(), argnums=1)(L.ones(2)),
    lambda L, F: F.vjp(lambda a: a, L.ones(2))[1](L.ones(3)), lambda L, F: F.jvp(lambda a: a, L.ones(2), L.ones(2)),
    lambda L, F: F.jvp(lambda a: a, (L.ones(2),), ()), lambda L, F: F.grad(lambda a: a.sum(), has_aux=True)(L.ones(2)),
])  # fmt: skip
def test_errors_are_of_pytorchs_classes(wrong):
    with pytest.raises(Exception) as expected:
        wrong(torch, torch.func)
    with pytest.raises(expected.type):
        wrong(jitcore, func)


def _models():
    ours, theirs = jitcore.nn.Conv2d(2, 4, 3, padding=1, groups=2), torch.nn.Conv2d(2, 4, 3, padding=1, groups=2)
    theirs.load_state_dict({k: torch.tensor(v.detach().numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def test_gradients_of_each_sample():
    images = RANDOM.standard_normal((3, 2, 6, 6)).astype(np.float32)
    results = []
    for L, F, model in zip((jitcore, torch), (func, torch.func), _models()):

        def loss(parameters, image, F=F, model=model):
            return (F.functional_call(model, parameters, (image,)) ** 2).sum()

        mapped = F.vmap(F.grad(loss), in_dims=(None, 0))
        results.append(mapped(dict(model.named_parameters()), L.tensor(images)))
    for name in results[1]:
        np.testing.assert_allclose(
            results[0][name].detach().numpy(), results[1][name].detach().numpy(), rtol=1e-4, atol=1e-4
        )  # float32 sums of 36 products in another order


@pytest.mark.parametrize("requires_grad", [False, True])
def test_gradients_of_each_sample_have_history_where_the_weights_required_grad(requires_grad):
    histories = []
    for L, F in ((jitcore, func), (torch, torch.func)):

        def loss(weight, x):
            return (weight * x).pow(2).sum(), x * weight

        weight, x = L.ones(3, requires_grad=requires_grad), L.ones(4, 3)
        mapped = F.vmap(F.grad_and_value(loss, has_aux=True), in_dims=(None, 0))
        gradient, (value, aux) = mapped(weight, x)
        inner = F.vmap(F.grad(lambda w, x: (w * x).pow(3).sum()), in_dims=(None, 0))
        nested = F.grad(lambda w, x=x, inner=inner: inner(w, x).sum())(weight)
        histories.append([t.requires_grad for t in (gradient, value, aux, nested)])
    assert histories[0] == histories[1]


def test_ensemble_of_models():
    models = [jitcore.nn.Linear(3, 2) for _ in range(4)]
    parameters, buffers = func.stack_module_state(models)
    x = jitcore.randn(5, 3)
    found = func.vmap(lambda p, b: func.functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    for row, model in zip(found, models):
        np.testing.assert_allclose(row.detach().numpy(), model(x).detach().numpy(), rtol=1e-6, atol=1e-6)
    found.sum().backward()
    assert parameters["weight"].grad.shape == (4, 2, 3)


def test_functional_call_ties_and_restores():
    class Tied(jitcore.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = jitcore.nn.Linear(2, 2, bias=False)
            self.b = jitcore.nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    model = Tied()
    before = model.a.weight
    x = jitcore.ones(1, 2)
    given = {"a.weight": jitcore.eye(2) * 2}
    assert func.functional_call(model, given, (x,)).tolist() == [[4.0, 4.0]]
    assert model.a.weight is before and model.b.weight is before
    with pytest.raises(RuntimeError):
        func.functional_call(model, {}, (x,), strict=True)
