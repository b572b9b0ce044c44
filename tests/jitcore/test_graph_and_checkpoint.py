"""Hooks on nodes and saved tensors, anomaly mode, checkpointing: against PyTorch where it has the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

import jitcore
from jitcore.autograd import graph
from jitcore.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

LIBRARIES = pytest.mark.parametrize("L", [jitcore, torch], ids=["jitcore", "torch"])
X = np.random.default_rng(2).standard_normal((3, 4))


def _checkpoint(L):
    return checkpoint if L is jitcore else __import__("torch.utils.checkpoint").utils.checkpoint.checkpoint


@LIBRARIES
def test_saved_tensors_hooks_pack_and_unpack(L):
    packed = []

    def pack(x):
        packed.append(x)
        return len(packed) - 1

    x = L.tensor(X, requires_grad=True)
    with L.autograd.graph.saved_tensors_hooks(pack, lambda i: packed[i] * 2):
        y = x * x
    assert len(packed) == 2
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * X)


@LIBRARIES
def test_unpacked_tensors_keep_their_history(L):
    x = L.tensor(X, requires_grad=True)
    with L.autograd.graph.saved_tensors_hooks(lambda t: t.detach().numpy().copy(), L.tensor):
        y = (x.exp() * x).sin()
    (g,) = L.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), x)
    t = torch.tensor(X, requires_grad=True)
    (a,) = torch.autograd.grad((t.exp() * t).sin().sum(), t, create_graph=True)
    (b,) = torch.autograd.grad(a.sum(), t)
    np.testing.assert_allclose(h.numpy(), b.numpy(), 1e-10)


@LIBRARIES
def test_save_on_cpu_keeps_a_copy(L):
    x = L.tensor(X, requires_grad=True)
    with L.autograd.graph.save_on_cpu():
        y = x * x.exp()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), (1 + X) * np.exp(X))


@LIBRARIES
def test_hooks_of_saved_tensors_can_be_disabled(L):
    hooks = L.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)
    with L.autograd.graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"), hooks:
        pass


@LIBRARIES
def test_an_unpack_hook_gives_a_tensor(L):
    x = L.tensor(X, requires_grad=True)
    with L.autograd.graph.saved_tensors_hooks(lambda t: 0, lambda t: 0):
        y = x.exp()
    with pytest.raises(TypeError, match="unpack_hook"):
        y.sum().backward()


@LIBRARIES
def test_node_hooks(L):
    seen = []
    x = L.tensor(X, requires_grad=True)
    y = x * 3
    first = y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0], outputs[0])))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.sum().backward(retain_graph=True)
    np.testing.assert_allclose(seen[0][0].numpy(), np.full((3, 4), 6.0))
    np.testing.assert_allclose(seen[0][1].numpy(), np.full((3, 4), 2.0))
    first.remove()
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, *inputs[1:]))
    x.grad = None
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((3, 4), 60.0))
    assert len(seen) == 1


@LIBRARIES
def test_the_tape_can_be_walked(L):
    x = L.tensor(X, requires_grad=True)
    y = x.exp() * 2
    assert y.grad_fn.name() == "MulBackward0"
    (step, _), *_rest = y.grad_fn.next_functions
    assert step.name() == "ExpBackward0" and step.next_functions[0][0].variable is x
    y.grad_fn.metadata["note"] = 1
    assert y.grad_fn.metadata["note"] == 1 and L.autograd.graph.get_gradient_edge(y).node is y.grad_fn


@LIBRARIES
@pytest.mark.parametrize("mode", ["all", "any"])
def test_multi_grad_hook(L, mode):
    seen = []
    xs = [L.tensor(X, requires_grad=True) for _ in range(2)]
    handle = L.autograd.graph.register_multi_grad_hook(xs, seen.append, mode=mode)
    (xs[0] * xs[1]).sum().backward()
    assert len(seen) == 1
    handle.remove()
    (xs[0] * xs[1]).sum().backward()
    assert len(seen) == 1


@LIBRARIES
def test_anomaly_mode_finds_nan(L):
    x = L.zeros(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="returned nan values"), L.autograd.detect_anomaly():
        y = (x * 0).sqrt()
        (y * 0).sum().backward()
    with L.autograd.set_detect_anomaly(True, check_nan=False):
        y = (x * 0).sqrt()
        (y * 0).sum().backward()
    assert L.isnan(x.grad).all()


def test_anomaly_mode_names_the_forward_line():
    x = jitcore.zeros(2, requires_grad=True)
    with jitcore.autograd.detect_anomaly():
        y = x.sqrt()  # this line
        with pytest.raises(RuntimeError, match=rf"{__file__}:\d+") as error:
            (y * 0).sum().backward()
    line = int(str(error.value).rsplit(":", 1)[1])
    assert Path(__file__).read_text().splitlines()[line - 1].endswith("# this line")
    assert not graph.is_anomaly_enabled()


def test_compiled_functions_run_eagerly_where_python_looks_into_the_tape():
    seen = []
    function = jitcore.jit(lambda x: (x * x).exp())
    x = jitcore.tensor(X, requires_grad=True)
    for _ in range(3):
        with graph.saved_tensors_hooks(lambda t: seen.append(1) or t, lambda t: t):
            function(x)
    assert len(seen) == 9
    function(x), function(x)
    assert len(seen) == 9


def _block(L, w):
    return lambda x: ((x @ w).tanh() * x).sin()


@LIBRARIES
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_has_the_same_gradients(L, reentrant):
    x, w = L.tensor(X, requires_grad=True), L.tensor(X[:, :1] * X[:, :1].T @ np.ones((3, 4)), requires_grad=True)
    w = L.tensor(np.resize(X, (4, 4)), requires_grad=True)
    _block(L, w)(x).sum().backward()
    expected = x.grad.numpy().copy(), w.grad.numpy().copy()
    x.grad = w.grad = None
    runs = []

    def counted(x):
        runs.append(1)
        return _block(L, w)(x)

    _checkpoint(L)(counted, x * 1, use_reentrant=reentrant).sum().backward()
    assert len(runs) == 2
    np.testing.assert_allclose(x.grad.numpy(), expected[0], 1e-12)
    np.testing.assert_allclose(w.grad.numpy(), expected[1], 1e-12)


@LIBRARIES
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_draws_the_same_random_numbers(L, reentrant):
    x = L.ones(1000, requires_grad=True)
    L.manual_seed(0)
    y = _checkpoint(L)(lambda a: L.nn.functional.dropout(a * 1, 0.5), x, use_reentrant=reentrant)
    L.rand(3)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


@LIBRARIES
def test_checkpoint_takes_grad_keywords_and_second_gradients(L):
    x = L.tensor(X, requires_grad=True)
    y = _checkpoint(L)(lambda a, power: (a.sin() ** power).exp(), x, power=3, use_reentrant=False)
    (g,) = L.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), x)
    t = torch.tensor(X, requires_grad=True)
    (a,) = torch.autograd.grad((t.sin() ** 3).exp().sum(), t, create_graph=True)
    np.testing.assert_allclose(h.numpy(), torch.autograd.grad(a.sum(), t)[0].numpy(), 1e-9)


@LIBRARIES
def test_a_reentrant_checkpoint_refuses_grad(L):
    x = L.tensor(X, requires_grad=True)
    y = _checkpoint(L)(lambda a: a.exp(), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant"):
        L.autograd.grad(y.sum(), x)


def test_a_second_run_that_differs_is_an_error():
    runs = []

    def function(x):
        runs.append(1)
        return (x.exp() if len(runs) == 1 else x.exp().exp()) * 2

    y = checkpoint(function, jitcore.tensor(X, requires_grad=True), use_reentrant=False)
    with pytest.raises(CheckpointError):
        y.sum().backward()


def test_a_written_argument_is_an_error():
    x = jitcore.tensor(X, requires_grad=True)
    z = x * 1
    y = checkpoint(lambda a: a.exp(), z, use_reentrant=False)
    with jitcore.no_grad():
        z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_sequential(reentrant):
    model = jitcore.nn.Sequential(*[m for _ in range(3) for m in (jitcore.nn.Linear(4, 4), jitcore.nn.Tanh())])
    x = jitcore.tensor(X.astype(np.float32), requires_grad=True)
    model(x).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    checkpoint_sequential(model, 3, x, use_reentrant=reentrant).sum().backward()
    for p, g in zip(model.parameters(), expected):
        np.testing.assert_allclose(p.grad.numpy(), g.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_under_jit(reentrant):
    w = jitcore.tensor(np.resize(X, (4, 4)), requires_grad=True)

    def step(x):
        w.grad = None
        y = checkpoint(lambda a: (a @ w).tanh() * a, x * w.sum(), use_reentrant=reentrant)
        y.sum().backward()
        return w.grad

    expected = step(jitcore.tensor(X)).numpy().copy()
    compiled = jitcore.jit(step)
    for _ in range(3):
        np.testing.assert_allclose(compiled(jitcore.tensor(X)).numpy(), expected, 1e-9)
