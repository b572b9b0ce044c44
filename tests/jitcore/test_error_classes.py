"""Errors of runs are PyTorch's classes as well as Python's."""

import pytest
import torch

import jitcore


def raised_by(run, library):
    with pytest.raises(Exception) as caught:
        run(library)
    return caught.value


@pytest.mark.parametrize(
    "run",
    [
        lambda t: t.arange(3) // t.zeros(3, dtype=t.int64),
        lambda t: t.arange(3) % 0,
        lambda t: t.zeros(3).gather(0, t.tensor([5])),
        lambda t: t.zeros(3).scatter(0, t.tensor([5]), 1.0),
        lambda t: t.zeros(3).index_add(0, t.tensor([5]), t.ones(1)),
        lambda t: t.zeros(3)[t.tensor([5])],
        lambda t: t.nn.functional.embedding(t.tensor([5]), t.zeros(3, 2)),
        lambda t: t.zeros(3).index_select(0, t.tensor([5])),
        lambda t: t.zeros(3).take(t.tensor([5])),
    ],
)
def test_what_pytorchs_error_class_catches_catches_ours(run):
    theirs = raised_by(run, torch)
    assert isinstance(raised_by(run, jitcore), type(theirs)), type(theirs)


def test_programs_raise_the_same_classes():
    take = jitcore.jit(lambda x, i: x.gather(0, i))
    divide = jitcore.jit(lambda x, y: x // y)
    for _ in range(2):
        take(jitcore.zeros(3), jitcore.tensor([1]))
        divide(jitcore.arange(3), jitcore.ones(3, dtype=jitcore.int64))
    for kind in (IndexError, RuntimeError):
        with pytest.raises(kind, match="out of range"):
            take(jitcore.zeros(3), jitcore.tensor([7]))
    for kind in (ZeroDivisionError, RuntimeError):
        with pytest.raises(kind):
            divide(jitcore.arange(3), jitcore.zeros(3, dtype=jitcore.int64))
