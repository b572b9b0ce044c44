"""The disk cache: a warm start neither lowers nor runs LLVM, and whatever is wrong with a file costs only time."""

import os
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jitcore.compiler import cache, compile_graph
from jitcore.compiler import compile as compiling
from jitcore.compiler.compiled import Compiled, from_bytes, to_bytes
from jitcore.compiler.request import Request
from jitcore_ir.parser import parse_graph
from jitcore_runtime.executor import Executor

SCRIPT = """
import sys, numpy as np, jitcore
f = jitcore.jit(lambda x: (x * 2).tanh().sum(1))
x = jitcore.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))
f(x)
print(f(x).tolist(), any(m in sys.modules for m in ("llvmlite", "jitcore.compiler.lower.lower")))
"""


def run(folder, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True,
        env={**os.environ, "JITCORE_CACHE_DIR": str(folder), **environment},
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    answer, _, used_llvm = done.stdout.strip().rpartition(" ")
    return np.array(eval(answer)), used_llvm == "True"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the program and the thread pool, and the program's answer."""
    folder = tmp_path_factory.mktemp("cache")
    expected, used = run(folder)
    assert used
    return folder, expected


@pytest.fixture
def warm(made, tmp_path):
    for file in made[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path, made[1]


def test_second_process_imports_no_llvm(warm):
    folder, expected = warm
    answer, used = run(folder)
    assert not used
    np.testing.assert_array_equal(answer, expected)


def test_all_files_damaged_are_made_anew(warm):
    folder, expected = warm
    damages = [lambda b: b[:-1], lambda b: b"", lambda b: b[:60] + b"\xff" + b[61:], lambda b: b"x" * 100]
    for number, file in enumerate(sorted(folder.iterdir())):
        file.write_bytes(damages[number % len(damages)](file.read_bytes()))
    answer, used = run(folder)
    assert used
    np.testing.assert_array_equal(answer, expected)
    assert not run(folder)[1]


def test_folder_that_cannot_be_made_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    answer, used = run(blocked)
    assert used and np.isfinite(answer).all()


# In this process

TEXT = "graph @g(%x: f32[{n}]) {{ %y = add(%x, %x) : f32[{n}] return(%y) }}"


def program(n):
    """A program with a key of its own."""
    return parse_graph(TEXT.format(n=n))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JITCORE_CACHE_DIR", str(tmp_path / "made"))
    return tmp_path / "made"


@pytest.fixture
def builds(monkeypatch):
    """The requests that were built."""
    found = []

    def build(request):
        found.append(request)
        return Request.build(request)

    monkeypatch.setattr(compile_graph, "__defaults__", (*compile_graph.__defaults__[:-1], build))
    return found


def answers(made, n):
    x = np.arange(n, dtype=np.float32)
    np.testing.assert_array_equal(Executor(made).run([x])[0], x + x)


def files(folder):
    return sorted(folder.glob("*.jitcore"))


def test_names_and_lines_do_not_count(folder, builds):
    for text in (
        "graph @g(%x: f32[5]) { %y = exp(%x) : f32[5] return(%y) }",
        'graph @another(%input: f32[5]) { %e = exp(%input) : f32[5] @ "a.py":3 return(%e) }',
    ):
        made = compile_graph(parse_graph(text))
    assert len(builds) == 1
    assert made.name == "another" and made.graph.operations[0].location.line == 3


CONSTANT = """graph @g(%x: f32[512]) {{
    %c = constant() {{value = base64 "{data}"}} : f32[512]
    %y = add(%x, %c) : f32[512]
    return(%y)
}}"""


def test_what_decides_the_bytes_counts(folder, builds):
    import base64

    compile_graph(program(3))
    compile_graph(program(4))
    for last in (1.0, 2.0):  # constants too large to be part of the text
        array = np.arange(512, dtype="<f4")
        array[-1] = last
        graph = parse_graph(CONSTANT.format(data=base64.b64encode(array.tobytes()).decode()))
        for _ in range(2):
            made = compile_graph(graph)
            np.testing.assert_array_equal(Executor(made).run([np.zeros(512, np.float32)])[0], array)
    guarded = "graph @g(%x: f32[3], %n: i64[]) { %y = add(%x, %x) : f32[3] return(%y, %n) }"
    for options in ({"guards": [(1, 1)]}, {"guards": [(1, 2)]}, {"updates": [(0, 0)]}, {"constant_inputs": [0]}):
        for _ in range(2):
            compile_graph(parse_graph(guarded), **options)
    compile_graph(program(3), target="x86-64-v2")
    compile_graph(program(3), exact=True)
    assert len(builds) == 10
    assert len({r.key() for r in builds}) == 10


def test_what_comes_from_the_cache_is_what_was_made(folder):
    text = """graph @g(%x: f32[N,4], %w: f32[4,300]) {
        %c = cumsum(%x) {axis = 1} : f32[N,4]
        %s = special(%c) {function = "i0"} : f32[N,4]
        %z = dot(%s, %w) : f32[N,300]
        return(%z, %x)
    }"""
    for _ in range(2):
        made = compile_graph(parse_graph(text), updates=[(1, 0)], constant_inputs=[1])
        x, w = np.ones((5, 4), np.float32), np.ones((4, 300), np.float32)
        expected = np.i0(np.cumsum(x, 1)) @ w
        np.testing.assert_allclose(Executor(made).run([x, w])[0], expected, rtol=1e-5)
    request = Request(made.graph, made.updates, made.guards, (1,), "x86-64-v2")
    first = request.build()
    again = from_bytes(to_bytes(first))
    assert again.image == first.image and again.operations == first.operations
    assert again.plan == first.plan and len(again.plan.call_outs) == 1 and again.plan.symbols == ("N",)


@pytest.mark.parametrize("change", ["image", "plan", "operations", "head"])
def test_files_of_another_form_count_as_absent(change):
    import hashlib
    import json

    data = to_bytes(Request(program(3), (), (), (), "x86-64-v2").build())
    length = int.from_bytes(data[40:48], "little")
    head = json.loads(data[48 : 48 + length])
    if change == "head":
        head = [1]
    else:
        del head[change]
    encoded = json.dumps(head).encode()
    body = len(encoded).to_bytes(8, "little") + encoded + data[48 + length :]
    assert from_bytes(data[:8] + hashlib.sha256(body).digest() + body) is None
    assert from_bytes(data) is not None


def test_a_program_that_threads_want_at_once_is_made_once(folder, builds):
    made = []
    threads = [threading.Thread(target=lambda: made.append(compile_graph(program(77)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1 and len(made) == 4
    answers(made[-1], 77)


def test_a_failure_is_each_threads_own(folder):
    started = threading.Barrier(2)
    errors = []

    def build(request):
        time.sleep(0.05)
        raise RuntimeError("cannot")

    def work():
        started.wait()
        try:
            compile_graph(program(78), build=build)
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2 and not compiling._flights


def test_equal_layers_share_their_code():
    from jitcore.compiler.lower.lower import lower_graph
    from jitcore.compiler.passes import optimize

    def layers(count):
        lines = [f"%h{k + 1} = exp(%d{k}) : f32[8,8]" for k in range(count)]
        lines = [f"%d{k} = dot(%h{k}, %w{k}) : f32[8,8] {line}" for k, line in enumerate(lines)]
        weights = ", ".join(f"%w{k}: f32[8,8]" for k in range(count))
        return parse_graph(f"graph @g(%h0: f32[8,8], {weights}) {{ {' '.join(lines)} return(%h{count}) }}")

    few, many = (lower_graph(optimize(layers(n))) for n in (2, 9))
    assert len(many.kernels) == 9
    assert len({id(c.kernel) for c in many.kernels}) == len({id(c.kernel) for c in few.kernels})


def test_least_recently_used_files_go(folder, monkeypatch):
    for n in (11, 12, 13):
        compile_graph(program(n))
    size = max(file.stat().st_size for file in files(folder))
    for age, n in enumerate((13, 11, 12)):
        (key,) = {Request(compile_graph(program(n)).graph, (), (), (), compiling.host_target()).key()}
        os.utime(folder / f"{key}.jitcore", (1000 - age, 1000 - age))
    compile_graph(program(12))  # used now, so it stays although it was the oldest
    old, new = folder / "left.part", folder / "busy.part"
    old.write_bytes(b"x"), new.write_bytes(b"x")
    os.utime(old, (1000, 1000))
    (folder / "other.txt").write_text("not ours")
    monkeypatch.setenv("JITCORE_CACHE_BYTES", str(2 * size + 10))
    compile_graph(program(14))
    assert {file.suffix for file in folder.iterdir()} == {".jitcore", ".part", ".txt"}
    assert not old.exists() and new.exists() and len(files(folder)) == 2
    builds = []
    for n in (14, 12, 11):
        compile_graph(program(n), build=lambda r: builds.append(r) or Request.build(r))
    assert len(builds) == 1, "only 11 was gone"


@pytest.mark.parametrize("text, limit", [("", 1 << 30), ("junk", 1 << 30), ("-1", 1 << 30), ("5000", 5000)])
def test_the_limit_is_the_environments(text, limit, monkeypatch):
    monkeypatch.setenv("JITCORE_CACHE_BYTES", text)
    assert cache.limit_bytes() == limit


def fail_with(error):
    def fail(*arguments, **keywords):
        raise error

    return fail


@pytest.mark.parametrize("step", ["mkstemp", "fdopen", "replace", "scandir", "utime"])
def test_a_full_or_read_only_folder_costs_only_time(folder, monkeypatch, step, builds):
    compile_graph(program(21))
    owner = cache.tempfile if step == "mkstemp" else cache.os
    monkeypatch.setattr(owner, step, fail_with(OSError(28, "No space left on device")))
    answers(compile_graph(program(22)), 22)
    answers(compile_graph(program(21)), 21)
    monkeypatch.undo()
    assert not list(folder.glob("*.part"))


def test_a_program_of_another_user_is_not_run(folder, builds, monkeypatch):
    compile_graph(program(31))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda handle: os.stat_result((*real(handle)[:4], 54321, *real(handle)[5:])))
    answers(compile_graph(program(31)), 31)
    assert len(builds) == 2


def test_the_folder_is_the_users_alone(folder):
    compile_graph(program(41))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_folder_no_cache(monkeypatch, builds):
    for name, value in (("JITCORE_CACHE_DIR", ""), ("JITCORE_CACHE_DIR", None)):
        if value is None:
            monkeypatch.delenv(name)
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
            monkeypatch.setattr(cache.Path, "home", fail_with(RuntimeError("no home")))
        else:
            monkeypatch.setenv(name, value)
        assert cache.cache_folder() is None
        answers(compile_graph(program(51)), 51)
    assert len(builds) == 2


WRITER = """
import sys
from jitcore.compiler import cache
from jitcore.compiler.compiled import Compiled
from jitcore_runtime.plan import Image
for turn in range(150):
    made = Compiled(Image("x86-64-v2", bytes([turn]) * 4096, 4096, 0, 0, ()))
    cache.store("key", made)
    assert cache.load("key") is not None, turn
"""


def test_processes_that_write_one_file_at_once_do_not_disturb_each_other(tmp_path):
    environment = {**os.environ, "JITCORE_CACHE_DIR": str(tmp_path), "JITCORE_CACHE_BYTES": "100000"}
    running = [subprocess.Popen([sys.executable, "-c", WRITER], env=environment) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [file.name for file in tmp_path.iterdir()] == ["key.jitcore"]


def test_an_image_alone_is_kept_too():
    made = Request(program(3), (), (), (), "x86-64-v2").build()
    assert from_bytes(to_bytes(Compiled(made.image))) == Compiled(made.image)
