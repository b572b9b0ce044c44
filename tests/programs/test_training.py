"""Whole training steps: one program under jit, the loss curve of eager, and PyTorch's curve from the same start."""

import numpy as np
import pytest
import torch
from models import MODELS

import jitcore

OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3},
    "Adam": {"lr": 1e-2},
    "AdamW": {"lr": 1e-2, "weight_decay": 0.05},
}


def train(module, model, optimizer, inputs, targets, compiled=False, steps=12):
    """Losses of a regression to `targets`, with a learning rate that changes on the way; and the step function."""
    optimizer = getattr(module.optim, optimizer)(list(model.parameters()), **OPTIMIZERS[optimizer])

    def step(x, y):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = module.jit(step) if compiled else step
    losses = []
    for number in range(steps):
        if number == steps // 2:
            optimizer.param_groups[0]["lr"] *= 0.3
        losses.append(float(run(inputs, targets)))
    return losses, run


def prepared(name):
    build, make_input = MODELS[name]
    torch.manual_seed(0)
    theirs = build(torch)
    state = {key: jitcore.tensor(value.numpy()) for key, value in theirs.state_dict().items()}
    array = make_input(np.random.default_rng(1), 6)
    with torch.no_grad():
        shape = build(torch).eval()(torch.from_numpy(array)).shape
    target = np.random.default_rng(2).standard_normal(tuple(shape)).astype(np.float32)

    def ours():
        model = build(jitcore)
        model.load_state_dict(state)
        return model

    return ours, theirs, array, target


@pytest.mark.parametrize("name", ["mlp", "digit_cnn", "transformer_block", "token_classifier"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_loss_curves_agree(name, optimizer):
    ours, theirs, array, target = prepared(name)
    expected, _ = train(torch, theirs, optimizer, torch.from_numpy(array), torch.from_numpy(target))
    inputs, targets = jitcore.tensor(array), jitcore.tensor(target)
    eager, _ = train(jitcore, ours(), optimizer, inputs, targets)
    compiled, step = train(jitcore, ours(), optimizer, inputs, targets, compiled=True)
    np.testing.assert_allclose(eager, expected, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(compiled, eager, rtol=1e-3, atol=1e-6)
    assert "replayed 11 times" in step.explain(), step.explain()


def test_state_after_compiled_steps_is_eagers():
    ours, _, array, target = prepared("digit_cnn")
    first, second = ours(), ours()
    inputs, targets = jitcore.tensor(array), jitcore.tensor(target)
    train(jitcore, first, "SGD", inputs, targets, steps=5)
    train(jitcore, second, "SGD", inputs, targets, compiled=True, steps=5)
    for name, value in first.state_dict().items():
        np.testing.assert_allclose(second.state_dict()[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-3, atol=1e-5, err_msg=name)


def test_dropout_draws_eagers_numbers():
    def losses(compiled):
        jitcore.manual_seed(5)
        nn = jitcore.nn
        model = nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.4), nn.ReLU(), nn.Linear(32, 2))
        inputs = jitcore.tensor(np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32))
        return train(jitcore, model, "Adam", inputs, jitcore.zeros(9, 2), compiled)[0]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-4)
