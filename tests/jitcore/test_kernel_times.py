"""What calls measure of their kernels, and what `explain` says of it."""

import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import jitcore
from jitcore.compiler import compile_graph
from jitcore_ir.parser import parse_graph
from jitcore_runtime.cpu_features import host_targets
from jitcore_runtime.errors import GuardFailed
from jitcore_runtime.executor import Executor
from jitcore_runtime.timers import DENSE, INTERVAL, Timings, new_timers
from jitcore_serialize.reader import read_archive

TEXT = """graph @g(%x: f32[64,64], %w: f32[3]) {
  %y = dot(%x, %x) : f32[64,64]
  %z = tanh(%w) : f32[3]
  return(%y, %z)
}"""
ROW = re.compile(r"^    +(<?\d+)% +<?([\d.]+) us  (.*)$", re.MULTILINE)
pytestmark = pytest.mark.skipif(not host_targets(), reason="no native code for this machine")


def executors(jitted):
    """Of the functions recorded, in the order in which a call runs them."""
    return [
        node.code.executor
        for entry in jitted._recordings.entries.values()
        for variant in entry.variants
        for node in entry.tree.way(variant)
    ]


def rows(text):
    """(share as printed, microseconds, what) of the kernels that a text lists."""
    return [(share, float(time), what) for share, time, what in ROW.findall(text)]


def repeat(jitted, *arguments, times=12):
    return [jitted(*arguments) for _ in range(times)]


def test_the_heavy_kernel_has_most_of_the_time_and_shares_are_of_one_whole():
    def f(x, y):
        return x @ x, (y * 2).exp()

    jitted = jitcore.jit(f)
    repeat(jitted, jitcore.ones(384, 384), jitcore.ones(7))
    text = jitted.explain()
    line = f"{__file__}:{f.__code__.co_firstlineno + 1}"
    assert f"Its 2 kernels, as measured in {DENSE} calls of the compiled code, " in text
    found = rows(text)
    assert [what for _, _, what in found[:2]] == [f"dot at {line}", f"exp at {line}"]
    assert found[-1][2].startswith("outside of kernels") and int(found[0][0]) > 90
    assert sum(int(share) for share, _, _ in found if "<" not in share) <= 101  # each is rounded
    (executor,) = executors(jitted)
    timings = executor.timings()
    assert timings.runs == (DENSE, DENSE) and 0 < timings.kernels[1] < timings.kernels[0]


def test_times_are_those_of_a_clock_around_the_call():
    executor = Executor(compile_graph(parse_graph(TEXT.replace("64", "512")), timers=True))
    arrays = [np.ones((512, 512), np.float32), np.ones(3, np.float32)]
    executor.run(arrays)
    spent = 0.0
    for _ in range(DENSE):
        start = time.perf_counter()
        executor.run(arrays)
        spent += time.perf_counter() - start
    timings = executor.timings()
    measured = sum(timings.kernels) + timings.outside
    assert 0.5 * spent < measured <= spent


def test_kernels_in_loops_count_their_turns():
    def f(x, n):
        last, sums = jitcore.scan(lambda c, t: ((c * 0.5 + t).tanh(), c.sum()), jitcore.zeros(4), x)
        turns, y = jitcore.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y @ y), (jitcore.tensor(0), x[:4]))
        return last, sums, turns, y

    jitted = jitcore.jit(f)
    repeat(jitted, jitcore.zeros(100, 4), jitcore.tensor(7))
    text = jitted.explain()
    assert re.search(r"tanh at .*\(100 runs a call\)", text) and re.search(r"sum at .*\(100 runs a call\)", text)
    assert re.search(r"dot at .*\(7 runs a call\)", text) and re.search(r"lt at .*\(8 runs a call\)", text)


def test_a_branch_that_is_not_taken_shows_nothing():
    def f(x):
        return jitcore.cond(x.sum() > 0, lambda v: v.exp() @ v, lambda v: v.sin(), (x,))

    jitted = jitcore.jit(f)
    repeat(jitted, jitcore.ones(20, 20))
    never = [row for row in rows(jitted.explain()) if row[2].endswith("(never run)")]
    (row,) = never
    assert row[2].startswith("sin at") and row[:2] == ("0", 0)


def test_a_merged_tree_is_measured_as_one_program():
    jitted = jitcore.jit(lambda x: x.exp() if x.sum() > 0 else x.sin())
    for n in range(60):
        jitted(jitcore.ones(3) * (1 if n % 2 else -1))
    text = jitted.explain()
    assert "<lambda>: 2 recordings are one program with branches by now.\n  Its" in text
    merged = text[text.index("are one program with branches") :]
    assert re.search(r"exp at .*\(0.5 runs a call\)", merged) and re.search(r"sin at .*\(0.5 runs a call\)", merged)


def test_a_way_through_several_programs_adds_them_up():
    jitted = jitcore.jit(lambda x: x.exp() if x.sum() > 0 else x.sin())
    for n in range(10):
        jitted(jitcore.ones(3) * (1 if n % 2 else -1))
    for words in jitted.explain().split("replayed")[1:]:
        measured = rows(words)
        first, second = sorted(what.split()[0] for _, _, what in measured[:2])
        assert first in ("exp", "ne", "sin") and second != first and len(measured) == 3
        assert measured[-1][2].startswith("outside of kernels")


def test_before_a_timed_call_nothing_is_measured_and_the_text_says_so():
    jitted = jitcore.jit(lambda x: x @ x)
    for _ in range(2):
        jitted(jitcore.ones(3, 3))
        text = jitted.explain()
        assert "Its kernel was not measured yet (the second replay is the first to be timed):\n    dot at" in text
        assert not rows(text)
    jitted(jitcore.ones(3, 3))
    assert "Its kernel, as measured in one call of the compiled code" in jitted.explain()
    interpreted = jitcore.jit(lambda x: x @ x, native=False)
    repeat(interpreted, jitcore.ones(3, 3))
    assert "Its operations are not timed: NumPy runs them" in interpreted.explain()
    assert executors(interpreted)[0].timings() is None


def test_the_backward_pass_is_measured_too():
    jitted = jitcore.jit(lambda x: (x @ x).tanh())
    x = jitcore.ones(8, 8, requires_grad=True)
    for _ in range(5):
        jitted(x).sum().backward()
    text = jitted.explain()
    backward = text[text.index("Its backward pass's") :]
    assert "as measured in 3 calls" in backward and sum("dot at" in what for _, _, what in rows(backward)) == 1


def test_call_outs_are_measured_by_name():
    jitted = jitcore.jit(lambda x: jitcore.linalg.inv(x) + 1)
    repeat(jitted, jitcore.eye(5))
    assert any("call out to inv" in what for _, _, what in rows(jitted.explain()))


def test_many_kernels_are_listed_up_to_the_eighth_and_the_rest_is_one_line():
    def f(x):
        for _ in range(4):
            x = (x @ x).tanh() @ (x.sum(0) @ x).exp().diag()
        return x.sort()[0], x.cumsum(0), x.sum(), x.amax(), x.exp() @ x, x.argmax(1), x.prod(), x.t() @ x.sin()

    jitted = jitcore.jit(f)
    repeat(jitted, jitcore.randn(4, 4))
    found = rows(jitted.explain())
    assert len(found) == 10 and re.fullmatch(r"\d+ more", found[8][2])
    assert sum(int(share) for share, _, _ in found if "<" not in share) <= 105


# Which calls are timed, and what that changes


def arguments(seed=0):
    draw = np.random.default_rng(seed)
    return [draw.standard_normal((64, 64)).astype(np.float32), draw.standard_normal(3).astype(np.float32)]


def test_eight_calls_are_timed_from_the_second_on_then_one_in_256():
    executor = Executor(compile_graph(parse_graph(TEXT), updates=[(1, 1)], timers=True))
    counts = []
    for _ in range(DENSE + 1 + 2 * INTERVAL):
        executor.run(arguments())
        counts.append(executor.timings().calls)
    assert [counts.index(n) + 1 for n in range(1, DENSE + 3)] == [
        *range(2, DENSE + 2), DENSE + 1 + INTERVAL, DENSE + 1 + 2 * INTERVAL
    ]  # fmt: skip


def test_timed_calls_give_the_bits_of_untimed_ones():
    graph = parse_graph(TEXT)
    plain, timed = (Executor(compile_graph(graph, updates=[(1, 1)], timers=timers)) for timers in (False, True))
    assert plain.timings() is None
    for seed in range(DENSE + 4):
        ours, theirs = arguments(seed), arguments(seed)
        for x, y in zip(timed.run(ours) + ours, plain.run(theirs) + theirs, strict=True):
            assert x.tobytes() == y.tobytes()
    assert timed.timings().calls == DENSE


def test_every_thread_measures_in_memory_of_its_own():
    executor = Executor(compile_graph(parse_graph(TEXT), updates=[(1, 1)], timers=True), release_gil=True)
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        for _ in range(40):
            executor.run(arguments())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    timings = executor.timings()
    frames = len(executor._run._free)
    assert 1 <= frames <= 4 and DENSE <= timings.calls <= DENSE * frames
    assert timings.runs == (timings.calls,) * 2


def test_calls_that_a_guard_ends_are_counted_too():
    text = "graph @g(%x: i64[]) { %y = add(%x, %x) : i64[] return(%y) }"
    executor = Executor(compile_graph(parse_graph(text), guards=[(0, 4)], timers=True))
    for value in (2, 2, 3):
        try:
            executor.run([np.array(value)])
        except GuardFailed:
            assert value == 3
    assert executor.timings().runs == (2,)


def test_what_reading_the_clock_takes_is_subtracted():
    first, second = new_timers(1), new_timers(1)
    first[:] = [0, 2, 99, 20, 30, 2, 1040, 2]
    second[:] = [0, 1, 99, 25, 30, 1, 10, 1]
    found = Timings.of([first, second], 1)
    assert found == Timings(3, (990e-9,), (3,), 0.0)
    assert Timings.of([], 2) == Timings(0, (0.0, 0.0), (0, 0), 0.0)


# Where programs come from and go to

_PROGRAM = """
import sys, jitcore
from jitcore.compiler.request import Request
def refuse(self): raise AssertionError("compiled again")
if sys.argv[1] == "warm": Request.build = refuse
def f(x):
    return x.cumsum(0) @ x
f = jitcore.jit(f, background=sys.argv[1] == "worker")
for _ in range(6):
    f(jitcore.ones(6, 6)); f.wait()
print(f.explain())
"""


def test_programs_from_the_cache_and_from_workers_measure_under_the_lines_of_this_run(tmp_path):
    texts = {}
    for number, way in enumerate(("worker", "warm")):
        script = tmp_path / f"{way}.py"
        script.write_text("\n" * number + _PROGRAM)
        environment = {**os.environ, "JITCORE_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, str(script), way]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        measured = [what for _, _, what in rows(run.stdout)]
        assert f"dot at {script}:{7 + number}" in measured, run.stdout
        texts[way] = run.stdout
    assert all("calls of the compiled code" in text for text in texts.values())


def test_archives_have_no_timers(tmp_path):
    path = tmp_path / "f.jca"
    jitcore.export(lambda x: x @ x, path, {"x": "float32[8,8]"})
    codes = list(read_archive(path).entries["main"].code.values())
    assert codes and all("clock_gettime" not in dict(code.image.imports) for code in codes)


def test_aarch64_code_reads_the_same_clock():
    made = compile_graph(parse_graph(TEXT), timers=True, target="aarch64", cache=False)
    assert "clock_gettime" in dict(made.image.imports) and [name for name, _ in made.kernels] == ["dot", "tanh"]
