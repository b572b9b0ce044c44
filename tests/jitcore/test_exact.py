"""exact=True: eager, compiled and exported agree to the last bit, which NaN a NaN is aside."""

import os
import subprocess
import sys
from pathlib import Path

import exact_programs
import numpy as np
import pytest

import jitcore
import jitcore.nn.functional as F
import jitcore_runtime
from jitcore import nn, optim
from jitcore.compiler import compile_graph
from jitcore_ir import parse_graph
from jitcore_serialize.reader import read_archive

pytestmark = pytest.mark.usefixtures("fixed_order")


def bits(x):
    """An array's elements as integers, with one NaN."""
    array = np.ascontiguousarray(x.detach().numpy() if hasattr(x, "detach") else x)
    if array.dtype.kind == "c":
        array = array.view(array.real.dtype)
    if array.dtype.kind in "iub":
        return array
    whole = array.view(f"u{array.itemsize}").copy()
    whole[array != array] = 0
    return whole


def numbers(*shape, seed=0):
    """float32 of all sizes, among them zeros of both signs, subnormals, infinities and NaN."""
    generator = np.random.default_rng([seed, *shape])
    array = generator.standard_normal(shape) * 10.0 ** generator.integers(-3, 4, shape)
    rare = np.array([0.0, -0.0, 0.0, -0.0, 1, -1, 2, -2, 0.5, 1e-41, -3e-42, 1e38, np.inf, -np.inf, np.nan])
    return np.where(generator.random(shape) < 0.2, generator.choice(rare, shape), array).astype(np.float32)


def tame(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def layouts(array):
    """The same values as they may lie in memory: row-major, columns side by side, spread out, backwards, between other
    rows."""
    yield array
    yield np.ascontiguousarray(array.T).T
    spread = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    view = spread[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    yield view
    everything = tuple(slice(None, None, -1) for _ in array.shape)
    yield array[everything].copy()[everything]


def check(function, *arrays):
    """Eager, native and interpreted calls give the same bits, for every layout of the inputs."""
    compiled = [jitcore.jit(function, exact=True), jitcore.jit(function, exact=True, native=False)]
    inputs = list(zip(*[list(layouts(a)) for a in arrays], strict=True))
    expected = [bits(x) for x in function(*map(jitcore.tensor, arrays))]
    for given in [*inputs, inputs[0]]:
        for run in (function, *compiled):
            got = run(*(jitcore.from_numpy(a) for a in given))
            for number, (x, want) in enumerate(zip(got, expected, strict=True)):
                np.testing.assert_array_equal(bits(x), want, f"result {number} of {run}")
    for run in compiled:
        assert run._eager_calls == 0 and run._recordings.entries


UNARY = (
    "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sigmoid", "erf", "isnan", "isinf", "square",
    "reciprocal", "relu", "log10", "exp2", "sinc", "lgamma", "digamma", "erfinv", "frac", "signbit", "nan_to_num",
)  # fmt: skip


def test_functions_of_one_number():
    check(lambda x: [getattr(jitcore, name)(x) for name in UNARY], numbers(7, 33))


def test_functions_of_two_numbers():
    def function(x, y, z):
        return [
            x + y, x - y, x * y, x / y, x * y + z, x - y * z, (x + y) + z, x + (y + z), jitcore.maximum(x, y),
            jitcore.minimum(x, y), jitcore.maximum(y, x), x // y, x % y, jitcore.fmod(x, y), jitcore.atan2(x, y), x**y,
            x < y, x <= y, x == y, x != y, jitcore.where(x > y, x, z), jitcore.hypot(x, y), jitcore.clamp(x, y, z),
            jitcore.lerp(x, y, 0.3), jitcore.addcmul(x, y, z, value=0.7), jitcore.addcdiv(x, y, z, value=0.7),
            jitcore.copysign(x, y), jitcore.logaddexp(x, y), jitcore.xlogy(x, y), jitcore.fmax(x, y), x - y - z,
        ]  # fmt: skip

    check(function, numbers(5, 67), numbers(5, 67, seed=1), numbers(5, 67, seed=2))
    zeros = np.where(np.random.default_rng(0).random((3, 2, 99)) < 0.5, 0.0, -0.0).astype(np.float32)
    check(function, *zeros)


def test_functions_of_a_number_and_a_constant():
    def function(x):
        powers = [x**p for p in (0, 0.5, 1, 1.5, 2, 3, 4, -1, -0.5, -2)]
        full = [jitcore.pow(x, jitcore.full((9, 1), float(p))) for p in (2, 0.5, -1, 3)]
        scaled = [x / 3, x / 4, x * 0.1, x + 0.0, x - 0.0, 0.0 - x, x * 1.0, x * -1.0, x / 1e-40, 1 / x, x * 0.0]
        limits = [x.clamp(min=0.0), x.clamp(max=-0.0), x.clamp(-1, 1), jitcore.maximum(jitcore.tensor(0.0), x)]
        return [*powers, *full, *scaled, *limits, x.neg().neg(), x - x, x + x, x.neg() - x.neg(), (x * 3) / 3]

    check(function, numbers(9, 31))


def test_casts():
    def function(x, n):
        kinds = (jitcore.float64, jitcore.float16, jitcore.bfloat16, jitcore.int64, jitcore.int32, jitcore.bool)
        small = (jitcore.int8, jitcore.int16, jitcore.uint8)
        fine = x.nan_to_num(0.0).clamp(-1e4, 1e4)
        back = [x.to(d).float() for d in (jitcore.float16, jitcore.bfloat16, jitcore.float64)]
        whole = [n.to(d) for d in (*kinds, *small)]
        half = x.to(jitcore.float16)
        brain = x.to(jitcore.bfloat16)
        return [
            *(x.to(d) for d in kinds), *(fine.to(d) for d in small), *back, *whole, half + half * half, half.sum(),
            half.amax(), jitcore.maximum(half, -half), (half * 3).float(), brain * brain + brain, brain.exp(),
            x.double() * x.double() + 1,
        ]  # fmt: skip

    check(function, numbers(6, 41), np.random.default_rng(0).integers(-(2**40), 2**40, (6, 41)))


@pytest.mark.parametrize("shape", [(3, 5), (130, 7), (300, 257), (1, 1000)], ids=str)
def test_reductions(shape):
    def function(x):
        found = []
        for dim in (0, 1, (0, 1)):
            found += [x.sum(dim), x.mean(dim), x.var(dim), x.amax(dim), x.amin(dim, keepdim=True), x.std(dim)]
            found += [x.logsumexp(dim), jitcore.linalg.vector_norm(x, dim=dim), x.nansum(dim)]
        for dim in (0, 1):
            found += [
                x.prod(dim),
                x.cumsum(dim),
                x.cumprod(dim),
                x.argmax(dim),
                x.argmin(dim),
                *x.max(dim),
                *x.min(dim),
            ]
            found += [x.softmax(dim), x.log_softmax(dim), x.logcumsumexp(dim), *x.sort(dim), *x.topk(1, dim)]
        return [*found, x.T.sum(0), (x + x.T.T).sum(1), (x * 2 > 1).sum(0), x.expand(2, *shape).sum((0, 2))]

    check(function, tame(*shape))
    if shape == (3, 5):
        check(function, numbers(*shape))
        check(lambda x: [x.amax(0), x.amin(1), x.amax(), x.max(1)[0]], numbers(60, 50) * 0)


@pytest.mark.parametrize("sizes", [(1, 7, 5), (5, 7, 1), (1, 64, 1), (64, 64, 64), (2, 300, 40)], ids=str)
def test_products(sizes):
    m, k, n = sizes

    def function(x, y, b):
        batch = jitcore.stack([x, x * 2])
        return [
            x @ y, (x @ y + b).relu(), x @ x.T, y.T @ y, x.T @ (x @ y), batch @ y, batch @ batch.transpose(1, 2),
            F.linear(x, y.T, b), jitcore.einsum("ik,kj->ji", x, y), jitcore.outer(x[0], y[:, 0]),
            jitcore.dot(x[0], y[:, 0]), jitcore.mv(x, y[:, 0]),
        ]  # fmt: skip

    check(function, tame(m, k), tame(k, n, seed=1), tame(1, n, seed=2))


def test_convolutions_and_pooling():
    def function(x, w):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = F.conv2d(x, w, stride=(1, 2), padding=1, groups=2)
        z = F.conv_transpose2d(y, w, stride=2, groups=2)
        pooled = [F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 3), F.max_pool2d(y, 2, 1)]
        total = z.sum() + sum((p * p).sum() for p in pooled)
        return [y.detach(), z.detach(), *(p.detach() for p in pooled), *jitcore.autograd.grad(total, [x, w])]

    check(function, np.round(tame(2, 4, 9, 8)), tame(4, 2, 3, 3, seed=1))


def test_positions():
    def function(x, places, updates):
        first = places[:, 0]
        return [
            x[first], x.gather(1, places), x.index_add(0, first, updates), x.scatter_add(1, places, updates),
            x.scatter(1, places, updates), x.index_copy(0, first, updates), x.index_select(1, places[0]),
            x.scatter_reduce(1, places, updates, "amax"), x.scatter_reduce(1, places, updates, "prod"), x.flip(0),
            x.roll(2, 1), jitcore.cat([x, updates], 1), F.pad(x, (1, 2), value=-0.0), x.unfold(1, 3, 2),
        ]  # fmt: skip

    positions = np.random.default_rng(0).integers(0, 6, (6, 9))
    check(function, numbers(6, 9), positions, numbers(6, 9, seed=1))


@pytest.mark.parametrize("width", [5, 129])
def test_gradients_of_layers(width):
    def function(x, w, labels):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        h = F.layer_norm(x @ w, (width,))
        h = F.dropout(F.gelu(h), 0.4) + F.silu(h) + F.softplus(h) + F.rms_norm(h, (width,)) + F.elu(h)
        found = F.embedding(labels, w)
        loss = F.cross_entropy(h, labels) + F.nll_loss(h.log_softmax(-1), labels, reduction="sum")
        loss = loss + F.binary_cross_entropy_with_logits(h[:, 0], labels.float() / 4) + F.huber_loss(found, h)
        loss = loss + (h.softmax(0) ** 2).sum() + h.amax(1).sum() + h.cumsum(1).std() + h.abs().max()
        return [loss.detach(), h.detach(), *jitcore.autograd.grad(loss, [x, w])]

    def seeded(x, w, labels):
        jitcore.manual_seed(3)
        return function(x, w, labels)

    labels = np.random.default_rng(0).integers(0, 5, 7)
    check(seeded, tame(7, width), tame(width, width, seed=1), labels)


def test_complex_numbers():
    def function(x, y):
        z, w = jitcore.complex(x, y), jitcore.complex(y, x)
        return [z * w, z / w, z + w, z.abs(), z.angle(), (z @ w.T).real, jitcore.fft.fft(z), z.conj(), z.sum(), z.exp()]

    check(function, tame(5, 8), tame(5, 8, seed=1))


def test_branches_and_loops():
    def turn(h, row, w):
        return jitcore.tanh(jitcore.sigmoid(h @ w) * h + row * h.exp() - h * (h @ w.T))

    def with_gradients(x, h, w):
        w = w.detach().requires_grad_()
        last, rows = jitcore.scan(lambda h, row: ((n := turn(h, row, w)), n.sum(1)), h, x)
        y = jitcore.cond(rows.sum() > 0, lambda a: (a * a.exp() + a @ w).sum(), lambda a: (a.sin() * a).sum(), (last,))
        return [y.detach(), last.detach(), *jitcore.autograd.grad(y, [w])]

    def without(x, h, w):
        with jitcore.no_grad():
            last, rows = jitcore.scan(lambda h, row: ((n := turn(h, row, w)), n.sort(1)[0]), h, x)
            return [rows, *jitcore.while_loop(lambda n, k: n.abs().sum() > 1, lambda n, k: (n * 0.7, k + 1), (last, 0))]

    check(with_gradients, tame(9, 3, 5) / 10, tame(3, 5), tame(5, 5))
    check(without, tame(9, 3, 5) / 10, tame(3, 5), tame(5, 5))


@pytest.mark.parametrize("name", exact_programs.PROGRAMS)
def test_training_leaves_the_same_bits(name):
    eager = exact_programs.train(name)
    for options in ({"native": True}, {"native": False}):
        jitted = exact_programs.train(name, exact=True, **options)
        assert [key for key, value in eager.items() if jitted[key] != value] == []


@pytest.mark.parametrize(
    "kind", ["Adam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Rprop", "ASGD", "Adafactor"]
)
def test_optimizers_leave_the_same_bits(kind):
    def make(parameters):
        return getattr(optim, kind)(parameters, lr=1e-2)

    eager = exact_programs.train("line", 9, make)
    jitted = exact_programs.train("line", 9, make, exact=True)
    assert [key for key, value in eager.items() if jitted[key] != value] == []


def test_a_learning_rate_schedule_and_clipping_leave_the_same_bits():
    def train(jitted):
        jitcore.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2))
        optimizer = optim.AdamW(model.parameters(), lr=0.1)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)

        def step(x, weight: float):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean() * weight + 0.1 * weight
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            optimizer.step()
            return loss.detach()

        run = jitcore.jit(step, exact=True) if jitted else step
        losses = []
        for number in range(6):
            losses.append(bits(run(jitcore.tensor(tame(5, 6, seed=number)), 0.3 + number / 7)))
            schedule.step()
        return losses + [bits(p) for p in model.parameters()]

    for got, want in zip(train(True), train(False), strict=True):
        np.testing.assert_array_equal(got, want)


def test_training_does_not_depend_on_the_number_of_threads():
    script = Path(exact_programs.__file__)
    found = set()
    for threads, blas in (("1", "2"), ("2", "1")):
        environment = {**os.environ, "JITCORE_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": blas}
        run = subprocess.run(
            [sys.executable, script, "mlp"], env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        found.update(run.stdout.split()[1:])
    assert len(found) == 1


def small_model():
    jitcore.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 33),
        nn.Softmax(-1),
    ).eval()  # fmt: skip


def test_an_exact_archive_answers_with_the_bits_of_eager_execution(tmp_path):
    model, path = small_model(), tmp_path / "model.jca"
    jitcore.export(model, path, {"input": "float32[N,3,10,10]"}, exact=True)
    assert read_archive(path).entries["main"].exact
    loaded = [jitcore_runtime.load(path, native=native) for native in (True, False)]
    for count in (1, 5):
        for x in layouts(tame(count, 3, 10, 10)):
            with jitcore.no_grad():
                expected = bits(model(jitcore.from_numpy(x)))
            for archive in loaded:
                np.testing.assert_array_equal(bits(archive(x)), expected)
    jitcore.export(model, path, {"input": "float32[N,3,10,10]"}, targets=[])
    assert not read_archive(path).entries["main"].exact


def test_exact_archives_are_for_targets_that_can_be_exact(tmp_path):
    for target in ("aarch64", "ptx-8.0"):
        with pytest.raises(jitcore.ExportError, match="x86-64 only"):
            jitcore.export(lambda x: x + 1, tmp_path / "m.jca", {"x": "float32[3]"}, targets=[target], exact=True)


def test_explain_says_that_a_program_is_exact_and_what_numpy_runs():
    jitted = jitcore.jit(lambda x: (x.exp() + x.exp().sum()).sum(), exact=True)
    for _ in range(2):
        jitted(jitcore.ones(3))
    text = jitted.explain()
    assert "exact to the bit" in text and "sum (2 times)" in text and "exp" in text


def test_an_exact_program_is_another_one_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JITCORE_CACHE_DIR", str(tmp_path))
    graph = parse_graph("graph @main(%x: f32[4]) {\n %0 = add(%x, %x) : f32[4]\n return(%0)\n}")
    programs = [compile_graph(graph, exact=exact) for exact in (False, True)]
    assert [p.exact for p in programs] == [False, True]
    assert len(list(tmp_path.iterdir())) == 2
