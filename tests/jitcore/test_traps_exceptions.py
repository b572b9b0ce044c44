"""Known traps of tracing: a jitted call that ends in an exception leaves every tensor as it was.

A table of ways to change tensors, ways to fail after that, and kinds of jitted calls (recorded, or why they run
eagerly). What is compared is memory to the bit, gradients, flags, history and the memory that a
tensor looks at; and what the next call, which goes well, makes of it all.
"""

import functools

import numpy as np
import pytest
from trap_checks import jit, vector

import jitcore
from jitcore import jit_function, nn, optim
from jitcore.trace import recordings
from jitcore.trace.variant import CannotReplay, Variant

pytestmark = pytest.mark.filterwarnings("ignore::jitcore.JitWarning")


class World:
    """Tensors of all kinds, made before the call."""

    def __init__(self):
        jitcore.manual_seed(5)
        self.model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.sgd = optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.late = optim.AdamW(self.model.parameters(), lr=0.1)  # has made no state yet
        self.model(jitcore.randn(3, 4)).sum().backward()
        self.sgd.step()
        self.weight = nn.Parameter(vector(1, 2, 3, 4))
        self.fresh = nn.Parameter(vector(1, 2, 3, 4))  # has no gradient
        self.weight.grad = vector(5, 6, 7, 8)
        self.plain = vector(1, 2, 3, 4)
        self.large = jitcore.arange(40.0).reshape(5, 8)
        self.view = self.large[1:4, ::2]
        self.give_history()
        self.complex = jitcore.tensor([1 + 2j, 3 + 4j])
        self.memory = np.arange(6.0)
        self.shared, self.overlapping = jitcore.from_numpy(self.memory), jitcore.from_numpy(self.memory[2:])
        self.generator = jitcore.Generator().manual_seed(3)
        self.state = {name: tensor * 2 for name, tensor in self.model.state_dict().items()}
        self.calls = 0
        self.failing = False

    def give_history(self):
        """What can be differentiated once."""
        self.inner = self.weight.square()
        self.inner_view = self.inner[1:3]
        self.inner_view.register_hook(lambda g: g * 3)
        self.kept = self.weight * self.fresh
        self.kept.retain_grad()
        self.fresh.grad = None

    def tensors(self):
        yield from ((name, t) for name, t in vars(self).items() if isinstance(t, jitcore.Tensor))
        yield from self.model.state_dict(keep_vars=True).items()
        for kind in (self.sgd, self.late):
            for number, entries in enumerate(kind.state.values()):
                yield from ((f"{type(kind).__name__} {number} {name}", entry) for name, entry in entries.items())
        yield "generator", self.generator._state
        yield "default generator", jitcore.random.default_generator._state

    def seen(self):
        """Everything about every tensor."""
        return {name: looks(t) for name, t in self.tensors() if isinstance(t, jitcore.Tensor)}


def looks(t):
    of_grad = None if t._grad is None else (id(t._grad), t._grad._array.tobytes())
    history = None if t.grad_fn is None else (id(t.grad_fn), t.grad_fn.retains, t.grad_fn.held())
    own = (t._array.tobytes(), t._array.shape, t._array.strides, t._array.dtype, id(t._storage), t._view, t._version)
    return (*own, t.requires_grad, t.is_leaf, history, of_grad)


def loss_of(w, x):
    return w.model(x.reshape(1, 4).repeat(3, 1)).square().mean()


def train(w, x):
    loss_of(w, x).backward()
    nn.utils.clip_grad_norm_(w.model.parameters(), 0.5)
    w.sgd.step()
    w.sgd.zero_grad()


def train_late(w, x):
    loss_of(w, x).backward()
    w.late.step()


def no_grad(function):
    def run(w, x):
        with jitcore.no_grad():
            function(w, x)

    return run


def many_views(w, x):
    for row in range(4):
        w.large[row : row + 2].add_(x.sum())
    w.view.mul_(2)
    w.view[0] = 0


def into_history(w, x):
    w.inner.retain_grad()
    w.inner_view.mul_(x[:2])
    w.inner.add_(x)
    assert w.inner_view.requires_grad
    w.inner.sum().backward()
    w.kept.sum().backward()


def to_leaf(w, x):
    w.inner.detach_()
    w.plain.requires_grad_(not w.plain.requires_grad)
    w.fresh.requires_grad_(not w.fresh.requires_grad)


def draw(w, x):
    w.plain.uniform_()
    jitcore.randn(3, generator=w.generator)
    jitcore.manual_seed(8)
    jitcore.rand(2)


def replaced(w, x):
    w.weight.data = x * 2
    w.plain.resize_(2)
    w.large.t_()
    w.complex.unsqueeze_(0)


def replaced_and_written(w, x):
    w.plain.add_(1)
    w.plain.data = x * 2
    w.plain.add_(1)


def loops(w, x):
    def body(carry, element):
        return carry + element * jitcore.rand(()), carry

    w.plain.copy_(jitcore.cond(x.sum() > 0, lambda v: v * jitcore.rand(4), lambda v: v, (x.detach(),)))
    last, _ = jitcore.scan(body, w.plain[0].clone(), x.detach())
    w.plain.add_(last)
    (count,) = jitcore.while_loop(lambda n: n < 3, lambda n: (n + jitcore.rand(()),), (jitcore.zeros(()),))
    w.plain[0] = count


class Double(jitcore.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        with jitcore.no_grad():
            return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


@jit
def program(tensor, weight, x):
    tensor.add_(x)
    (weight * x).sum().backward()
    return tensor * 2


for _ in range(2):
    program(vector(1, 2, 3, 4), nn.Parameter(vector(1, 2, 3, 4)), vector(1, 2, 3, 4))


def replay(w, x):
    for _ in range(3):
        program(w.plain, w.fresh, x.detach())
        program(w.large[0, :4], w.weight, x.detach())


def first_recording(w, x):
    jit(lambda: w.plain.add_(1))()
    jit(lambda y: train(w, y))(x.detach())


def over_examples(w, x):
    jitcore.vmap(lambda row, v: row.mul_(v).sum(), randomness="different")(w.large, jitcore.rand(5))


CHANGES = {
    "in place": lambda w, x: x.detach().mul_(2).sub_(1),
    "item": lambda w, x: w.plain.__setitem__(1, x[0].detach()),
    "mask": lambda w, x: w.large.__setitem__(w.large > 3, 0),
    "out=": no_grad(lambda w, x: jitcore.add(x, 1, out=w.plain)),
    "scatter": lambda w, x: w.plain.scatter_add_(0, jitcore.tensor([0, 0, 3, 1]), x.detach()),
    "a view of a view": lambda w, x: w.plain.view(2, 2).t()[0].add_(1),
    "many views": lambda w, x: many_views(w, x.detach()),
    "a part of a complex tensor": lambda w, x: [w.complex.real.add_(1), w.complex.conj_physical_()],
    "copy_": no_grad(lambda w, x: w.weight.copy_(x)),
    "init": lambda w, x: nn.init.xavier_normal_(w.model[0].weight),
    "foreach": no_grad(lambda w, x: jitcore._foreach_mul_(list(w.model.parameters()), 2.0)),
    "load_state_dict": lambda w, x: w.model.load_state_dict(w.state),
    "running statistics": loss_of,
    "gradients": lambda w, x: loss_of(w, x).backward() or ((w.fresh + w.weight) * x).sum().backward(),
    "zeroed gradients": lambda w, x: w.sgd.zero_grad(set_to_none=False),
    "gradients set": lambda w, x: [setattr(w.weight, "grad", x.detach()), setattr(w.fresh, "grad", x.detach() * 2)],
    "no gradients": lambda w, x: w.model.zero_grad() or delattr(w.weight, "grad"),
    "graphs of gradients": lambda w, x: (w.weight * w.fresh).square().sum().backward(create_graph=True),
    "training": train,
    "training with new state": train_late,
    "flags": to_leaf,
    "history": into_history,
    "a marked write": lambda w, x: Double.apply(w.inner).sum().backward(),
    "random numbers": draw,
    "other memory": replaced,
    "other memory, written": replaced_and_written,
    "shared memory": lambda w, x: [t.add_(1) for t in (w.shared, w.overlapping, w.shared, w.overlapping[1:])],
    "control flow": loops,
    "examples": over_examples,
    "replays": replay,
    "recordings": first_recording,
}


def raise_key(w, x):
    raise KeyError("in the middle")


def interrupt(w, x):
    raise KeyboardInterrupt


def wrong_shapes(w, x):
    return x @ jitcore.ones(3)


@jitcore.custom_op("traps::fails", mutates_args=())
def fails(x: jitcore.Tensor) -> jitcore.Tensor:
    raise LookupError("in a custom operation")


fails.register_fake(lambda x: jitcore.empty_like(x))


class FailsBackward(jitcore.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        raise ArithmeticError("in backward")


def fail(x=None):
    raise OSError("somewhere")


def hook_fails(w, x):
    handle = w.fresh.register_hook(fail)
    try:
        (w.fresh * w.weight * x).sum().backward()
    finally:
        handle.remove()


def after_accumulating(w, x):
    handle = w.fresh.register_post_accumulate_grad_hook(fail)
    try:
        ((w.weight + w.fresh) * x).sum().backward()
    finally:
        handle.remove()


def module_hook(w, x):
    handle = w.model[3].register_forward_hook(lambda *_: fail())
    try:
        loss_of(w, x)
    finally:
        handle.remove()


def step_hook(w, x):
    handle = w.sgd.register_step_post_hook(lambda *_: fail())
    try:
        loss_of(w, x).backward()
        w.sgd.step()
    finally:
        handle.remove()


def in_branch(w, x):
    jitcore.cond(x.sum() < 1e9, lambda v: fail(), lambda v: v, (x,))


def in_loop(w, x):
    jitcore.while_loop(lambda n: n < 9, lambda n: (n + 1 if n < 4 else fail(),), (jitcore.zeros(()),))


def in_scan(w, x):
    jitcore.scan(lambda carry, v: (carry + w.plain.add_(1).sum(), carry if v < 1 else fail()), x.sum(), x)


FAILURES = {
    "an exception": (raise_key, KeyError),
    "an interrupt": (interrupt, KeyboardInterrupt),
    "a position": (lambda w, x: x[jitcore.tensor([99])], IndexError),
    "shapes": (wrong_shapes, RuntimeError),
    "a custom operation": (lambda w, x: fails(x.detach()), LookupError),
    "backward": (lambda w, x: FailsBackward.apply(w.fresh * x).sum().backward(), ArithmeticError),
    "a hook": (hook_fails, OSError),
    "a hook after accumulating": (after_accumulating, OSError),
    "a hook of a module": (module_hook, OSError),
    "a hook of an optimizer": (step_hook, OSError),
    "a branch": (in_branch, OSError),
    "a loop": (in_loop, Exception),
    "a scan": (in_scan, Exception),
    "a jitted function": (lambda w, x: jit(lambda: raise_key(w, w.plain.add_(1)))(), KeyError),
}


def eager_for_state(call, patch):
    """Counts calls: three recordings fail, then it stays eager."""

    def function(w, x):
        w.calls += 1
        return call(w, x)

    return jit(function)


def eager_for_numpy(call, patch):
    def function(w, x):
        x.detach().numpy()
        return call(w, x)

    return jit(function)


def over_budget(call, patch):
    patch.setattr(recordings, "MOST_KINDS", 0)
    return jit(call)


class Endless:
    """A job that has not ended."""

    error = None

    def __init__(self, work):
        pass

    def is_running(self):
        return True


def in_background(call, patch):
    patch.setattr(jit_function, "Job", Endless)
    return jit(call, background=True)


def not_replayable(call, patch):
    def refuse(*_):
        raise CannotReplay("because")

    patch.setattr(Variant, "fits", lambda *_: True)
    patch.setattr(Variant, "inputs", refuse)
    return jit(call)


def part_of_a_recording(call, patch):
    inner = jit(call)
    return jit(lambda *arguments: inner(*arguments))


def caught_in_a_recording(call, patch):
    """The outer function goes on after the inner one has failed."""
    inner = jit(call)

    def outer(w, x):
        try:
            inner(w, x)
        except BaseException as error:
            return error
        return None

    jitted = jit(outer)

    def run(w, x):
        error = jitted(w, x)
        if error is not None:
            raise error

    return run


def inspected(call, patch):
    """Anomaly mode: jitted functions run eagerly."""
    jitted = jit(call)

    @functools.wraps(jitted)
    def run(w, x):
        try:
            with jitcore.autograd.detect_anomaly(check_nan=False):
                jitted(w, x)
        finally:
            run._eager_calls = jitted._eager_calls

    return run


KINDS = {
    "recorded": (lambda call, patch: jit(call), 0),
    "recorded again": (lambda call, patch: jit(call), 2),
    "in a recording": (part_of_a_recording, 0),
    "caught in a recording": (caught_in_a_recording, 0),
}
EAGER = {
    "changes Python state": (eager_for_state, 4),
    "reads a tensor whole": (eager_for_numpy, 1),
    "over budget": (over_budget, 0),
    "is compiled in the background": (in_background, 1),
    "cannot be replayed": (not_replayable, 1),
    "anomaly mode": (inspected, 0),
}
KINDS |= EAGER


def check(patch, kind, change, failure):
    """After some calls that went well, one that fails has changed nothing, also not for the next one."""
    make, earlier = KINDS[kind]
    fails, error = FAILURES[failure]

    def call(w, x):
        change(w, x)
        if w.failing:
            fails(w, x)

    found = []
    for function in (make(call, patch), call):
        world = World()
        arguments = world, vector(0.5, -1, 2, 1).requires_grad_()
        world.x = arguments[1]
        for _ in range(earlier):
            function(*arguments)
            world.give_history()
        if function is not call:
            eager = getattr(function, "_eager_calls", 0)
            before = world.seen()
            world.failing = True
            with pytest.raises(error):
                function(*arguments)
            assert kind not in EAGER or function._eager_calls > eager
            world.failing = False
            after = world.seen()
            assert before.keys() <= after.keys()
            for name, look in before.items():
                assert after[name] == look, name
        function(*arguments)
        found.append([t._array.tobytes() for _, t in world.tensors()])
    assert found[0] == found[1]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["recorded", "caught in a recording", "reads a tensor whole"])
def test_a_failing_call_leaves_every_tensor_as_it_was(kind, change, monkeypatch):
    check(monkeypatch, kind, CHANGES[change], "an exception")


SEVERAL = "in place", "many views", "history", "training", "no gradients", "random numbers"


def several(w, x):
    for name in SEVERAL:
        CHANGES[name](w, x)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_kind_of_call_it_is(kind, monkeypatch):
    check(monkeypatch, kind, several, "an interrupt")


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", ["recorded", "reads a tensor whole"])
def test_however_it_fails(kind, failure, monkeypatch):
    check(monkeypatch, kind, several, failure)
