"""Known traps of tracing: programs that fail, compilations that are interrupted, and what undoing costs.

`test_traps_exceptions.py` has the calls that run eagerly or are recorded.
"""

import numpy as np
import pytest
from test_traps_exceptions import World, train
from trap_checks import jit, vector

import jitcore
from jitcore import jit_function
from jitcore.state import state

pytestmark = pytest.mark.filterwarnings("ignore::jitcore.JitWarning")


class Stop(Exception):
    """Made by the user, of two arguments."""

    def __init__(self, why, where):
        super().__init__(f"{why} at {where}")


RAISED: list[type] = [Stop]


@jitcore.custom_op("traps::positive", mutates_args=())
def positive(x: jitcore.Tensor) -> jitcore.Tensor:
    if x.sum() < 0:
        raise Stop("negative", "the start") if RAISED[0] is Stop else RAISED[0]()
    return x + 0


positive.register_fake(lambda x: jitcore.empty_like(x))


def unchanged(world, call, error):
    before = world.seen()
    with pytest.raises(error):
        call()
    assert world.seen() == before
    assert state.undo is None and state.recorder is None


BY_VALUE = {
    "position": (lambda x, i: x[i], IndexError),
    "division": (lambda x, i: jitcore.arange(1, 5) // (7 - i[0]), (ZeroDivisionError, RuntimeError)),
    "singular matrix": (lambda x, i: jitcore.linalg.inv(jitcore.eye(4) * (7 - i[0])), RuntimeError),
    "custom operation": (lambda x, i: positive(3.0 - i), Stop),
}


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize("way", BY_VALUE)
def test_a_replay_that_fails_in_the_middle(way, native):
    fails, error = BY_VALUE[way]
    w = World()

    @jitcore.jit(native=native)
    def step(x, index):
        w.plain.add_(x.detach())
        w.large[1:3].mul_(2)
        loss = (w.weight * x).square().sum()
        loss.backward()
        with jitcore.no_grad():
            w.weight.sub_(w.weight.grad * 0.1)
        w.plain.mul_(jitcore.rand(4))
        y = fails(x, index)
        w.large[0, :4] = y.float().sum()
        return loss.detach()

    x, inside, outside = vector(1, 2, 3, 4), jitcore.tensor([1]), jitcore.tensor([7])
    for _ in range(3):
        step(x, inside)
    assert "replayed 2 times" in step.explain()
    unchanged(w, lambda: step(x, outside), error)
    unchanged(w, lambda: step(x, outside), error)
    step(x, inside)
    assert len(step._recordings.variants()) == 1


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
def test_an_interrupt_in_a_custom_operation_is_no_failure_of_a_program(native):
    w = World()

    @jitcore.jit(native=native)
    def step(x):
        w.plain.add_(1)
        return positive(x) * 2

    for _ in range(3):
        step(vector(1, 2))
    RAISED[0] = KeyboardInterrupt
    try:
        unchanged(w, lambda: step(vector(-1, -2)), KeyboardInterrupt)
    finally:
        RAISED[0] = Stop


def branches(w, x):
    w.plain.add_(1)
    if x.sum() > 0:
        w.plain.mul_(2)
        y = positive(x[:1] - 50 * (x.sum() > 100)) * 1
    else:
        w.large.sub_(1)
        y = x[:1] * 2
    if y.sum() > 1000:
        raise Stop("large", "the end")
    w.plain.sub_(y.sum())
    return y


@pytest.mark.parametrize("calls", [2, 40], ids=["a tree", "a merged tree"])
def test_a_tree_of_recordings_that_fails(calls):
    w = World()
    step = jit(lambda x: branches(w, x))
    for n in range(calls):
        step(vector(1, n % 5) if n % 2 else vector(-1, -2))
    roots = [root for entry in step._recordings.entries.values() for root in entry.tree.roots]
    assert any(root.merged for root in roots) is (calls > 2)
    unchanged(w, lambda: step(vector(1, 101)), Stop)  # an error in a branch
    unchanged(w, lambda: step(vector(5000, -4950)), Stop)  # an outcome that was not seen: recorded again, in the middle
    step(vector(1, 2))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_compiling_that_is_interrupted(error, monkeypatch):
    """The call has run by then, eagerly."""
    w = World()
    step = jit(lambda x: train(w, x))

    def interrupted(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(jit_function, "Program", interrupted)
        w.sgd.zero_grad()
        unchanged(w, lambda: step(vector(1, 2, 3, 4)), error)
    step(vector(1, 2, 3, 4))


def test_backward_of_a_jitted_function_that_fails_leaves_gradients_alone():
    class Fails(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise Stop("here", "backward")

    w = World()
    f = jit(lambda x: (Fails.apply(w.weight) * x + w.fresh).sum())
    for _ in range(3):
        unchanged(w, lambda: (f(vector(1, 2, 3, 4)) + w.fresh.sum()).backward(), Stop)


def test_a_call_inside_one_that_goes_on_undoes_its_own_part_alone():
    w = World()

    @jit
    def inner(x):
        w.plain.mul_(x)
        w.large.add_(x)
        if x > 5:
            raise Stop("large", "the end")

    def outer(x):
        w.plain.add_(1)
        for value in (x, x * 3, x):
            try:
                inner(value)
            except Stop:
                w.plain.add_(100)

    eager = jit(lambda x: outer(x.detach().numpy().item()))
    for call in (jit(outer), eager):
        w.plain.zero_()
        for _ in range(3):
            before = w.plain.clone()
            call(jitcore.tensor(2.0))
            assert jitcore.equal(w.plain, ((before + 1) * 2 + 100) * 2)


def test_what_is_kept_does_not_grow_with_what_the_call_makes_and_drops():
    w = World()
    seen = []

    @jit
    def f(x):
        x.detach().numpy()
        for n in range(30):
            made = jitcore.zeros(100)
            made.add_(1)[n : n + 3].mul_(x.sum())
            made.requires_grad_()
            (made * w.weight.sum()).sum().backward()
        del made
        for n in range(36):
            w.large.view(-1)[n : n + 4].add_(x)
        undo = state.undo
        seen.append((len(undo._fields), sum(before.nbytes for _, before in undo._elements.values())))

    for _ in range(3):
        f(vector(1, 2, 3, 4))
    fields, copied = seen[-1]
    assert fields < 10 and copied <= 3 * w.large.nbytes


def test_views_made_in_a_call_that_failed_do_not_take_later_history_for_theirs():
    w = World()
    kept = []

    @jit
    def f(x):
        x.detach().numpy()
        kept.append(w.inner[1:])
        w.inner.mul_(3)
        assert kept[-1].requires_grad  # has looked at its history
        if len(kept) > 1:
            raise Stop("here", "the end")

    f(vector(1, 2))
    w.give_history()
    with pytest.raises(Stop):
        f(vector(1, 2))
    w.inner.mul_(5)  # as many writes as in the call
    kept[-1].sum().backward()
    np.testing.assert_array_equal((w.weight.grad - vector(5, 6, 7, 8)).numpy(), [0, 20, 30, 40])


def test_a_tensor_saved_in_a_call_that_failed_is_known_to_have_changed():
    w = World()
    kept = []

    @jit
    def f(x):
        x.detach().numpy()
        w.plain.add_(1)
        kept.append((w.plain * w.fresh).sum())
        if len(kept) > 1:
            raise Stop("here", "the end")

    f(vector(1, 2))
    before = (w.plain * w.fresh).sum()
    with pytest.raises(Stop):
        f(vector(1, 2))
    before.backward()  # what it saved is there again
    w.plain.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept[-1].backward()
