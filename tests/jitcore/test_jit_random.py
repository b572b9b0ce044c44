"""Random numbers are the same eagerly, compiled, interpreted and exported: values, and generators afterwards."""

import threading
import warnings

import numpy as np
import pytest

import jitcore
import jitcore.nn.functional as F
import jitcore_runtime
from jitcore import nn
from jitcore_runtime.cpu_features import host_targets

rand = jitcore.rand


def forked(x):
    with jitcore.random.fork_rng():
        inside = rand(2)
    return inside, rand(2)


def replayed(x):
    state = jitcore.get_rng_state()
    first = rand(2)
    jitcore.set_rng_state(state)
    return first, rand(2), state


def seeded(x):
    jitcore.manual_seed(5)
    return rand(3) + jitcore.initial_seed()


OWN = jitcore.Generator()

DRAWS = {
    "dropout": lambda x: F.dropout(x, 0.5),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.reshape(1, 1, 2, 2)] * 3, dropout_p=0.5),
    "uniform": lambda x: (rand(3, 2) + x.sum(), x.clone().uniform_(), jitcore.rand_like(x)),
    "normal": lambda x: (jitcore.randn(5), jitcore.empty(3).normal_(), jitcore.normal(x, jitcore.ones_like(x))),
    "integers": lambda x: (jitcore.randint(0, 10, (4,)), jitcore.empty(3).random_(0, 9), jitcore.randperm(7)),
    "choices": lambda x: (jitcore.bernoulli(x / 9), jitcore.multinomial(x, 2), jitcore.multinomial(x, 5, True)),
    "other distributions": lambda x: (jitcore.empty(3).exponential_(), jitcore.empty(3).geometric_(0.3)),
    "Normal and Gamma": lambda x: (jitcore.distributions.Normal(x, 1.0).sample(),
                                   jitcore.distributions.Gamma(x, x).sample()),
    "other dtypes": lambda x: (rand(3, dtype=jitcore.float64), rand(3, dtype=jitcore.float16)),
    "two generators": lambda x: (rand(2, generator=OWN), rand(2), rand(2, generator=OWN)),
    "a generator made inside": lambda x: rand(2, generator=jitcore.Generator().manual_seed(4)),
    "fork_rng": forked,
    "get and set of the state": replayed,
    "a seed inside": seeded,
}  # fmt: skip


def seen(function, x, calls=4):
    jitcore.manual_seed(1)
    OWN.manual_seed(2)
    leaves = []
    for _ in range(calls):
        result = function(x)
        leaves += result if isinstance(result, tuple) else [result]
    return [leaf.numpy() for leaf in (*leaves, rand(2), rand(2, generator=OWN))]


@pytest.mark.parametrize("name", DRAWS)
def test_same_numbers_eagerly_compiled_and_interpreted(name):
    x = jitcore.tensor([1.0, 2.0, 3.0, 4.0])
    expected = seen(DRAWS[name], x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", jitcore.JitWarning)  # none runs eagerly
        for native in (True, False):
            for given, wanted in zip(seen(jitcore.jit(DRAWS[name], native=native), x), expected, strict=True):
                np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-6)


def test_state_goes_from_eager_to_compiled_and_back():
    jitted = jitcore.jit(lambda x: rand(3) * x)
    one = jitcore.ones(3)
    jitted(one), jitted(one)
    jitcore.manual_seed(9)
    expected = [rand(3).numpy() for _ in range(4)]
    jitcore.manual_seed(9)
    state = jitcore.get_rng_state()
    for _ in range(2):
        jitcore.set_rng_state(state)
        given = [f(one).numpy() for f in (jitted, lambda x: rand(3), jitted, jitted)]
        np.testing.assert_array_equal(given, expected)
    jitcore.set_rng_state(state)
    with jitcore.random.fork_rng():
        jitted(one)
    np.testing.assert_array_equal(jitted(one).numpy(), expected[0])


def test_generators_as_arguments_are_one_recording():
    def f(x, generator):
        return rand(3, generator=generator) + x

    jitted = jitcore.jit(f)
    x = jitcore.ones(3)
    for seed in range(5):
        ours, theirs = (jitcore.Generator().manual_seed(seed) for _ in range(2))
        for _ in range(2):
            np.testing.assert_array_equal(jitted(x, ours).numpy(), f(x, theirs).numpy())
        assert ours.get_state().tolist() == theirs.get_state().tolist()
    assert len(jitted._recordings.variants()) == 1


def test_generator_argument_that_is_the_default_one_too():
    def f(generator):
        return rand(2, generator=generator), rand(2)

    jitted = jitcore.jit(f)
    results = []
    for function in (f, jitted):
        jitcore.manual_seed(3)
        own = jitcore.Generator().manual_seed(4)
        here = []
        for generator in (jitcore.default_generator, own, jitcore.default_generator, own):
            here += [x.tolist() for x in function(generator)]
        results.append(here)
    assert results[0] == results[1]


def test_threads_with_generators_of_their_own():
    drop = jitcore.jit(lambda x, generator: x * (rand(64, generator=generator) > 0.5))
    x = jitcore.ones(64)

    def numbers(seed):
        generator = jitcore.Generator().manual_seed(seed)
        return [drop(x, generator).tolist() for _ in range(60)]

    expected = [numbers(seed) for seed in range(4)]
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: numbers(n)})) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [found[n] for n in range(4)] == expected


def test_seed_of_the_operating_system_is_another_one_each_time():
    jitted = jitcore.jit(lambda: (jitcore.seed(), rand(1))[1])
    with pytest.warns(jitcore.JitWarning, match="a seed from the operating system"):
        assert len({jitted().item() for _ in range(5)}) == 5
    jitcore.manual_seed(0)


# Exported


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 6), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.layer(x)) + jitcore.randn(6)


@pytest.mark.parametrize("native", [True, False])
def test_loaded_model_goes_on_from_the_state_at_export(tmp_path, native):
    model, x = Noisy(), jitcore.ones(3, 4)
    jitcore.manual_seed(21)
    rand(5)
    state = jitcore.get_rng_state()
    targets = host_targets()[:1] if native else []
    jitcore.export(model, tmp_path / "m.jca", {"x": "float32[N,4]"}, targets=targets)
    assert jitcore.get_rng_state().tolist() == state.tolist()
    loaded = jitcore_runtime.load(tmp_path / "m.jca", native=native)
    assert loaded.is_native == native

    def agree():
        for _ in range(3):
            np.testing.assert_allclose(loaded(x.numpy()), model(x).detach().numpy(), rtol=1e-5, atol=1e-6)

    agree()
    loaded.manual_seed(2**64 - 1)
    jitcore.manual_seed(2**64 - 1)
    agree()
    jitcore.set_rng_state(jitcore.tensor(loaded.get_rng_state()))
    agree()
    loaded.set_rng_state(state.numpy())
    jitcore.set_rng_state(state)
    agree()


def test_exported_function_has_the_states_of_all_its_generators(tmp_path):
    jitcore.export(lambda x: rand(2, generator=OWN) + rand(2) * x, tmp_path / "m.jca", {"x": "float32[2]"}, targets=[])
    loaded = jitcore_runtime.load(tmp_path / "m.jca")
    x = jitcore.ones(2)
    for _ in range(2):
        np.testing.assert_allclose(loaded(x.numpy()), (rand(2, generator=OWN) + rand(2) * x).numpy(), rtol=1e-6)


def test_seeds_of_models_without_random_numbers_are_refused(tmp_path):
    jitcore.export(lambda x: x * 2, tmp_path / "m.jca", {"x": "float32[2]"}, targets=[])
    loaded = jitcore_runtime.load(tmp_path / "m.jca")
    with pytest.raises(ValueError, match="draws no random numbers"):
        loaded.manual_seed(1)
