"""Many calls and many retraces leave resident memory flat."""

import gc
import warnings

import pytest

import jitcore
from jitcore import nn


def resident():
    """Bytes of memory that the process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.parametrize("native", [True, False])
def test_a_hundred_thousand_calls_leave_memory_flat(native):
    layer = nn.Linear(4, 4)
    optimizer = jitcore.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9)

    @jitcore.jit(native=native)
    def step(x):
        optimizer.zero_grad()
        loss = layer(x).square().mean() + nn.functional.dropout(x).sum() * 0
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run(count):
        for n in range(count):
            step(x if n % 2 else y)

    x, y = jitcore.ones(3, 4), jitcore.zeros(3, 4)
    run(2000)
    gc.collect()
    before = resident()
    run(100_000 if native else 10_000)
    gc.collect()
    assert resident() - before < 4 << 20
    assert len(step._recordings.entries) == 1


@pytest.mark.slow
def test_a_thousand_retraces_leave_memory_flat():
    state = {"by": 0}
    kept = nn.Linear(64, 64)

    @jitcore.jit(native=False)
    def f(x, mode):
        y = kept(x) * state["by"]
        return y if x.sum() > mode else y * 2

    def run(numbers):
        for n in numbers:
            state["by"] = n
            f(jitcore.ones(50 + n % 40, 64) * (n % 3 - 1), "abcdefgh".index("abcdefgh"[n % 8]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        run(range(200))
        gc.collect()
        before = resident()
        run(range(200, 1200))
    gc.collect()
    assert len(f._retraces) <= 256 and len(f._recordings.entries) <= 256
    assert resident() - before < 24 << 20


def test_recordings_are_freed_with_their_function():
    def objects():
        gc.collect()
        return len(gc.get_objects())

    def once():
        layer = nn.Linear(3, 3)
        jitted = jitcore.jit(lambda x: layer(x) if x.sum() > 0 else x, native=False)
        for sign in (1, 1, -1, -1):
            jitted(jitcore.ones(2, 3) * sign).sum()

    for _ in range(3):
        once()
    before = objects()
    for _ in range(10):
        once()
    assert objects() - before < 200
