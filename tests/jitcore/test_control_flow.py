"""cond, while_loop, scan and map: eager, compiled, interpreted and exported alike, with gradients of gradients."""

import numpy as np
import pytest
import torch
from control_programs import program
from control_programs import run as run_program

import jitcore
import jitcore_runtime
from jitcore import nn
from jitcore.autograd import grad, gradcheck, gradgradcheck
from jitcore.func import vmap

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def in_float64():
    before = jitcore.get_default_dtype()
    jitcore.set_default_dtype(jitcore.float64)
    yield
    jitcore.set_default_dtype(before)


X, W = [0.3, -0.2, 0.7], [1.1, 0.4, -0.6]


def branch(x, w):
    """Closes over w; one branch does not use it."""
    return jitcore.cond(x.sum() > 0, lambda a: (a * w).sin() ** 2, lambda a: a.exp() * a, (x,)).sum()


def recurrence(x, w):
    def step(carry, element):
        following = (carry * w + element).tanh()
        return following, following * element

    carry, ys = jitcore.scan(step, w * 2, x.reshape(3, 1) * w)
    return carry.sum() + (ys * ys).sum()


def backwards(x, w):
    def step(carry, element):
        total = {"a": carry["a"] + element[0], "b": carry["b"] * element[1]}
        return total, (carry["a"] * w.sum(), [total["b"]])

    carry, (ys, (zs,)) = jitcore.scan(step, {"a": w, "b": w.sum()}, [x.reshape(3, 1) * w, x], reverse=True)
    return (carry["a"] * carry["b"]).sum() + (ys * zs.reshape(3, 1)).sin().sum()


def nested(x, w):
    def step(carry, element):
        chosen = jitcore.cond(element > 0, lambda c: c * element, lambda c: (c * w).sin().sum(), (carry,))
        inner, _ = jitcore.scan(lambda a, b: (a * b + chosen, a), chosen, w)
        return inner.tanh(), chosen

    carry, ys = jitcore.scan(step, x.sum(), x)
    return carry + (ys * ys).sum()


def mapped(x, w):
    return jitcore.map(lambda element, v: (element * v).sin().sum(), x, w).prod()


def drawing(x, w):
    def step(carry, element):
        following = carry * jitcore.rand(3) + element
        return following * w, nn.functional.dropout(following, 0.5)

    carry, ys = jitcore.scan(step, w, x)
    return carry.sum() + ys.sum()


def drawing_branch(x, w):
    drawn = jitcore.cond(x.sum() > 0, lambda: (x * jitcore.rand(3) * w).sum(), lambda: x.sum() * w.sum())
    return drawn + (jitcore.rand(3) * w).sum()


class Straight(jitcore.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a.round()

    @staticmethod
    def backward(ctx, g):
        return g * 2


def cut_off(x, w):
    """A body that detaches and has a derivative of its own kind."""

    def step(carry, element):
        return carry.detach() * element + carry * w.sum(), Straight.apply(carry * element)

    carry, ys = jitcore.scan(step, w.sum(), x)
    return carry + ys.sum()


FUNCTIONS = [branch, recurrence, backwards, nested, mapped, drawing, drawing_branch, cut_off]


def leaves(sign=1.0):
    x = (jitcore.tensor(X) * sign).requires_grad_()
    return x, jitcore.tensor(W, requires_grad=True)


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


# Export


def exported(function, tmp_path, inputs):
    path = tmp_path / "model.jca"
    jitcore.export(function, path, inputs, targets=["x86-64-v2"])
    return [jitcore_runtime.load(path, native=native) for native in (True, False)]


def test_an_archive_branches_and_loops(tmp_path):
    def program(x, n):
        scaled = jitcore.cond(x.mean() > 0, lambda a: a / a.sum(), lambda a: a.exp(), (x,))
        power, _ = jitcore.while_loop(lambda a, i: i > 0, lambda a, i: (a * scaled, i - 1), (jitcore.ones_like(x), n))
        total, sums = jitcore.scan(lambda c, e: (c + e, c * e), jitcore.zeros(()), power)
        return {"power": power, "total": total, "sums": sums, "squares": jitcore.map(lambda e: e * e, x)}

    for model in exported(program, tmp_path, {"x": "float64[N]", "n": "int64[]"}):
        for size in (1, 4, 9):
            for sign in (1, -1):
                for n in (0, 3):
                    x = jitcore.rand(size) * sign
                    expected = program(x, jitcore.tensor(n))
                    found = model(x.numpy(), np.array(n))
                    for name, value in expected.items():
                        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-9, err_msg=name)


def test_a_branch_that_fails_fails_only_where_it_is_taken(tmp_path):
    def program(p, table, i):
        return jitcore.cond(p, lambda t: t.index_select(0, i), lambda t: t[:1], (table,))

    table = jitcore.arange(5.0)
    compiled = jitcore.jit(program)
    yes, no, far = jitcore.tensor(True), jitcore.tensor(False), jitcore.tensor(17)
    for _ in range(2):
        assert compiled(no, table, far).item() == 0 and compiled(yes, table, jitcore.tensor(3)).item() == 3
        with pytest.raises(IndexError):
            compiled(yes, table, far)
    for model in exported(program, tmp_path, {"p": "bool[]", "table": "float64[5]", "i": "int64[]"}):
        assert model(no.numpy(), table.numpy(), far.numpy()) == 0
        with pytest.raises(IndexError):
            model(yes.numpy(), table.numpy(), far.numpy())


@pytest.mark.parametrize(
    "kind, options",
    [(nn.LSTM, {"num_layers": 2, "bidirectional": True, "batch_first": True}), (nn.GRU, {}), (nn.RNN, {})],
)
def test_recurrent_layers_are_exported_for_any_length(kind, options, tmp_path):
    jitcore.manual_seed(0)
    layer = kind(4, 5, **options).eval()
    spec = "float64[B,T,4]" if options else "float64[T,B,4]"
    for model in exported(layer, tmp_path, {"input": spec}):
        for shape in ((1, 1, 4), (3, 2, 4), (17, 5, 4)):
            x = jitcore.randn(*shape)
            output, last = layer(x)
            found, finals = model(x.numpy())
            np.testing.assert_allclose(found, output.detach().numpy(), rtol=1e-9, atol=1e-12)
            pairs = zip(finals, last) if isinstance(last, tuple) else [(finals, last)]
            for mine, theirs in pairs:
                np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_compiled_training_step_of_a_recurrent_layer_is_one_program_with_a_loop(kind):
    jitcore.manual_seed(0)
    layer = kind(3, 4, bidirectional=True)
    x, y = jitcore.randn(12, 2, 3), jitcore.randn(12, 2, 8)
    start = [p.detach().clone() for p in layer.parameters()]
    losses = []
    for compiled in (False, True):
        with jitcore.no_grad():
            for parameter, value in zip(layer.parameters(), start, strict=True):
                parameter.copy_(value)
        optimizer = jitcore.optim.SGD(layer.parameters(), lr=0.1)

        def step(x, y, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((layer(x)[0] - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = jitcore.jit(step) if compiled else step
        jitcore.manual_seed(1)
        losses.append([run(x, y).item() for _ in range(4)])
    np.testing.assert_allclose(*losses, rtol=1e-9)
    assert "replayed 3 times" in run.explain()


# vmap


def test_inside_vmap_loops_run_over_batches():
    xs = jitcore.randn(4, 3)
    found = vmap(lambda x: jitcore.scan(lambda c, e: (c * 2 + e, c), x.sum(), x)[0])(xs)
    expected = [jitcore.scan(lambda c, e: (c * 2 + e, c), x.sum(), x)[0].item() for x in xs]
    np.testing.assert_allclose(found.numpy(), expected)
    assert vmap(lambda x: jitcore.map(lambda e: e * 2, x))(xs).tolist() == (xs * 2).tolist()


def test_inside_vmap_each_example_gets_its_own_branch():
    xs = jitcore.tensor([[1.0, 2.0], [-1.0, -3.0]])
    found = vmap(lambda x: jitcore.cond(x.sum() > 0, lambda: (x * 2, x.sum()), lambda: (x.exp(), x.prod())))(xs)
    assert found[0].tolist() == [[2.0, 4.0], np.exp([-1.0, -3.0]).tolist()] and found[1].tolist() == [3.0, 3.0]
    jacobian = jitcore.func.jacrev(lambda x: jitcore.cond(x.sum() > 0, lambda: x * 2, lambda: x * x))(xs[1])
    assert jacobian.tolist() == [[-2.0, 0.0], [0.0, -6.0]]


@pytest.mark.parametrize("function", [branch, recurrence, backwards, mapped], ids=lambda f: f.__name__)
@pytest.mark.parametrize("of", [jitcore.func.jacrev, jitcore.func.hessian])
def test_jacobians_and_hessians_are_compiled_as_they_are_eagerly(function, of):
    """Derivatives of recorded branches and loops by vmap over directions."""
    run = of(lambda x, w: function(x, w) * x[0])
    x, w = (t.detach() for t in leaves())
    compiled = jitcore.jit(run)
    for _ in range(2):
        np.testing.assert_allclose(compiled(x, w).numpy(), run(x, w).numpy(), rtol=1e-9, atol=1e-12)


def test_recordings_that_begin_with_the_same_loop_share_it():
    def program(x, factor):
        total, _ = jitcore.scan(lambda c, e: (c + e * factor, c), jitcore.zeros(()), x)
        return total * 2 if total > 0 else total - 1

    compiled = jitcore.jit(program)
    two = jitcore.tensor(2.0)
    for values in ([1.0, 2.0], [-1.0, -2.0], [3.0, 4.0], [-3.0, 1.0]):
        x = jitcore.tensor(values)
        assert compiled(x, two).item() == program(x, two).item()
    assert "1 of its 2 programs are shared" in compiled.explain()


# What is refused


def refused(function, *arguments, match):
    with pytest.raises(RuntimeError, match=match) as caught:
        jitcore.jit(function)(*arguments)
    return str(caught.value)


def test_a_body_may_not_write_outside_itself():
    x, total = jitcore.tensor(X), jitcore.zeros(3)
    text = refused(
        lambda x: jitcore.cond(x.sum() > 0, lambda a: total.add_(a), lambda a: a, (x,)), x,
        match="cond: true_fn writes to a tensor from outside",
    )  # fmt: skip
    assert "test_control_flow.py:" in text and total.tolist() == [0, 0, 0]
    refused(lambda x: jitcore.map(lambda e: e.mul_(2), x), x, match="map writes to its argument")
    refused(
        lambda x: jitcore.scan(lambda c, e: (c.add_(e), e), jitcore.zeros(()), x),
        x,
        match="scan writes to its argument",
    )


def test_a_body_may_not_ask_for_values():
    x = jitcore.tensor(X)
    text = refused(
        lambda x: jitcore.scan(lambda c, e: (c + 1 if e > 0 else c, e), jitcore.zeros(()), x), x,
        match=r"scan asks for the value of a tensor \(bool\(\)\).*use where",
    )  # fmt: skip
    assert "test_control_flow.py:" in text


def test_a_body_may_not_print(capsys):
    refused(lambda x: jitcore.map(lambda e: (print("seen"), e)[1], x), jitcore.tensor(X), match="map prints")


def test_bodies_must_give_alike():
    x = jitcore.tensor(X)
    refused(
        lambda x: jitcore.cond(x.sum() > 0, lambda a: a, lambda a: (a, a), (x,)), x,
        match=r"cond: true_fn gives f64\[3\], but false_fn gives \(f64\[3\], f64\[3\]\)",
    )  # fmt: skip
    refused(
        lambda x: jitcore.cond(x.sum() > 0, lambda a: a, lambda a: a.sum(), (x,)), x,
        match=r"cond: true_fn gives f64\[3\], but false_fn gives f64\[\]",
    )  # fmt: skip
    for call in (lambda f, *a: f(*a), lambda f, *a: jitcore.jit(f)(*a)):
        with pytest.raises(RuntimeError, match=r"the carry is f64\[\], but combine_fn gives f64\[3\]"):
            call(lambda x: jitcore.scan(lambda c, e: (c + x, e), jitcore.zeros(()), x), x)
        with pytest.raises(RuntimeError, match=r"while_loop: carried_inputs are \(i64\[\],\), but body_fn gives"):
            call(lambda x: jitcore.while_loop(lambda i: i < 3, lambda i: i + 0.5, (jitcore.tensor(0),)), x)
        with pytest.raises(RuntimeError, match="scan: xs have the lengths 3, 2"):
            call(lambda x: jitcore.scan(lambda c, e: (c, e), x, (x, x[:2])), x)


@pytest.mark.parametrize("call", [lambda f: f, jitcore.jit], ids=["eager", "compiled"])
def test_results_are_in_memory_of_their_own(call):
    def write_to_results(x):
        branch = jitcore.cond(x.sum() > 0, lambda a: a[1:], lambda a: a[:2], (x,))
        (looped,) = jitcore.while_loop(lambda a: a.sum() > 100, lambda a: (a / 2,), (x,))
        carried, _ = jitcore.scan(lambda c, e: (c, e), x, x)
        for result in (branch, looped, carried):
            result.add_(1)
        return branch, looped, carried

    program = call(write_to_results)
    for _ in range(2):
        x = jitcore.tensor(X)
        branch, looped, carried = program(x)
        assert x.tolist() == X and branch.tolist() == [v + 1 for v in X[1:]]
        assert looped.tolist() == carried.tolist() == [v + 1 for v in X]


def test_arguments_are_checked_as_pytorch_does():
    x = jitcore.tensor(X)
    with pytest.raises(RuntimeError, match="Expected pred to be bool or tensor, but got"):
        jitcore.cond(1.5, lambda a: a, lambda a: a, (x,))
    with pytest.raises(RuntimeError, match="Expected pred to be bool or tensor, but got"):
        jitcore.cond(x > 0, lambda a: a, lambda a: a, (x,))
    with pytest.raises(RuntimeError, match="Expect operands to be a tuple or list"):
        jitcore.cond(True, lambda a: a, lambda a: a, x)
    with pytest.raises(RuntimeError, match="at least one dimension"):
        jitcore.scan(lambda c, e: (c, e), x, x.sum())


def test_a_recorded_while_loop_has_no_reverse_derivative():
    x = jitcore.tensor(X, requires_grad=True)

    def program(x):
        return jitcore.while_loop(lambda a: a.sum() < 10, lambda a: (a * 2,), (x,))[0]

    refused(program, x, match="while_loop: reverse-mode differentiation.*use scan")
    with jitcore.no_grad():
        assert jitcore.jit(program)(x).tolist() == program(x).tolist()


def test_outside_tensors_that_change_before_backward_are_noticed():
    x, _ = leaves()
    factor = jitcore.tensor(W)

    def program(x):
        y = jitcore.scan(lambda c, e: (c * factor.sum() * e, c), x.sum(), x)[0]
        factor.mul_(2)
        return grad(y, x)[0]

    refused(program, x, match="modified by an inplace operation")


def test_a_body_that_writes_to_its_own_tensors_keeps_their_history():
    def body(v):
        y = v * 2
        y[0] = v[1] * v[1]
        y[1:].mul_(v[1:])
        return y

    def f(x):
        return jitcore.cond(x.sum() > 0, body, lambda v: v * 3, (x,)).sum()

    compiled = jitcore.jit(f, native=False)
    for run in (f, compiled, compiled):
        x = jitcore.tensor([1.0, 2.0, 3.0], requires_grad=True)
        run(x).backward()
        assert x.grad.tolist() == [0.0, 12.0, 12.0]


def test_a_branch_that_tells_a_size_tells_the_other_branch():
    weight = jitcore.tensor([1.0, 2.0, 3.0])

    def f(x):
        return jitcore.cond(x.sum() > 5, lambda x: x * weight, lambda x: x + weight, (x,))

    jitted = jitcore.jit(f, dynamic=True, native=False)
    for n in (1.0, 5.0):
        assert jitcore.equal(jitted(weight * n), f(weight * n))
