"""`debug.bisect` finds nothing where all ways agree, and names the operation and line where one of them is wrong."""

import numpy as np
import pytest

import jitcore
from jitcore import nn
from jitcore.compiler import passes
from jitcore.compiler.scalar import SCALARS
from jitcore_ir import ops


def model(x):
    y = x * 2 + 1
    z = y.tanh()  # the line that is named
    return (z @ z).exp().sum()


def test_agreeing_ways_and_everything_is_as_before():
    layer = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    optimizer = jitcore.optim.Adam(layer.parameters())
    x = jitcore.ones(5, 4)

    def step(x):
        x.add_(1)
        loss = layer(x).square().sum()
        loss.backward()
        optimizer.step()
        return x if loss.item() > 0 else loss

    before = [t.clone() for t in layer.state_dict().values()]
    random = jitcore.get_rng_state()
    found = jitcore.debug.bisect(jitcore.jit(step), x)
    assert not found and found.compared > 20 and "values agree" in str(found), found
    assert x.sum().item() == 20 and all(p.grad is None for p in layer.parameters())
    assert all((a == b).all() for a, b in zip(before, layer.state_dict().values(), strict=True))
    assert (random == jitcore.get_rng_state()).all()


def test_a_wrong_native_body_is_named_with_the_users_line(monkeypatch):
    monkeypatch.setitem(SCALARS, ops.TANH, lambda x: x + 0.25)
    found = jitcore.debug.bisect(model, jitcore.linspace(-1, 1, 4).reshape(2, 2))
    assert found and found.difference.operation is ops.TANH and found.difference.way == "native"
    assert found.difference.location.line == model.__code__.co_firstlineno + 2
    assert "z = y.tanh()  # the line that is named" in str(found) and "tanh(" in str(found)
    assert found.difference.given[found.difference.worst] != found.difference.expected[found.difference.worst]


def test_a_wrong_pass_is_told_from_wrong_code(monkeypatch):
    def wrong(graph, real=passes.optimize):
        made = real(graph)
        for operation in made.operations:
            if operation.spec is ops.TANH:
                operation.results[0].replace_all_uses_with(operation.operands[0])
        return made

    monkeypatch.setattr("jitcore.debug.optimize", wrong)
    found = jitcore.debug.bisect(model, jitcore.ones(2, 2))
    assert found.difference.way == "after the passes" and found.difference.operation is ops.TANH


def test_a_wrong_recording_is_told_from_both(monkeypatch):
    from jitcore.trace.recorder import Recorder

    def wrong(self, spec, values, attributes, location, real=Recorder._append):
        return real(self, ops.COS if spec is ops.TANH else spec, values, attributes, location)

    monkeypatch.setattr(Recorder, "_append", wrong)
    found = jitcore.debug.bisect(model, jitcore.ones(2, 2))
    assert found.difference.way == "interpreted" and found.difference.reference == "eager"


def test_an_error_that_only_larger_kernels_have_is_found(monkeypatch):
    real = jitcore.debug.Executor
    monkeypatch.setattr(
        "jitcore.debug.Executor",
        lambda program, native: _Off(real(program, native), native and len(program.results) == 1),
    )
    found = jitcore.debug.bisect(model, jitcore.ones(2, 2))
    assert found.difference.operation is ops.MUL and "only where values are computed together" in str(found)


class _Off:
    """An executor whose results are off by one where `wrong`."""

    def __init__(self, executor, wrong):
        self._executor, self._wrong = executor, wrong

    def run(self, arrays):
        return [array + self._wrong for array in self._executor.run(arrays)]


def test_tolerance_follows_the_dtype(monkeypatch):
    monkeypatch.setitem(SCALARS, ops.TANH, lambda x: x * 0.999)
    x = jitcore.full((3,), 1e-3)
    assert jitcore.debug.bisect(lambda x: x.tanh(), x)
    assert not jitcore.debug.bisect(lambda x: x.tanh(), x.half())
    assert not jitcore.debug.bisect(lambda x: x.tanh(), x, tolerance=0.01)


def test_functions_that_stay_eager_and_exceptions():
    found = jitcore.debug.bisect(lambda x: x + float(np.median(x.numpy())), jitcore.ones(3))
    assert "runs it eagerly" in str(found)
    with pytest.raises(ZeroDivisionError):
        jitcore.debug.bisect(lambda x: x + 1 / 0, jitcore.ones(3))
