"""Recordings grow a tree: shared beginnings run once, and what decides is a guard."""

import warnings

import numpy as np
import pytest
from recorded import entries, recordings, vector

import jitcore
from jitcore.trace import recordings as recordings_module


def test_the_beginning_is_shared_and_runs_once(ran):
    def f(x):
        y = (x @ x).tanh()
        if y.sum() > 0:
            return y * 2, y
        return y - 1, x

    jitted = jitcore.jit(f)
    positive, negative = jitcore.ones(2, 2), jitcore.tensor([[0.0, 1.0], [-1.0, 0.0]])
    jitted(positive)
    jitted(negative)
    (root,) = entries(jitted)[0].tree.roots
    assert [node.variant is None for node in root.nodes()] == [True, False, False]
    for x in (positive, negative, negative, positive):
        ran.clear()
        for ours, theirs in zip(jitted(x), f(x), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-6)
        products = [sum(o.spec.name == "dot" for o in program.graph.operations) for program in ran]
        assert products == [1, 0]


def test_decisions_within_decisions():
    def f(x, n):
        total = x
        for i in range(int(n)):
            total = total + x * i if total.sum() > 4 else total * 2
            if total[0] > 30:
                return total, i
        return total - 1, -1

    jitted = jitcore.jit(f)
    for v in (1, 3, -2, 9, 0.5):
        for n in (0, 1, 3, 5):
            for _ in range(2):
                ours, theirs = jitted(vector(v, 1), jitcore.tensor(n)), f(vector(v, 1), jitcore.tensor(n))
                assert ours[1] == theirs[1]
                np.testing.assert_allclose(ours[0].numpy(), theirs[0].numpy(), rtol=1e-6)
    tree = entries(jitted)[0].tree
    assert len(tree.roots) == 1 and len(tree.variants) > 5
    assert jitted._eager_calls == 0


def test_iteration_to_convergence():
    def f(x):
        steps = 0
        while (x - x.sqrt()).abs().max().item() > 1e-3:
            x, steps = x.sqrt(), steps + 1
        return x, steps

    jitted = jitcore.jit(f)
    for v in (2, 100, 1, 5, 100, 2):
        ours, theirs = jitted(vector(v)), f(vector(v))
        assert ours[1] == theirs[1]
        np.testing.assert_allclose(ours[0].numpy(), theirs[0].numpy(), rtol=1e-6)


def test_writes_are_made_by_the_way_that_was_taken():
    seen = jitcore.zeros(2)

    def f(x):
        x.mul_(2)
        seen.add_(x)
        if seen[0] > 5:
            seen.zero_()
            return x + 1
        return x - 1

    jitted = jitcore.jit(f)
    expected, total = [], np.zeros(2, np.float32)
    for v in (1, 1, 1, 2, -1, 3, 1):
        x = vector(v, 1)
        result = jitted(x)
        total += np.float32([2 * v, 2])
        sign = 1 if total[0] > 5 else -1
        total = np.zeros(2, np.float32) if total[0] > 5 else total
        np.testing.assert_allclose(result.numpy(), np.float32([2 * v, 2]) + sign)
        np.testing.assert_allclose(x.numpy(), [2 * v, 2])
        np.testing.assert_allclose(seen.numpy(), total)
    assert not expected and recordings(jitted) == 2


def test_gradients_through_each_way():
    jitcore.manual_seed(0)
    layer = jitcore.nn.Linear(2, 2)

    def f(x):
        y = layer(x).sin()
        return (y * y).sum() if y.sum() > 0 else y.sum() * 3

    jitted = jitcore.jit(f)
    for v in (1, -1, 2, -2, 1, -1):
        ours, theirs = [], []
        for function, into in ((jitted, ours), (f, theirs)):
            layer.zero_grad()
            x = vector(v, 0.5).requires_grad_()
            function(x).backward()
            into += [x.grad.numpy(), layer.weight.grad.numpy()]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_exception_while_recording_undoes_what_the_call_wrote():
    state = jitcore.zeros(2)
    weight = jitcore.ones(2, requires_grad=True)

    def f(x):
        x.add_(1)
        state.copy_(x)
        (weight * x).sum().backward()
        if x.sum() > 10:
            raise KeyError("too much")
        return x * 2

    jitted = jitcore.jit(f)
    jitted(vector(1, 2))
    jitted(vector(1, 2))
    before = state.tolist(), weight.grad.tolist()
    x = vector(20, 2)
    for _ in range(2):
        with pytest.raises(KeyError):
            jitted(x)
        assert x.tolist() == [20, 2] and (state.tolist(), weight.grad.tolist()) == before


def test_over_budget_new_ways_run_eagerly_and_old_ones_stay(monkeypatch):
    monkeypatch.setattr(recordings_module, "MOST_VARIANTS", 4)

    def f(x):
        return x * float(x[0])

    jitted = jitcore.jit(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for v in range(1, 12):
            np.testing.assert_allclose(jitted(vector(v, 1)).numpy(), [v * v, v])
    said = [str(w.message) for w in caught if issubclass(w.category, jitcore.JitWarning)]
    assert len(said) == 2 and "was recorded 3 times more" in said[0]
    assert "4 recordings" in said[1] and "test_trace_tree.py" in said[1]
    before = jitted._eager_calls
    for v in (1, 2, 3, 4):
        np.testing.assert_allclose(jitted(vector(v, 1)).numpy(), [v * v, v])
    assert jitted._eager_calls == before


def test_recordings_not_used_for_long_make_room(monkeypatch):
    monkeypatch.setattr(recordings_module, "MOST_VARIANTS", 2)
    monkeypatch.setattr(recordings_module, "PATIENCE", 3)
    jitted = jitcore.jit(lambda x: x * float(x[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for v in (1, 2, *[3, 2] * 6):
            np.testing.assert_allclose(jitted(vector(v, 1)).numpy(), [v * v, v])
    assert sorted(variant.outcomes for variant in entries(jitted)[0].variants) == [(2.0,), (3.0,)]
    assert jitted._eager_calls == 2


def test_kinds_of_calls_are_bounded(monkeypatch):
    monkeypatch.setattr(recordings_module, "MOST_KINDS", 4)
    jitted = jitcore.jit(lambda x: x * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for rank in (*range(1, 12), *[2] * 4, 3, 2):
            np.testing.assert_allclose(jitted(jitcore.ones(*[2] * rank)).numpy(), np.full([2] * rank, 2.0))
    assert len(jitted._recordings.entries) <= 4


def steps(x, bias, limit):
    y = (x * x).sum()
    if y > limit:
        bias.add_(x)
        return y.item(), x * 2
    if x[0] > 0:
        return -1.0, (x + bias).sum(), x
    for _ in range(int(x[1])):
        x = x + 1
    return y.item() * 2, x


def test_a_small_tree_becomes_one_program_with_branches(ran):
    jitted = jitcore.jit(steps)
    ours, theirs = jitcore.zeros(2), jitcore.zeros(2)
    calls = [(3, 1), (1, 1), (-1, 0), (-1, 1), (-1, 2), (2, 2), (0.5, 0), (-2, 5), (-1, 1)]

    def agree():
        for a, b in calls:
            given, expected = jitted(vector(a, b), ours, 4.5), steps(vector(a, b), theirs, 4.5)
            assert len(given) == len(expected)
            for x, y in zip(given, expected, strict=True):
                assert type(x) is type(y)
                np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-6)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy())

    for _ in range(4):
        agree()
    (root,) = entries(jitted)[0].tree.roots
    assert root.merged is not None and "cond" in str(root.merged.program.graph)
    ran.clear()
    agree()
    assert len(ran) == len(calls)  # one native call each, whichever way it goes
    calls.append((-1.5, 1.5))  # an outcome that was not seen before: recorded, and the tree grows
    agree()
    calls.append((-1, 3))
    agree()
    for _ in range(2):
        agree()
    assert len(root.merged.variants) == recordings(jitted) and jitted._eager_calls == 0


def test_a_merged_program_minds_guards_before_every_branch(ran):
    def f(x, y):
        if y > 3:
            return x * 100
        if not jitcore.isfinite(y):
            raise ValueError("not finite")
        return x * 2 if x > 1 else x * 3 if x > 0 else x * 4

    jitted = jitcore.jit(f, native=False)
    for turn in range(40):
        x = jitcore.tensor([2.0, 1.0, -1.0][turn % 3])
        assert jitted(x, jitcore.tensor(0.0)).item() == f(x, jitcore.tensor(0.0)).item()
    ran.clear()
    jitted(jitcore.tensor(1.0), jitcore.tensor(0.0))
    assert len(ran) == 1  # the whole tree as one
    for x in (2.0, 1.0, -1.0):
        assert jitted(jitcore.tensor(x), jitcore.tensor(5.0)).item() == x * 100
        with pytest.raises(ValueError, match="not finite"):
            jitted(jitcore.tensor(x), jitcore.tensor(-float("inf")))


def test_a_node_that_is_cut_again_takes_what_those_above_it_have(ran):
    c = jitcore.tensor(1.0)

    def f(x):
        y = jitcore.zeros(())
        if x > 2:
            return x
        y = y * 2 + c
        if x > 1:
            return y.sum()
        return x * 3

    jitted = jitcore.jit(f, native=False)
    for x in (0.0, 3.0, 1.5, 0.0, 3.0, 1.5):
        assert jitted(jitcore.tensor(x)).item() == f(jitcore.tensor(x)).item()
    assert len(ran) >= 6


def test_merged_ways_are_differentiable_and_follow_python_state():
    jitcore.manual_seed(0)
    layer = jitcore.nn.Linear(2, 1)
    scale = 2.0

    def f(x):
        y = layer(x)
        return (y * scale).sum() if y.sum() > 0 else (y * y).sum()

    jitted = jitcore.jit(f)

    def agree():
        for v in (3, -3, 1, -1):
            ours, theirs = [], []
            for function, into in ((jitted, ours), (f, theirs)):
                layer.zero_grad()
                x = vector(v, v).requires_grad_()
                function(x).backward()
                into += [x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()]
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    for _ in range(6):
        agree()
    assert any(root.merged is not None for entry in entries(jitted) for root in entry.tree.roots)
    scale = 5.0
    for _ in range(6):
        agree()


def test_an_operation_that_fails_in_a_replay_changes_nothing():
    def f(x, matrix):
        x.add_(1)
        return jitcore.linalg.cholesky(matrix) * x.sum()

    jitted = jitcore.jit(f)
    x = vector(1, 2)
    for _ in range(3):
        jitted(x, jitcore.eye(2))
    before = x.tolist()
    with pytest.raises(jitcore.linalg.LinAlgError):
        jitted(x, -jitcore.eye(2))
    assert x.tolist() == before


def test_costly_recordings_that_serve_no_other_call_are_not_made_forever(monkeypatch):
    monkeypatch.setattr(recordings_module, "LONG", 0.0)
    monkeypatch.setattr(recordings_module, "PATIENCE", 6)

    def f(x):
        return x * float(x.sum())

    jitted = jitcore.jit(f, native=False)
    with pytest.warns(jitcore.JitWarning, match="4 recordings took .* and served no other call"):
        for n in range(4 + 6 + 5):
            assert jitted(vector(n, 1)).tolist() == f(vector(n, 1)).tolist()
    assert recordings(jitted) == 4 + 1  # one of every six misses tries again
    jitted(vector(0, 1))
    assert sum(v.hits for v in entries(jitted)[0].variants) == 1
    jitted(vector(50, 1))  # one was of use, so that others may be
    assert recordings(jitted) == 6
