"""Numbers of a recording (sizes, integer and float arguments, items) beside NumPy, and given to code that takes plain
numbers alone: values, types and dtypes are those of eager runs, at every call."""

import collections
import decimal
import gc
import json
import math
import operator
import pickle
import random
import time
import warnings

import numpy as np
import pytest
from trap_checks import jit, quiet

import jitcore

BESIDE = {
    "int array": lambda: np.arange(1, 4),
    "float array": lambda: np.arange(1.0, 4.0),
    "float32 array": lambda: np.arange(1, 4, dtype="f4"),
    "uint8 array": lambda: np.arange(1, 4, dtype="u1"),
    "bool array": lambda: np.array([True, False]),
    "0-d array": lambda: np.array(3),
    "0-d float32 array": lambda: np.array(3, "f4"),
    "float32": lambda: np.float32(0.1),
    "float64": lambda: np.float64(3),
    "int32": lambda: np.int32(3),
    "uint8": lambda: np.uint8(3),
    "bool": lambda: np.bool_(True),
    "Decimal": lambda: decimal.Decimal(3),
    "complex": lambda: 3j,
    "large int": lambda: 2**70,
    "list": lambda: [1, 2],
    "None": lambda: None,
}
OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, divmod,
    operator.eq, operator.ne, operator.lt, operator.ge, operator.and_, operator.or_, operator.lshift, operator.rshift,
    operator.matmul, operator.contains, operator.iadd, operator.imul,
    lambda left, right: left**right,  # a call of `operator.pow` may be one of `np.power`, which may be run once more
]  # fmt: skip
NUMBERS = {  # by where the number is from: how a function gets it, and its arguments for one number
    "size": (lambda x, n: x.shape[0], lambda n: (jitcore.ones(n), 0)),
    "int argument": (lambda x, n: n, lambda n: (jitcore.ones(2), n)),
    "float argument": (lambda x, n: n, lambda n: (jitcore.ones(2), n + 0.5)),
    "int item": (lambda x, n: x.sum().item(), lambda n: (jitcore.tensor([n]), 0)),
    "float item": (lambda x, n: x.sum().item(), lambda n: (jitcore.tensor([n + 0.5]), 0)),
}
ENDLESS = {(operator.lshift, "large int"), (OPERATORS[-1], "large int")}


def seen(thing):
    """What can be told of a result: type, dtype, value."""
    if isinstance(thing, jitcore.Tensor):
        thing = thing.numpy()
    if isinstance(thing, tuple | list):
        return type(thing).__name__, [seen(part) for part in thing]
    if isinstance(thing, np.ndarray | np.generic):
        return type(thing).__name__, str(thing.dtype), thing.shape, thing.tobytes()
    return type(thing).__name__, repr(thing)


def outcome(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return seen(function(*arguments))
        except Exception as error:
            return type(error).__name__, str(error)


def differences(use, source, numbers=(2, 3, 4, 3)):
    """Calls in which the jitted function, eager for the rest, gives something else than the function."""
    number, arguments = NUMBERS[source]

    def f(x, n):
        return use(number(x, n)), x * 2

    jitted = jit(f)
    for n in numbers:
        given, expected = (outcome(run, *arguments(n)) for run in (jitted, f))
        if given != expected:
            yield source, n, given, expected


def caught(python, left, right):
    try:
        return python(left, right)
    except Exception as error:
        return next(kind.__name__ for kind in ERRORS if isinstance(error, kind))


ERRORS = (TypeError, ZeroDivisionError, OverflowError, ValueError, Exception)


@pytest.fixture
def few_objects():
    """What was there before counts as nobody's to the garbage collector, which each recording asks."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("other", BESIDE)
def test_operators(other, source):
    """Inside of `try`, so that nothing is run once more without being noticed."""
    make = BESIDE[other]
    found = []
    for python in OPERATORS:
        if (python, other) in ENDLESS:
            continue
        for use in (lambda n, p=python: caught(p, make(), n), lambda n, p=python: caught(p, n, make())):
            found += [(python.__name__, *what) for what in differences(use, source, (2, 3, 4))]
    assert not found


def in_place(n):
    items, array = [1], np.arange(1, 4)
    same_items, same_array = items, array
    items *= n
    array += n
    array **= n
    return items is same_items, items, array is same_array, array


def mutable(n):
    counts = {1: 0}
    counts |= {n: 1}
    return sorted(counts), collections.deque([1, 2]) * n


PLAIN_ALONE = {
    "seed": lambda n: np.random.default_rng(n).integers(100),
    "permutation": lambda n: np.random.default_rng(0).permutation(n),
    "legacy permutation": lambda n: np.random.RandomState(0).permutation(n),
    "choice": lambda n: np.random.default_rng(0).choice(n),
    "deque": lambda n: collections.deque([1, 2, 3, 4, 5], maxlen=n),
    "ldexp": lambda n: math.ldexp(1.0, n),
    "gmtime": lambda n: tuple(time.gmtime(n)),
    "random": lambda n: random.Random(n).random(),
    "json": json.dumps,
    "pickle": pickle.dumps,
    "where": lambda n: np.where(np.array([True, False]), np.float32(2), n),
    "ufunc": lambda n: np.add(np.arange(3, dtype="f4"), n),
    "ufunc of lists": lambda n: np.add.reduce([n, n]),
    "ufunc with out": lambda n: np.multiply(np.arange(3), n, out=np.zeros(3)),
    "clip": lambda n: np.clip(np.arange(5, dtype="f4"), 0, n),
    "sqrt": np.sqrt,
    "full": lambda n: np.full(3, n, "f4") * n,
    "array": lambda n: (np.array(n), np.array([n, 0.5])),
    "uint8": lambda n: np.uint8(n * 100),
    "membership": lambda n: (n in np.arange(3), n in [1, 3], n in {1, 3}),
    "root of an array": lambda n: np.arange(1, 99.0) ** (n / 4),
    "power of an array": lambda n: np.power(np.arange(1, 99.0), n / 4),
    "square of bools": lambda n: np.array([True, False]) ** n,
    "slice": lambda n: [1, 2, 3, 4, 5][:n],
    "text": lambda n: ("%d" % n, "ab" * int(n)),  # noqa: UP031
    "in place": in_place,
    "dict and deque": mutable,
    "wrapped error": lambda n: wrapped(lambda: math.ldexp(1.0, n)),
    "sum with None": lambda n: n + None,
}


def wrapped(call):
    try:
        return call()
    except TypeError as error:
        raise ValueError("no number") from error


@quiet
@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("use", PLAIN_ALONE)
def test_code_that_takes_plain_numbers(use, source):
    assert not list(differences(PLAIN_ALONE[use], source))


def test_numbers_beside_numpy_scalars_need_no_eager_runs():
    def f(x, n):
        return x * float(np.float32(0.1) * n) + x.shape[0] * 0.5

    jitted = jit(f)
    for size in (2, 3, 4, 5, 3, 4):
        x = jitcore.ones(size)
        assert seen(jitted(x, 0.5)) == seen(f(x, 0.5))
    assert "ran eagerly" not in jitted.explain()


@quiet
def test_a_seed_is_recorded_by_its_number():
    """After one run with plain numbers, which says that sizes and integers are taken as they are."""

    def f(x, seed):
        return x * float(np.random.default_rng(seed).permutation(seed)[0])

    jitted = jit(f)
    for seed in (3, 4, 5, 6, 5, 6):
        assert seen(jitted(jitcore.ones(2), seed)) == seen(f(jitcore.ones(2), seed))
    assert all(entry.reason is None for entry in jitted._recordings.entries.values()), jitted.explain()


def test_comparing_a_size_with_what_is_no_number_learns_nothing_of_it():
    def f(x):
        n = x.shape[0]
        return x * (1 if n == "all" or n == None or n in ("a", None) else 2)  # noqa: E711

    jitted = jit(f)
    for size in (2, 3, 4, 5, 6):
        assert seen(jitted(jitcore.ones(size))) == seen(f(jitcore.ones(size)))
    assert len(jitted._recordings.variants()) == 2


FAILING = {
    "raised": lambda x, n: raises(n),
    "a missing key": lambda x, n: {}["key"],
    "a call without a number": lambda x, n: int("text"),
    "an attribute": lambda x, n: x.nothing,
    "an operation": lambda x, n: x @ jitcore.ones(77),
}


def raises(n):
    raise TypeError(f"{n} is not what I want")


@quiet
@pytest.mark.parametrize("what", FAILING)
def test_errors_of_the_users_own_come_out_of_one_run(what):
    runs = []

    def f(x, n):
        runs.append(1)
        return FAILING[what](x, n)

    jitted = jit(f)
    for n in (2, 3, 4):
        x = jitcore.ones(n)
        runs.clear()
        given = outcome(jitted, x, n)
        assert len(runs) == 1
        assert given == outcome(f, x, n)


@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("ufunc", [np.add, np.power, np.multiply, np.divmod, np.less, np.true_divide])
@quiet
def test_functions_of_numpy_give_its_scalars(ufunc, source):
    assert not list(differences(lambda n: (ufunc(2.0, n), ufunc(n, 3), ufunc(n, n)), source))
