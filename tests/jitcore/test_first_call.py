"""What a first call costs: compiling in the background and ahead of calls, without anything being seen of it."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import jitcore
from jitcore import nn, optim
from jitcore.compiler import workers
from jitcore.compiler.request import Request
from jitcore.jit_function import JitWarning


@pytest.fixture(autouse=True)
def cold(tmp_path, monkeypatch):
    """Nothing is in the cache."""
    monkeypatch.setenv("JITCORE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def gate(monkeypatch):
    """Compilations in the background wait until the gate is opened."""
    opened = threading.Event()
    real = workers.build

    def build(request, notes):
        assert opened.wait(60)
        return real(request, notes)

    monkeypatch.setattr(workers, "build", build)
    yield opened
    opened.set()


# In the background


def test_calls_run_eagerly_until_the_program_is_there(gate):
    f = jitcore.jit(lambda x: (x * 2).tanh().sum(1), background=True)
    x = jitcore.randn(3, 4)
    expected = np.tanh(x.numpy() * 2).sum(1)
    for _ in range(3):
        np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-6, atol=1e-6)
    text = f.explain()
    assert "is being compiled in the background" in text and "2 calls ran eagerly" in text
    assert not f.wait(0.01)
    gate.set()
    assert f.wait(60)
    for _ in range(3):
        np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-6, atol=1e-6)
    text = f.explain()
    assert "replayed 3 times" in text and "2 calls ran eagerly" in text and "this process" not in text


def test_each_kind_of_call_and_each_outcome_is_compiled(gate):
    f = jitcore.jit(lambda x: x * 2 if x.sum() > 0 else x - 1, background=True)

    def check():
        for v in (1.0, -1.0, 2.0, -3.0):
            for n in (2, 3):
                x = jitcore.full((n,), v)
                np.testing.assert_array_equal(f(x).numpy(), [v * 2 if v > 0 else v - 1] * n)

    check()
    gate.set()
    for _ in range(3):
        assert f.wait(60)
        check()
    assert f.wait(60)
    assert f.explain().count("bool() gave") == 3  # of 2 elements one outcome, and both of any number of them
    before = f._eager_calls
    check()
    assert f._eager_calls == before


def test_training_equals_eager_whenever_the_program_comes(gate):
    def losses(compiled):
        jitcore.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = jitcore.jit(step, background=True) if compiled else step
        found = []
        for k in range(12):
            if compiled and k == 5:
                gate.set()
                assert run.wait(60)
            x = jitcore.tensor(np.random.default_rng(k).normal(size=(6, 4)).astype(np.float32))
            found.append(run(x, jitcore.tensor([0, 1, 0, 1, 1, 0])).item())
        assert not compiled or "replayed" in run.explain()
        return found

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-5)


def test_gradients_outside_use_a_backward_that_came_later(gate):
    f = jitcore.jit(lambda x: (x * x).sum(), background=True)
    for k in range(4):
        if k == 2:
            gate.set()
            assert f.wait(60)
        x = jitcore.tensor([1.0, 2.0, 3.0], requires_grad=True)
        f(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), [2, 4, 6])
    assert "Its backward pass is compiled too" in f.explain()


def test_two_functions_compile_at_once(gate):
    made = [jitcore.jit(body, background=True) for body in (lambda x: x.exp() + 1, lambda x: x.exp() + 1, lambda x: -x)]
    x = jitcore.ones(5)
    first = [f(x) for f in made]
    gate.set()
    assert all(f.wait(60) for f in made)
    for f, expected in zip(made, first):
        np.testing.assert_allclose(f(x).numpy(), expected.numpy(), rtol=1e-6)
        assert "replayed 1 times" in f.explain()


def test_the_process_of_the_calls_needs_no_llvm(tmp_path):
    code = """
import sys, jitcore
f = jitcore.jit(lambda x: (x * 2).tanh().sum(1), background=True)
x = jitcore.ones(3, 4)
f(x)
assert f.wait(120)
f(x)
print("replayed 1 times" in f.explain(), "this process" in f.explain(), "llvmlite" in sys.modules)
"""
    environment = {**os.environ, "JITCORE_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["True", "False", "False"], done.stderr


def compiled_here(f):
    """Call, wait, call: the answer is right, and the note that says why it was compiled in this process."""
    x = jitcore.randn(2, 3)
    f(x)
    assert f.wait(60)
    np.testing.assert_allclose(f(x).numpy(), x.numpy() + 1, rtol=1e-6)
    text = f.explain()
    assert "replayed 1 times" in text
    (line,) = (line for line in text.splitlines() if "compiled in this process" in line)
    return line


def added():
    return jitcore.jit(lambda x: x + 1, background=True)


def test_a_worker_that_dies_is_done_without(monkeypatch):
    real = workers.Worker.run

    def run(self, request):
        self.process.kill()
        self.process.wait()
        return real(self, request)

    monkeypatch.setattr(workers.Worker, "run", run)
    assert "worker process" in compiled_here(added())
    monkeypatch.undo()
    f = added()
    f(jitcore.ones(7))
    assert f.wait(60) and "this process" not in f.explain(), "the next one is a new process"


def test_no_worker_can_be_started(monkeypatch):
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    monkeypatch.setattr(workers.sys, "executable", "/nonexistent/python")
    assert "no worker process could be started" in compiled_here(added())


def test_a_worker_that_answers_nonsense_is_done_without(monkeypatch):
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    monkeypatch.setattr(workers, "_START", "import sys; sys.stdout.buffer.write((3).to_bytes(8, 'little') + b'abc')")
    assert "the worker process failed" in compiled_here(added())


def test_what_cannot_be_compiled_stays_eager_and_says_so(monkeypatch):
    def build(request, notes):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(workers, "build", build)
    f = added()
    x = jitcore.ones(2)
    f(x)
    assert f.wait(60)
    with pytest.warns(JitWarning, match="could not be compiled: RuntimeError: no such luck"):
        f(x)
    np.testing.assert_array_equal(f(x).numpy(), [2, 2])
    assert "could not be compiled" in f.explain()


def test_idle_workers_are_used_again():
    pool = workers._workers
    for n in (11, 12):
        f = added()
        f(jitcore.ones(n))
        assert f.wait(60)
    processes = {worker.process.pid for worker in pool.idle}
    f = added()
    f(jitcore.ones(13))
    assert f.wait(60)
    assert {worker.process.pid for worker in pool.idle} == processes and not pool.busy


# In forked children


def in_child(work):
    """Run `work` in a forked child; whether it returned."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def test_a_forked_child_compiles_and_replays():
    f = jitcore.jit(lambda x: x * 3)
    x = jitcore.ones(4)
    f(x)

    def work():
        np.testing.assert_array_equal(f(x).numpy(), 3)
        g = jitcore.jit(lambda x: x * 5 - 1)
        for _ in range(2):
            np.testing.assert_array_equal(g(x).numpy(), 4)
        assert "replayed 1 times" in g.explain()

    assert in_child(work)


def test_a_child_forked_while_its_parent_compiles_in_the_background(gate):
    f = jitcore.jit(lambda x: x * 3, background=True)
    x = jitcore.ones(4)
    f(x)

    def work():
        assert f.wait(60)
        gate.set()
        for _ in range(3):
            np.testing.assert_array_equal(f(x).numpy(), 3)
            assert f.wait(60)
        assert "replayed" in f.explain()

    assert in_child(work)
    gate.set()
    assert f.wait(60)
    np.testing.assert_array_equal(f(x).numpy(), 3)


def test_a_child_forked_while_another_thread_compiles():
    started, function = threading.Event(), None

    def large(x):
        for k in range(12):
            x = (x @ x).tanh() * k
        return x

    function = jitcore.jit(large)
    x = jitcore.ones(4, 4)

    def compile_it():
        started.set()
        function(x)

    thread = threading.Thread(target=compile_it)
    thread.start()
    started.wait()
    time.sleep(0.05)

    def work():
        g = jitcore.jit(lambda x: x * 5)
        for f in (g, g, function):
            f(x)

    assert in_child(work)
    thread.join()


# Ahead of calls


def everything(model, optimizer):
    """All that a warm-up must leave alone."""
    return (
        {name: value.numpy().copy() for name, value in model.state_dict().items()},
        {name: None if p.grad is None else p.grad.numpy().copy() for name, p in model.named_parameters()},
        optimizer.state_dict(),
        jitcore.get_rng_state().numpy().copy(),
    )


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, jitcore.Tensor):
        return same(a.numpy(), b.numpy())
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.parametrize("before", [0, 2], ids=["fresh", "trained"])
@pytest.mark.parametrize("make", [optim.AdamW, lambda p: optim.SGD(p, lr=0.1, momentum=0.9)], ids=["adamw", "sgd"])
def test_warming_up_a_training_step_changes_nothing(make, before):
    def train(warm):
        jitcore.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        optimizer = make(model.parameters())
        schedule = optim.lr_scheduler.StepLR(optimizer, 2)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        x = jitcore.tensor(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
        y = jitcore.tensor([0, 1, 0, 1, 1, 0])
        losses = [step(x, y).item() for _ in range(before)]
        if warm:
            kept = everything(model, optimizer)
            step = jitcore.jit(
                step, warmup=[(jitcore.TensorSpec((6, 4)), jitcore.TensorSpec((6,), jitcore.int64)), (x, y)]
            )
            assert same(kept, everything(model, optimizer))
        for _ in range(4):
            losses.append(step(x, y).item())
            schedule.step()
        return losses

    np.testing.assert_allclose(train(True), train(False), rtol=1e-5)


def test_the_first_call_after_a_warm_up_is_a_replay():
    model = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    fast = jitcore.jit(model, warmup=[jitcore.TensorSpec((8, 784)), (jitcore.TensorSpec((1, 784), jitcore.float32),)])
    for n in (8, 1):
        x = jitcore.randn(n, 784)
        np.testing.assert_allclose(fast(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert fast.explain().count("replayed 1 times") == 2
    fast.warm_up({"input": jitcore.TensorSpec((3, 784))})
    fast(input=jitcore.randn(3, 784))
    assert fast.explain().count("replayed 1 times") == 3


def test_examples_are_copied_and_their_sharing_and_gradients_kept():
    def f(x, y, scale):
        x.mul_(scale)
        return x + y

    x, z = jitcore.ones(3), jitcore.ones(3, requires_grad=True)
    fast = jitcore.jit(f, warmup=[(x, x, 2.0), (x, z, 2.0)])
    np.testing.assert_array_equal(x.numpy(), 1)
    np.testing.assert_array_equal(fast(x, x, 3.0).numpy(), 6)
    np.testing.assert_array_equal(fast(x, z, 3.0).detach().numpy(), 10)
    assert fast.explain().count("replayed 1 times") == 2


def test_a_warm_up_that_fails_raises_and_changes_nothing():
    w = jitcore.zeros(3)

    def f(x):
        w.add_(1)
        return x @ jitcore.ones(5, 2)

    fast = jitcore.jit(f)
    with pytest.raises(RuntimeError):
        fast.warm_up(jitcore.TensorSpec((2, 3)))
    np.testing.assert_array_equal(w.numpy(), 0)
    fast(jitcore.ones(2, 5))
    np.testing.assert_array_equal(w.numpy(), 1)


def test_warming_up_in_the_background(gate):
    f = jitcore.jit(lambda x: x.exp(), background=True, warmup=[jitcore.TensorSpec(4)])
    x = jitcore.ones(4)
    np.testing.assert_allclose(f(x).numpy(), np.exp(1), rtol=1e-6)
    gate.set()
    assert f.wait(60)
    f(x)
    assert "replayed 1 times" in f.explain()


def test_the_decorator_takes_options():
    @jitcore.jit(background=True, warmup=[jitcore.TensorSpec((2, 2))])
    def f(x):
        return x + 1

    assert f.wait(60)
    f(jitcore.ones(2, 2))
    assert "replayed 1 times" in f.explain()


def test_what_is_no_spec():
    with pytest.raises(TypeError, match="give a tuple of sizes"):
        jitcore.TensorSpec("ab")
    with pytest.raises(TypeError, match=r"give a dtype such as jitcore\.float32"):
        jitcore.TensorSpec((2,), np.float32)
    with pytest.raises(TypeError, match="warmup is for functions"):
        jitcore.jit(nn.Linear, warmup=[jitcore.TensorSpec(2)])
    assert repr(jitcore.TensorSpec(3, jitcore.int64)) == "TensorSpec((3,), jitcore.int64)"


def test_a_request_survives_its_way_to_another_process():
    seen = []
    f = jitcore.jit(lambda x: (x @ x.t()).softmax(1) if x.sum() > 0 else x)
    from jitcore.compiler import compile_graph

    f._compile_graph = lambda graph, **what: compile_graph(
        graph, build=lambda request: seen.append(request) or request.build(), **what
    )
    f(jitcore.ones(3, 4))
    (request,) = seen
    again = Request.from_bytes(request.to_bytes())
    assert again.key() == request.key() and again.build().image == request.build().image


def test_a_profiler_that_is_running_goes_on():
    import cProfile

    profile = cProfile.Profile()
    profile.enable()
    try:
        f = jitcore.jit(lambda x: x + 1)
        f(jitcore.ones(2))
        f(jitcore.ones(2))
        np.float64(1.0).item()
    finally:
        profile.disable()
    assert any("_key" in str(entry.code) for entry in profile.getstats())
    assert sys.getprofile() is None


def test_after_many_programs_worker_processes_compile_and_are_replaced(monkeypatch):
    monkeypatch.setattr(workers, "MOST_HERE", 2)
    monkeypatch.setattr(workers, "MOST_BY_ONE", 2)
    monkeypatch.setattr(workers, "_here", 0)
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    started, here = [], []
    start, build = workers.Worker.__init__, Request.build
    monkeypatch.setattr(workers.Worker, "__init__", lambda self: (started.append(self), start(self))[1])
    monkeypatch.setattr(Request, "build", lambda self: (here.append(self), build(self))[1])
    x = jitcore.arange(4.0)
    for n in range(2, 7):
        jitted = jitcore.jit(lambda x, n=n: x * n + x.sum())
        for _ in range(2):
            np.testing.assert_allclose(jitted(x).numpy(), x.numpy() * n + 6)
    assert len(here) == 2 and len(started) == 2
    workers._workers.close()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


LEAVER = """
import sys, threading, time, jitcore
from jitcore.compiler import workers
def large(x):
    for k in range(15):
        x = (x @ x).tanh() * k
    return x
f = jitcore.jit(large, background=True)
f(jitcore.ones(4, 4))
while not workers._workers.busy:
    time.sleep(0.01)
print(workers._workers.busy[0].process.pid, flush=True)
if len(sys.argv) > 1:
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", [[], ["killed"]], ids=["returns", "is killed"])
def test_a_process_that_ends_takes_its_workers_along(way):
    done = subprocess.run([sys.executable, "-c", LEAVER, *way], capture_output=True, text=True, timeout=60)
    assert done.returncode == (-9 if way else 0) and not done.stderr, done.stderr
    pid = int(done.stdout)
    until = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(pid)


def test_a_worker_ends_with_its_input_and_when_idle():
    worker = workers.Worker()
    worker.process.stdin.close()
    assert worker.process.wait(60) == 0
    start = workers._START.replace(
        "import main;", "import main; import jitcore.compiler.worker as w; w.IDLE_SECONDS = 0.1;"
    )
    idle = subprocess.Popen(
        [sys.executable, "-c", start, workers.json.dumps(sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert idle.wait(60) == 0
    idle.communicate()
