"""Known traps of tracing, one test each: modes and effects.

Every call gives the right answer or a clear error.
"""

import contextlib
import copy
import warnings

import pytest
from trap_checks import agree, jit, same, vector

import jitcore
from jitcore import nn


def test_train_and_eval_switch():
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    twin = copy.deepcopy(model)
    jitted = jit(model)
    for training in (True, False, True, False):
        model.train(training), twin.train(training)
        for n in range(2):
            jitcore.manual_seed(n)
            ours = jitted(jitcore.arange(6.0).reshape(3, 2))
            jitcore.manual_seed(n)
            assert same(ours, twin(jitcore.arange(6.0).reshape(3, 2)))
    assert same(dict(model.state_dict()), dict(twin.state_dict()))


def test_training_flag_of_one_inner_layer():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9))
    jitted = jit(model)
    x = vector(1, 2)
    for training in (True, False, True):
        model[1].train(training)
        for n in range(2):
            jitcore.manual_seed(n)
            ours = jitted(x)
            jitcore.manual_seed(n)
            assert same(ours, model(x))


def test_buffer_update_in_a_traced_module():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", jitcore.zeros(2))
            self.register_buffer("count", jitcore.tensor(0))

        def forward(self, x):
            self.count += 1
            self.mean.lerp_(x, 0.5)
            return x - self.mean, self.count.item()

    ours, theirs = Mean(), Mean()
    jitted = jit(ours)
    for n in range(5):
        agree(jitted, theirs, (vector(n, 1),))
        assert same(dict(ours.state_dict()), dict(theirs.state_dict()))


def test_buffer_replaced_by_the_module():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", jitcore.zeros(2))

        def forward(self, x):
            result = x + self.last
            self.last = x.detach().clone()
            return result

    ours, theirs = Last(), Last()
    jitted = jit(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in range(5):
            agree(jitted, theirs, (vector(n, 1),))
            assert same(ours.last, theirs.last)


def test_layer_added_replaced_and_removed():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    jitted = jit(model)
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    model[1] = nn.Tanh()
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    model.append(nn.Linear(2, 3))
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    del model[0]
    agree(jitted, model, (vector(1, 2),))


def test_forward_hook_added_and_removed():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    jitted = jit(model)
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    handle = model[0].register_forward_hook(lambda module, inputs, output: output + 100)
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    handle.remove()
    agree(jitted, model, (vector(1, 2),))


def test_weights_loaded_from_a_state_dict():
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    jitted = jit(model)
    agree(jitted, model, (vector(1, 2),), (vector(1, 2),))
    model.load_state_dict(other.state_dict())
    assert same(jitted(vector(1, 2)), other(vector(1, 2)))


def test_no_grad_switch_and_inference_mode():
    layer = nn.Linear(2, 1)
    jitted = jit(layer)
    for _ in range(2):
        for mode in (contextlib.nullcontext, jitcore.no_grad, jitcore.inference_mode, jitcore.enable_grad):
            with mode():
                agree(jitted, layer, (vector(1, 2),))


def test_grad_mode_switched_inside():
    weight = nn.Parameter(vector(1, 2))

    def f(x):
        with jitcore.no_grad():
            scale = (weight * x).sum()
        return weight * scale, scale, jitcore.is_grad_enabled()

    jitted = jit(f)
    agree(jitted, f, *[(vector(n, 1),) for n in range(3)])


def test_default_dtype_changes():
    def f(x):
        return x + jitcore.zeros(1), jitcore.tensor(0.5), jitcore.ones(1).element_size()

    jitted = jit(f)
    try:
        for dtype in (jitcore.float32, jitcore.float64) * 2:
            jitcore.set_default_dtype(dtype)
            agree(jitted, f, (jitcore.ones(1, dtype=jitcore.float32),))
    finally:
        jitcore.set_default_dtype(jitcore.float32)


def test_autocast_switch():
    layer = nn.Linear(2, 2)
    jitted = jit(layer)
    for _ in range(2):
        assert jitted(vector(1, 2)).dtype == jitcore.float32
        with jitcore.autocast("cpu", dtype=jitcore.bfloat16):
            assert jitted(vector(1, 2)).dtype == layer(vector(1, 2)).dtype == jitcore.bfloat16


def test_device_switch_names_what_is_there():
    jitted = jit(lambda x: x.to("cpu") + jitcore.zeros(1, device=x.device))
    for _ in range(2):
        assert jitted(vector(1)).item() == 1
    if not jitcore.cuda.is_available():
        for function in (lambda x: x.cuda() + 1, lambda x: x.to("cuda:0") + 1):
            with pytest.raises((RuntimeError, NotImplementedError, AssertionError), match=r"(?i)cuda"):
                jit(function)(vector(1))


def test_seed_inside_the_function():
    def f(x):
        jitcore.manual_seed(3)
        return x + jitcore.rand(2), jitcore.randn(1)

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in range(4):
            agree(jitted, f, (vector(n, n),))
            after = jitcore.rand(1)
            f(vector(n, n))
            assert same(after, jitcore.rand(1))


def test_random_numbers_are_those_of_eager_execution_for_a_seed():
    def f(x):
        return nn.functional.dropout(x, 0.5) + jitcore.rand_like(x) + jitcore.randint(0, 9, (3,))

    jitted = jit(f)
    x = vector(1, 2, 3)
    jitcore.manual_seed(11)
    given = [jitted(x) for _ in range(4)]
    after = jitcore.rand(1)
    jitcore.manual_seed(11)
    assert same(given, [f(x) for _ in range(4)]) and same(after, jitcore.rand(1))
    assert len({str(t.tolist()) for t in given}) == 4


def test_generator_passed_as_argument_and_captured():
    generator = jitcore.Generator()

    def f(x):
        return x + jitcore.rand(2, generator=generator)

    def g(x, source):
        return x + jitcore.rand(2, generator=source)

    jitted, taking = jit(f), jit(g)
    for seed in (1, 1, 2, 1):
        generator.manual_seed(seed)
        ours = jitted(vector(0, 0)), jitted(vector(0, 0))
        generator.manual_seed(seed)
        assert same(ours, (f(vector(0, 0)), f(vector(0, 0))))
        generator.manual_seed(seed)
        assert same(taking(vector(0, 0), generator), ours[0])
