"""autograd.functional and batched grad against PyTorch's."""

import numpy as np
import pytest
import torch
from torch.autograd import functional as theirs

import jitcore
from jitcore.autograd import functional as ours
from jitcore.trace.containers import flatten

RANDOM = np.random.default_rng(5)
X, W, V = RANDOM.standard_normal((2, 3)), RANDOM.standard_normal((3, 2)), RANDOM.standard_normal((2, 2))


def _one(a, b):
    return ((a @ b).tanh() ** 2).sum()


CASES = {
    "vjp": lambda L, A, x, w, v, **o: A.vjp(lambda a, b: (a @ b).exp(), (x, w), v, **o),
    "vjp of a scalar": lambda L, A, x, w, v, **o: A.vjp(lambda a: (a @ w).sum(), x, **o),
    "vjp of several outputs": lambda L, A, x, w, v, **o: A.vjp(lambda a: (a @ w, a * 2), x, (v, x), **o),
    "jvp": lambda L, A, x, w, v, **o: A.jvp(lambda a, b: (a @ b).exp(), (x, w), (x + 1, w), **o),
    "vhp": lambda L, A, x, w, v, **o: A.vhp(_one, (x, w), (x, w), **o),
    "hvp": lambda L, A, x, w, v, **o: A.hvp(_one, (x, w), (x, w), **o),
    "hvp of one": lambda L, A, x, w, v, **o: A.hvp(lambda a: _one(a, w), x, x + 1, **o),
    "jacobian": lambda L, A, x, w, v, **o: A.jacobian(lambda a: (a @ w).exp(), x, **o),
    "jacobian of several": lambda L, A, x, w, v, **o: A.jacobian(lambda a, b: (a @ b, b * 2), (x, w), **o),
    "jacobian at once": lambda L, A, x, w, v, **o: A.jacobian(
        lambda a, b: (a @ b, b * 2), (x, w), vectorize=True, **o),
    "jacobian forward": lambda L, A, x, w, v, **o: A.jacobian(
        lambda a: (a @ w).exp(), x, vectorize=True, strategy="forward-mode", **o),
    "hessian": lambda L, A, x, w, v, **o: A.hessian(_one, (x, w), **o),
    "hessian of one": lambda L, A, x, w, v, **o: A.hessian(lambda a: _one(a, w), x, **o),
    "hessian at once": lambda L, A, x, w, v, **o: A.hessian(_one, (x, w), vectorize=True, **o),
}  # fmt: skip


def _run(L, A, case, **options):
    x, w, v = (L.tensor(a, requires_grad=True) for a in (X, W, V))
    results = flatten(case(L, A, x, w, v, **options))[0]
    more = []
    if options:
        total = sum((r**2).sum() for r in results if r.requires_grad)
        more = [g for g in L.autograd.grad(total, [x, w, v], allow_unused=True) if g is not None]
    return results, more


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [{}, {"create_graph": True}], ids=str)
def test_equals_pytorch(name, options):
    if options and name == "jacobian forward":
        with pytest.raises(NotImplementedError):
            _run(jitcore, ours, CASES[name], **options)
        return
    mine, yours = _run(jitcore, ours, CASES[name], **options), _run(torch, theirs, CASES[name], **options)
    for xs, ys in zip(mine, yours):
        assert len(xs) == len(ys)
        for x, y in zip(xs, ys):
            assert options or not x.requires_grad
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), 1e-9, 1e-9)


@pytest.mark.parametrize("wrong", [
    lambda L, A: A.vjp(lambda a: a * 2, L.ones(2)), lambda L, A: A.vjp(lambda a: a * 2, L.ones(2), L.ones(3)),
    lambda L, A: A.vjp(lambda a: 1.0, L.ones(2)), lambda L, A: A.jvp(lambda a: a * 2, 3.0),
    lambda L, A: A.hessian(lambda a: a * 2, L.ones(2)),
    lambda L, A: A.jacobian(lambda a: a, L.ones(2), strategy="both"),
    lambda L, A: A.jacobian(lambda a: a, L.ones(2), strategy="forward-mode"),
    lambda L, A: A.jacobian(lambda a: a.detach(), L.ones(2), strict=True),
    lambda L, A: A.vjp(lambda a, b: a.sum(), (L.ones(2), L.ones(2)), strict=True),
    lambda L, A: A.hvp(lambda a: a.sum(), L.ones(2), L.ones(2), strict=True),
])  # fmt: skip
def test_errors_are_of_pytorchs_classes(wrong):
    with pytest.raises(Exception) as expected:
        wrong(torch, theirs)
    with pytest.raises(expected.type):
        wrong(jitcore, ours)


def test_batched_gradients():
    rows = RANDOM.standard_normal((4, 2, 2))
    found = []
    for L in (jitcore, torch):
        x, w, unused = (L.tensor(a, requires_grad=True) for a in (X, W, V))
        y = (x @ w).tanh()
        found.append(L.autograd.grad(y, [x, unused, w], L.tensor(rows), is_grads_batched=True, allow_unused=True))
    assert found[0][1] is None
    for k in (0, 2):
        np.testing.assert_allclose(found[0][k].numpy(), found[1][k].numpy(), 1e-9)


def test_backward_inside_vmap_is_refused():
    w = jitcore.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="inside vmap"):
        jitcore.vmap(lambda r: (r * w).sum().backward())(jitcore.ones(2, 3))
