"""Known traps of tracing: calls that fail eagerly fail under jit, also where nobody needs what the failing operation
gives, or not all of it."""

import pytest

import jitcore
import jitcore.nn.functional as F
from jitcore import linalg


def _statement(function):
    """A call whose result is not used."""

    def run(x, given):
        function(x, given)
        return x + 1

    return run


def _item_put(x, i):
    x.clone()[i] = 3.0


POSITIONS = {
    "index": _statement(lambda x, i: x[i]),
    "gather": _statement(lambda x, i: x.gather(0, i)),
    "scatter": _statement(lambda x, i: x.scatter(0, i, 1.0)),
    "index_add": _statement(lambda x, i: x.index_add(0, i, x[:3])),
    "embedding": _statement(lambda x, i: F.embedding(i, x.reshape(5, 1))),
    "item put": _statement(_item_put),
    "nll_loss": _statement(lambda x, i: F.nll_loss(x.expand(3, 5), i)),
    "first of several": lambda x, i: x[i][0] * 2,
    "chosen of several": lambda x, i: (x[i] + 1)[jitcore.tensor([0, 1])],
    "overwritten": lambda x, i: x[i].index_fill(0, jitcore.tensor([2]), 0.0),
    "through a sum": lambda x, i: x[i].sum(),
    "minus itself": lambda x, i: (t := x.long()[i]) - t.long(),
    "times zero": lambda x, i: x.long()[i] * jitcore.zeros(3, dtype=jitcore.int64),
    "equal to itself": lambda x, i: (t := x.long()[i]) == t + 0,
    "not chosen": lambda x, i: jitcore.where(jitcore.ones(3) > 0, 1.0, x[i]),
    "chosen either way": lambda x, i: jitcore.where(x[i] > 0, x[:3], x[:3]),
    "broadcast to nothing": lambda x, i: x[i] + jitcore.zeros(0, 1),
    "for a branch": lambda x, i: jitcore.cond(x[0] < 9.0, lambda a, b: a, lambda a, b: a * 2, (x[:3], x[i])),
}


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize("name", POSITIONS)
def test_positions_out_of_range(name, native):
    function = POSITIONS[name]
    jitted = jitcore.jit(function, native=native)
    x = jitcore.arange(5.0)
    inside, outside = jitcore.tensor([0, 1, 2]), jitcore.tensor([0, 1, 9])
    for _ in range(3):
        assert jitcore.equal(jitted(x, inside), function(x, inside))
    for one in (function, jitted, jitted):
        with pytest.raises(IndexError):
            one(x, outside)
    assert jitcore.equal(jitted(x, inside), function(x, inside))
    assert len(jitted._recordings.variants()) == 1


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize("function", [lambda x, k: jitcore.arange(3) // k, lambda x, k: jitcore.arange(3) % k])
def test_integers_divided_by_zero(function, native):
    unused, first = _statement(function), lambda x, k: function(x, k)[0]
    for called in (unused, first):
        jitted = jitcore.jit(called, native=native)
        x = jitcore.arange(5.0)
        for _ in range(2):
            jitted(x, jitcore.tensor([1, 2, 3]))
        with pytest.raises(ZeroDivisionError):
            jitted(x, jitcore.tensor([1, 2, 0]))


@pytest.mark.parametrize("function", [linalg.inv, linalg.cholesky, lambda a: linalg.solve(a, a)])
def test_matrices_that_have_no_answer(function):
    jitted = jitcore.jit(_statement(lambda x, a: function(a)))
    x = jitcore.arange(5.0)
    for _ in range(2):
        jitted(x, jitcore.eye(2))
    with pytest.raises(linalg.LinAlgError):
        jitted(x, jitcore.zeros(2, 2))


def test_constant_positions_and_a_size_that_shrinks():
    def f(x):
        x[[0, 1]]
        return x * 2

    jitted = jitcore.jit(f, native=False)
    for size in (4, 5, 6, 2):
        assert jitcore.equal(jitted(jitcore.ones(size)), jitcore.full((size,), 2.0))
    for size in (1, 0):
        with pytest.raises(IndexError):
            jitted(jitcore.ones(size))


def test_what_cannot_fail_is_not_computed_for_that():
    def f(x):
        x[[0, 1]]
        x.long() // 2
        jitcore.gather(x, 0, jitcore.tensor([1, 1]))
        return x * 2

    jitted = jitcore.jit(f, native=False)
    jitted(jitcore.ones(4))
    (entry,) = jitted._recordings.entries.values()
    assert len(entry.variants[0].recording.values) == 1
