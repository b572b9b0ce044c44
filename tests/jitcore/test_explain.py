"""What `explain` and warnings say: variants, conditions with places, retraces with causes, kernels, and what to do."""

import warnings

import pytest

import jitcore
from jitcore import nn

SETTINGS = {"scale": 2.0}


def said(caught):
    return [str(w.message) for w in caught if issubclass(w.category, jitcore.JitWarning)]


def line_of(function, offset):
    return f"{__file__}:{function.__code__.co_firstlineno + offset}"


def test_kernels_guards_and_state_are_named_with_their_lines():
    def f(x):
        y = (x @ x).exp() * SETTINGS["scale"]
        if y.sum() > 0:
            return y
        return -y

    jitted = jitcore.jit(f)
    for _ in range(3):
        jitted(jitcore.ones(8, 8))
    text = jitted.explain()
    assert "replayed 2 times" in text and "Compiling it took" in text
    assert f"bool() gave True at {line_of(f, 2)}" in text
    assert f"global 'SETTINGS'['scale'] was 2.0 (read by f at {line_of(f, 0)})" in text
    assert "kernels, as measured in one call of the compiled code" in text and f"at {line_of(f, 1)}" in text
    assert "recorded again" not in text


def test_explain_of_a_call_runs_it_ahead_and_changes_nothing():
    layer = nn.BatchNorm1d(3)
    x = jitcore.ones(4, 3)

    def f(x, *, add):
        x.add_(add)
        return layer(x)

    text = jitcore.explain(f, x, add=1.0)
    assert "replayed 0 times" in text and "f32[4,3]" in text
    assert x.sum().item() == 12 and layer.num_batches_tracked.item() == 0
    jitted = jitcore.jit(f)
    assert jitcore.explain(jitted, x, add=1.0) and jitcore.explain(jitted, x, add=2.0).count("replayed") == 1


@pytest.mark.parametrize(
    "make, change, cause, fix",
    [
        (lambda s: lambda x: x * float(x[0]), lambda s, n: None, "float at", "jitcore.where(condition, a, b)"),
        (lambda s: lambda x: x * s["by"], lambda s, n: s.update(by=n), "'by'] was", "register_buffer"),
    ],
)
def test_the_third_retrace_for_one_cause_is_said_once_with_two_things_to_do(make, change, cause, fix):
    state = {"by": 0}
    jitted = jitcore.jit(make(state), native=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 8):
            change(state, n)
            assert jitted(jitcore.tensor([float(n)])).item() == n * n
    (text,) = said(caught)
    assert "was recorded 3 times more" in text and cause in text and fix in text and len(text.splitlines()) == 3
    assert "It was recorded again 6 times:\n    6 for" in jitted.explain()


def test_another_kind_of_arguments_is_described():
    jitted = jitcore.jit(lambda x, n=1: x * n, native=False)
    for n in (2, 3):
        jitted(jitcore.ones(n))
    jitted(jitcore.ones(3), 5)
    with jitcore.no_grad():
        jitted(jitcore.ones(3))
    text = jitted.explain()
    assert "argument 0 is a float32 tensor of shape [3], where a float32 tensor of shape [2] was recorded" in text
    assert "other arguments" in text and "grad mode False, where True was recorded" in text


def test_reasons_to_stay_eager_come_with_two_things_to_do():
    seen = []
    for function, words in (
        (lambda x: x + x.numpy().sum(), "return the tensor and call numpy() outside"),
        (lambda x: seen.append(x) or x, "return the new value and keep it outside"),
        (lambda x: (x, object()), "return tensors and numbers"),
    ):
        jitted = jitcore.jit(function, native=False)
        with pytest.warns(jitcore.JitWarning) as caught:
            for _ in range(4):
                jitted(jitcore.ones(2))
        assert words in str(caught[0].message) and words in jitted.explain()


def test_eager_calls_say_why():
    import numpy as np

    memory = np.zeros(4, np.float32)
    jitted = jitcore.jit(lambda x, y: x.add_(1) + y, native=False)
    for _ in range(2):
        jitted(jitcore.from_numpy(memory[:2].copy()), jitcore.from_numpy(memory[2:].copy()))
    jitted(jitcore.from_numpy(memory[:3])[:2], jitcore.from_numpy(memory[1:])[:2])
    jitted(jitcore.from_numpy(memory[:2]), jitcore.from_numpy(memory[1:3]))
    text = jitted.explain()
    assert "2 calls ran eagerly.\n  2 of them because an input overlaps memory that the function writes." in text


def test_an_export_that_is_refused_says_what_to_do(tmp_path):
    def f(x):
        return x + x.numpy().sum()

    with pytest.raises(jitcore.ExportError, match=r"numpy\(\) of .*\n.*compute with jitcore's functions.*\n.*outside"):
        jitcore.export(f, tmp_path / "f.jca", {"x": "float32[3]"})
