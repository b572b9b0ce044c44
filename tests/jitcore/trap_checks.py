"""What the tests of the known traps of tracing (`test_traps_*.py`) share: jitted and eager are held side by side."""

import copy
import functools
import warnings

import numpy as np

import jitcore

jit = functools.partial(jitcore.jit, native=False)
"""Most traps are tried interpreted: what decides whether a recording may be replayed is the same either way."""


def vector(*values):
    return jitcore.tensor([float(v) for v in values])


def same(given, expected):
    """Equal structure, dtypes, shapes and values."""
    if isinstance(expected, tuple | list):
        assert type(given) is type(expected) and len(given) == len(expected)
        return all(same(a, b) for a, b in zip(given, expected, strict=True))
    if isinstance(expected, dict):
        assert list(given) == list(expected)
        return all(same(given[key], expected[key]) for key in expected)
    if isinstance(expected, jitcore.Tensor):
        assert given.dtype == expected.dtype and given.requires_grad == expected.requires_grad
        np.testing.assert_allclose(given.detach().numpy(), expected.detach().numpy(), rtol=1e-6, atol=1e-6)
    else:
        assert type(given) is type(expected) and (given == expected or given != given)
    return True


def agree(jitted, function, *calls):
    """Jitted and eager give the same for each call (a tuple of arguments), and do the same to copies of these."""
    for arguments in calls:
        ours, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
        assert same(jitted(*ours), function(*theirs))
        assert same(tuple(x for x in ours if isinstance(x, jitcore.Tensor)),
                    tuple(x for x in theirs if isinstance(x, jitcore.Tensor)))  # fmt: skip


def seen_alike(program):
    """`program(wrap)` makes a world of its own, wraps functions in it, and gives a list of what is seen: the same
    eagerly and under jit, as text."""
    eager, jitted = (list(map(repr, program(wrap))) for wrap in (lambda f: f, jit))
    assert jitted == eager
    return True


def quiet(function):
    """Runs a test without the warnings about functions that stay eager."""

    @functools.wraps(function)
    def run(**fixtures):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jitcore.JitWarning)
            function(**fixtures)

    return run


class Scaler:
    """An object with class attributes, an attribute of its own, and methods."""

    by = 2.0
    other = 1.0

    def __init__(self, plus):
        self.plus = plus

    def run(self, x):
        return x * self.by + self.plus

    def __call__(self, x):
        return self.run(x) - 1
