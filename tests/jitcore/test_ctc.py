"""Connectionist temporal classification: PyTorch's values, gradients and refusals, eagerly, compiled and exported."""

import numpy as np
import pytest
import torch

import jitcore
import jitcore.nn.functional as F
import jitcore_runtime


def drawn(seed):
    """Log-probabilities [T, N, C], targets [N, S], and lengths, of which some fit no alignment."""
    rng = np.random.default_rng(seed)
    steps, samples, classes, most = (int(rng.integers(low, high)) for low, high in ((1, 9), (1, 4), (2, 5), (1, 5)))
    x = rng.standard_normal((steps, samples, classes))
    targets = rng.integers(1, classes, (samples, most))
    return x, targets, rng.integers(0, steps + 1, samples).tolist(), rng.integers(0, most + 1, samples).tolist()


@pytest.mark.parametrize("seed", range(40))
def test_values_and_gradients_are_pytorchs(seed):
    x, targets, lengths, labels = drawn(seed)
    found = []
    for library in (torch, jitcore):
        loss = library.nn.functional.ctc_loss
        scores = library.tensor(x).requires_grad_()
        given = library.tensor(targets), lengths, labels
        total = loss(scores.log_softmax(-1), *given, reduction="sum", zero_infinity=True)
        total.backward()
        each = loss(scores.detach().log_softmax(-1), *given, reduction="none")
        found.append([np.asarray(t.detach().numpy()) for t in (each, total, scores.grad)])
    for ours, theirs in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("native", [False, True])
def test_a_compiled_step_is_one_program(native, ran):
    def step(x, targets, lengths, labels):
        x.grad = None
        loss = F.ctc_loss(x.log_softmax(-1), targets, lengths, labels)
        loss.backward()
        return loss.detach(), x.grad * 1

    rng = np.random.default_rng(0)
    jitted = jitcore.jit(step, native=native)
    for _ in range(4):
        x = jitcore.tensor(rng.standard_normal((50, 4, 7)).astype(np.float32))
        targets = jitcore.tensor(rng.integers(1, 7, (4, 12)))
        lengths, labels = (jitcore.tensor(rng.integers(*between, 4)) for between in ((30, 51), (5, 13)))
        for ours, theirs in zip(
            jitted(x.clone().requires_grad_(), targets, lengths, labels),
            step(x.clone().requires_grad_(), targets, lengths, labels),
            strict=True,
        ):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    assert len(ran) == 3


def test_exported(tmp_path):
    def loss(x, targets, lengths, labels):
        return F.ctc_loss(x, targets, lengths, labels, reduction="none")

    rng = np.random.default_rng(0)
    path = tmp_path / "loss.jca"
    inputs = {"x": "float32[T,N,5]", "targets": "int64[N,3]", "lengths": "int64[N]", "labels": "int64[N]"}
    jitcore.export(loss, path, inputs, targets=())
    for steps, samples in ((4, 2), (9, 3)):
        x = jitcore.tensor(rng.standard_normal((steps, samples, 5)).astype(np.float32)).log_softmax(-1)
        given = [jitcore.tensor(rng.integers(*between, shape)) for between, shape in (
            ((1, 5), (samples, 3)), ((2, steps + 1), samples), ((0, 4), samples),
        )]  # fmt: skip
        expected = loss(x, *given).numpy()
        got = jitcore_runtime.load(path)(x.numpy(), *(t.numpy() for t in given))
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_no_steps_and_no_samples():
    none = F.ctc_loss(jitcore.zeros(0, 2, 3), jitcore.ones(2, 1, dtype=jitcore.int64), (0, 0), (0, 1), reduction="none")
    assert none.tolist() == [0.0, float("inf")]
    empty = F.ctc_loss(jitcore.zeros(4, 0, 3), jitcore.ones(0, 1, dtype=jitcore.int64), (), (), reduction="none")
    assert empty.shape == (0,)


@pytest.mark.parametrize("lengths, labels, words", [
    ((6, 5), (2, 2), "expected input_lengths of 0 to 5, got 6"),
    ((5, -1), (2, 2), "expected input_lengths of 0 to 5, got -1"),
    ((5, 5), (2, 3), "expected target_lengths of 0 to 2, got 3"),
    ((5, 5), (-1, 2), "expected target_lengths of 0 to 2, got -1"),
])  # fmt: skip
def test_lengths_that_do_not_fit(lengths, labels, words):
    x, targets = jitcore.randn(5, 2, 4).log_softmax(-1), jitcore.ones(2, 2, dtype=jitcore.int64)
    with pytest.raises(RuntimeError):
        torch.nn.functional.ctc_loss(torch.zeros(5, 2, 4), torch.ones(2, 2, dtype=torch.int64), lengths, labels)
    with pytest.raises(RuntimeError, match=words):
        F.ctc_loss(x, targets, lengths, labels)
    unused = jitcore.jit(lambda x, a, b: F.ctc_loss(x, targets, a, b) * 0 + 1, native=False)
    fine = jitcore.tensor([5, 4]), jitcore.tensor([2, 1])
    for _ in range(2):
        assert unused(x, *fine).item() == 1
    with pytest.raises(RuntimeError, match=words):
        unused(x, jitcore.tensor(lengths), jitcore.tensor(labels))


def test_no_gradient_of_the_gradient():
    x = jitcore.randn(5, 1, 4).requires_grad_()
    loss = F.ctc_loss(x.log_softmax(-1), jitcore.ones(1, 2, dtype=jitcore.int64), (5,), (2,))
    [gradient] = jitcore.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        gradient.square().sum().backward()
