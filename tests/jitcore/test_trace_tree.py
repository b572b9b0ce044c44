"""Recordings grow a tree: shared beginnings run once, numbers are values, and what decides is a guard."""

import cProfile
import dataclasses
import json
import logging
import math
import warnings

import numpy as np
import pytest

import jitcore
from jitcore.trace import recordings as recordings_module


def vector(*values):
    return jitcore.tensor([float(v) for v in values])


def entries(jitted):
    return list(jitted._recordings.entries.values())


def recordings(jitted):
    return sum(len(entry.variants) for entry in entries(jitted))


def runs_of(monkeypatch, jitted):
    """A list that grows by one for every program that runs."""
    from jitcore_runtime.executor import Executor

    ran, original = [], Executor.run
    monkeypatch.setattr(Executor, "run", lambda self, arrays: (ran.append(self.program), original(self, arrays))[1])
    return ran


def test_a_float_argument_is_a_value_of_the_program():
    def f(x, rate, shift=0.5):
        decayed = rate * 0.9 - 1.0 / (2.0 + rate)
        return x * decayed + shift * -rate + abs(rate)

    jitted = jitcore.jit(f)
    for rate in (0.1, -3.0, 3.5, 0.0, 7.0):
        for shift in (0.5, 1.5):
            np.testing.assert_allclose(jitted(vector(1, 2), rate, shift).numpy(), f(vector(1, 2), rate, shift).numpy())
            given = jitted(vector(1, 2), rate, shift=shift)
            np.testing.assert_allclose(given.numpy(), f(vector(1, 2), rate, shift).numpy())
    assert recordings(jitted) == 2  # by position and by keyword


def test_a_float_that_decides_a_branch_is_guarded_by_the_outcome():
    def f(x, limit):
        return x * 2 if limit > 1.0 else x - limit

    jitted = jitcore.jit(f)
    for limit in (0.5, 2.0, 0.25, 3.0, -1.0, 4.0, math.nan):
        np.testing.assert_allclose(jitted(vector(1, 2), limit).numpy(), f(vector(1, 2), limit).numpy())
    assert recordings(jitted) == 2


@pytest.mark.parametrize(
    "use",
    [lambda r: math.sqrt(r), lambda r: int(r * 4), lambda r: len(f"{r:.3f}"), lambda r: round(r, 1), lambda r: r**2],
)
def test_what_python_computes_from_a_number_pins_it(use):
    def f(x, rate):
        return x * use(rate)

    jitted = jitcore.jit(f)
    for rate in (0.25, 0.5, 0.25, 100.0):
        np.testing.assert_allclose(jitted(vector(1, 2), rate).numpy(), f(vector(1, 2), rate).numpy(), rtol=1e-6)
    assert recordings(jitted) == 3


def test_signs_of_zero_are_told_apart():
    def f(x, rate):
        return x * math.copysign(1.0, rate)

    jitted = jitcore.jit(f)
    assert [jitted(vector(1), rate).item() for rate in (0.0, -0.0, 0.0, -0.0)] == [1, -1, 1, -1]
    read = jitcore.jit(lambda x: x.abs() + math.copysign(1.0, float(x[0])))
    assert [read(vector(rate)).item() for rate in (0.0, -0.0, 0.0, -0.0)] == [1, -1, 1, -1]


def test_an_item_that_is_returned_is_a_result_and_no_guard():
    def f(x):
        loss = (x * x).sum()
        return loss.item(), {"half": loss.item() / 2, "count": (x > 0).sum().item()}

    jitted = jitcore.jit(f)
    for v in range(1, 8):
        loss, rest = jitted(vector(v, 1))
        assert type(loss) is float and type(rest["half"]) is float and type(rest["count"]) is int
        assert loss == v * v + 1 and rest == {"half": loss / 2, "count": 2}
    assert recordings(jitted) == 1


def test_early_stopping_by_an_item():
    best = 10.0

    def f(x, best):
        loss = x.sum().item()
        return (loss, True) if loss < best else (best, False)

    jitted = jitcore.jit(f)
    for v in (9.0, 8.0, 11.0, 7.5, 20.0):
        expected = f(vector(v), best)
        best, improved = jitted(vector(v), best)
        assert (best, improved) == expected
    assert recordings(jitted) == 2


def test_a_list_of_numbers_read_by_tolist():
    def f(x):
        a, b = x.tolist()
        return x * a if a > b else x * b

    jitted = jitcore.jit(f)
    for a, b in ((1, 2), (5, 3), (4, 9), (8, 7)):
        np.testing.assert_allclose(jitted(vector(a, b)).numpy(), np.float32([a, b]) * max(a, b))
    assert recordings(jitted) == 2


def test_numbers_that_live_on_are_plain():
    history = []

    class Holder:
        last = None

    holder = Holder()

    def f(x):
        history.append(x.sum().item())
        holder.last = x.sum().item()
        return x * 2

    jitted = jitcore.jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for v in (1, 2, 3, 4, 5):
            jitted(vector(v))
    assert json.dumps(history) == "[1.0, 2.0, 3.0, 4.0, 5.0]" and type(history[0]) is float
    assert type(holder.last) is float and holder.last == 5


def test_the_beginning_is_shared_and_runs_once(monkeypatch):
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
    ran = runs_of(monkeypatch, jitted)
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


def test_printing_happens_in_every_call_with_the_values_of_that_call(capsys):
    def f(x, rate):
        loss = (x * rate).sum()
        print("loss", loss.item(), "rate", rate)
        print(f"step: loss {loss.item():.3f} at {rate:g}, half {loss.item() / 2:8.2f}", end="!\n")
        print("{:.1f} of {}".format(loss.item(), [1, loss.item()]), x * 2, None)  # noqa: UP032
        print("done")
        return x * 2

    jitted = jitcore.jit(f)
    for v, rate in ((1, 0.5), (2, 0.25), (3, 8.0), (0, 1.0)):
        f(vector(v, 1), rate)
        expected = capsys.readouterr().out
        jitted(vector(v, 1), rate)
        assert capsys.readouterr().out == expected
    assert recordings(jitted) == 1 and jitted._eager_calls == 0


def test_text_that_is_more_than_printed_is_never_stale(capsys):
    def f(x):
        text = f"{x.sum().item():.1f}"
        print(text)
        return x, text

    def ambiguous(x):
        print(f"1.0 or {x.sum().item()}")
        return x * 2

    for function, most in ((f, 3), (ambiguous, 2)):
        jitted = jitcore.jit(function)
        for v in (1, 2, 1, 3):
            expected = function(vector(v))
            printed = capsys.readouterr().out
            given = jitted(vector(v))
            assert capsys.readouterr().out == printed
            assert given[1] == expected[1] if function is f else True
        assert recordings(jitted) == most


def test_printing_does_not_reach_other_threads_or_stay_replaced(capsys):
    before = print
    jitted = jitcore.jit(lambda x: x + 1)
    jitted(vector(1))
    assert print is before


def test_what_is_logged_or_written_is_not_lost(caplog, tmp_path):
    logger = logging.getLogger("test_trace_tree")

    def logs(x):
        logger.warning("sum %.1f", x.sum().item())
        logger.debug("not shown")
        return x * 2

    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        jitted = jitcore.jit(logs)
        for v in (1, 2, 3):
            jitted(vector(v))
    assert [record.getMessage() for record in caplog.records] == ["sum 1.0", "sum 2.0", "sum 3.0"]

    with open(tmp_path / "log", "w") as file:

        def writes(x):
            file.write(f"{x.sum().item()}\n")
            return x * 2

        with pytest.warns(jitcore.JitWarning, match="to a file"):
            jitted = jitcore.jit(writes)
            for v in (1, 2, 3):
                jitted(vector(v))
    assert (tmp_path / "log").read_text() == "1.0\n2.0\n3.0\n"


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


def test_a_small_tree_becomes_one_program_with_branches(monkeypatch):
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
    ran = runs_of(monkeypatch, jitted)
    agree()
    assert len(ran) == len(calls)  # one native call each, whichever way it goes
    calls.append((-1.5, 1.5))  # an outcome that was not seen before: recorded, and the tree grows
    agree()
    calls.append((-1, 3))
    agree()
    for _ in range(2):
        agree()
    assert len(root.merged.variants) == recordings(jitted) and jitted._eager_calls == 0


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


def test_arguments_that_share_memory_are_written_natively():
    def f(x, y, z):
        x.add_(y)
        y.mul_(2)
        z[0] = x.sum() + y.sum()
        return x, y * z.sum(), y, z[1:]

    views = {
        "same": lambda b: (b, b, b),
        "two handles": lambda b: (b, b.view(-1), b[:]),
        "overlapping": lambda b: (b[0:3], b[2:5], b[3:6]),
        "strided": lambda b: (b[::2], b[1::2], b[0:3]),
        "transposed": lambda b: (b.view(2, 3), b.view(3, 2).T, b.view(2, 3)),
    }
    for make in views.values():
        jitted = jitcore.jit(f)
        for n in range(4):
            ours, theirs = jitcore.arange(6.0) + n, jitcore.arange(6.0) + n
            mine = make(ours)
            given, expected = jitted(*mine), f(*make(theirs))
            np.testing.assert_allclose(ours.numpy(), theirs.numpy())
            for a, b in zip(given, expected, strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy())
            assert given[0] is mine[0] and given[2] is mine[1]
            given[3].fill_(50.0)
            expected[3].fill_(50.0)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy())
        assert jitted._eager_calls == 0 and recordings(jitted) == 1


def test_other_places_in_the_same_memory_are_another_recording():
    jitted = jitcore.jit(lambda x, y: x.add_(y))
    for start, stop in ((0, 2), (1, 2), (2, 0), (0, 2), (1, 2)):
        ours, theirs = jitcore.arange(6.0), jitcore.arange(6.0)
        jitted(ours[start : start + 3], ours[stop : stop + 3])
        theirs[start : start + 3].add_(theirs[stop : stop + 3])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy())


def test_the_same_tensor_twice_says_nothing_of_two_tensors():
    jitted = jitcore.jit(lambda x, y: x * y + 1)
    a, b = vector(2, 3), vector(5, 7)
    for x, y in ((a, a), (a, b), (b, a), (b, b), (a[:], b[:])):
        np.testing.assert_allclose(jitted(x, y).numpy(), x.numpy() * y.numpy() + 1)


@pytest.mark.parametrize(
    "use",
    [
        lambda x, r: jitcore.tensor(r) * x + jitcore.tensor([r, 1.0])[0],
        lambda x, r: r**x + jitcore.full((2,), r) + x.masked_fill(x > 1, r).clamp(-r, r),
        lambda x, r: jitcore.nn.functional.leaky_relu(-x, r) + jitcore.where(x > 1, x, r).add(x, alpha=r),
        lambda x, r: jitcore.lerp(x, x * 2, r) + (x.double() * r).float() + (x.half() * r).float(),
    ],
)
def test_operations_take_a_float_argument_as_a_value(use):
    jitted = jitcore.jit(use)
    for rate in (0.5, 1.5, 0.25, 3.0):
        np.testing.assert_allclose(jitted(vector(1, 2), rate).numpy(), use(vector(1, 2), rate).numpy(), rtol=1e-5)
    assert recordings(jitted) == 1


def test_a_profiler_goes_on_after_a_recording():
    profile = cProfile.Profile()
    jitted = jitcore.jit(lambda x: x * 2)
    profile.enable()
    try:
        jitted(vector(1))
        math.factorial(3)
    finally:
        profile.disable()
    assert any("factorial" in str(entry.code) for entry in profile.getstats())


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


def test_dataclasses_in_results_are_the_objects_themselves_unless_they_hold_tensors():
    @dataclasses.dataclass
    class Config:
        size: int

    @dataclasses.dataclass
    class Output:
        loss: jitcore.Tensor
        config: Config

    config = Config(3)
    jitted = jitcore.jit(lambda x: (x.dtype, x.device, config, Output(x * config.size, config)))
    for v in (1, 2, 3):
        dtype, device, given, output = jitted(vector(v))
        assert dtype is jitcore.float32 and device == jitcore.device("cpu") and given is config
        assert type(output) is Output and output.config is config and output.loss.item() == 3 * v


def test_memory_order_of_arguments_is_part_of_the_kind_of_call():
    def f(x):
        y = x + 1
        y.reshape(-1).add_(0.5)
        return y

    jitted = jitcore.jit(f)
    for x in (jitcore.ones(3, 3), jitcore.arange(9.0).view(3, 3).t(), jitcore.ones(3, 3), jitcore.ones(4, 2).t()):
        for _ in range(2):
            np.testing.assert_allclose(jitted(x).numpy(), f(x).numpy())


@pytest.mark.parametrize(
    "change",
    [
        lambda x: jitcore.add(x, jitcore.ones(3), out=x),
        lambda x: x.squeeze_(),
        lambda x: x.resize_(1),
        lambda x: setattr(x, "data", x * 2) or x,
    ],
)
def test_a_tensor_from_outside_that_gets_another_shape_or_memory_runs_eagerly(change):
    def f(x):
        change(x)
        return x + 1

    jitted = jitcore.jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for v in (1, 2, 3):
            ours, theirs = (jitcore.full((1, 1), float(v)) for _ in range(2))
            kept, own = ours[:], theirs[:]
            np.testing.assert_allclose(jitted(ours).numpy(), f(theirs).numpy())
            assert ours.shape == theirs.shape and kept.tolist() == own.tolist()


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
