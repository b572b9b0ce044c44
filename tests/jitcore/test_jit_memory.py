"""Arguments that share memory, and in which order their elements lie: written and replayed as eagerly."""

import dataclasses
import warnings

import numpy as np
import pytest
from recorded import recordings, vector

import jitcore


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
