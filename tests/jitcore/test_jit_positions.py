"""Writes at positions that tensors hold (a cache of keys and values) serve all positions with one recording; a position
outside its own dimension is an error in replays too."""

import pytest
from recorded import recordings

import jitcore

POSITIONS = [(0, 1), (1, 2), (2, 0), (1, 1), (-1, -2), (0, 0)]


def whole(cache, p, q, v):
    cache[p] = v[0]


def columns(cache, p, q, v):
    cache[:, p] = v[:, 0]


def number_at_the_end(cache, p, q, v):
    cache[..., p] = 7.0


def apart(cache, p, q, v):
    cache[p, :, q] = v[0, :, 0]


def both(cache, p, q, v):
    cache[p, q] = v[0, 0]


def part(cache, p, q, v):
    cache[1:, p] = v[1:, 0]


def with_a_number(cache, p, q, v):
    cache[p, 1], cache[1, q] = v[0, 0], v[1, 1]


def with_new_dimensions(cache, p, q, v):
    cache[None, p], cache[p, None] = v[0], v[1]


def element(cache, p, q, v):
    cache[p, q, p] = 5


def added(cache, p, q, v):
    cache[:, q] = cache.index_select(1, q.abs().reshape(1))[:, 0] * 2 + v[:, 1]


WRITES = [
    whole, columns, number_at_the_end, apart, both, part, with_a_number, with_new_dimensions, element, added
]  # fmt: skip


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_one_recording_serves_all_positions(write, native):
    jitted = jitcore.jit(write, native=native)
    ours, theirs = (jitcore.arange(36.0).reshape(3, 3, 4) for _ in range(2))
    for turn, (p, q) in enumerate(POSITIONS):
        v = jitcore.arange(36.0).reshape(3, 3, 4) * turn
        jitted(ours, jitcore.tensor(p), jitcore.tensor(q), v)
        write(theirs, jitcore.tensor(p), jitcore.tensor(q), v)
        assert ours.tolist() == theirs.tolist()
    assert recordings(jitted) == 1
    before = ours.tolist()
    with pytest.raises(IndexError):
        jitted(ours, jitcore.tensor(7), jitcore.tensor(7), v)
    assert ours.tolist() == before


def test_gradients_flow_through_a_write_at_a_position():
    def f(x, p):
        kept = jitcore.zeros(3, 2)
        kept[p] = x * 2
        return (kept * jitcore.arange(6.0).reshape(3, 2)).sum()

    jitted = jitcore.jit(f)
    for p in (0, 2, 1):
        grads = []
        for function in (jitted, f):
            x = jitcore.ones(2, requires_grad=True)
            function(x, jitcore.tensor(p)).backward()
            grads.append(x.grad.tolist())
        assert grads[0] == grads[1]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("rows, columns, fits", [
    ([0, 1], [1, 3], True), ([0, 1], [1, 5], False), ([0, 0], [-4, 3], True), ([0, 0], [-5, 3], False),
    ([2, -3], [0, 3], True), ([3, 0], [0, 3], False), ([-4, 0], [0, 3], False),
])  # fmt: skip
def test_each_position_lies_in_its_own_dimension(rows, columns, fits, native, ran):
    def write(x, i, j):
        made = x.clone()
        made[i, j] = 5.0
        return made

    x, good = jitcore.arange(12.0).reshape(3, 4), (jitcore.tensor([0, 1]), jitcore.tensor([1, 2]))
    for f in (lambda x, i, j: x[i, j] * 2, write):
        jitted = jitcore.jit(f, native=native)
        jitted(x, *good)
        given = x, jitcore.tensor(rows), jitcore.tensor(columns)
        if fits:
            assert jitted(*given).tolist() == f(*given).tolist()
            continue
        for function in (f, jitted):
            with pytest.raises(IndexError):
                function(*given)
    assert ran
