"""cond, while_loop, scan and map: eager, compiled and interpreted alike, with derivatives, and as in PyTorch."""

import numpy as np
import pytest
import torch
from control_functions import (
    FUNCTIONS,
    W,
    X,
    backwards,
    branch,
    drawing,
    in_float64,  # noqa: F401
    leaves,
    mapped,
    nested,
    recurrence,
)
from control_programs import program
from control_programs import run as run_program

import jitcore
from jitcore import nn
from jitcore.autograd import grad, gradcheck, gradgradcheck

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("function", [branch, recurrence, backwards, nested, mapped], ids=lambda f: f.__name__)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_eager_derivatives_are_those_of_differences(function, sign):
    x, w = leaves(sign)
    assert gradcheck(function, (x, w))
    assert gradgradcheck(function, (x, w))


def with_derivatives(function):
    """First derivatives by both inputs, and derivatives of those, all within one call."""

    def run(x, w):
        y = function(x, w)
        first = grad(y, (x, w), create_graph=True, materialize_grads=True)
        mixed = (first[0] * first[0]).sum() + (first[1] * x).sum() + 0 * w.sum()
        second = grad(mixed, (x, w), materialize_grads=True)
        return [t.detach() for t in (y, *first, *second)]

    return run


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_compiled_values_and_derivatives_are_eager_ones(function, native):
    run = with_derivatives(function)
    compiled = jitcore.jit(run, native=native)
    calls = [leaves(sign) for sign in (1.0, 1.0, -1.0, 1.0, -1.0)]
    jitcore.manual_seed(3)
    eager = [run(x, w) for x, w in calls]
    jitcore.manual_seed(3)
    for (x, w), expected in zip(calls, eager, strict=True):
        for mine, theirs in zip(compiled(x, w), expected, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)
    assert "replayed 4 times" in compiled.explain(), "one program for both branches"


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 60))])
def test_random_programs_and_their_derivatives_are_eager_ones(seed):
    plan = program(seed)

    def run(x, w, parameter):
        y = (run_program(plan, (x, w), parameter) * x).sum()
        first = grad(y, (x, w, parameter), create_graph=True, materialize_grads=True)
        mixed = (first[0] * w).sum() + (first[1] ** 2).sum() + first[2].sum() + 0 * x.sum()
        return [t.detach() for t in (y, *first, *grad(mixed, (x, w), materialize_grads=True))]

    compiled = jitcore.jit(run)
    random = np.random.default_rng(seed)
    parameter = jitcore.tensor(random.normal(size=3), requires_grad=True)
    for _ in range(4):
        x, w = (jitcore.tensor(random.normal(size=3), requires_grad=True) for _ in range(2))
        for mine, theirs in zip(compiled(x, w, parameter), run(x, w, parameter), strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-8, atol=1e-10)
    assert "replayed 3 times" in compiled.explain()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_backward_of_a_compiled_function_is_compiled_too(function):
    compiled = jitcore.jit(function)
    for sign in (1.0, -1.0, 1.0):
        found = []
        for call in (function, compiled):
            jitcore.manual_seed(5)
            x, w = leaves(sign)
            y = call(x, w)
            found.append((y.detach(), *grad(y, (x, w), materialize_grads=True)))
        for mine, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)
    assert "Its backward pass is compiled too" in compiled.explain()


# Against PyTorch


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cond_gives_what_pytorchs_does(sign):
    def program(lib, x, w):
        def true_fn(a, b):
            return {"y": (a @ b).relu(), "z": (a.sum(), b * 2)}

        def false_fn(a, b):
            return {"y": (a @ b).sin(), "z": (b.sum(), b - 1)}

        out = lib.cond(x.sum() > 0, true_fn, false_fn, (x, w))
        return out["y"], *out["z"]

    rng = np.random.default_rng(0)
    arrays = np.abs(rng.normal(size=(2, 3))) * sign, rng.normal(size=(3, 3))
    expected = program(torch, *map(torch.tensor, arrays))
    tensors = [jitcore.tensor(a) for a in arrays]
    compiled = jitcore.jit(lambda x, w: program(jitcore, x, w))
    for found in (program(jitcore, *tensors), compiled(*tensors), compiled(*tensors)):
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12)


def test_the_branch_not_taken_gets_zero_gradients_as_in_pytorch():
    """A training step with a gate: AdamW decays and averages parameters of the branch not taken, however it is run."""

    def program(lib, x, a, b):
        return lib.cond(x.sum() > 0, lambda x: (x * a).sin(), lambda x: (x * b).cos() + b, (x,)).sum()

    found = []
    for lib in (torch, jitcore):
        x, a, b = (lib.tensor(v, dtype=lib.float64, requires_grad=True) for v in (X, W, [0.5, 1.0, 2.0]))
        program(lib, x, a, b).backward()
        assert b.grad.tolist() == [0, 0, 0]
        found.append([t.grad.tolist() for t in (x, a)])
    np.testing.assert_allclose(*found, rtol=1e-12)

    w = jitcore.tensor(W, requires_grad=True)
    given = jitcore.cond(w.sum() > 0, lambda: w, lambda: w * 2)
    given.mul_(3)  # not w's memory
    given.sum().backward()
    assert w.tolist() == W and w.grad.tolist() == [3, 3, 3]

    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))

        def forward(self, x):
            return jitcore.cond(x.mean() > 0, self.a, self.b, (x,))

    jitcore.manual_seed(0)
    gate = Gate()
    optimizer = jitcore.optim.AdamW(gate.parameters(), lr=1e-2)
    start = {name: value.clone() for name, value in gate.state_dict().items()}
    data = [(jitcore.randn(8, 4) + (-1) ** n, jitcore.randn(8, 4)) for n in range(5)]

    def step(x, y):
        optimizer.zero_grad()
        loss = ((gate(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses = []
    for run in (step, jitcore.jit(step)):
        gate.load_state_dict(start)
        optimizer.state.clear()
        jitcore.manual_seed(2)
        losses.append([run(x, y).item() for x, y in data])
    np.testing.assert_allclose(*losses, rtol=1e-9)


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_while_loop_gives_what_pytorchs_does(turns):
    def program(lib, x, n):
        start = lib.zeros((), dtype=lib.int64)
        return lib.while_loop(lambda a, i: i < n, lambda a, i: ((a * 1.5).sin(), i + 1), (x, start))

    expected = program(torch, torch.tensor(X, dtype=torch.float64), torch.tensor(turns))
    given = jitcore.tensor(X), jitcore.tensor(turns)
    compiled = jitcore.jit(lambda x, n: program(jitcore, x, n))
    for found in (program(jitcore, *given), compiled(*given), compiled(*given)):
        assert isinstance(found, tuple)
        for mine, theirs in zip(found, expected, strict=True):
            assert str(mine.dtype) == str(theirs.dtype).replace("torch", "jitcore")
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12)


def test_one_program_for_any_number_of_turns():
    collatz = jitcore.jit(lambda n: jitcore.while_loop(
        lambda n, steps: n != 1, lambda n, steps: (jitcore.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1), (n, 0)
    )[1])  # fmt: skip
    assert [int(collatz(jitcore.tensor(n))) for n in (27, 1, 7, 97)] == [111, 0, 16, 118]
    assert "replayed 3 times" in collatz.explain()


# Loops of no turns, other dimensions


def test_no_turns_give_the_first_carry_and_empty_stacks():
    def program(h, xs):
        return jitcore.scan(lambda c, x: (c + x.sum(), (x * 2, c.to(jitcore.float32))), h, xs)

    h, xs = jitcore.tensor(1.5), jitcore.zeros(0, 3)
    compiled = jitcore.jit(program)
    for call in (program, compiled, compiled):
        carry, (ys, cs) = call(h, xs)
        assert carry.item() == 1.5 and ys.shape == (0, 3) and cs.shape == (0,) and cs.dtype is jitcore.float32
    assert jitcore.map(lambda x: x.sum(), xs).shape == (0,)


def test_scan_goes_along_any_dimension():
    xs = jitcore.arange(24.0).reshape(2, 3, 4)
    carry, ys = jitcore.scan(lambda c, x: (c + x, c * x), jitcore.zeros(2, 3), xs, dim=2)
    assert carry.tolist() == xs.sum(2).tolist() and ys.shape == (4, 2, 3)
    carry, ys = jitcore.scan(lambda c, x: (c + x, x), jitcore.zeros(2, 4), xs, dim=-2, reverse=True)
    assert ys.tolist() == xs.movedim(1, 0).tolist()


def test_integers_and_bools_are_carried():
    def program(xs):
        def step(carry, x):
            count, seen = carry
            return (count + (x > 0), seen | (x > 2)), count

        return jitcore.scan(step, (0, False), xs)

    compiled = jitcore.jit(program)
    for values in ([1, -1, 2, 3], [0, 0, 1, 1], [-1, -2, 5, 0]):
        for call in (program, compiled):
            (count, seen), counts = call(jitcore.tensor(values))
            assert int(count) == sum(v > 0 for v in values) and bool(seen) == any(v > 2 for v in values)
            assert counts.tolist() == np.cumsum([0, *(v > 0 for v in values)])[:-1].tolist()


def test_sequences_of_every_length_have_one_program_and_one_backward():
    """The length becomes a symbol of the second recording."""
    weight = jitcore.tensor(np.random.default_rng(0).normal(size=(4, 4)) * 0.3, requires_grad=True)

    def program(xs):
        def step(carry, x):
            following = (carry @ weight + x).tanh()
            return following, jitcore.cond(following.sum() > 0, lambda: following * 2, lambda: following.sin())

        carry, ys = jitcore.scan(step, jitcore.zeros(4), xs)
        return carry.sum() + (ys * ys).mean()

    compiled = jitcore.jit(program)
    for length in (3, 5, 9, 1, 20):
        xs = jitcore.randn(length, 4, requires_grad=True)
        found = [(y.detach(), *grad(y, (xs, weight))) for y in (program(xs), compiled(xs))]
        for mine, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)
    text = compiled.explain()
    assert "program(f64[N,4])" in text and "replayed 3 times" in text


def test_exact_programs_with_loops_are_eager_ones_to_the_bit():
    jitcore.set_default_dtype(jitcore.float32)

    def run(x, w):
        jitcore.manual_seed(7)
        y = drawing(x, w) + nested(x, w) + recurrence(x, w)
        return [y.detach(), *grad(y, (x, w))]

    x, w = leaves()
    compiled = jitcore.jit(run, exact=True)
    for _ in range(2):
        for mine, theirs in zip(compiled(x, w), run(x, w), strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


SCANS = {
    "carried from outside": lambda x, w: jitcore.scan(lambda c, e: (c + e * w.sum(), c), jitcore.zeros(()), x),
    "stacked from outside": lambda x, w: jitcore.scan(lambda c, e: (c + e, e * w.sum()), jitcore.zeros(()), x),
    "detached": lambda x, w: jitcore.scan(lambda c, e: ((c * w.sum()).detach(), c * e), w.sum(), x),
    "replaced": lambda x, w: jitcore.scan(lambda c, e: (e, c), w.sum(), x),
    "exchanged": lambda x, w: jitcore.scan(
        lambda c, e: ((c[1], c[0]), c[0] * e), (w.sum(), jitcore.zeros(())), x
    ),
    "passed on": lambda x, w: jitcore.scan(
        lambda c, e: ((c[1], c[2], e), c[0] + c[1]), (jitcore.zeros(()), jitcore.zeros(()), w.sum()), x
    ),
    "mapped": lambda x, w: jitcore.map(lambda e: (e * 2, e * w[0], (e * w[1]).detach()), x),
}  # fmt: skip


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
def test_gradients_flow_where_turn_after_turn_gives_them(name, length):
    compiled = jitcore.jit(SCANS[name], native=False)
    for x_grad, w_grad in ((False, True), (True, False), (False, False), (True, True)):
        x = jitcore.arange(float(length)).requires_grad_(x_grad)
        w = jitcore.tensor(W).requires_grad_(w_grad)
        for _ in range(2):
            given, expected = _flat(compiled(x, w)), _flat(SCANS[name](x, w))
            assert [t.requires_grad for t in given] == [t.requires_grad for t in expected]
            wanted = [t for t, flag in ((x, x_grad), (w, w_grad)) if flag]
            ours, theirs = ([t.sum() for t in ts if t.requires_grad] for ts in (given, expected))
            if ours:
                for a, b in zip(*(grad(sum(ts), wanted, allow_unused=True) for ts in (ours, theirs)), strict=True):
                    assert (a is None) == (b is None) or not (a if b is None else b).any()
                    assert a is None or b is None or jitcore.allclose(a, b)


def _flat(tree):
    return [t for part in tree for t in _flat(part)] if isinstance(tree, tuple | list) else [tree]
