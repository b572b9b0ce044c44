"""Each model: eager equals PyTorch, compiled equals eager, exported and loaded equals eager, native and interpreted."""

import numpy as np
import pytest
import torch
from models import MODELS

import jitcore
import jitcore_runtime

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


@pytest.fixture(params=MODELS)
def pair(request):
    """(jitcore's model, PyTorch's with the same weights, a function that makes an input of a batch size)."""
    build, make_input = MODELS[request.param]
    torch.manual_seed(0)
    theirs = build(torch)
    ours = build(jitcore)
    ours.load_state_dict({name: jitcore.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    return ours, theirs, lambda batch: make_input(np.random.default_rng(1), batch)


def run_and_differentiate(module, model, call, array):
    """Output of `call` and the gradients of sum(output**2) in the input and every parameter, as arrays."""
    x = module.tensor(array)
    if array.dtype == np.float32:
        x.requires_grad_()
    for parameter in model.parameters():
        parameter.grad = None
    output = call(x)
    (output**2).sum().backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    if x.requires_grad:
        gradients["input"] = x.grad.numpy()
    return output.detach().numpy(), gradients


def assert_same(given, expected):
    np.testing.assert_allclose(given[0], expected[0], **TOLERANCE)
    assert given[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = max(1.0, float(np.abs(gradient).max()))
        np.testing.assert_allclose(given[1][name] / scale, gradient / scale, **TOLERANCE, err_msg=name)


def test_eager_equals_pytorch(pair):
    ours, theirs, make_input = pair
    array = make_input(5)
    expected = run_and_differentiate(torch, theirs, theirs, array)
    assert_same(run_and_differentiate(jitcore, ours, ours, array), expected)
    for name, value in theirs.state_dict().items():  # running statistics too
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), **TOLERANCE)


def test_compiled_equals_eager(pair):
    ours, _, make_input = pair
    array = make_input(5)
    ours.eval()
    compiled = jitcore.jit(ours)
    expected = run_and_differentiate(jitcore, ours, ours, array)
    for _ in range(3):
        assert_same(run_and_differentiate(jitcore, ours, compiled, array), expected)
    assert "replayed 2 times" in compiled.explain(), compiled.explain()
    assert "backward pass is compiled" in compiled.explain()


@pytest.mark.parametrize("native", [True, False], ids=["native", "interpreted"])
def test_exported_with_any_batch_equals_eager(pair, native, tmp_path):
    ours, _, make_input = pair
    ours.eval()
    dtype, dims = make_input(1).dtype, ",".join(map(str, make_input(1).shape[1:]))
    path = tmp_path / "model.jca"
    targets = ["x86-64-v2", "x86-64-v3"] if native else []
    jitcore.export(ours, path, inputs={"input": f"{dtype}[N,{dims}]"}, targets=targets)
    model = jitcore_runtime.load(path, native=native)
    for batch in (2, 1, 7):
        array = make_input(batch)
        with jitcore.no_grad():
            expected = ours(jitcore.tensor(array)).numpy()
        np.testing.assert_allclose(model(array), expected, **TOLERANCE)
