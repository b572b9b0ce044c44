"""cond, while_loop, scan and map in archives, in recurrent layers and inside vmap."""

import numpy as np
import pytest
from control_functions import (
    backwards,
    branch,
    in_float64,  # noqa: F401
    leaves,
    mapped,
    recurrence,
)

import jitcore
import jitcore_runtime
from jitcore import nn
from jitcore.func import vmap

pytestmark = pytest.mark.filterwarnings("error")


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
