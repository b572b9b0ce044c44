"""Sizes that change between calls of a jitted function: symbols from the second recording on, right for every size."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch

import jitcore
from jitcore import nn, optim


def traces(jitted):
    return len(jitted._recordings.variants())


def agree(jitted, function, *calls):
    for arguments in calls:
        given, expected = jitted(*arguments), function(*arguments)
        for a, b in zip(flat(given), flat(expected), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def flat(result):
    leaves = result if isinstance(result, tuple | list) else [result]
    return [np.asarray(x.detach()._array if isinstance(x, jitcore.Tensor) else x) for x in leaves]


def rows(*shape):
    return jitcore.tensor(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("sizes", [(1, 8, 0, 3, 1), (8, 1, 0, 5), (0, 4, 1, 9), (8, 0, 1, 2)])
@pytest.mark.parametrize("native", [True, False], ids=["native", "interpreted"])
def test_a_changing_batch_is_recorded_twice(sizes, native):
    def f(x):
        return (x * 2 + 1).softmax(-1).sum(0), x.mean(1)

    jitted = jitcore.jit(f, native=native)
    agree(jitted, f, *[(rows(n, 4),) for n in sizes])
    assert traces(jitted) == 2
    assert "N" in jitted.explain()


def test_two_dimensions_that_change_apart_are_two_symbols():
    def f(x):
        return x.reshape(x.shape[0], -1).cumsum(1), x.transpose(0, 1) * x.shape[1]

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(*shape),) for shape in ((2, 3, 4), (5, 6, 4), (6, 5, 4), (1, 1, 4), (3, 0, 4), (2, 3, 4))])
    assert traces(jitted) == 2


def test_sizes_that_went_together_and_then_do_not():
    def f(x, y):
        return x.sum(0) + y.sum(0)

    jitted = jitcore.jit(f)
    agree(jitted, f, (rows(2, 3), rows(2, 3)), (rows(4, 3), rows(4, 3)), (rows(5, 3), rows(5, 3)))
    assert traces(jitted) == 2
    agree(jitted, f, (rows(5, 3), rows(2, 3)), (rows(1, 3), rows(7, 3)), (rows(4, 3), rows(4, 3)))
    assert traces(jitted) == 3


def test_broadcasting_decides_by_which_sizes_are_1():
    def f(x, y):
        return x + y

    jitted = jitcore.jit(f)
    pairs = [(2, 2), (4, 4), (1, 3), (3, 1), (1, 1), (5, 5), (1, 6), (7, 1)]
    agree(jitted, f, *[(rows(a, 3), rows(b, 3)) for a, b in pairs])
    with pytest.raises(RuntimeError, match="broadcast"):
        jitted(rows(2, 3), rows(3, 3))


def test_a_branch_on_a_size_is_a_guard():
    def f(x):
        return x * 2 if x.shape[0] > 4 else x - 1

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(n, 2),) for n in (2, 3, 8, 4, 5, 0, 100, 1)])
    assert traces(jitted) == 3  # the first, and one for each outcome
    assert "N > 4" in jitted.explain() and "test_dynamic_shapes.py" in jitted.explain()


def test_a_loop_over_a_size_is_recorded_per_size():
    def f(x):
        total = x[0] * 0
        for i in range(x.shape[0]):
            total = total * 2 + x[i]
        return total

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(n, 2),) for n in (2, 3, 4, 2, 3, 4)])
    assert traces(jitted) == 3


def test_divisibility_is_a_guard():
    def f(x):
        return x.reshape(-1, 4).sum(1) if x.numel() % 4 == 0 else x.sum()

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(n),) for n in (4, 8, 12, 6, 7, 16, 0, 9, 5)])
    assert traces(jitted) <= 4


def test_sizes_and_shapes_as_results_are_those_of_the_call():
    def f(x):
        return x * 2, x.shape[0], x.shape, x.size(0) * 3 + 1, len(x.shape), x.view(-1)

    jitted = jitcore.jit(f)
    for n in (2, 5, 7, 1):
        given = jitted(rows(n, 3))
        assert given[1:5] == (n, (n, 3), 3 * n + 1, 2)
        assert type(given[1]) is int and type(given[2]) is jitcore.Size and type(given[2][0]) is int
        assert given[5].shape == (3 * n,)
    assert traces(jitted) == 2


def test_results_that_are_views_have_the_sizes_of_the_call():
    def f(x):
        y = x * 2
        return y, y[1:], y.reshape(-1)[: x.shape[0]], y.t()

    jitted = jitcore.jit(f)
    for n in (3, 5, 2):
        x = rows(n, 2)
        whole, rest, start, turned = jitted(x)
        agree(jitted, f, (x,))
        whole.fill_(7.0)
        for view in (rest, start, turned):
            assert (view.numpy() == 7).all()
    assert traces(jitted) == 2


def test_writes_to_arguments_of_any_size():
    def f(x, y):
        x[1:] += y[:-1]
        return x.mul_(2).sum()

    jitted = jitcore.jit(f)
    for n in (3, 5, 2, 1):
        ours, theirs = [rows(n, 2), rows(n, 2) * 3], [rows(n, 2), rows(n, 2) * 3]
        np.testing.assert_allclose(jitted(*ours).item(), f(*theirs).item(), rtol=1e-6)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert traces(jitted) == 2


@pytest.mark.parametrize("sizes", [(3, 5, 1, 4), (5, 1, 3), (1, 4, 2)])
def test_gradients_of_a_jitted_function_with_symbols(sizes):
    layer = nn.Linear(4, 3)

    def f(x):
        return (layer(x) * x.mean(1, keepdim=True)).tanh().sum(0) / x.shape[0]

    jitted = jitcore.jit(f)
    for n in sizes:
        gradients = []
        for function in (jitted, f):
            layer.zero_grad()
            x = rows(n, 4).requires_grad_()
            (function(x) ** 2).sum().backward()
            gradients.append([x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()])
        for a, b in zip(*gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert traces(jitted) == 2
    assert "backward pass is compiled" in jitted.explain()


def test_data_decides_and_sizes_change():
    def f(x):
        y = (x * 2).exp()
        return y.sum(0) if x.sum() > 0 else y.mean(0) * x.shape[0] + 1

    jitted = jitcore.jit(f)
    calls = [rows(n, 3).abs() * sign for n in (2, 4, 7, 1, 5) for sign in (1, -1)]
    agree(jitted, f, *[(x,) for x in calls], *[(x,) for x in calls])
    assert traces(jitted) <= 4


def test_dynamic_true_is_one_recording_and_false_one_each():
    def f(x):
        return x.sum(0)

    for dynamic, expected in ((True, 1), (False, 4), (None, 2)):
        jitted = jitcore.jit(f, dynamic=dynamic)
        agree(jitted, f, *[(rows(n, 3),) for n in (2, 4, 1, 0, 4)])
        assert traces(jitted) == expected


def test_a_marked_dimension_is_a_symbol_at_once():
    def f(x):
        return x.sum(0)

    jitted = jitcore.jit(f)
    x = rows(4, 3)
    jitcore.mark_dynamic(x, 0, min=2, max=10)
    agree(jitted, f, (x,), (rows(2, 3),), (rows(10, 3),))
    assert traces(jitted) == 1
    agree(jitted, f, (rows(11, 3),), (rows(1, 3),), (rows(5, 3),))
    assert traces(jitted) == 2


def test_a_marked_dimension_that_is_used_as_a_number_is_said():
    def f(x):
        return x * float(x.shape[0])

    jitted = jitcore.jit(f)
    x = rows(4, 3)
    jitcore.mark_dynamic(x, 0)
    with pytest.warns(jitcore.JitWarning, match="dimension 0 of argument 0 was marked dynamic, but .*test_dynamic_sha"):
        jitted(x)
    agree(jitted, f, (rows(4, 3),), (rows(5, 3),))


def test_wrong_marks_are_refused():
    x = rows(4, 3)
    with pytest.raises(IndexError):
        jitcore.mark_dynamic(x, 2)
    with pytest.raises(ValueError, match="dimension 0 is 4, outside 5 to 9"):
        jitcore.mark_dynamic(x, 0, min=5, max=9)


def test_integer_arguments_that_change_become_symbols():
    def f(x, n):
        return x[:n] * n + jitcore.arange(n).sum()

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(9, 2), n) for n in (2, 3, 5, 9, 0, 1)])
    assert traces(jitted) == 2
    agree(jitted, f, (rows(9, 2), 12), (rows(9, 2), 40))
    with pytest.raises((RuntimeError, ValueError)):
        jitted(rows(9, 2), -2)


def test_an_integer_that_decides_is_recorded_by_value():
    def f(x, power):
        for _ in range(power):
            x = x * x
        return x

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(3), n) for n in (1, 2, 3, 1, 2, 3)])
    assert traces(jitted) == 3


def test_an_integer_beside_floats_is_no_new_recording():
    def f(x, step):
        return x * (0.1 * step) + step / 4

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(3), n) for n in (1, 2, 3, 10, 0)])
    assert traces(jitted) == 2


def test_a_dimension_argument_is_a_number():
    def f(x, dim):
        return x.sum(dim)

    jitted = jitcore.jit(f)
    agree(jitted, f, *[(rows(3, 4), d) for d in (0, 1, 0, -1, 1)])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            t.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for t in self.qkv(self.before(x)).split(width, 2)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)
        mask = jitcore.tril(jitcore.ones(length, length))
        weights = scores.masked_fill(mask == 0, float("-inf")).softmax(-1)
        x = x + self.drop(self.out((weights @ v).transpose(1, 2).reshape(batch, length, width)))
        return x + self.down(nn.functional.gelu(self.up(self.after(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary=11, width=16, context=12):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(Block(width, 2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places(jitcore.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def test_gpt_training_with_a_varying_last_batch_is_recorded_at_most_twice():
    def losses(compiled):
        jitcore.manual_seed(0)
        model = GPT()
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        for p in model.parameters():  # optimizer state is there from the start
            p.grad = jitcore.zeros_like(p)
        optimizer.step()

        def step(tokens):
            optimizer.zero_grad()
            logits = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(logits.reshape(-1, 11), tokens[:, 1:].reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss.detach()

        run = jitcore.jit(step) if compiled else step
        rng = np.random.default_rng(0)
        found = []
        for _ in range(3):
            for batch, length in ((4, 9), (4, 9), (3, 9), (4, 6), (1, 2)):
                found.append(run(jitcore.tensor(rng.integers(0, 11, (batch, length)))).item())
        return found, run

    expected, _ = losses(False)
    given, jitted = losses(True)
    np.testing.assert_allclose(given, expected, rtol=2e-3)
    assert given[-1] < given[0]
    assert traces(jitted) <= 3 and jitted._eager_calls == 0


def test_a_convolutional_network_with_batch_norm_trains_on_any_batch():
    jitcore.manual_seed(0)
    make = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, stride=2),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    models = [make, copy.deepcopy(make)]

    def step(model):
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def run(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return run

    jitted, eager = jitcore.jit(step(models[0])), step(models[1])
    rng = np.random.default_rng(0)
    for batch in (4, 7, 2, 1, 5):
        x, y = rows(batch, 1, 8, 8), jitcore.tensor(rng.integers(0, 3, batch))
        np.testing.assert_allclose(jitted(x, y).item(), eager(x, y).item(), rtol=1e-4)
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)
    assert traces(jitted) == 2


def test_answers_are_pytorchs_at_every_size():
    def f(lib, x):
        y = lib.nn.functional.layer_norm(x, (4,)).softmax(0)
        return lib.einsum("nd,md->nm", y, y).tril().sum(1) + y.std(0).mean() + y.amax(0).sum()

    jitted = jitcore.jit(lambda x: f(jitcore, x))
    for n in (3, 7, 2, 5, 11):
        x = rows(n, 4)
        np.testing.assert_allclose(jitted(x).numpy(), f(torch, torch.tensor(x.numpy())).numpy(), rtol=1e-4, atol=1e-5)
    assert traces(jitted) == 2


def test_many_sizes_leave_few_recordings_and_no_warning():
    jitted = jitcore.jit(lambda x: x.sum(0) * x.shape[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(300):
            np.testing.assert_allclose(jitted(jitcore.ones(n, 2)).numpy(), [float(n * n)] * 2)
    assert traces(jitted) == 2


def test_an_integer_that_is_only_returned_or_decides_a_branch():
    def f(x, n):
        if n:
            x = x * 2
        return x, n, n + 1

    jitted = jitcore.jit(f, native=False)
    for n in (3, 0, 0, 5, 7, 7, 3, 0):
        given, expected = jitted(jitcore.ones(2), n), f(jitcore.ones(2), n)
        assert given[1:] == expected[1:] and given[0].tolist() == expected[0].tolist()


def test_a_size_that_comparisons_leave_one_value():
    def f(x):
        if x.shape[0] >= 3 and x.shape[0] <= 3:
            return x[:-1].view(2) + 1
        return x * 2

    for dynamic in (None, True):
        jitted = jitcore.jit(f, native=False, dynamic=dynamic)
        for n in (3, 4, 3, 5, 2, 3, 0):
            assert jitcore.equal(jitted(jitcore.ones(n)), f(jitcore.ones(n)))
        assert len(jitted._recordings.variants()) <= 4
