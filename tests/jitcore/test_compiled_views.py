"""Random programs of views, writes and gradients: compiled runs equal eager ones, in results and in what they write."""

import random
import warnings

import numpy as np
import pytest
from test_views_and_writes import view_of

import jitcore


def random_steps(choose):
    """Steps over a growing list of tensors: take a view, make a new tensor, or write to one."""
    steps, count = [], 3
    for _ in range(choose.randint(3, 9)):
        kind = choose.choice(["view", "view", "write", "write", "new"])
        source = choose.randrange(count)
        if kind == "write":
            steps.append(
                (kind, source, choose.choice(["add", "mul", "copy", "sin", "neg", "zero"]), choose.randrange(count))
            )
            continue
        names = ["row", "column", "T", "flat", "step", "unsqueeze"] if kind == "view" else ["sin", "neg", "clone"]
        steps.append((kind, source, choose.choice(names), 0))
        count += 1
    return steps


def run(steps, tensors):
    for kind, source, name, other in steps:
        x = tensors[source]
        if kind == "view":
            tensors.append(view_of(x, name))
        elif kind == "new":
            tensors.append(getattr(x, name)())
        elif name in ("sin", "neg", "zero"):
            getattr(x, name + "_")()
        elif tensors[other].numel() >= x.numel():
            getattr(x, name + "_")(tensors[other].reshape(-1)[: x.numel()].reshape(x.shape).clone())
    return tensors


def arrays(seed):
    return [np.random.default_rng(seed + k).normal(size=(3, 4)) for k in range(3)]


@pytest.mark.parametrize("seed", range(16))
def test_writes_to_arguments(seed):
    steps = random_steps(random.Random(seed))
    check(lambda a, b, c: run(steps, [a * 1, b, c]))


@pytest.mark.parametrize("seed", range(16))
def test_gradients_through_writes(seed):
    steps = random_steps(random.Random(100 + seed))

    def function(a, b, c):
        leaf = a.detach().requires_grad_()
        tensors = run(steps, [leaf * 1, leaf * b, c])
        total = sum(((k + 1) * t).sum() for k, t in enumerate(tensors))
        return [t.detach() for t in tensors], jitcore.autograd.grad(total, leaf)[0]

    try:
        function(*[jitcore.tensor(x) for x in arrays(0)])
    except RuntimeError as error:
        assert "inplace" in str(error) or "in-place" in str(error) or "does not require grad" in str(error)
        return
    check(function)


def check(function):
    compiled = jitcore.jit(function)
    for call in range(3):
        eager_inputs, inputs = ([jitcore.tensor(x) for x in arrays(10 * call)] for _ in range(2))
        expected = function(*eager_inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jitcore.JitWarning)
            results = compiled(*inputs)
        assert len(results) == len(expected)
        for position, (a, b) in enumerate(zip(flat(results) + inputs, flat(expected) + eager_inputs)):
            np.testing.assert_allclose(
                a.numpy(force=True), b.numpy(force=True), rtol=1e-9, atol=1e-9, err_msg=f"call {call}, {position}"
            )
        for a, b in zip(flat(results), flat(expected)):
            shares = [a._storage is x._storage for x in inputs]
            assert shares == [b._storage is x._storage for x in eager_inputs]


def flat(result):
    if isinstance(result, jitcore.Tensor):
        return [result]
    return [t for part in result for t in flat(part)]


def test_windows_of_a_product():
    """A place that several reshapes and permutes lead back to: the index must come out as it went in."""

    def windows(a, b, shortcut):
        image = ((a @ b).view(16, 16, 16) + 1).view(16, 4, 4, 16)
        parts = image.view(4, 2, 2, 4, 4, 16).permute(0, 1, 3, 2, 4, 5).contiguous()
        return parts.view(4, 64, 16) + shortcut

    random = np.random.default_rng(0)
    given = [jitcore.tensor(random.normal(size=size)) for size in ((256, 8), (8, 16), (4, 64, 16))]
    compiled = jitcore.jit(windows)
    for _ in range(2):
        np.testing.assert_allclose(compiled(*given).numpy(), windows(*given).numpy(), 1e-12)
    assert "replayed 1 times" in compiled.explain()
